//! Editing pictures by instruction: what `infer-image` does.
//!
//! Invariant: every input is looked at before a weight is read.

pub(crate) mod attempts;
mod files;
mod model;
pub(crate) mod pictures;
mod rows;
mod settings;
mod told;

pub use files::{
    PictureForm, check_place, read_latents, read_noise, same_file, write_latents, write_picture,
};
pub(crate) use model::fitting;
pub use model::{Drawing, EditModel};
pub use pictures::load;
pub use rows::Job;
pub use settings::{EditSettings, parse_size};
pub use told::Told;
