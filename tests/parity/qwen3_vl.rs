//! Our Qwen3-VL against `transformers` and `peft`, on tiny random models (`tests/fixtures`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{DType, Tensor, TensorData};
use vtb_lora::read_adapter;
use vtb_models_vlm::qwen3_vl::{BatchPlan, FullTraining, Qwen3Vl};
use vtb_nn::checkpoint::Checkpoint;
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{
    BackwardOptions, CausalLm, ImagePatches, LmRow, NamedTensors, SampleOptions, ScoreOptions,
    TokenScores,
};
use vtb_trainer::optim::{AdamW, AdamWConfig};

const MODELS: [&str; 3] = ["tied", "untied", "hf4"];
const ROWS: [&str; 3] = ["text", "image1", "image2"];

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/qwen3_vl")
}

struct Reference(Checkpoint);

impl Reference {
    fn open(path: impl AsRef<Path>) -> Self {
        Self(Checkpoint::open(path).unwrap())
    }

    fn floats(&self, name: &str) -> Vec<f32> {
        self.0.data(name).unwrap().iter::<f32>().collect()
    }

    fn ints(&self, name: &str) -> Vec<i64> {
        self.0.data(name).unwrap().iter::<i64>().collect()
    }

    fn has(&self, name: &str) -> bool {
        use vtb_nn::checkpoint::TensorSource;
        self.0.info(name).is_some()
    }

    /// The row with its pictures, scored where a label stands.
    fn row(&self, name: &str, model: &Qwen3Vl) -> LmRow {
        let ids: Vec<u32> = self
            .ints(&format!("{name}.input_ids"))
            .into_iter()
            .map(|i| i as u32)
            .collect();
        let labels = self.ints(&format!("{name}.labels"));
        let scored = labels
            .iter()
            .enumerate()
            .map(|(i, l)| i > 0 && *l >= 0)
            .collect();
        let mut images = Vec::new();
        if self.has(&format!("{name}.grid_thw")) {
            let grids = self.ints(&format!("{name}.grid_thw"));
            let values = self.floats(&format!("{name}.pixel_values"));
            let mut rest = values.as_slice();
            for (i, grid) in grids.chunks(3).enumerate() {
                let grid = [grid[0] as usize, grid[1] as usize, grid[2] as usize];
                let len = grid.iter().product::<usize>() * model.config().vision.patch_dim();
                let (head, tail) = rest.split_at(len);
                rest = tail;
                let row = ROWS.iter().position(|r| *r == name).unwrap();
                let key = (row * 10 + i) as u64;
                images.push(Arc::new(ImagePatches {
                    values: head.to_vec(),
                    grid,
                    key,
                }));
            }
        }
        LmRow {
            ids,
            images,
            scored,
        }
    }

    fn rows(&self, model: &Qwen3Vl) -> Vec<LmRow> {
        ROWS.iter().map(|name| self.row(name, model)).collect()
    }
}

fn load(name: &str) -> (Qwen3Vl, Reference) {
    let dir = fixtures().join(name);
    let model = Qwen3Vl::load(&dir, &cpu_device(), DType::F32).unwrap();
    (model, Reference::open(dir.join("cases.safetensors")))
}

fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().iter::<f32>().collect()
}

#[track_caller]
fn close(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}: length");
    let worst = ours
        .iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(
        worst <= tolerance,
        "{what}: off by {worst}, allowed {tolerance}"
    );
    assert!(
        theirs.iter().any(|x| x.abs() > 1e-4),
        "{what}: the reference is trivial"
    );
}

#[track_caller]
fn close_relative(what: &str, ours: &[f32], theirs: &[f32], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}: length");
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&mut ours.iter().zip(theirs).map(|(a, b)| f64::from(a - b)));
    let size = norm(&mut theirs.iter().map(|x| f64::from(*x)));
    assert!(
        error <= tolerance * size,
        "{what}: relative error {:e}",
        error / size
    );
}

#[test]
fn vision_tower() {
    for name in MODELS {
        let (model, reference) = load(name);
        for row_name in ["image1", "image2"] {
            let row = reference.row(row_name, &model);
            let plan = BatchPlan::new(&[row], model.config()).unwrap();
            let trace = model.trace_vision(&plan).unwrap();
            let key = |k: &str| reference.floats(&format!("{row_name}.vision.{k}"));
            let stem: Vec<f32> = key("patch_embed")
                .iter()
                .zip(key("pos_embed"))
                .map(|(a, b)| a + b)
                .collect();
            close("stem", &values(&trace.stem), &stem, 1e-5);
            for (i, block) in trace.blocks.iter().enumerate() {
                close(
                    &format!("{name} block {i}"),
                    &values(block),
                    &key(&format!("block.{i}")),
                    1e-5,
                );
            }
            for (j, features) in trace.deepstack.iter().enumerate() {
                let what = format!("{name} deepstack {j}");
                close(
                    &what,
                    &values(features),
                    &key(&format!("deepstack.{j}")),
                    1e-5,
                );
            }
            close(
                &format!("{name} merged"),
                &values(&trace.merged),
                &key("merged"),
                1e-5,
            );
        }
    }
}

#[test]
fn decoder_states_logits_and_positions() {
    for name in MODELS {
        let (model, reference) = load(name);
        for row_name in ROWS {
            let row = reference.row(row_name, &model);
            let plan = BatchPlan::new(std::slice::from_ref(&row), model.config()).unwrap();
            let expected = reference.ints(&format!("{row_name}.position_ids"));
            let length = row.ids.len();
            for (i, position) in plan.positions.iter().enumerate() {
                let theirs = [0, 1, 2].map(|axis| expected[axis * length + i] as i32);
                assert_eq!(*position, theirs, "{name} {row_name} token {i}");
            }
            let delta = reference.ints(&format!("{row_name}.rope_delta"))[0];
            assert_eq!(i64::from(plan.deltas[0]), delta);
            let states = model.hidden_states(std::slice::from_ref(&row)).unwrap();
            let (last, hidden) = states.split_last().unwrap();
            for (i, state) in hidden.iter().enumerate() {
                let theirs = reference.floats(&format!("{row_name}.text.hidden.{i}"));
                close(
                    &format!("{name} {row_name} hidden {i}"),
                    &values(state),
                    &theirs,
                    1e-5,
                );
            }
            let theirs = reference.floats(&format!("{row_name}.text.final"));
            close(
                &format!("{name} {row_name} final"),
                &values(last),
                &theirs,
                2e-5,
            );
            let logits = model.logits(std::slice::from_ref(&row)).unwrap();
            let theirs = reference.floats(&format!("{row_name}.logits"));
            close(
                &format!("{name} {row_name} logits"),
                &values(&logits),
                &theirs,
                1e-4,
            );
        }
    }
}

#[test]
fn greedy_ids_alone_and_in_a_batch() {
    for name in MODELS {
        let (model, reference) = load(name);
        let rows = reference.rows(&model);
        let options = SampleOptions {
            max_new_tokens: 16,
            temperature: 0.0,
            ..Default::default()
        };
        let batch = model.generate(&rows, &options, &[1, 2, 3]).unwrap();
        for ((row_name, row), together) in ROWS.iter().zip(&rows).zip(&batch) {
            let theirs: Vec<u32> = reference
                .ints(&format!("{row_name}.greedy.ids"))
                .into_iter()
                .map(|i| i as u32)
                .collect();
            let alone = model
                .generate(std::slice::from_ref(row), &options, &[9])
                .unwrap();
            assert_eq!(alone[0].ids, theirs, "{name} {row_name} alone");
            assert_eq!(together.ids, theirs, "{name} {row_name} in a batch");
            check_against_full_forward(&model, row, together);
        }
    }
}

/// The cached log-probabilities must be those of one forward pass over prompt and completion.
fn check_against_full_forward(model: &Qwen3Vl, row: &LmRow, completion: &vtb_nn::lm::Completion) {
    let mut full = row.clone();
    full.scored = vec![false; full.ids.len()];
    full.ids.extend(&completion.ids);
    full.scored.resize(full.ids.len(), true);
    let scores = model
        .token_scores(&[full], &ScoreOptions::default())
        .unwrap();
    close(
        "cached log-probabilities",
        &completion.logprobs,
        &scores[0].logp,
        2e-5,
    );
}

/// Token-mean cross-entropy over all rows, as an objective.
fn mean_loss(
    loss: &mut f64,
) -> impl FnMut(&[TokenScores]) -> Result<Vec<Vec<f32>>, vtb_nn::NnError> {
    |scores| {
        let n: usize = scores.iter().map(|s| s.logp.len()).sum();
        let sum: f64 = scores
            .iter()
            .flat_map(|s| &s.logp)
            .map(|l| f64::from(*l))
            .sum();
        *loss = -sum / n as f64;
        Ok(scores
            .iter()
            .map(|s| vec![-1.0 / n as f32; s.logp.len()])
            .collect())
    }
}

fn pass(model: &Qwen3Vl, rows: &[LmRow], recompute: bool) -> (f64, NamedTensors) {
    let mut loss = 0.0;
    let options = BackwardOptions {
        recompute,
        ..Default::default()
    };
    let gradients = model
        .backward(rows, &options, &mut mean_loss(&mut loss))
        .unwrap();
    (loss, gradients)
}

#[test]
fn adapters_logits_gradients_and_one_step() {
    for name in MODELS {
        for adapter in ["lora_list", "lora_regex"] {
            let (mut model, reference) = load(name);
            let dir = fixtures().join(name).join(adapter);
            let base = model.parameters();
            model
                .load_adapter(read_adapter(&dir).unwrap(), &dir)
                .unwrap();
            assert!(model.parameters() > base);
            let theirs =
                Reference::open(fixtures().join(name).join(format!("{adapter}.safetensors")));
            let rows = reference.rows(&model);
            for (row_name, row) in ROWS.iter().zip(&rows) {
                let logits = model.logits(std::slice::from_ref(row)).unwrap();
                let expected = theirs.floats(&format!("logits.{row_name}"));
                close(
                    &format!("{name} {adapter} {row_name}"),
                    &values(&logits),
                    &expected,
                    1e-4,
                );
            }
            let (loss, gradients) = pass(&model, &rows, true);
            let expected = f64::from(theirs.floats("loss")[0]);
            assert!(
                (loss - expected).abs() < 1e-5 * expected,
                "loss {loss}, theirs {expected}"
            );
            let (_, kept) = pass(&model, &rows, false);
            for (path, gradient) in &gradients {
                let expected = theirs.floats(&format!("grad.base_model.model.{path}"));
                close_relative(path, &values(gradient), &expected, 1e-4);
                assert_eq!(
                    values(gradient),
                    values(&kept[path]),
                    "{path}: recompute changed it"
                );
            }
            assert_eq!(gradients.len(), model.trainable().len());
            let after = step(&model, gradients);
            for (path, value) in &after {
                let expected = theirs.floats(&format!("after.base_model.model.{path}"));
                close(path, &values(value), &expected, 2e-5);
            }
            model.merge_adapter();
            let logits = model.logits(&rows[2..]).unwrap();
            close(
                "merged",
                &values(&logits),
                &theirs.floats("merged_logits.image2"),
                1e-4,
            );
        }
    }
}

/// One AdamW step with the settings of the fixtures.
fn step(model: &Qwen3Vl, gradients: NamedTensors) -> NamedTensors {
    let config = AdamWConfig {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.01,
        ..Default::default()
    };
    let mut infos = model.trainable();
    for info in &mut infos {
        info.decay = true;
    }
    let mut adamw = AdamW::new(config, &infos).unwrap();
    adamw
        .step(model.trainable_values(), gradients, 1e-2)
        .unwrap()
}

#[test]
fn gradients_of_every_parameter() {
    let (mut model, reference) = load("tied");
    model.train_full(FullTraining::Everything);
    let theirs = Reference::open(fixtures().join("tied/full_gradients.safetensors"));
    let (loss, gradients) = pass(&model, &reference.rows(&model), true);
    assert!((loss - f64::from(theirs.floats("loss")[0])).abs() < 1e-5 * loss);
    assert_eq!(gradients.len(), model.trainable().len());
    for (path, gradient) in &gradients {
        close_relative(
            path,
            &values(gradient),
            &theirs.floats(&format!("grad.{path}")),
            1e-4,
        );
    }
}

#[test]
fn bf16_agrees_with_the_reference_in_bf16() {
    let dir = fixtures().join("untied");
    let model = Qwen3Vl::load(&dir, &cpu_device(), DType::BF16).unwrap();
    let reference = Reference::open(dir.join("cases.safetensors"));
    let theirs = Reference::open(dir.join("bf16.safetensors"));
    for name in ROWS {
        let logits = model.logits(&[reference.row(name, &model)]).unwrap();
        let (a, b) = (values(&logits), theirs.floats(&format!("{name}.logits")));
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(x, y)| f64::from(*x) * f64::from(*y))
                .sum()
        };
        let cosine = dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt();
        assert!(cosine > 0.999, "{name}: cosine {cosine}");
    }
    let mut adapted = Qwen3Vl::load(&dir, &cpu_device(), DType::BF16).unwrap();
    adapted
        .load_adapter(read_adapter(dir.join("lora_list")).unwrap(), &dir)
        .unwrap();
    let (loss, gradients) = pass(&adapted, &reference.rows(&adapted), true);
    let exact = f64::from(Reference::open(dir.join("lora_list.safetensors")).floats("loss")[0]);
    assert!(
        (loss - exact).abs() < 0.02 * exact,
        "bf16 loss {loss}, f32 {exact}"
    );
    assert!(gradients.values().all(|g| g.dtype() == DType::F32));
}

#[test]
fn adapter_off_is_the_base_model() {
    let (mut model, reference) = load("untied");
    let rows = reference.rows(&model);
    let base = model.token_scores(&rows, &ScoreOptions::default()).unwrap();
    let dir = fixtures().join("untied/lora_list");
    model
        .load_adapter(read_adapter(&dir).unwrap(), &dir)
        .unwrap();
    let on = model.token_scores(&rows, &ScoreOptions::default()).unwrap();
    let off = ScoreOptions {
        adapter: vtb_nn::lm::AdapterState::Off,
        ..Default::default()
    };
    let off = model.token_scores(&rows, &off).unwrap();
    assert_eq!(base, off);
    assert_ne!(base, on);
}

#[test]
fn a_saved_model_is_the_same_model() {
    let (model, reference) = load("untied");
    let dir = tempfile::tempdir().unwrap();
    model.save(dir.path()).unwrap();
    let again = Qwen3Vl::load(dir.path(), &cpu_device(), DType::F32).unwrap();
    let rows = reference.rows(&model);
    let logits = |m: &Qwen3Vl| -> TensorData { m.logits(&rows).unwrap().into_data() };
    assert_eq!(logits(&model), logits(&again));
}
