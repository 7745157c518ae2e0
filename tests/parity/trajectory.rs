//! Training against PyTorch and PEFT: five supervised steps of the real loop, and one GRPO step of each loss, from
//! `tests/fixtures/trajectory` (made by `make_trajectory.py`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod support;

use std::collections::BTreeMap;

use burn::tensor::DType;
use serde_json::{Value, json};
use support::{ROWS, Reference, close, close_relative, fixtures, values};
use vtb_lora::read_adapter;
use vtb_models_vlm::qwen3_vl::Qwen3Vl;
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{
    AdapterState, BackwardOptions, CausalLm, LmRow, NamedTensors, ScoreOptions, TokenScores,
};
use vtb_nn::trainable::Trainable;
use vtb_trainer::TrainError;
use vtb_trainer::checkpoint::{Contents, Retention};
use vtb_trainer::objectives::grpo::{GrpoConfig, LossRow, LossType, StepCounts, grpo_loss};
use vtb_trainer::optim::{AdamW, AdamWConfig};
use vtb_trainer::progress::{Phase, Reporter};
use vtb_trainer::run_dir::{Metrics, RunDir, Start};
use vtb_trainer::schedule::{Decay, ScheduleConfig};
use vtb_trainer::signal::Interrupt;
use vtb_trainer::train::{
    Hooks, LoadOptions, LoopConfig, Outcome, RowEncoder, RunContext, SftObjective, SftSettings,
    train,
};

struct Stage {
    model: Qwen3Vl,
    rows: Vec<LmRow>,
    theirs: Reference,
    facts: Value,
}

/// The model with the adapter that both sides start from.
fn stage() -> Stage {
    let dir = fixtures().join("qwen3_vl").join("tied");
    let mut model = Qwen3Vl::load(&dir, &cpu_device(), DType::F32).unwrap();
    let rows = Reference::open(dir.join("cases.safetensors")).rows(&model);
    let adapter = dir.join("lora_list");
    model
        .load_adapter(read_adapter(&adapter).unwrap(), &adapter)
        .unwrap();
    let made = fixtures().join("trajectory");
    let facts = std::fs::read(made.join("trajectory.json")).unwrap();
    Stage {
        model,
        rows,
        theirs: Reference::open(made.join("trajectory.safetensors")),
        facts: serde_json::from_slice(&facts).unwrap(),
    }
}

impl Stage {
    /// Every trained tensor is theirs.
    #[track_caller]
    fn adapter_is(&self, prefix: &str, found: &NamedTensors) {
        assert!(!found.is_empty());
        for (path, value) in found {
            let expected = self
                .theirs
                .floats(&format!("{prefix}.base_model.model.{path}"));
            close(path, &values(value), &expected, 1e-4);
        }
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().unwrap().iter();
    list.map(|number| number.as_f64().unwrap()).collect()
}

struct Given(Vec<LmRow>);

impl RowEncoder for Given {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn encode(&self, index: usize) -> Result<LmRow, TrainError> {
        Ok(self.0[index].clone())
    }
}

/// Keeps the numbers of every step.
#[derive(Default)]
struct Kept(Vec<BTreeMap<String, f64>>);

impl Reporter for Kept {
    fn on_start(&mut self, _: &Phase) {}

    fn on_step(&mut self, metrics: &Metrics) {
        self.0.push(metrics.values.clone());
    }

    fn on_message(&mut self, _: &str) {}

    fn on_end(&mut self, _: &str) {}
}

#[test]
fn five_supervised_steps() {
    let mut stage = stage();
    let facts = &stage.facts["sft"];
    let number = |key: &str| facts[key].as_f64().unwrap();
    let config = LoopConfig {
        max_steps: number("steps") as u64,
        schedule: ScheduleConfig {
            learning_rate: number("lr"),
            decay: Decay::Cosine,
            warmup_steps: number("warmup") as u64,
            ..ScheduleConfig::default()
        },
        optimizer: AdamWConfig {
            weight_decay: number("weight_decay"),
            ..AdamWConfig::default()
        },
        max_grad_norm: number("max_norm"),
        save_steps: 0,
        retention: Retention::default(),
        eval_steps: 0,
        completion_steps: 0,
        sample_steps: 0,
        ema_decay: 0.0,
        max_skipped_steps: 0,
    };
    // Every step sees all rows, in whichever order.
    let settings = SftSettings {
        batch_size: 1,
        gradient_accumulation: stage.rows.len(),
        ..SftSettings::default()
    };
    let rows = Given(stage.rows.clone());
    let mut objective =
        SftObjective::new(rows, LoadOptions::default(), settings, 3, false).unwrap();
    let root = tempfile::tempdir().unwrap();
    let dir = RunDir::open(root.path(), Start::Fresh).unwrap();
    let (mut kept, interrupt) = (Kept::default(), Interrupt::manual());
    let outcome = train(
        &mut stage.model,
        &mut objective,
        &config,
        &RunContext {
            dir: &dir,
            phase: "sft",
            config: &json!({}),
            dataset_fingerprint: "trajectory",
            seed: 3,
            resume: false,
            device: &cpu_device(),
        },
        Hooks {
            completions: None,
            reporter: &mut kept,
            interrupt: &interrupt,
            evaluate: None,
            export: &|_, _| Ok(Contents::new()),
            samples: None,
        },
    );
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    for (name, key) in [
        ("loss", "losses"),
        ("grad_norm", "norms"),
        ("learning_rate", "rates"),
    ] {
        let theirs = numbers(&facts[key]);
        assert_eq!(kept.0.len(), theirs.len());
        for (step, (ours, theirs)) in kept.0.iter().zip(&theirs).enumerate() {
            let (ours, bound) = (ours[name], 1e-4 * theirs.abs() + 1e-12);
            let off = (ours - theirs).abs();
            assert!(off <= bound, "{name} of step {step}: {ours}, not {theirs}");
        }
    }
    let losses = numbers(&facts["losses"]);
    assert!(
        losses[4] < 0.97 * losses[0],
        "nothing is learnt: {losses:?}"
    );
    let norms = numbers(&facts["norms"]);
    assert!(norms.iter().all(|norm| *norm > number("max_norm")));
    stage.adapter_is("sft.after", &stage.model.trainable_values());
}

#[test]
fn one_grpo_step_of_each_loss() {
    let stage = stage();
    let facts = &stage.facts["grpo"];
    let number = |key: &str| facts[key].as_f64().unwrap();
    let advantages = numbers(&facts["advantages"]);
    let of_rows = |kind: &str| -> Vec<Vec<f32>> {
        let names = ROWS.iter().map(|row| format!("grpo.{kind}.{row}"));
        names.map(|name| stage.theirs.floats(&name)).collect()
    };
    let (logp, old, reference) = (of_rows("logp"), of_rows("old"), of_rows("ref"));
    for (adapter, expected) in [(AdapterState::On, &logp), (AdapterState::Off, &reference)] {
        let options = ScoreOptions {
            adapter,
            ..ScoreOptions::default()
        };
        let scores = stage.model.token_scores(&stage.rows, &options).unwrap();
        for (ours, theirs) in scores.iter().zip(expected) {
            close("log-probabilities", &ours.logp, theirs, 1e-4);
        }
    }
    let masks: Vec<_> = old.iter().map(|row| vec![true; row.len()]).collect();
    for loss_type in [
        LossType::Grpo,
        LossType::Bnpo,
        LossType::DrGrpo,
        LossType::Dapo,
        LossType::Cispo,
    ] {
        let name = serde_json::to_value(loss_type).unwrap();
        let name = name.as_str().unwrap();
        let settings = GrpoConfig {
            loss_type,
            beta: number("beta"),
            epsilon: number("epsilon_low"),
            epsilon_high: Some(number("epsilon_high")),
            max_completion_length: number("max_completion_length") as usize,
            ..GrpoConfig::default()
        }
        .loss_settings();
        let counts = StepCounts::whole(masks.iter().map(Vec::as_slice));
        let mut loss = 0.0;
        let mut objective = |scores: &[TokenScores]| {
            let rows: Vec<_> = (0..scores.len())
                .map(|row| LossRow {
                    logp: &scores[row].logp,
                    entropy: &[],
                    old_logp: Some(&old[row]),
                    ref_logp: Some(&reference[row]),
                    mask: &masks[row],
                    advantage: advantages[row],
                })
                .collect();
            let found = grpo_loss(&rows, &settings, &counts).unwrap();
            loss = found.loss;
            Ok(found.gradients)
        };
        let gradients = stage
            .model
            .backward(&stage.rows, &BackwardOptions::default(), &mut objective)
            .unwrap();
        let theirs = facts["losses"][name]["loss"].as_f64().unwrap();
        assert!(
            (loss - theirs).abs() < 1e-4 * theirs.abs(),
            "{name}: {loss}, not {theirs}"
        );
        for (path, gradient) in &gradients {
            let name = format!("grpo.{name}.grad.base_model.model.{path}");
            close_relative(&name, &values(gradient), &stage.theirs.floats(&name), 1e-4);
        }
        let lr = stage.facts["sft"]["lr"].as_f64().unwrap();
        let mut adamw = AdamW::new(AdamWConfig::default(), &stage.model.trainable()).unwrap();
        let after = adamw
            .step(stage.model.trainable_values(), gradients, lr)
            .unwrap();
        stage.adapter_is(&format!("grpo.{name}.after"), &after);
    }
}
