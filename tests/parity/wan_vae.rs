//! Our autoencoder of Wan 2.2 against diffusers, on tiny random models (`tests/fixtures/wan/vae`).

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::path::PathBuf;

use burn::tensor::DType;
use vtb_models_diffusion::wan::vae::{Clip, Tiling, WanVae};
use vtb_nn::checkpoint::TensorSource;
use vtb_nn::device::cpu_device;
use vtb_nn::velocity::Latent;

use support::{Reference, close, close_relative, fixtures};

const MODELS: [(&str, &[&str]); 2] = [
    ("a", &["1x32x48", "5x16x48", "9x32x16", "13x16x16"]),
    ("b", &["1x16x48", "5x48x16", "9x16x16"]),
];

fn dir(name: &str) -> PathBuf {
    fixtures().join("wan/vae").join(name)
}

fn load(name: &str) -> WanVae {
    WanVae::load(dir(name), &cpu_device(), DType::F32).unwrap()
}

fn cases(name: &str) -> Reference {
    Reference::open(dir(name).join("cases.safetensors"))
}

/// Values `[channels, frames, height, width]`.
fn latent(reference: &Reference, key: &str) -> Latent {
    let shape = reference.0.info(key).unwrap().shape;
    Latent {
        shape: shape.try_into().unwrap(),
        values: reference.floats(key),
    }
}

fn clip(reference: &Reference, key: &str) -> Clip {
    let Latent { shape, values } = latent(reference, key);
    Clip { shape, values }
}

#[test]
fn latents_and_clips_are_theirs() {
    for (name, sizes) in MODELS {
        let (vae, reference) = (load(name), cases(name));
        for size in sizes {
            let input = clip(&reference, &format!("{size}.clip"));
            for (key, ours) in [
                ("mean", vae.encode_raw(&input).unwrap()),
                ("encoded", vae.encode(&input).unwrap()),
            ] {
                let theirs = latent(&reference, &format!("{size}.{key}"));
                let what = format!("{name} {size} {key}");
                assert_eq!(ours.shape, theirs.shape, "{what}");
                close(&what, &ours.values, &theirs.values, 1e-5);
                close_relative(&what, &ours.values, &theirs.values, 1e-5);
            }
            let given = latent(&reference, &format!("{size}.latent"));
            let theirs = clip(&reference, &format!("{size}.unclamped"));
            let ours = vae.decode(&given).unwrap();
            assert_eq!(ours.shape, theirs.shape);
            let clamped: Vec<f32> = theirs.values.iter().map(|v| v.clamp(-1.0, 1.0)).collect();
            close_relative(name, &ours.values, &clamped, 1e-5);
            let raw = vae.decode_raw(&constants(&vae, &given)).unwrap();
            close_relative(name, &raw.values, &theirs.values, 1e-5);
        }
    }
}

/// A latent as the network has it.
fn constants(vae: &WanVae, latent: &Latent) -> Latent {
    let len = latent.shape[1] * latent.frame_len();
    let (mean, std) = (&vae.config().latents_mean, &vae.config().latents_std);
    let value = |(i, x): (usize, &f32)| x * std[i / len] as f32 + mean[i / len] as f32;
    Latent {
        shape: latent.shape,
        values: latent.values.iter().enumerate().map(value).collect(),
    }
}

/// The first `frames` frames.
fn first(latent: &Latent, frames: usize) -> Latent {
    let [channels, all, height, width] = latent.shape;
    let planes = latent.values.chunks_exact(all * height * width);
    let values = planes.flat_map(|p| p[..frames * height * width].to_vec());
    Latent {
        shape: [channels, frames, height, width],
        values: values.collect(),
    }
}

#[test]
fn pieces_make_the_whole() {
    for (name, size) in [("a", "13x16x16"), ("b", "9x16x16")] {
        let reference = cases(name);
        let input = clip(&reference, &format!("{size}.clip"));
        let given = latent(&reference, &format!("{size}.latent"));
        let run = |piece| {
            let mut vae = load(name);
            vae.piece = piece;
            (vae.encode(&input).unwrap(), vae.decode(&given).unwrap())
        };
        let whole = run(0);
        for piece in 1..=3 {
            assert_eq!(run(piece), whole, "{name} in pieces of {piece}");
        }
    }
}

#[test]
fn the_first_frame_is_that_of_the_picture_alone() {
    let (vae, reference) = (load("a"), cases("a"));
    let all = clip(&reference, "13x16x16.clip");
    let alone = first(
        &Latent {
            shape: all.shape,
            values: all.values.clone(),
        },
        1,
    );
    let picture = Clip {
        shape: alone.shape,
        values: alone.values,
    };
    let latent = vae.encode(&picture).unwrap();
    assert_eq!(latent, first(&vae.encode(&all).unwrap(), 1));
}

#[test]
fn tiles_without_seams_are_the_whole() {
    let (vae, reference) = (load("a"), cases("a"));
    let given = latent(&reference, "5x16x48.latent");
    let whole = vae.decode(&given).unwrap();
    let large = vae.decode_tiled(&given, Tiling::default()).unwrap();
    assert_eq!(large, whole, "one tile is enough");
    let tiling = Tiling {
        size: [1, 2],
        stride: [1, 1],
    };
    let tiled = vae.decode_tiled(&given, tiling).unwrap();
    assert_eq!(tiled.shape, whole.shape);
    assert_ne!(tiled, whole, "tiles see nothing beyond their edges");
    let gaps = Tiling {
        size: [1, 1],
        stride: [1, 2],
    };
    assert!(vae.decode_tiled(&given, gaps).is_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    let vae = load("a");
    let clip = |shape: [usize; 4]| Clip {
        shape,
        values: vec![0.0; shape.iter().product()],
    };
    for (shape, word) in [
        ([3, 4, 16, 16], "5"),
        ([3, 0, 16, 16], "1"),
        ([3, 1, 24, 16], "multiples of 16"),
        ([4, 1, 16, 16], "colours"),
    ] {
        let error = vae.encode(&clip(shape)).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let mut short = clip([3, 1, 16, 16]);
    short.values.pop();
    assert!(vae.encode(&short).is_err());
    for shape in [[5, 1, 1, 1], [4, 0, 1, 1]] {
        assert!(vae.decode(&Latent::zeros(shape)).is_err(), "{shape:?}");
    }
}
