//! Noise levels of sampling, and ways through them.

mod flow_match;
mod sampler;
mod unipc;

pub use flow_match::FlowMatchEuler;
pub(crate) use sampler::velocity_of;
pub use sampler::{Euler, Sampler, follow, noise};
pub use unipc::{UniPc, UniPcConfig, shifted_levels};
