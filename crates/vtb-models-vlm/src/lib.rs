//! Qwen3-VL in Rust: everything from a model directory and a chat message to tokens, log-probabilities and
//! generated text.
//!
//! The front end needs no tensors: [`config`] reads `config.json` in every published spelling, [`processor`]
//! turns pictures into patches, [`template`] and [`tokenizer`] turn messages into ids, [`encode`] puts the two
//! together into rows a [`CausalLm`](vtb_nn::lm::CausalLm) reads, [`positions`] numbers the tokens, and
//! [`tiny`] writes small models with the same files as the real ones.

pub mod chat;
pub mod config;
pub mod encode;
pub mod error;
pub mod export;
pub mod files;
pub mod generation;
pub mod positions;
pub mod processor;
pub mod qwen3_vl;
pub mod template;
pub mod tiny;
pub mod tokenizer;

pub use error::VlmError;
