//! What goes wrong between this process and a server, with the address and the way out.

use crate::TrainError;

/// Errors of completions over HTTP.
#[derive(Debug, thiserror::Error)]
pub enum HttpFault {
    /// A setting has no meaning.
    #[error("`{key}` {message}")]
    Setting {
        /// The key, or the name of the environment variable.
        key: String,
        /// What is wrong and what is meant.
        message: String,
    },
    /// No connection, or one that breaks.
    #[error(
        "{url} cannot be reached: {reason} ({attempts} attempts); start the server, or say where it is in rollout.url"
    )]
    Unreachable {
        /// What was asked.
        url: String,
        /// What the last attempt met.
        reason: String,
        /// Requests that were made.
        attempts: u32,
    },
    /// The time is over.
    #[error(
        "{url} gave no whole answer within {seconds} s; look at the server's log, lower rollout.concurrency or \
         grpo.max_completion_length, or raise rollout.timeout_seconds"
    )]
    Timeout {
        /// What was asked.
        url: String,
        /// The limit.
        seconds: f64,
    },
    /// A status other than success.
    #[error("{url} answers with status {status}: {message}; {hint}")]
    Refused {
        /// What was asked.
        url: String,
        /// The status.
        status: u16,
        /// The server's own words, cut short.
        message: String,
        /// What to do.
        hint: String,
    },
    /// An answer that is not what the protocol says.
    #[error("the answer of {url} {reason}")]
    Answer {
        /// What was asked.
        url: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The server made other tokens of a prompt.
    #[error(
        "{id}: {url} makes other tokens of the prompt than this process: {difference}; serve the same model directory \
         with its own chat template, and the same limits on pictures (--mm-processor-kwargs)"
    )]
    Prompt {
        /// The row.
        id: String,
        /// What was asked.
        url: String,
        /// Where both first differ.
        difference: String,
    },
    /// A prompt that cannot be sent.
    #[error(
        "{id} cannot be completed over HTTP: it comes without a conversation; use rollout.backend = `in-process`"
    )]
    NoChat {
        /// The row.
        id: String,
    },
    /// The adapter has no effect there.
    #[error(
        "the server answers with the base model: {url} was told to use adapter `{adapter}`, but over {tokens} tokens \
         its log-probabilities hold {:.0} % of what the adapter changes; start it with --enable-lora and a version \
         that applies LoRA to this model, and see that no proxy replaces `model`",
        100.0 * share.abs()
    )]
    BaseModel {
        /// What was asked.
        url: String,
        /// Name under which the adapter was loaded.
        adapter: String,
        /// Tokens compared.
        tokens: usize,
        /// Part of the adapter's effect that was found; 1 where it acts in full.
        share: f64,
    },
    /// Another policy answers.
    #[error(
        "the log-probabilities of {url} lie {difference:.4} nats from ours in the mean over {tokens} tokens, more than \
         rollout.canary_tolerance = {tolerance}; serve the same base model in a like precision, and with \
         --logprobs-mode processed_logprobs where grpo.temperature is not 1"
    )]
    Differs {
        /// What was asked.
        url: String,
        /// Mean absolute difference in nats.
        difference: f64,
        /// Tokens compared.
        tokens: usize,
        /// The limit.
        tolerance: f64,
    },
}

impl From<HttpFault> for TrainError {
    fn from(fault: HttpFault) -> Self {
        Self::other(fault)
    }
}

/// Text of a server, short and on one line.
pub(super) fn printable(text: &str) -> String {
    const MOST: usize = 300;
    let shown = |c: char| if c.is_control() { ' ' } else { c };
    let mut line: String = text.trim().chars().map(shown).take(MOST).collect();
    if text.trim().chars().nth(MOST).is_some() {
        line.push('…');
    }
    line
}
