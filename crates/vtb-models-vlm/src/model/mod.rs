//! A decoder, dense or with experts, with a vision tower: loading, saving, adapters, and the passes of [`CausalLm`], for
//! every tower that implements [`Tower`].

mod experts;
mod layers;
mod packing;
mod patches;
mod plan;
mod score;
mod text;
mod tower;
mod train;
mod weights;

use std::collections::BTreeMap;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use vtb_lora::{
    Adapter, Factors, LoraConfig, LoraLinear, MatchReport, attach, match_targets, write_adapter,
};
use vtb_nn::NnError;
use vtb_nn::checkpoint::{Checkpoint, RenamedSource, TensorSource, save_sharded};
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{
    BackwardOptions, CausalLm, Completion, LmRow, LogpGradient, NamedTensors, ParamInfo,
    PassReport, SampleOptions, ScoreOptions, TokenScores,
};
use vtb_nn::loader::Loader;
use vtb_nn::params::visit_params;
use vtb_nn::random;
use vtb_nn::trainable::{Trainable, TrainableSet};

pub use experts::{Experts, Router, SparseMlp};
pub use layers::{LayerNorm, RmsNorm, Table};
pub use packing::Packing;
pub(crate) use packing::indices;
pub(crate) use patches::block_order;
pub use patches::{PatchConv, PatchEmbed, VisionAttention};
pub use plan::BatchPlan;
pub(crate) use plan::text_rope;
pub use score::VisionTrace;
pub use text::{DecoderLayer, FeedForward, LanguageModel, TextContext};
pub use tower::{DECODER_PROJECTIONS, Tower};

use crate::VlmError;
use crate::config::{TowerConfig, VlmConfig};
use crate::files::ModelDir;

/// Shards of a saved model are at most this large.
const SHARD_BYTES: u64 = 5_000_000_000;

/// The module tree; paths are the published tensor names.
#[derive(Module, Debug)]
pub struct Network<T: Module> {
    /// Vision tower and decoder.
    pub model: Backbone<T>,
    /// Output head of untied models.
    pub lm_head: Option<LoraLinear>,
}

/// Vision tower and decoder.
#[derive(Module, Debug)]
pub struct Backbone<T: Module> {
    /// The vision tower.
    pub visual: T,
    /// The decoder.
    pub language_model: LanguageModel,
}

/// Which parts train when no adapter is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FullTraining {
    /// The decoder, its embeddings and head.
    pub language: bool,
    /// The vision tower up to its mergers.
    pub vision: bool,
    /// The mergers, which bring pictures into the decoder's space.
    pub aligner: bool,
}

impl FullTraining {
    /// Everything.
    pub const EVERYTHING: Self = Self {
        language: true,
        vision: true,
        aligner: true,
    };
    /// The decoder, its embeddings and head; the vision tower and its mergers stay frozen.
    pub const LANGUAGE: Self = Self {
        language: true,
        vision: false,
        aligner: false,
    };

    /// Whether a parameter trains.
    pub(crate) fn trains(self, path: &str) -> bool {
        match path.strip_prefix("model.visual.") {
            None => self.language,
            Some(inner) if inner.starts_with("merger") || inner.starts_with("deepstack_merger") => {
                self.aligner
            }
            Some(_) => self.vision,
        }
    }
}

/// A model on a device, `T` its vision tower. It rests outside autodiff; training passes lift what trains, block by block.
#[derive(Debug, Clone)]
pub struct Vlm<T: Tower> {
    config: VlmConfig<T::Config>,
    net: Network<T>,
    trainable: TrainableSet,
    /// Settings of the attached adapter.
    lora: Option<LoraConfig>,
    device: Device,
}

impl<T: Tower> Network<T> {
    fn load(loader: &Loader<'_>, c: &VlmConfig<T::Config>, head: Head) -> Self {
        let untied = head == Head::Wanted && !c.tie && loader.has("lm_head.weight") != Some(false);
        Self {
            model: Backbone {
                visual: T::load(&loader.pp("model.visual"), &c.vision),
                language_model: LanguageModel::load(&loader.pp("model.language_model"), &c.text),
            },
            lm_head: untied.then(|| {
                LoraLinear::load(
                    &loader.pp("lm_head"),
                    c.text.hidden_size,
                    c.text.vocab_size,
                    false,
                )
            }),
        }
    }

    fn linears_mut(&mut self) -> Vec<&mut LoraLinear> {
        let mut all = self.model.visual.linears_mut();
        all.extend(self.model.language_model.linears_mut());
        all
    }

    /// Weight of the output head, `[vocab, width]`.
    pub(crate) fn head(&self) -> Tensor<2> {
        match &self.lm_head {
            Some(head) => head.weight.val(),
            None => self.model.language_model.embed_tokens.weight.val(),
        }
    }
}

/// Whether the output head is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// Scores and samples are wanted.
    Wanted,
    /// Hidden states are all that is wanted; a stored head is left where it is.
    Left,
}

impl<T: Tower> Vlm<T> {
    /// A model of this shape that holds no weights: for questions about its layers.
    pub(crate) fn outline(config: &VlmConfig<T::Config>) -> Result<Self, VlmError> {
        T::Config::validate(config)?;
        let loader = Loader::shapes_only(&cpu_device(), DType::F32);
        Ok(Self {
            config: config.clone(),
            net: Network::load(&loader, config, Head::Wanted),
            trainable: TrainableSet::default(),
            lora: None,
            device: cpu_device(),
        })
    }

    /// Paths and shapes of all parameters.
    pub(crate) fn parameter_shapes(
        config: &VlmConfig<T::Config>,
    ) -> Result<BTreeMap<String, Vec<usize>>, VlmError> {
        T::Config::validate(config)?;
        let loader = Loader::shapes_only(&cpu_device(), DType::F32);
        Network::<T>::load(&loader, config, Head::Wanted);
        Ok(loader.shapes())
    }

    /// Loads a model directory: `config.json` and safetensors, one file or shards.
    ///
    /// # Errors
    /// A missing file, a configuration that does not hold together, or any tensor that is missing, misshapen or
    /// unknown: all of them are listed.
    pub fn load(dir: impl AsRef<Path>, device: &Device, dtype: DType) -> Result<Self, VlmError> {
        Self::load_with(dir.as_ref(), device, dtype, Head::Wanted)
    }

    pub(crate) fn load_with(
        dir: &Path,
        device: &Device,
        dtype: DType,
        head: Head,
    ) -> Result<Self, VlmError> {
        let config = T::Config::from_dir(&ModelDir::open(dir)?)?;
        Self::read(config, &Checkpoint::open(dir)?, device, dtype, head)
    }

    /// Takes the weights from `source`, under their published names.
    ///
    /// # Errors
    /// As [`Vlm::load`].
    pub fn from_source(
        config: VlmConfig<T::Config>,
        source: &dyn TensorSource,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, VlmError> {
        Self::read(config, source, device, dtype, Head::Wanted)
    }

    fn read(
        config: VlmConfig<T::Config>,
        source: &dyn TensorSource,
        device: &Device,
        dtype: DType,
        head: Head,
    ) -> Result<Self, VlmError> {
        let renamed = RenamedSource::new(source, T::path_of)?;
        let loader = Loader::from_source(&renamed, device, dtype);
        let net = Network::load(&loader, &config, head);
        // A tied head may be stored as well: it repeats the embedding.
        loader.finish(|name| name == "lm_head.weight")?;
        Ok(Self {
            config,
            net,
            trainable: TrainableSet::default(),
            lora: None,
            device: device.clone(),
        })
    }

    /// A model with fresh weights: matrices and tables normal with the configured deviation, gains 1, biases 0.
    pub fn fresh(
        config: VlmConfig<T::Config>,
        seed: u64,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, VlmError> {
        T::Config::validate(&config)?;
        let std = config.text.initializer_range as f32;
        let init = |path: &str, shape: &[usize]| -> Vec<f32> {
            let len = shape.iter().product();
            if shape.len() > 1 {
                let mut rng = random::named(seed, path);
                return (0..len)
                    .map(|_| random::pair(&mut rng)[0] as f32 * std)
                    .collect();
            }
            vec![if path.ends_with("weight") { 1.0 } else { 0.0 }; len]
        };
        let loader = Loader::fresh(&init, device, dtype);
        let net = Network::load(&loader, &config, Head::Wanted);
        Ok(Self {
            config,
            net,
            trainable: TrainableSet::default(),
            lora: None,
            device: device.clone(),
        })
    }

    /// Writes `config.json` and the weights (without adapters) in the layout `transformers` reads.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), VlmError> {
        T::Config::write(&self.config, dir.as_ref())?;
        let weights = weights::Weights::of(&self.net, &self.config.text);
        save_sharded(dir.as_ref(), &weights, SHARD_BYTES, &BTreeMap::new())?;
        Ok(())
    }

    /// Sizes and ids.
    pub fn config(&self) -> &VlmConfig<T::Config> {
        &self.config
    }

    /// Where the model lives.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The module tree.
    pub fn network(&self) -> &Network<T> {
        &self.net
    }

    /// Number of parameters, adapters included.
    pub fn parameters(&self) -> u64 {
        let mut total = 0;
        visit_params(&self.net, "", |_, values, _| {
            total += values.dims()[0] as u64
        });
        total
    }

    /// Trains the model's own weights from here on.
    pub fn train_full(&mut self, what: FullTraining) {
        self.trainable = TrainableSet::of(&self.net, |path| what.trains(path));
    }

    /// Attaches fresh adapters where `lora` says and trains them alone.
    pub fn attach_adapter(
        &mut self,
        lora: &LoraConfig,
        seed: u64,
    ) -> Result<MatchReport, VlmError> {
        let report = self.match_adapter(lora)?;
        attach::attach_fresh(self.net.linears_mut(), &report, lora, seed)?;
        let device = self.device.clone();
        for experts in self.net.model.language_model.experts_mut() {
            experts.attach_fresh(lora, seed, &device)?;
        }
        self.lora = Some(lora.clone());
        self.train_adapter();
        Ok(report)
    }

    /// Which layers `lora` would adapt.
    pub fn match_adapter(&mut self, lora: &LoraConfig) -> Result<MatchReport, VlmError> {
        let mut infos: Vec<_> = self
            .net
            .linears_mut()
            .iter()
            .map(|l| l.info(false))
            .collect();
        infos.extend(self.net.lm_head.as_ref().map(|head| head.info(true)));
        let experts = self.net.model.language_model.experts_mut();
        let stacks: Vec<_> = experts.flat_map(|e| e.stacks()).collect();
        Ok(match_targets(&infos, &stacks, lora)?)
    }

    /// Attaches the factors of an adapter read from a file. Every factor must find its layer.
    pub fn load_adapter(&mut self, mut adapter: Adapter, origin: &Path) -> Result<(), VlmError> {
        self.refuse_router(&adapter, origin)?;
        let device = self.device.clone();
        for experts in self.net.model.language_model.experts_mut() {
            experts.attach(&adapter.config, &mut adapter.factors, &device)?;
        }
        self.lora = Some(attach::attach(self.net.linears_mut(), adapter, origin)?);
        self.train_adapter();
        Ok(())
    }

    /// Older programs adapt the router like any linear layer; here and in transformers 5 it is none.
    fn refuse_router(&self, adapter: &Adapter, origin: &Path) -> Result<(), VlmError> {
        let router = adapter.factors.keys().find(|p| p.ends_with(".mlp.gate"));
        match router.filter(|_| self.config.text.moe.is_some()) {
            Some(path) => Err(vtb_lora::LoraError::Adapter {
                path: origin.to_owned(),
                message: format!(
                    "adapts the router `{path}`, which is never adapted here; train it again without `gate` among its \
                     targets, or merge it in the program that made it"
                ),
            }
            .into()),
            None => Ok(()),
        }
    }

    /// The factors of every adapted layer, by module path; those of experts by the paths of peft's wrappers.
    pub fn adapter_factors(&self) -> BTreeMap<String, Factors> {
        let mut net = self.net.clone();
        let mut factors = attach::factors(net.linears_mut());
        let experts = net.model.language_model.experts_mut();
        factors.extend(experts.flat_map(|e| e.factors()));
        factors
    }

    /// Settings of the attached adapter, if there is one.
    pub fn adapter_config(&self) -> Option<&LoraConfig> {
        self.lora.as_ref()
    }

    /// Adds every adapter into its base weight and drops it.
    pub fn merge_adapter(&mut self) {
        for linear in self.net.linears_mut() {
            linear.merge();
        }
        for experts in self.net.model.language_model.experts_mut() {
            experts.merge();
        }
        self.lora = None;
        self.trainable.clear();
    }

    fn train_adapter(&mut self) {
        self.trainable = TrainableSet::adapters(&self.net);
    }

    fn trains(&self, path: &str) -> bool {
        self.trainable.contains(path)
    }

    /// Whether any trainable parameter lies below `prefix`.
    fn trains_below(&self, prefix: &str) -> bool {
        self.trainable.any_below(prefix)
    }
}

impl<T: Tower> CausalLm for Vlm<T> {
    fn token_scores(
        &self,
        rows: &[LmRow],
        options: &ScoreOptions,
    ) -> Result<Vec<TokenScores>, NnError> {
        score::token_scores(self, rows, options)
    }

    fn backward(
        &self,
        rows: &[LmRow],
        options: &BackwardOptions,
        objective: &mut LogpGradient<'_>,
    ) -> Result<NamedTensors, NnError> {
        Ok(self.backward_with_report(rows, options, objective)?.0)
    }

    fn backward_with_report(
        &self,
        rows: &[LmRow],
        options: &BackwardOptions,
        objective: &mut LogpGradient<'_>,
    ) -> Result<(NamedTensors, PassReport), NnError> {
        train::backward(self, rows, options, objective)
    }

    fn generate(
        &self,
        rows: &[LmRow],
        options: &SampleOptions,
        seeds: &[u64],
    ) -> Result<Vec<Completion>, NnError> {
        crate::generation::generate(self, rows, options, seeds)
    }

    fn write_adapter(&self, dir: &Path, base_model: &str) -> Result<(), NnError> {
        let Some(lora) = self.adapter_config() else {
            return Err(NnError::input(
                "the model has no adapter that could be written; attach one first",
            ));
        };
        write_adapter(dir, lora, base_model, &self.adapter_factors())
            .map_err(|fault| NnError::Other(Box::new(fault)))
    }
}

impl<T: Tower> Trainable for Vlm<T> {
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
