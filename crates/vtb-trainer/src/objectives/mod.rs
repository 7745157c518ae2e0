//! What a training step minimises, as plain functions of what a model predicts.
//!
//! A language model hands the log-probability of every scored token to an objective and gets back the derivative
//! of the loss by each of them ([`vtb_nn::lm::CausalLm::backward`]); a model of velocities does the same with every value
//! of a velocity ([`vtb_nn::velocity::VelocityModel::backward`]). So nothing here touches a tensor: inputs are slices,
//! sums run in f64, derivatives are closed forms returned as f32.
//!
//! Losses and derivatives of micro-batches *add up* to those of the optimizer step: every normaliser is a count
//! over the whole step, given beforehand. However a step is cut into micro-batches, its total is the same.

use std::collections::BTreeMap;

mod error;
pub mod flow;
pub mod grpo;
pub mod scores;
pub mod sft;

pub use error::{ConfigFault, ObjectiveError};
pub use vtb_data::stats::{Accuracy, wilson_interval};

/// Named numbers of a step, under the names TRL and ms-swift users search for.
pub type Metrics = BTreeMap<String, f64>;
