//! Draws puzzles: question, solution and record of each task asked for.
//!
//! ```text
//! cargo run --example puzzle_render -- --task maze_square --seed 7 --out pictures
//! cargo run --example puzzle_render -- --task color_grid --params '{"canvas": 96}' --frames 9
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use serde_json::Value;
use vtb_puzzle::{Instance, Layer, encode_png, find, record_seed, registry};

/// Draw puzzles, their solutions and their records.
#[derive(Parser)]
struct Args {
    /// Task to draw; every registered task when left out.
    #[arg(long)]
    task: Option<String>,
    /// Base seed; each record's own seed follows from it, the task and the record's number.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Records per task.
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Parameters to change, as a JSON object.
    #[arg(long, default_value = "{}")]
    params: String,
    /// Also write this many frames of the growing solution.
    #[arg(long, default_value_t = 0)]
    frames: usize,
    /// Folder to write to; made if absent.
    #[arg(long, default_value = "runs/puzzles")]
    out: PathBuf,
}

#[allow(clippy::print_stdout)]
fn main() -> Result<()> {
    let args = Args::parse();
    let params: Value = serde_json::from_str(&args.params).context("reading --params")?;
    let tasks = match &args.task {
        Some(name) => vec![find(name)?],
        None => registry().to_vec(),
    };
    fs::create_dir_all(&args.out).with_context(|| format!("making {}", args.out.display()))?;
    for task in tasks {
        let name = task.info().name;
        for index in 0..args.count {
            let seed = record_seed(args.seed, name, index);
            let puzzle = Instance::generate(task, &params, seed)?;
            for path in write(
                &puzzle,
                &args.out.join(format!("{name}_{index:02}")),
                args.frames,
            )? {
                println!("{}", path.display());
            }
        }
    }
    Ok(())
}

/// Writes all files of one puzzle, their paths beginning with `stem`.
fn write(puzzle: &Instance, stem: &Path, frames: usize) -> Result<Vec<PathBuf>> {
    let mut files = vec![
        (
            "_puzzle.png".to_owned(),
            encode_png(&puzzle.draw(Layer::Puzzle)?)?,
        ),
        (
            "_solution.png".to_owned(),
            encode_png(&puzzle.draw(Layer::Solution)?)?,
        ),
        (
            ".json".to_owned(),
            serde_json::to_vec_pretty(&puzzle.record)?,
        ),
    ];
    if frames > 0 {
        for (at, frame) in puzzle.frames(frames)?.iter().enumerate() {
            files.push((format!("_frame{at:03}.png"), encode_png(frame)?));
        }
    }
    let mut paths = Vec::new();
    for (ending, bytes) in files {
        let mut path = stem.as_os_str().to_owned();
        path.push(ending);
        let path = PathBuf::from(path);
        fs::write(&path, bytes).with_context(|| format!("writing {}", path.display()))?;
        paths.push(path);
    }
    Ok(paths)
}
