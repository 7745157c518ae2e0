//! `adapter convert` and `adapter inspect` on adapters of diffusion models, as a user runs them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;
mod lora_files;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use common::{path, refuse, run, stderr, stdout, succeed};
use lora_files::{deltas, fixture, made, same};
use serde_json::Value;
use vtb_lora::{
    AdapterFile, AdapterFormat, AdapterHeader, DiffusionFamily, LinearInfo, read_any, write_as,
};
use vtb_nn::checkpoint::{Checkpoint, MemorySource, TensorSource, save_safetensors};

const ADAPTER: &str = env!("CARGO_BIN_EXE_adapter");
const FORMS: [&str; 5] = ["peft", "diffusers", "comfyui", "kohya", "diffsynth"];

/// Converts into `dir`; the place of the copy.
fn convert(from: &str, to: &str, dir: &Path, extra: &[&str]) -> String {
    let (flag, out) = match to {
        "peft" => ("--output-dir", dir.join(to)),
        _ => ("--output", dir.join(format!("{to}.safetensors"))),
    };
    let args = ["convert", from, "--to", to, flag, path(&out)];
    let told = stdout(&succeed(ADAPTER, &[&args[..], extra].concat()));
    assert!(
        told.contains("wrote") && told.contains(path(&out)),
        "{told}"
    );
    path(&out).to_owned()
}

fn inspect(args: &[&str], code: i32) -> Value {
    let output = run(ADAPTER, &[&["inspect", "--json"], args].concat());
    let text = stdout(&output);
    assert_eq!(
        output.status.code(),
        Some(code),
        "{text}\n{}",
        stderr(&output)
    );
    serde_json::from_str(&text).unwrap()
}

#[test]
fn an_adapter_of_qwen_image_goes_through_every_form_and_fits_its_model() {
    let dir = tempfile::tempdir().unwrap();
    let (model, first) = (fixture("edit"), fixture("edit/lora"));
    let (before, _) = read_any(&first, None).unwrap();
    let mut at = path(&first).to_owned();
    for (i, to) in FORMS.iter().chain(&FORMS[..2]).enumerate() {
        let step = dir.path().join(i.to_string());
        fs::create_dir(&step).unwrap();
        at = convert(&at, to, &step, &[]);
        let report = inspect(&[&at, "--model", path(&model)], 0);
        assert_eq!(
            (&report["format"], &report["names"]),
            (&(*to).into(), &"qwen-image".into())
        );
        assert_eq!(report["layers"], before.factors.len());
        assert_eq!(report["groups"][0]["part"], "dit");
        let (after, format) = read_any(&at, None).unwrap();
        assert_eq!(format.name(), *to);
        same(&before, &after, 1e-6);
    }
    let text = stdout(&succeed(ADAPTER, &["inspect", &at]));
    assert!(
        text.contains("form") && text.contains("attn.to_q"),
        "{text}"
    );
    // A folder of diffusers, by the name it looks for.
    let out = dir.path().join("folder");
    let args = [
        "convert",
        &at,
        "--to",
        "diffusers",
        "--output-dir",
        path(&out),
    ];
    succeed(ADAPTER, &[&args[..], &["--dtype", "bf16"]].concat());
    assert!(out.join("pytorch_lora_weights.safetensors").is_file());
    let report = inspect(&[path(&out)], 0);
    assert_eq!(
        (&report["format"], &report["groups"][0]["dtype"]),
        (&"diffusers".into(), &"bf16".into())
    );
    // Of a model with other sizes it is none.
    let report = inspect(&[&at, "--model", path(&fixture("pipeline"))], 1);
    assert!(
        report["faults"][0]
            .as_str()
            .unwrap()
            .contains("transformer_blocks."),
        "{report}"
    );
    // Whatever its form.
    let (other, out) = (fixture("pipeline"), dir.path().join("other"));
    for adapter in [path(&first), &at] {
        let args = ["convert", adapter, "--to", "diffusers", "--model"];
        let place = [path(&other), "--output-dir", path(&out)];
        let args = [&args[..], &place].concat();
        refuse(ADAPTER, &args, 1, &["transformer_blocks.", adapter]);
        assert!(!out.exists());
    }
}

#[test]
fn ranks_alphas_and_origin_survive_for_both_families() {
    let dir = tempfile::tempdir().unwrap();
    let pipeline = fixture("pipeline");
    let qwen = LinearInfo::of_checkpoint(&Checkpoint::open(pipeline.join("transformer")).unwrap());
    let wan = wan_modules();
    for (name, modules, model) in [("qwen", &qwen, Some(path(&pipeline))), ("wan", &wan, None)] {
        for use_rslora in [false, true] {
            let first = made(modules, use_rslora);
            let header = AdapterHeader {
                base_model: Some("org/base".into()),
                step: Some(500),
                template: Some("edit-list".into()),
                zero_cond_t: Some(true),
                ..AdapterHeader::default()
            };
            let (config, factors) = (&first.config, &first.factors);
            for from in AdapterFormat::ALL {
                let on = dir.path().join(format!("{name}-{use_rslora}-{from}"));
                fs::create_dir(&on).unwrap();
                let start = on.join("start.safetensors");
                write_as(from, &start, config, factors, &header, DType::F32).unwrap();
                let extra: Vec<&str> = model.iter().flat_map(|m| ["--model", m]).collect();
                for to in FORMS {
                    let copy = convert(path(&start), to, &on, &extra);
                    let (after, _) = read_any(&copy, None).unwrap();
                    same(&first, &after, 1e-6);
                    let kept = AdapterFile::open_any(&copy, None).unwrap().header();
                    assert_eq!(kept, header, "{from} {to}");
                }
            }
        }
    }
}

/// The layers of two blocks of Wan, and those outside.
fn wan_modules() -> Vec<LinearInfo> {
    let within = [
        "self_attn.q",
        "self_attn.k",
        "self_attn.o",
        "cross_attn.v",
        "ffn.0",
        "ffn.2",
    ];
    let blocks = (0..2).flat_map(|n| within.map(|name| format!("blocks.{n}.{name}")));
    let top = [
        "text_embedding.0",
        "time_embedding.2",
        "time_projection.1",
        "head.head",
    ];
    blocks
        .chain(top.map(str::to_owned))
        .enumerate()
        .map(|(i, name)| LinearInfo {
            path: DiffusionFamily::Wan.diffusers(&name).unwrap(),
            in_features: 6 + i % 3,
            out_features: 5 + i % 4,
            is_head: false,
        })
        .collect()
}

/// A model of Wan in the diffusers layout: a transformer of `modules` and a norm, and another part.
fn wan_model(dir: &Path, modules: &[LinearInfo]) -> BTreeMap<String, TensorData> {
    let mut tensors = BTreeMap::new();
    for (i, module) in modules.iter().enumerate() {
        let shape = [module.out_features, module.in_features];
        let wave = |k: usize| ((k as f32 * 78.233 + i as f32).sin() * 43.758).fract();
        let values: Vec<f32> = (0..shape[0] * shape[1]).map(wave).collect();
        tensors.insert(
            format!("{}.weight", module.path),
            TensorData::new(values, shape),
        );
    }
    let norm = TensorData::new(vec![1.0f32; 4], [4]);
    tensors.insert("blocks.0.norm2.weight".to_owned(), norm);
    for (name, text) in [
        ("model_index.json", r#"{"_class_name": "WanPipeline"}"#),
        (
            "transformer/config.json",
            r#"{"_class_name": "WanTransformer3DModel"}"#,
        ),
        ("vae/config.json", "{}"),
    ] {
        let file = dir.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
    fs::write(dir.join("vae/weights.safetensors"), "as it is").unwrap();
    let weights = dir.join("transformer/diffusion_pytorch_model.safetensors");
    let source = MemorySource::new("test", tensors.clone());
    save_safetensors(weights, &source, &BTreeMap::new()).unwrap();
    tensors
}

#[test]
fn a_transformer_of_wan_takes_an_adapter_of_any_form() {
    let dir = tempfile::tempdir().unwrap();
    let modules = wan_modules();
    let model = dir.path().join("model");
    let base = wan_model(&model, &modules);
    let adapter = made(&modules, false);
    let deltas = deltas(&adapter);
    let (config, factors) = (&adapter.config, &adapter.factors);
    let merge = |from: &Path, to: &Path| {
        let args = ["merge", "--model", path(&model), "--adapter", path(from)];
        [&args[..], &["--output-dir", path(to)]]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    for format in AdapterFormat::ALL {
        let from = dir.path().join(format!("{format}.safetensors"));
        let header = AdapterHeader::default();
        write_as(format, &from, config, factors, &header, DType::F32).unwrap();
        let out = dir.path().join(format!("{format}-merged"));
        let told = stdout(&succeed(ADAPTER, &common::words(&merge(&from, &out))));
        let layers = format!("merged {} layers of the transformer", modules.len());
        assert!(told.contains(&layers), "{told}");
        let merged = Checkpoint::open(out.join("transformer")).unwrap();
        assert!(merged.names().iter().eq(base.keys()));
        for (name, before) in &base {
            let after = merged.load(name).unwrap();
            let delta = deltas.get(name.trim_end_matches(".weight"));
            for (i, (b, a)) in before.iter::<f64>().zip(after.iter::<f64>()).enumerate() {
                let expected = b + delta.map_or(0.0, |delta| delta[i]);
                assert!((a - expected).abs() < 1e-5, "{format} {name}: {a} {b}");
            }
        }
        for name in [
            "model_index.json",
            "transformer/config.json",
            "vae/weights.safetensors",
        ] {
            let read = |dir: &Path| fs::read_to_string(dir.join(name)).unwrap();
            assert_eq!(read(&model), read(&out));
        }
    }
    // What is missing is named, and nothing is left.
    let out = dir.path().join("none");
    let args = merge(&dir.path().join("peft.safetensors"), &out);
    fs::remove_file(model.join("transformer/config.json")).unwrap();
    let config = ["transformer/config.json"];
    refuse(ADAPTER, &common::words(&args), 1, &config);
    fs::rename(model.join("transformer"), model.join("unet")).unwrap();
    let folder = ["no folder `transformer`"];
    refuse(ADAPTER, &common::words(&args), 1, &folder);
    assert!(!out.exists());
}

#[test]
fn one_rank_for_all_is_folded_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let first = made(&wan_modules(), true);
    let start = dir.path().join("start");
    let header = AdapterHeader::default();
    write_as(
        AdapterFormat::Peft,
        &start,
        &first.config,
        &first.factors,
        &header,
        DType::F32,
    )
    .unwrap();
    let copy = convert(path(&start), "kohya", dir.path(), &["--fold-scale"]);
    let (after, _) = read_any(copy, None).unwrap();
    same(&first, &after, 1e-6);
    assert_eq!((after.config.r, after.config.alpha), (5, 5.0));
    assert!(after.config.rank_pattern.is_empty() && after.config.alpha_pattern.is_empty());
}

#[test]
fn wrong_usage_and_wrong_files_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let adapter = fixture("edit/lora");
    let adapter = path(&adapter);
    let (folder, file) = (dir.path().join("out"), dir.path().join("out.safetensors"));
    let (folder, file) = (path(&folder), path(&file));
    let convert = |from, to, place: &[&str]| {
        let args = ["convert", from, "--to", to];
        [&args[..], place]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<String>>()
    };
    let refused = |args: Vec<String>, code, parts: &[&str]| {
        refuse(ADAPTER, &common::words(&args), code, parts);
        assert!(!Path::new(folder).exists(), "{args:?}");
    };
    refused(
        convert(adapter, "comfyui", &["--output-dir", folder]),
        2,
        &["--output"],
    );
    refused(
        convert(adapter, "peft", &["--output", file]),
        2,
        &["--output-dir"],
    );
    refused(
        convert(adapter, "kohya", &["--output", folder]),
        2,
        &[".safetensors"],
    );
    refused(convert(adapter, "kohya", &[]), 2, &["--output-dir"]);
    // Names of language models are not for these.
    refused(
        convert(adapter, "vllm", &["--output-dir", folder]),
        1,
        &["`transformer_blocks.0."],
    );
    fs::write(file, "mine").unwrap();
    refused(
        convert(adapter, "diffsynth", &["--output", file]),
        2,
        &["not overwritten", file],
    );
    assert_eq!(fs::read_to_string(file).unwrap(), "mine");
    fs::remove_file(file).unwrap();

    // Names that only the model explains.
    let tensors = [
        (
            "lora_unet_double_img_qkv.lora_down.weight",
            vec![0.5f32; 6],
            vec![2, 3],
        ),
        (
            "lora_unet_double_img_qkv.lora_up.weight",
            vec![0.5f32; 8],
            vec![4, 2],
        ),
        ("lora_unet_double_img_qkv.alpha", vec![1.0], vec![]),
    ];
    let save = |place: &Path, tensors: &[(&str, Vec<f32>, Vec<usize>)]| {
        let of = |(name, values, shape): &(&str, Vec<f32>, Vec<usize>)| {
            (
                (*name).to_owned(),
                TensorData::new(values.clone(), shape.clone()),
            )
        };
        let source = MemorySource::new("test", tensors.iter().map(of).collect());
        save_safetensors(place, &source, &BTreeMap::new()).unwrap();
    };
    let theirs = dir.path().join("theirs.safetensors");
    save(&theirs, &tensors);
    let theirs = path(&theirs);
    refused(
        convert(theirs, "comfyui", &["--output", file]),
        1,
        &["lora_unet_double_img_qkv", "--model DIR", theirs],
    );
    let model = dir.path().join("model");
    fs::create_dir(&model).unwrap();
    let weights = [("double.img_qkv.weight", vec![0.0f32; 12], vec![4, 3])];
    save(&model.join("model.safetensors"), &weights);
    let known = ["--model", path(&model)];
    let report = inspect(&[&[theirs], &known[..]].concat(), 0);
    assert_eq!(
        (&report["layers"], &report["groups"][0]["scale"]),
        (&1.into(), &0.5.into())
    );
    refused(
        convert(
            theirs,
            "comfyui",
            &[&["--output", file], &known[..]].concat(),
        ),
        1,
        &["write it as peft"],
    );
    let own = dir.path().join("own");
    let args = convert(
        theirs,
        "peft",
        &[&["--output-dir", path(&own)], &known[..]].concat(),
    );
    succeed(ADAPTER, &common::words(&args));
    let settings = fs::read_to_string(own.join("adapter_config.json")).unwrap();
    assert!(settings.contains("\"task_type\": null"), "{settings}");
    let (copy, _) = read_any(&own, None).unwrap();
    assert!(copy.factors.keys().eq(["double.img_qkv"]));
    assert_eq!(copy.config.scaling("double.img_qkv").unwrap(), 0.5);

    // A fault is found, and named.
    let mut broken = tensors;
    broken[2].1 = vec![f32::NAN];
    save(Path::new(theirs), &broken);
    let report = inspect(&[&[theirs], &known[..]].concat(), 1);
    let fault = report["faults"][0].as_str().unwrap();
    assert!(
        fault.contains("lora_unet_double_img_qkv.alpha") && fault.contains("positive"),
        "{fault}"
    );
    fs::write(theirs, b"version https://git-lfs.github.com/spec/v1\n").unwrap();
    refused(
        convert(theirs, "peft", &["--output-dir", folder]),
        1,
        &["git lfs pull", theirs],
    );
    refuse(
        ADAPTER,
        &["inspect", "nowhere.safetensors"],
        1,
        &["nowhere.safetensors"],
    );
    assert!(!Path::new(file).exists());
}
