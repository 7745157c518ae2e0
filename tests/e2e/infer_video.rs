//! `infer-video` as a user runs it, on a tiny model with every part of a true one.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use burn::tensor::{DType, TensorData};
use common::{path, refuse, stderr, stdout, succeed};
use image::RgbImage;
use serde_json::{Value, json};
use vtb_data::video::VideoReader;
use vtb_lora::{AdapterFormat, AdapterHeader, LoraConfig, ModuleFilter, write_as};
use vtb_models_diffusion::scheduler::noise;
use vtb_models_diffusion::tiny::TinyVideoSpec;
use vtb_models_diffusion::wan::VideoModelDir;
use vtb_nn::checkpoint::{Checkpoint, MemorySource, TensorSource, save_safetensors};
use vtb_nn::device::cpu_device;

const INFER_VIDEO: &str = env!("CARGO_BIN_EXE_infer-video");
const GENERATE: &str = env!("CARGO_BIN_EXE_generate-dataset");
const PREPARE: &str = env!("CARGO_BIN_EXE_prepare-data");
const EVALUATE: &str = env!("CARGO_BIN_EXE_evaluate");

/// A tiny model, made once.
fn model() -> &'static Path {
    static MADE: OnceLock<tempfile::TempDir> = OnceLock::new();
    let dir = MADE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let corpus = vec!["A red line grows from green to blue.".to_owned(); 4];
        TinyVideoSpec::default()
            .write(dir.path(), &corpus, 7)
            .unwrap();
        dir
    });
    dir.path()
}

/// A picture to start from, and a folder for results.
struct Small {
    dir: tempfile::TempDir,
    picture: PathBuf,
}

impl Small {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let picture = dir.path().join("start.png");
        let ramp = |x: u32, y: u32| image::Rgb([(4 * x) as u8, (3 * y) as u8, 90]);
        RgbImage::from_fn(64, 64, ramp).save(&picture).unwrap();
        Self { dir, picture }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn args(&self, out: &Path, extra: &[&str]) -> Vec<String> {
        let args = [
            "--model",
            path(model()),
            "--image",
            path(&self.picture),
            "--prompt",
            "A red line grows.",
            "--steps",
            "3",
            "--frames",
            "5",
            "--size",
            "64x64",
            "--out",
            path(out),
        ];
        let all = args.iter().chain(extra);
        all.map(|text| (*text).to_owned()).collect()
    }

    /// The frames that come out, without loss.
    fn drawn(&self, name: &str, extra: &[&str]) -> Vec<RgbImage> {
        let out = self.at(name);
        let told = succeed(INFER_VIDEO, &common::words(&self.args(&out, extra)));
        assert_eq!(stdout(&told).trim_end(), path(&out));
        assert!(stderr(&told).contains("step 3/3"), "{}", stderr(&told));
        VideoReader::open(&out).unwrap().collect_frames().unwrap()
    }

    /// Refused before anything is loaded or written.
    #[track_caller]
    fn refused(&self, args: &[String], code: i32, parts: &[&str]) {
        let line = refuse(INFER_VIDEO, &common::words(args), code, parts);
        for part in parts {
            assert!(line.contains(part), "`{part}` is not in the line: {line}");
        }
        let told = stderr(&common::run(INFER_VIDEO, &common::words(args)));
        assert!(!told.contains("loading"), "{told}");
        assert!(!self.at("out.mp4").exists());
    }
}

/// `args` with the value of a flag exchanged.
fn with(args: &[String], flag: &str, value: &str) -> Vec<String> {
    let place = args.iter().position(|text| text == flag).unwrap();
    let mut args = args.to_vec();
    args[place + 1] = value.to_owned();
    args
}

fn save(file: &Path, key: &str, data: TensorData) {
    let tensors = BTreeMap::from([(key.to_owned(), data)]);
    save_safetensors(file, &MemorySource::new("test", tensors), &BTreeMap::new()).unwrap();
}

#[test]
fn a_clip_starts_from_its_picture() {
    let small = Small::new();
    let frames = small.drawn("frames", &[]);
    assert_eq!(frames.len(), 5);
    assert_eq!(frames[0].dimensions(), (64, 64));
    let mp4 = small.drawn("clip.mp4", &["--fps", "15"]);
    let info = VideoReader::open(&small.at("clip.mp4"))
        .unwrap()
        .info()
        .clone();
    assert_eq!((info.frame_count, info.fps.round()), (5, 15.0));
    let off = |a: &RgbImage, b: &RgbImage| {
        let pairs = a.as_raw().iter().zip(b.as_raw());
        let sum: u64 = pairs.map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        sum as f64 / a.as_raw().len() as f64
    };
    for (exact, lossy) in frames.iter().zip(&mp4) {
        assert!(off(exact, lossy) < 12.0, "{}", off(exact, lossy));
    }
}

#[test]
fn what_a_clip_depends_on() {
    let small = Small::new();
    let first = small.drawn("a", &["--seed", "7"]);
    assert_eq!(small.drawn("b", &["--seed", "7"]), first);
    assert_ne!(small.drawn("c", &["--seed", "8"]), first);
    for (name, extra) in [
        ("euler", ["--solver", "euler"]),
        ("shift", ["--shift", "2"]),
        ("cfg", ["--cfg", "1"]),
        ("negative", ["--negative-prompt", "blurred"]),
    ] {
        let other = [&["--seed", "7"], &extra[..]].concat();
        assert_ne!(small.drawn(name, &other), first, "{name}");
    }
    // Without guidance the negative prompt is not looked at.
    let alone = small.drawn("d", &["--cfg", "1"]);
    let extra = ["--cfg", "1", "--negative-prompt", "blurred"];
    assert_eq!(small.drawn("e", &extra), alone);
    // A small clip fits into one tile.
    assert_eq!(small.drawn("f", &["--seed", "7", "--tiled"]), first);
}

#[test]
fn noise_may_be_given_and_the_result_kept() {
    let small = Small::new();
    let z = VideoModelDir::open(model())
        .unwrap()
        .transformer
        .in_channels;
    let seeded = small.drawn("seeded", &["--seed", "9"]);
    let (given, kept) = (small.at("noise.safetensors"), small.at("end.safetensors"));
    let latent = noise([z, 2, 4, 4], 9);
    save(
        &given,
        "latents",
        TensorData::new(latent.values, [1, z, 2, 4, 4]),
    );
    let extra = ["--latents", path(&given), "--save-latents", path(&kept)];
    assert_eq!(small.drawn("given", &extra), seeded);
    let end = Checkpoint::open(&kept).unwrap().load("latents").unwrap();
    assert_eq!(end.shape().as_slice(), [1, z, 2, 4, 4]);

    let args = small.args(&small.at("out.mp4"), &["--latents", path(&given)]);
    let zeros = |shape: [usize; 5]| TensorData::new(vec![0f32; shape.iter().product()], shape);
    save(&given, "latents", zeros([1, z, 3, 4, 6]));
    small.refused(
        &args,
        1,
        &["--frames 9", "--size 96x64", "5 frames of 64x64"],
    );
    save(&given, "noise", zeros([1, z, 2, 4, 4]));
    small.refused(&args, 1, &["`latents`", "`noise`"]);
    let mut values = vec![0f32; z * 32];
    values[3] = f32::NAN;
    save(&given, "latents", TensorData::new(values, [1, z, 2, 4, 4]));
    small.refused(&args, 1, &["noise.safetensors", "finite"]);
}

/// An adapter of the model that changes it, in every form.
fn adapters(dir: &Path) -> Vec<PathBuf> {
    let opened = VideoModelDir::open(model()).unwrap();
    let mut transformer = opened.load_transformer(&cpu_device(), DType::F32).unwrap();
    let lora = LoraConfig {
        r: 2,
        alpha: 2.0,
        targets: ModuleFilter::names(["to_q", "to_v", "ffn.net.2"]),
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
    let write = |format: AdapterFormat| {
        let place = match format {
            AdapterFormat::Peft => dir.join("peft"),
            other => dir.join(format!("{other}.safetensors")),
        };
        let header = AdapterHeader::default();
        write_as(format, &place, &lora, &factors, &header, DType::F32).unwrap();
        place
    };
    AdapterFormat::ALL.into_iter().map(write).collect()
}

#[test]
fn adapters_of_any_form_change_the_clip_alike() {
    let small = Small::new();
    let plain = small.drawn("plain", &[]);
    let mut first: Option<Vec<RgbImage>> = None;
    for (i, adapter) in adapters(small.dir.path()).iter().enumerate() {
        let drawn = small.drawn(&format!("with-{i}"), &["--adapter", path(adapter)]);
        assert_ne!(drawn, plain, "{}", adapter.display());
        let first = first.get_or_insert_with(|| drawn.clone());
        for (a, b) in first.iter().zip(&drawn) {
            let pairs = a.as_raw().iter().zip(b.as_raw());
            let off = pairs.map(|(a, b)| a.abs_diff(*b)).max();
            assert!(off <= Some(1), "{}", adapter.display());
        }
    }
}

#[test]
fn inputs_that_cannot_be_used() {
    let small = Small::new();
    let args = small.args(&small.at("out.mp4"), &[]);
    for (flag, value, code, parts) in [
        ("--image", "/nowhere.png", 1, &["/nowhere.png"][..]),
        ("--frames", "80", 2, &["--frames", "77 or 81"]),
        ("--frames", "1000001", 2, &["1000001 frames", "pixels"]),
        ("--frames", "4101", 2, &["positions", "4093 frames"]),
        ("--size", "100x64", 2, &["--size", "96 or 128 wide"]),
        ("--size", "16000x16000", 2, &["pixels"]),
        ("--steps", "1", 2, &["--steps 1", "at least 2"]),
        ("--out", "/nowhere/out.mp4", 1, &["/nowhere"]),
        ("--out", "out.avi", 2, &["out.avi", ".mp4"]),
        ("--model", "/nowhere", 1, &["/nowhere"]),
    ] {
        small.refused(&with(&args, flag, value), code, parts);
    }
    for (flag, value, part) in [
        ("--cfg", "nan", "--cfg"),
        ("--shift", "0", "--shift"),
        ("--fps", "0", "--fps"),
        ("--device", "tpu", "tpu"),
    ] {
        let args = small.args(&small.at("out.mp4"), &[flag, value]);
        small.refused(&args, 2, &[part]);
    }
    let text = small.at("text.png");
    fs::write(&text, "hello").unwrap();
    small.refused(&with(&args, "--image", path(&text)), 1, &["text.png"]);
    let full = small.at("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("frame_00000.png"), "x").unwrap();
    small.refused(
        &with(&args, "--out", path(&full)),
        1,
        &["full", "new folder"],
    );
    let foreign =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/qwen_image/edit/lora");
    let args = small.args(&small.at("out.mp4"), &["--adapter", path(&foreign)]);
    small.refused(&args, 1, &["transformer_blocks"]);
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
    copy(model(), &broken);
    let args = with(
        &small.args(&small.at("out.mp4"), &[]),
        "--model",
        path(&broken),
    );
    for part in ["vae", "tokenizer", "text_encoder", "transformer"] {
        fs::rename(broken.join(part), small.at("hidden")).unwrap();
        small.refused(&args, 1, &["model", part]);
        fs::rename(small.at("hidden"), broken.join(part)).unwrap();
    }
    fs::write(broken.join("transformer/config.json"), "{").unwrap();
    small.refused(&args, 1, &["transformer", "config.json"]);
}

#[test]
fn rows_become_clips_that_are_judged() {
    let dir = tempfile::tempdir().unwrap();
    let (data, rows) = (dir.path().join("data"), dir.path().join("rows/test.csv"));
    let made = [
        "--output-dir",
        path(&data),
        "--tasks",
        "maze_square",
        "--count",
        "2",
        "--seed",
        "7",
        "--video",
        "--frames",
        "5",
    ];
    succeed(GENERATE, &made);
    let args = [
        "video",
        "--data-root",
        path(&data),
        "--output-path",
        path(&rows),
        "--path-mode",
        "output",
    ];
    succeed(PREPARE, &args);
    let out = dir.path().join("clips");
    let go = |extra: &[&str]| -> Vec<String> {
        let args = [
            "--model",
            path(model()),
            "--data",
            path(&rows),
            "--output",
            path(&out),
            "--steps",
            "2",
            "--frames",
            "5",
            "--size",
            "64x64",
            "--cfg",
            "1",
        ];
        let all = args.iter().chain(extra);
        all.map(|text| (*text).to_owned()).collect()
    };
    let told = succeed(INFER_VIDEO, &common::words(&go(&[])));
    assert!(stdout(&told).contains("2 clips"), "{}", stdout(&told));
    let list = out.join("predictions.jsonl");
    let whole = fs::read_to_string(&list).unwrap();
    let lines: Vec<Value> = whole
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    let name = lines[1]["video"].as_str().unwrap().to_owned();
    assert_eq!(lines[1]["sample"], json!(0));
    let clip = fs::read(out.join(&name)).unwrap();
    // Where it was stopped it goes on, and makes the same.
    fs::write(
        &list,
        format!("{}\n{{\"id\"", whole.lines().next().unwrap()),
    )
    .unwrap();
    fs::remove_file(out.join(&name)).unwrap();
    succeed(INFER_VIDEO, &common::words(&go(&[])));
    assert_eq!(fs::read_to_string(&list).unwrap(), whole);
    assert_eq!(fs::read(out.join(&name)).unwrap(), clip);
    let told = succeed(INFER_VIDEO, &common::words(&go(&[])));
    assert!(!stderr(&told).contains("loading"), "all is there");
    refuse(
        INFER_VIDEO,
        &common::words(&go(&["--seed", "1"])),
        2,
        &["settings.json", "seed"],
    );
    let judged = dir.path().join("judged");
    let args = [
        "video",
        "--dataset",
        path(&data),
        "--predictions",
        path(&list),
        "--output",
        path(&judged),
    ];
    let told = succeed(EVALUATE, &args);
    assert!(
        !stderr(&told).contains("could not be read"),
        "{}",
        stderr(&told)
    );
}
