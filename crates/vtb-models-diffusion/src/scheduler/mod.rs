//! Noise levels of sampling.

mod flow_match;

pub use flow_match::FlowMatchEuler;
