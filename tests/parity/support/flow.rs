//! Samples and objective of flow-matching models.

use vtb_nn::checkpoint::TensorSource;
use vtb_nn::velocity::{Latent, TextStates};

use super::Reference;

/// Latents stored as `[batch, C, 1, H, W]`.
pub(crate) fn latents(reference: &Reference, name: &str) -> Vec<Latent> {
    let shape = reference.0.info(name).unwrap().shape;
    let [_, c, f, h, w] = shape[..] else {
        panic!("{name} has the shape {shape:?}")
    };
    let values = reference.floats(name);
    let each = values.chunks_exact(c * f * h * w);
    each.map(|v| Latent {
        shape: [c, f, h, w],
        values: v.to_vec(),
    })
    .collect()
}

/// Text states of every sample without their padding.
pub(crate) fn texts(reference: &Reference, prefix: &str) -> Vec<TextStates> {
    let name = format!("{prefix}text");
    let shape = reference.0.info(&name).unwrap().shape;
    let [batch, most, width] = shape[..] else {
        panic!("{name} has the shape {shape:?}")
    };
    let mask = format!("{prefix}text_mask");
    let lengths: Vec<usize> = if reference.has(&mask) {
        let mask = reference.0.data(&mask).unwrap();
        let kept: Vec<bool> = mask.iter::<i64>().map(|x| x != 0).collect();
        kept.chunks(most)
            .map(|row| row.iter().filter(|x| **x).count())
            .collect()
    } else {
        vec![most; batch]
    };
    let values = reference.floats(&name);
    let rows = values.chunks_exact(most * width).zip(lengths);
    rows.map(|(values, rows)| TextStates {
        rows,
        width,
        values: values[..rows * width].to_vec(),
    })
    .collect()
}

/// The mean over samples of `w·mean((v - target)²)` over the frames after the first `clean`, as an objective.
pub(crate) fn weighted_mse(
    targets: Vec<Latent>,
    weights: Vec<f32>,
    clean: usize,
) -> impl FnMut(&[Latent]) -> Result<Vec<Latent>, vtb_nn::NnError> {
    move |predicted| {
        let n = predicted.len() as f32;
        let each = predicted.iter().zip(&targets).zip(&weights);
        Ok(each
            .map(|((v, target), w)| {
                let (frames, frame) = (v.shape[1], v.frame_len());
                let counted = v.values.len() - v.shape[0] * clean * frame;
                let factor = 2.0 * w / (counted as f32 * n);
                let pairs = v.values.iter().zip(&target.values).enumerate();
                let values = pairs.map(|(i, (v, t))| match i / frame % frames < clean {
                    true => 0.0,
                    false => factor * (v - t),
                });
                Latent {
                    shape: v.shape,
                    values: values.collect(),
                }
            })
            .collect())
    }
}
