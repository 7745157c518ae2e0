//! Our Qwen3-VL with experts against `transformers` and `peft`, on a tiny random model (`tests/fixtures`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod support;

use burn::tensor::{DType, TensorData};
use support::{
    Bounds, ROWS, Reference, adapter_is_theirs, close, close_relative, cosine, fixtures,
    greedy_alone_and_in_a_batch, mean_loss, packed_is_theirs, packed_is_unpacked,
    positions_are_theirs, states_and_logits, values, videos_are_learned, videos_are_seen,
};
use vtb_lora::{AdapterFile, LoraConfig, MergedSource, ModuleFilter, read_adapter, write_adapter};
use vtb_models_vlm::qwen3_vl::{FullTraining, Qwen3Vl};
use vtb_nn::checkpoint::{Checkpoint, TensorSource, swap_last_axes};
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{BackwardOptions, CausalLm, LmRow, NamedTensors, ScoreOptions};
use vtb_nn::trainable::Trainable;

const LAYOUTS: [&str; 2] = ["published", "transposed"];
const BOUNDS: Bounds = Bounds {
    hidden: 1e-5,
    last: 2e-5,
    logits: 1e-4,
};

fn dir() -> std::path::PathBuf {
    fixtures().join("qwen3_vl_moe")
}

fn load(layout: &str) -> (Qwen3Vl, Reference) {
    let model = Qwen3Vl::load(dir().join(layout), &cpu_device(), DType::F32).unwrap();
    (model, Reference::open(dir().join("cases.safetensors")))
}

fn pass(
    model: &Qwen3Vl,
    rows: &[LmRow],
    recompute: bool,
    balance: f32,
) -> (f64, f32, NamedTensors) {
    let mut loss = 0.0;
    let options = BackwardOptions {
        recompute,
        router_loss: balance,
        ..Default::default()
    };
    let (gradients, report) = model
        .backward_with_report(rows, &options, &mut mean_loss(&mut loss))
        .unwrap();
    (loss, report.router_loss.unwrap(), gradients)
}

#[test]
fn both_layouts_give_the_states_and_logits_of_the_reference() {
    for layout in LAYOUTS {
        let (model, reference) = load(layout);
        assert_eq!(model.parameters(), model.config().parameters());
        for name in ROWS {
            let row = reference.row(name, &model);
            positions_are_theirs(layout, &model, &reference, name, &row);
            states_and_logits(layout, &model, &reference, name, &row, BOUNDS);
        }
    }
}

#[test]
fn greedy_ids_alone_and_in_a_batch() {
    let (model, reference) = load("published");
    let rows = reference.rows(&model);
    greedy_alone_and_in_a_batch("moe", &model, &reference, &ROWS, &rows, Some(2e-5));
}

#[test]
fn gradients_of_every_parameter_and_of_the_routers_loss() {
    let theirs = Reference::open(dir().join("gradients.safetensors"));
    let (mut model, reference) = load("transposed");
    model.train_full(FullTraining::EVERYTHING);
    let rows = reference.rows(&model);
    let (loss, router_loss, gradients) = pass(&model, &rows, true, 0.0);
    let close_to = |ours: f64, key: &str| {
        let theirs = f64::from(theirs.floats(key)[0]);
        assert!(
            (ours - theirs).abs() < 1e-5 * theirs,
            "{key}: {ours}, theirs {theirs}"
        );
    };
    close_to(loss, "loss");
    close_to(f64::from(router_loss), "aux_loss");
    assert_eq!(gradients.len(), model.trainable().len());
    for (path, gradient) in &gradients {
        let expected = theirs.floats(&format!("grad.{path}"));
        close_relative(path, &values(gradient), &expected, 1e-4);
    }
    for recompute in [true, false] {
        let (_, _, balanced) = pass(&model, &rows, recompute, 0.5);
        let mut seen = 0;
        for (path, gradient) in &balanced {
            let key = format!("balanced.{path}");
            if theirs.has(&key) {
                close_relative(&key, &values(gradient), &theirs.floats(&key), 1e-4);
                seen += 1;
            }
        }
        assert_eq!(seen, 4);
    }
}

#[test]
fn adapters_beside_and_on_experts() {
    for (adapter, stacks) in [
        ("lora_linear", 0),
        ("lora_experts", 2),
        ("lora_down", 1),
        ("lora_vision", 1),
    ] {
        let (mut model, reference) = load("published");
        let directory = dir().join(adapter);
        let theirs = Reference::open(dir().join(format!("{adapter}.safetensors")));
        let rows = reference.rows(&model);
        let name = |path: &str| wrapped(path, stacks);
        adapter_is_theirs(adapter, &mut model, &directory, &theirs, &ROWS, &rows, name);
        written_again(&directory);
    }
}

/// Adapters that peft made on matrices `[in, out]`, once told so, once taking them for `[out, in]`.
#[test]
fn adapters_made_on_the_other_layout_of_experts() {
    for adapter in ["lora_published", "lora_exchanged"] {
        let directory = dir().join(adapter);
        let theirs = Reference::open(dir().join(format!("{adapter}.safetensors")));
        for layout in LAYOUTS {
            let (mut model, reference) = load(layout);
            let row = [reference.row("image2", &model)];
            let found = read_adapter(&directory).unwrap();
            model.load_adapter(found, &directory).unwrap();
            let what = format!("{adapter} on {layout}");
            let check = |what: &str, model: &Qwen3Vl, key: &str| {
                let logits = values(&model.logits(&row).unwrap());
                close(what, &logits, &theirs.floats(key), 1e-4);
            };
            check(&what, &model, "logits.image2");
            model.merge_adapter();
            check(&format!("{what}, merged"), &model, "merged_logits.image2");
        }
    }
}

/// Merging file by file gives the weights and logits of peft's merge, whatever the layout of the file.
#[test]
fn adapters_merged_into_files_are_merged_by_peft() {
    for adapter in [
        "lora_linear",
        "lora_experts",
        "lora_down",
        "lora_vision",
        "lora_published",
        "lora_exchanged",
    ] {
        let file = AdapterFile::open(dir().join(adapter)).unwrap();
        let theirs = Reference::open(dir().join(format!("{adapter}.safetensors")));
        for layout in LAYOUTS {
            let what = format!("{adapter} into {layout}");
            let (model, reference) = load(layout);
            let base = Checkpoint::open(dir().join(layout)).unwrap();
            let device = cpu_device();
            let merged = MergedSource::new(&base, &file, None, &device).unwrap();
            let mut compared = 0;
            for name in merged.changed() {
                let key = format!("merged.{name}");
                if !theirs.has(&key) {
                    continue;
                }
                // Theirs are `[in, out]`, as published.
                let mut ours = merged.load(name).unwrap();
                if layout == "transposed" {
                    ours = swap_last_axes(ours).unwrap();
                }
                let ours: Vec<f32> = ours.iter::<f32>().collect();
                close(&format!("{what} {name}"), &ours, &theirs.floats(&key), 1e-6);
                compared += 1;
            }
            let stored = ["lora_published", "lora_exchanged"].contains(&adapter);
            assert_eq!(compared, if stored { 2 } else { 0 }, "{what}");
            let config = model.config().clone();
            let again = Qwen3Vl::from_source(config, &merged, &device, DType::F32).unwrap();
            let logits = again.logits(&[reference.row("image2", &model)]).unwrap();
            let expected = theirs.floats("merged_logits.image2");
            close(&what, &values(&logits), &expected, 1e-4);
        }
    }
}

#[test]
fn videos_among_experts() {
    let reference = Reference::open(dir().join("video.safetensors"));
    for layout in LAYOUTS {
        let (mut model, _) = load(layout);
        videos_are_seen(layout, &model, &reference);
        videos_are_learned(&mut model, &reference, 4);
    }
}

/// The name peft gives a factor: wrappers nest around the module that owns the parameter.
fn wrapped(path: &str, stacks: usize) -> String {
    let inner = if stacks > 1 { ".base_layer" } else { "" };
    path.replace(".gate_up_adapter", inner)
        .replace(".down_adapter", "")
}

/// What we write holds the tensors peft wrote, and loads again.
fn written_again(theirs: &std::path::Path) {
    let (mut model, _) = load("transposed");
    model
        .load_adapter(read_adapter(theirs).unwrap(), theirs)
        .unwrap();
    let ours = tempfile::tempdir().unwrap();
    let config = model.adapter_config().unwrap();
    write_adapter(ours.path(), config, "tiny", &model.adapter_factors()).unwrap();
    let open =
        |dir: &std::path::Path| Checkpoint::open(dir.join("adapter_model.safetensors")).unwrap();
    let (a, b) = (open(ours.path()), open(theirs));
    assert_eq!(a.names(), b.names());
    for name in a.names() {
        assert_eq!(a.data(&name).unwrap(), b.data(&name).unwrap(), "{name}");
    }
    let again = read_adapter(ours.path()).unwrap();
    assert_eq!(&again.config, config);
}

#[test]
fn packed_rows_are_those_alone() {
    let (mut model, reference) = load("published");
    let directory = dir().join("lora_experts");
    let found = read_adapter(&directory).unwrap();
    model.load_adapter(found, &directory).unwrap();
    packed_is_unpacked(&model, &reference.rows(&model));
    let (model, _) = load("transposed");
    let names = ["image2", "text", "image1", "text"];
    let rows: Vec<LmRow> = names.iter().map(|n| reference.row(n, &model)).collect();
    packed_is_theirs("moe", &model, &reference, &names, &rows, BOUNDS);
}

#[test]
fn fresh_adapters_leave_experts_alone_unless_they_are_named() {
    let (mut model, reference) = load("published");
    let rows = reference.rows(&model);
    let base = model.token_scores(&rows, &ScoreOptions::default()).unwrap();
    let report = model.attach_adapter(&LoraConfig::default(), 1).unwrap();
    assert!(report.stacks.is_empty());
    assert!(report.matches.iter().all(|m| {
        let path = &m.linear.path;
        !path.contains("experts") && !path.ends_with("mlp.gate")
    }));
    let (mut model, _) = load("published");
    let config = LoraConfig {
        r: 2,
        targets: ModuleFilter::names(["q_proj"]),
        target_parameters: vec![
            "mlp.experts.gate_up_proj".into(),
            "mlp.experts.down_proj".into(),
        ],
        ..LoraConfig::default()
    };
    let report = model.attach_adapter(&config, 1).unwrap();
    assert_eq!(report.stacks.len(), 4);
    let trained: usize = model
        .trainable()
        .iter()
        .map(|p| p.shape.iter().product::<usize>())
        .sum();
    assert_eq!(report.parameters(), trained as u64);
    // The second factors are zero.
    assert_eq!(
        model.token_scores(&rows, &ScoreOptions::default()).unwrap(),
        base
    );
    assert!(
        pass(&model, &rows, true, 0.0)
            .2
            .values()
            .any(|g| values(g).iter().any(|x| *x != 0.0))
    );
}

#[test]
fn a_saved_model_has_the_published_layout_and_is_the_same_model() {
    let (model, reference) = load("transposed");
    let saved = tempfile::tempdir().unwrap();
    model.save(saved.path()).unwrap();
    let (ours, theirs) = (
        Checkpoint::open(saved.path()).unwrap(),
        Checkpoint::open(dir().join("published")).unwrap(),
    );
    assert_eq!(ours.names(), theirs.names());
    for name in ours.names() {
        assert_eq!(
            ours.data(&name).unwrap(),
            theirs.data(&name).unwrap(),
            "{name}"
        );
    }
    let tensors = model.config().tensors().unwrap();
    for (name, shape) in tensors {
        assert_eq!(ours.info(&name).unwrap().shape, shape, "{name}");
    }
    let again = Qwen3Vl::load(saved.path(), &cpu_device(), DType::F32).unwrap();
    let rows = reference.rows(&model);
    let logits = |m: &Qwen3Vl| -> TensorData { m.logits(&rows).unwrap().into_data() };
    assert_eq!(logits(&model), logits(&again));
}

#[test]
fn experts_in_bf16_stay_near_the_reference() {
    let model = Qwen3Vl::load(dir().join("published"), &cpu_device(), DType::BF16).unwrap();
    let reference = Reference::open(dir().join("cases.safetensors"));
    for name in ROWS {
        let logits = model.logits(&[reference.row(name, &model)]).unwrap();
        let theirs = reference.floats(&format!("{name}.logits"));
        let cosine = cosine(&values(&logits), &theirs);
        assert!(cosine > 0.999, "{name}: cosine {cosine}");
    }
}

#[test]
fn a_stack_of_neither_layout_is_named() {
    let broken = tempfile::tempdir().unwrap();
    let source = dir().join("published");
    let config = std::fs::read_to_string(source.join("config.json")).unwrap();
    let config = config.replace(
        "\"moe_intermediate_size\": 20",
        "\"moe_intermediate_size\": 24",
    );
    std::fs::write(broken.path().join("config.json"), config).unwrap();
    std::fs::copy(
        source.join("model.safetensors"),
        broken.path().join("model.safetensors"),
    )
    .unwrap();
    let text = Qwen3Vl::load(broken.path(), &cpu_device(), DType::F32)
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("layers.0.mlp.experts.gate_up_proj") && text.contains("[6, 32, 48]"),
        "{text}"
    );
}
