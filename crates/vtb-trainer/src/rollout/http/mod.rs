//! Completions from an OpenAI-compatible server that loads adapters while it runs, such as vLLM.
//!
//! Before completions are asked for, the server is brought to the weights that train: the adapter is written as a PEFT
//! directory, loaded there under a name that tells its content, and tried by a canary. Then every prompt is a request
//! of its own, with its own seed, so many at a time.

mod adapter;
mod canary;
mod client;
mod error;
mod key;
mod protocol;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use vtb_nn::lm::{AdapterState, CausalLm, Completion, LmRow, SampleOptions, ScoreOptions};

pub use client::check_address;
pub use error::HttpFault;
pub use key::ApiKey;

use super::Rollout;
use crate::TrainError;
use crate::train::{Prompt, with_completion};
use adapter::Adapters;
use canary::{Canary, Verdict};
use client::Client;
use protocol::{Expected, PATH, answer_limit, request};

const MODELS: &str = "/v1/models";
/// Largest list of models.
const MODELS_LIMIT: u64 = 4 << 20;
/// Prompts that try a fresh adapter, and most tokens of each.
const CANARY_ROWS: usize = 4;
const CANARY_TOKENS: usize = 64;

/// How to reach a server and how much of it to ask.
#[derive(Debug, Clone)]
pub struct HttpSettings {
    /// Scheme, host and port, without `/v1`.
    pub url: String,
    /// Sent as `Authorization: Bearer`.
    pub key: Option<ApiKey>,
    /// Adapters are written here, one directory each; the previous one is removed when the next is loaded.
    pub adapter_dir: PathBuf,
    /// The same directory where the server sees it by another path.
    pub server_adapter_dir: Option<PathBuf>,
    /// What adapters call their base model.
    pub base_model: String,
    /// Requests at a time.
    pub concurrency: usize,
    /// Longest time of one request.
    pub timeout: Duration,
    /// Attempts where connections break or the server is overloaded.
    pub attempts: u32,
    /// Wait before the second attempt; doubled before each further one, up to half a minute.
    pub backoff: Duration,
    /// Largest mean difference in nats between the server's log-probabilities and ours.
    pub canary_tolerance: f64,
    /// Ids that must never be sampled: those that stand for pictures and videos.
    pub banned_ids: Vec<u32>,
}

/// [`Rollout`] over HTTP.
pub struct HttpRollout {
    settings: HttpSettings,
    client: Client,
    adapters: Adapters,
}

impl HttpRollout {
    /// Asks nothing of the server yet.
    ///
    /// # Errors
    /// [`HttpFault::Setting`] naming the key.
    pub fn new(settings: HttpSettings) -> Result<Self, HttpFault> {
        Ok(Self {
            client: Client::new(&settings)?,
            adapters: Adapters::new(
                settings.adapter_dir.clone(),
                settings.server_adapter_dir.clone(),
                settings.base_model.clone(),
            ),
            settings,
        })
    }

    /// Asks the server for its list of models: whether it is there and takes the key.
    ///
    /// # Errors
    /// [`HttpFault`]
    pub fn probe(&self) -> Result<(), HttpFault> {
        self.client.get(MODELS, MODELS_LIMIT)?;
        Ok(())
    }

    /// One completion per prompt. The first fault by order of the prompts is reported; after one, nothing more is asked.
    fn ask(
        &self,
        prompts: &[&Prompt],
        options: &SampleOptions,
        seeds: &[u64],
    ) -> Result<Vec<Completion>, HttpFault> {
        let count = prompts.len().min(seeds.len());
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let done: Mutex<Vec<(usize, Result<Completion, HttpFault>)>> = Mutex::default();
        let work = || {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= count || failed.load(Ordering::Relaxed) {
                    return;
                }
                let found = self.one(prompts[i], options, seeds[i]);
                failed.fetch_or(found.is_err(), Ordering::Relaxed);
                let mut done = done.lock().unwrap_or_else(|e| e.into_inner());
                done.push((i, found));
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.settings.concurrency.clamp(1, count.max(1)) {
                scope.spawn(work);
            }
        });
        let mut done = done.into_inner().unwrap_or_else(|e| e.into_inner());
        done.sort_by_key(|(i, _)| *i);
        done.into_iter().map(|(_, found)| found).collect()
    }

    fn one(
        &self,
        prompt: &Prompt,
        options: &SampleOptions,
        seed: u64,
    ) -> Result<Completion, HttpFault> {
        let Some(chat) = &prompt.chat else {
            return Err(HttpFault::NoChat {
                id: prompt.id.clone(),
            });
        };
        let banned = &self.settings.banned_ids;
        let body = request(self.adapters.name(), chat, options, seed, banned);
        let limit = answer_limit(prompt.row.ids.len(), options);
        let answer = self.client.post(PATH, &body.to_string(), limit)?;
        let expected = Expected {
            url: &self.client.url(PATH),
            id: &prompt.id,
            prompt: &prompt.row.ids,
            options,
            banned,
        };
        expected.read(&answer)
    }

    /// Compares the server's log-probabilities of a few completions with ours.
    fn try_adapter(
        &self,
        model: &dyn CausalLm,
        prompts: &[&Prompt],
        options: &SampleOptions,
        seeds: &[u64],
    ) -> Result<(), TrainError> {
        // Groups stand together: one prompt of each.
        let mut chosen: Vec<usize> = Vec::new();
        for (i, prompt) in prompts.iter().enumerate().take(seeds.len()) {
            let known = |j: &usize| std::ptr::eq(prompts[*j], *prompt);
            if chosen.len() < CANARY_ROWS && !chosen.iter().any(known) {
                chosen.push(i);
            }
        }
        let prompts: Vec<&Prompt> = chosen.iter().map(|i| prompts[*i]).collect();
        let seeds: Vec<u64> = chosen.iter().map(|i| seeds[*i]).collect();
        // Filters would change what a server calls its log-probabilities.
        let plain = SampleOptions {
            max_new_tokens: options.max_new_tokens.min(CANARY_TOKENS),
            top_k: 0,
            top_p: 1.0,
            repetition_penalty: 1.0,
            ..options.clone()
        };
        let completions = self.ask(&prompts, &plain, &seeds)?;
        let rows: Vec<LmRow> = prompts
            .iter()
            .zip(&completions)
            .map(|(prompt, completion)| with_completion(&prompt.row, &completion.ids))
            .collect();
        let temperature = options.temperature;
        let score = |adapter| {
            let options = ScoreOptions {
                temperature,
                adapter,
            };
            model.token_scores(&rows, &options)
        };
        let (on, off) = (score(AdapterState::On)?, score(AdapterState::Off)?);
        let mut canary = Canary::default();
        for ((completion, on), off) in completions.iter().zip(&on).zip(&off) {
            canary.add(&completion.logprobs, &on.logp, &off.logp);
        }
        self.judge(&canary)?;
        Ok(())
    }

    fn judge(&self, canary: &Canary) -> Result<(), HttpFault> {
        let (url, tokens) = (self.client.url(PATH), canary.tokens());
        let tolerance = self.settings.canary_tolerance;
        match canary.verdict(tolerance) {
            Verdict::Ours => {
                let difference = canary.difference();
                tracing::debug!("{url}: {difference:.5} nats from ours over {tokens} tokens");
                Ok(())
            }
            Verdict::Base { share } => Err(HttpFault::BaseModel {
                url,
                adapter: self.adapters.name().to_owned(),
                tokens,
                share,
            }),
            Verdict::Other { difference } => Err(HttpFault::Differs {
                url,
                difference,
                tokens,
                tolerance,
            }),
        }
    }
}

impl Rollout for HttpRollout {
    fn complete(
        &mut self,
        model: &dyn CausalLm,
        prompts: &[&Prompt],
        options: &SampleOptions,
        seeds: &[u64],
    ) -> Result<Vec<Completion>, TrainError> {
        if self.adapters.publish(&self.client, model)? {
            self.try_adapter(model, prompts, options, seeds)?;
        }
        Ok(self.ask(prompts, options, seeds)?)
    }
}
