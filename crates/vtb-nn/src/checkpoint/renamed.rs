//! A checkpoint under other names.

use std::collections::BTreeMap;

use burn::tensor::{DType, TensorData};

use super::{TensorInfo, TensorSource};
use crate::NnError;

/// The tensors of another source, each under a name made from its own.
pub struct RenamedSource<'a> {
    inner: &'a dyn TensorSource,
    /// New name to stored name.
    names: BTreeMap<String, String>,
}

impl<'a> RenamedSource<'a> {
    /// `rename` maps the stored names.
    ///
    /// # Errors
    /// Two tensors get one name: the file holds the same tensor twice, in two spellings.
    pub fn new(
        inner: &'a dyn TensorSource,
        rename: impl Fn(&str) -> String,
    ) -> Result<Self, NnError> {
        let mut names = BTreeMap::new();
        for stored in inner.names() {
            if let Some(other) = names.insert(rename(&stored), stored.clone()) {
                return Err(NnError::input(format!(
                    "{} holds `{other}` and `{stored}`, two names of one tensor; remove one of them",
                    inner.origin()
                )));
            }
        }
        Ok(Self { inner, names })
    }

    fn stored(&self, name: &str) -> Result<&str, NnError> {
        let missing = || NnError::Missing {
            name: name.to_owned(),
            origin: self.origin(),
        };
        self.names.get(name).map(String::as_str).ok_or_else(missing)
    }
}

impl TensorSource for RenamedSource<'_> {
    fn origin(&self) -> String {
        self.inner.origin()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.inner.info(self.names.get(name)?)
    }

    fn load(&self, name: &str) -> Result<TensorData, NnError> {
        self.inner.load(self.stored(name)?)
    }

    fn names(&self) -> Vec<String> {
        self.names.keys().cloned().collect()
    }

    fn load_as(&self, name: &str, dtype: DType) -> Result<TensorData, NnError> {
        self.inner.load_as(self.stored(name)?, dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::MemorySource;

    fn source(names: &[&str]) -> MemorySource {
        let tensor = |name: &&str| ((*name).to_owned(), TensorData::new(vec![1.5f32], [1]));
        MemorySource::new("file", names.iter().map(tensor).collect())
    }

    #[test]
    fn tensors_are_found_under_their_new_names_only() {
        let inner = source(&["a.w", "b"]);
        let renamed =
            RenamedSource::new(&inner, |n| n.replace("a.", "x.a.")).expect("names differ");
        assert_eq!(renamed.names(), ["b", "x.a.w"]);
        assert!(renamed.info("x.a.w").is_some() && renamed.info("a.w").is_none());
        let half = renamed.load_as("x.a.w", DType::BF16).expect("loads");
        assert_eq!(half.dtype(), DType::BF16);
        let error = renamed.load("a.w").expect_err("stored name").to_string();
        assert!(error.contains("a.w"), "{error}");
    }

    #[test]
    fn two_spellings_of_one_tensor_are_refused() {
        let inner = source(&["w", "model.w"]);
        let rename = |n: &str| n.trim_start_matches("model.").to_owned();
        let text = RenamedSource::new(&inner, rename)
            .err()
            .expect("twice")
            .to_string();
        assert!(text.contains("`model.w` and `w`"), "{text}");
    }
}
