//! The guard of a resumed run: same settings, same data, or an error that names what differs.

use serde_json::Value;

use super::Checkpoint;
use crate::{TrainError, canonical};

/// What a resumed run is now, compared with what it was.
#[derive(Debug, Clone, Copy)]
pub struct ResumeCheck<'a> {
    /// The resolved settings.
    pub config: &'a Value,
    /// Identifies the training data.
    pub dataset_fingerprint: &'a str,
    /// The run seed.
    pub seed: u64,
    /// Number of ranks.
    pub world: usize,
    /// Dotted keys of `config` that may differ, with all keys below them. `dataset`, `seed` and `world` stand for the
    /// other fields.
    pub allowed: &'a [&'a str],
}

impl ResumeCheck<'_> {
    /// Fails with [`TrainError::Resume`] naming every key that differs and is not allowed to.
    pub fn check(&self, checkpoint: &Checkpoint) -> Result<(), TrainError> {
        let manifest = &checkpoint.manifest;
        let then = &manifest.meta;
        let mut differences = Vec::new();
        if manifest.config_hash != canonical::hash(self.config) {
            differences = canonical::differences(&then.config, self.config, self.allowed);
        }
        let mut compare = |key: &str, then: String, now: String| {
            if then != now && !self.allowed.contains(&key) {
                differences.push(format!("{key}: {then} -> {now}"));
            }
        };
        let now = self.dataset_fingerprint.to_string();
        compare("dataset", then.dataset_fingerprint.clone(), now);
        compare("seed", then.seed.to_string(), self.seed.to_string());
        compare("world", then.world.to_string(), self.world.to_string());
        if manifest.code_version != env!("CARGO_PKG_VERSION") {
            tracing::warn!(
                "{} was written by version {}; this is {}: results may differ in the last bits",
                checkpoint.path.display(),
                manifest.code_version,
                env!("CARGO_PKG_VERSION")
            );
        }
        if differences.is_empty() {
            return Ok(());
        }
        Err(TrainError::Resume {
            checkpoint: checkpoint.path.clone(),
            differences,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{CheckpointMeta, Manifest};
    use super::*;
    use serde_json::json;

    fn stored() -> Checkpoint {
        let meta = CheckpointMeta {
            config: json!({"train": {"lr": 0.1, "max_steps": 5}, "log": {"every": 1}}),
            dataset_fingerprint: "abc".into(),
            seed: 7,
            world: 1,
            ..CheckpointMeta::default()
        };
        Checkpoint {
            path: "run/checkpoints/step-5".into(),
            manifest: Manifest::new(meta, Default::default()),
        }
    }

    #[test]
    fn the_same_run_may_go_on_and_allowed_keys_may_differ() {
        let config = json!({"train": {"lr": 0.1, "max_steps": 9}, "log": {"every": 3, "new": 1}});
        let check = ResumeCheck {
            config: &config,
            dataset_fingerprint: "abc",
            seed: 7,
            world: 1,
            allowed: &["train.max_steps", "log"],
        };
        check.check(&stored()).unwrap();
    }

    #[test]
    fn every_difference_is_in_the_message() {
        let config = json!({"train": {"lr": 0.2, "max_steps": 9}, "log": {"every": 1}});
        let check = ResumeCheck {
            config: &config,
            dataset_fingerprint: "xyz",
            seed: 8,
            world: 2,
            allowed: &["world"],
        };
        let text = check.check(&stored()).unwrap_err().to_string();
        for part in [
            "train.lr: 0.1 -> 0.2",
            "train.max_steps: 5 -> 9",
            "dataset: abc -> xyz",
            "seed: 7 -> 8",
        ] {
            assert!(text.contains(part), "{part} not in {text}");
        }
        assert!(!text.contains("world"), "{text}");
    }
}
