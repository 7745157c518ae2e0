//! Adapters of diffusion models in the hands of PEFT and of diffusers. Needs Python with the packages of
//! `tests/parity/requirements.txt`; `VTB_PYTHON` names the interpreter. Skipped with a message where it is absent.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

#[path = "../e2e/lora_files.rs"]
mod lora_files;
mod python;

use std::path::Path;

use burn::tensor::DType;
use lora_files::{fixture, made, same};
use python::python;
use serde_json::Value;
use vtb_lora::{
    Adapter, AdapterFormat, AdapterHeader, LinearInfo, ModuleFilter, read_any, write_as,
};
use vtb_nn::checkpoint::Checkpoint;

fn path(p: &Path) -> &str {
    p.to_str().unwrap()
}

fn write(format: AdapterFormat, to: &Path, adapter: &Adapter) {
    let (config, factors) = (&adapter.config, &adapter.factors);
    let header = AdapterHeader {
        base_model: Some("org/base".into()),
        step: Some(7),
        ..AdapterHeader::default()
    };
    write_as(format, to, config, factors, &header, DType::F32).unwrap();
}

/// Writes `adapter` in every form, lets PEFT and diffusers load them, and reads back what diffusers saves. `only` says
/// which layers their reader of a form can take.
fn all_forms_do_what_peft_does(
    kind: &str,
    model: &Path,
    adapter: &Adapter,
    only: &dyn Fn(AdapterFormat, &str) -> bool,
) -> Option<Value> {
    let dir = tempfile::tempdir().unwrap();
    for format in AdapterFormat::ALL {
        let mut own = adapter.clone();
        own.factors.retain(|layer, _| only(format, layer));
        own.config.targets = ModuleFilter::names(own.factors.keys());
        match format {
            AdapterFormat::Peft => write(format, &dir.path().join("peft"), &own),
            _ => write(
                format,
                &dir.path().join(format!("{format}.safetensors")),
                &own,
            ),
        }
        if own.factors.len() < adapter.factors.len() {
            let folder = dir.path().join(format!("peft-{format}"));
            write(AdapterFormat::Peft, &folder, &own);
        }
    }
    let found = python(
        "check_lora_files.py",
        &[kind, path(model), path(dir.path())],
    )?;
    println!("{kind}: {found}");
    assert!(found["effect"].as_f64().unwrap() > 0.3, "{found}");
    for format in &AdapterFormat::ALL[1..] {
        let difference = found["differences"][format.name()].as_f64().unwrap();
        assert!(difference < 1e-5, "{format}: {found}");
        let layers = adapter
            .factors
            .keys()
            .filter(|layer| only(*format, layer))
            .count();
        assert_eq!(found["layers"][format.name()], layers, "{format}: {found}");
    }
    let (theirs, format) = read_any(dir.path().join("theirs.safetensors"), None).unwrap();
    assert_eq!(format, AdapterFormat::Diffusers);
    same(adapter, &theirs, 0.0);
    Some(found)
}

#[test]
fn diffusers_takes_every_form_of_an_adapter_of_qwen_image() {
    let model = fixture("edit");
    let modules = LinearInfo::of_checkpoint(&Checkpoint::open(&model).unwrap());
    for use_rslora in [false, true] {
        let adapter = made(&modules, use_rslora);
        all_forms_do_what_peft_does("qwen", &model, &adapter, &|_, _| true);
    }
}

#[test]
fn diffusers_takes_every_form_of_an_adapter_of_wan() {
    let dir = tempfile::tempdir().unwrap();
    let model = dir.path().join("wan");
    if python("check_lora_files.py", &["make-wan", path(&model)]).is_none() {
        return;
    }
    let modules = LinearInfo::of_checkpoint(&Checkpoint::open(&model).unwrap());
    let adapter = made(&modules, false);
    // Of Kohya's files for Wan diffusers reads the blocks alone.
    let only = |format, layer: &str| format != AdapterFormat::Kohya || layer.starts_with("blocks.");
    all_forms_do_what_peft_does("wan", &model, &adapter, &only);
}
