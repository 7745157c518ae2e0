//! The programs beside this file are the examples; `cargo run --example puzzle_render` is one.
