//! What vision towers share: patch embedding, attention with one fused projection, the order of patches.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use vtb_lora::{AdapterPass, LoraLinear};
use vtb_nn::loader::Loader;
use vtb_nn::ops::{RopeTable, linear, rope};

use super::packing::Packing;
use crate::config::PatchShape;

/// Holds the convolution under its published name.
#[derive(Module, Debug)]
pub struct PatchEmbed {
    /// Kernel equals stride, so this is a linear map of a patch row.
    pub proj: PatchConv,
}

impl PatchEmbed {
    pub(crate) fn load(loader: &Loader<'_>, width: usize, shape: PatchShape, bias: bool) -> Self {
        let loader = loader.pp("proj");
        let PatchShape {
            channels,
            frames,
            patch,
            ..
        } = shape;
        Self {
            proj: PatchConv {
                weight: loader.param("weight", [width, channels, frames, patch, patch]),
                bias: bias.then(|| loader.param("bias", [width])),
            },
        }
    }
}

/// A convolution whose kernel equals its stride.
#[derive(Module, Debug)]
pub struct PatchConv {
    /// `[width, channels, frames, patch, patch]`.
    pub weight: Param<Tensor<5>>,
    /// `[width]`.
    pub bias: Option<Param<Tensor<1>>>,
}

impl PatchConv {
    /// `[patches, width]` of patch rows.
    pub fn forward(&self, patches: Tensor<2>) -> Tensor<2> {
        let weight = self.weight.val();
        let width = weight.dims()[0];
        let columns = patches.dims()[1];
        let x = patches.cast(weight.dtype());
        let bias = self.bias.as_ref().map(Param::val);
        linear(x, weight.reshape([width, columns]), bias)
    }
}

/// Attention with one fused projection.
#[derive(Module, Debug)]
pub struct VisionAttention {
    /// Queries, keys and values, in this order of rows.
    pub qkv: LoraLinear,
    /// Output projection.
    pub proj: LoraLinear,
}

impl VisionAttention {
    pub(crate) fn load(loader: &Loader<'_>, width: usize) -> Self {
        Self {
            qkv: LoraLinear::load(&loader.pp("qkv"), width, 3 * width, true),
            proj: LoraLinear::load(&loader.pp("proj"), width, width, true),
        }
    }

    /// Attention of `[patches, width]` inside the runs of `packing`.
    pub(crate) fn forward(
        &self,
        x: Tensor<2>,
        packing: &Packing,
        table: &RopeTable,
        heads: usize,
        pass: AdapterPass,
    ) -> Tensor<2> {
        let [rows, width] = x.dims();
        let dim = width / heads;
        let qkv = self.qkv.forward(x, pass);
        let part = |i: usize| {
            qkv.clone()
                .narrow(1, i * width, width)
                .reshape([rows, heads, dim])
        };
        let q = rope(part(0), table);
        let k = rope(part(1), table);
        let scale = (dim as f32).sqrt().recip();
        self.proj
            .forward(packing.attend(q, k, part(2), scale), pass)
    }
}

/// `(row, column)` of every patch in the order the processor emits them: merge blocks row by row, patches row by
/// row inside each.
pub(crate) fn block_order(rows: usize, cols: usize, merge: usize) -> Vec<[i32; 2]> {
    let mut order = Vec::with_capacity(rows * cols);
    for block_y in (0..rows).step_by(merge) {
        for block_x in (0..cols).step_by(merge) {
            for y in block_y..block_y + merge {
                for x in block_x..block_x + merge {
                    order.push([y as i32, x as i32]);
                }
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_come_block_by_block() {
        let order = block_order(2, 4, 2);
        assert_eq!(
            order,
            [
                [0, 0],
                [0, 1],
                [1, 0],
                [1, 1],
                [0, 2],
                [0, 3],
                [1, 2],
                [1, 3]
            ]
        );
    }
}
