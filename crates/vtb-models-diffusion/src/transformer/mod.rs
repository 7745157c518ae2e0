//! What all flow-matching transformers have in common: loading, adapters, velocities, and training block by block.
//!
//! A family writes its layers as a [`FlowNetwork`]; [`FlowTransformer`] is the model made of it.

mod network;
mod time;
mod train;

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor};
use vtb_lora::{
    Adapter, AdapterPass, Factors, LinearInfo, LoraConfig, LoraError, LoraLinear, MatchReport,
    attach, match_targets,
};
use vtb_nn::NnError;
use vtb_nn::checkpoint::{Checkpoint, TensorSource};
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{AdapterState, NamedTensors, ParamInfo};
use vtb_nn::loader::{Init, Loader};
use vtb_nn::params::visit_params;
use vtb_nn::trainable::{Trainable, TrainableSet};
use vtb_nn::velocity::{FlowBackwardOptions, FlowRow, Latent, VelocityGradient, VelocityModel};

use crate::DiffusionError;

pub use network::{FlowNetwork, Nothing, Pass};
pub(crate) use network::{cat, check_text, silu};
pub(crate) use time::{axis_angles, sinusoid};

/// A transformer of velocities on a device. It rests outside autodiff; a training pass lifts what trains, block by block.
#[derive(Debug, Clone)]
pub struct FlowTransformer<N: FlowNetwork> {
    config: N::Config,
    net: N,
    trainable: TrainableSet,
    device: Device,
    dtype: DType,
    /// What a published file does not say.
    pub options: N::Options,
    lora: Option<LoraConfig>,
}

impl<N: FlowNetwork> FlowTransformer<N> {
    /// Loads a `transformer` folder: `config.json` and safetensors, one file or shards.
    ///
    /// # Errors
    /// A missing file, a configuration that does not hold together, or any tensor that is missing, misshapen or unknown:
    /// all of them are listed.
    pub fn load(dir: &Path, device: &Device, dtype: DType) -> Result<Self, DiffusionError> {
        let config = N::read_config(dir)?;
        Self::from_source(config, &Checkpoint::open(dir)?, device, dtype)
    }

    /// Takes the weights from `source`, under the names of diffusers.
    ///
    /// # Errors
    /// As [`FlowTransformer::load`].
    pub fn from_source(
        config: N::Config,
        source: &dyn TensorSource,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, DiffusionError> {
        N::check(&config)?;
        let loader = Loader::from_source(source, device, dtype);
        let net = N::build(&loader, &config);
        loader.finish(|_| false)?;
        Ok(Self::with(config, net, device, dtype))
    }

    /// A model whose tensors are made by `init` from their names and shapes.
    ///
    /// # Errors
    /// The configuration does not hold together.
    pub fn fresh(
        config: N::Config,
        init: &Init<'_>,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, DiffusionError> {
        N::check(&config)?;
        let loader = Loader::fresh(init, device, dtype);
        let net = N::build(&loader, &config);
        Ok(Self::with(config, net, device, dtype))
    }

    /// A model of this shape that holds no weights: for questions about its layers.
    ///
    /// # Errors
    /// The configuration does not hold together.
    pub fn outline(config: &N::Config) -> Result<Self, DiffusionError> {
        N::check(config)?;
        let loader = Loader::shapes_only(&cpu_device(), DType::F32);
        let net = N::build(&loader, config);
        Ok(Self::with(config.clone(), net, &cpu_device(), DType::F32))
    }

    /// Names and shapes of all tensors of a checkpoint. Nothing of their size is allocated.
    ///
    /// # Errors
    /// The configuration does not hold together.
    pub fn tensors(config: &N::Config) -> Result<BTreeMap<String, Vec<usize>>, DiffusionError> {
        N::check(config)?;
        let loader = Loader::shapes_only(&cpu_device(), DType::F32);
        N::build(&loader, config);
        Ok(loader.shapes())
    }

    fn with(config: N::Config, net: N, device: &Device, dtype: DType) -> Self {
        Self {
            config,
            net,
            trainable: TrainableSet::default(),
            device: device.clone(),
            dtype,
            options: N::Options::default(),
            lora: None,
        }
    }

    /// Sizes.
    pub fn config(&self) -> &N::Config {
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
    /// As [`FlowTransformer::match_adapter`].
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

    fn pass(&self, adapter: AdapterPass, stem_trains: bool) -> Pass<N::Options> {
        Pass {
            adapter,
            options: self.options,
            stem_trains,
        }
    }

    /// Velocities of all samples as latents.
    fn latents(&self, batch: &N::Batch, velocity: Tensor<2>) -> Result<Vec<Latent>, NnError> {
        let values = velocity
            .cast(DType::F32)
            .into_data()
            .try_into_vec::<f32>()
            .map_err(|e| NnError::input(format!("velocities cannot be read: {e:?}")))?;
        Ok(N::unpack(&values, batch, &self.config))
    }
}

impl<N: FlowNetwork> Trainable for FlowTransformer<N> {
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

impl<N: FlowNetwork> VelocityModel for FlowTransformer<N> {
    fn velocity(&self, rows: &[FlowRow], adapter: AdapterState) -> Result<Vec<Latent>, NnError> {
        let adapter = match adapter {
            AdapterState::On => AdapterPass::EVAL,
            AdapterState::Off => AdapterPass::OFF,
        };
        let pass = self.pass(adapter, false);
        let batch = N::batch(rows, &self.config, &self.device, self.dtype)?;
        let mut x = N::run_stem(&self.net.stem(), N::tokens(&batch), &batch, &pass);
        let blocks = self.net.blocks();
        for (i, block) in blocks.iter().enumerate() {
            x = N::run_block(block, x, &batch, &pass, i + 1 == blocks.len());
        }
        self.latents(&batch, N::run_head(&self.net.head(), x, &batch, &pass))
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

/// All linear layers of a network, in order.
pub(crate) type Linears<'a> = Vec<&'a mut LoraLinear>;
