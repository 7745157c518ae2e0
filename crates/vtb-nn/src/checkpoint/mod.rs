//! Checkpoint files: sharded safetensors, memory-mapped, cast on load; and the way back.
//!
//! [`Checkpoint`] reads a file or a directory in the Hugging Face layout, [`PthSource`] what torch pickled;
//! [`save_safetensors`] and [`save_sharded`] write. All speak [`TensorSource`]: named host tensors that are produced one at a
//! time, so neither reading nor writing holds more than the largest tensor in memory.

mod atomic;
mod cast;
mod dtype;
mod index;
mod pth;
mod reader;
mod renamed;
mod shard;
mod source;
mod transpose;
mod writer;

pub use atomic::{write_atomic, write_atomic_with};
pub use index::read_bounded;
pub use pth::{PthSource, open_source};
pub use reader::Checkpoint;
pub use renamed::RenamedSource;
pub use source::{MemorySource, TensorInfo, TensorSource, load_tensor};
pub use transpose::swap_last_axes;
pub use writer::{save_safetensors, save_sharded, save_sharded_as};
