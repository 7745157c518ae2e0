//! What is asked for and what is answered: vLLM's `/v1/chat/completions`.
//!
//! The endpoint of conversations is used, since `/v1/completions` takes token ids but no pictures. It makes tokens of
//! its own from the messages, so it is asked to send them back (`return_token_ids`), and they must be ours: then the
//! ids that were sampled continue our prompt. Sampled ids come from `token_ids`, never from text, which another
//! tokenisation could cut otherwise.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};
use vtb_nn::lm::{Completion, SampleOptions, StopReason};

use super::error::{HttpFault, printable};
use crate::rollout::{Chat, ChatPart};

/// Where completions are asked for.
pub(super) const PATH: &str = "/v1/chat/completions";
/// vLLM writes this for a probability of 0.
const NO_PROBABILITY: f64 = -9999.0;

/// The body of a request. Every sampling parameter is written out: a server otherwise takes those of the model's
/// `generation_config.json`.
pub(super) fn request(
    adapter: &str,
    chat: &Chat,
    options: &SampleOptions,
    seed: u64,
    banned: &[u32],
) -> Value {
    let turns = chat.turns.iter().map(|turn| {
        let parts: Vec<Value> = turn.parts.iter().map(part).collect();
        json!({"role": turn.role, "content": parts})
    });
    let bias: serde_json::Map<String, Value> = banned
        .iter()
        .map(|id| (id.to_string(), json!(-100)))
        .collect();
    json!({
        "model": adapter,
        "messages": turns.collect::<Vec<_>>(),
        "max_tokens": options.max_new_tokens,
        "temperature": options.temperature,
        "top_p": options.top_p,
        "top_k": if options.top_k == 0 { -1 } else { options.top_k as i64 },
        "min_p": 0.0,
        "repetition_penalty": options.repetition_penalty,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        // The field is signed: the same 64 bits.
        "seed": seed.cast_signed(),
        "stop_token_ids": options.stop_ids,
        "logit_bias": bias,
        "n": 1,
        "stream": false,
        "logprobs": true,
        "top_logprobs": 0,
        "return_token_ids": true,
    })
}

fn part(part: &ChatPart) -> Value {
    match part {
        ChatPart::Text(text) => json!({"type": "text", "text": text}),
        ChatPart::Picture(png) => {
            let url = format!("data:image/png;base64,{}", STANDARD.encode(png));
            json!({"type": "image_url", "image_url": {"url": url}})
        }
    }
}

/// Most bytes of an answer: ids of the prompt, and per new token its id, its text and bytes, and its log-probability.
pub(super) fn answer_limit(prompt: usize, options: &SampleOptions) -> u64 {
    (64 << 10) + 16 * prompt as u64 + 4096 * options.max_new_tokens as u64
}

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
    prompt_token_ids: Option<Vec<u32>>,
}

#[derive(Deserialize)]
struct Choice {
    token_ids: Option<Vec<u32>>,
    logprobs: Option<Logprobs>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Logprobs {
    content: Option<Vec<Logprob>>,
}

#[derive(Deserialize)]
struct Logprob {
    logprob: f64,
}

/// What an answer is held against.
pub(super) struct Expected<'a> {
    pub(super) url: &'a str,
    /// Name of the row.
    pub(super) id: &'a str,
    /// Our tokens of the prompt.
    pub(super) prompt: &'a [u32],
    pub(super) options: &'a SampleOptions,
    pub(super) banned: &'a [u32],
}

impl Expected<'_> {
    fn fault(&self, reason: impl Into<String>) -> HttpFault {
        HttpFault::Answer {
            url: self.url.to_owned(),
            reason: reason.into(),
        }
    }

    /// Reads an answer, and refuses what does not continue our prompt as was asked.
    pub(super) fn read(&self, body: &[u8]) -> Result<Completion, HttpFault> {
        let answer: Answer = serde_json::from_slice(body).map_err(|e| {
            let what = printable(&e.to_string());
            self.fault(format!(
                "is not that of a chat completion ({what}); is this an OpenAI-compatible server?"
            ))
        })?;
        let Some(theirs) = answer.prompt_token_ids else {
            return Err(self.fault(NO_IDS));
        };
        self.same_prompt(&theirs)?;
        let mut choices = answer.choices.into_iter();
        let (Some(choice), None) = (choices.next(), choices.next()) else {
            return Err(self.fault("does not hold one completion, although one was asked for"));
        };
        let Some(ids) = choice.token_ids else {
            return Err(self.fault(NO_IDS));
        };
        let found = choice.logprobs.and_then(|l| l.content).unwrap_or_default();
        let logprobs = self.logprobs(&ids, &found)?;
        let stop = self.ending(&ids, choice.finish_reason.as_deref().unwrap_or("none"))?;
        if let Some(id) = ids.iter().find(|id| self.banned.contains(id)) {
            return Err(self.fault(format!(
                "holds token {id}, which stands for a picture or video and was forbidden by `logit_bias`; update the \
                 server"
            )));
        }
        Ok(Completion {
            ids,
            logprobs,
            stop,
        })
    }

    fn same_prompt(&self, theirs: &[u32]) -> Result<(), HttpFault> {
        if theirs == self.prompt {
            return Ok(());
        }
        let at = theirs.iter().zip(self.prompt).take_while(|(a, b)| a == b);
        let at = at.count();
        let token = |ids: &[u32]| ids.get(at).map_or("the end".to_owned(), u32::to_string);
        Err(HttpFault::Prompt {
            id: self.id.to_owned(),
            url: self.url.to_owned(),
            difference: format!(
                "token {at} is {} there and {} here ({} and {} tokens in all)",
                token(theirs),
                token(self.prompt),
                theirs.len(),
                self.prompt.len()
            ),
        })
    }

    fn logprobs(&self, ids: &[u32], found: &[Logprob]) -> Result<Vec<f32>, HttpFault> {
        if found.len() != ids.len() {
            return Err(self.fault(format!(
                "has {} log-probabilities for {} sampled tokens; one each is needed",
                found.len(),
                ids.len()
            )));
        }
        // A hair above 0 is rounding.
        let good = |l: f64| l <= 1e-3 && l > NO_PROBABILITY;
        if let Some(bad) = found.iter().find(|l| !good(l.logprob)) {
            return Err(self.fault(format!(
                "has {} as a log-probability; start vLLM with --logprobs-mode processed_logprobs or raw_logprobs",
                bad.logprob
            )));
        }
        Ok(found.iter().map(|l| l.logprob as f32).collect())
    }

    fn ending(&self, ids: &[u32], finish: &str) -> Result<StopReason, HttpFault> {
        let stops = |id: &u32| self.options.stop_ids.contains(id);
        let most = self.options.max_new_tokens;
        let Some((last, before)) = ids.split_last() else {
            return Err(self.fault(format!(
                "holds no token (finish_reason `{}`)",
                printable(finish)
            )));
        };
        if ids.len() > most || before.iter().any(stops) {
            return Err(self.fault(format!(
                "goes on after the end: {} tokens of at most {most}, or beyond a stop token; does the server know \
                 `stop_token_ids` and `max_tokens`?",
                ids.len()
            )));
        }
        match (stops(last), finish) {
            (true, _) => Ok(StopReason::Stop),
            (false, "length") if ids.len() == most => Ok(StopReason::Length),
            (false, "length") => Err(self.fault(format!(
                "was cut off after {} tokens of {most}; raise the server's --max-model-len",
                ids.len()
            ))),
            (false, other) => Err(self.fault(format!(
                "ended for `{}` at token {last}, which is no stop token of the model here; serve the same model \
                 directory",
                printable(other)
            ))),
        }
    }
}

const NO_IDS: &str = "holds no token ids, although `return_token_ids` was asked for; vLLM knows it from version 0.10.2 on";

#[cfg(test)]
mod tests;
