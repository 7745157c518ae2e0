//! `infer-image` as a user runs it, on a tiny model with every part of a true one.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;
mod editing;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use common::{path, refuse, stderr, stdout, succeed};
use editing::{INFER_IMAGE, QUICK, fixtures, model, pixels};
use serde_json::Value;
use vtb_lora::{AdapterFormat, AdapterHeader, LoraConfig, ModuleFilter, write_adapter, write_as};
use vtb_models_diffusion::qwen_image::EditModelDir;
use vtb_nn::checkpoint::{Checkpoint, MemorySource, TensorSource, save_safetensors};
use vtb_nn::device::cpu_device;

/// A case of the reference: two pictures, guidance 4, four steps.
struct Small {
    dir: tempfile::TempDir,
    prompt: String,
    latents: PathBuf,
}

impl Small {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cases = fs::read(model().join("cases.json")).unwrap();
        let cases: Value = serde_json::from_slice(&cases).unwrap();
        let latents = dir.path().join("noise.safetensors");
        save(&latents, "latents", reference("small.latents"));
        Self {
            prompt: cases["small"]["prompt"].as_str().unwrap().to_owned(),
            latents,
            dir,
        }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Arguments of the case, written to `out`, without noise.
    fn args(&self, out: &Path, extra: &[&str]) -> Vec<String> {
        let model = model();
        let [first, second] = ["first.png", "second.png"].map(|name| model.join(name));
        let args = [
            "--model",
            path(&model),
            "--image",
            path(&first),
            "--image",
            path(&second),
            "--prompt",
            &self.prompt,
            "--negative-prompt",
            " ",
            "--steps",
            "4",
            "--cfg",
            "4",
            "--size",
            "80x64",
            "--out",
            path(out),
        ];
        let all = args.iter().chain(&QUICK).chain(extra);
        all.map(|text| (*text).to_owned()).collect()
    }

    /// The bytes of the picture that comes out.
    fn edited(&self, name: &str, extra: &[&str]) -> Vec<u8> {
        let out = self.at(name);
        let args = self.args(&out, extra);
        let told = succeed(INFER_IMAGE, &common::words(&args));
        assert_eq!(stdout(&told).trim_end(), path(&out));
        assert!(stderr(&told).contains("step 4/4"), "{}", stderr(&told));
        fs::read(out).unwrap()
    }

    /// Refused before anything is loaded or written.
    #[track_caller]
    fn refused(&self, args: &[String], code: i32, parts: &[&str]) {
        let line = refuse(INFER_IMAGE, &common::words(args), code, parts);
        for part in parts {
            assert!(line.contains(part), "`{part}` is not in the line: {line}");
        }
        let output = common::run(INFER_IMAGE, &common::words(args));
        let told = stderr(&output);
        assert!(!told.contains("loading"), "{told}");
        assert!(!self.at("out.png").exists());
    }
}

fn reference(name: &str) -> TensorData {
    let cases = Checkpoint::open(model().join("cases.safetensors")).unwrap();
    cases.load(name).unwrap()
}

fn save(file: &Path, key: &str, data: TensorData) {
    let tensors = BTreeMap::from([(key.to_owned(), data)]);
    save_safetensors(file, &MemorySource::new("test", tensors), &BTreeMap::new()).unwrap();
}

fn floats(data: TensorData) -> Vec<f32> {
    data.try_into_vec::<f32>().unwrap()
}

fn furthest(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}

#[test]
fn an_edit_from_given_noise_is_the_reference_s() {
    let small = Small::new();
    let end = small.at("end.safetensors");
    let given = ["--latents", path(&small.latents)];
    let saved = [&given[..], &["--save-latents", path(&end)]].concat();
    let png = small.edited("out.png", &saved);
    let (width, height, ours) = pixels(&png);
    assert_eq!((width, height), (80, 64));
    let theirs = floats(reference("small.picture"));
    let off = furthest(&ours, &theirs);
    assert!(off <= 2.0 / 255.0, "{off}");
    let latent = Checkpoint::open(&end).unwrap().load("latents").unwrap();
    assert_eq!(latent.shape().as_slice(), [1, 16, 1, 8, 10]);
    let off = furthest(&floats(latent), &floats(reference("small.latents.after.3")));
    assert!(off < 1e-3, "{off}");
    // The flags that change the computation do.
    for flag in ["--no-rescale", "--quick-gelu"] {
        let other = small.edited("other.png", &[&given[..], &[flag]].concat());
        assert_ne!(other, png, "{flag}");
    }
    // JPEG by its ending: about the same picture.
    let jpeg = small.edited("out.jpg", &given);
    assert!(jpeg.starts_with(&[0xff, 0xd8]));
    let pairs = pixels(&jpeg).2;
    let mean = pairs
        .iter()
        .zip(&ours)
        .map(|(a, b)| (a - b).abs())
        .sum::<f32>()
        / 15360.0;
    assert!(mean < 0.1, "{mean}");
}

#[test]
fn a_seed_is_a_picture() {
    let small = Small::new();
    let first = small.edited("a.png", &["--seed", "7"]);
    assert_eq!(small.edited("b.png", &["--seed", "7"]), first);
    assert_ne!(small.edited("c.png", &["--seed", "8"]), first);
    assert_eq!(
        small.edited("d.png", &[]),
        small.edited("e.png", &["--seed", "42"])
    );
}

#[test]
fn an_edit_without_words_and_guidance_in_the_single_template() {
    let small = Small::new();
    let out = small.at("out.png");
    let (model, picture) = (model(), model().join("second.png"));
    let args = [
        "--model",
        path(&model),
        "--image",
        path(&picture),
        "--prompt",
        "",
        "--cfg",
        "1",
        "--steps",
        "2",
        "--size",
        "32x48",
        "--template",
        "single",
        "--out",
        path(&out),
        "--reference-area",
        "25600",
    ];
    succeed(INFER_IMAGE, &args);
    assert_eq!(pixels(&fs::read(&out).unwrap()).0, 32);
}

/// An adapter of the model that changes it, as PEFT and as Kohya write it.
fn fitting_adapter(dir: &Path) -> [PathBuf; 2] {
    let opened = EditModelDir::open(&model()).unwrap();
    let mut transformer = opened.load_transformer(&cpu_device(), DType::F32).unwrap();
    let lora = LoraConfig {
        r: 2,
        alpha: 4.0,
        targets: ModuleFilter::names(["to_q", "to_v", "img_mlp.net.2"]),
        ..LoraConfig::default()
    };
    transformer.attach_adapter(&lora, 3).unwrap();
    let mut factors = transformer.adapter_factors();
    for pair in factors.values_mut() {
        // Fresh factors B are zero.
        let shape = pair.b.shape().to_vec();
        let values = (0..pair.b.num_elements()).map(|i| ((i % 7) as f32 - 3.0) * 0.2);
        pair.b = TensorData::new(values.collect::<Vec<f32>>(), shape);
    }
    let (peft, kohya) = (dir.join("peft"), dir.join("kohya.safetensors"));
    write_adapter(&peft, &lora, "tiny", &factors).unwrap();
    let header = AdapterHeader::default();
    write_as(
        AdapterFormat::Kohya,
        &kohya,
        &lora,
        &factors,
        &header,
        DType::F32,
    )
    .unwrap();
    [peft, kohya]
}

#[test]
fn adapters_of_any_form_change_the_picture_alike() {
    let small = Small::new();
    let plain = small.edited("plain.png", &[]);
    let [peft, kohya] = fitting_adapter(small.dir.path());
    let with = small.edited("peft.png", &["--adapter", path(&peft)]);
    assert_ne!(with, plain);
    let other = small.edited("kohya.png", &["--adapter", path(&kohya)]);
    assert!(furthest(&pixels(&with).2, &pixels(&other).2) <= 1.0 / 255.0);
}

#[test]
fn adapters_that_do_not_fit_are_refused_with_names() {
    let small = Small::new();
    let out = small.at("out.png");
    let refused = |adapter: &Path, parts: &[&str]| {
        let args = small.args(&out, &["--adapter", path(adapter)]);
        small.refused(&args, 1, parts);
    };
    // Trained on a model with wider layers and one more block.
    let lora = fixtures().join("edit/lora");
    refused(
        &lora,
        &["edit/lora", "transformer_blocks.0.attn.add_k_proj", "more"],
    );
    let [_, kohya] = fitting_adapter(small.dir.path());
    let file = Checkpoint::open(&kohya).unwrap();
    let rename = |name: String| {
        let data = file.load(&name).unwrap();
        (
            name.replace("blocks_1_attn_to_q", "blocks_9_attn_to_q"),
            data,
        )
    };
    let tensors: BTreeMap<String, TensorData> = file.names().into_iter().map(rename).collect();
    let strange = small.at("strange.safetensors");
    save_safetensors(
        &strange,
        &MemorySource::new("test", tensors),
        &BTreeMap::new(),
    )
    .unwrap();
    refused(&strange, &["strange.safetensors", "blocks_9_attn_to_q"]);
    refused(&small.at("nowhere.safetensors"), &["nowhere.safetensors"]);
}

/// `args` with the value of a flag exchanged.
fn with(args: &[String], flag: &str, value: &str) -> Vec<String> {
    let place = args.iter().position(|text| text == flag).unwrap();
    let mut args = args.to_vec();
    args[place + 1] = value.to_owned();
    args
}

#[test]
fn inputs_that_cannot_be_used() {
    let small = Small::new();
    let args = small.args(&small.at("out.png"), &[]);
    small.refused(
        &with(&args, "--image", "/nowhere.png"),
        1,
        &["/nowhere.png"],
    );
    let text = small.at("text.png");
    fs::write(&text, "hello").unwrap();
    small.refused(
        &with(&args, "--image", path(&text)),
        1,
        &["text.png", "picture"],
    );
    small.refused(&with(&args, "--size", "100x100"), 2, &["100x100", "96x96"]);
    small.refused(&with(&args, "--size", "16000x16000"), 2, &["pixels"]);
    small.refused(
        &with(&args, "--steps", "1"),
        2,
        &["--steps 1", "at least 2"],
    );
    small.refused(&with(&args, "--cfg", "nan"), 2, &["--cfg"]);
    small.refused(&with(&args, "--out", "/nowhere/out.png"), 1, &["/nowhere"]);
    small.refused(&with(&args, "--out", "out.tiff"), 2, &["out.tiff", ".png"]);
    let own = model().join("first.png");
    small.refused(
        &with(&args, "--out", path(&own)),
        2,
        &["first.png", "replaced"],
    );
    let single = small.args(&small.at("out.png"), &["--template", "single"]);
    small.refused(&single, 2, &["2 pictures", "single"]);
    let device = small.args(&small.at("out.png"), &["--device", "tpu"]);
    small.refused(&device, 2, &["tpu"]);
}

#[test]
fn noise_that_does_not_fit() {
    let small = Small::new();
    let noise = small.at("given.safetensors");
    let args = small.args(&small.at("out.png"), &["--latents", path(&noise)]);
    small.refused(&args, 1, &["given.safetensors"]);
    let zeros = |shape: [usize; 5]| TensorData::new(vec![0f32; shape.iter().product()], shape);
    save(&noise, "latents", zeros([1, 16, 1, 10, 8]));
    small.refused(
        &args,
        1,
        &["[1, 16, 1, 10, 8]", "[1, 16, 1, 8, 10]", "--size 64x80"],
    );
    save(&noise, "latents", zeros([1, 4, 1, 8, 10]));
    small.refused(&args, 1, &["[1, 4, 1, 8, 10]", "[1, 16, 1, 8, 10]"]);
    save(&noise, "noise", zeros([1, 16, 1, 8, 10]));
    small.refused(&args, 1, &["`latents`", "`noise`"]);
    let mut values = vec![0f32; 16 * 80];
    values[3] = f32::NAN;
    save(
        &noise,
        "latents",
        TensorData::new(values, [1, 16, 1, 8, 10]),
    );
    small.refused(&args, 1, &["given.safetensors", "finite"]);
    fs::write(&noise, "hello").unwrap();
    small.refused(&args, 1, &["given.safetensors"]);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap().path();
        let place = to.join(entry.file_name().unwrap());
        match entry.is_dir() {
            true => copy(&entry, &place),
            false => {
                fs::copy(&entry, &place).unwrap();
            }
        }
    }
}

#[test]
fn models_that_are_not_whole() {
    let small = Small::new();
    let broken = small.at("model");
    copy(&model(), &broken);
    let args = with(
        &small.args(&small.at("out.png"), &[]),
        "--model",
        path(&broken),
    );
    fs::rename(broken.join("vae"), small.at("vae")).unwrap();
    small.refused(&args, 1, &["model", "`vae`"]);
    fs::rename(small.at("vae"), broken.join("vae")).unwrap();
    fs::write(broken.join("transformer/config.json"), "{").unwrap();
    small.refused(&args, 1, &["transformer", "config.json"]);
    small.refused(&with(&args, "--model", "/nowhere"), 1, &["/nowhere"]);
}
