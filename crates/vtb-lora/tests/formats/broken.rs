//! Hostile and broken files.

use std::fs;

use burn::tensor::TensorData;
use vtb_lora::read_any;

use crate::support::*;

#[test]
fn hostile_and_broken_files_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.safetensors");
    let (a, b) = (matrix(2, 3, 0.5), matrix(4, 2, 0.25));
    let good = [
        (
            "diffusion_model.transformer_blocks.0.attn.to_q.lora_A.weight",
            a.clone(),
        ),
        (
            "diffusion_model.transformer_blocks.0.attn.to_q.lora_B.weight",
            b.clone(),
        ),
    ];
    let alpha = "diffusion_model.transformer_blocks.0.attn.to_q.alpha";
    let with = |more: &[(&'static str, TensorData)]| {
        save(&path, &[&good[..], more].concat(), &[]);
    };
    let cases: [(&str, TensorData, &str); 15] = [
        (alpha, number(f32::NAN), "positive number"),
        (alpha, number(-1.0), "positive number"),
        (alpha, number(0.0), "positive number"),
        (alpha, number(f32::INFINITY), "positive number"),
        (alpha, matrix(2, 2, 1.0), "one number"),
        (alpha, TensorData::new(Vec::<f32>::new(), [0]), "one number"),
        (
            "diffusion_model.transformer_blocks.1.attn.to_q.alpha",
            number(1.0),
            "without sound factors",
        ),
        (
            "diffusion_model.transformer_blocks.1.attn.to_q.lora_A.weight",
            a.clone(),
            "is missing",
        ),
        (
            "diffusion_model.transformer_blocks.0.attn.norm_q.lora_A.weight",
            a.clone(),
            "--model DIR",
        ),
        (
            "diffusion_model.transformer_blocks.0.attn.to_q.lora_down.weight",
            a.clone(),
            "of one layer",
        ),
        (
            "transformer_blocks.0.attn.to_k.lora_A.weight",
            a.clone(),
            "form diffsynth",
        ),
        (
            "text_encoder.layers.0.lora_A.weight",
            a.clone(),
            "is of the text encoder",
        ),
        (
            "diffusion_model.transformer_blocks.0.attn.to_q.dora_scale",
            number(1.0),
            "DoRA",
        ),
        (
            "diffusion_model.transformer_blocks.0.attn.to_k.diff_b",
            number(1.0),
            "biases",
        ),
        (
            "diffusion_model.blocks.0.ffn.0.alpha",
            number(1.0),
            "without sound factors",
        ),
    ];
    for (name, data, word) in cases {
        with(&[(name, data)]);
        let named = if word == "is missing" { "lora_B" } else { name };
        refused(&path, None, &[word, named]);
    }
    let pair = |a: TensorData, b: TensorData| {
        save(&path, &[(good[0].0, a), (good[1].0, b)], &[]);
    };
    pair(matrix(2, 3, 1.0), matrix(4, 3, 1.0));
    refused(&path, None, &["[4, 3]", "[4, 2]", "lora_B"]);
    pair(matrix(0, 3, 1.0), matrix(4, 0, 1.0));
    refused(&path, None, &["rank of 0"]);
    pair(matrix(70000, 1, 1.0), matrix(1, 70000, 1.0));
    refused(&path, None, &["rank of 70000"]);
    pair(
        TensorData::new(vec![0.5f32; 6], [2, 3, 1, 1]),
        matrix(4, 2, 1.0),
    );
    refused(&path, None, &["no matrix", "convolutions"]);
    pair(TensorData::new(vec![1i64; 6], [2, 3]), matrix(4, 2, 1.0));
    refused(&path, None, &["I64"]);

    // Layers of two models, and of none.
    with(&[
        ("diffusion_model.blocks.0.ffn.0.lora_A.weight", a.clone()),
        ("diffusion_model.blocks.0.ffn.0.lora_B.weight", b.clone()),
    ]);
    refused(&path, None, &["of Qwen-Image and of Wan"]);
    save(&path, &[("model.layers.0.weight", a.clone())], &[]);
    refused(
        &path,
        None,
        &["`model.layers.0.weight`", "no file of a LoRA"],
    );
    save(
        &path,
        &[("lora_unet_down_blocks_0_attn.lora_down.weight", a.clone())],
        &[],
    );
    refused(
        &path,
        None,
        &["lora_unet_down_blocks_0_attn", "--model DIR"],
    );
    save(&path, &[], &[]);
    refused(&path, None, &["no tensors"]);
    fs::write(&path, b"PK\x03\x04\x00\x00\x08\x08rest").unwrap();
    refused(&path, None, &["pickled"]);
    fs::write(&path, b"\xff\xff\xff\xff\xff\xff\xff\x7f{}").unwrap();
    refused(&path, None, &["not a safetensors file"]);
    fs::write(&path, b"").unwrap();
    refused(&path, None, &[]);
    fs::remove_file(&path).unwrap();
    refused(&path, None, &[]);
    // A folder that leaves the choice.
    for name in ["epoch-0.safetensors", "epoch-1.safetensors"] {
        save(&dir.path().join(name), &good, &[]);
    }
    refused(dir.path(), None, &["epoch-0.safetensors", "name the one"]);
}

#[test]
fn strange_settings_of_diffusers_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.safetensors");
    let layer = "transformer.transformer_blocks.0.attn.to_q";
    let names = ["lora_A.weight", "lora_B.weight", "alpha"].map(|part| format!("{layer}.{part}"));
    let tensors = [
        (names[0].as_str(), matrix(2, 3, 0.5)),
        (names[1].as_str(), matrix(4, 2, 0.5)),
        (names[2].as_str(), number(1.0)),
    ];
    let deep = "[".repeat(100_000);
    let cases = [
        ("", "no JSON object"),
        (deep.as_str(), "no JSON object"),
        (
            r#"{"transformer.r":3,"transformer.lora_alpha":3}"#,
            "[2, 3]",
        ),
        (
            r#"{"transformer.r":2,"transformer.use_dora":true}"#,
            "use_dora",
        ),
        (r#"{"text_encoder.r":2}"#, "`text_encoder.r`"),
        (
            r#"{"transformer.r":2,"transformer.rank_pattern":{"(":2}}"#,
            "regular expression",
        ),
    ];
    for (text, word) in cases {
        save(&path, &tensors[..2], &[("lora_adapter_metadata", text)]);
        let fault = read_any(&path, None).unwrap_err().to_string();
        assert!(fault.contains(word), "{fault}");
    }
    let sound = r#"{"transformer.r":2,"transformer.lora_alpha":3}"#;
    save(&path, &tensors, &[("lora_adapter_metadata", sound)]);
    refused(&path, None, &["alpha`", "one of them is too many"]);
    let original = [
        (
            "transformer.blocks.0.ffn.0.lora_A.weight",
            matrix(2, 3, 0.5),
        ),
        (
            "transformer.blocks.0.ffn.0.lora_B.weight",
            matrix(4, 2, 0.5),
        ),
    ];
    save(&path, &original, &[("lora_adapter_metadata", sound)]);
    refused(
        &path,
        None,
        &["blocks.0.ffn.0", "another name in diffusers"],
    );
}
