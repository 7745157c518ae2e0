//! Adapters of diffusion models in all five forms.

#![allow(clippy::unwrap_used, reason = "a test")]

mod broken;
mod round;
mod support;
mod theirs;
