//! Wan2.2-TI2V: a transformer over latents of clips, conditioned on the hidden states of a UMT5 that has read the prompt
//! and on a clean first frame.

pub mod names;
pub mod text;
