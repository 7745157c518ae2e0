//! The joint between a family's layers and the model made of them.

use std::fmt::Debug;
use std::path::Path;

use burn::module::Module;
use burn::tensor::{DType, Device, Tensor};
use vtb_lora::{AdapterPass, LoraLinear};
use vtb_nn::NnError;
use vtb_nn::loader::Loader;
use vtb_nn::velocity::{FlowRow, Latent, TextStates};

use crate::DiffusionError;

/// How a pass runs.
#[derive(Debug, Clone, Copy)]
pub struct Pass<O> {
    /// Adapters and their dropout.
    pub adapter: AdapterPass,
    /// Options of the family.
    pub options: O,
    /// Whether anything before the blocks trains. If nothing does, what the blocks only look at needs no gradient.
    pub stem_trains: bool,
}

impl<O> Pass<O> {
    /// `x`, outside the graph unless something before the blocks trains.
    pub fn condition(&self, x: Tensor<2>) -> Tensor<2> {
        match self.stem_trains {
            true => x,
            false => x.detach(),
        }
    }
}

/// The layers of a family, by the names of diffusers: a stem, blocks that are run one after the other, and a head. What
/// passes between them is one tensor of rows; a family decides what its rows are.
pub trait FlowNetwork: Module {
    /// Sizes.
    type Config: Clone + Debug;
    /// What a published file does not say.
    type Options: Copy + Default + Debug;
    /// Everything of a batch that does not depend on weights.
    type Batch;
    /// What comes before the blocks.
    type Stem: Module;
    /// A block.
    type Block: Module;
    /// What comes after them.
    type Head: Module;

    /// Name of the list of blocks.
    const BLOCKS: &'static str;
    /// Places of the parameters of the stem.
    const STEM: &'static [&'static str];

    /// Reads and checks the configuration in a folder.
    ///
    /// # Errors
    /// It is missing, malformed, or of another model.
    fn read_config(dir: &Path) -> Result<Self::Config, DiffusionError>;

    /// Checks sizes that were not read from a file.
    ///
    /// # Errors
    /// They do not go together.
    fn check(config: &Self::Config) -> Result<(), DiffusionError>;

    /// Asks `loader` for every tensor.
    fn build(loader: &Loader<'_>, config: &Self::Config) -> Self;

    /// All linear layers.
    fn linears_mut(&mut self) -> Vec<&mut LoraLinear>;

    /// The part before the blocks; shares its tensors with `self`.
    fn stem(&self) -> Self::Stem;

    /// The blocks.
    fn blocks(&self) -> &[Self::Block];

    /// The part after the blocks; shares its tensors with `self`.
    fn head(&self) -> Self::Head;

    /// Plans a batch and puts it on the device.
    ///
    /// # Errors
    /// A row that does not fit the model, named by its place in the batch.
    fn batch(
        rows: &[FlowRow],
        config: &Self::Config,
        device: &Device,
        dtype: DType,
    ) -> Result<Self::Batch, NnError>;

    /// The input of the stem.
    fn tokens(batch: &Self::Batch) -> Tensor<2>;

    /// From tokens to the rows of the first block.
    fn run_stem(
        stem: &Self::Stem,
        tokens: Tensor<2>,
        batch: &Self::Batch,
        pass: &Pass<Self::Options>,
    ) -> Tensor<2>;

    /// Rows to rows. The last block may leave out what the head does not read.
    fn run_block(
        block: &Self::Block,
        x: Tensor<2>,
        batch: &Self::Batch,
        pass: &Pass<Self::Options>,
        last: bool,
    ) -> Tensor<2>;

    /// Rows to the velocities of all tokens.
    fn run_head(
        head: &Self::Head,
        x: Tensor<2>,
        batch: &Self::Batch,
        pass: &Pass<Self::Options>,
    ) -> Tensor<2>;

    /// Velocities of tokens, row-major, as latents.
    fn unpack(values: &[f32], batch: &Self::Batch, config: &Self::Config) -> Vec<Latent>;

    /// The inverse: appends a latent's derivative in the order of the head's output.
    fn pack(latent: &Latent, config: &Self::Config, into: &mut Vec<f32>);
}

/// A place in a published list that holds no parameters: an activation, a dropout.
#[derive(Module, Debug)]
pub struct Nothing {}

/// `x·sigmoid(x)`, in f32.
pub(crate) fn silu(x: Tensor<2>) -> Tensor<2> {
    let dtype = x.dtype();
    burn::tensor::activation::silu(x.cast(DType::F32)).cast(dtype)
}

/// Joins rows; a single part is not copied.
pub(crate) fn cat<const D: usize>(mut parts: Vec<Tensor<D>>) -> Tensor<D> {
    match parts.len() {
        1 => parts.remove(0),
        _ => Tensor::cat(parts, 0),
    }
}

/// Checks noise level and text states of a row against the width a model has.
///
/// # Errors
/// They do not fit.
pub(crate) fn check_text(sigma: f32, text: &TextStates, width: usize) -> Result<(), NnError> {
    if !(0.0..=1.0).contains(&sigma) {
        return Err(NnError::input(format!(
            "the noise level {sigma} must lie in 0..=1"
        )));
    }
    if text.rows == 0 || text.width != width || text.values.len() != text.rows * width {
        return Err(NnError::input(format!(
            "text states of shape [{}, {}] with {} values do not fit: expected [tokens, {width}]",
            text.rows,
            text.width,
            text.values.len()
        )));
    }
    Ok(())
}
