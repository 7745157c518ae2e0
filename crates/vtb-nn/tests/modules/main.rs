//! Modules by parameter path: visiting and replacing, loading, and training block by block.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod loader;
mod params;
mod recompute;
mod support;
