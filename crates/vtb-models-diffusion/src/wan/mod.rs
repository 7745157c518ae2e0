//! Wan2.2-TI2V: a transformer over latents of clips, conditioned on the hidden states of a UMT5 that has read the prompt
//! and on a clean first frame.

mod block;
mod config;
mod layout;
pub mod names;
mod patches;
pub mod text;
mod transformer;
pub mod vae;

pub use block::{Attention, Block, Mlp, Up};
pub use config::{TEXT_LEN, WanConfig};
pub use layout::WanBatch;
pub use transformer::{
    ConditionEmbedder, Embedder, Head, Network, PatchEmbedding, RECIPE_TARGETS, Stem, WanTransformer,
};
