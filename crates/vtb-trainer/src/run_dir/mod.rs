//! The directory that tells the whole story of a run.
//!
//! ```text
//! config.resolved.toml   every setting as it was used
//! manifest.json          versions, seed, start time: what made this directory
//! metrics.jsonl          one object per line: see [`MetricsLog`]
//! tensorboard/           event files
//! checkpoints/step-N/    see [`crate::checkpoint`]
//! completions/ samples/  what the model said and drew
//! summary.json           the result, written at the end
//! ```

mod dir;
mod metrics;

pub use dir::{RunDir, RunManifest, Start};
pub use metrics::{Metrics, MetricsLog, TIME};
