//! Rewards by name.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Reward;
use crate::error::{Result, RewardError};
use crate::rewards::auto::AutoReward;
use crate::rewards::choice::ChoiceReward;
use crate::rewards::format::FormatReward;
use crate::rewards::legacy::LegacyOverlap;
use crate::rewards::path::PathReward;
use crate::rewards::places::PlacesReward;

type Maker = Box<dyn Fn(&Value) -> Result<Box<dyn Reward>> + Send + Sync>;

/// Makes rewards from a name and parameters.
pub struct Registry {
    makers: BTreeMap<String, Maker>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::builtin()
    }
}

impl Registry {
    /// The rewards of this crate: `auto`, `choice`, `format`, `legacy_overlap`, `path`, `places`.
    #[must_use]
    pub fn builtin() -> Self {
        let mut makers: BTreeMap<String, Maker> = BTreeMap::new();
        let mut add = |name: &str, maker: Maker| makers.insert(name.to_owned(), maker);
        add(
            "auto",
            Box::new(|given| Ok(Box::new(AutoReward::new(params("auto", given)?)?))),
        );
        add(
            "choice",
            Box::new(|given| Ok(Box::new(ChoiceReward::new(params("choice", given)?)?))),
        );
        add(
            "format",
            Box::new(|given| Ok(Box::new(FormatReward::new(params("format", given)?)?))),
        );
        add(
            "legacy_overlap",
            Box::new(|given| {
                params::<NoParams>("legacy_overlap", given)?;
                Ok(Box::new(LegacyOverlap))
            }),
        );
        add(
            "path",
            Box::new(|given| Ok(Box::new(PathReward::new(params("path", given)?)?))),
        );
        add(
            "places",
            Box::new(|given| Ok(Box::new(PlacesReward::new(params("places", given)?)?))),
        );
        Self { makers }
    }

    /// Adds a reward under a name of its own. `maker` gets the parameters of the configuration as
    /// JSON (an empty object where none are given); [`params`] turns them into a struct.
    ///
    /// # Errors
    /// [`RewardError::DuplicateReward`] if the name is taken.
    pub fn register<F>(&mut self, name: &str, maker: F) -> Result<()>
    where
        F: Fn(&Value) -> Result<Box<dyn Reward>> + Send + Sync + 'static,
    {
        if self.makers.contains_key(name) {
            return Err(RewardError::DuplicateReward {
                name: name.to_owned(),
            });
        }
        self.makers.insert(name.to_owned(), Box::new(maker));
        Ok(())
    }

    /// Makes the reward `name`; `given` are its parameters (an object, or null for none).
    ///
    /// # Errors
    /// [`RewardError::UnknownReward`] naming the nearest one, [`RewardError::Params`] if the
    /// parameters are not usable.
    pub fn build(&self, name: &str, given: &Value) -> Result<Box<dyn Reward>> {
        let maker = self.makers.get(name).ok_or_else(|| self.unknown(name))?;
        match given {
            Value::Null => maker(&Value::Object(serde_json::Map::new())),
            given => maker(given),
        }
    }

    /// All names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.makers.keys().map(String::as_str)
    }

    fn unknown(&self, name: &str) -> RewardError {
        let nearest = self
            .names()
            .min_by_key(|known| strsim::levenshtein(known, name));
        RewardError::UnknownReward {
            name: name.to_owned(),
            nearest: nearest.unwrap_or_default().to_owned(),
            known: self.names().collect::<Vec<_>>().join(", "),
        }
    }
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NoParams {}

/// Parameters of reward `name` as a struct.
///
/// # Errors
/// [`RewardError::Params`] saying which field does not fit.
pub fn params<T: DeserializeOwned>(name: &str, given: &Value) -> Result<T> {
    T::deserialize(given).map_err(|fault| RewardError::Params {
        name: name.to_owned(),
        reason: fault.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_builtin_is_made_with_its_defaults() {
        let registry = Registry::default();
        for name in registry.names() {
            assert_eq!(registry.build(name, &Value::Null).unwrap().name(), name);
        }
        assert_eq!(registry.names().count(), 6);
    }

    #[test]
    fn faults_are_named() {
        let mut registry = Registry::builtin();
        let fault = |name: &str, given: Value| {
            let made = Registry::builtin().build(name, &given);
            made.err().expect("refused").to_string()
        };
        assert!(fault("pth", json!({})).contains("did you mean `path`"));
        assert!(fault("choice", json!({"corect": 1})).contains("corect"));
        assert!(fault("path", json!({"partial": 2.0})).contains("partial"));
        assert!(fault("legacy_overlap", json!({"x": 1})).contains("legacy_overlap"));
        let again = registry.register("path", |_| Ok(Box::new(LegacyOverlap)));
        assert!(again.unwrap_err().to_string().contains("already"));
    }
}
