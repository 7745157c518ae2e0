//! Differentiable operations: portable definitions, fused kernels on the CPU, backward passes by hand.

pub mod activation;
pub mod attention;
pub mod conv;
pub mod grouped;
pub mod head;
pub mod linear;
pub mod modulate;
pub mod norm;
pub mod rope;
pub mod router;

pub use activation::{Gelu, gelu, swiglu};
pub use attention::{AttentionMask, attention};
pub use conv::{Conv3x3, Grid};
pub use grouped::{Groups, grouped_linear};
pub use linear::{linear, low_rank_linear};
pub use modulate::{RowRuns, gated_add, modulated_norm};
pub use norm::{layer_norm, rms_norm};
pub use rope::{RopeTable, rope, rope_adjacent};
pub use router::{RouterBalance, route};
