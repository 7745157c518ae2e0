//! Checkpoint files: sharded safetensors, memory-mapped, cast on load.
