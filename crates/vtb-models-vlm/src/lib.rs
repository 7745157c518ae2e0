//! Qwen3-VL and Qwen2.5-VL in Rust: everything from a model directory and a chat message to tokens, log-probabilities and
//! generated text.
//!
//! The front end needs no tensors: [`config`] reads `config.json` in every published spelling, [`processor`]
//! turns pictures and videos into patches, [`template`] and [`tokenizer`] turn messages into ids, [`encode`] puts the two
//! together into rows a [`CausalLm`](vtb_nn::lm::CausalLm) reads, [`positions`] numbers the tokens, and
//! [`tiny`] writes small models with the same files as the real ones.
//!
//! [`model`] holds what the families share: the decoder, the layout of a batch, scoring, training and the joint to a
//! vision tower. [`qwen3_vl`] and [`qwen2_5_vl`] hold their towers; [`AnyVlm`] opens whichever a directory holds.

mod any;
pub mod chat;
pub mod config;
pub mod encode;
pub mod error;
pub mod export;
pub mod files;
pub mod generation;
pub mod memory;
pub mod model;
pub mod positions;
pub mod processor;
pub mod qwen2_5_vl;
pub mod qwen3_vl;
pub mod template;
pub mod tiny;
pub mod tokenizer;

pub use any::AnyVlm;
pub use error::VlmError;
