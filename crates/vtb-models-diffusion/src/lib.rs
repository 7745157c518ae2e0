//! Flow-matching models in Rust: Qwen-Image-Edit from a directory in the diffusers layout to an edited picture, and the
//! velocities a trainer needs.

pub mod cache;
mod causal;
mod error;
pub mod files;
pub mod qwen_image;
pub mod scheduler;
pub mod tiny;
pub mod transformer;
pub mod wan;

pub use error::DiffusionError;
