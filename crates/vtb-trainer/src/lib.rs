//! Training without a model: optimizer, schedules, run directories, checkpoints, logs, and what drives them.
//!
//! A trainer meets a model only through the traits of `vtb-nn`. Nothing here prints: progress goes to the
//! [`progress::Reporter`] that a program injects, diagnostics to `tracing`.

pub mod canonical;
pub mod checkpoint;
pub mod collective;
mod error;
pub mod objectives;
pub mod optim;
pub mod progress;
pub mod rng;
pub mod rollout;
pub mod run_dir;
pub mod schedule;
pub mod signal;
pub mod tensorboard;
pub mod train;
#[cfg(feature = "tui")]
pub mod tui;

pub use error::TrainError;
