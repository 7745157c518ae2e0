//! Greedy accuracy on held-out rows.

use vtb_nn::lm::{CausalLm, LmRow, SampleOptions};
use vtb_rewards::{Completion, Registry, Reward};
use vtb_trainer::TrainError;
use vtb_trainer::objectives::Accuracy;
use vtb_trainer::train::{Evaluation, Prompt, PromptSource};

/// Rows answered together.
const BATCH: usize = 64;

/// Answers every prompt greedily and counts the right ones: those the `auto` reward gives its full score.
pub fn accuracy(
    model: &dyn CausalLm,
    prompts: &dyn PromptSource,
    stop_ids: &[u32],
    max_new_tokens: usize,
) -> Result<Accuracy, TrainError> {
    let judge = judge()?;
    let options = SampleOptions {
        max_new_tokens,
        temperature: 0.0,
        stop_ids: stop_ids.to_vec(),
        ..SampleOptions::default()
    };
    let mut right = 0;
    let all: Vec<usize> = (0..prompts.len()).collect();
    for indices in all.chunks(BATCH) {
        let batch = indices
            .iter()
            .map(|i| prompts.prompt(*i))
            .collect::<Result<Vec<Prompt>, TrainError>>()?;
        let rows: Vec<LmRow> = batch.iter().map(|p| p.row.clone()).collect();
        let completions = model.generate(&rows, &options, &vec![0; rows.len()])?;
        for (prompt, completion) in batch.iter().zip(completions) {
            let text = prompts.decode(&completion.ids)?;
            let score = judge.score(&Completion::new(text), &prompt.reference);
            right += usize::from(score.value >= 1.0);
        }
    }
    Ok(Accuracy::from_counts(right, prompts.len()))
}

fn judge() -> Result<Box<dyn Reward>, TrainError> {
    Registry::builtin()
        .build("auto", &serde_json::Value::Null)
        .map_err(TrainError::other)
}

/// As the step loop logs it.
pub fn evaluation(found: &Accuracy) -> Evaluation {
    let named = [
        ("eval/accuracy", found.accuracy),
        ("eval/accuracy_low", found.low),
        ("eval/accuracy_high", found.high),
    ];
    Evaluation {
        metrics: named.map(|(k, v)| (k.to_owned(), v)).into(),
        score: Some(found.accuracy),
    }
}
