//! Editing pictures by instruction: what `infer-image` does.
//!
//! Invariant: every input is looked at before a weight is read.

mod files;
mod model;
mod rows;
mod settings;
mod told;

pub use files::{PictureForm, check_place, read_latents, same_file, write_latents, write_picture};
pub use model::{Drawing, EditModel};
pub use rows::{Job, PREDICTIONS, SETTINGS};
pub use settings::{EditSettings, parse_size};
pub use told::Told;
