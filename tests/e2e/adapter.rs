//! `adapter` as a user runs it: on sound adapters and broken ones.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod adapters;
mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use burn::tensor::{DType, TensorData};
use common::{path, refuse, run, stderr, stdout, succeed};
use serde_json::Value;
use vtb_lora::{LoraConfig, read_adapter};
use vtb_nn::checkpoint::{
    Checkpoint, MemorySource, TensorSource, save_safetensors, swap_last_axes,
};

const ADAPTER: &str = env!("CARGO_BIN_EXE_adapter");

/// A tiny model, and an adapter of it in `adapter`.
fn model_and_adapter(dir: &Path, strength: f32) -> [String; 2] {
    let model = common::own_model_and_data(dir, "color_grid").model;
    let adapter = dir.join("adapter");
    adapters::make(&model, &adapter, &adapters::settings(), strength);
    [&model, &adapter].map(|p| path(p).to_owned())
}

fn verify(model: &str, adapter: &str, extra: &[&str]) -> (Value, i32) {
    let mut args = vec!["verify", "--model", model, "--adapter", adapter, "--json"];
    args.extend(extra);
    let output = run(ADAPTER, &args);
    let code = output.status.code().unwrap();
    let text = stdout(&output);
    let found = serde_json::from_str(&text);
    (
        found.unwrap_or_else(|_| panic!("{text}\n{}", stderr(&output))),
        code,
    )
}

#[test]
fn a_merged_model_computes_what_base_and_adapter_do() {
    let dir = tempfile::tempdir().unwrap();
    let [model, adapter] = model_and_adapter(dir.path(), 0.3);
    let shown = stdout(&succeed(ADAPTER, &["inspect", &adapter, "--model", &model]));
    for part in ["org/base", "q_proj", "vision", "alpha/√r", "attn.qkv = 2.5"] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    for (dtype, stored) in [("keep", "f32"), ("bf16", "bf16"), ("f16", "f16")] {
        let out = dir.path().join(format!("merged-{dtype}"));
        let to = [
            "merge",
            "--model",
            &model,
            "--adapter",
            &adapter,
            "--output-dir",
            path(&out),
            "--dtype",
            dtype,
            "--max-shard-size",
            "1MB",
        ];
        let told = stdout(&succeed(ADAPTER, &to));
        assert!(told.contains("merged"), "{told}");
        // Merged on disk and in memory are the same model.
        let (disk, code) = verify(&model, &adapter, &["--merged", path(&out)]);
        assert_eq!(code, 0, "{disk:#}");
        let (memory, _) = verify(&model, &adapter, &["--dtype", dtype]);
        assert_eq!(disk, memory);
        assert_eq!(
            (&disk["verdict"], &disk["stored"]),
            (&"same".into(), &stored.into())
        );
        for probe in disk["probes"].as_array().unwrap() {
            let value = |key: &str| probe[key].as_f64().unwrap();
            println!("{dtype}: {probe}, bound {}", disk["rms_bound"]);
            assert!(value("effect") > 0.05, "{probe}");
            // Well within the bound, and rounding is seen where there is some.
            let limit = disk["rms_bound"].as_f64().unwrap();
            assert!(value("rms") < limit / 2.0, "{probe} {limit}");
            assert!((value("rms") > 1e-5) == (stored != "f32"), "{probe}");
        }
        let files: Vec<_> = fs::read_dir(&out)
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        for file in [
            "config.json",
            "tokenizer.json",
            "model.safetensors.index.json",
        ] {
            assert!(
                files.iter().any(|f| f == file) || stored != "f32",
                "{files:?}"
            );
        }
        // A second run changes nothing.
        refuse(ADAPTER, &to, 2, &["not overwritten", path(&out)]);
    }
    let names: Vec<_> = fs::read_dir(dir.path())
        .unwrap()
        .map(|f| f.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !names.iter().any(|name| name.contains(".tmp-")),
        "{names:?}"
    );
    let config = fs::read_to_string(dir.path().join("merged-bf16/config.json")).unwrap();
    assert!(
        config.contains("bfloat16") && !config.contains("float32"),
        "{config}"
    );
    let weights = Checkpoint::open(dir.path().join("merged-bf16")).unwrap();
    assert!(
        weights
            .names()
            .iter()
            .all(|name| weights.info(name).unwrap().dtype == DType::BF16)
    );
}

/// A copy of `model` with its stacks of experts as transformers 5 saves them, `[expert, out, in]`.
fn with_transposed_experts(model: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(model).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
    }
    let file = to.join("model.safetensors");
    let source = Checkpoint::open(model).unwrap();
    let mut tensors = BTreeMap::new();
    for name in source.names() {
        let mut data = source.load(&name).unwrap();
        if name.contains(".experts.") {
            data = swap_last_axes(data).unwrap();
        }
        tensors.insert(name, data);
    }
    save_safetensors(&file, &MemorySource::new("x", tensors), &BTreeMap::new()).unwrap();
}

#[test]
fn stacks_of_experts_are_merged_in_either_layout() {
    let dir = tempfile::tempdir().unwrap();
    let published = common::tiny_moe(dir.path());
    let transposed = dir.path().join("transposed");
    with_transposed_experts(&published, &transposed);
    let adapter = dir.path().join("adapter");
    adapters::make_on_stacks(&published, &adapter, 0.3);
    let adapter = path(&adapter);
    let mut merges = Vec::new();
    for model in [path(&published), path(&transposed)] {
        let args = ["inspect", adapter, "--model", model, "--json"];
        let report: Value = serde_json::from_str(&stdout(&succeed(ADAPTER, &args))).unwrap();
        let groups = report["groups"].as_array().unwrap();
        let of = |name: &str| groups.iter().find(|g| g["module"] == name).unwrap();
        assert_eq!(
            (&of("gate_up_proj")["rank"], &of("down_proj")["rank"]),
            (&3.into(), &2.into())
        );
        let out = format!("{model}-merged");
        let to = [
            "merge",
            "--model",
            model,
            "--adapter",
            adapter,
            "--output-dir",
            &out,
        ];
        let told = stdout(&succeed(ADAPTER, &to));
        assert!(told.contains("merged 7 layers"), "{told}");
        // On disk, and in memory in a type that rounds.
        for (extra, stored) in [(["--merged", &out], "f32"), (["--dtype", "bf16"], "bf16")] {
            let (found, code) = verify(model, adapter, &extra);
            println!("{model}: {found}");
            assert_eq!(
                (code, &found["verdict"], &found["stored"]),
                (0, &"same".into(), &stored.into()),
                "{found:#}"
            );
            for probe in found["probes"].as_array().unwrap() {
                assert!(probe["effect"].as_f64().unwrap() > 0.05, "{probe}");
            }
        }
        // The base is no merge.
        let (found, code) = verify(model, adapter, &["--merged", model]);
        assert_eq!(
            (code, &found["verdict"]),
            (1, &"different".into()),
            "{found:#}"
        );
        merges.push(Checkpoint::open(&out).unwrap());
    }
    // Each keeps the layout of its base, and both are the same model.
    let [a, b] = [&merges[0], &merges[1]];
    assert_eq!(a.names(), b.names());
    let mut stacks = 0;
    for name in a.names() {
        let mut theirs = b.load(&name).unwrap();
        if name.contains(".experts.") {
            assert_ne!(a.info(&name).unwrap().shape, b.info(&name).unwrap().shape);
            theirs = swap_last_axes(theirs).unwrap();
            stacks += 1;
        }
        let (ours, theirs) = (a.load(&name).unwrap(), theirs);
        let distance = ours.iter::<f32>().zip(theirs.iter::<f32>());
        let worst = distance.map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-6, "{name}: {worst}");
    }
    assert_eq!(stacks, 4);
    // Other names would lose the ranks of the stacks.
    let out = dir.path().join("legacy");
    let args = [
        "convert",
        adapter,
        "--to",
        "peft-legacy",
        "--output-dir",
        path(&out),
    ];
    refuse(ADAPTER, &args, 1, &["stack of experts", "adapter merge"]);
    assert!(!out.exists());
}

#[test]
fn an_adapter_rewritten_for_others_stays_the_same_adapter() {
    let dir = tempfile::tempdir().unwrap();
    let [model, adapter] = model_and_adapter(dir.path(), 0.3);
    let merged = dir.path().join("merged");
    let args = ["merge", "--model", &model, "--adapter", &adapter];
    succeed(
        ADAPTER,
        &[&args[..], &["--output-dir", path(&merged)]].concat(),
    );
    let convert = |from: &str, to: &str, name: &str, extra: &[&str]| {
        let out = dir.path().join(name);
        let args = ["convert", from, "--to", to, "--output-dir", path(&out)];
        succeed(ADAPTER, &[&args[..], extra].concat());
        path(&out).to_owned()
    };
    let legacy = convert(
        &adapter,
        "peft-legacy",
        "legacy",
        &["--base-model", "org/other"],
    );
    let back = convert(&legacy, "peft", "back", &[]);
    let vllm = convert(&legacy, "vllm", "vllm", &[]);
    // Each of them is what was merged.
    for copy in [&legacy, &back, &vllm] {
        let (found, code) = verify(&model, copy, &["--merged", path(&merged)]);
        assert_eq!(code, 0, "{copy}: {found:#}");
    }
    let [first, legacy, back, vllm] =
        [&adapter, &legacy, &back, &vllm].map(|d| read_adapter(d).unwrap());
    assert_eq!(first.factors, back.factors);
    assert_eq!(legacy.base_model.as_deref(), Some("org/other"));
    let starts = |name: &str, starts: [&str; 2]| starts.iter().any(|s| name.starts_with(s));
    assert!(
        legacy
            .factors
            .keys()
            .all(|n| starts(n, ["model.layers.", "visual."]))
    );
    assert!(
        vllm.factors
            .keys()
            .all(|n| starts(n, ["model.language_model.layers.", "model.visual."]))
    );
    let config = &vllm.config;
    assert_eq!((config.r, config.alpha, config.use_rslora), (3, 3.0, false));
    assert!(config.rank_pattern.is_empty() && config.alpha_pattern.is_empty());
    assert!(vllm.factors.values().all(|f| f.a.shape()[0] == 3));
}

#[test]
fn a_file_with_the_layers_of_a_language_model_becomes_peft() {
    let dir = tempfile::tempdir().unwrap();
    let [model, adapter] = model_and_adapter(dir.path(), 0.3);
    let weights = Checkpoint::open(Path::new(&adapter).join("adapter_model.safetensors")).unwrap();
    let mut tensors = BTreeMap::new();
    for name in weights.names() {
        let renamed = name.replace("base_model.model.", "diffusion_model.");
        tensors.insert(renamed, weights.load(&name).unwrap());
    }
    let file = dir.path().join("theirs.safetensors");
    save_safetensors(&file, &MemorySource::new("x", tensors), &BTreeMap::new()).unwrap();
    let out = dir.path().join("peft");
    let args = ["convert", path(&file), "--to", "peft", "--output-dir"];
    let args = [&args[..], &[path(&out)]].concat();
    refuse(ADAPTER, &args, 1, &["--model DIR"]);
    succeed(ADAPTER, &[&args[..], &["--model", &model]].concat());
    let settings = fs::read_to_string(out.join("adapter_config.json")).unwrap();
    assert!(settings.contains("CAUSAL_LM"), "{settings}");
    let [before, after] = [Path::new(&adapter), &out].map(|dir| read_adapter(dir).unwrap());
    assert_eq!(before.factors, after.factors);
}

#[test]
fn what_is_wrong_is_found_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let [model, adapter] = model_and_adapter(dir.path(), 0.3);
    // The base in place of the merge.
    let (found, code) = verify(&model, &adapter, &["--merged", &model]);
    assert_eq!(
        (code, &found["verdict"]),
        (1, &"different".into()),
        "{found:#}"
    );
    // Less than bf16 can hold.
    let slight = dir.path().join("slight");
    adapters::make(Path::new(&model), &slight, &adapters::settings(), 1e-4);
    let (found, code) = verify(&model, path(&slight), &["--dtype", "bf16"]);
    assert_eq!((code, &found["verdict"]), (1, &"lost".into()), "{found:#}");
    let (found, code) = verify(&model, path(&slight), &[]);
    assert_eq!((code, &found["verdict"]), (0, &"same".into()), "{found:#}");
    // Nothing learnt: the merge is the base to the last bit.
    let zero = dir.path().join("zero");
    adapters::make(Path::new(&model), &zero, &adapters::settings(), 0.0);
    let (found, code) = verify(&model, path(&zero), &["--dtype", "keep"]);
    assert_eq!(
        (code, &found["verdict"]),
        (0, &"nothing-learnt".into()),
        "{found:#}"
    );

    let file = Path::new(&adapter).join("adapter_model.safetensors");
    let good = fs::read(&file).unwrap();
    let edit = |change: &dyn Fn(&mut BTreeMap<String, TensorData>)| {
        fs::write(&file, &good).unwrap();
        let source = Checkpoint::open(&file).unwrap();
        let mut tensors = BTreeMap::new();
        for name in source.names() {
            tensors.insert(name.clone(), source.load(&name).unwrap());
        }
        change(&mut tensors);
        save_safetensors(&file, &MemorySource::new("x", tensors), &BTreeMap::new()).unwrap();
    };
    let name = "base_model.model.model.language_model.layers.0.self_attn.q_proj.lora_B.weight";
    let faults = || {
        let output = run(ADAPTER, &["inspect", &adapter, "--json"]);
        assert_eq!(output.status.code(), Some(1));
        let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
        report["faults"].as_array().unwrap().clone()
    };
    let merge = [
        "merge",
        "--model",
        &model,
        "--adapter",
        &adapter,
        "--output-dir",
    ];
    let out = dir.path().join("none");
    let merge = [&merge[..], &[path(&out)]].concat();
    edit(&|tensors| {
        let data = &tensors[name];
        let broken = vec![f32::NAN; data.num_elements()];
        tensors.insert(name.into(), TensorData::new(broken, data.shape().to_vec()));
    });
    assert!(faults()[0].as_str().unwrap().contains("not finite"));
    refuse(
        ADAPTER,
        &merge,
        1,
        &["layers.0.self_attn.q_proj.weight", "no longer finite"],
    );
    edit(&|tensors| drop(tensors.remove(name)));
    assert!(faults()[0].as_str().unwrap().contains(name));
    refuse(ADAPTER, &merge, 1, &[name, "is missing"]);
    edit(&|tensors| {
        tensors.insert(name.into(), TensorData::new(vec![0.0f32; 9], [3, 3]));
    });
    assert!(faults()[0].as_str().unwrap().contains("[3, 3]"));
    // Another model's adapter.
    fs::write(&file, &good).unwrap();
    let config = LoraConfig {
        r: 2,
        ..LoraConfig::default()
    };
    let foreign = dir.path().join("foreign");
    let pair = vtb_lora::Factors {
        a: TensorData::new(vec![0.5f32; 8], [2, 4]),
        b: TensorData::new(vec![0.5f32; 8], [4, 2]),
    };
    let factors = BTreeMap::from([("encoder.block.0.attn.to_q".to_owned(), pair)]);
    vtb_lora::write_adapter(&foreign, &config, "x", &factors).unwrap();
    let foreign = path(&foreign);
    let args = [
        "convert",
        foreign,
        "--to",
        "peft",
        "--output-dir",
        path(&out),
    ];
    refuse(ADAPTER, &args, 1, &["`encoder.block.0.attn.to_q`"]);
    let args = ["inspect", foreign, "--model", &model];
    assert!(stdout(&run(ADAPTER, &args)).contains("which this model does not have"));
    refuse(
        ADAPTER,
        &["inspect", "nowhere"],
        2,
        &["no such file or folder"],
    );
    assert!(!out.exists());
    let left = fs::read_dir(dir.path()).unwrap();
    assert!(
        left.flatten()
            .all(|f| !f.file_name().to_string_lossy().contains(".tmp-")),
        "a temporary directory was left"
    );
}

/// Every command of the guide, run as it stands there, on a tiny model in the places it names.
#[test]
fn the_commands_of_the_guide_run() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(&dir.path().join("made"), "color_grid");
    let model = dir.path().join("models/Qwen3-VL-4B-Instruct");
    fs::create_dir_all(model.parent().unwrap()).unwrap();
    fs::rename(&own.model, &model).unwrap();
    let adapter = dir.path().join("runs/sft/checkpoints/step-500/adapter");
    adapters::make(&model, &adapter, &adapters::settings(), 0.3);
    let guide = fs::read_to_string(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../docs/guides/export.md"
    ))
    .unwrap();
    let joined = guide.replace("\\\n", " ");
    let mut ran = BTreeMap::<&str, usize>::new();
    for line in joined
        .lines()
        .filter(|line| line.starts_with("    cargo run "))
    {
        let (cargo, args) = line.split_once(" -- ").unwrap_or((line, ""));
        let program = match cargo.split_whitespace().last() {
            Some("adapter") => ADAPTER,
            Some("doctor") => env!("CARGO_BIN_EXE_doctor"),
            other => panic!("the guide runs {other:?}"),
        };
        let output = Command::new(program)
            .args(args.split_whitespace())
            .current_dir(dir.path())
            .env_remove("RUST_LOG")
            .env("RAYON_NUM_THREADS", "2")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{line}\n{}\n{}",
            stdout(&output),
            stderr(&output)
        );
        *ran.entry(args.split_whitespace().next().unwrap_or("doctor"))
            .or_default() += 1;
    }
    for command in ["inspect", "merge", "verify", "convert"] {
        assert!(ran.contains_key(command), "{ran:?}");
    }
}
