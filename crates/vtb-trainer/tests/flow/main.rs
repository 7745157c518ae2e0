//! Flow matching through the step loop, on a model small enough to differentiate by hand.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod average;
mod held_out;
mod objective;
mod resume;
mod samples;
mod support;
