//! Schedules and whole clips of Wan against diffusers (`tests/fixtures/wan`), from both layouts of a model.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::DType;
use serde_json::Value;
use vtb_models_diffusion::qwen_image::sizes::resized;
use vtb_models_diffusion::scheduler::{Sampler, UniPc, UniPcConfig, shifted_levels};
use vtb_models_diffusion::wan::{
    Solver, VideoInputs, VideoModelDir, VideoSampling, WanLayout, clip_latent, convert,
    latent_clip, video_latent,
};
use vtb_models_vlm::processor::{DecodeOptions, Rgb, read_rgb};
use vtb_nn::checkpoint::TensorSource;
use vtb_nn::device::cpu_device;
use vtb_nn::velocity::{Latent, TextStates};

use support::{Reference, close, close_relative, fixtures};

fn root() -> PathBuf {
    fixtures().join("wan")
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn floats(value: &Value) -> Vec<f32> {
    let values = value.as_array().unwrap().iter();
    values.map(|v| v.as_f64().unwrap() as f32).collect()
}

#[test]
fn noise_levels_are_theirs() {
    let said = json(&root().join("scheduler.json"));
    for schedule in said["unipc"].as_array().unwrap() {
        let steps = schedule["steps"].as_u64().unwrap() as usize;
        let solver = UniPc::new(steps, schedule["flow_shift"].as_f64().unwrap()).unwrap();
        let ours: Vec<f32> = solver.sigmas().iter().map(|s| *s as f32).collect();
        close("sigmas", &ours, &floats(&schedule["sigmas"]), 1e-6);
        let times: Vec<f32> = (0..steps).map(|i| 1000.0 * solver.level(i)).collect();
        close("timesteps", &times, &floats(&schedule["timesteps"]), 1e-3);
    }
    for (name, first, last) in [("euler", 1.0, 0.0), ("wan", 0.999, 0.0)] {
        for schedule in said[name].as_array().unwrap() {
            let steps = schedule["steps"].as_u64().unwrap() as usize;
            let shift = schedule["flow_shift"].as_f64().unwrap();
            let theirs = floats(&schedule["sigmas"]);
            if name == "euler" {
                let ours = shifted_levels(steps, last, shift).unwrap();
                let ours: Vec<f32> = ours.into_iter().map(|s| s as f32).collect();
                close(name, &ours, &theirs, 1e-6);
            }
            assert!((theirs[0] - first as f32).abs() < 1e-3);
        }
    }
    assert_eq!(UniPcConfig::from_dir(&root()).unwrap().flow_shift, 5.0);
}

#[test]
fn the_solver_follows_their_path() {
    let said = json(&root().join("scheduler.json"));
    for path in said["trajectories"].as_array().unwrap() {
        let steps = path["steps"].as_u64().unwrap() as usize;
        let mut solver = UniPc::new(steps, path["flow_shift"].as_f64().unwrap()).unwrap();
        let mut x = floats(&path["start"]);
        for step in 0..steps {
            let velocity = floats(&path["velocities"][step]);
            solver.advance(step, &mut x, &velocity);
            let what = format!("step {step} of {steps}");
            close(&what, &x, &floats(&path["samples"][step]), 2e-6);
        }
    }
}

/// A case of the pipeline.
struct Case {
    name: &'static str,
    said: Value,
    values: Reference,
    text_len: usize,
}

impl Case {
    fn open(name: &'static str) -> Self {
        let dir = root().join("pipeline");
        let said = json(&dir.join("cases.json"));
        Self {
            name,
            said: said[name].clone(),
            values: Reference::open(dir.join("cases.safetensors")),
            text_len: said["max_sequence_length"].as_u64().unwrap() as usize,
        }
    }

    fn usize(&self, key: &str) -> usize {
        self.said[key].as_u64().unwrap() as usize
    }

    fn latent(&self, key: &str) -> Latent {
        let name = format!("{}.{key}", self.name);
        let mut shape = self.values.0.info(&name).unwrap().shape;
        if shape.len() == 3 {
            shape.insert(1, 1);
        }
        Latent {
            shape: shape.try_into().unwrap(),
            values: self.values.floats(&name),
        }
    }

    fn picture(&self) -> Option<Rgb> {
        let name = self.said["picture"].as_str()?;
        let path = root().join("pipeline").join(format!("{name}.png"));
        Some(read_rgb(&path, &DecodeOptions::default()).unwrap())
    }

    /// Draws the case and compares prompt, steps and clip.
    fn is_theirs(&self, model: &VideoModelDir) {
        let (device, what) = (cpu_device(), self.name);
        let mut model = model.clone();
        model.transformer.text_len = self.text_len;
        let encoder = model.load_text(&device, DType::F32).unwrap();
        let encode = |key: &str| -> TextStates {
            let said = &self.said[key];
            let text = said["text"].as_str().unwrap();
            let ids: Vec<u64> = said["ids"]
                .as_array()
                .unwrap()
                .iter()
                .map(|i| i.as_u64().unwrap())
                .collect();
            let ours: Vec<u64> = encoder
                .ids(text)
                .unwrap()
                .into_iter()
                .map(u64::from)
                .collect();
            assert_eq!(ours, ids, "{what} {key}");
            let states = encoder.encode(text).unwrap();
            let theirs = self.values.floats(&format!("{what}.{key}.embeds"));
            close_relative(&format!("{what} {key}"), &states.values, &theirs, 1e-5);
            states
        };
        let vae = model.load_vae(&device, DType::F32).unwrap();
        let (width, height) = (self.usize("width"), self.usize("height"));
        let first = self.picture().map(|picture| {
            let latent = clip_latent(&[resized(&picture, width, height)], &vae).unwrap();
            let theirs = self.latent("condition");
            close_relative(
                &format!("{what} first"),
                &latent.values,
                &theirs.values,
                1e-4,
            );
            latent
        });
        let start = self.latent("start");
        let inputs = VideoInputs {
            text: encode("prompt"),
            negative: (!self.said["negative"].is_null()).then(|| Arc::new(encode("negative"))),
            shape: start.shape,
            first,
        };
        let sampling = VideoSampling {
            solver: Solver::UniPc,
            steps: self.usize("steps"),
            shift: 5.0,
            cfg: self.said["guidance"].as_f64().unwrap() as f32,
        };
        let transformer = model.load_transformer(&device, DType::F32).unwrap();
        let latent = video_latent(
            &inputs,
            &transformer,
            &sampling,
            start,
            &mut |step, latent| {
                let theirs = self.latent(&format!("latents.after.{step}"));
                let skipped = usize::from(inputs.first.is_some());
                let rest = |latent: &Latent| -> Vec<f32> {
                    let clip = latent.shape[1] * latent.frame_len();
                    let planes = latent.values.chunks_exact(clip);
                    planes
                        .flat_map(|p| p[skipped * latent.frame_len()..].to_vec())
                        .collect()
                };
                close_relative(
                    &format!("{what} step {step}"),
                    &rest(latent),
                    &rest(&theirs),
                    1e-4,
                );
            },
        )
        .unwrap();
        let theirs = self.latent("latents");
        close_relative(
            &format!("{what} latents"),
            &latent.values,
            &theirs.values,
            1e-4,
        );

        let clip = vae.decode(&latent).unwrap();
        let [_, frames, height, width] = clip.shape;
        let len = height * width;
        let mut video = Vec::with_capacity(3 * frames * len);
        for frame in 0..frames {
            for i in 0..len {
                for c in 0..3 {
                    video.push(clip.values[(c * frames + frame) * len + i] / 2.0 + 0.5);
                }
            }
        }
        if let Some(stride) = self.said["video_stride"].as_u64() {
            video = video.into_iter().step_by(stride as usize).collect();
            let theirs = self.values.floats(&format!("{what}.video.sample"));
            close(&format!("{what} video"), &video, &theirs, 2e-5);
        } else {
            let theirs = self.values.floats(&format!("{what}.video"));
            close(&format!("{what} video"), &video, &theirs, 2e-5);
        }
        let bytes = latent_clip(&latent, &vae, None).unwrap();
        assert_eq!(bytes.len(), frames);
        assert!((f32::from(bytes[0].pixels[0]) / 255.0 - video[0]).abs() < 3e-3);
    }
}

#[test]
fn clips_are_theirs_from_either_layout() {
    let model = VideoModelDir::open(&root().join("pipeline")).unwrap();
    assert_eq!(model.layout(), WanLayout::Diffusers);
    for name in ["guided", "plain", "text"] {
        Case::open(name).is_theirs(&model);
    }
    let dir = tempfile::tempdir().unwrap();
    let original = dir.path().join("original");
    let error = convert(&model, WanLayout::Original, &dir.path().join("lost")).unwrap_err();
    assert!(error.to_string().contains("deviations"), "{error}");
    let plain = without_constants(&model);
    convert(&plain, WanLayout::Original, &original).unwrap();
    let mut other = VideoModelDir::open(&original).unwrap();
    assert_eq!(other.layout(), WanLayout::Original);
    assert_eq!(other.transformer.width(), model.transformer.width());
    // The original files do not hold the constants of latents.
    other.vae = model.vae.clone();
    Case::open("guided").is_theirs(&other);

    let back = dir.path().join("back");
    convert(&other, WanLayout::Diffusers, &back).unwrap();
    let back = VideoModelDir::open(&back).unwrap();
    assert_eq!(back.vae, model.vae);
    Case::open("plain").is_theirs(&back);
    let error = convert(&back, WanLayout::Original, &original).unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
}

/// The model with the means and deviations that other numbers of channels than 48 have among original files.
fn without_constants(model: &VideoModelDir) -> VideoModelDir {
    let mut plain = model.clone();
    plain.vae.latents_mean.fill(0.0);
    plain.vae.latents_std.fill(1.0);
    plain
}

#[test]
fn missing_parts_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let model = VideoModelDir::open(&root().join("pipeline")).unwrap();
    let model = without_constants(&model);
    let open = |path: &Path| VideoModelDir::open(path).unwrap_err().to_string();
    assert!(open(&dir.path().join("none")).contains("is no directory"));
    assert!(open(dir.path()).contains("model_index.json"));
    for layout in [WanLayout::Diffusers, WanLayout::Original] {
        let parts: &[(&str, &str)] = match layout {
            WanLayout::Diffusers => &[
                ("vae", "vae"),
                ("text_encoder/model.safetensors", "text_encoder"),
                ("tokenizer/tokenizer.json", "tokenizer.json"),
                ("scheduler", "scheduler"),
                (
                    "transformer/diffusion_pytorch_model.safetensors",
                    "transformer",
                ),
            ],
            WanLayout::Original => &[
                ("Wan2.2_VAE.safetensors", "Wan2.2_VAE.pth"),
                ("models_t5_umt5-xxl-enc-bf16.safetensors", "models_t5"),
                ("google", "google/umt5-xxl"),
                ("diffusion_pytorch_model.safetensors", "safetensors"),
            ],
        };
        for (i, (part, word)) in parts.iter().enumerate() {
            let broken = dir.path().join(format!("{layout:?}{i}"));
            convert(&model, layout, &broken).unwrap();
            let path = broken.join(part);
            match path.is_dir() {
                true => std::fs::remove_dir_all(&path).unwrap(),
                false => std::fs::remove_file(&path).unwrap(),
            }
            let error = open(&broken);
            assert!(error.contains(word), "{part}: {error}");
        }
    }
}
