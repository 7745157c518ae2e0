//! The joint between language models and trainers.
//!
//! A trainer knows rows of token ids with pictures, per-token log-probabilities and named parameters. A model
//! implements [`CausalLm`]; neither crate imports the other. Objectives are functions of the log-probabilities of
//! the scored tokens, and hand back their derivative by each of them, so one backward pass serves supervised
//! fine-tuning, every GRPO variant, and whatever a user writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::Tensor;

use crate::NnError;
use crate::trainable::Trainable;

/// Flat (rank 1) tensors by parameter path, for gradients, updates and optimizer state.
pub type NamedTensors = BTreeMap<String, Tensor<1>>;

/// Patches of one picture or video as a vision tower reads them.
#[derive(Debug, Clone, PartialEq)]
pub struct ImagePatches {
    /// Row-major `[grid[0]·grid[1]·grid[2], patch_dim]`, normalised.
    pub values: Vec<f32>,
    /// Temporal, vertical and horizontal patch counts.
    pub grid: [usize; 3],
    /// Content hash: equal keys mean equal `values` and `grid`, so features may be shared.
    pub key: u64,
}

impl ImagePatches {
    /// Number of patches, the rows of [`ImagePatches::values`].
    pub fn rows(&self) -> usize {
        self.grid.iter().product()
    }
}

/// One tokenised conversation: prompt, or prompt and completion.
#[derive(Debug, Clone, Default)]
pub struct LmRow {
    /// Token ids, image placeholders already expanded; never padded.
    pub ids: Vec<u32>,
    /// Pictures and videos in the order of their placeholders. A video's temporal groups each have their own run of
    /// placeholders.
    pub images: Vec<Arc<ImagePatches>>,
    /// `scored[i]` asks for the log-probability of `ids[i]` given `ids[..i]`. Same length as `ids`, or empty for
    /// none; `scored[0]` is never true.
    pub scored: Vec<bool>,
}

impl LmRow {
    /// Number of scored tokens.
    pub fn scored_count(&self) -> usize {
        self.scored.iter().filter(|s| **s).count()
    }
}

/// Log-probabilities (natural log) and entropies of a row's scored tokens, in order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenScores {
    /// `ln p(token | prefix)` at the asked temperature.
    pub logp: Vec<f32>,
    /// Entropy in nats of the distribution each scored token was drawn from.
    pub entropy: Vec<f32>,
    /// Whether no token was likelier than the scored one: a greedy reader would have written it.
    pub top: Vec<bool>,
}

/// Whether adapters take part in a pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AdapterState {
    /// Adapters add their delta.
    #[default]
    On,
    /// The base model alone: the reference policy.
    Off,
}

/// How to score rows.
#[derive(Debug, Clone, Copy)]
pub struct ScoreOptions {
    /// Logits are divided by it before the softmax.
    pub temperature: f32,
    /// Adapter on, or the reference policy.
    pub adapter: AdapterState,
}

impl Default for ScoreOptions {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            adapter: AdapterState::On,
        }
    }
}

/// How to run a training pass.
#[derive(Debug, Clone, Copy)]
pub struct BackwardOptions {
    /// Logits are divided by it before the softmax.
    pub temperature: f32,
    /// Seed of the dropout masks; `None` disables dropout.
    pub dropout_seed: Option<u64>,
    /// Keep only block inputs and recompute each block in the backward pass.
    pub recompute: bool,
    /// Weight of the routers' load-balancing loss of this batch, in models with experts; 0 leaves it out.
    pub router_loss: f32,
}

impl Default for BackwardOptions {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            dropout_seed: None,
            recompute: true,
            router_loss: 0.0,
        }
    }
}

/// What a training pass knows beside its gradients.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PassReport {
    /// Load-balancing loss of the batch's routers, before its weight; `None` for models without experts.
    pub router_loss: Option<f32>,
}

/// How to sample completions.
#[derive(Debug, Clone)]
pub struct SampleOptions {
    /// Upper bound on the tokens of a completion.
    pub max_new_tokens: usize,
    /// 0 is greedy.
    pub temperature: f32,
    /// Keep the `top_k` largest logits (ties kept); 0 keeps all.
    pub top_k: usize,
    /// Nucleus mass; 1 keeps all.
    pub top_p: f32,
    /// Divides positive and multiplies negative logits of ids already seen; 1 is off.
    pub repetition_penalty: f32,
    /// A completion ends with the first of these ids.
    pub stop_ids: Vec<u32>,
    /// Rows that decode at a time; as one ends, a waiting one takes its place. 0: all at once. What is generated does
    /// not depend on it, the memory of keys and values does.
    pub max_num_seqs: usize,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            max_new_tokens: 512,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            repetition_penalty: 1.0,
            stop_ids: Vec::new(),
            max_num_seqs: 0,
        }
    }
}

/// Why a completion ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// One of the stop ids was produced (and is the last id of the completion).
    Stop,
    /// `max_new_tokens` was reached.
    Length,
}

/// One sampled continuation.
#[derive(Debug, Clone)]
pub struct Completion {
    /// New ids, the stop id included.
    pub ids: Vec<u32>,
    /// `ln p` of each new id at the sampling temperature, before top-k, top-p and penalties.
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub stop: StopReason,
}

/// A trainable parameter as optimizers and checkpoints see it.
#[derive(Debug, Clone, PartialEq)]
pub struct ParamInfo {
    /// Module path, equal to the published tensor name.
    pub name: String,
    /// Shape of the tensor.
    pub shape: Vec<usize>,
    /// Whether weight decay applies (matrices and adapter factors yes; norms and biases no).
    pub decay: bool,
}

/// Maps the scores of a batch to the derivative of the loss by every scored log-probability.
pub type LogpGradient<'a> = dyn FnMut(&[TokenScores]) -> Result<Vec<Vec<f32>>, NnError> + 'a;

/// A language model with pictures that can be scored, trained and sampled from.
pub trait CausalLm: Trainable {
    /// Scores of each row's scored tokens, outside autodiff.
    fn token_scores(
        &self,
        rows: &[LmRow],
        options: &ScoreOptions,
    ) -> Result<Vec<TokenScores>, NnError>;

    /// One forward and backward pass. `objective` is called once with the scores and answers with their
    /// derivatives; the gradients of all trainable parameters come back by name. Dropout, if any, is replayed
    /// identically where blocks are recomputed.
    fn backward(
        &self,
        rows: &[LmRow],
        options: &BackwardOptions,
        objective: &mut LogpGradient<'_>,
    ) -> Result<NamedTensors, NnError>;

    /// As [`CausalLm::backward`], with what the pass knows beside its gradients.
    fn backward_with_report(
        &self,
        rows: &[LmRow],
        options: &BackwardOptions,
        objective: &mut LogpGradient<'_>,
    ) -> Result<(NamedTensors, PassReport), NnError> {
        Ok((
            self.backward(rows, options, objective)?,
            PassReport::default(),
        ))
    }

    /// Continues every row with a key-value cache. `seeds[i]` is the sampling stream of row `i`: the result of a
    /// row does not depend on the rows beside it.
    fn generate(
        &self,
        rows: &[LmRow],
        options: &SampleOptions,
        seeds: &[u64],
    ) -> Result<Vec<Completion>, NnError>;

    /// Writes the adapter in effect as a PEFT directory, for a program that holds a copy of the base model.
    /// `base_model` is what the directory calls that base.
    ///
    /// # Errors
    /// The model has no adapter, or the disk refuses.
    fn write_adapter(&self, _dir: &Path, _base_model: &str) -> Result<(), NnError> {
        Err(NnError::input(
            "the model has no adapter that could be written; attach one first",
        ))
    }
}
