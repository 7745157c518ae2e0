//! Typed access to a JSON object that remembers file and path, so that every complaint names both.

use std::ops::RangeInclusive;
use std::path::Path;

use serde_json::{Map, Value};

use crate::VlmError;

/// A JSON object inside a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'a> {
    file: &'a Path,
    prefix: &'a str,
    map: &'a Map<String, Value>,
}

impl<'a> Section<'a> {
    /// The top level of a file.
    pub(crate) fn root(file: &'a Path, value: &'a Value) -> Result<Self, VlmError> {
        match value {
            Value::Object(map) => Ok(Self {
                file,
                prefix: "",
                map,
            }),
            _ => Err(VlmError::file(
                file,
                "expected a JSON object at the top level",
            )),
        }
    }

    /// The object under `key`, or `None` where it is absent or null. `prefix` is its full path for messages.
    pub(crate) fn child(&self, key: &str, prefix: &'a str) -> Result<Option<Self>, VlmError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self {
                file: self.file,
                prefix,
                map,
            })),
            Some(other) => Err(self.bad(key, other, "an object")),
        }
    }

    /// Whether this is the top level of its file.
    pub(crate) fn is_root(&self) -> bool {
        self.prefix.is_empty()
    }

    /// The value under `key`; null counts as absent.
    pub(crate) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Dotted path of a key.
    pub(crate) fn path(&self, key: &str) -> String {
        if self.prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.prefix)
        }
    }

    /// The error for an absent key.
    pub(crate) fn missing(&self, key: &str) -> VlmError {
        VlmError::MissingKey {
            path: self.file.to_path_buf(),
            key: self.path(key),
        }
    }

    /// The error for a value that cannot be used.
    pub(crate) fn bad(
        &self,
        key: &str,
        value: impl std::fmt::Display,
        expected: impl Into<String>,
    ) -> VlmError {
        VlmError::BadValue {
            path: self.file.to_path_buf(),
            key: self.path(key),
            value: shorten(value.to_string()),
            expected: expected.into(),
        }
    }

    /// The error for a feature there is no code for.
    pub(crate) fn unsupported(
        &self,
        key: &str,
        value: impl std::fmt::Display,
        supported: &'static str,
    ) -> VlmError {
        VlmError::Unsupported {
            path: self.file.to_path_buf(),
            what: format!("`{}` = {}", self.path(key), shorten(value.to_string())),
            supported,
        }
    }

    /// A required whole number within `range`.
    pub(crate) fn size(&self, key: &str, range: RangeInclusive<usize>) -> Result<usize, VlmError> {
        self.opt_size(key, range)?.ok_or_else(|| self.missing(key))
    }

    /// An optional whole number within `range`.
    pub(crate) fn opt_size(
        &self,
        key: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Option<usize>, VlmError> {
        self.get(key)
            .map(|value| self.as_size(key, value, &range))
            .transpose()
    }

    fn as_size(
        &self,
        key: &str,
        value: &Value,
        range: &RangeInclusive<usize>,
    ) -> Result<usize, VlmError> {
        value
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| range.contains(n))
            .ok_or_else(|| {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                self.bad(key, value, expected)
            })
    }

    /// A list of whole numbers within `range`.
    pub(crate) fn sizes(
        &self,
        key: &str,
        range: RangeInclusive<usize>,
    ) -> Result<Vec<usize>, VlmError> {
        let value = self.get(key).ok_or_else(|| self.missing(key))?;
        let list = value
            .as_array()
            .ok_or_else(|| self.bad(key, value, "a list"))?;
        list.iter()
            .map(|item| self.as_size(key, item, &range))
            .collect()
    }

    /// A required token id.
    pub(crate) fn id(&self, key: &str) -> Result<u32, VlmError> {
        self.opt_id(key)?.ok_or_else(|| self.missing(key))
    }

    /// An optional token id.
    pub(crate) fn opt_id(&self, key: &str) -> Result<Option<u32>, VlmError> {
        Ok(self
            .opt_size(key, 0..=u32::MAX as usize)?
            .map(|id| id as u32))
    }

    /// An optional finite number.
    pub(crate) fn opt_number(&self, key: &str) -> Result<Option<f64>, VlmError> {
        self.get(key)
            .map(|value| {
                let number = value.as_f64().filter(|n| n.is_finite());
                number.ok_or_else(|| self.bad(key, value, "a finite number"))
            })
            .transpose()
    }

    /// A required number above zero.
    pub(crate) fn positive(&self, key: &str) -> Result<f64, VlmError> {
        let number = self.opt_number(key)?.ok_or_else(|| self.missing(key))?;
        if number > 0.0 {
            Ok(number)
        } else {
            Err(self.bad(key, number, "a number above 0"))
        }
    }

    /// An optional switch.
    pub(crate) fn opt_bool(&self, key: &str) -> Result<Option<bool>, VlmError> {
        self.get(key)
            .map(|value| {
                value
                    .as_bool()
                    .ok_or_else(|| self.bad(key, value, "true or false"))
            })
            .transpose()
    }

    /// An optional string.
    pub(crate) fn opt_str(&self, key: &str) -> Result<Option<&'a str>, VlmError> {
        self.get(key)
            .map(|value| {
                value
                    .as_str()
                    .ok_or_else(|| self.bad(key, value, "a string"))
            })
            .transpose()
    }

    /// A required string.
    pub(crate) fn str(&self, key: &str) -> Result<&'a str, VlmError> {
        self.opt_str(key)?.ok_or_else(|| self.missing(key))
    }
}

/// Keeps a quoted value on one short line.
fn shorten(text: String) -> String {
    const KEEP: usize = 60;
    if text.chars().count() <= KEEP {
        return text;
    }
    text.chars().take(KEEP).chain("...".chars()).collect()
}
