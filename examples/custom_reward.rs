//! A reward of your own, registered by name beside those of `vtb-rewards`.
//!
//! A reward is a pure function of what the policy wrote and what the row says is true. Register it
//! under a name and a configuration can mix it with ours, with a weight and parameters:
//!
//! ```text
//! cargo run --example custom_reward
//! ```

#![allow(clippy::print_stdout)] // the scores are what this program is for

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value, json};
use vtb_rewards::{
    Completion, Reference, Registry, Reward, RewardError, RewardSpec, Score, WeightedRewards,
};

/// Full marks up to `words` words before the answer, then less and less down to 0 at twice as many.
struct ShortReasoning {
    words: usize,
}

impl ShortReasoning {
    const NAME: &str = "short_reasoning";

    /// Reads `{"words": N}`; an error here is shown when the run is configured, not after an hour.
    fn from_params(params: &Value) -> vtb_rewards::Result<Box<dyn Reward>> {
        let words = params["words"]
            .as_u64()
            .and_then(|words| usize::try_from(words).ok());
        match words.filter(|&words| words > 0) {
            Some(words) => Ok(Box::new(Self { words })),
            None => Err(RewardError::Params {
                name: Self::NAME.to_owned(),
                reason: "`words` must be a whole number above 0".to_owned(),
            }),
        }
    }
}

impl Reward for ShortReasoning {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn score(&self, completion: &Completion<'_>, _reference: &Reference) -> Score {
        let text = completion.text();
        let reasoning = text.split("<answer>").next().unwrap_or(text);
        let used = reasoning.split_whitespace().count();
        let excess = used.saturating_sub(self.words) as f64 / self.words as f64;
        Score::ok((1.0 - excess).max(0.0)).component("words", used as f64)
    }
}

/// What `rewards = [...]` holds in the configuration of a run.
fn configured() -> Value {
    json!([
        {"name": "auto"},
        {"name": "format", "params": {"value": 0.1}},
        {"name": "short_reasoning", "weight": 0.2, "params": {"words": 8}},
    ])
}

fn rewards() -> Result<WeightedRewards> {
    let mut registry = Registry::builtin();
    registry.register(ShortReasoning::NAME, ShortReasoning::from_params)?;
    let specs: Vec<RewardSpec> = serde_json::from_value(configured())?;
    Ok(WeightedRewards::from_specs(&registry, &specs)?)
}

/// Columns of a training row that rewards look at.
fn reference(row: Value) -> Result<Reference> {
    let columns: Map<String, Value> = serde_json::from_value(row)?;
    Reference::from_row(&columns).context("this row cannot be judged")
}

fn main() -> Result<()> {
    let rewards = rewards()?;
    let choice = reference(json!({"solution": "B", "options": ["A", "B", "C", "D", "E"]}))?;
    let path = reference(json!({
        "solution": [1, 2, 3, 4],
        "maze": {"cells": [1, 2, 3, 4, 5], "passages": [[1, 2], [2, 3], [3, 4], [2, 5]],
                 "start": 1, "goal": 4},
    }))?;
    let completions = [
        (
            &choice,
            "The second mark halves the line. <answer>B</answer>",
        ),
        (&choice, "B"),
        (&choice, "<answer>A</answer> <answer>B</answer>"),
        (&path, "Right, right, right. <answer>[1, 2, 3, 4]</answer>"),
        (&path, "Through the wall. <answer>[1, 2, 4]</answer>"),
    ];
    for (reference, text) in completions {
        let total = rewards.total(&Completion::new(text), reference);
        ensure!(total.errors() == 0, "a reward failed on {text:?}");
        println!("{:+.3}  {text}", total.value);
        for (name, value) in total.named_values() {
            let shown = value.map_or("does not apply".to_owned(), |value| format!("{value:.3}"));
            println!("        {name:<24} {shown}");
        }
    }
    Ok(())
}
