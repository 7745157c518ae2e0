//! Flow matching: the mean squared error of predicted velocities.
//!
//! Between a clean sample `x0` and noise `n` lies `x = (1-σ)·x0 + σ·n`; its slope `n - x0` is what a
//! [`vtb_nn::velocity::VelocityModel`] predicts. A row of a step draws a noise level σ and noise of its own:
//!
//! - [`SigmaTable`]: the thousand noise levels of training, and a weight for each;
//! - [`FlowConfig`], [`Levels`]: from which distribution levels are drawn;
//! - [`normals`]: noise;
//! - [`noisy`], [`row_losses`], [`flow_loss`]: the sample, the loss and its derivative;
//! - [`FlowStats`]: numbers for the log.
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
pub use noise::{normals, unit};
pub use table::{SigmaTable, TABLE_LEN, shifted, stretched};
