//! Modules by parameter path: visiting and replacing, loading, and training block by block.

mod loader;
mod params;
mod recompute;
mod support;
