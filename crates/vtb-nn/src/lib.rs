//! Tensor building blocks on burn: device and precision choice, attention with its own backward pass, norms, RoPE,
//! block recompute, checkpoint files, and the traits that models implement.
//!
//! No backend is named here: the features `flex` (CPU) and `cuda` compile one in, and [`device`] picks at run time.

pub mod checkpoint;
mod error;
pub mod lm;

pub use error::NnError;
