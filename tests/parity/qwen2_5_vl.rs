//! Our Qwen2.5-VL against `transformers` and `peft`, on tiny random models (`tests/fixtures`).

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::path::PathBuf;

use burn::tensor::{DType, TensorData};
use serde_json::Value;
use support::{
    Bounds, ROWS, Reference, adapter_is_theirs, close, close_relative, cosine,
    greedy_alone_and_in_a_batch, packed_is_theirs, packed_is_unpacked, pass, positions_are_theirs,
    states_and_logits, values,
};
use vtb_lora::{LoraConfig, ModuleFilter, read_adapter};
use vtb_models_vlm::AnyVlm;
use vtb_models_vlm::model::{BatchPlan, DECODER_PROJECTIONS, FullTraining};
use vtb_models_vlm::processor::{ImageProcessor, ImageSettings};
use vtb_models_vlm::qwen2_5_vl::{Qwen2_5Vl, TextEncoder, VisionContext, window_order};
use vtb_nn::checkpoint::{Checkpoint, RenamedSource, TensorInfo, TensorSource, save_safetensors};
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{AdapterState, CausalLm, ScoreOptions};
use vtb_nn::trainable::Trainable;

/// With the adapter each has: windows of two units and the names of newer files; windows of three and published ones.
const MODELS: [(&str, &str); 2] = [("nested", "lora_regex"), ("flat", "lora_list")];
const BOUNDS: Bounds = Bounds {
    hidden: 2e-5,
    last: 4e-5,
    logits: 1e-4,
};

fn fixtures() -> PathBuf {
    support::fixtures().join("qwen2_5_vl")
}

fn load(name: &str) -> (Qwen2_5Vl, Reference) {
    let dir = fixtures().join(name);
    let model = Qwen2_5Vl::load(&dir, &cpu_device(), DType::F32).unwrap();
    (model, Reference::open(dir.join("cases.safetensors")))
}

/// `width` values of every patch, taken merged unit by merged unit in the order `units`.
fn in_order(flat: &[f32], width: usize, units: &[usize]) -> Vec<f32> {
    let unit = 4 * width;
    let of = |u: &usize| flat[u * unit..(u + 1) * unit].iter().copied();
    units.iter().flat_map(of).collect()
}

#[test]
fn patches_of_published_settings() {
    let text = std::fs::read_to_string(fixtures().join("preprocess.json")).unwrap();
    let table: Value = serde_json::from_str(&text).unwrap();
    let size = |v: &Value| usize::try_from(v.as_u64().unwrap()).unwrap();
    let settings = ImageSettings::qwen2_5_vl();
    assert_eq!(settings.min_pixels, size(&table["min_pixels"]));
    assert_eq!(settings.max_pixels, size(&table["max_pixels"]));
    let processor = ImageProcessor::new(settings);
    let stride = size(&table["row_stride"]);
    let mut compared = 0;
    for case in table["cases"].as_array().unwrap() {
        let source = case["source"].as_str().unwrap();
        let path = fixtures().join("../preprocess").join(source);
        let made = processor.load(&[path]).unwrap().remove(0);
        let grid: Vec<usize> = case["grid_thw"]
            .as_array()
            .unwrap()
            .iter()
            .map(size)
            .collect();
        assert_eq!(made.grid.as_slice(), grid, "{source}");
        assert_eq!(made.values.len(), made.rows() * 1176);
        for (row, theirs) in case["rows"].as_object().unwrap() {
            let start = row.parse::<usize>().unwrap() * 1176;
            let ours = made.values[start..start + 1176].iter().step_by(stride);
            for (ours, theirs) in ours.zip(theirs.as_array().unwrap()) {
                let theirs = theirs.as_f64().unwrap() as f32;
                assert_eq!(ours.to_bits(), theirs.to_bits(), "{source} row {row}");
                compared += 1;
            }
        }
    }
    assert!(compared > 150, "only {compared} values were compared");
}

#[test]
fn window_order_and_rotations() {
    for (name, _) in MODELS {
        let (model, reference) = load(name);
        let c = &model.config().vision;
        for row_name in ["image1", "image2"] {
            let key = |k: &str| format!("{row_name}.vision.{k}");
            let (mut order, mut ends) = (Vec::new(), vec![0]);
            let grids = reference.row(row_name, &model).images;
            let grids: Vec<[usize; 3]> = grids.iter().map(|i| i.grid).collect();
            for [t, h, w] in &grids {
                let windows = window_order(*t, h / 2, w / 2, c.window_side());
                let before = order.len();
                order.extend(windows.order.iter().map(|u| before + u));
                for n in windows.sizes {
                    ends.push(ends.last().unwrap() + 4 * n);
                }
            }
            assert_eq!(order, reference.sizes(&key("window_index")), "{name}");
            assert_eq!(ends, reference.sizes(&key("window_bounds")), "{name}");
            assert!(
                ends.windows(2).any(|w| w[1] - w[0] != ends[1]),
                "no window is ragged"
            );
            let context = VisionContext::new(&grids, c, vtb_lora::AdapterPass::EVAL, &cpu_device());
            // The reference repeats its tables for both halves of a head.
            let half = |k: &str| -> Vec<f32> {
                let dim = c.head_dim();
                let table = reference.floats(&key(k));
                table
                    .chunks(dim)
                    .flat_map(|r| r[..dim / 2].to_vec())
                    .collect()
            };
            close("cos", &values(&context.rope().cos), &half("cos"), 1e-6);
            close("sin", &values(&context.rope().sin), &half("sin"), 1e-6);
        }
    }
}

#[test]
fn vision_tower() {
    for (name, _) in MODELS {
        let (model, reference) = load(name);
        for row_name in ["image1", "image2"] {
            let row = reference.row(row_name, &model);
            let plan = BatchPlan::new(&[row], model.config()).unwrap();
            let trace = model.trace_vision(&plan).unwrap();
            let key = |k: &str| reference.floats(&format!("{row_name}.vision.{k}"));
            let order = reference.sizes(&format!("{row_name}.vision.window_index"));
            let width = model.config().vision.hidden_size;
            let stem = in_order(&key("patch_embed"), width, &order);
            close("stem", &values(&trace.stem), &stem, 1e-5);
            assert_eq!(trace.blocks.len(), model.config().vision.depth);
            for (i, block) in trace.blocks.iter().enumerate() {
                let what = format!("{name} {row_name} block {i}");
                close(&what, &values(block), &key(&format!("block.{i}")), 1e-5);
            }
            let what = format!("{name} {row_name} merged");
            close(&what, &values(&trace.merged), &key("merged"), 1e-5);
            assert!(trace.deepstack.is_empty());
        }
    }
}

#[test]
fn positions_decoder_states_and_logits() {
    for (name, _) in MODELS {
        let (model, reference) = load(name);
        for row_name in ROWS {
            let row = reference.row(row_name, &model);
            positions_are_theirs(name, &model, &reference, row_name, &row);
            states_and_logits(name, &model, &reference, row_name, &row, BOUNDS);
        }
    }
}

#[test]
fn greedy_ids_alone_and_in_a_batch() {
    for (name, _) in MODELS {
        let (model, reference) = load(name);
        let rows = reference.rows(&model);
        greedy_alone_and_in_a_batch(name, &model, &reference, &ROWS, &rows, Some(5e-5));
    }
}

#[test]
fn features_for_image_models() {
    for (name, _) in MODELS {
        let (model, reference) = load(name);
        let encoder = TextEncoder::load(fixtures().join(name), &cpu_device(), DType::F32).unwrap();
        let rows = reference.rows(&model);
        let width = model.config().text.hidden_size;
        let all = encoder.encode(&rows, 0).unwrap();
        let cut = encoder.encode(&rows, 5).unwrap();
        assert_eq!(all.len(), rows.len());
        for ((row_name, whole), cut) in ROWS.iter().zip(&all).zip(&cut) {
            let theirs = reference.floats(&format!("{row_name}.text.final"));
            let what = format!("{name} {row_name}");
            close(&what, &values(whole), &theirs, 4e-5);
            assert_eq!(values(cut), values(whole)[5 * width..], "{what}: the rest");
            assert!(!whole.is_autodiff());
        }
        let error = encoder.encode(&rows, rows[0].ids.len()).unwrap_err();
        assert!(error.to_string().contains("nothing remains"), "{error}");
    }
}

#[test]
fn an_encoder_needs_no_output_head() {
    /// A checkpoint without one tensor.
    struct Without<'a>(RenamedSource<'a>, &'static str);
    impl TensorSource for Without<'_> {
        fn origin(&self) -> String {
            self.0.origin()
        }
        fn info(&self, name: &str) -> Option<TensorInfo> {
            self.0.info(name)
        }
        fn load(&self, name: &str) -> Result<TensorData, vtb_nn::NnError> {
            self.0.load(name)
        }
        fn names(&self) -> Vec<String> {
            let mut names = self.0.names();
            names.retain(|n| n != self.1);
            names
        }
    }
    let source = fixtures().join("nested");
    let (model, reference) = load("nested");
    let with_head = TextEncoder::load(&source, &cpu_device(), DType::F32).unwrap();
    let head = 300 * 64;
    assert_eq!(with_head.parameters(), model.parameters() - head);
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(source.join("config.json"), dir.path().join("config.json")).unwrap();
    let checkpoint = Checkpoint::open(&source).unwrap();
    let renamed = RenamedSource::new(&checkpoint, str::to_owned).unwrap();
    let weights = Without(renamed, "lm_head.weight");
    let path = dir.path().join("model.safetensors");
    save_safetensors(&path, &weights, &Default::default()).unwrap();
    let without = TextEncoder::load(dir.path(), &cpu_device(), DType::F32).unwrap();
    let row = [reference.row("image2", &model)];
    assert_eq!(
        values(&without.encode(&row, 3).unwrap()[0]),
        values(&with_head.encode(&row, 3).unwrap()[0])
    );
}

#[test]
fn adapters_logits_gradients_one_step_and_merging() {
    for (name, adapter) in MODELS {
        let (mut model, reference) = load(name);
        let dir = fixtures().join(name);
        let theirs = Reference::open(dir.join(format!("{adapter}.safetensors")));
        let (dir, rows) = (dir.join(adapter), reference.rows(&model));
        adapter_is_theirs(name, &mut model, &dir, &theirs, &ROWS, &rows, str::to_owned);
    }
}

#[test]
fn an_adapter_off_is_the_base_model() {
    for (name, adapter) in MODELS {
        let (mut model, reference) = load(name);
        let rows = reference.rows(&model);
        let base = model.token_scores(&rows, &ScoreOptions::default()).unwrap();
        let dir = fixtures().join(name).join(adapter);
        model
            .load_adapter(read_adapter(&dir).unwrap(), &dir)
            .unwrap();
        let off = ScoreOptions {
            adapter: AdapterState::Off,
            ..Default::default()
        };
        assert_eq!(model.token_scores(&rows, &off).unwrap(), base);
        assert!(model.trainable().iter().any(|p| p.name.contains("visual")));
    }
}

#[test]
fn packed_rows_are_those_alone() {
    for (name, adapter) in MODELS {
        let (mut model, reference) = load(name);
        let dir = fixtures().join(name).join(adapter);
        model
            .load_adapter(read_adapter(&dir).unwrap(), &dir)
            .unwrap();
        packed_is_unpacked(&model, &reference.rows(&model));
        let names = ["image2", "text", "image1", "text"];
        let (model, _) = load(name);
        let rows: Vec<_> = names.iter().map(|n| reference.row(n, &model)).collect();
        packed_is_theirs(name, &model, &reference, &names, &rows, BOUNDS);
    }
}

#[test]
fn names_alone_reach_the_vision_tower_and_the_default_does_not() {
    let (mut model, _) = load("flat");
    let (text, vision) = (3, 3);
    let lora = |targets| LoraConfig {
        targets,
        ..LoraConfig::default()
    };
    let named = lora(ModuleFilter::names(DECODER_PROJECTIONS));
    let report = model.match_adapter(&named).unwrap();
    assert_eq!(report.matches.len(), 7 * text + 3 * vision);
    let any = AnyVlm::Qwen2_5(model.clone());
    let report = model.match_adapter(&lora(any.decoder_targets())).unwrap();
    assert_eq!(report.matches.len(), 7 * text);
    assert!(
        report
            .matches
            .iter()
            .all(|m| m.linear.path.starts_with("model.language_model."))
    );
    let all = model
        .match_adapter(&lora(ModuleFilter::all_linear()))
        .unwrap();
    assert_eq!(all.matches.len(), 7 * text + 5 * vision + 2);
}

#[test]
fn gradients_of_every_parameter() {
    let (mut model, reference) = load("flat");
    model.train_full(FullTraining::EVERYTHING);
    let theirs = Reference::open(fixtures().join("flat/full_gradients.safetensors"));
    let (loss, gradients) = pass(&model, &reference.rows(&model), true);
    assert!((loss - f64::from(theirs.floats("loss")[0])).abs() < 1e-5 * loss);
    assert_eq!(gradients.len(), model.trainable().len());
    for (path, gradient) in &gradients {
        let expected = theirs.floats(&format!("grad.{path}"));
        close_relative(path, &values(gradient), &expected, 1e-4);
    }
    model.train_full(FullTraining::LANGUAGE);
    let (_, language) = pass(&model, &reference.rows(&model), true);
    assert!(language.keys().all(|path| !path.contains("visual")));
    assert_eq!(language.len(), model.trainable().len());
}

#[test]
fn bf16_stays_near_f32() {
    let (exact, reference) = load("nested");
    let dir = fixtures().join("nested");
    let model = Qwen2_5Vl::load(&dir, &cpu_device(), DType::BF16).unwrap();
    for row in reference.rows(&exact) {
        let logits = |m: &Qwen2_5Vl| values(&m.logits(std::slice::from_ref(&row)).unwrap());
        let cosine = cosine(&logits(&model), &logits(&exact));
        assert!(cosine > 0.999, "cosine {cosine}");
    }
}

#[test]
fn a_saved_model_has_published_names_and_is_the_same_model() {
    let (model, reference) = load("nested");
    let dir = tempfile::tempdir().unwrap();
    model.save(dir.path()).unwrap();
    let names = Checkpoint::open(dir.path()).unwrap().names();
    let published = [
        "visual.",
        "model.layers.",
        "model.embed_tokens.",
        "model.norm.",
        "lm_head.",
    ];
    assert!(
        names
            .iter()
            .all(|n| published.iter().any(|p| n.starts_with(p))),
        "{names:?}"
    );
    let again = AnyVlm::load(dir.path(), &cpu_device(), DType::F32).unwrap();
    let AnyVlm::Qwen2_5(again) = again else {
        panic!("opened as another family");
    };
    assert_eq!(again.config().vision, model.config().vision);
    let rows = reference.rows(&model);
    let logits = |m: &Qwen2_5Vl| -> TensorData { m.logits(&rows).unwrap().into_data() };
    assert_eq!(logits(&model), logits(&again));
}
