//! Every operation against its textbook formula, written with burn's own tensors in f64 under burn's own autodiff:
//! the CPU kernels in f32, the portable forms in f64 and bf16, every choice of frozen inputs, one thread and two.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod attention;
mod case;
mod elementwise;
mod grouped;
mod head;
mod linear;
mod modulate;
mod norm;
mod support;
