//! Gradients and the optimizer, over flat f32 tensors named by parameter path.

mod adamw;
mod ema;
mod grads;
mod host;
mod state;

pub use adamw::{AdamW, AdamWConfig, ParamGroup};
pub use ema::Ema;
pub use grads::{GradNorm, accumulate, clip, global_norm, scale};
pub(crate) use host::fits;
pub use host::{to_device, to_host};
pub use state::AdamState;
