//! Settings of flow matching.

use serde::{Deserialize, Serialize};

use super::normal::cdf;
use super::table::TABLE_LEN;
use crate::objectives::ConfigFault;

/// From which distribution noise levels are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LevelSampling {
    /// Every entry of the table is as likely as any other. The shift of the table is thus that of the distribution.
    #[default]
    Table,
    /// Evenly over all levels.
    Uniform,
    /// `σ = 1/(1 + e^-z)` with `z` of the normal distribution of `logit_mean` and `logit_std`.
    LogitNormal,
}

/// What the shift of the table is the parameter of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TimeShift {
    /// The odds of noise are multiplied by `e^shift`.
    #[default]
    Exponential,
    /// They are multiplied by `shift`.
    Linear,
}

/// What the squared errors of a noise level are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Weighting {
    /// The bell of [`super::SigmaTable`]: most in the middle, nothing at pure noise, 1 on average.
    #[default]
    Bsmntw,
    /// 1.
    None,
}

/// Noise levels of training. The default is what Qwen-Image-Edit is trained with; missing keys take it, unknown keys are
/// errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowConfig {
    /// From which distribution levels are drawn.
    pub sampling: LevelSampling,
    /// What `shift` means.
    pub time_shift: TimeShift,
    /// Shift of the table.
    pub shift: f64,
    /// The table is stretched so that it ends here; 0: it is left as the shift makes it.
    pub shift_terminal: f64,
    /// Mean of `logit_normal`; above 0 is towards noise.
    pub logit_mean: f64,
    /// Standard deviation of `logit_normal`.
    pub logit_std: f64,
    /// Large pictures need more noise to be destroyed: shift the levels, whatever their distribution, exponentially by
    /// `base_shift + (tokens - base_tokens)·(max_shift - base_shift)/(max_tokens - base_tokens)`, with the tokens of the
    /// target. It takes the place of `shift`.
    pub resolution_shift: bool,
    /// Exponential shift at `base_tokens`.
    pub base_shift: f64,
    /// Exponential shift at `max_tokens`.
    pub max_shift: f64,
    /// Tokens of a small picture.
    pub base_tokens: usize,
    /// Tokens of a large picture.
    pub max_tokens: usize,
    /// Side, in values of a latent, of the squares that the model takes as tokens. A fact of the model, not a setting:
    /// no file has it.
    #[serde(skip)]
    pub patch: usize,
    /// Where the drawn levels begin, as a share of the table counted from pure noise.
    pub min_timestep_boundary: f64,
    /// Where they end: 1 is the last, cleanest entry.
    pub max_timestep_boundary: f64,
    /// What squared errors are multiplied by.
    pub weighting: Weighting,
    /// Round `1000·σ` to bfloat16 and go on with the entry of the table nearest to that, as DiffSynth-Studio does: 376 of
    /// the entries of Qwen-Image-Edit are ever used then, 294 of Wan's.
    pub bf16_timesteps: bool,
}

impl Default for FlowConfig {
    fn default() -> Self {
        Self {
            sampling: LevelSampling::Table,
            time_shift: TimeShift::Exponential,
            shift: 0.8,
            shift_terminal: 0.02,
            logit_mean: 0.0,
            logit_std: 1.0,
            resolution_shift: false,
            base_shift: 0.5,
            max_shift: 0.9,
            base_tokens: 256,
            max_tokens: 8192,
            patch: 2,
            min_timestep_boundary: 0.0,
            max_timestep_boundary: 1.0,
            weighting: Weighting::Bsmntw,
            bf16_timesteps: false,
        }
    }
}

impl FlowConfig {
    /// What Wan is trained with: a linear shift of 5, no stretch.
    pub fn wan() -> Self {
        Self {
            time_shift: TimeShift::Linear,
            shift: 5.0,
            shift_terminal: 0.0,
            ..Self::default()
        }
    }

    /// Every setting that makes no sense.
    pub fn validate(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        let mut need = |ok: bool, key: &'static str, found: String, needed: &str| {
            if !ok {
                let message = format!("is {found}, but must be {needed}");
                faults.push(ConfigFault { key, message });
            }
        };
        let shift = self.shift.to_string();
        match self.time_shift {
            TimeShift::Exponential => {
                need(self.shift.abs() <= 20.0, "shift", shift, "from -20 to 20");
            }
            TimeShift::Linear => {
                let good = self.shift > 0.0 && self.shift <= 1e9;
                need(good, "shift", shift, "above 0 and at most 1e9");
            }
        }
        let unit = |x: f64| (0.0..1.0).contains(&x);
        need(
            unit(self.shift_terminal),
            "shift_terminal",
            self.shift_terminal.to_string(),
            "from 0 (off) to below 1",
        );
        need(
            self.logit_mean.abs() <= 20.0,
            "logit_mean",
            self.logit_mean.to_string(),
            "from -20 to 20",
        );
        need(
            self.logit_std > 0.0 && self.logit_std <= 20.0,
            "logit_std",
            self.logit_std.to_string(),
            "above 0 and at most 20",
        );
        for (key, shift) in [
            ("base_shift", self.base_shift),
            ("max_shift", self.max_shift),
        ] {
            need(
                shift.abs() <= 20.0,
                key,
                shift.to_string(),
                "from -20 to 20",
            );
        }
        need(
            self.max_tokens > self.base_tokens,
            "max_tokens",
            self.max_tokens.to_string(),
            "above base_tokens",
        );
        need(
            self.patch > 0,
            "patch",
            self.patch.to_string(),
            "at least 1",
        );
        let (first, end) = self.window();
        let bounds = [self.min_timestep_boundary, self.max_timestep_boundary];
        need(
            bounds.iter().all(|b| (0.0..=1.0).contains(b)) && first < end,
            "max_timestep_boundary",
            format!("{} with min_timestep_boundary = {}", bounds[1], bounds[0]),
            "above it, both from 0 to 1, so that at least one of the 1000 entries lies between them",
        );
        need(
            !self.bf16_timesteps || self.sampling == LevelSampling::Table,
            "bf16_timesteps",
            "true".into(),
            "false: only with sampling = \"table\" are levels matched to the table",
        );
        let [noisiest, cleanest] = self.shares();
        if faults.is_empty() && noisiest - cleanest < 1e-9 {
            faults.push(ConfigFault {
                key: "max_timestep_boundary",
                message: "leaves next to nothing of the distribution; widen the boundaries".into(),
            });
        }
        faults
    }

    /// The shares of the distribution below the noisiest and the cleanest level that is drawn.
    pub(super) fn shares(&self) -> [f64; 2] {
        let share = |boundary: f64| match self.sampling {
            // The ends are there whatever the logit of 0 and 1 would be.
            LevelSampling::LogitNormal if boundary <= 0.0 => 1.0,
            LevelSampling::LogitNormal if boundary >= 1.0 => 0.0,
            LevelSampling::LogitNormal => {
                let logit = ((1.0 - boundary) / boundary).ln();
                cdf((logit - self.logit_mean) / self.logit_std)
            }
            _ => 1.0 - boundary,
        };
        [self.min_timestep_boundary, self.max_timestep_boundary].map(share)
    }

    /// Entries of the table that are drawn.
    pub(super) fn window(&self) -> (usize, usize) {
        let entry = |share: f64| (share * TABLE_LEN as f64) as usize;
        let end = entry(self.max_timestep_boundary).min(TABLE_LEN);
        (entry(self.min_timestep_boundary), end)
    }

    /// What the odds of noise are multiplied by in the table of a latent of this shape.
    pub(super) fn factor(&self, shape: [usize; 4]) -> f64 {
        if self.resolution_shift {
            return self.resolution_mu(self.tokens(shape)).exp();
        }
        match self.time_shift {
            TimeShift::Exponential => self.shift.exp(),
            TimeShift::Linear => self.shift,
        }
    }

    /// Tokens of a latent of this shape: those of every frame.
    fn tokens(&self, shape: [usize; 4]) -> f64 {
        let [_, frames, height, width] = shape;
        let side = |n: usize| n.div_ceil(self.patch.max(1)) as f64;
        frames as f64 * side(height) * side(width)
    }

    /// Exponential shift for so many tokens of the target.
    fn resolution_mu(&self, tokens: f64) -> f64 {
        let (base, most) = (self.base_tokens as f64, self.max_tokens as f64);
        self.base_shift + (tokens - base) * (self.max_shift - self.base_shift) / (most - base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shift_follows_the_tokens_of_the_target() {
        let config = FlowConfig {
            resolution_shift: true,
            ..FlowConfig::default()
        };
        // 1024² pixels, and 480×896 with 30×56 tokens.
        for (shape, mu) in [([16, 1, 128, 128], 0.693548), ([16, 1, 112, 60], 0.571774)] {
            assert!((config.factor(shape).ln() - mu).abs() < 5e-7);
        }
        assert!((config.factor([16, 1, 128, 128]) - 2.0008).abs() < 5e-5);
        assert_eq!(config.tokens([48, 21, 56, 30]), 8820.0);
        assert_eq!(FlowConfig::wan().factor([48, 21, 56, 30]), 5.0);
    }

    #[test]
    fn settings_without_meaning_are_named() {
        let faults = |change: fn(&mut FlowConfig)| {
            let mut config = FlowConfig::default();
            change(&mut config);
            let faults = config.validate();
            faults.iter().map(|f| f.key).collect::<Vec<_>>()
        };
        assert_eq!(FlowConfig::default().validate(), []);
        assert_eq!(FlowConfig::wan().validate(), []);
        assert_eq!(faults(|c| c.shift = f64::NAN), ["shift"]);
        assert_eq!(
            faults(|c| (c.time_shift, c.shift) = (TimeShift::Linear, 0.0)),
            ["shift"]
        );
        assert_eq!(faults(|c| c.shift_terminal = 1.0), ["shift_terminal"]);
        assert_eq!(faults(|c| c.logit_std = 0.0), ["logit_std"]);
        assert_eq!(faults(|c| c.max_tokens = 256), ["max_tokens"]);
        assert_eq!(faults(|c| c.patch = 0), ["patch"]);
        assert_eq!(
            faults(|c| c.min_timestep_boundary = 1.0),
            ["max_timestep_boundary"]
        );
        assert_eq!(
            faults(|c| c.max_timestep_boundary = 1.5),
            ["max_timestep_boundary"]
        );
        let matched = faults(|c| (c.sampling, c.bf16_timesteps) = (LevelSampling::Uniform, true));
        assert_eq!(matched, ["bf16_timesteps"]);
    }

    #[test]
    fn names_are_those_of_a_settings_file() {
        let text = r#"{"sampling": "logit_normal", "time_shift": "linear", "weighting": "none"}"#;
        let config: FlowConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.sampling, LevelSampling::LogitNormal);
        assert_eq!(config.weighting, Weighting::None);
        assert_eq!(config.shift, 0.8);
        assert!(serde_json::from_str::<FlowConfig>(r#"{"shfit": 1}"#).is_err());
    }
}
