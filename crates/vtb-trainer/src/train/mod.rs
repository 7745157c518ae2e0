//! The step loop and the objectives it drives.

mod grpo;
mod grpo_batch;
mod loader;
mod objective;
mod router_loss;
mod sft;
mod step_loop;

pub use grpo::{GrpoObjective, GrpoSettings};
#[cfg(feature = "http")]
pub use grpo_batch::with_completion;
pub use loader::LoadOptions;
pub use objective::{Objective, Position, Prompt, PromptSource, RowEncoder, StepOutput};
pub use sft::{SftObjective, SftSettings};
pub use step_loop::{
    Evaluate, Evaluation, Export, Hooks, LoopConfig, Outcome, RunContext, ShowCompletions, train,
};
