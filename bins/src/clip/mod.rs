//! Clips from a picture and a prompt: what `infer-video` does.
//!
//! Invariant: every input is looked at before a weight is read.

mod files;
mod model;
mod rows;
mod settings;

pub use files::{ClipForm, check_clip, read_clip_latents, write_clip};
pub use model::{ClipDrawing, VideoModel};
pub use rows::ClipJob;
pub use settings::{ClipSettings, portrait};
