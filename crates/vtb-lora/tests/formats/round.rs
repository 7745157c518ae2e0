//! Round trips: every form holds the same adapter, and says it where each program looks for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::{DType, Device};
use vtb_lora::{
    Adapter, AdapterFile, AdapterFormat, AdapterHeader, AdapterReport, DiffusionFamily,
    MergedSource, read_any, write_as,
};
use vtb_nn::checkpoint::{Checkpoint, MemorySource, TensorSource};

use crate::support::*;

#[test]
fn every_form_holds_the_same_adapter() {
    for (paths, family) in [
        (QWEN, DiffusionFamily::QwenImage),
        (WAN, DiffusionFamily::Wan),
    ] {
        for use_rslora in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let first = adapter(&paths, use_rslora);
            assert_eq!(DiffusionFamily::of(paths), Some(family));
            let modules = linears(&paths);
            for format in AdapterFormat::ALL {
                let path = write(dir.path(), format, &first, DType::F32);
                for modules in [None, Some(modules.as_slice())] {
                    let (read, found) = read_any(&path, modules).unwrap();
                    assert_eq!(found, format);
                    same(&first, &read, 1e-6);
                    assert_eq!(read.base_model.as_deref(), Some("org/base"));
                }
                let file = AdapterFile::open_any(&path, None).unwrap();
                assert_eq!(file.header(), header(), "{format}");
                // From there on to every other form.
                for other in AdapterFormat::ALL {
                    let on = tempfile::tempdir().unwrap();
                    let second = write(on.path(), other, &file.read().unwrap(), DType::F32);
                    let (read, found) = read_any(&second, None).unwrap();
                    assert_eq!(found, other);
                    same(&first, &read, 1e-6);
                }
            }
        }
    }
}

/// All tensors of a file, with numbers for alphas.
fn names_and_alphas(path: &Path) -> (Vec<String>, BTreeMap<String, f64>) {
    let file = Checkpoint::open(path).unwrap();
    let names = file.names();
    let alphas = names.iter().filter(|name| name.ends_with(".alpha"));
    let alphas = alphas.map(|name| {
        assert_eq!(file.info(name).unwrap().shape, Vec::<usize>::new());
        (
            name.clone(),
            file.load(name).unwrap().iter::<f64>().next().unwrap(),
        )
    });
    let alphas = alphas.collect();
    (names, alphas)
}

#[test]
fn names_and_scales_stand_where_each_program_looks_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let qwen = adapter(&QWEN, false);
    let wan = adapter(&WAN, false);
    let has = |path: &Path, expected: &[&str]| {
        let (names, _) = names_and_alphas(path);
        for name in expected {
            assert!(names.iter().any(|n| n == name), "{name}: {names:?}");
        }
        assert!(names.is_sorted());
    };
    let file = |format, adapter| write(dir.path(), format, adapter, DType::F32);

    let path = file(AdapterFormat::Diffusers, &qwen);
    has(
        &path,
        &["transformer.transformer_blocks.0.attn.to_out.0.lora_A.weight"],
    );
    assert!(names_and_alphas(&path).1.is_empty());
    has(
        &file(AdapterFormat::Diffusers, &wan),
        &["transformer.blocks.0.ffn.net.0.proj.lora_B.weight"],
    );

    let path = file(AdapterFormat::ComfyUi, &qwen);
    has(
        &path,
        &["diffusion_model.transformer_blocks.1.txt_mlp.net.2.lora_A.weight"],
    );
    let alphas = names_and_alphas(&path).1;
    // Scale 1 there, and none is stored.
    assert_eq!(alphas.len(), 7);
    assert!(!alphas.contains_key("diffusion_model.transformer_blocks.0.img_mod.1.alpha"));
    let linear = alphas["diffusion_model.norm_out.linear.alpha"];
    assert!((linear - 0.7).abs() < 1e-7, "{linear}");
    let path = file(AdapterFormat::ComfyUi, &wan);
    has(
        &path,
        &[
            "diffusion_model.blocks.0.cross_attn.k.lora_A.weight",
            "diffusion_model.head.head.lora_B.weight",
        ],
    );
    // What lies outside the blocks has its scale in the factor: diffusers reads no alpha of it.
    let alphas = names_and_alphas(&path).1;
    assert_eq!(alphas.len(), 5);
    assert!(
        alphas.keys().all(|name| name.contains(".blocks.")),
        "{alphas:?}"
    );

    let path = file(AdapterFormat::Kohya, &qwen);
    has(
        &path,
        &["lora_unet_transformer_blocks_11_img_mlp_net_0_proj.lora_down.weight"],
    );
    assert_eq!(names_and_alphas(&path).1.len(), 8);
    let path = file(AdapterFormat::Kohya, &wan);
    has(
        &path,
        &[
            "lora_unet_blocks_1_ffn_2.lora_up.weight",
            "lora_unet_time_projection_1.alpha",
        ],
    );
    assert_eq!(
        names_and_alphas(&path).1["lora_unet_blocks_0_self_attn_o.alpha"],
        3.0
    );

    let path = file(AdapterFormat::DiffSynth, &qwen);
    has(
        &path,
        &["transformer_blocks.0.attn.to_q.lora_A.default.weight"],
    );
    assert!(names_and_alphas(&path).1.is_empty());
    has(
        &file(AdapterFormat::DiffSynth, &wan),
        &["blocks.0.self_attn.q.lora_B.default.weight"],
    );

    // A model of languages is what PEFT would make of a task.
    let path = file(AdapterFormat::Peft, &qwen);
    let config = fs::read_to_string(path.join("adapter_config.json")).unwrap();
    assert!(config.contains("\"task_type\": null"), "{config}");
}

#[test]
fn rsloras_scale_is_in_the_alphas() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(
        dir.path(),
        AdapterFormat::Kohya,
        &adapter(&QWEN, true),
        DType::F32,
    );
    let alphas = names_and_alphas(&path).1;
    // 3/√4·4.
    let alpha = alphas["lora_unet_transformer_blocks_0_attn_to_out_0.alpha"];
    assert_eq!(alpha, 6.0);
}

#[test]
fn factors_are_stored_in_the_type_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let first = adapter(&WAN, false);
    for (dtype, tolerance) in [(DType::BF16, 0.05), (DType::F16, 0.005)] {
        for format in AdapterFormat::ALL {
            let path = write(dir.path(), format, &first, dtype);
            let file = AdapterFile::open_any(&path, None).unwrap();
            for layer in WAN {
                let [a, b] = file.stored(layer).map(Option::unwrap);
                assert_eq!((a.0, b.0), (dtype, dtype));
            }
            let read = file.read().unwrap();
            same(&first, &read, tolerance);
        }
    }
    // 1e6 is beyond f16.
    let mut large = first;
    large.config.alpha = 4e6;
    let path = dir.path().join("large.safetensors");
    let write = |dtype| {
        let (config, factors) = (&large.config, &large.factors);
        write_as(
            AdapterFormat::DiffSynth,
            &path,
            config,
            factors,
            &header(),
            dtype,
        )
    };
    let fault = write(DType::F16).unwrap_err().to_string();
    assert!(
        fault.contains("`blocks.0.attn") && fault.contains("F16"),
        "{fault}"
    );
    assert!(!path.exists());
    write(DType::BF16).unwrap();
}

#[test]
fn what_cannot_be_written_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.safetensors");
    let sound = adapter(&WAN, false);
    let write = |adapter: &Adapter, format| {
        let (config, factors) = (&adapter.config, &adapter.factors);
        let header = AdapterHeader::default();
        let fault = write_as(format, &path, config, factors, &header, DType::F32);
        assert!(!path.exists());
        fault.unwrap_err().to_string()
    };
    for format in AdapterFormat::ALL {
        let mut rank = sound.clone();
        rank.factors.insert(WAN[0].into(), made(9, [5, 4], 0.0));
        assert!(write(&rank, format).contains(WAN[0]));
        let mut none = sound.clone();
        none.factors.clear();
        write(&none, format);
    }
    let mut original = sound.clone();
    let pair = original.factors.remove(WAN[0]).unwrap();
    original.factors.insert("blocks.0.self_attn.q".into(), pair);
    original
        .config
        .rank_pattern
        .push(("blocks.0.self_attn.q".into(), 2));
    let fault = write(&original, AdapterFormat::DiffSynth);
    assert!(fault.contains("blocks.0.self_attn.q"), "{fault}");
    let mut tiny = sound;
    tiny.config.alpha = 1e-300;
    for format in [
        AdapterFormat::Kohya,
        AdapterFormat::ComfyUi,
        AdapterFormat::DiffSynth,
    ] {
        let fault = write(&tiny, format);
        assert!(fault.contains("scale of `blocks.0.attn"), "{fault}");
    }
}

#[test]
fn a_file_is_looked_at_and_merged_like_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let first = adapter(&WAN, false);
    let base = |named: &dyn Fn(&str) -> String| {
        let tensors = WAN.iter().enumerate().map(|(i, path)| {
            let [inputs, outputs] = sizes(i);
            (
                format!("{}.weight", named(path)),
                matrix(outputs, inputs, 1.0),
            )
        });
        MemorySource::new("base", tensors.collect())
    };
    let by_original = |path: &str| DiffusionFamily::Wan.original(path).unwrap();
    let expected = deltas(&first);
    for format in AdapterFormat::ALL {
        let path = write(dir.path(), format, &first, DType::F32);
        let file = AdapterFile::open_any(&path, None).unwrap();
        let report = AdapterReport::new(&file, &Device::flex()).unwrap();
        assert_eq!((report.format, report.names), (format.name(), "wan"));
        assert_eq!((report.layers, report.faults), (8, Vec::<String>::new()));
        let group = report
            .groups
            .iter()
            .find(|g| g.module == "attn2.to_k")
            .unwrap();
        assert_eq!((group.part, group.rank), ("dit", 4));
        let scale = match format {
            AdapterFormat::DiffSynth => 1.0,
            _ => 0.75,
        };
        assert_eq!(group.scale, scale, "{format}");
        // Some of these ranks are beyond the sizes of their layers.
        for group in &report.groups {
            let delta = &expected[&group.largest];
            let norm = delta.iter().map(|v| v * v).sum::<f64>().sqrt();
            assert!((group.norm_max - norm).abs() < 1e-5, "{group:?} {norm}");
        }
        for named in [
            &|path: &str| path.to_owned(),
            &by_original as &dyn Fn(&str) -> String,
        ] {
            let base = base(named);
            let merged = MergedSource::new(&base, &file, None, &Device::flex()).unwrap();
            for path in WAN {
                let weight = merged.load(&format!("{}.weight", named(path))).unwrap();
                for (w, d) in weight.iter::<f64>().zip(&expected[path]) {
                    assert!((w - 1.0 - d).abs() < 1e-5, "{format} {path}: {w} {d}");
                }
            }
        }
    }
}
