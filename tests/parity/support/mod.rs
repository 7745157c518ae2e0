//! Reading reference values, comparing with them, and the objective and optimizer they were made with.

#![allow(dead_code, reason = "not every test uses everything")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::Tensor;
use vtb_models_vlm::qwen3_vl::Qwen3Vl;
use vtb_nn::checkpoint::Checkpoint;
use vtb_nn::lm::{CausalLm, ImagePatches, LmRow, NamedTensors, TokenScores};
use vtb_trainer::optim::{AdamW, AdamWConfig};

/// Rows of the fixtures.
pub(crate) const ROWS: [&str; 3] = ["text", "image1", "image2"];

pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// A file of reference values.
pub(crate) struct Reference(Checkpoint);

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

    pub(crate) fn has(&self, name: &str) -> bool {
        use vtb_nn::checkpoint::TensorSource;
        self.0.info(name).is_some()
    }

    pub(crate) fn ids(&self, name: &str) -> Vec<u32> {
        self.ints(name).into_iter().map(|i| i as u32).collect()
    }

    /// The row with its pictures, scored where a label stands.
    pub(crate) fn row(&self, name: &str, model: &Qwen3Vl) -> LmRow {
        let ids: Vec<u32> = self
            .ints(&format!("{name}.input_ids"))
            .into_iter()
            .map(|i| i as u32)
            .collect();
        let labels = self.ints(&format!("{name}.labels"));
        let scored = labels
            .iter()
            .enumerate()
            .map(|(i, l)| i > 0 && *l >= 0)
            .collect();
        let mut images = Vec::new();
        if self.has(&format!("{name}.grid_thw")) {
            let grids = self.ints(&format!("{name}.grid_thw"));
            let values = self.floats(&format!("{name}.pixel_values"));
            let mut rest = values.as_slice();
            for (i, grid) in grids.chunks(3).enumerate() {
                let grid = [grid[0] as usize, grid[1] as usize, grid[2] as usize];
                let len = grid.iter().product::<usize>() * model.config().vision.patch_dim();
                let (head, tail) = rest.split_at(len);
                rest = tail;
                let row = ROWS.iter().position(|r| *r == name).unwrap();
                let key = (row * 10 + i) as u64;
                images.push(Arc::new(ImagePatches {
                    values: head.to_vec(),
                    grid,
                    key,
                }));
            }
        }
        LmRow {
            ids,
            images,
            scored,
        }
    }

    pub(crate) fn rows(&self, model: &Qwen3Vl) -> Vec<LmRow> {
        ROWS.iter().map(|name| self.row(name, model)).collect()
    }
}

pub(crate) fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().into_data().iter::<f32>().collect()
}

#[track_caller]
pub(crate) fn close(what: &str, ours: &[f32], theirs: &[f32], tolerance: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}: length");
    let worst = ours
        .iter()
        .zip(theirs)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(
        worst <= tolerance,
        "{what}: off by {worst}, allowed {tolerance}"
    );
    assert!(
        theirs.iter().any(|x| x.abs() > 1e-4),
        "{what}: the reference is trivial"
    );
}

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

/// One AdamW step with the settings of the fixtures.
pub(crate) fn step(model: &Qwen3Vl, gradients: NamedTensors) -> NamedTensors {
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
