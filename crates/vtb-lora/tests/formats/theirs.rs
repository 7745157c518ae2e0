//! Files as other programs write them, and the models they must fit.

use std::fs;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use vtb_lora::{
    AdapterFile, AdapterFormat, AdapterHeader, DiffusionFamily, Factors, LinearInfo, LoraConfig,
    ModuleFilter, read_adapter, read_any, write_adapter, write_as,
};
use vtb_nn::checkpoint::Checkpoint;

use crate::support::*;

#[test]
fn files_of_other_programs_are_read_with_their_scales() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.safetensors");
    let (a, b) = (matrix(2, 3, 0.5), matrix(4, 2, 0.25));
    let to_q = "transformer_blocks.0.attn.to_q";
    let k = "blocks.3.attn2.to_k";
    let half = TensorData::new(vec![1.0f32], [1])
        .try_cast(DType::BF16)
        .unwrap();
    let settings = r#"{"transformer.r": 2, "transformer.lora_alpha": 5, "transformer.use_rslora": false,
        "transformer.rank_pattern": {"^transformer_blocks.0.attn.to_q": 2},
        "transformer.target_modules": ["to_q"], "transformer.peft_type": "LORA"}"#;
    type Case<'a> = (
        &'a [(&'a str, TensorData)],
        &'a [(&'a str, &'a str)],
        AdapterFormat,
        &'a str,
        f64,
    );
    let cases: [Case<'_>; 11] = [
        // No alpha: the scale is 1.
        (
            &[
                (
                    "pipe.dit.transformer_blocks.0.attn.to_q.lora_A.default.weight",
                    a.clone(),
                ),
                (
                    "pipe.dit.transformer_blocks.0.attn.to_q.lora_B.default.weight",
                    b.clone(),
                ),
            ],
            &[],
            AdapterFormat::DiffSynth,
            to_q,
            1.0,
        ),
        (
            &[
                ("transformer_blocks.0.attn.to_q.lora_down.weight", a.clone()),
                ("transformer_blocks.0.attn.to_q.lora_up.weight", b.clone()),
                ("transformer_blocks.0.attn.to_q.alpha", number(4.0)),
            ],
            &[],
            AdapterFormat::DiffSynth,
            to_q,
            2.0,
        ),
        (
            &[
                (
                    "diffusion_model.transformer_blocks.0.attn.to_q.lora_A.weight",
                    a.clone(),
                ),
                (
                    "diffusion_model.transformer_blocks.0.attn.to_q.lora_B.weight",
                    b.clone(),
                ),
            ],
            &[],
            AdapterFormat::ComfyUi,
            to_q,
            1.0,
        ),
        (
            &[
                (
                    "diffusion_model.blocks.3.cross_attn.k.lora_down.weight",
                    a.clone(),
                ),
                (
                    "diffusion_model.blocks.3.cross_attn.k.lora_up.weight",
                    b.clone(),
                ),
                ("diffusion_model.blocks.3.cross_attn.k.alpha", number(0.5)),
            ],
            &[],
            AdapterFormat::ComfyUi,
            k,
            0.25,
        ),
        (
            &[
                (
                    "lora_unet_blocks_3_cross_attn_k.lora_down.weight",
                    a.clone(),
                ),
                ("lora_unet_blocks_3_cross_attn_k.lora_up.weight", b.clone()),
                // As a vector of one, in bf16.
                ("lora_unet_blocks_3_cross_attn_k.alpha", half),
            ],
            &[("ss_network_alpha", "99")],
            AdapterFormat::Kohya,
            k,
            0.5,
        ),
        (
            &[
                (
                    "lora_unet_transformer_blocks_0_attn_to_q.lora_down.weight",
                    a.clone(),
                ),
                (
                    "lora_unet_transformer_blocks_0_attn_to_q.lora_up.weight",
                    b.clone(),
                ),
            ],
            &[],
            AdapterFormat::Kohya,
            to_q,
            1.0,
        ),
        (
            &[
                (
                    "transformer.transformer_blocks.0.attn.to_q.lora_A.weight",
                    a.clone(),
                ),
                (
                    "transformer.transformer_blocks.0.attn.to_q.lora_B.weight",
                    b.clone(),
                ),
            ],
            &[],
            AdapterFormat::Diffusers,
            to_q,
            1.0,
        ),
        (
            &[
                (
                    "transformer.transformer_blocks.0.attn.to_q.lora_A.weight",
                    a.clone(),
                ),
                (
                    "transformer.transformer_blocks.0.attn.to_q.lora_B.weight",
                    b.clone(),
                ),
            ],
            &[("lora_adapter_metadata", settings)],
            AdapterFormat::Diffusers,
            to_q,
            2.5,
        ),
        // Settings of diffusers mean nothing in another form.
        (
            &[
                (
                    "diffusion_model.transformer_blocks.0.attn.to_q.lora_A.weight",
                    a.clone(),
                ),
                (
                    "diffusion_model.transformer_blocks.0.attn.to_q.lora_B.weight",
                    b.clone(),
                ),
            ],
            &[("lora_adapter_metadata", settings)],
            AdapterFormat::ComfyUi,
            to_q,
            1.0,
        ),
        (
            &[
                ("transformer.blocks.3.attn2.to_k.lora_A.weight", a.clone()),
                ("transformer.blocks.3.attn2.to_k.lora_B.weight", b.clone()),
                ("transformer.blocks.3.attn2.to_k.alpha", number(6.0)),
            ],
            &[],
            AdapterFormat::Diffusers,
            k,
            3.0,
        ),
        (
            &[
                (
                    "base_model.model.blocks.3.cross_attn.k.lora_A.weight",
                    a.clone(),
                ),
                (
                    "base_model.model.blocks.3.cross_attn.k.lora_B.weight",
                    b.clone(),
                ),
            ],
            &[],
            AdapterFormat::Peft,
            k,
            1.0,
        ),
    ];
    for (tensors, entries, format, layer, scale) in cases {
        save(&path, tensors, entries);
        let (read, found) = read_any(&path, None).unwrap();
        assert_eq!(found, format, "{tensors:?}");
        assert_eq!(read.factors.len(), 1);
        assert_eq!(
            read.factors[layer],
            Factors {
                a: a.clone(),
                b: b.clone()
            }
        );
        assert_eq!(read.config.scaling(layer).unwrap(), scale, "{tensors:?}");
        // A folder with this file alone.
        assert_eq!(read_any(dir.path(), None).unwrap().1, format);
    }
}

/// One adapter that PEFT and diffusers saved from the same model.
#[test]
fn the_files_of_peft_and_of_diffusers_are_one_adapter() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/qwen_image");
    let model = Checkpoint::open(fixtures.join("edit")).unwrap();
    let modules = LinearInfo::of_checkpoint(&model);
    assert_eq!(
        DiffusionFamily::of(modules.iter().map(|m| m.path.as_str())),
        Some(DiffusionFamily::QwenImage)
    );
    let (peft, _) = read_any(fixtures.join("edit/lora"), Some(&modules)).unwrap();
    let (theirs, format) = read_any(fixtures.join("lora_files"), Some(&modules)).unwrap();
    assert_eq!(format, AdapterFormat::Diffusers);
    assert_eq!(theirs.factors, peft.factors);
    assert_eq!(theirs.config, peft.config);
    assert_eq!(theirs.config.scaling(QWEN[0]).unwrap(), 2.0);
    let paths = theirs.factors.keys().map(String::as_str);
    assert_eq!(DiffusionFamily::of(paths), Some(DiffusionFamily::QwenImage));
    theirs.fit(&modules, &fixtures).unwrap();
}

#[test]
fn a_peft_folder_on_the_original_model_gets_the_names_of_diffusers() {
    let dir = tempfile::tempdir().unwrap();
    let config = LoraConfig {
        r: 2,
        alpha: 4.0,
        targets: ModuleFilter::names(["q", "ffn.0"]),
        rank_pattern: vec![("ffn.0".into(), 1)],
        ..LoraConfig::default()
    };
    let names = [("blocks.0.self_attn.q", 2), ("blocks.0.ffn.0", 1)];
    let factors = names.map(|(name, r)| (name.to_owned(), made(r, [3, 4], r as f32)));
    write_adapter(dir.path(), &config, "org/wan", &factors.into()).unwrap();
    let plain = read_adapter(dir.path()).unwrap();
    assert!(plain.factors.contains_key("blocks.0.ffn.0"));
    for path in [
        dir.path().to_owned(),
        dir.path().join("adapter_model.safetensors"),
        dir.path().join("adapter_config.json"),
    ] {
        let (read, format) = read_any(path, None).unwrap();
        assert_eq!(format, AdapterFormat::Peft);
        let scale = |path: &str| read.config.scaling(path).unwrap();
        assert_eq!(scale("blocks.0.attn1.to_q"), 2.0);
        assert_eq!(scale("blocks.0.ffn.net.0.proj"), 4.0);
        assert_eq!(
            read.factors["blocks.0.ffn.net.0.proj"],
            plain.factors["blocks.0.ffn.0"]
        );
    }
    // Weights without their settings say no scale.
    fs::remove_file(dir.path().join("adapter_config.json")).unwrap();
    for path in [
        dir.path().to_owned(),
        dir.path().join("adapter_model.safetensors"),
    ] {
        let fault = read_any(path, None).unwrap_err().to_string();
        assert!(fault.contains("adapter_config.json"), "{fault}");
    }
}

#[test]
fn a_file_must_fit_the_model_it_is_read_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(
        dir.path(),
        AdapterFormat::Kohya,
        &adapter(&WAN, false),
        DType::F32,
    );
    let mut modules = linears(&WAN);
    // The model by its original names is the same.
    let mut original = modules.clone();
    for module in &mut original {
        module.path = DiffusionFamily::Wan.original(&module.path).unwrap();
    }
    let (read, _) = read_any(&path, Some(&original)).unwrap();
    assert!(read.factors.keys().all(|path| WAN.contains(&path.as_str())));
    modules[2].in_features += 1;
    refused(
        &path,
        Some(&modules),
        &["_cross_attn_k.lora_down", "[4, 5]", "6 inputs"],
    );
    modules.remove(2);
    refused(
        &path,
        Some(&modules),
        &["lora_unet_blocks_0_cross_attn_k", "no layer of this model"],
    );
    // Of another family: the first few are named, the others counted.
    let faults = AdapterFile::open_any(&path, Some(&linears(&QWEN)))
        .unwrap()
        .faults();
    assert_eq!(faults.len(), 9);
    assert!(
        faults[8].to_string().contains("16 more tensors"),
        "{}",
        faults[8]
    );
}

#[test]
fn other_models_go_by_their_layers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.safetensors");
    let tensors = [
        (
            "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight",
            matrix(2, 3, 0.5),
        ),
        (
            "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight",
            matrix(4, 2, 0.5),
        ),
        ("lora_unet_double_blocks_0_img_attn_qkv.alpha", number(1.0)),
    ];
    save(&path, &tensors, &[]);
    refused(&path, None, &["--model DIR"]);
    let modules = linears(&[
        "double_blocks.0.img_attn.qkv",
        "double_blocks.0.img_mod.lin",
    ]);
    let (read, _) = read_any(&path, Some(&modules)).unwrap();
    assert_eq!(
        read.config.scaling("double_blocks.0.img_attn.qkv").unwrap(),
        0.5
    );
    // PEFT's form takes any layer, the others need to know them.
    let out = dir.path().join("out");
    let write = |format| {
        let header = AdapterHeader::default();
        write_as(
            format,
            &out,
            &read.config,
            &read.factors,
            &header,
            DType::F32,
        )
    };
    let fault = write(AdapterFormat::ComfyUi).unwrap_err().to_string();
    assert!(
        fault.contains("comfyui") && fault.contains("write it as peft"),
        "{fault}"
    );
    write(AdapterFormat::Peft).unwrap();
    same(&read, &read_adapter(&out).unwrap(), 0.0);
}
