//! Qwen3-VL with a dense decoder: loading, saving, adapters, and the passes of [`CausalLm`].

mod layers;
mod packing;
mod plan;
mod score;
mod text;
mod train;
mod vision;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use vtb_lora::{Adapter, Factors, LoraConfig, LoraLinear, MatchReport, match_targets};
use vtb_nn::NnError;
use vtb_nn::checkpoint::{Checkpoint, TensorInfo, TensorSource, save_sharded};
use vtb_nn::lm::{
    BackwardOptions, CausalLm, Completion, LmRow, LogpGradient, NamedTensors, ParamInfo,
    SampleOptions, ScoreOptions, TokenScores,
};
use vtb_nn::loader::Loader;
use vtb_nn::params::{replace_params, visit_params};

pub use layers::{LayerNorm, RmsNorm, Table};
pub use packing::Packing;
pub(crate) use packing::indices;
pub use plan::BatchPlan;
pub(crate) use plan::text_rope;
pub use score::VisionTrace;
pub use text::{DecoderLayer, LanguageModel, TextContext};
pub use vision::{VisionContext, VisionTower};

use crate::VlmError;
use crate::config::Qwen3VlConfig;
use crate::files::ModelDir;

/// Shards of a saved model are at most this large.
const SHARD_BYTES: u64 = 5_000_000_000;

/// The module tree; paths are the published tensor names.
#[derive(Module, Debug)]
pub struct Network {
    /// Vision tower and decoder.
    pub model: Backbone,
    /// Output head of untied models.
    pub lm_head: Option<LoraLinear>,
}

/// Vision tower and decoder.
#[derive(Module, Debug)]
pub struct Backbone {
    /// The vision tower.
    pub visual: VisionTower,
    /// The decoder.
    pub language_model: LanguageModel,
}

/// Which parameters train when no adapter is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullTraining {
    /// Everything.
    Everything,
    /// The decoder, its embeddings and head; the vision tower stays frozen.
    Language,
}

/// A Qwen3-VL model on a device. It rests outside autodiff; training passes lift what trains, block by block.
#[derive(Debug, Clone)]
pub struct Qwen3Vl {
    config: Qwen3VlConfig,
    net: Network,
    trainable: BTreeSet<String>,
    /// Settings of the attached adapter.
    lora: Option<LoraConfig>,
    device: Device,
}

impl Network {
    fn load(loader: &Loader<'_>, c: &Qwen3VlConfig) -> Self {
        let untied = !c.tie && loader.has("lm_head.weight") != Some(false);
        Self {
            model: Backbone {
                visual: VisionTower::load(&loader.pp("model.visual"), &c.vision),
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

impl Qwen3Vl {
    /// Loads a model directory: `config.json` and safetensors, one file or shards.
    ///
    /// # Errors
    /// A missing file, a configuration that does not hold together, or any tensor that is missing, misshapen or
    /// unknown: all of them are listed.
    pub fn load(dir: impl AsRef<Path>, device: &Device, dtype: DType) -> Result<Self, VlmError> {
        let config = Qwen3VlConfig::from_dir(&ModelDir::open(dir.as_ref())?)?;
        Self::from_source(config, &Checkpoint::open(dir.as_ref())?, device, dtype)
    }

    /// Takes the weights from `source`, under their published names.
    ///
    /// # Errors
    /// As [`Qwen3Vl::load`].
    pub fn from_source(
        config: Qwen3VlConfig,
        source: &dyn TensorSource,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, VlmError> {
        let loader = Loader::from_source(source, device, dtype);
        let net = Network::load(&loader, &config);
        // A tied head may be stored as well: it repeats the embedding.
        loader.finish(|name| name == "lm_head.weight")?;
        Ok(Self {
            config,
            net,
            trainable: BTreeSet::new(),
            lora: None,
            device: device.clone(),
        })
    }

    /// A model with fresh weights: matrices and tables normal with the configured deviation, gains 1, biases 0.
    pub fn fresh(
        config: Qwen3VlConfig,
        seed: u64,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, VlmError> {
        config.validate()?;
        let std = config.text.initializer_range as f32;
        let init = |path: &str, shape: &[usize]| -> Vec<f32> {
            let len = shape.iter().product();
            if shape.len() > 1 {
                return normals(seed, path, len).map(|x| x * std).collect();
            }
            vec![if path.ends_with("weight") { 1.0 } else { 0.0 }; len]
        };
        let loader = Loader::fresh(&init, device, dtype);
        let net = Network::load(&loader, &config);
        Ok(Self {
            config,
            net,
            trainable: BTreeSet::new(),
            lora: None,
            device: device.clone(),
        })
    }

    /// Writes `config.json` and the weights (without adapters) in the layout `transformers` reads.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), VlmError> {
        self.config.write(dir.as_ref())?;
        let weights = Weights::of(&self.net);
        save_sharded(dir.as_ref(), &weights, SHARD_BYTES, &BTreeMap::new())?;
        Ok(())
    }

    /// Sizes and ids.
    pub fn config(&self) -> &Qwen3VlConfig {
        &self.config
    }

    /// Where the model lives.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The module tree.
    pub fn network(&self) -> &Network {
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
        let mut names = BTreeSet::new();
        visit_params(&self.net, "", |path, _, _| {
            if what == FullTraining::Everything || !path.starts_with("model.visual.") {
                names.insert(path);
            }
        });
        self.trainable = names;
    }

    /// Attaches fresh adapters where `lora` says and trains them alone.
    pub fn attach_adapter(
        &mut self,
        lora: &LoraConfig,
        seed: u64,
    ) -> Result<MatchReport, VlmError> {
        let report = self.match_adapter(lora)?;
        let matched: BTreeSet<&str> = report
            .matches
            .iter()
            .map(|m| m.linear.path.as_str())
            .collect();
        for linear in self.net.linears_mut() {
            if matched.contains(linear.path()) {
                linear.attach_fresh(lora, seed)?;
            }
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
        Ok(match_targets(&infos, lora)?)
    }

    /// Attaches the factors of an adapter read from a file. Every factor must find its layer.
    pub fn load_adapter(&mut self, adapter: Adapter, origin: &Path) -> Result<(), VlmError> {
        let infos: Vec<_> = self
            .net
            .linears_mut()
            .iter()
            .map(|l| l.info(false))
            .collect();
        let mut adapter = adapter.fit(&infos, origin)?;
        for linear in self.net.linears_mut() {
            if let Some(factors) = adapter.factors.remove(linear.path()) {
                linear.attach(&adapter.config, factors)?;
            }
        }
        self.lora = Some(adapter.config);
        self.train_adapter();
        Ok(())
    }

    /// The factors of every adapted layer, by module path.
    pub fn adapter_factors(&self) -> BTreeMap<String, Factors> {
        let mut net = self.net.clone();
        let factors = net.linears_mut().into_iter();
        factors
            .filter_map(|l| Some((l.path().to_owned(), l.factors()?)))
            .collect()
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
        self.lora = None;
        self.trainable.clear();
    }

    fn train_adapter(&mut self) {
        let mut names = BTreeSet::new();
        visit_params(&self.net, "", |path, _, _| {
            if path.ends_with(".lora_A.weight") || path.ends_with(".lora_B.weight") {
                names.insert(path);
            }
        });
        self.trainable = names;
    }

    fn trains(&self, path: &str) -> bool {
        self.trainable.contains(path)
    }

    /// Whether any trainable parameter lies below `prefix`.
    fn trains_below(&self, prefix: &str) -> bool {
        let first = self.trainable.range(prefix.to_owned()..).next();
        first.is_some_and(|name| name.starts_with(prefix))
    }
}

impl CausalLm for Qwen3Vl {
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

    fn trainable(&self) -> Vec<ParamInfo> {
        let mut infos = Vec::new();
        visit_params(&self.net, "", |name, _, shape| {
            if self.trains(&name) {
                let decay = shape.len() > 1;
                infos.push(ParamInfo { name, shape, decay });
            }
        });
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    fn trainable_values(&self) -> NamedTensors {
        let mut values = NamedTensors::new();
        visit_params(&self.net, "", |name, value, _| {
            if self.trains(&name) {
                values.insert(name, value.cast(DType::F32));
            }
        });
        values
    }

    fn set_trainable(&mut self, mut values: NamedTensors) -> Result<(), NnError> {
        for info in self.trainable() {
            let expected: usize = info.shape.iter().product();
            if let Some(value) = values.get(&info.name)
                && value.dims()[0] != expected
            {
                return Err(NnError::Shape {
                    name: info.name,
                    origin: "the update".into(),
                    found: value.dims().to_vec(),
                    expected: info.shape,
                });
            }
        }
        if let Some(name) = values.keys().find(|name| !self.trains(name)) {
            return Err(NnError::input(format!(
                "`{name}` is not a trainable parameter of this model"
            )));
        }
        self.net = replace_params(self.net.clone(), "", |path| values.remove(path));
        Ok(())
    }
}

/// The base weights as a source for the checkpoint writer.
struct Weights {
    tensors: BTreeMap<String, (Tensor<1>, Vec<usize>)>,
}

impl Weights {
    fn of(net: &Network) -> Self {
        let mut tensors = BTreeMap::new();
        visit_params(net, "", |name, values, shape| {
            if !name.contains(".lora_") {
                tensors.insert(name, (values, shape));
            }
        });
        Self { tensors }
    }
}

impl TensorSource for Weights {
    fn origin(&self) -> String {
        "the model in memory".into()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let (values, shape) = self.tensors.get(name)?;
        Some(TensorInfo {
            dtype: values.dtype(),
            shape: shape.clone(),
        })
    }

    fn load(&self, name: &str) -> Result<TensorData, NnError> {
        let (values, shape) = self.tensors.get(name).ok_or_else(|| NnError::Missing {
            name: name.to_owned(),
            origin: self.origin(),
        })?;
        let data = values.clone().into_data();
        let dtype = data.dtype();
        Ok(TensorData::from_bytes_vec(
            data.as_bytes().to_vec(),
            shape.clone(),
            dtype,
        ))
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }
}

/// Standard normal numbers (Box-Muller) of a stream named by seed and path.
fn normals(seed: u64, path: &str, len: usize) -> impl Iterator<Item = f32> {
    use sha2::{Digest, Sha256};
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(path)
        .finalize();
    let mut rng = ChaCha8Rng::from_seed(digest.into());
    (0..len).map(move |_| {
        let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
        ((-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()) as f32
    })
}
