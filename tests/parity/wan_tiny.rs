//! The tiny Wan model: its autoencoder shows clips untrained, its files are those of a real one.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use burn::tensor::DType;
use vtb_models_diffusion::tiny::TinyVideoSpec;
use vtb_models_diffusion::wan::{
    Solver, VideoInputs, VideoModelDir, VideoSampling, clip_latent, latent_clip, noise,
    video_latent,
};
use vtb_models_vlm::processor::Rgb;
use vtb_nn::device::cpu_device;

const SIDES: [usize; 2] = [96, 64];

/// White, with a red bar that moves down beside a black column.
fn frame(at: usize) -> Rgb {
    let [height, width] = SIDES;
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let bar = x >= 28 && (8 + 6 * at..32 + 6 * at).contains(&y);
            let column = x < 16;
            pixels.extend(match (bar, column) {
                (true, _) => [220, 20, 20],
                (_, true) => [0, 0, 0],
                _ => [255, 255, 255],
            });
        }
    }
    Rgb {
        width,
        height,
        pixels,
    }
}

fn error(a: &Rgb, b: &Rgb) -> f64 {
    let pairs = a.pixels.iter().zip(&b.pixels);
    let sum: f64 = pairs
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs())
        .sum();
    sum / a.pixels.len() as f64
}

#[test]
fn a_tiny_model_shows_clips_and_draws_them() {
    let dir = tempfile::tempdir().unwrap();
    let corpus = ["The red bar moves down.".to_owned()];
    let spec = TinyVideoSpec::default();
    spec.write(dir.path(), &corpus, 7).unwrap();
    let device = cpu_device();
    let model = VideoModelDir::open(dir.path()).unwrap();
    let vae = model.load_vae(&device, DType::F32).unwrap();
    let frames: Vec<Rgb> = (0..9).map(frame).collect();
    let latent = clip_latent(&frames, &vae).unwrap();
    assert_eq!(latent.shape, [32, 3, 6, 4]);
    let n = latent.values.len() as f32;
    let mean = latent.values.iter().sum::<f32>() / n;
    let var = latent
        .values
        .iter()
        .map(|x| (x - mean).powi(2))
        .sum::<f32>()
        / n;
    assert!(var > 0.1 && var < 10.0, "{var}");
    let shown = latent_clip(&latent, &vae, None).unwrap();
    assert_eq!(shown.len(), 9);
    // What is shown is the frame, or one a frame later: of each two, the second.
    for (at, shown) in shown.iter().enumerate() {
        let best = error(shown, &frames[at + at % 2]);
        let other = error(shown, &frames[(at + 5) % 9]);
        assert!(best < 12.0 && other > 1.5 * best, "{at}: {best} {other}");
    }
    assert!(error(&shown[0], &shown[8]) > 20.0, "the bar moves");

    let states = model
        .load_text(&device, DType::F32)
        .unwrap()
        .encode(&corpus[0])
        .unwrap();
    assert!(
        states.rows > 2 && states.rows < 16,
        "words are one token each"
    );
    let transformer = model.load_transformer(&device, DType::F32).unwrap();
    let inputs = VideoInputs {
        first: Some(clip_latent(&frames[..1], &vae).unwrap()),
        negative: Some(Arc::new(states.clone())),
        text: states,
        shape: latent.shape,
    };
    for solver in [Solver::UniPc, Solver::Euler] {
        let sampling = VideoSampling {
            solver,
            steps: 3,
            shift: 5.0,
            cfg: 2.0,
        };
        let start = noise(inputs.shape, 1);
        let drawn = video_latent(&inputs, &transformer, &sampling, start, &mut |_, _| {}).unwrap();
        let first = latent_clip(&drawn, &vae, None).unwrap();
        assert!(error(&first[0], &shown[0]) < 2.0, "the first picture stays");
    }
}

#[test]
fn the_same_seed_gives_the_same_files() {
    let bytes = |seed| {
        let dir = tempfile::tempdir().unwrap();
        let spec = TinyVideoSpec::default();
        spec.write(dir.path(), &["a maze".into()], seed).unwrap();
        let read = |name: &str| std::fs::read(dir.path().join(name)).unwrap();
        let weights = "transformer/diffusion_pytorch_model.safetensors";
        (read(weights), read("text_encoder/model.safetensors"))
    };
    assert_eq!(bytes(1), bytes(1));
    assert_ne!(bytes(1).0, bytes(2).0);
}
