//! What must hold whatever the model: ratios, splits, seeds.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

use std::collections::BTreeSet;
use std::sync::Arc;

use burn::tensor::{DType, Tensor};
use vtb_bins::data::Rows;
use vtb_bins::demo::write_tiny_model;
use vtb_bins::model::{Machine, open_model};
use vtb_data::{GeneratedDataset, PuzzleSpec, RowMode};
use vtb_lora::LoraConfig;
use vtb_models_vlm::AnyVlm;
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{CausalLm, NamedTensors, SampleOptions};
use vtb_nn::trainable::Trainable;
use vtb_rewards::{Registry, RewardSpec, WeightedRewards};
use vtb_trainer::objectives::grpo::{GrpoConfig, LossType};
use vtb_trainer::rollout::InProcess;
use vtb_trainer::train::{
    GrpoObjective, GrpoSettings, LoadOptions, Objective, PromptSource, SftObjective, SftSettings,
};

struct Stage {
    _dir: tempfile::TempDir,
    model: AnyVlm,
    rows: Rows,
    stop_ids: Vec<u32>,
}

fn stage() -> Stage {
    let dir = tempfile::tempdir().unwrap();
    let spec = PuzzleSpec {
        task: "color_grid".into(),
        params: serde_json::json!({"canvas": 96, "prompt_style": "short", "list_options": false}),
        seed: 1,
        count: 24,
    };
    let data = GeneratedDataset::new(&spec, RowMode::Sft, &BTreeSet::new()).unwrap();
    let machine = Machine {
        device: cpu_device(),
        dtype: DType::F32,
    };
    write_tiny_model(dir.path(), &data, 3, &machine).unwrap();
    let (mut model, encoder) = open_model(dir.path(), None, &machine).unwrap();
    model.attach_adapter(&LoraConfig::default(), 5).unwrap();
    shake(&mut model);
    let stop_ids = encoder.tokenizer.stop_ids();
    let rows = Rows::new(Arc::new(data), Arc::new(encoder));
    Stage {
        _dir: dir,
        model,
        rows,
        stop_ids,
    }
}

/// Moves factor B away from zero, so that the adapter acts.
fn shake(model: &mut AnyVlm) {
    let values: NamedTensors = model
        .trainable_values()
        .into_iter()
        .map(|(name, value)| {
            let n = value.dims()[0];
            let noise: Vec<f32> = (0..n)
                .map(|i| 0.02 * ((i * 37 % 101) as f32 / 50.0 - 1.0))
                .collect();
            let device = value.device();
            (name, value + Tensor::from_floats(noise.as_slice(), &device))
        })
        .collect();
    model.set_trainable(values).unwrap();
}

fn grpo(
    stage: &Stage,
    settings: GrpoSettings,
    config: GrpoConfig,
) -> GrpoObjective<Rows, InProcess> {
    let specs = [RewardSpec {
        name: "length".into(),
        weight: 1.0,
        params: serde_json::Value::Null,
    }];
    let mut registry = Registry::builtin();
    registry
        .register("length", |_| Ok(Box::new(Length)))
        .unwrap();
    let rewards = WeightedRewards::from_specs(&registry, &specs).unwrap();
    let config = GrpoConfig {
        num_generations: 4,
        max_completion_length: 5,
        ..config
    };
    let rollout = InProcess { batch: 64 };
    let stops = stage.stop_ids.clone();
    GrpoObjective::new(
        stage.rows.clone(),
        LoadOptions::default(),
        rollout,
        rewards,
        config,
        settings,
        stops,
        9,
        false,
    )
    .unwrap()
}

/// A reward that differs between completions of any model.
struct Length;

impl vtb_rewards::Reward for Length {
    fn name(&self) -> &str {
        "length"
    }
    fn score(
        &self,
        completion: &vtb_rewards::Completion<'_>,
        _: &vtb_rewards::Reference,
    ) -> vtb_rewards::Score {
        vtb_rewards::Score::ok(completion.text().bytes().map(f64::from).sum::<f64>() / 100.0)
    }
}

#[track_caller]
fn same(a: &NamedTensors, b: &NamedTensors, tolerance: f64) {
    assert_eq!(a.len(), b.len());
    for (name, x) in a {
        let (x, y) = (x.clone(), b[name].clone());
        let norm = |t: Tensor<1>| f64::from((t.clone() * t).sum().into_scalar::<f32>()).sqrt();
        let (difference, size) = (norm(x - y.clone()), norm(y));
        assert!(
            difference <= tolerance * size + 1e-9,
            "{name}: {difference} of {size}"
        );
    }
}

#[test]
fn the_ratio_is_one_while_the_policy_rests() {
    let stage = stage();
    let settings = GrpoSettings {
        batch_size: 8,
        ..GrpoSettings::default()
    };
    let config = GrpoConfig {
        num_iterations: 3,
        temperature: 0.8,
        ..GrpoConfig::default()
    };
    let mut objective = grpo(&stage, settings, config);
    let mut losses = Vec::new();
    for step in 0..3 {
        let output = objective.step(&stage.model, step).unwrap();
        let metric = |name: &str| output.metrics[name];
        assert!(metric("reward_std") > 0.0, "the test would mean nothing");
        for side in ["low_mean", "high_mean", "region_mean"] {
            assert_eq!(metric(&format!("clip_ratio/{side}")), 0.0);
        }
        for bound in ["min", "mean", "max"] {
            let ratio = metric(&format!("sampling/importance_sampling_ratio/{bound}"));
            assert!(
                (ratio - 1.0).abs() < 1e-4,
                "cached sampling and training differ: {ratio}"
            );
        }
        losses.push((metric("loss"), output.gradients));
    }
    for (loss, gradients) in &losses[1..] {
        assert!((loss - losses[0].0).abs() < 1e-9);
        same(gradients, &losses[0].1, 1e-6);
    }
}

#[test]
fn batch_and_accumulation_split_the_same_step() {
    let stage = stage();
    for loss_type in [
        LossType::Grpo,
        LossType::Bnpo,
        LossType::DrGrpo,
        LossType::Dapo,
    ] {
        let split = |batch_size, gradient_accumulation| {
            let settings = GrpoSettings {
                batch_size,
                gradient_accumulation,
                ..GrpoSettings::default()
            };
            let config = GrpoConfig {
                loss_type,
                beta: 0.1,
                ..GrpoConfig::default()
            };
            grpo(&stage, settings, config)
                .step(&stage.model, 0)
                .unwrap()
        };
        let (whole, parts) = (split(16, 1), split(2, 8));
        assert!((whole.metrics["loss"] - parts.metrics["loss"]).abs() < 1e-6);
        same(&whole.gradients, &parts.gradients, 1e-4);
    }
    let sft = |batch_size, gradient_accumulation| {
        let settings = SftSettings {
            batch_size,
            gradient_accumulation,
            ..SftSettings::default()
        };
        SftObjective::new(
            stage.rows.clone(),
            LoadOptions::default(),
            settings,
            4,
            false,
        )
        .unwrap()
        .step(&stage.model, 0)
        .unwrap()
    };
    let (whole, parts) = (sft(12, 1), sft(3, 4));
    assert!((whole.metrics["loss"] - parts.metrics["loss"]).abs() < 1e-6);
    same(&whole.gradients, &parts.gradients, 1e-4);
}

#[test]
fn sampling_depends_on_the_seed_of_the_row_alone() {
    let stage = stage();
    let prompts: Vec<_> = (0..6).map(|i| stage.rows.prompt(i).unwrap().row).collect();
    let options = SampleOptions {
        max_new_tokens: 6,
        ..SampleOptions::default()
    };
    let seeds: Vec<u64> = (100..106).collect();
    let together = stage.model.generate(&prompts, &options, &seeds).unwrap();
    for i in 0..prompts.len() {
        let alone = stage
            .model
            .generate(&prompts[i..=i], &options, &seeds[i..=i])
            .unwrap();
        assert_eq!(alone[0].ids, together[i].ids);
    }
    let again = stage
        .model
        .generate(&prompts, &options, &(200..206).collect::<Vec<_>>())
        .unwrap();
    assert!(again.iter().zip(&together).any(|(a, b)| a.ids != b.ids));
    let banned = stage.model.config().ids().all();
    assert!(
        together
            .iter()
            .flat_map(|c| &c.ids)
            .all(|id| !banned.contains(id))
    );
}

/// Rows enter as others end, and what each gets is what it gets alone, in whichever company it decodes.
#[test]
fn rows_that_enter_later_decode_the_same() {
    let stage = stage();
    // Several completions of each prompt, in mixed order; pictures and lengths differ.
    let mut prompts: Vec<_> = (0..30)
        .map(|i| stage.rows.prompt(i * 7 % 10).unwrap().row)
        .collect();
    for (i, row) in prompts.iter_mut().enumerate() {
        let more = row.ids[row.ids.len() - 1 - i % 3..].to_vec();
        row.ids.extend(more);
        row.scored.resize(row.ids.len(), false);
    }
    let seeds: Vec<u64> = (0..30).collect();
    for temperature in [0.0, 1.5] {
        // A tenth of all ids end a completion, so that lengths are mixed.
        let mut options = SampleOptions {
            max_new_tokens: 24,
            temperature,
            stop_ids: (0..2_000).filter(|id| id % 10 == 3).collect(),
            ..SampleOptions::default()
        };
        let alone: Vec<_> = prompts
            .iter()
            .zip(&seeds)
            .map(|(row, seed)| {
                let found = stage
                    .model
                    .generate(std::slice::from_ref(row), &options, &[*seed]);
                found.unwrap().remove(0)
            })
            .collect();
        let lengths: BTreeSet<_> = alone.iter().map(|one| one.ids.len()).collect();
        println!("temperature {temperature}: lengths {lengths:?}");
        if temperature > 0.0 {
            assert!(lengths.len() > 5, "{lengths:?}");
        }
        for max_num_seqs in [0, 1, 3, 8, 29] {
            options.max_num_seqs = max_num_seqs;
            let together = stage.model.generate(&prompts, &options, &seeds).unwrap();
            for (row, (one, other)) in alone.iter().zip(&together).enumerate() {
                assert_eq!(one.ids, other.ids, "row {row}, {max_num_seqs} at a time");
                assert_eq!(one.stop, other.stop, "row {row}, {max_num_seqs} at a time");
                for (a, b) in one.logprobs.iter().zip(&other.logprobs) {
                    assert!((a - b).abs() < 1e-4, "row {row}: {a} {b}");
                }
            }
        }
    }
}
