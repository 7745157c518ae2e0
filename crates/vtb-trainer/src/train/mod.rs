//! The step loop and the objectives it drives.

mod config;
mod flow;
mod flow_data;
mod flow_eval;
mod flow_pass;
mod grpo;
mod grpo_batch;
mod hooks;
mod loader;
mod objective;
mod router_loss;
mod sft;
mod step_loop;

pub use config::{LoopConfig, RunContext};
pub use flow::{FlowObjective, FlowSettings};
pub use flow_data::{FlowSample, FlowSource, shape_key};
pub use flow_eval::{FlowEval, FlowMeasured, LevelLoss};
pub use grpo::{GrpoObjective, GrpoSettings};
pub use grpo_batch::with_completion;
pub use hooks::{DrawSamples, Evaluate, Evaluation, Export, Hooks, ShowCompletions};
pub use loader::LoadOptions;
pub use objective::{Objective, Position, Prompt, PromptSource, RowEncoder, StepOutput};
pub use sft::{SftObjective, SftSettings};
pub use step_loop::{Outcome, check_resume, train};
