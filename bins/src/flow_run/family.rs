//! What differs between the models that learn by flow matching.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use image::RgbImage;
use vtb_lora::{Adapter, AdapterHeader, Factors, LinearInfo, LoraConfig, LoraError, MatchReport};
use vtb_models_diffusion::cache::{Key, TensorCache};
use vtb_models_diffusion::transformer::{FlowNetwork, FlowTransformer};
use vtb_nn::velocity::{FlowCondition, Latent, TextStates, VelocityModel};
use vtb_puzzle::judge::PictureJudge;

use super::rows::{Asked, Media, Row};
use super::settings::{DataKeys, FlowRun, ModelKeys, SampleSection, Section};
use crate::model::Machine;
use crate::plan::Plan;

/// Settings of a family.
pub type Run<F> =
    FlowRun<<F as Family>::Model, <F as Family>::Data, <F as Family>::Sampler, <F as Family>::Demo>;
/// A row of a family.
pub(super) type RowOf<F> = Row<<F as Family>::Media>;
/// What a family encodes.
pub(super) type ItemOf<F> = <<F as Family>::Media as Media>::Item;

/// Generated data and where it lies.
pub struct DemoData {
    /// Rows to train on.
    pub train: PathBuf,
    /// Held-out rows.
    pub eval: PathBuf,
    /// Held-out puzzles, whose records judge previews.
    pub judge: PathBuf,
}

/// Where a preview begins.
pub struct Start<'a> {
    /// Prompt, references, clean frames.
    pub condition: FlowCondition,
    /// What it is to be unlike, where there is guidance.
    pub negative: Option<TextStates>,
    /// Shape of the latent.
    pub shape: [usize; 4],
    /// Encoded prompts and samples.
    pub cache: &'a TensorCache,
}

/// What became of a preview.
pub struct Looked {
    /// Pictures of its line of the sheet.
    pub tiles: Vec<RgbImage>,
    /// Likeness to the target, dB.
    pub psnr: f64,
}

/// A model that learns by flow matching, and what it learns from. A value knows the model's files and everything that
/// decides how rows are encoded.
pub trait Family: Sized + 'static {
    /// Name of the program.
    const PROGRAM: &'static str;
    /// Name shown while it runs.
    const PHASE: &'static str;
    /// Names of files of rows in a folder.
    const ROWS: &'static [&'static str];
    /// Names of files of held-out rows in a folder.
    const EVAL_ROWS: &'static [&'static str];
    /// What is encoded beside prompts, one and several.
    const ITEM: [&'static str; 2];
    /// The model that is made where none is named.
    const MADE: &'static str;

    /// Which model, where and how precise.
    type Model: ModelKeys;
    /// Training and held-out rows.
    type Data: DataKeys;
    /// How previews are sampled.
    type Sampler: Section + Default;
    /// The run without a model of one's own.
    type Demo: Section;
    /// A model directory that was looked at.
    type Dir: Clone;
    /// What trains.
    type Net: Adapted + 'static;
    /// The text encoder.
    type Texts;
    /// The autoencoder.
    type Vae;
    /// What a row shows.
    type Media: Media;
    /// What is drawn again and again.
    type Preview;

    /// Defaults; those of the default run where `demo` is set, those for real models otherwise.
    fn defaults(demo: bool) -> Run<Self>;
    /// Settings of its own that make no sense.
    fn faults(run: &Run<Self>) -> Vec<String>;
    /// What the run without data of one's own makes.
    fn made_data(run: &Run<Self>) -> String;
    /// Reads a file of rows for the plan, and adds what there is to say of it.
    ///
    /// # Errors
    /// The file, or what it names, cannot be read.
    fn plan_rows(run: &Run<Self>, name: &str, file: &Path, plan: &mut Plan) -> anyhow::Result<()>;
    /// Makes puzzles below `dir`. What is there already stays.
    ///
    /// # Errors
    /// They cannot be made.
    fn make_data(run: &Run<Self>, dir: &Path) -> anyhow::Result<DemoData>;
    /// Writes a tiny model directory with fresh weights, unless one is there.
    ///
    /// # Errors
    /// It cannot be written.
    fn make_model(dir: &Path, rows: &Path, seed: u64) -> anyhow::Result<()>;
    /// Looks at a model directory.
    ///
    /// # Errors
    /// A part is missing.
    fn look(path: &Path) -> anyhow::Result<Self::Dir>;
    /// The transformer without weights.
    ///
    /// # Errors
    /// A configuration that makes no sense.
    fn outline(dir: &Self::Dir) -> anyhow::Result<Self::Net>;
    /// Parameters of the transformer.
    ///
    /// # Errors
    /// As [`Family::outline`].
    fn parameters(dir: &Self::Dir) -> anyhow::Result<usize>;

    /// Puts together what decides how rows are encoded. `precision` is the text encoder's.
    ///
    /// # Errors
    /// A file of the encoders cannot be read.
    fn open(run: &Run<Self>, dir: Self::Dir, precision: String) -> anyhow::Result<Self>;
    /// The model directory.
    fn root(&self) -> &Path;
    /// Hashes of the encoders' files.
    fn encoders(&self) -> String;
    /// Reads a file of rows and gives everything in it a name.
    ///
    /// # Errors
    /// A row cannot be used; it is named.
    fn read(&self, file: &Path, root: Option<&Path>) -> anyhow::Result<Vec<RowOf<Self>>>;
    /// Refuses rows that do not go together.
    ///
    /// # Errors
    /// Names them.
    fn refuse(&self, run: &Run<Self>, rows: &[&RowOf<Self>]) -> anyhow::Result<()>;
    /// The key of another prompt about what a row shows.
    fn key(&self, row: &RowOf<Self>, prompt: &str) -> Key;
    /// Channels of latents, and side of the squares that the transformer takes as tokens.
    fn channels_and_patch(&self) -> (usize, usize);
    /// What readers of the adapter want to know of this model; the hash of its weights among it.
    ///
    /// # Errors
    /// The weights cannot be read.
    fn header(&self, run: &Run<Self>) -> anyhow::Result<AdapterHeader>;

    /// Loads the text encoder.
    ///
    /// # Errors
    /// Weights are missing or do not fit.
    fn load_texts(&self, machine: &Machine) -> anyhow::Result<Self::Texts>;
    /// Loads the autoencoder, in f32.
    ///
    /// # Errors
    /// As [`Family::load_texts`].
    fn load_vae(&self, device: &Device) -> anyhow::Result<Self::Vae>;
    /// Loads the transformer.
    ///
    /// # Errors
    /// As [`Family::load_texts`].
    fn load_net(&self, run: &Run<Self>, machine: &Machine) -> anyhow::Result<Self::Net>;
    /// Encodes a prompt.
    ///
    /// # Errors
    /// It cannot be encoded; its row is named.
    fn encode_text(
        &self,
        texts: &Self::Texts,
        asked: &Asked<'_, Self::Media>,
    ) -> anyhow::Result<TextStates>;
    /// Encodes what a row shows.
    ///
    /// # Errors
    /// It cannot be read; it is named.
    fn encode_item(&self, vae: &Self::Vae, item: &ItemOf<Self>) -> anyhow::Result<Latent>;

    /// Gets a row ready to be drawn.
    ///
    /// # Errors
    /// What it shows cannot be read.
    fn preview(
        &self,
        run: &Run<Self>,
        row: &RowOf<Self>,
        start: Start<'_>,
    ) -> anyhow::Result<Self::Preview>;
    /// Draws a row from `noise`: a picture, or the frames of a clip.
    ///
    /// # Errors
    /// A value is not finite.
    fn draw(
        &self,
        preview: &Self::Preview,
        samples: &SampleSection,
        net: &Self::Net,
        vae: &Self::Vae,
        noise: Latent,
    ) -> anyhow::Result<Vec<RgbImage>>;
    /// Writes what was drawn to `place`, whose ending it adds, and compares it with the target.
    ///
    /// # Errors
    /// It cannot be written.
    fn show(
        &self,
        preview: &Self::Preview,
        drawn: &[RgbImage],
        place: &Path,
    ) -> anyhow::Result<Looked>;
    /// Whether what was drawn is right, and how near it came.
    fn judge(judge: PictureJudge, drawn: &[RgbImage]) -> (bool, f64);
}

/// A transformer that takes an adapter.
pub trait Adapted: VelocityModel {
    /// Every linear layer.
    fn linears(&self) -> Vec<LinearInfo>;
    /// The layers that an adapter would sit on.
    ///
    /// # Errors
    /// Its targets match nothing.
    fn match_adapter(&self, lora: &LoraConfig) -> Result<MatchReport, LoraError>;
    /// Attaches a fresh adapter.
    ///
    /// # Errors
    /// As [`Adapted::match_adapter`].
    fn attach_adapter(&mut self, lora: &LoraConfig, seed: u64) -> Result<MatchReport, LoraError>;
    /// Attaches an adapter that was read.
    ///
    /// # Errors
    /// It does not fit.
    fn load_adapter(&mut self, adapter: Adapter, origin: &Path) -> Result<(), LoraError>;
    /// Its factors by layer.
    fn adapter_factors(&self) -> BTreeMap<String, Factors>;
    /// Its settings.
    fn adapter_config(&self) -> Option<&LoraConfig>;
}

impl<N: FlowNetwork> Adapted for FlowTransformer<N> {
    fn linears(&self) -> Vec<LinearInfo> {
        Self::linears(self)
    }

    fn match_adapter(&self, lora: &LoraConfig) -> Result<MatchReport, LoraError> {
        Self::match_adapter(self, lora)
    }

    fn attach_adapter(&mut self, lora: &LoraConfig, seed: u64) -> Result<MatchReport, LoraError> {
        Self::attach_adapter(self, lora, seed)
    }

    fn load_adapter(&mut self, adapter: Adapter, origin: &Path) -> Result<(), LoraError> {
        Self::load_adapter(self, adapter, origin)
    }

    fn adapter_factors(&self) -> BTreeMap<String, Factors> {
        Self::adapter_factors(self)
    }

    fn adapter_config(&self) -> Option<&LoraConfig> {
        Self::adapter_config(self)
    }
}
