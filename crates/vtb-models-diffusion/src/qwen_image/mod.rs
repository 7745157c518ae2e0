//! Qwen-Image-Edit: a dual-stream transformer over latents of a convolutional autoencoder, conditioned on the hidden states
//! of a Qwen2.5-VL that has seen the pictures.

mod block;
mod config;
mod edit;
mod layout;
mod packing;
mod prompt;
mod sample;
pub mod sizes;
mod template;
mod transformer;
pub mod vae;

pub use block::{Activation, Block, JointAttention, Mlp, Up};
pub use config::TransformerConfig;
pub use edit::{
    EditInputs, EditModelDir, EditRequest, EditTexts, VAE_SCALE, edit_latent, latent_picture,
    latent_shape, picture_latent, reference_latent,
};
pub use prompt::PromptEncoder;
pub use sample::{Guidance, denoise};

pub use crate::scheduler::noise;
pub use template::{DROPPED_TOKENS, EditTemplate};
pub use transformer::{
    Head, Network, NormOut, QwenBatch, QwenImageTransformer, RECIPE_TARGETS, Stem, TimeEmbed,
    TimestepEmbedder,
};
