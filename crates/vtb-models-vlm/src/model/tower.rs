//! What the passes over a model need of its vision tower.

use burn::module::{Module, ModuleDisplay};
use burn::tensor::{Device, Tensor};
use vtb_lora::{AdapterPass, LoraLinear, ModuleFilter};
use vtb_nn::loader::Loader;

use crate::config::TowerConfig;

/// Names of the linear layers of a decoder layer.
pub const DECODER_PROJECTIONS: [&str; 7] = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
];

/// A vision tower: a stem, blocks one after the other, and mergers that make decoder tokens of the blocks' states.
///
/// Its parts are modules of their own so that a training pass can lift and recompute one at a time; they are run
/// through the functions here, which hand every part what a pass over a set of pictures shares.
pub trait Tower: Module + ModuleDisplay {
    /// Sizes, and how the model's `config.json` spells them.
    type Config: TowerConfig;
    /// What a pass over a set of pictures shares: rotations, masks, adapter state.
    type Context;
    /// Everything before the first block.
    type Stem: Module;
    /// One block.
    type Block: Module;
    /// States to decoder tokens.
    type Merger: Module;

    /// Takes its tensors from below the loader's place.
    fn load(loader: &Loader<'_>, config: &Self::Config) -> Self;

    /// Every linear layer that can be adapted.
    fn linears_mut(&mut self) -> Vec<&mut LoraLinear>;

    /// The context of pictures with the given patch grids, in order.
    fn context(
        grids: &[[usize; 3]],
        config: &Self::Config,
        pass: AdapterPass,
        device: &Device,
    ) -> Self::Context;

    /// The part before the first block, with the same parameter paths as in the tower.
    fn stem(&self) -> Self::Stem;

    /// Path in the module tree of the tensor that files store as `name`.
    fn path_of(name: &str) -> String {
        name.to_owned()
    }

    /// The name under which files store the tensor at `path`.
    fn stored_name(path: &str) -> String {
        path.to_owned()
    }

    /// Which layers an adapter sits on where nobody says otherwise: the seven projections of the decoder.
    fn decoder_targets() -> ModuleFilter {
        ModuleFilter::names(DECODER_PROJECTIONS)
    }

    /// The blocks, below `blocks`.
    fn blocks(&self) -> &[Self::Block];

    /// The last merger, below `merger`.
    fn merger(&self) -> &Self::Merger;

    /// Mergers of intermediate states, below `deepstack_merger_list`: the features of merger `j` are added to the
    /// output of decoder layer `j`.
    fn deepstack(&self) -> &[Self::Merger] {
        &[]
    }

    /// Which of [`Tower::deepstack`] reads the output of block `block`, if any.
    fn deepstack_slot(_config: &Self::Config, _block: usize) -> Option<usize> {
        None
    }

    /// `[patches, patch_dim]` to `[patches, width]`.
    fn run_stem(stem: &Self::Stem, patches: Tensor<2>, context: &Self::Context) -> Tensor<2>;

    /// Block `index` on `[patches, width]`; same shape.
    fn run_block(
        index: usize,
        block: &Self::Block,
        x: Tensor<2>,
        context: &Self::Context,
    ) -> Tensor<2>;

    /// `[patches, width]` to decoder tokens `[patches/merge², decoder width]`, in the order of the placeholders.
    fn run_merger(merger: &Self::Merger, x: Tensor<2>, context: &Self::Context) -> Tensor<2>;
}
