//! GRPO against `tests/fixtures/grpo/grpo.json`: losses and autograd gradients of the same formulas in torch,
//! float64, made by `tests/parity/make_grpo.py`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

use std::fs;
use std::path::Path;

use serde::Deserialize;
use vtb_trainer::objectives::grpo::{
    GrpoConfig, GrpoLoss, ImportanceLevel, LossRow, LossType, ScaleRewards, StepCounts, advantages,
    grpo_loss,
};

const ZERO_STD: f64 = 1e-6;

#[derive(Deserialize)]
struct Fixture {
    inputs: Inputs,
    advantages: ByScale,
    cases: Vec<Case>,
    logits_case: LogitsCase,
}

/// Lists of rows are padded to a common length; `mask` says where.
#[derive(Deserialize)]
struct Inputs {
    logits: Vec<Vec<Vec<f64>>>,
    chosen: Vec<Vec<usize>>,
    logp: Vec<Vec<f64>>,
    old_logp: Vec<Vec<f64>>,
    ref_logp: Vec<Vec<f64>>,
    rewards: Vec<f64>,
    mask: Vec<Vec<f64>>,
    truncated: Vec<bool>,
    generations: usize,
    max_completion_length: usize,
    whole_batch_tokens: f64,
    temperature: f64,
    reward_std_zero_groups: usize,
}

#[derive(Deserialize)]
struct ByScale {
    group: Vec<f64>,
    batch: Vec<f64>,
    none: Vec<f64>,
}

#[derive(Deserialize)]
struct Case {
    loss_type: LossType,
    importance_level: ImportanceLevel,
    scale_rewards: ScaleRewards,
    epsilon_low: f64,
    epsilon_high: f64,
    beta: f64,
    mask_truncated: bool,
    on_policy: bool,
    advantages: Vec<f64>,
    loss: f64,
    grad_logp: Vec<Vec<f64>>,
    clip_ratio: ClipRatio,
    kl: Option<f64>,
}

#[derive(Deserialize)]
struct ClipRatio {
    low_mean: f64,
    high_mean: f64,
    region_mean: f64,
}

#[derive(Deserialize)]
struct LogitsCase {
    loss_type: LossType,
    importance_level: ImportanceLevel,
    scale_rewards: ScaleRewards,
    epsilon_low: f64,
    epsilon_high: f64,
    beta: f64,
    loss: f64,
    grad_logits: Vec<Vec<Vec<f64>>>,
    entropy: Vec<Vec<f64>>,
    mean_entropy: f64,
}

fn fixture() -> Fixture {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/grpo/grpo.json");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).expect("the fixture holds what its script writes")
}

impl Inputs {
    fn masks(&self, mask_truncated: bool) -> Vec<Vec<bool>> {
        let rows = self.mask.iter().zip(&self.truncated);
        rows.map(|(row, truncated)| {
            let out = mask_truncated && *truncated;
            row.iter().map(|m| *m > 0.0 && !out).collect()
        })
        .collect()
    }

    fn advantages(&self, scale: ScaleRewards) -> Vec<f64> {
        let rewards: Vec<_> = self.rewards.iter().copied().map(Some).collect();
        let made = advantages(&rewards, self.generations, scale, ZERO_STD).expect("whole groups");
        let alike = made.groups.iter().filter(|g| g.std <= ZERO_STD).count();
        assert_eq!(alike, self.reward_std_zero_groups);
        made.values
    }
}

fn close(found: f64, expected: f64, tolerance: f64, what: &str) {
    let bound = tolerance * expected.abs().max(1.0);
    assert!(
        (found - expected).abs() <= bound,
        "{what}: {found} instead of {expected}"
    );
}

fn all_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        close(*f, *e, 1e-12, &format!("{what} {i}"));
    }
}

/// The step in micro-batches of `size` rows, summed as gradient accumulation does.
fn in_micro_batches(
    rows: &[LossRow<'_, f64>],
    config: &GrpoConfig,
    whole_batch_tokens: f64,
    size: usize,
) -> GrpoLoss {
    let counts = StepCounts {
        generation_tokens: whole_batch_tokens as usize,
        ..StepCounts::whole(rows.iter().map(|r| r.mask))
    };
    let settings = config.loss_settings();
    rows.chunks(size)
        .map(|part| grpo_loss(part, &settings, &counts).expect("matching rows"))
        .reduce(|mut sum, part| {
            sum.loss += part.loss;
            sum.gradients.extend(part.gradients);
            sum.stats.merge(&part.stats);
            sum
        })
        .expect("at least one row")
}

fn check_case(inputs: &Inputs, case: &Case, size: usize) {
    let config = GrpoConfig {
        num_generations: inputs.generations,
        max_completion_length: inputs.max_completion_length,
        loss_type: case.loss_type,
        importance_sampling_level: case.importance_level,
        epsilon: case.epsilon_low,
        epsilon_high: Some(case.epsilon_high),
        beta: case.beta,
        ..GrpoConfig::default()
    };
    let masks = inputs.masks(case.mask_truncated);
    let made = inputs.advantages(case.scale_rewards);
    all_close(&made, &case.advantages, "advantage");
    let rows: Vec<_> = (0..masks.len())
        .map(|i| LossRow {
            logp: inputs.logp[i].as_slice(),
            entropy: &[],
            old_logp: (!case.on_policy).then_some(inputs.old_logp[i].as_slice()),
            ref_logp: (case.beta > 0.0).then_some(inputs.ref_logp[i].as_slice()),
            mask: &masks[i],
            advantage: made[i],
        })
        .collect();
    let found = in_micro_batches(&rows, &config, inputs.whole_batch_tokens, size);
    close(found.loss, case.loss, 1e-12, "loss");
    for (row, expected) in found.gradients.iter().zip(&case.grad_logp) {
        for (f, e) in row.iter().zip(expected) {
            close(f64::from(*f), *e, 1e-8, "gradient");
        }
    }
    let metrics = found.stats.metrics();
    close(
        metrics["clip_ratio/low_mean"],
        case.clip_ratio.low_mean,
        1e-12,
        "low_mean",
    );
    close(
        metrics["clip_ratio/high_mean"],
        case.clip_ratio.high_mean,
        1e-12,
        "high_mean",
    );
    close(
        metrics["clip_ratio/region_mean"],
        case.clip_ratio.region_mean,
        1e-12,
        "region_mean",
    );
    assert_eq!(metrics.contains_key("kl"), case.kl.is_some());
    if let Some(kl) = case.kl {
        close(metrics["kl"], kl, 1e-12, "kl");
    }
}

#[test]
fn losses_gradients_and_metrics_equal_autograd_however_the_step_is_cut() {
    let fixture = fixture();
    assert!(fixture.cases.len() >= 32);
    for case in &fixture.cases {
        for size in [1, 5, fixture.inputs.mask.len()] {
            check_case(&fixture.inputs, case, size);
        }
    }
}

#[test]
fn advantages_equal_torch() {
    let Fixture {
        inputs, advantages, ..
    } = fixture();
    all_close(
        &inputs.advantages(ScaleRewards::Group),
        &advantages.group,
        "group",
    );
    all_close(
        &inputs.advantages(ScaleRewards::Batch),
        &advantages.batch,
        "batch",
    );
    all_close(
        &inputs.advantages(ScaleRewards::None),
        &advantages.none,
        "none",
    );
}

/// With temperature and log-softmax in the chain: `∂logp/∂logits = (onehot - p) / T`.
#[test]
fn the_chain_down_to_the_logits_equals_autograd() {
    let Fixture {
        inputs,
        logits_case: case,
        ..
    } = fixture();
    let config = GrpoConfig {
        loss_type: case.loss_type,
        importance_sampling_level: case.importance_level,
        epsilon: case.epsilon_low,
        epsilon_high: Some(case.epsilon_high),
        beta: case.beta,
        ..GrpoConfig::default()
    };
    let masks = inputs.masks(false);
    let made = inputs.advantages(case.scale_rewards);
    let log_softmax = |logits: &[f64]| -> Vec<f64> {
        let scaled: Vec<_> = logits.iter().map(|l| l / inputs.temperature).collect();
        let norm = scaled.iter().map(|l| l.exp()).sum::<f64>().ln();
        scaled.iter().map(|l| l - norm).collect()
    };
    let logp: Vec<Vec<f64>> = (0..masks.len())
        .map(|i| {
            let tokens = inputs.logits[i].iter().zip(&inputs.chosen[i]);
            tokens
                .map(|(logits, chosen)| log_softmax(logits)[*chosen])
                .collect()
        })
        .collect();
    let entropy: Vec<Vec<f32>> = case
        .entropy
        .iter()
        .map(|row| row.iter().map(|e| *e as f32).collect())
        .collect();
    let rows: Vec<_> = (0..masks.len())
        .map(|i| LossRow {
            logp: logp[i].as_slice(),
            entropy: &entropy[i],
            old_logp: Some(inputs.old_logp[i].as_slice()),
            ref_logp: Some(inputs.ref_logp[i].as_slice()),
            mask: &masks[i],
            advantage: made[i],
        })
        .collect();
    let found = in_micro_batches(&rows, &config, inputs.whole_batch_tokens, 5);
    close(found.loss, case.loss, 1e-12, "loss");
    close(
        found.stats.metrics()["entropy"],
        case.mean_entropy,
        1e-7,
        "entropy",
    );
    for (i, expected) in case.grad_logits.iter().enumerate() {
        for (t, expected) in expected.iter().enumerate() {
            let upstream = f64::from(found.gradients[i][t]) / inputs.temperature;
            let p = log_softmax(&inputs.logits[i][t]);
            for (v, expected) in expected.iter().enumerate() {
                let hot = f64::from(u8::from(v == inputs.chosen[i][t]));
                close(
                    upstream * (hot - p[v].exp()),
                    *expected,
                    1e-8,
                    "logit gradient",
                );
            }
        }
    }
}
