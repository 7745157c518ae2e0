use super::*;
use crate::objectives::grpo::GrpoConfig;

const TYPES: [LossType; 4] = [
    LossType::Grpo,
    LossType::Bnpo,
    LossType::DrGrpo,
    LossType::Dapo,
];
const LEVELS: [ImportanceLevel; 2] = [ImportanceLevel::Token, ImportanceLevel::Sequence];

fn settings(loss_type: LossType, level: ImportanceLevel, beta: f64) -> LossSettings {
    GrpoConfig {
        loss_type,
        importance_sampling_level: level,
        beta,
        epsilon: 0.2,
        epsilon_high: Some(0.3),
        delta: Some(2.0),
        max_completion_length: 7,
        ..GrpoConfig::default()
    }
    .loss_settings()
}

/// Owned rows, so that single log-probabilities can be nudged.
#[derive(Clone)]
struct Row {
    logp: Vec<f64>,
    old: Option<Vec<f64>>,
    reference: Vec<f64>,
    mask: Vec<bool>,
    advantage: f64,
}

impl Row {
    fn view(&self) -> LossRow<'_, f64> {
        LossRow {
            logp: &self.logp,
            entropy: &[],
            old_logp: self.old.as_deref(),
            ref_logp: Some(&self.reference),
            mask: &self.mask,
            advantage: self.advantage,
        }
    }
}

/// Completions of different lengths: every clip region for both signs of the advantage at token level (ratios from
/// 0.5 to 2.7), and one per region at sequence level; masked tokens within; one completion masked out; none on a kink.
fn rows() -> Vec<Row> {
    let spread = [-0.7, -0.1, 0.0, 0.15, 0.5, 1.0];
    let cases: [(&[f64], f64); 10] = [
        (&spread, 1.3),
        (&spread, -0.8),
        (&spread, 0.0),
        (&[0.6, 0.5], 0.9),
        (&[0.6, 0.5, 0.4], -0.9),
        (&[-0.5, -0.6], 0.7),
        (&[-0.5, -0.6, -0.2, -0.4], -0.7),
        (&[0.9, 0.8], -1.1),
        (&[0.05], 0.4),
        (&[0.3, -0.3], 2.0),
    ];
    let mut rows: Vec<Row> = cases
        .iter()
        .enumerate()
        .map(|(i, (ratios, advantage))| {
            let logp: Vec<f64> = (0..ratios.len())
                .map(|t| -0.3 - 0.17 * (i + 3 * t) as f64)
                .collect();
            Row {
                old: Some(logp.iter().zip(*ratios).map(|(l, d)| l - d).collect()),
                reference: logp
                    .iter()
                    .enumerate()
                    .map(|(t, l)| l + 0.4 - 0.3 * t as f64)
                    .collect(),
                mask: (0..logp.len()).map(|t| i != 1 || t != 2).collect(),
                logp,
                advantage: *advantage,
            }
        })
        .collect();
    rows[9].mask = vec![false; 2];
    rows
}

fn counts(rows: &[Row]) -> StepCounts {
    let mut counts = StepCounts::whole(rows.iter().map(|r| r.mask.as_slice()));
    // As if the generation batch had held more than this step.
    counts.generation_tokens += 11;
    counts
}

fn total(rows: &[Row], settings: &LossSettings, counts: &StepCounts) -> (Vec<Vec<f64>>, LossStats) {
    let views: Vec<_> = rows.iter().map(Row::view).collect();
    evaluate(&views, &[], settings, counts).unwrap()
}

fn every_setting(mut visit: impl FnMut(&LossSettings)) {
    for loss_type in TYPES {
        for level in LEVELS {
            for beta in [0.0, 0.3] {
                visit(&settings(loss_type, level, beta));
            }
        }
    }
}

#[test]
fn derivatives_match_finite_differences() {
    let rows = rows();
    let counts = counts(&rows);
    every_setting(|settings| {
        let (gradients, _) = total(&rows, settings, &counts);
        for (i, gradient) in gradients.iter().enumerate() {
            for (t, found) in gradient.iter().enumerate() {
                let h = 1e-5;
                let moved = |by: f64| {
                    let mut rows = rows.clone();
                    rows[i].logp[t] += by;
                    total(&rows, settings, &counts).1.loss
                };
                let slope = (moved(h) - moved(-h)) / (2.0 * h);
                assert!(
                    (found - slope).abs() < 1e-8,
                    "{settings:?} {i} {t}: {found} {slope}"
                );
            }
        }
    });
}

#[test]
fn the_test_rows_reach_every_region() {
    let rows = rows();
    for level in LEVELS {
        let settings = settings(LossType::Grpo, level, 0.0);
        let (gradients, stats) = total(&rows, &settings, &counts(&rows));
        assert!(stats.low > 0 && stats.high > 0 && stats.low + stats.high < stats.units);
        // Row 7 lies beyond delta; row 4 is not clipped although above 1 + ε, as its advantage is negative.
        assert_eq!(gradients[7], [0.0, 0.0], "{level:?}");
        assert!(gradients[4].iter().all(|g| *g > 0.0));
        assert_eq!(gradients[3], [0.0, 0.0]);
    }
}

#[test]
fn shares_of_micro_batches_add_up_however_the_step_is_cut() {
    let rows = rows();
    let counts = counts(&rows);
    every_setting(|settings| {
        let (whole, stats) = total(&rows, settings, &counts);
        for size in 1..=rows.len() {
            let mut sum = LossStats::default();
            let mut gradients = Vec::new();
            for part in rows.chunks(size) {
                let (g, s) = total(part, settings, &counts);
                gradients.extend(g);
                sum.merge(&s);
            }
            assert_eq!(gradients, whole);
            assert!((sum.loss - stats.loss).abs() < 1e-12);
            for (key, value) in stats.metrics() {
                assert!(
                    (sum.metrics()[&key] - value).abs() < 1e-12,
                    "{key} at size {size}"
                );
            }
        }
    });
}

#[test]
fn an_unmoved_policy_has_ratio_one() {
    let mut fresh = rows();
    fresh.iter_mut().for_each(|r| r.old = None);
    let mut copied = fresh.clone();
    copied.iter_mut().for_each(|r| r.old = Some(r.logp.clone()));
    let counts = counts(&fresh);
    every_setting(|settings| {
        let (a, stats) = total(&fresh, settings, &counts);
        assert_eq!(
            (a.clone(), stats.clone()),
            total(&copied, settings, &counts)
        );
        assert_eq!((stats.low, stats.high), (0, 0));
        if settings.beta == 0.0 {
            for (row, gradient) in fresh.iter().zip(&a) {
                let weight = counts.weight(settings, active(&row.mask));
                for (g, m) in gradient.iter().zip(&row.mask) {
                    let expected = if *m { -row.advantage * weight } else { 0.0 };
                    assert!((g - expected).abs() < 1e-15);
                }
            }
        }
    });
}

#[test]
fn reductions_by_hand() {
    // Ratio 1: a token's loss is -A. Two completions of 1 and 3 tokens with advantages 2 and -1.
    let row = |n: usize, advantage| Row {
        logp: vec![-1.0; n],
        old: None,
        reference: vec![-1.0; n],
        mask: vec![true; n],
        advantage,
    };
    let rows = [row(1, 2.0), row(3, -1.0)];
    let counts = StepCounts {
        rows: 2,
        tokens: 4,
        generation_tokens: 8,
    };
    let loss = |t| {
        total(&rows, &settings(t, ImportanceLevel::Token, 0.0), &counts)
            .1
            .loss
    };
    let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
    near(loss(LossType::Grpo), (-2.0 + 1.0) / 2.0);
    near(loss(LossType::Bnpo), (-2.0 + 3.0) / 4.0);
    near(loss(LossType::DrGrpo), (-2.0 + 3.0) / 14.0);
    near(loss(LossType::Dapo), (-2.0 + 3.0) / 8.0);
}

#[test]
fn kl_is_counted_and_pulls_towards_the_reference() {
    let row = Row {
        logp: vec![-1.0, -3.0],
        old: None,
        reference: vec![-2.0, -2.0],
        mask: vec![true; 2],
        advantage: 0.0,
    };
    let counts = StepCounts::whole([row.mask.as_slice()]);
    let settings = settings(LossType::Bnpo, ImportanceLevel::Token, 0.5);
    let (gradients, stats) = total(&[row], &settings, &counts);
    assert!(gradients[0][0] > 0.0, "too likely: descending lowers it");
    assert!(gradients[0][1] < 0.0, "too rare: descending raises it");
    let k3 = [(-1.0_f64).exp_m1() + 1.0, 1.0_f64.exp_m1() - 1.0];
    let mean = (k3[0] + k3[1]) / 2.0;
    assert!((stats.metrics()["kl"] - mean).abs() < 1e-12);
    assert!((stats.loss - 0.5 * mean).abs() < 1e-12);
}

#[test]
fn clip_shares_by_hand() {
    let row = |ratio: f64, advantage: f64, n: usize| Row {
        logp: vec![-1.0; n],
        old: Some(
            (0..n)
                .map(|t| if t == 0 { -1.0 - ratio.ln() } else { -1.0 })
                .collect(),
        ),
        reference: vec![-1.0; n],
        mask: vec![true; n],
        advantage,
    };
    let rows = [row(0.5, -1.0, 2), row(2.0, 1.0, 4), row(1.0, 1.0, 2)];
    let counts = StepCounts::whole(rows.iter().map(|r| r.mask.as_slice()));
    let settings = settings(LossType::Grpo, ImportanceLevel::Token, 0.0);
    let found = total(&rows, &settings, &counts).1.metrics();
    assert_eq!(found["clip_ratio/low_mean"], 1.0 / 8.0);
    assert_eq!(found["clip_ratio/high_mean"], 1.0 / 8.0);
    assert_eq!(found["clip_ratio/region_mean"], 2.0 / 8.0);
    assert_eq!(found["clip_ratio/low_min"], 0.0);
    assert_eq!(found["clip_ratio/high_max"], 0.25);
    assert!(!found.contains_key("kl"));
    assert!(!found.contains_key("entropy"));
}

#[test]
fn entropy_is_the_mean_over_unmasked_tokens() {
    let row = LossRow {
        logp: &[-1.0_f32, -1.0, -1.0],
        entropy: &[0.5, 1.5, 9.0],
        old_logp: None,
        ref_logp: None,
        mask: &[true, true, false],
        advantage: 1.0,
    };
    let counts = StepCounts::whole([row.mask]);
    let settings = settings(LossType::Grpo, ImportanceLevel::Token, 0.0);
    let found = grpo_loss(&[row], &settings, &counts).unwrap();
    assert_eq!(found.stats.metrics()["entropy"], 1.0);
    assert_eq!(found.gradients, [[-0.5, -0.5, 0.0]]);
}

#[test]
fn faults_are_named_by_row() {
    let good = LossRow {
        logp: &[-1.0_f32, -2.0],
        entropy: &[],
        old_logp: None,
        ref_logp: None,
        mask: &[true, true],
        advantage: 1.0,
    };
    let counts = StepCounts::whole([good.mask]);
    let plain = settings(LossType::Bnpo, ImportanceLevel::Token, 0.0);
    let error = |row, settings: &LossSettings, counts: &StepCounts| {
        grpo_loss(&[good, row], settings, counts)
            .unwrap_err()
            .to_string()
    };
    let bad = LossRow {
        mask: &[true],
        ..good
    };
    assert!(error(bad, &plain, &counts).starts_with("row 1 has 1 mask entries"));
    let bad = LossRow {
        old_logp: Some(&[0.0]),
        ..good
    };
    assert!(error(bad, &plain, &counts).contains("old log-probabilities"));
    let with_kl = settings(LossType::Bnpo, ImportanceLevel::Token, 0.1);
    assert!(error(good, &with_kl, &counts).starts_with("beta is above 0 but row 0"));
    let none = StepCounts {
        tokens: 0,
        ..counts
    };
    assert!(error(good, &plain, &none).contains("unmasked tokens, which is 0"));
}

#[test]
fn a_fully_masked_batch_is_no_loss_and_no_fault() {
    let row = Row {
        mask: vec![false; 2],
        ..rows()[3].clone()
    };
    let counts = StepCounts::whole([row.mask.as_slice()]);
    every_setting(|settings| {
        let (gradients, stats) = total(std::slice::from_ref(&row), settings, &counts);
        assert_eq!((gradients, stats.loss), (vec![vec![0.0, 0.0]], 0.0));
        assert!(stats.metrics().values().all(|v| v.is_finite()));
    });
}

/// Weights unlike each other, a 0 among them.
fn weights(rows: &[Row]) -> Vec<Vec<f64>> {
    let of = |i: usize, t: usize| [0.7, 0.0, 1.9, 1.0][(i + 2 * t) % 4];
    let row = |i: usize| (0..rows[i].logp.len()).map(|t| of(i, t)).collect();
    (0..rows.len()).map(row).collect()
}

#[test]
fn weighed_derivatives_match_finite_differences() {
    let rows = rows();
    let (counts, weights) = (counts(&rows), weights(&rows));
    let total = |rows: &[Row], settings: &LossSettings| {
        let views: Vec<_> = rows.iter().map(Row::view).collect();
        evaluate(&views, &weights, settings, &counts).unwrap()
    };
    every_setting(|settings| {
        let (gradients, _) = total(&rows, settings);
        for (i, gradient) in gradients.iter().enumerate() {
            for (t, found) in gradient.iter().enumerate() {
                let h = 1e-5;
                let moved = |by: f64| {
                    let mut rows = rows.clone();
                    rows[i].logp[t] += by;
                    total(&rows, settings).1.loss
                };
                let slope = (moved(h) - moved(-h)) / (2.0 * h);
                let close = (found - slope).abs() < 1e-8;
                assert!(close, "{settings:?} {i} {t}: {found} {slope}");
            }
        }
    });
}

#[test]
fn weights_act_on_the_policy_term_alone() {
    let rows = rows();
    let counts = counts(&rows);
    let views: Vec<_> = rows.iter().map(Row::view).collect();
    let with = |value: f64, settings: &LossSettings| {
        let weights: Vec<Vec<f64>> = rows.iter().map(|r| vec![value; r.logp.len()]).collect();
        grpo_loss_weighted(&views, &weights, settings, &counts).unwrap()
    };
    let mut types = TYPES.to_vec();
    types.push(LossType::Cispo);
    for loss_type in types {
        for level in LEVELS {
            let plain = settings(loss_type, level, 0.0);
            let kl = settings(loss_type, level, 0.3);
            let unweighed = grpo_loss(&views, &kl, &counts).unwrap();
            assert_eq!(with(1.0, &kl), unweighed, "{loss_type:?} {level:?}");
            let policy = grpo_loss(&views, &plain, &counts).unwrap();
            let (silent, double) = (with(0.0, &kl), with(2.0, &plain));
            let divergence = unweighed.loss - policy.loss;
            assert!((silent.loss - divergence).abs() < 1e-12);
            assert!((double.loss - 2.0 * policy.loss).abs() < 1e-12);
            for (a, b) in double.gradients.iter().zip(&policy.gradients) {
                for (a, b) in a.iter().zip(b) {
                    assert!((a - 2.0 * b).abs() < 1e-6, "{a} {b}");
                }
            }
        }
    }
    let short = vec![vec![1.0]];
    let fault = grpo_loss_weighted(
        &views,
        &short,
        &settings(LossType::Grpo, LEVELS[0], 0.0),
        &counts,
    );
    assert!(
        fault
            .unwrap_err()
            .to_string()
            .contains("row 0 has 1 weights")
    );
}
