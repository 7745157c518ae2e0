//! What the loop asks of an objective, and what objectives ask of data.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use vtb_data::Bucket;
use vtb_nn::lm::{LmRow, NamedTensors};
use vtb_rewards::Reference;

use crate::TrainError;
use crate::rollout::Chat;

/// The result of one optimizer step's worth of passes.
#[derive(Debug, Default)]
pub struct StepOutput {
    /// Gradients of the step's loss by parameter, summed over micro-batches.
    pub gradients: NamedTensors,
    /// Named numbers for the log; `loss` among them.
    pub metrics: BTreeMap<String, f64>,
    /// Completions worth showing, one JSON object each; empty where there are none.
    pub completions: Vec<Value>,
    /// A sentence that asks the loop to stop and keep the last good checkpoint.
    pub stop: Option<String>,
    /// Rows drawn from the data for this step; 0 where it lived on rows drawn before.
    pub rows: usize,
    /// Time the step waited for them.
    pub waited: Duration,
}

/// Where an objective stands in its data.
#[derive(Debug, Clone, Default)]
pub struct Position {
    /// Passes over the data finished.
    pub epoch: u64,
    /// The sampler's state.
    pub cursor: Value,
}

/// Something to train a model of the kind `M` for: every language model (SFT, GRPO), every model of velocities (flow
/// matching), or one in particular.
pub trait Objective<M: ?Sized> {
    /// Runs the passes of optimizer step `step` (0-based). Everything random derives from the run seed and the
    /// step, so that a resumed run repeats nothing and skips nothing.
    fn step(&mut self, model: &M, step: u64) -> Result<StepOutput, TrainError>;

    /// Where it stands in the data.
    fn position(&self) -> Position;

    /// What it needs, besides the position, to go on exactly.
    fn state(&self) -> Result<Value, TrainError>;

    /// Goes back to a position and a state.
    fn restore(&mut self, position: &Position, state: &Value) -> Result<(), TrainError>;
}

/// Rows of supervised data, encoded when asked for, by several threads at a time.
pub trait RowEncoder: Send + Sync + 'static {
    /// Number of rows.
    fn len(&self) -> usize;

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Tokens and pictures of row `index`, response tokens marked as scored.
    fn encode(&self, index: usize) -> Result<LmRow, TrainError>;

    /// How large row `index` is, as `bucket` measures it: rows of like size share a batch. The same every time, and
    /// cheaper than encoding. Not asked for without buckets.
    fn size(&self, index: usize, bucket: Bucket) -> Result<u64, TrainError> {
        no_size(index, bucket)
    }
}

pub(super) fn no_size(index: usize, bucket: Bucket) -> Result<u64, TrainError> {
    Err(TrainError::Config(format!(
        "this data cannot tell the size of row {index} for {bucket:?} buckets; use none"
    )))
}

/// A prompt of reinforcement learning and what its answer is checked against.
#[derive(Debug, Clone)]
pub struct Prompt {
    /// Tokens and pictures, up to where the completion begins.
    pub row: LmRow,
    /// What rewards compare with.
    pub reference: Reference,
    /// Name of the row, for logs.
    pub id: String,
    /// The question as text, for logs.
    pub text: String,
    /// The same as a conversation, where a server completes it; absent where the tokens are enough.
    pub chat: Option<Arc<Chat>>,
}

/// Prompts, encoded when asked for, by several threads at a time.
pub trait PromptSource: Send + Sync + 'static {
    /// Number of prompts.
    fn len(&self) -> usize;

    /// Whether there is no prompt.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Prompt `index`.
    fn prompt(&self, index: usize) -> Result<Prompt, TrainError>;

    /// How large prompt `index` is, as [`RowEncoder::size`].
    fn size(&self, index: usize, bucket: Bucket) -> Result<u64, TrainError> {
        no_size(index, bucket)
    }

    /// Text of completion ids, special tokens dropped.
    fn decode(&self, ids: &[u32]) -> Result<String, TrainError>;
}
