//! Reading reference values, comparing with them, and the objective and optimizer they were made with.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    reason = "a test; not every file uses everything"
)]

mod adapter;
mod batch;
mod decoder;
pub(crate) mod flow;
mod video;

pub(crate) use adapter::adapter_is_theirs;
pub(crate) use batch::{packed_is_theirs, packed_is_unpacked};
pub(crate) use decoder::{
    Bounds, greedy_alone_and_in_a_batch, positions_are_theirs, states_and_logits,
};
pub(crate) use video::{videos_are_learned, videos_are_seen};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Tensor;
use vtb_models_vlm::config::TowerConfig;
use vtb_models_vlm::model::{Tower, Vlm};
use vtb_nn::checkpoint::{Checkpoint, TensorSource};
use vtb_nn::lm::{BackwardOptions, CausalLm, ImagePatches, LmRow, NamedTensors, TokenScores};
use vtb_nn::trainable::Trainable;
use vtb_trainer::optim::{AdamW, AdamWConfig};

/// Rows of the fixtures.
pub(crate) const ROWS: [&str; 3] = ["text", "image1", "image2"];
/// A video alone, and one between two pictures.
pub(crate) const VIDEO_ROWS: [&str; 2] = ["video", "mixed"];

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// A file of reference values.
pub(crate) struct Reference(pub(crate) Checkpoint);

impl Reference {
    pub(crate) fn open(path: impl AsRef<Path>) -> Self {
        Self(Checkpoint::open(path).unwrap())
    }

    pub(crate) fn floats(&self, name: &str) -> Vec<f32> {
        self.0.data(name).unwrap().iter::<f32>().collect()
    }

    pub(crate) fn ints(&self, name: &str) -> Vec<i64> {
        self.0.data(name).unwrap().iter::<i64>().collect()
    }

    pub(crate) fn sizes(&self, name: &str) -> Vec<usize> {
        self.ints(name).into_iter().map(|i| i as usize).collect()
    }

    pub(crate) fn ids(&self, name: &str) -> Vec<u32> {
        self.ints(name).into_iter().map(|i| i as u32).collect()
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.info(name).is_some()
    }

    /// The row with its pictures, scored where a label stands.
    pub(crate) fn row<T: Tower>(&self, name: &str, model: &Vlm<T>) -> LmRow {
        let labels = self.ints(&format!("{name}.labels"));
        let scored = labels.iter().enumerate();
        let mut images = Vec::new();
        if self.has(&format!("{name}.grid_thw")) {
            let grids = self.sizes(&format!("{name}.grid_thw"));
            let values = self.floats(&format!("{name}.pixel_values"));
            let columns = model.config().vision.patch_dim();
            let mut rest = values.as_slice();
            let row = ROWS.iter().position(|r| *r == name).unwrap();
            for (i, grid) in grids.chunks(3).enumerate() {
                let grid = [grid[0], grid[1], grid[2]];
                let (head, tail) = rest.split_at(grid.iter().product::<usize>() * columns);
                rest = tail;
                images.push(Arc::new(ImagePatches {
                    values: head.to_vec(),
                    grid,
                    key: (row * 10 + i) as u64,
                }));
            }
        }
        LmRow {
            ids: self.ids(&format!("{name}.input_ids")),
            images,
            scored: scored.map(|(i, l)| i > 0 && *l >= 0).collect(),
        }
    }

    /// A row of [`VIDEO_ROWS`], with pictures and videos in the order of the text; the reference keeps the pixels of both
    /// kinds apart.
    pub(crate) fn video_row<T: Tower>(&self, name: &str, model: &Vlm<T>) -> LmRow {
        let width = model.config().vision.patch_dim();
        let pixels = |key: &str| {
            let key = format!("{name}.{key}");
            let found = self.has(&key).then(|| self.floats(&key));
            found.unwrap_or_default()
        };
        let mut rest = [pixels("pixel_values"), pixels("pixel_values_videos")];
        let mut images = Vec::new();
        for (i, item) in self.sizes(&format!("{name}.order")).chunks(4).enumerate() {
            let (kind, grid) = (item[0], [item[1], item[2], item[3]]);
            let tail = rest[kind].split_off(grid.iter().product::<usize>() * width);
            images.push(Arc::new(ImagePatches {
                values: std::mem::replace(&mut rest[kind], tail),
                grid,
                key: (VIDEO_ROWS.iter().position(|r| *r == name).unwrap() * 10 + i) as u64,
            }));
        }
        assert!(rest.iter().all(Vec::is_empty), "pixels are left over");
        let labels = self.ints(&format!("{name}.labels"));
        LmRow {
            ids: self.ids(&format!("{name}.input_ids")),
            images,
            scored: labels.iter().map(|l| *l >= 0).collect(),
        }
    }

    pub(crate) fn rows<T: Tower>(&self, model: &Vlm<T>) -> Vec<LmRow> {
        ROWS.iter().map(|name| self.row(name, model)).collect()
    }
}

pub(crate) fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().iter::<f32>().collect()
}

/// Absolute distance of every value.
#[track_caller]
pub(crate) fn close(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}: length");
    let distances = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    let worst = distances.fold(0.0, f32::max);
    assert!(
        worst <= tolerance && ours.iter().all(|x| x.is_finite()),
        "{what}: off by {worst}, allowed {tolerance}"
    );
    assert!(
        theirs.iter().any(|x| x.abs() > 1e-4),
        "{what}: the reference is trivial"
    );
}

/// Norm of the difference over the norm of the reference.
#[track_caller]
pub(crate) fn close_relative(what: &str, ours: &[f32], theirs: &[f32], tolerance: f64) {
    assert_eq!(ours.len(), theirs.len(), "{what}: length");
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&mut ours.iter().zip(theirs).map(|(a, b)| f64::from(a - b)));
    let size = norm(&mut theirs.iter().map(|x| f64::from(*x)));
    assert!(
        error <= tolerance * size,
        "{what}: relative error {:e}",
        error / size
    );
}

/// Cosine of the angle between two vectors.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y));
        products.sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// Token-mean cross-entropy over all rows, as an objective.
pub(crate) fn mean_loss(
    loss: &mut f64,
) -> impl FnMut(&[TokenScores]) -> Result<Vec<Vec<f32>>, vtb_nn::NnError> {
    |scores| {
        let n: usize = scores.iter().map(|s| s.logp.len()).sum();
        let sum: f64 = scores
            .iter()
            .flat_map(|s| &s.logp)
            .map(|l| f64::from(*l))
            .sum();
        *loss = -sum / n as f64;
        Ok(scores
            .iter()
            .map(|s| vec![-1.0 / n as f32; s.logp.len()])
            .collect())
    }
}

/// The loss of [`mean_loss`] and its gradients.
pub(crate) fn pass(model: &dyn CausalLm, rows: &[LmRow], recompute: bool) -> (f64, NamedTensors) {
    let mut loss = 0.0;
    let options = BackwardOptions {
        recompute,
        ..Default::default()
    };
    let gradients = model
        .backward(rows, &options, &mut mean_loss(&mut loss))
        .unwrap();
    (loss, gradients)
}

/// One AdamW step with the settings of the fixtures.
pub(crate) fn step(model: &dyn CausalLm, gradients: NamedTensors) -> NamedTensors {
    let config = AdamWConfig {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.01,
        ..Default::default()
    };
    let mut infos = model.trainable();
    for info in &mut infos {
        info.decay = true;
    }
    let mut adamw = AdamW::new(config, &infos).unwrap();
    adamw
        .step(model.trainable_values(), gradients, 1e-2)
        .unwrap()
}
