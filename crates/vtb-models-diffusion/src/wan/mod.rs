//! Wan2.2-TI2V: a transformer over latents of clips, conditioned on the hidden states of a UMT5 that has read the prompt
//! and on a clean first frame.

mod block;
mod config;
mod convert;
mod dir;
mod layout;
pub mod names;
mod patches;
mod sample;
mod sizes;
pub mod text;
mod transformer;
pub mod vae;

pub use block::{Attention, Block, Mlp, Up};
pub use config::{MAX_POSITION, TEXT_LEN, WanConfig};
pub use convert::convert;
pub(crate) use dir::write_index;
pub use dir::{ORIGINAL_ENCODER, ORIGINAL_TOKENIZER, ORIGINAL_VAE, VideoModelDir, WanLayout};
pub use layout::WanBatch;
pub use sample::{Solver, VideoInputs, VideoSampling, video_latent};
pub use sizes::{
    FRAME_SCALE, SIDE_STEP, VAE_SCALE, check_frames, check_size, clip_latent, latent_clip,
    latent_shape,
};
pub use text::TextEncoder;
pub use transformer::{
    ConditionEmbedder, Embedder, Head, Network, PatchEmbedding, RECIPE_TARGETS, Stem,
    WanTransformer,
};

pub use crate::scheduler::noise;
