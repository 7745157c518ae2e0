//! Where completions come from.

mod chat;
#[cfg(feature = "http")]
mod http;
mod in_process;

use vtb_nn::lm::{CausalLm, Completion, SampleOptions};

pub use chat::{Chat, ChatPart, ChatTurn};
#[cfg(feature = "http")]
pub use http::{ApiKey, HttpFault, HttpRollout, HttpSettings, check_address};
pub use in_process::InProcess;

use crate::TrainError;
use crate::train::Prompt;

/// Samples completions for prompts: the model in this process, or a server that holds a copy of it.
pub trait Rollout {
    /// One completion per prompt, in their order, with the log-probabilities of the policy that sampled. `seeds[i]` is
    /// the sampling stream of prompt `i`; in this process, equal seeds, prompts and weights give equal completions
    /// whatever rows stand beside. A server is as deterministic as it is.
    fn complete(
        &mut self,
        model: &dyn CausalLm,
        prompts: &[&Prompt],
        options: &SampleOptions,
        seeds: &[u64],
    ) -> Result<Vec<Completion>, TrainError>;
}

impl Rollout for Box<dyn Rollout> {
    fn complete(
        &mut self,
        model: &dyn CausalLm,
        prompts: &[&Prompt],
        options: &SampleOptions,
        seeds: &[u64],
    ) -> Result<Vec<Completion>, TrainError> {
        self.as_mut().complete(model, prompts, options, seeds)
    }
}
