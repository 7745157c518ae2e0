//! Speed of generation on one core.
//!
//!     cargo bench -p vtb-data --bench generate
//!     cargo bench -p vtb-data --bench generate -- 500     # records of each task, instead of 200
//!
//! Pictures as large as those the Python projects make: 480×480, square mazes 288×288.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Instant;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vtb_data::generate::{ClipSettings, Plan, Request, generate};
use vtb_puzzle::{Layer, encode_png, find, record_seed};

fn tasks() -> [(&'static str, Value); 3] {
    [
        ("midpoint", json!({"width": 480, "height": 480})),
        ("maze_square", json!({})),
        ("color_grid", json!({"canvas": 480})),
    ]
}

fn main() {
    let number = std::env::args().filter_map(|arg| arg.parse().ok()).next();
    let count: u64 = number.unwrap_or(200);
    println!("one worker, {count} records; records per second, puzzle and solution each");
    for (name, params) in tasks() {
        let pictures = rate(name, &params, count, None);
        let clips = rate(
            name,
            &params,
            count.div_ceil(25),
            Some(ClipSettings::default()),
        );
        println!("{name:12} {pictures:8.0}   with a clip of 81 frames {clips:6.2}");
    }
    println!("milliseconds per record: make, draw, encode, hash; bytes of both files");
    for (name, params) in tasks() {
        parts(name, &params, count);
    }
}

/// Records per second of a whole run, files, manifest and all.
fn rate(name: &str, params: &Value, count: u64, video: Option<ClipSettings>) -> f64 {
    let plan = Plan::new(Request {
        tasks: vec![find(name).unwrap()],
        params: [(name.to_owned(), params.clone())].into(),
        count,
        seed: 1,
        video,
        splits: None,
        held_out: BTreeSet::new(),
    });
    let plan = plan.unwrap();
    let mut best = f64::MAX;
    for _ in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let begun = Instant::now();
        generate(&plan, dir.path(), 1, &mut |_| ControlFlow::Continue(())).unwrap();
        best = best.min(begun.elapsed().as_secs_f64());
    }
    count as f64 / best
}

fn parts(name: &str, params: &Value, count: u64) {
    let task = find(name).unwrap();
    let mut spent = [0.0; 4];
    let mut bytes = 0;
    let mut time = |at: usize, begun: Instant| spent[at] += begun.elapsed().as_secs_f64();
    for index in 0..count {
        let begun = Instant::now();
        let record = task.generate(params, record_seed(1, name, index)).unwrap();
        time(0, begun);
        for layer in [Layer::Puzzle, Layer::Solution] {
            let begun = Instant::now();
            let picture = task.draw(&record, layer).unwrap();
            time(1, begun);
            let begun = Instant::now();
            let png = encode_png(&picture).unwrap();
            time(2, begun);
            let begun = Instant::now();
            std::hint::black_box(Sha256::digest(&png));
            time(3, begun);
            bytes += png.len();
        }
    }
    let spent = spent.map(|seconds| format!("{:7.3}", seconds * 1e3 / count as f64));
    println!("{name:12} {}   {:7}", spent.join(" "), bytes as u64 / count);
}
