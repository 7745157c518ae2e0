//! Tiny Qwen-Image-Edit models: directories that open, and an autoencoder whose pictures can be looked at.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use burn::tensor::DType;
use serde_json::json;
use vtb_models_diffusion::qwen_image::vae::{Picture, QwenImageVae};
use vtb_models_diffusion::qwen_image::{DROPPED_TOKENS, EditModelDir, EditTemplate, sizes};
use vtb_models_diffusion::tiny::TinyEditSpec;
use vtb_models_vlm::files::ModelDir;
use vtb_models_vlm::processor::Rgb;
use vtb_models_vlm::tokenizer::Tokenizer;
use vtb_nn::device::cpu_device;
use vtb_nn::velocity::Latent;
use vtb_puzzle::{Layer, find};

fn corpus() -> Vec<String> {
    let one = |i| format!("Draw a red line from cell {i} to the exit. Do not cross walls.");
    (0..20).map(one).collect()
}

/// One directory for all tests.
fn model() -> &'static Path {
    static MODEL: OnceLock<tempfile::TempDir> = OnceLock::new();
    let made = MODEL.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let spec = TinyEditSpec::default();
        spec.write(dir.path(), &corpus(), 7).unwrap();
        dir
    });
    made.path()
}

fn vae() -> QwenImageVae {
    let dir = EditModelDir::open(model()).unwrap();
    dir.load_vae(&cpu_device(), DType::F32).unwrap()
}

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let inside = files(&path).into_iter();
            all.extend(inside.map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else {
            all.insert(name, std::fs::read(&path).unwrap());
        }
    }
    all
}

/// A maze of `cell` pixels a cell, its answer drawn or not, white around it.
fn maze(cell: usize, index: u64, layer: Layer) -> Rgb {
    let side = (9 * cell).next_multiple_of(16);
    let params = json!({"cell": cell, "width": side, "height": side, "print_ids": false});
    let task = find("maze_square").unwrap();
    let record = task.generate(&params, index).unwrap();
    let picture = task.draw(&record, layer).unwrap();
    Rgb {
        width: picture.width() as usize,
        height: picture.height() as usize,
        pixels: picture.into_raw(),
    }
}

fn flat(colour: [u8; 3]) -> Rgb {
    Rgb {
        width: 64,
        height: 64,
        pixels: colour.repeat(64 * 64),
    }
}

/// A filled rectangle on a picture.
fn paint(picture: &mut Rgb, [x, y, w, h]: [usize; 4], colour: [u8; 3]) {
    for row in y..y + h {
        let start = (row * picture.width + x) * 3;
        for pixel in picture.pixels[start..start + w * 3].chunks_exact_mut(3) {
            pixel.copy_from_slice(&colour);
        }
    }
}

/// Lines of six to nine pixels in the colours of puzzles, in any place.
fn lines() -> Rgb {
    let mut picture = Rgb {
        width: 256,
        height: 256,
        pixels: vec![255; 256 * 256 * 3],
    };
    paint(&mut picture, [11, 20, 230, 8], [0, 0, 0]);
    paint(&mut picture, [30, 20, 7, 200], [220, 30, 30]);
    paint(&mut picture, [91, 77, 100, 6], [220, 30, 30]);
    paint(&mut picture, [150, 97, 9, 130], [0, 160, 60]);
    paint(&mut picture, [200, 141, 24, 24], [30, 90, 220]);
    picture
}

fn there_and_back(vae: &QwenImageVae, picture: &Rgb) -> Rgb {
    let latent = vae.encode(&sizes::to_values(picture)).unwrap();
    let back: Picture = vae.decode(&latent).unwrap();
    sizes::from_values(&back)
}

/// Peak signal to noise, decibels.
fn psnr(a: &Rgb, b: &Rgb) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let pairs = a.pixels.iter().zip(&b.pixels);
    let sum: f64 = pairs
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum();
    10.0 * (255.0 * 255.0 * a.pixels.len() as f64 / sum.max(1e-9)).log10()
}

#[test]
fn every_part_of_the_directory_opens() {
    let dir = EditModelDir::open(model()).unwrap();
    let device = cpu_device();
    assert!(dir.transformer.zero_cond_t);
    let prompts = dir.load_prompts(&device, DType::F32).unwrap();
    let transformer = dir.load_transformer(&device, DType::F32).unwrap();
    let picture = maze(16, 1, Layer::Puzzle);
    let states = prompts.encode("Draw a red line.", &[picture]).unwrap();
    assert_eq!(states.width, transformer.config().joint_attention_dim);
    assert!(states.values.iter().all(|v| v.is_finite()));
}

#[test]
fn the_tokens_that_are_dropped_are_those_of_the_frame() {
    let tokenizer = ModelDir::open(model().join("tokenizer")).unwrap();
    let tokenizer = Tokenizer::from_dir(&tokenizer).unwrap();
    let ids = tokenizer
        .encode(&EditTemplate::List.render("Draw a line.", 1))
        .unwrap();
    let rest = tokenizer.decode(&ids[DROPPED_TOKENS..], false).unwrap();
    assert!(rest.starts_with("Picture 1: <|vision_start|>"), "{rest}");
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let [again, other] = [7, 8].map(|seed| {
        let dir = tempfile::tempdir().unwrap();
        let spec = TinyEditSpec::default();
        spec.write(dir.path(), &corpus(), seed).unwrap();
        files(dir.path())
    });
    let first = files(model());
    assert_eq!(
        first.keys().collect::<Vec<_>>(),
        again.keys().collect::<Vec<_>>()
    );
    for (name, bytes) in &first {
        assert!(again[name] == *bytes, "{name}");
    }
    for drawn in [
        "transformer/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    ] {
        assert!(other[drawn] != first[drawn], "{drawn}");
    }
}

#[test]
fn sizes_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let narrow = TinyEditSpec {
        vae_base: 8,
        ..TinyEditSpec::default()
    };
    let mut two = TinyEditSpec::default();
    two.transformer.joint_attention_dim = 96;
    for (spec, word) in [(narrow, "vae_base"), (two, "joint_attention_dim")] {
        let error = spec.write(dir.path(), &[], 1).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn flat_colours_come_back() {
    let vae = vae();
    for colour in [
        [255, 255, 255],
        [0, 0, 0],
        [255, 0, 0],
        [0, 160, 60],
        [30, 90, 220],
        [128, 128, 128],
        [250, 240, 20],
    ] {
        let back = there_and_back(&vae, &flat(colour));
        // Around the picture the decoder sees white; what it changes is within two blocks of the edge.
        for y in 16..48 {
            for x in 16..48 {
                let at = (y * 64 + x) * 3;
                for (a, b) in back.pixels[at..at + 3].iter().zip(colour) {
                    assert!(a.abs_diff(b) <= 3, "{colour:?} at {x}, {y}: {a}");
                }
            }
        }
    }
}

#[test]
fn puzzles_can_be_seen_after_the_round_trip() {
    let vae = vae();
    let mut pictures = vec![("lines".to_owned(), lines())];
    // Cells of 24 and 30 pixels lie across blocks; lines much thinner than 6 pixels are below what a latent holds.
    for (cell, index) in [(16, 1), (24, 2), (30, 4), (32, 3)] {
        for (name, layer) in [("puzzle", Layer::Puzzle), ("solution", Layer::Solution)] {
            pictures.push((format!("{name}-{cell}"), maze(cell, index, layer)));
        }
    }
    for (name, picture) in pictures {
        let back = there_and_back(&vae, &picture);
        let got = psnr(&picture, &back);
        assert!(got >= 20.0, "{name}: {got:.1} dB");
    }
}

#[test]
fn latents_of_mazes_are_about_normal() {
    let vae = vae();
    let mut latents: Vec<Latent> = Vec::new();
    for (cell, index) in [(16, 11), (24, 12), (32, 13), (20, 14)] {
        for layer in [Layer::Puzzle, Layer::Solution] {
            let picture = sizes::to_values(&maze(cell, index, layer));
            latents.push(vae.encode(&picture).unwrap());
        }
    }
    for channel in 0..16 {
        let values: Vec<f64> = latents
            .iter()
            .flat_map(|l| {
                let len = l.frame_len();
                l.values[channel * len..(channel + 1) * len].to_vec()
            })
            .map(f64::from)
            .collect();
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let deviation = (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt();
        assert!(
            mean.abs() < 0.5,
            "channel {channel} has a mean of {mean:.2}"
        );
        assert!(
            (0.5..2.0).contains(&deviation),
            "channel {channel} has a deviation of {deviation:.2}"
        );
    }
}
