//! The transformer of Qwen-Image: loading, adapters, and velocities.

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use vtb_lora::{
    Adapter, AdapterPass, Factors, LinearInfo, LoraConfig, LoraError, LoraLinear, MatchReport,
    attach, match_targets,
};
use vtb_models_vlm::model::RmsNorm;
use vtb_nn::NnError;
use vtb_nn::checkpoint::{Checkpoint, TensorSource};
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{AdapterState, NamedTensors, ParamInfo};
use vtb_nn::loader::{Init, Loader};
use vtb_nn::ops::modulated_norm;
use vtb_nn::params::visit_params;
use vtb_nn::trainable::{Trainable, TrainableSet};
use vtb_nn::velocity::{FlowBackwardOptions, FlowRow, Latent, VelocityGradient, VelocityModel};

use super::block::{Activation, Block, Context, EPS, silu};
use super::layout::{Inputs, Layout, TIME_FEATURES};
use super::packing::unpack;
use super::{TransformerConfig, train};
use crate::DiffusionError;

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

impl Network {
    fn load(loader: &Loader<'_>, c: &TransformerConfig) -> Self {
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

    pub(super) fn stem(&self) -> Stem {
        Stem {
            img_in: self.img_in.clone(),
            txt_norm: self.txt_norm.clone(),
            txt_in: self.txt_in.clone(),
            time_text_embed: self.time_text_embed.clone(),
        }
    }

    pub(super) fn head(&self) -> Head {
        Head {
            norm_out: self.norm_out.clone(),
            proj_out: self.proj_out.clone(),
        }
    }

    fn linears_mut(&mut self) -> Vec<&mut LoraLinear> {
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
}

/// A Qwen-Image transformer on a device. It rests outside autodiff; a training pass lifts what trains, block by block.
#[derive(Debug, Clone)]
pub struct QwenImageTransformer {
    pub(super) config: TransformerConfig,
    pub(super) net: Network,
    pub(super) trainable: TrainableSet,
    pub(super) device: Device,
    pub(super) dtype: DType,
    /// GELU of the MLPs.
    pub activation: Activation,
    lora: Option<LoraConfig>,
}

impl QwenImageTransformer {
    /// Loads a `transformer` folder: `config.json` and safetensors, one file or shards.
    ///
    /// # Errors
    /// A missing file, a configuration that does not hold together, or any tensor that is missing, misshapen or unknown:
    /// all of them are listed.
    pub fn load(dir: &Path, device: &Device, dtype: DType) -> Result<Self, DiffusionError> {
        let config = TransformerConfig::from_dir(dir)?;
        Self::from_source(config, &Checkpoint::open(dir)?, device, dtype)
    }

    /// Takes the weights from `source`, under their published names.
    ///
    /// # Errors
    /// As [`QwenImageTransformer::load`].
    pub fn from_source(
        config: TransformerConfig,
        source: &dyn TensorSource,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, DiffusionError> {
        config.validate()?;
        let loader = Loader::from_source(source, device, dtype);
        let net = Network::load(&loader, &config);
        loader.finish(|_| false)?;
        Ok(Self::with(config, net, device, dtype))
    }

    /// A model whose tensors are made by `init` from their names and shapes.
    ///
    /// # Errors
    /// The configuration does not hold together.
    pub fn fresh(
        config: TransformerConfig,
        init: &Init<'_>,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, DiffusionError> {
        config.validate()?;
        let loader = Loader::fresh(init, device, dtype);
        let net = Network::load(&loader, &config);
        Ok(Self::with(config, net, device, dtype))
    }

    /// A model of this shape that holds no weights: for questions about its layers.
    ///
    /// # Errors
    /// The configuration does not hold together.
    pub fn outline(config: &TransformerConfig) -> Result<Self, DiffusionError> {
        config.validate()?;
        let loader = Loader::shapes_only(&cpu_device(), DType::F32);
        let net = Network::load(&loader, config);
        Ok(Self::with(config.clone(), net, &cpu_device(), DType::F32))
    }

    /// Names and shapes of all tensors of a checkpoint. Nothing of their size is allocated.
    ///
    /// # Errors
    /// The configuration does not hold together.
    pub fn tensors(
        config: &TransformerConfig,
    ) -> Result<BTreeMap<String, Vec<usize>>, DiffusionError> {
        config.validate()?;
        let loader = Loader::shapes_only(&cpu_device(), DType::F32);
        Network::load(&loader, config);
        Ok(loader.shapes())
    }

    fn with(config: TransformerConfig, net: Network, device: &Device, dtype: DType) -> Self {
        Self {
            config,
            net,
            trainable: TrainableSet::default(),
            device: device.clone(),
            dtype,
            activation: Activation::default(),
            lora: None,
        }
    }

    /// Sizes.
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// Number of parameters, adapters included.
    pub fn parameters(&self) -> u64 {
        let mut total = 0;
        visit_params(&self.net, "", |_, values, _| {
            total += values.dims()[0] as u64
        });
        total
    }

    /// Paths and sizes of all linear layers.
    pub fn linears(&self) -> Vec<LinearInfo> {
        let mut net = self.net.clone();
        net.linears_mut().iter().map(|l| l.info(false)).collect()
    }

    /// Which layers `lora` would adapt.
    ///
    /// # Errors
    /// The settings match nothing, or contradict each other.
    pub fn match_adapter(&self, lora: &LoraConfig) -> Result<MatchReport, LoraError> {
        match_targets(&self.linears(), &[], lora)
    }

    /// Attaches fresh adapters where `lora` says and trains them alone.
    ///
    /// # Errors
    /// As [`QwenImageTransformer::match_adapter`].
    pub fn attach_adapter(
        &mut self,
        lora: &LoraConfig,
        seed: u64,
    ) -> Result<MatchReport, LoraError> {
        let report = self.match_adapter(lora)?;
        attach::attach_fresh(self.net.linears_mut(), &report, lora, seed)?;
        self.lora = Some(lora.clone());
        self.trainable = TrainableSet::adapters(&self.net);
        Ok(report)
    }

    /// Attaches the factors of an adapter read from a file and trains them alone. Every factor must find its layer.
    ///
    /// # Errors
    /// A factor has no layer or does not fit it; `origin` and the layer are named.
    pub fn load_adapter(&mut self, adapter: Adapter, origin: &Path) -> Result<(), LoraError> {
        self.lora = Some(attach::attach(self.net.linears_mut(), adapter, origin)?);
        self.trainable = TrainableSet::adapters(&self.net);
        Ok(())
    }

    /// The factors of every adapted layer, by module path.
    pub fn adapter_factors(&self) -> BTreeMap<String, Factors> {
        attach::factors(self.net.clone().linears_mut())
    }

    /// Settings of the attached adapter, if there is one.
    pub fn adapter_config(&self) -> Option<&LoraConfig> {
        self.lora.as_ref()
    }

    /// Plans a batch and puts it on the device.
    pub(super) fn prepare(&self, rows: &[FlowRow]) -> Result<(Layout, Inputs), NnError> {
        let layout = Layout::of(rows, &self.config, &self.device)?;
        let inputs = layout.inputs(rows, &self.config, &self.device, self.dtype);
        Ok((layout, inputs))
    }

    pub(super) fn context<'a>(&self, layout: &'a Layout, pass: AdapterPass) -> Context<'a> {
        Context {
            layout,
            pass,
            activation: self.activation,
        }
    }

    /// Velocities of the target tokens of all samples as latents.
    pub(super) fn latents(
        &self,
        layout: &Layout,
        velocity: Tensor<2>,
    ) -> Result<Vec<Latent>, NnError> {
        let values = velocity
            .cast(DType::F32)
            .into_data()
            .try_into_vec::<f32>()
            .map_err(|e| NnError::input(format!("velocities cannot be read: {e:?}")))?;
        let width = self.config.in_channels;
        let mut rest = values.as_slice();
        let mut latents = Vec::with_capacity(layout.samples.len());
        for sample in &layout.samples {
            let (tokens, tail) = rest.split_at(sample.target_len() * width);
            let (channels, patch) = (self.config.out_channels, self.config.patch_size);
            latents.push(unpack(tokens, sample.target, channels, patch));
            rest = tail;
        }
        Ok(latents)
    }
}

impl Trainable for QwenImageTransformer {
    fn trainable(&self) -> Vec<ParamInfo> {
        self.trainable.infos(&self.net)
    }

    fn trainable_values(&self) -> NamedTensors {
        self.trainable.values(&self.net)
    }

    fn set_trainable(&mut self, values: NamedTensors) -> Result<(), NnError> {
        self.net = self.trainable.replaced(self.net.clone(), values)?;
        Ok(())
    }
}

impl VelocityModel for QwenImageTransformer {
    fn velocity(&self, rows: &[FlowRow], adapter: AdapterState) -> Result<Vec<Latent>, NnError> {
        let pass = match adapter {
            AdapterState::On => AdapterPass::EVAL,
            AdapterState::Off => AdapterPass::OFF,
        };
        let (layout, inputs) = self.prepare(rows)?;
        let context = self.context(&layout, pass);
        let mut x = self
            .net
            .stem()
            .forward(inputs.pictures.clone(), &inputs, pass);
        let blocks = &self.net.transformer_blocks;
        for (i, block) in blocks.iter().enumerate() {
            x = block.forward(x, &context, i + 1 == blocks.len());
        }
        self.latents(&layout, self.net.head().forward(x, &layout, pass))
    }

    fn backward(
        &self,
        rows: &[FlowRow],
        options: &FlowBackwardOptions,
        objective: &mut VelocityGradient<'_>,
    ) -> Result<NamedTensors, NnError> {
        train::backward(self, rows, options, objective)
    }
}
