//! The vision tower: patches to merged tokens and deepstack features.

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use vtb_lora::{AdapterPass, LoraLinear};
use vtb_nn::loader::Loader;
use vtb_nn::ops::rope::vision_angles;
use vtb_nn::ops::{Gelu, RopeTable, gelu};

use crate::config::{TowerConfig, VisionConfig};
use crate::model::{
    LayerNorm, Packing, PatchEmbed, Table, Tower, VisionAttention, block_order, indices,
};

/// The whole tower.
#[derive(Module, Debug)]
pub struct VisionTower {
    /// Patches to hidden states.
    pub patch_embed: PatchEmbed,
    /// Learned positions on a square grid, interpolated.
    pub pos_embed: Table,
    /// Transformer blocks.
    pub blocks: Vec<VisionBlock>,
    /// Final states to decoder tokens.
    pub merger: Merger,
    /// Intermediate states to features added inside the decoder.
    pub deepstack_merger_list: Vec<Merger>,
}

impl Tower for VisionTower {
    type Config = VisionConfig;
    type Context = VisionContext;
    type Stem = Stem;
    type Block = VisionBlock;
    type Merger = Merger;

    fn load(loader: &Loader<'_>, config: &VisionConfig) -> Self {
        let merger = |l: Loader<'_>, grouped| Merger::load(&l, config, grouped);
        let list = loader.pp("deepstack_merger_list");
        Self {
            patch_embed: PatchEmbed::load(
                &loader.pp("patch_embed"),
                config.hidden_size,
                config.shape(),
                true,
            ),
            pos_embed: Table::load(
                &loader.pp("pos_embed"),
                config.num_position_embeddings,
                config.hidden_size,
            ),
            blocks: (0..config.depth)
                .map(|i| VisionBlock::load(&loader.pp(format!("blocks.{i}")), config))
                .collect(),
            merger: merger(loader.pp("merger"), false),
            deepstack_merger_list: (0..config.deepstack_indexes.len())
                .map(|j| merger(list.pp(j), true))
                .collect(),
        }
    }

    fn context(
        grids: &[[usize; 3]],
        config: &VisionConfig,
        pass: AdapterPass,
        device: &Device,
    ) -> VisionContext {
        VisionContext::new(grids, config, pass, device)
    }

    fn stem(&self) -> Stem {
        Stem {
            patch_embed: self.patch_embed.clone(),
            pos_embed: self.pos_embed.clone(),
        }
    }

    fn blocks(&self) -> &[VisionBlock] {
        &self.blocks
    }

    fn merger(&self) -> &Merger {
        &self.merger
    }

    fn deepstack(&self) -> &[Merger] {
        &self.deepstack_merger_list
    }

    fn deepstack_slot(config: &VisionConfig, block: usize) -> Option<usize> {
        config.deepstack_indexes.iter().position(|i| *i == block)
    }

    fn run_stem(stem: &Stem, patches: Tensor<2>, context: &VisionContext) -> Tensor<2> {
        stem.forward(patches, context)
    }

    fn run_block(
        _index: usize,
        block: &VisionBlock,
        x: Tensor<2>,
        context: &VisionContext,
    ) -> Tensor<2> {
        block.forward(x, context)
    }

    fn run_merger(merger: &Merger, x: Tensor<2>, context: &VisionContext) -> Tensor<2> {
        merger.forward(x, context.pass)
    }

    fn linears_mut(&mut self) -> Vec<&mut LoraLinear> {
        let mut all = Vec::new();
        for block in &mut self.blocks {
            all.extend([&mut block.attn.qkv, &mut block.attn.proj]);
            all.extend([&mut block.mlp.linear_fc1, &mut block.mlp.linear_fc2]);
        }
        for merger in std::iter::once(&mut self.merger).chain(&mut self.deepstack_merger_list) {
            all.extend([&mut merger.linear_fc1, &mut merger.linear_fc2]);
        }
        all
    }
}

/// Patch embedding and positions.
#[derive(Module, Debug)]
pub struct Stem {
    /// Patches to hidden states.
    pub patch_embed: PatchEmbed,
    /// Learned positions.
    pub pos_embed: Table,
}

impl Stem {
    /// Hidden states `[patches, width]` of patch rows `[patches, patch_dim]`.
    pub fn forward(&self, patches: Tensor<2>, context: &VisionContext) -> Tensor<2> {
        self.patch_embed.proj.forward(patches) + context.positions(&self.pos_embed.weight.val())
    }
}

/// Pre-norm block: attention, then a GELU MLP.
#[derive(Module, Debug)]
pub struct VisionBlock {
    /// Before attention.
    pub norm1: LayerNorm,
    /// Before the MLP.
    pub norm2: LayerNorm,
    /// Bidirectional attention inside one picture.
    pub attn: VisionAttention,
    /// Two layers with the tanh GELU.
    pub mlp: VisionMlp,
}

impl VisionBlock {
    fn load(loader: &Loader<'_>, c: &VisionConfig) -> Self {
        let (width, inner) = (c.hidden_size, c.intermediate_size);
        let l = |name: &str, i, o| LoraLinear::load(&loader.pp(name), i, o, true);
        Self {
            norm1: LayerNorm::load(&loader.pp("norm1"), width),
            norm2: LayerNorm::load(&loader.pp("norm2"), width),
            attn: VisionAttention::load(&loader.pp("attn"), width),
            mlp: VisionMlp {
                linear_fc1: l("mlp.linear_fc1", width, inner),
                linear_fc2: l("mlp.linear_fc2", inner, width),
            },
        }
    }

    /// `[patches, width]` to the same shape.
    pub fn forward(&self, x: Tensor<2>, context: &VisionContext) -> Tensor<2> {
        let pass = context.pass;
        let h = self.norm1.forward(x.clone());
        let attended = self
            .attn
            .forward(h, &context.packing, &context.rope, context.heads, pass);
        let x = x + attended;
        let h = self
            .mlp
            .linear_fc1
            .forward(self.norm2.forward(x.clone()), pass);
        x + self.mlp.linear_fc2.forward(gelu(h, Gelu::Tanh), pass)
    }
}

/// The MLP of a block.
#[derive(Module, Debug)]
pub struct VisionMlp {
    /// Widening layer.
    pub linear_fc1: LoraLinear,
    /// Narrowing layer.
    pub linear_fc2: LoraLinear,
}

/// Groups neighbouring patches into one decoder token.
#[derive(Module, Debug)]
pub struct Merger {
    /// Over one patch for the final merger, over the whole group for deepstack.
    pub norm: LayerNorm,
    /// `4·width` to itself.
    pub linear_fc1: LoraLinear,
    /// To the decoder's width.
    pub linear_fc2: LoraLinear,
    #[module(skip)]
    group: usize,
    #[module(skip)]
    norm_grouped: bool,
}

impl Merger {
    fn load(loader: &Loader<'_>, c: &VisionConfig, norm_grouped: bool) -> Self {
        let grouped = c.hidden_size * c.merge_unit();
        let normed = if norm_grouped { grouped } else { c.hidden_size };
        Self {
            norm: LayerNorm::load(&loader.pp("norm"), normed),
            linear_fc1: LoraLinear::load(&loader.pp("linear_fc1"), grouped, grouped, true),
            linear_fc2: LoraLinear::load(
                &loader.pp("linear_fc2"),
                grouped,
                c.out_hidden_size,
                true,
            ),
            group: c.merge_unit(),
            norm_grouped,
        }
    }

    /// `[patches, width]` to `[patches/group, decoder width]`, by the exact GELU.
    pub fn forward(&self, x: Tensor<2>, pass: AdapterPass) -> Tensor<2> {
        let [rows, width] = x.dims();
        let group = |x: Tensor<2>| x.reshape([rows / self.group, width * self.group]);
        let x = if self.norm_grouped {
            self.norm.forward(group(x))
        } else {
            group(self.norm.forward(x))
        };
        let h = gelu(self.linear_fc1.forward(x, pass), Gelu::Exact);
        self.linear_fc2.forward(h, pass)
    }
}

/// What a pass over a set of pictures shares between blocks.
pub struct VisionContext {
    /// Attention stays inside one frame of one picture.
    packing: Packing,
    rope: RopeTable,
    heads: usize,
    /// Adapter state and dropout.
    pub pass: AdapterPass,
    /// Corners of the position table and their weights, per patch.
    corners: [Vec<usize>; 4],
    weights: [Vec<f32>; 4],
    device: Device,
}

impl VisionContext {
    /// For pictures with the given patch grids, in order.
    pub fn new(grids: &[[usize; 3]], c: &VisionConfig, pass: AdapterPass, device: &Device) -> Self {
        let mut positions = Vec::new();
        let mut lengths = Vec::new();
        let mut corners: [Vec<usize>; 4] = Default::default();
        let mut weights: [Vec<f32>; 4] = Default::default();
        for &[frames, rows, cols] in grids {
            let frame = block_order(rows, cols, c.spatial_merge_size);
            for _ in 0..frames {
                lengths.push(rows * cols);
                positions.extend_from_slice(&frame);
                for &[y, x] in &frame {
                    let found = bilinear(y, x, rows, cols, c.position_side());
                    for (i, (corner, weight)) in found.into_iter().enumerate() {
                        corners[i].push(corner);
                        weights[i].push(weight);
                    }
                }
            }
        }
        let dim = c.head_dim();
        let angles = vision_angles(&positions, dim, c.rope_theta);
        Self {
            packing: Packing::new(&lengths, false),
            rope: RopeTable::from_angles(&angles, dim / 2, device),
            heads: c.num_heads,
            pass,
            corners,
            weights,
            device: device.clone(),
        }
    }

    /// The rotary tables of the patches.
    pub fn rope(&self) -> &RopeTable {
        &self.rope
    }

    /// Bilinear interpolation of the learned table at every patch, `[patches, width]`: gathered and weighted in
    /// f32, cast once.
    pub fn positions(&self, table: &Tensor<2>) -> Tensor<2> {
        let dtype = table.dtype();
        let term = |i: usize| {
            let rows = table
                .clone()
                .select(0, indices(&self.corners[i], &self.device));
            let shape = [self.weights[i].len(), 1];
            let weight = TensorData::new(self.weights[i].clone(), shape);
            rows.cast(DType::F32) * Tensor::<2>::from_data(weight, (&self.device, DType::F32))
        };
        (term(0) + term(1) + term(2) + term(3)).cast(dtype)
    }
}

/// Corners in a `side × side` table and weights for patch `(y, x)` of a `rows × cols` grid whose corners fall on the
/// table's corners.
fn bilinear(y: i32, x: i32, rows: usize, cols: usize, side: usize) -> [(usize, f32); 4] {
    let place = |at: i32, n: usize| {
        let position = if n > 1 {
            at as f32 * ((side - 1) as f32 / (n - 1) as f32)
        } else {
            0.0
        };
        let floor = (position as usize).min(side - 1);
        (floor, (floor + 1).min(side - 1), position - floor as f32)
    };
    let ((y0, y1, dy), (x0, x1, dx)) = (place(y, rows), place(x, cols));
    [
        (y0 * side + x0, (1.0 - dy) * (1.0 - dx)),
        (y0 * side + x1, (1.0 - dy) * dx),
        (y1 * side + x0, dy * (1.0 - dx)),
        (y1 * side + x1, dy * dx),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpolation_meets_the_corners() {
        let heaviest = |found: [(usize, f32); 4]| {
            found
                .into_iter()
                .max_by(|a, b| a.1.total_cmp(&b.1))
                .map(|(c, w)| (c, (w * 1e5).round()))
        };
        assert_eq!(heaviest(bilinear(0, 0, 7, 5, 48)), Some((0, 1e5)));
        assert_eq!(heaviest(bilinear(6, 4, 7, 5, 48)), Some((48 * 48 - 1, 1e5)));
        let total: f32 = bilinear(3, 1, 7, 5, 48).iter().map(|(_, w)| w).sum();
        assert!((total - 1.0).abs() < 1e-6);
    }
}
