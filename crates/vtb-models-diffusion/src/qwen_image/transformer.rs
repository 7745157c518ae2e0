//! The transformer of Qwen-Image.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use vtb_lora::{AdapterPass, LoraLinear};
use vtb_models_vlm::model::RmsNorm;
use vtb_nn::NnError;
use vtb_nn::loader::Loader;
use vtb_nn::ops::modulated_norm;
use vtb_nn::velocity::{FlowRow, Latent};

use super::TransformerConfig;
use super::block::{Activation, Block, Context, EPS};
use super::layout::{Inputs, Layout, TIME_FEATURES};
use super::packing::{pack, unpack};
use crate::DiffusionError;
use crate::transformer::{FlowNetwork, FlowTransformer, Linears, Pass, silu};

/// The modules that published recipes adapt, by the ends of their names: attention of both streams, the second layer of
/// both MLPs, both modulations.
pub const RECIPE_TARGETS: [&str; 12] = [
    "to_q",
    "to_k",
    "to_v",
    "add_q_proj",
    "add_k_proj",
    "add_v_proj",
    "to_out.0",
    "to_add_out",
    "img_mlp.net.2",
    "img_mod.1",
    "txt_mlp.net.2",
    "txt_mod.1",
];

/// A two-layer MLP on the features of a noise level.
#[derive(Module, Debug)]
pub struct TimestepEmbedder {
    /// `[width, 256]`.
    pub linear_1: LoraLinear,
    /// `[width, width]`.
    pub linear_2: LoraLinear,
}

/// The embedding of noise levels, under its published name.
#[derive(Module, Debug)]
pub struct TimeEmbed {
    /// The MLP.
    pub timestep_embedder: TimestepEmbedder,
}

/// What brings pictures, text and noise levels to the width of the model.
#[derive(Module, Debug)]
pub struct Stem {
    /// `[width, in channels]`.
    pub img_in: LoraLinear,
    /// Norm of the text states.
    pub txt_norm: RmsNorm,
    /// `[width, text width]`.
    pub txt_in: LoraLinear,
    /// Embedding of noise levels.
    pub time_text_embed: TimeEmbed,
}

impl Stem {
    /// `[levels | texts | pictures]`, the input of the first block.
    pub(super) fn forward(
        &self,
        pictures: Tensor<2>,
        inputs: &Inputs,
        pass: AdapterPass,
    ) -> Tensor<2> {
        let embedder = &self.time_text_embed.timestep_embedder;
        let times = silu(embedder.linear_1.forward(inputs.times.clone(), pass));
        let times = embedder.linear_2.forward(times, pass);
        let texts = self.txt_norm.forward(inputs.texts.clone());
        let texts = self.txt_in.forward(texts, pass);
        let pictures = self.img_in.forward(pictures, pass);
        Tensor::cat(vec![times, texts, pictures], 0)
    }
}

/// Scale and shift of the last norm, under its published name.
#[derive(Module, Debug)]
pub struct NormOut {
    /// `[2·width, width]`.
    pub linear: LoraLinear,
}

/// From the last block to velocities.
#[derive(Module, Debug)]
pub struct Head {
    /// Modulation of the last norm: scale, then shift.
    pub norm_out: NormOut,
    /// `[p²·out channels, width]`.
    pub proj_out: LoraLinear,
}

impl Head {
    /// `[levels | pictures]` to velocities of the target tokens of all samples.
    pub(super) fn forward(&self, x: Tensor<2>, layout: &Layout, pass: AdapterPass) -> Tensor<2> {
        let times = x.clone().narrow(0, 0, layout.levels);
        let pictures = x.narrow(0, layout.levels, layout.picture_rows);
        let table = self.norm_out.linear.forward(silu(times), pass);
        let x = layout.targets_of(&pictures);
        let x = modulated_norm(x, table, [1, 0], &layout.target_runs, EPS);
        self.proj_out.forward(x, pass)
    }
}

/// The module tree, by published names.
#[derive(Module, Debug)]
pub struct Network {
    /// `[width, in channels]`.
    pub img_in: LoraLinear,
    /// Norm of the text states.
    pub txt_norm: RmsNorm,
    /// `[width, text width]`.
    pub txt_in: LoraLinear,
    /// Embedding of noise levels.
    pub time_text_embed: TimeEmbed,
    /// Blocks.
    pub transformer_blocks: Vec<Block>,
    /// Modulation of the last norm.
    pub norm_out: NormOut,
    /// `[p²·out channels, width]`.
    pub proj_out: LoraLinear,
}

/// A Qwen-Image transformer. Its options are the GELU of the MLPs.
pub type QwenImageTransformer = FlowTransformer<Network>;

/// A batch on the device.
#[derive(Debug)]
pub struct QwenBatch {
    layout: Layout,
    inputs: Inputs,
}

impl FlowNetwork for Network {
    type Config = TransformerConfig;
    type Options = Activation;
    type Batch = QwenBatch;
    type Stem = Stem;
    type Block = Block;
    type Head = Head;

    const BLOCKS: &'static str = "transformer_blocks";
    const STEM: &'static [&'static str] = &["img_in.", "txt_norm.", "txt_in.", "time_text_embed."];

    fn read_config(dir: &Path) -> Result<TransformerConfig, DiffusionError> {
        TransformerConfig::from_dir(dir)
    }

    fn check(config: &TransformerConfig) -> Result<(), DiffusionError> {
        config.validate()
    }

    fn build(loader: &Loader<'_>, c: &TransformerConfig) -> Self {
        let width = c.width();
        let linear =
            |name: &str, inputs, outputs| LoraLinear::load(&loader.pp(name), inputs, outputs, true);
        let time = "time_text_embed.timestep_embedder";
        let cells = c.patch_size * c.patch_size;
        Self {
            img_in: linear("img_in", c.in_channels, width),
            txt_norm: RmsNorm::load(
                &loader.pp("txt_norm"),
                c.joint_attention_dim,
                f64::from(EPS),
            ),
            txt_in: linear("txt_in", c.joint_attention_dim, width),
            time_text_embed: TimeEmbed {
                timestep_embedder: TimestepEmbedder {
                    linear_1: linear(&format!("{time}.linear_1"), TIME_FEATURES, width),
                    linear_2: linear(&format!("{time}.linear_2"), width, width),
                },
            },
            transformer_blocks: (0..c.num_layers)
                .map(|i| Block::load(&loader.pp(format!("transformer_blocks.{i}")), c))
                .collect(),
            norm_out: NormOut {
                linear: linear("norm_out.linear", width, 2 * width),
            },
            proj_out: linear("proj_out", width, cells * c.out_channels),
        }
    }

    fn linears_mut(&mut self) -> Linears<'_> {
        let embedder = &mut self.time_text_embed.timestep_embedder;
        let mut all = vec![
            &mut self.img_in,
            &mut self.txt_in,
            &mut embedder.linear_1,
            &mut embedder.linear_2,
        ];
        all.extend(
            self.transformer_blocks
                .iter_mut()
                .flat_map(Block::linears_mut),
        );
        all.push(&mut self.norm_out.linear);
        all.push(&mut self.proj_out);
        all
    }

    fn stem(&self) -> Stem {
        Stem {
            img_in: self.img_in.clone(),
            txt_norm: self.txt_norm.clone(),
            txt_in: self.txt_in.clone(),
            time_text_embed: self.time_text_embed.clone(),
        }
    }

    fn blocks(&self) -> &[Block] {
        &self.transformer_blocks
    }

    fn head(&self) -> Head {
        Head {
            norm_out: self.norm_out.clone(),
            proj_out: self.proj_out.clone(),
        }
    }

    fn batch(
        rows: &[FlowRow],
        config: &TransformerConfig,
        device: &Device,
        dtype: DType,
    ) -> Result<QwenBatch, NnError> {
        let layout = Layout::of(rows, config, device)?;
        let inputs = layout.inputs(rows, config, device, dtype);
        Ok(QwenBatch { layout, inputs })
    }

    fn tokens(batch: &QwenBatch) -> Tensor<2> {
        batch.inputs.pictures.clone()
    }

    fn run_stem(
        stem: &Stem,
        tokens: Tensor<2>,
        batch: &QwenBatch,
        pass: &Pass<Activation>,
    ) -> Tensor<2> {
        stem.forward(tokens, &batch.inputs, pass.adapter)
    }

    fn run_block(
        block: &Block,
        x: Tensor<2>,
        batch: &QwenBatch,
        pass: &Pass<Activation>,
        last: bool,
    ) -> Tensor<2> {
        let layout = &batch.layout;
        block.forward(x, &Context { layout, pass }, last)
    }

    fn run_head(
        head: &Head,
        x: Tensor<2>,
        batch: &QwenBatch,
        pass: &Pass<Activation>,
    ) -> Tensor<2> {
        head.forward(x, &batch.layout, pass.adapter)
    }

    fn unpack(values: &[f32], batch: &QwenBatch, config: &TransformerConfig) -> Vec<Latent> {
        let mut rest = values;
        let mut latents = Vec::with_capacity(batch.layout.samples.len());
        for sample in &batch.layout.samples {
            let (tokens, tail) = rest.split_at(sample.target_len() * config.in_channels);
            let (channels, patch) = (config.out_channels, config.patch_size);
            latents.push(unpack(tokens, sample.target, channels, patch));
            rest = tail;
        }
        latents
    }

    fn pack(latent: &Latent, config: &TransformerConfig, into: &mut Vec<f32>) {
        pack(latent, config.patch_size, into);
    }
}
