//! Settings of GRPO, with the names users of TRL and ms-swift know.

use serde::{Deserialize, Serialize};

use super::correction::{CorrectionSettings, SamplingCorrection};
use super::loss::LossSettings;
use super::overlong::overlong_charge;
use crate::objectives::{ConfigFault, ObjectiveError};

/// How token losses are averaged. `ℓ` is a token's loss, sums run over unmasked completion tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    /// Mean over completions of each completion's token mean. Default, as in ms-swift. Tokens of long completions
    /// weigh less.
    #[default]
    Grpo,
    /// Sum over all tokens of the optimizer step divided by their number. TRL divides by the tokens of each
    /// *micro-batch* instead and averages those means, so its result changes with the way a step is cut; ours
    /// equals TRL's when the step is a single micro-batch.
    Bnpo,
    /// Sum over tokens divided by `completions · max_completion_length`: no length bias (Dr. GRPO).
    DrGrpo,
    /// Sum over tokens divided by the tokens of the whole generation batch. TRL's default. Where a generation batch
    /// feeds several optimizer steps, each is scaled down accordingly, as in TRL.
    Dapo,
    /// CISPO (MiniMax-M1, arXiv 2506.13585): the ratio, cut at `1 + epsilon_high` above, is a constant weight of
    /// `-A·log π`, so that every token keeps its gradient; summed and divided as for `dapo`. TRL's `epsilon_high` of
    /// this loss is the cap itself, one more than ours.
    Cispo,
}

/// What group-centred rewards are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleRewards {
    /// The standard deviation within the group.
    #[default]
    Group,
    /// The standard deviation over the whole batch.
    Batch,
    /// Nothing (Dr. GRPO).
    None,
}

/// What a probability ratio belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ImportanceLevel {
    /// Each token has its own ratio.
    #[default]
    Token,
    /// All tokens of a completion share the geometric mean of their ratios (GSPO).
    Sequence,
}

/// Settings of GRPO. Missing keys take the defaults stated here; unknown keys are errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GrpoConfig {
    /// Completions sampled per prompt (G), at least 2. Default 8.
    pub num_generations: usize,
    /// Most tokens of a completion. Default 512.
    pub max_completion_length: usize,
    /// Sampling temperature; log-probabilities in the loss use the same. Above 0. Default 1.
    pub temperature: f64,
    /// Nucleus mass in sampling, 1 is off. The loss ignores it. Default 1.
    pub top_p: f64,
    /// Sample among the `top_k` likeliest tokens, 0 is off. The loss ignores it. Default 0.
    pub top_k: usize,
    /// Penalty on tokens already seen in sampling, 1 is off. Default 1.
    pub repetition_penalty: f64,
    /// Weight of the KL term against the adapter-off policy. At 0 the reference is never computed. Default 0
    /// (TRL; ms-swift's command line uses 0.04).
    pub beta: f64,
    /// The ratio is clipped at `1 - epsilon` below. Default 0.2.
    pub epsilon: f64,
    /// The ratio is clipped at `1 + epsilon_high` above. Default: `epsilon`. DAPO uses 0.28.
    pub epsilon_high: Option<f64>,
    /// Cap of the ratio where the clip does not act (negative advantages), above `1 + epsilon_high`. Default: none.
    pub delta: Option<f64>,
    /// Passes over each generation batch. Default 1.
    pub num_iterations: usize,
    /// `grpo`, `bnpo`, `dr_grpo`, `dapo` or `cispo`. Default `grpo` (ms-swift; TRL's is `dapo`).
    pub loss_type: LossType,
    /// `group`, `batch` or `none`. Default `group`.
    pub scale_rewards: ScaleRewards,
    /// `token`, or `sequence` for GSPO. Default `token`.
    pub importance_sampling_level: ImportanceLevel,
    /// Leave completions that hit the length limit out of the loss. Default false.
    pub mask_truncated_completions: bool,
    /// Tokens before the length limit over which a completion is charged more and more for its length, up to
    /// `overlong_penalty` at the limit (DAPO's soft punishment). Default 0: off.
    pub overlong_buffer: usize,
    /// What a completion at the length limit is charged where `overlong_buffer` is above 0. Default 1.
    pub overlong_penalty: f64,
    /// Replace groups whose rewards are all alike by fresh prompts. Default false.
    pub dynamic_sample: bool,
    /// Most rounds of replacement per batch. Default 3.
    pub max_resample: usize,
    /// One weight per reward function, in their order; empty means 1 each. Default empty.
    pub reward_weights: Vec<f64>,
    /// A group whose reward standard deviation is at most this teaches nothing: advantages 0. Above float noise,
    /// below any true difference. Default 1e-6.
    pub zero_std_threshold: f64,
    /// `none`, `token_truncate`, `token_mask`, `sequence_truncate` or `sequence_mask`: weigh the policy term by how much
    /// likelier a completion is here than where it was sampled, for completions from a server. Default `none`.
    pub sampling_correction: SamplingCorrection,
    /// Largest weight of the correction. Default 3, as in TRL (ms-swift: 2).
    pub sampling_correction_cap: f64,
    /// Tokens, or completions, of a smaller weight are left out. Default: none are.
    pub sampling_correction_floor: Option<f64>,
    /// Stop the run when the mean token entropy (nats) falls below. Default: never.
    pub entropy_floor: Option<f64>,
    /// Stop the run when this share of completion tokens repeats the token before. Default: never.
    pub repetition_ceiling: Option<f64>,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        Self {
            num_generations: 8,
            max_completion_length: 512,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            repetition_penalty: 1.0,
            beta: 0.0,
            epsilon: 0.2,
            epsilon_high: None,
            delta: None,
            num_iterations: 1,
            loss_type: LossType::default(),
            scale_rewards: ScaleRewards::default(),
            importance_sampling_level: ImportanceLevel::default(),
            mask_truncated_completions: false,
            overlong_buffer: 0,
            overlong_penalty: 1.0,
            dynamic_sample: false,
            max_resample: 3,
            reward_weights: Vec::new(),
            zero_std_threshold: 1e-6,
            sampling_correction: SamplingCorrection::default(),
            sampling_correction_cap: 3.0,
            sampling_correction_floor: None,
            entropy_floor: None,
            repetition_ceiling: None,
        }
    }
}

impl GrpoConfig {
    /// All faults at once; an empty list means the settings can be used.
    pub fn validate(&self) -> Vec<ConfigFault> {
        let mut faults = Vec::new();
        let mut need = |ok: bool, key: &'static str, found: String, needed: &str| {
            if !ok {
                let message = format!("is {found}, but must be {needed}");
                faults.push(ConfigFault { key, message });
            }
        };
        self.check_sampling(&mut need);
        self.check_loss(&mut need);
        self.check_rewards(&mut need);
        faults
    }

    fn check_sampling(&self, need: &mut impl FnMut(bool, &'static str, String, &str)) {
        let count = |n: usize| n.to_string();
        need(
            self.num_generations >= 2,
            "num_generations",
            count(self.num_generations),
            "at least 2: a completion is judged against the others of its prompt",
        );
        need(
            self.max_completion_length >= 1,
            "max_completion_length",
            count(self.max_completion_length),
            "at least 1 token",
        );
        need(
            positive(self.temperature),
            "temperature",
            self.temperature.to_string(),
            "above 0: greedy completions of a prompt would all be equal",
        );
        need(
            self.top_p > 0.0 && self.top_p <= 1.0,
            "top_p",
            self.top_p.to_string(),
            "above 0 and at most 1",
        );
        need(
            positive(self.repetition_penalty),
            "repetition_penalty",
            self.repetition_penalty.to_string(),
            "above 0 (1 is off)",
        );
        need(
            !self.dynamic_sample || self.max_resample >= 1,
            "max_resample",
            count(self.max_resample),
            "at least 1 when `dynamic_sample` is on",
        );
    }

    fn check_loss(&self, need: &mut impl FnMut(bool, &'static str, String, &str)) {
        need(
            not_negative(self.beta),
            "beta",
            self.beta.to_string(),
            "0 or above",
        );
        need(
            self.epsilon > 0.0 && self.epsilon < 1.0,
            "epsilon",
            self.epsilon.to_string(),
            "above 0 and below 1",
        );
        if let Some(high) = self.epsilon_high {
            need(positive(high), "epsilon_high", high.to_string(), "above 0");
        }
        if let Some(delta) = self.delta {
            let least = 1.0 + self.epsilon_high();
            need(
                delta.is_finite() && delta > least,
                "delta",
                delta.to_string(),
                &format!("above 1 + epsilon_high = {least}"),
            );
        }
        need(
            self.delta.is_none() || self.loss_type != LossType::Cispo,
            "delta",
            "set".to_owned(),
            "left out for `cispo`, whose ratio is capped at 1 + epsilon_high already",
        );
        need(
            self.num_iterations >= 1,
            "num_iterations",
            self.num_iterations.to_string(),
            "at least 1",
        );
        self.check_correction(need);
    }

    fn check_correction(&self, need: &mut impl FnMut(bool, &'static str, String, &str)) {
        let (cap, floor) = (self.sampling_correction_cap, self.sampling_correction_floor);
        need(
            cap.is_finite() && cap >= 1.0,
            "sampling_correction_cap",
            cap.to_string(),
            "1 or above",
        );
        if let Some(floor) = floor {
            need(
                positive(floor) && floor < 1.0,
                "sampling_correction_floor",
                floor.to_string(),
                "above 0 and below 1",
            );
        }
    }

    fn check_rewards(&self, need: &mut impl FnMut(bool, &'static str, String, &str)) {
        let weights = &self.reward_weights;
        need(
            weights.iter().all(|w| w.is_finite())
                && (weights.is_empty() || weights.iter().any(|w| *w != 0.0)),
            "reward_weights",
            format!("{weights:?}"),
            "finite numbers, not all 0",
        );
        need(
            not_negative(self.overlong_penalty),
            "overlong_penalty",
            self.overlong_penalty.to_string(),
            "0 or above",
        );
        need(
            self.overlong_buffer <= self.max_completion_length,
            "overlong_buffer",
            self.overlong_buffer.to_string(),
            "at most max_completion_length",
        );
        need(
            not_negative(self.zero_std_threshold),
            "zero_std_threshold",
            self.zero_std_threshold.to_string(),
            "0 or above",
        );
        if let Some(floor) = self.entropy_floor {
            need(
                not_negative(floor),
                "entropy_floor",
                floor.to_string(),
                "0 or above",
            );
        }
        if let Some(ceiling) = self.repetition_ceiling {
            need(
                ceiling > 0.0 && ceiling <= 1.0,
                "repetition_ceiling",
                ceiling.to_string(),
                "above 0 and at most 1",
            );
        }
    }

    /// What is taken off the reward of a completion of so many tokens.
    pub fn overlong_charge(&self, tokens: usize) -> f64 {
        self.overlong_penalty
            * overlong_charge(tokens, self.max_completion_length, self.overlong_buffer)
    }

    /// The upper clip distance in effect.
    pub fn epsilon_high(&self) -> f64 {
        self.epsilon_high.unwrap_or(self.epsilon)
    }

    /// The part of the settings that the loss reads.
    pub fn loss_settings(&self) -> LossSettings {
        LossSettings {
            loss_type: self.loss_type,
            level: self.importance_sampling_level,
            epsilon_low: self.epsilon,
            epsilon_high: self.epsilon_high(),
            delta: self.delta,
            beta: self.beta,
            max_completion_length: self.max_completion_length,
        }
    }

    /// The part of the settings that the correction for another sampler reads.
    pub fn correction(&self) -> CorrectionSettings {
        CorrectionSettings {
            mode: self.sampling_correction,
            cap: self.sampling_correction_cap,
            floor: self.sampling_correction_floor,
        }
    }

    /// Whether log-probabilities must be kept from before the first update: only when a generation batch feeds
    /// more than one update in all. Otherwise the policy that is trained is the one that sampled, and the ratio is 1.
    pub fn needs_old_logp(&self, steps_per_pass: usize) -> bool {
        self.num_iterations * steps_per_pass > 1
    }

    /// One weight per reward function.
    ///
    /// # Errors
    /// If weights are set but their number is not `rewards`.
    pub fn weights(&self, rewards: usize) -> Result<Vec<f64>, ConfigFault> {
        match self.reward_weights.len() {
            0 => Ok(vec![1.0; rewards]),
            n if n == rewards => Ok(self.reward_weights.clone()),
            n => Err(ConfigFault {
                key: "reward_weights",
                message: format!("has {n} entries for {rewards} reward functions; give one each"),
            }),
        }
    }

    /// Number of prompts in a generation batch of `completions` rows.
    ///
    /// # Errors
    /// If they cannot be cut into groups of `num_generations`.
    pub fn groups(&self, completions: usize) -> Result<usize, ObjectiveError> {
        super::advantage::group_count(completions, self.num_generations)
    }
}

fn positive(value: f64) -> bool {
    value.is_finite() && value > 0.0
}

fn not_negative(value: f64) -> bool {
    value.is_finite() && value >= 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid_and_survive_json() {
        let config = GrpoConfig::default();
        assert_eq!(config.validate(), []);
        let json = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<GrpoConfig>(&json).unwrap(), config);
        assert_eq!(serde_json::from_str::<GrpoConfig>("{}").unwrap(), config);
    }

    #[test]
    fn names_are_those_users_know() {
        let json = r#"{"loss_type":"dr_grpo","scale_rewards":"none","importance_sampling_level":"sequence"}"#;
        let config: GrpoConfig = serde_json::from_str(json).unwrap();
        assert_eq!(config.loss_type, LossType::DrGrpo);
        assert_eq!(config.scale_rewards, ScaleRewards::None);
        assert_eq!(config.importance_sampling_level, ImportanceLevel::Sequence);
        let error = serde_json::from_str::<GrpoConfig>(r#"{"num_generation":8}"#).unwrap_err();
        assert!(error.to_string().contains("num_generation"));
    }

    #[test]
    fn every_fault_is_reported_by_key() {
        let config = GrpoConfig {
            num_generations: 1,
            max_completion_length: 0,
            temperature: 0.0,
            top_p: 1.5,
            repetition_penalty: f64::NAN,
            beta: -0.1,
            epsilon: 1.0,
            epsilon_high: Some(0.0),
            delta: Some(0.9),
            num_iterations: 0,
            dynamic_sample: true,
            max_resample: 0,
            reward_weights: vec![0.0, 0.0],
            zero_std_threshold: f64::INFINITY,
            sampling_correction_cap: 0.5,
            sampling_correction_floor: Some(1.0),
            entropy_floor: Some(-1.0),
            repetition_ceiling: Some(0.0),
            ..GrpoConfig::default()
        };
        let mut keys: Vec<_> = config.validate().iter().map(|f| f.key).collect();
        keys.sort_unstable();
        let expected = [
            "beta",
            "delta",
            "entropy_floor",
            "epsilon",
            "epsilon_high",
            "max_completion_length",
            "max_resample",
            "num_generations",
            "num_iterations",
            "repetition_ceiling",
            "repetition_penalty",
            "reward_weights",
            "sampling_correction_cap",
            "sampling_correction_floor",
            "temperature",
            "top_p",
            "zero_std_threshold",
        ];
        assert_eq!(keys, expected);
    }

    #[test]
    fn a_fault_reads_as_a_sentence() {
        let config = GrpoConfig {
            epsilon_high: Some(0.3),
            delta: Some(1.2),
            ..GrpoConfig::default()
        };
        let faults = config.validate();
        assert_eq!(
            faults[0].to_string(),
            "`delta` is 1.2, but must be above 1 + epsilon_high = 1.3"
        );
    }

    #[test]
    fn old_log_probabilities_are_needed_only_off_policy() {
        let mut config = GrpoConfig::default();
        assert!(!config.needs_old_logp(1));
        assert!(config.needs_old_logp(2));
        config.num_iterations = 2;
        assert!(config.needs_old_logp(1));
    }

    #[test]
    fn weights_and_groups_are_checked() {
        let mut config = GrpoConfig::default();
        assert_eq!(config.weights(2).unwrap(), [1.0, 1.0]);
        config.reward_weights = vec![0.5];
        assert!(
            config
                .weights(2)
                .unwrap_err()
                .to_string()
                .contains("1 entries for 2")
        );
        assert_eq!(config.groups(16).unwrap(), 2);
        assert!(config.groups(12).is_err());
    }
}
