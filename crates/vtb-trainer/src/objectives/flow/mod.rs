//! Flow matching: the mean squared error of predicted velocities.
//!
//! Between a clean sample `x0` and noise `n` lies `x = (1-σ)·x0 + σ·n`; its slope `n - x0` is what a
//! [`vtb_nn::velocity::VelocityModel`] predicts. A row of a step draws a noise level σ and noise of its own:
//!
//! - the thousand noise levels of training, and a weight for each: [`SigmaTable`];
//! - from which distribution levels are drawn: [`FlowConfig`], [`Levels`];
//! - noise: [`normals`];
//! - the sample, the loss and its derivative: [`noisy`], [`row_losses`], [`flow_loss`];
//! - numbers for the log: [`FlowStats`].
//!
//! All of it is computed in f64 and stored in f32.

mod config;
mod level;
mod loss;
mod metrics;
mod noise;
mod normal;
mod table;

pub use config::{FlowConfig, LevelSampling, TimeShift, Weighting};
pub use level::{Level, Levels};
pub use loss::{FlowLoss, FlowTarget, RowLoss, flow_loss, noisy, row_losses};
pub use metrics::FlowStats;
pub use noise::normals;
pub use table::SigmaTable;
