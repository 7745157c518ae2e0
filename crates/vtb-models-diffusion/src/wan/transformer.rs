//! The transformer of Wan2.2-TI2V.

use std::path::Path;

use burn::module::{Module, Param};
use burn::tensor::{DType, Device, Tensor};
use vtb_lora::{AdapterPass, LoraLinear};
use vtb_nn::NnError;
use vtb_nn::loader::Loader;
use vtb_nn::ops::{Gelu, gelu, linear, modulated_norm};
use vtb_nn::velocity::{FlowRow, Latent};

use super::WanConfig;
use super::block::Block;
use super::layout::{MODULATIONS, WanBatch};
use super::patches::{pack_output, unpack_output};
use crate::DiffusionError;
use crate::transformer::{FlowNetwork, FlowTransformer, Linears, Pass, silu};

/// The modules that published recipes adapt, by the ends of their names: both attentions and the MLP. In the original
/// files they are `q`, `k`, `v`, `o`, `ffn.0` and `ffn.2`.
pub const RECIPE_TARGETS: [&str; 6] = [
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "ffn.net.0.proj",
    "ffn.net.2",
];

/// A Wan transformer. There is nothing a published file does not say.
pub type WanTransformer = FlowTransformer<Network>;

/// The convolution that makes tokens of patches.
#[derive(Module, Debug)]
pub struct PatchEmbedding {
    /// `[width, channels, 1, p, p]`.
    pub weight: Param<Tensor<5>>,
    /// `[width]`.
    pub bias: Param<Tensor<1>>,
}

impl PatchEmbedding {
    fn load(loader: &Loader<'_>, c: &WanConfig) -> Self {
        let [frames, rows, columns] = c.patch_size;
        Self {
            weight: loader.param("weight", [c.width(), c.in_channels, frames, rows, columns]),
            bias: loader.param("bias", [c.width()]),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let (width, values) = (self.bias.val().dims()[0], x.dims()[1]);
        let weight = self.weight.val().reshape([width, values]);
        linear(x, weight, Some(self.bias.val()))
    }
}

/// Two linear layers with an activation in between.
#[derive(Module, Debug)]
pub struct Embedder {
    /// First.
    pub linear_1: LoraLinear,
    /// Second, `[width, width]`.
    pub linear_2: LoraLinear,
}

impl Embedder {
    fn load(loader: &Loader<'_>, inputs: usize, width: usize) -> Self {
        Self {
            linear_1: LoraLinear::load(&loader.pp("linear_1"), inputs, width, true),
            linear_2: LoraLinear::load(&loader.pp("linear_2"), width, width, true),
        }
    }

    fn forward(
        &self,
        x: Tensor<2>,
        activation: impl Fn(Tensor<2>) -> Tensor<2>,
        pass: AdapterPass,
    ) -> Tensor<2> {
        let x = activation(self.linear_1.forward(x, pass));
        self.linear_2.forward(x, pass)
    }
}

/// What noise levels and prompts become, under its published name.
#[derive(Module, Debug)]
pub struct ConditionEmbedder {
    /// Noise levels, with SiLU; in f32 whatever the rest is, as diffusers keeps it.
    pub time_embedder: Embedder,
    /// `[6·width, width]`: the modulation of a noise level.
    pub time_proj: LoraLinear,
    /// Text states, with GELU.
    pub text_embedder: Embedder,
}

/// What comes before the blocks.
#[derive(Module, Debug)]
pub struct Stem {
    /// Patches to tokens.
    pub patch_embedding: PatchEmbedding,
    /// Noise levels and prompts.
    pub condition_embedder: ConditionEmbedder,
}

/// From the last block to velocities.
#[derive(Module, Debug)]
pub struct Head {
    /// `[1, 2, width]`, added to the embedding of every noise level: shift, then scale of the last norm.
    pub scale_shift_table: Param<Tensor<3>>,
    /// `[p²·channels, width]`.
    pub proj_out: LoraLinear,
    #[module(skip)]
    eps: f64,
}

/// The module tree, by the names of diffusers.
#[derive(Module, Debug)]
pub struct Network {
    /// Patches to tokens.
    pub patch_embedding: PatchEmbedding,
    /// Noise levels and prompts.
    pub condition_embedder: ConditionEmbedder,
    /// Blocks.
    pub blocks: Vec<Block>,
    /// `[1, 2, width]`.
    pub scale_shift_table: Param<Tensor<3>>,
    /// `[p²·channels, width]`.
    pub proj_out: LoraLinear,
    #[module(skip)]
    eps: f64,
}

impl FlowNetwork for Network {
    type Config = WanConfig;
    type Options = ();
    type Batch = WanBatch;
    type Stem = Stem;
    type Block = Block;
    type Head = Head;

    const BLOCKS: &'static str = "blocks";
    const STEM: &'static [&'static str] = &["patch_embedding.", "condition_embedder."];

    fn read_config(dir: &Path) -> Result<WanConfig, DiffusionError> {
        WanConfig::from_dir(dir)
    }

    fn check(config: &WanConfig) -> Result<(), DiffusionError> {
        config.validate()
    }

    fn build(loader: &Loader<'_>, c: &WanConfig) -> Self {
        let width = c.width();
        let embedder = loader.pp("condition_embedder");
        let cells: usize = c.patch_size.iter().product();
        let output = cells * c.out_channels;
        Self {
            patch_embedding: PatchEmbedding::load(&loader.pp("patch_embedding"), c),
            condition_embedder: ConditionEmbedder {
                time_embedder: Embedder::load(
                    &embedder.pp("time_embedder").at(DType::F32),
                    c.freq_dim,
                    width,
                ),
                time_proj: LoraLinear::load(
                    &embedder.pp("time_proj"),
                    width,
                    MODULATIONS * width,
                    true,
                ),
                text_embedder: Embedder::load(&embedder.pp("text_embedder"), c.text_dim, width),
            },
            blocks: (0..c.num_layers)
                .map(|i| Block::load(&loader.pp(format!("blocks.{i}")), c))
                .collect(),
            scale_shift_table: loader
                .at(DType::F32)
                .param("scale_shift_table", [1, 2, width]),
            proj_out: LoraLinear::load(&loader.pp("proj_out"), width, output, true),
            eps: c.eps,
        }
    }

    fn linears_mut(&mut self) -> Linears<'_> {
        let embedder = &mut self.condition_embedder;
        let mut all = vec![
            &mut embedder.time_embedder.linear_1,
            &mut embedder.time_embedder.linear_2,
            &mut embedder.time_proj,
            &mut embedder.text_embedder.linear_1,
            &mut embedder.text_embedder.linear_2,
        ];
        all.extend(self.blocks.iter_mut().flat_map(Block::linears_mut));
        all.push(&mut self.proj_out);
        all
    }

    fn stem(&self) -> Stem {
        Stem {
            patch_embedding: self.patch_embedding.clone(),
            condition_embedder: self.condition_embedder.clone(),
        }
    }

    fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    fn head(&self) -> Head {
        Head {
            scale_shift_table: self.scale_shift_table.clone(),
            proj_out: self.proj_out.clone(),
            eps: self.eps,
        }
    }

    fn batch(
        rows: &[FlowRow],
        config: &WanConfig,
        device: &Device,
        dtype: DType,
    ) -> Result<WanBatch, NnError> {
        WanBatch::of(rows, config, device, dtype)
    }

    fn tokens(batch: &WanBatch) -> Tensor<2> {
        batch.inputs.tokens.clone()
    }

    fn run_stem(stem: &Stem, tokens: Tensor<2>, batch: &WanBatch, pass: &Pass<()>) -> Tensor<2> {
        let (embedder, adapter) = (&stem.condition_embedder, pass.adapter);
        let times = embedder
            .time_embedder
            .forward(batch.inputs.times.clone(), silu, adapter);
        let times = times.cast(batch.inputs.texts.dtype());
        let modulations = embedder.time_proj.forward(silu(times.clone()), adapter);
        let width = times.dims()[1];
        let modulations = modulations.reshape([batch.levels * MODULATIONS, width]);
        let tanh = |x| gelu(x, Gelu::Tanh);
        let texts = embedder
            .text_embedder
            .forward(batch.inputs.texts.clone(), tanh, adapter);
        let tokens = stem.patch_embedding.forward(tokens);
        Tensor::cat(vec![times, modulations, texts, tokens], 0)
    }

    fn run_block(
        block: &Block,
        x: Tensor<2>,
        batch: &WanBatch,
        pass: &Pass<()>,
        last: bool,
    ) -> Tensor<2> {
        block.forward(x, batch, pass, last)
    }

    /// `[levels | tokens]` to velocities.
    fn run_head(head: &Head, x: Tensor<2>, batch: &WanBatch, pass: &Pass<()>) -> Tensor<2> {
        let width = x.dims()[1];
        let times = pass.condition(x.clone().narrow(0, 0, batch.levels));
        let tokens = x.narrow(0, batch.levels, batch.tokens);
        let own = head.scale_shift_table.val().reshape([1, 2 * width]);
        let times = times.cast(DType::F32);
        let table = Tensor::cat(vec![times.clone(), times], 1) + own;
        let x = modulated_norm(tokens, table, [0, 1], &batch.runs, head.eps as f32);
        head.proj_out.forward(x, pass.adapter)
    }

    fn unpack(values: &[f32], batch: &WanBatch, config: &WanConfig) -> Vec<Latent> {
        let (channels, patch) = (config.out_channels, config.patch_size[1]);
        let mut rest = values;
        let mut latents = Vec::with_capacity(batch.grids.len());
        for grid in &batch.grids {
            let count = grid.iter().product::<usize>() * channels * patch * patch;
            let (tokens, tail) = rest.split_at(count);
            latents.push(unpack_output(tokens, *grid, channels, patch));
            rest = tail;
        }
        latents
    }

    fn pack(latent: &Latent, config: &WanConfig, into: &mut Vec<f32>) {
        pack_output(latent, config.patch_size[1], into);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_model_has_the_published_tensors() {
        let tensors = WanTransformer::tensors(&WanConfig::published()).unwrap();
        assert_eq!(tensors.len(), 825);
        let values: usize = tensors.values().map(|s| s.iter().product::<usize>()).sum();
        assert_eq!(values, 4_999_787_712);
    }
}
