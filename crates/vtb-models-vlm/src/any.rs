//! Whichever model a directory holds.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor};
use vtb_lora::{Adapter, Factors, LoraConfig, MatchReport, ModuleFilter};
use vtb_nn::NnError;
use vtb_nn::checkpoint::TensorSource;
use vtb_nn::lm::{
    BackwardOptions, CausalLm, Completion, LmRow, LogpGradient, NamedTensors, ParamInfo,
    PassReport, SampleOptions, ScoreOptions, TokenScores,
};
use vtb_nn::trainable::Trainable;

use crate::VlmError;
use crate::config::AnyVlmConfig;
use crate::encode::RowEncoder;
use crate::files::ModelDir;
use crate::model::FullTraining;
use crate::qwen2_5_vl::Qwen2_5Vl;
use crate::qwen3_vl::Qwen3Vl;

/// A model of any family here, by the `model_type` of its `config.json`.
#[derive(Debug, Clone)]
pub enum AnyVlm {
    /// Qwen3-VL.
    Qwen3(Qwen3Vl),
    /// Qwen2.5-VL.
    Qwen2_5(Qwen2_5Vl),
}

/// The same expression for every family.
macro_rules! each {
    ($any:expr, $model:ident => $body:expr) => {
        match $any {
            AnyVlm::Qwen3($model) => $body,
            AnyVlm::Qwen2_5($model) => $body,
        }
    };
}

impl AnyVlm {
    /// Loads a model directory.
    ///
    /// # Errors
    /// As [`Vlm::load`](crate::model::Vlm::load); also a `model_type` there is no code for.
    pub fn load(dir: impl AsRef<Path>, device: &Device, dtype: DType) -> Result<Self, VlmError> {
        let dir = dir.as_ref();
        match AnyVlmConfig::from_dir(&ModelDir::open(dir)?)? {
            AnyVlmConfig::Qwen3(_) => Ok(Self::Qwen3(Qwen3Vl::load(dir, device, dtype)?)),
            AnyVlmConfig::Qwen2_5(_) => Ok(Self::Qwen2_5(Qwen2_5Vl::load(dir, device, dtype)?)),
        }
    }

    /// A model of this configuration with the weights of `source`, under their published names.
    ///
    /// # Errors
    /// As [`Vlm::from_source`](crate::model::Vlm::from_source).
    pub fn from_source(
        config: AnyVlmConfig,
        source: &dyn TensorSource,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, VlmError> {
        Ok(match config {
            AnyVlmConfig::Qwen3(config) => {
                Self::Qwen3(Qwen3Vl::from_source(config, source, device, dtype)?)
            }
            AnyVlmConfig::Qwen2_5(config) => {
                Self::Qwen2_5(Qwen2_5Vl::from_source(config, source, device, dtype)?)
            }
        })
    }

    /// Logits in f32 of every position, rows one after another, `[tokens, vocab]`.
    ///
    /// # Errors
    /// A row that does not fit the model.
    pub fn logits(&self, rows: &[LmRow]) -> Result<Tensor<2>, NnError> {
        each!(self, m => m.logits(rows))
    }

    /// Tokenizer, template and picture settings of the directory the model came from.
    ///
    /// # Errors
    /// As [`RowEncoder::from_dir`].
    pub fn encoder(&self, dir: &ModelDir) -> Result<RowEncoder, VlmError> {
        self.config().encoder(dir)
    }

    /// Writes `config.json` and the weights (without adapters) in the layout `transformers` reads.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), VlmError> {
        each!(self, m => m.save(dir))
    }

    /// Sizes and ids.
    pub fn config(&self) -> AnyVlmConfig {
        match self {
            Self::Qwen3(m) => AnyVlmConfig::Qwen3(m.config().clone()),
            Self::Qwen2_5(m) => AnyVlmConfig::Qwen2_5(m.config().clone()),
        }
    }

    /// Number of parameters, adapters included.
    pub fn parameters(&self) -> u64 {
        each!(self, m => m.parameters())
    }

    /// Trains the model's own weights from here on.
    pub fn train_full(&mut self, what: FullTraining) {
        each!(self, m => m.train_full(what));
    }

    /// Which layers an adapter sits on where nobody says otherwise: the seven projections of the decoder, and no layer
    /// of the vision tower.
    pub fn decoder_targets(&self) -> ModuleFilter {
        self.config().decoder_targets()
    }

    /// Attaches fresh adapters where `lora` says and trains them alone.
    pub fn attach_adapter(
        &mut self,
        lora: &LoraConfig,
        seed: u64,
    ) -> Result<MatchReport, VlmError> {
        each!(self, m => m.attach_adapter(lora, seed))
    }

    /// Which layers `lora` would adapt.
    pub fn match_adapter(&mut self, lora: &LoraConfig) -> Result<MatchReport, VlmError> {
        each!(self, m => m.match_adapter(lora))
    }

    /// Attaches the factors of an adapter read from a file. Every factor must find its layer.
    pub fn load_adapter(&mut self, adapter: Adapter, origin: &Path) -> Result<(), VlmError> {
        each!(self, m => m.load_adapter(adapter, origin))
    }

    /// The factors of every adapted layer, by module path.
    pub fn adapter_factors(&self) -> BTreeMap<String, Factors> {
        each!(self, m => m.adapter_factors())
    }

    /// Settings of the attached adapter, if there is one.
    pub fn adapter_config(&self) -> Option<&LoraConfig> {
        each!(self, m => m.adapter_config())
    }

    /// Adds every adapter into its base weight and drops it.
    pub fn merge_adapter(&mut self) {
        each!(self, m => m.merge_adapter());
    }
}

impl CausalLm for AnyVlm {
    fn token_scores(
        &self,
        rows: &[LmRow],
        options: &ScoreOptions,
    ) -> Result<Vec<TokenScores>, NnError> {
        each!(self, m => m.token_scores(rows, options))
    }

    fn backward(
        &self,
        rows: &[LmRow],
        options: &BackwardOptions,
        objective: &mut LogpGradient<'_>,
    ) -> Result<NamedTensors, NnError> {
        each!(self, m => m.backward(rows, options, objective))
    }

    fn backward_with_report(
        &self,
        rows: &[LmRow],
        options: &BackwardOptions,
        objective: &mut LogpGradient<'_>,
    ) -> Result<(NamedTensors, PassReport), NnError> {
        each!(self, m => m.backward_with_report(rows, options, objective))
    }

    fn generate(
        &self,
        rows: &[LmRow],
        options: &SampleOptions,
        seeds: &[u64],
    ) -> Result<Vec<Completion>, NnError> {
        each!(self, m => m.generate(rows, options, seeds))
    }

    fn write_adapter(&self, dir: &Path, base_model: &str) -> Result<(), NnError> {
        each!(self, m => m.write_adapter(dir, base_model))
    }
}

impl Trainable for AnyVlm {
    fn trainable(&self) -> Vec<ParamInfo> {
        each!(self, m => m.trainable())
    }

    fn trainable_values(&self) -> NamedTensors {
        each!(self, m => m.trainable_values())
    }

    fn set_trainable(&mut self, values: NamedTensors) -> Result<(), NnError> {
        each!(self, m => m.set_trainable(values))
    }
}
