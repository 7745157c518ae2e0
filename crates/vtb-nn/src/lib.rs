//! Tensor building blocks on burn: device and precision choice, attention with its own backward pass, norms, RoPE,
//! block recompute, checkpoint files, and the traits that models implement.
//!
//! No backend is named here: the features `flex` (CPU) and `cuda` compile one in, and [`device`] picks at run time.

pub mod checkpoint;
#[cfg(feature = "flex")]
mod cpu;
pub mod device;
pub mod diff_op;
mod error;
pub mod lm;
pub mod loader;
pub mod ops;
pub mod params;
pub mod random;
pub mod recompute;
pub mod trainable;
pub mod velocity;

pub use error::NnError;
