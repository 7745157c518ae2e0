//! The Euler schedule of flow matching, with a shift that grows with the picture.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::DiffusionError;
use crate::files;

const CLASS: &str = "FlowMatchEulerDiscreteScheduler";

/// `scheduler_config.json` of a flow-matching model, named as in the published file.
///
/// Source of the formulas: Esser et al., 2024 (shift by resolution), and the published configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FlowMatchEuler {
    /// Name of the class.
    #[serde(rename = "_class_name", default = "class")]
    pub class_name: String,
    /// Shift at [`FlowMatchEuler::base_image_seq_len`].
    pub base_shift: f64,
    /// Shift at [`FlowMatchEuler::max_image_seq_len`].
    pub max_shift: f64,
    /// Target tokens of a small picture.
    pub base_image_seq_len: usize,
    /// Target tokens of a large picture.
    pub max_image_seq_len: usize,
    /// Noise level of the last step, to which the schedule is stretched.
    #[serde(default)]
    pub shift_terminal: Option<f64>,
    /// Steps of training: timesteps are noise levels times this.
    #[serde(default = "train_timesteps")]
    pub num_train_timesteps: usize,
    /// Constant shift, where there is no dynamic one.
    #[serde(default = "one")]
    pub shift: f64,
    /// Whether the shift depends on the number of tokens.
    pub use_dynamic_shifting: bool,
    /// `exponential` is the only form supported.
    #[serde(default = "exponential")]
    pub time_shift_type: String,
    /// Not supported.
    #[serde(default)]
    pub invert_sigmas: bool,
    /// Not supported.
    #[serde(default)]
    pub stochastic_sampling: bool,
    /// Not supported.
    #[serde(default)]
    pub use_karras_sigmas: Option<bool>,
    /// Not supported.
    #[serde(default)]
    pub use_exponential_sigmas: Option<bool>,
    /// Not supported.
    #[serde(default)]
    pub use_beta_sigmas: Option<bool>,
}

fn class() -> String {
    CLASS.to_owned()
}

fn train_timesteps() -> usize {
    1000
}

fn one() -> f64 {
    1.0
}

fn exponential() -> String {
    "exponential".to_owned()
}

impl FlowMatchEuler {
    /// The published schedule of Qwen-Image-Edit.
    pub fn qwen_image() -> Self {
        Self {
            class_name: class(),
            base_shift: 0.5,
            max_shift: 0.9,
            base_image_seq_len: 256,
            max_image_seq_len: 8192,
            shift_terminal: Some(0.02),
            num_train_timesteps: 1000,
            shift: 1.0,
            use_dynamic_shifting: true,
            time_shift_type: exponential(),
            invert_sigmas: false,
            stochastic_sampling: false,
            use_karras_sigmas: Some(false),
            use_exponential_sigmas: Some(false),
            use_beta_sigmas: Some(false),
        }
    }

    /// Reads and checks the `scheduler` folder of a model.
    ///
    /// # Errors
    /// The file is missing, malformed, or asks for something that is not supported; file and field are named.
    pub fn from_dir(dir: &Path) -> Result<Self, DiffusionError> {
        let path = dir.join(files::SCHEDULER_CONFIG);
        let config: Self = files::read_json(&path)?;
        match config.fault() {
            Some(fault) => Err(DiffusionError::file(path, fault)),
            None => Ok(config),
        }
    }

    /// Writes `scheduler_config.json` into a folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), DiffusionError> {
        files::write_json(&dir.join(files::SCHEDULER_CONFIG), self)
    }

    fn fault(&self) -> Option<String> {
        let on = |flag: Option<bool>| flag == Some(true);
        for (key, set) in [
            ("invert_sigmas", self.invert_sigmas),
            ("stochastic_sampling", self.stochastic_sampling),
            ("use_karras_sigmas", on(self.use_karras_sigmas)),
            ("use_exponential_sigmas", on(self.use_exponential_sigmas)),
            ("use_beta_sigmas", on(self.use_beta_sigmas)),
        ] {
            if set {
                return Some(format!("`{key}` is true: such schedules are not supported"));
            }
        }
        if self.class_name != CLASS {
            return Some(format!(
                "`_class_name` is `{}`, expected {CLASS}",
                self.class_name
            ));
        }
        if self.time_shift_type != "exponential" {
            return Some(format!(
                "`time_shift_type` is `{}`, expected `exponential`",
                self.time_shift_type
            ));
        }
        if self.max_image_seq_len <= self.base_image_seq_len {
            return Some("`max_image_seq_len` must be above `base_image_seq_len`".into());
        }
        let finite = [self.base_shift, self.max_shift]
            .iter()
            .all(|s| s.is_finite());
        if !(finite && self.shift > 0.0 && self.shift.is_finite()) {
            return Some(
                "`base_shift`, `max_shift` and `shift` must be finite, `shift` above 0".into(),
            );
        }
        match self.shift_terminal {
            Some(end) if !(0.0..1.0).contains(&end) => {
                Some(format!("`shift_terminal` is {end}, it must lie in 0..1"))
            }
            _ => None,
        }
    }

    /// The exponent of the shift for a picture of `tokens` target tokens, references not counted.
    pub fn mu(&self, tokens: usize) -> f64 {
        let slope = (self.max_shift - self.base_shift)
            / (self.max_image_seq_len as f64 - self.base_image_seq_len as f64);
        self.base_shift + slope * (tokens as f64 - self.base_image_seq_len as f64)
    }

    /// Noise levels of `steps` steps, from 1 down, and the 0 at which sampling ends: `steps + 1` values.
    ///
    /// `linspace(1, 1/n, n)` is shifted by `e^μ/(e^μ + 1/σ - 1)`, then stretched so that the last is
    /// [`FlowMatchEuler::shift_terminal`].
    ///
    /// # Errors
    /// No steps; or a single one, which cannot both begin at 1 and end at another level.
    pub fn sigmas(&self, steps: usize, tokens: usize) -> Result<Vec<f32>, DiffusionError> {
        let ends = self.use_dynamic_shifting && self.shift_terminal.is_some();
        if steps == 0 || (steps == 1 && ends) {
            return Err(DiffusionError::input(format!(
                "{steps} sampling steps are too few; use at least {}",
                if ends { 2 } else { 1 }
            )));
        }
        let n = steps as f64;
        let start = |i: usize| 1.0 - (1.0 - 1.0 / n) * i as f64 / (n - 1.0).max(1.0);
        let mut sigmas: Vec<f64> = (0..steps).map(start).collect();
        if self.use_dynamic_shifting {
            let factor = self.mu(tokens).exp();
            for sigma in &mut sigmas {
                *sigma = factor / (factor + (1.0 / *sigma - 1.0));
            }
            if let (Some(end), Some(last)) = (self.shift_terminal, sigmas.last().copied()) {
                let scale = (1.0 - last) / (1.0 - end);
                for sigma in &mut sigmas {
                    *sigma = 1.0 - (1.0 - *sigma) / scale;
                }
            }
        } else {
            for sigma in &mut sigmas {
                *sigma = self.shift * *sigma / (1.0 + (self.shift - 1.0) * *sigma);
            }
        }
        let mut sigmas: Vec<f32> = sigmas.into_iter().map(|s| s as f32).collect();
        sigmas.push(0.0);
        Ok(sigmas)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schedule_has_its_golden_values() {
        let schedule = FlowMatchEuler::qwen_image();
        assert!((schedule.mu(4096) - 0.693_548).abs() < 1e-6);
        assert!((schedule.mu(1680) - 0.571_774).abs() < 1e-6);
        let sigmas = schedule.sigmas(40, 4096).unwrap();
        assert_eq!(sigmas.len(), 41);
        for (i, want) in [
            (0, 1.0),
            (1, 0.986_964),
            (2, 0.973_593),
            (3, 0.959_875),
            (37, 0.113_533),
            (38, 0.067_881),
            (39, 0.02),
            (40, 0.0),
        ] {
            assert!((sigmas[i] - want).abs() < 1e-6, "{i}: {}", sigmas[i]);
        }
        assert!(schedule.sigmas(1, 4096).is_err());
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let good = serde_json::to_value(FlowMatchEuler::qwen_image()).unwrap();
        for (key, value) in [
            ("use_karras_sigmas", serde_json::json!(true)),
            ("time_shift_type", serde_json::json!("linear")),
            ("shift_terminal", serde_json::json!(1.5)),
            ("max_image_seq_len", serde_json::json!(10)),
            ("_class_name", serde_json::json!("UniPCMultistepScheduler")),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            std::fs::write(dir.path().join(files::SCHEDULER_CONFIG), bad.to_string()).unwrap();
            let error = FlowMatchEuler::from_dir(dir.path())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(key) && error.contains("scheduler_config"),
                "{error}"
            );
        }
    }
}
