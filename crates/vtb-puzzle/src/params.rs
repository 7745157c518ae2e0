//! Parameters of a task: defaults, unknown keys, ranges.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::{PuzzleError, Result};

/// The parameter block of a task: every field has a default, every value is checked.
pub trait Params: Serialize + DeserializeOwned + Default {
    /// Checks ranges and combinations.
    ///
    /// # Errors
    /// A sentence naming the parameter, its value and what would do.
    fn validate(&self) -> Result<(), String>;

    /// Parameters, each with its default, that are written only where they differ from it: added
    /// later, they leave records, ids and pictures that do without them as they were.
    fn optional() -> Optional {
        &[]
    }
}

/// Names and defaults.
pub type Optional = &'static [(&'static str, Value)];

/// Every parameter with its default.
///
/// # Errors
/// A sentence; only for a type that does not serialize to an object.
pub(crate) fn defaults<P: Params>() -> Result<Map<String, Value>, String> {
    let mut full = object(&P::default())?;
    for (key, value) in P::optional() {
        full.insert((*key).to_owned(), value.clone());
    }
    Ok(full)
}

/// Fills `given` (an object, or null for none) up with defaults and checks it.
///
/// # Errors
/// [`PuzzleError::UnknownParam`] with the nearest key; [`PuzzleError::BadParam`].
pub fn read_params<P: Params>(task: &str, given: &Value) -> Result<P> {
    let bad = |reason: String| PuzzleError::BadParam {
        task: task.to_owned(),
        reason,
    };
    let mut full = defaults::<P>().map_err(&bad)?;
    match given {
        Value::Null => {}
        Value::Object(map) => {
            for (key, value) in map {
                if !full.contains_key(key) {
                    let hint = nearest(key, full.keys().map(String::as_str));
                    let (task, key) = (task.to_owned(), key.clone());
                    return Err(PuzzleError::UnknownParam { task, key, hint });
                }
                full.insert(key.clone(), value.clone());
            }
        }
        other => return Err(bad(format!("parameters must be an object, not {other}"))),
    }
    let params = P::deserialize(Value::Object(full)).map_err(|fault| bad(fault.to_string()))?;
    params.validate().map_err(bad)?;
    Ok(params)
}

fn object(value: &impl Serialize) -> Result<Map<String, Value>, String> {
    match serde_json::to_value(value) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err("its parameter type is not a struct".to_owned()),
        Err(fault) => Err(fault.to_string()),
    }
}

/// A hint for a name that is not known: the nearest one, or all when none is near.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<_> = known.collect();
    known.sort_unstable();
    let name = name.to_lowercase();
    let scored = known
        .iter()
        .map(|other| (strsim::damerau_levenshtein(&name, other), other));
    match scored.min() {
        Some((distance, other)) if distance <= (name.len() / 2).max(2) => {
            format!("did you mean `{other}`?")
        }
        _ => format!("known: {}", known.join(", ")),
    }
}

/// `Ok` when `low <= value <= high`, else a sentence.
pub(crate) fn within<T>(name: &str, value: T, low: T, high: T) -> Result<(), String>
where
    T: PartialOrd + std::fmt::Display,
{
    if value >= low && value <= high {
        return Ok(());
    }
    Err(format!(
        "`{name}` is {value}; it must lie between {low} and {high}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use serde_json::json;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        size: u32,
        ratio: f64,
    }

    impl Default for Sample {
        fn default() -> Self {
            Self {
                size: 10,
                ratio: 0.5,
            }
        }
    }

    impl Params for Sample {
        fn validate(&self) -> Result<(), String> {
            within("size", self.size, 1, 20)
        }
    }

    fn read(given: Value) -> Result<Sample, String> {
        read_params("sample", &given).map_err(|fault| fault.to_string())
    }

    #[test]
    fn defaults_fill_up() {
        assert_eq!(read(Value::Null), Ok(Sample::default()));
        assert_eq!(
            read(json!({"size": 3})),
            Ok(Sample {
                size: 3,
                ratio: 0.5
            })
        );
    }

    #[test]
    fn faults_name_the_key() {
        let unknown = read(json!({"siez": 3})).unwrap_err();
        assert_eq!(
            unknown,
            "task sample has no parameter `siez`; did you mean `size`?"
        );
        assert!(
            read(json!({"qqqqqqqq": 3}))
                .unwrap_err()
                .contains("known: ratio, size")
        );
        assert!(
            read(json!({"size": 30}))
                .unwrap_err()
                .contains("`size` is 30")
        );
        assert!(
            read(json!({"size": "x"}))
                .unwrap_err()
                .contains("invalid type")
        );
        assert!(read(json!([])).unwrap_err().contains("must be an object"));
    }
}
