//! Writes `docs/gallery.md` and its pictures: one puzzle and its solution per task.
//!
//! ```text
//! cargo run --release -p vtb-examples --example gallery
//! ```
//!
//! Its tests hold the committed page and pictures to what this program makes.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Parser;
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::imageops::{FilterType as Kernel, resize};
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use serde_json::{Value, json};
use vtb_puzzle::{Instance, Layer, Puzzle, TaskGroup, find, record_seed, registry};

/// Base seed of all puzzles shown.
const SEED: u64 = 7;
/// Puzzles are drawn with sides of this many pixels, so that letters survive being made smaller.
const DRAWN: u32 = 400;
/// Longest side of the pictures on the page, pixels.
const SHOWN: u32 = 220;

/// Write the gallery of all tasks.
#[derive(Parser)]
struct Args {
    /// Folder that gets `gallery.md` and `gallery/`.
    #[arg(long, default_value = "docs")]
    out: PathBuf,
}

#[allow(clippy::print_stdout, reason = "its result")]
fn main() -> Result<()> {
    let out = Args::parse().out;
    fs::create_dir_all(out.join("gallery")).with_context(|| format!("making {}", out.display()))?;
    let puzzles = puzzles()?;
    for puzzle in &puzzles {
        for (file, picture) in pictures(puzzle)? {
            let path = out.join(file);
            fs::write(&path, small_png(&picture)?)
                .with_context(|| format!("writing {}", path.display()))?;
        }
    }
    let path = out.join("gallery.md");
    fs::write(&path, page(&puzzles)?).with_context(|| format!("writing {}", path.display()))?;
    println!("{}", path.display());
    Ok(())
}

/// One puzzle of every task.
fn puzzles() -> Result<Vec<Instance<'static>>> {
    let make = |task: &&'static dyn Puzzle| {
        let name = task.info().name;
        let seed = record_seed(SEED, name, 0);
        Instance::generate(*task, &params(name), seed).with_context(|| format!("making {name}"))
    };
    registry().iter().map(make).collect()
}

/// Small versions of each task: few cells, few pixels.
fn params(task: &str) -> Value {
    let mut params = match task {
        "color_grid" => return json!({"canvas": DRAWN}),
        "maze_square" => return json!({"cell": 32}),
        "maze_hexagon" => json!({"radius": 3}),
        "maze_labyrinth" => json!({"rings": 3, "segments": 8}),
        "arcagi" => json!({"examples": 2, "side_max": 6}),
        _ => json!({}),
    };
    // Eyeballing tasks need the room of their default.
    if find(task).is_ok_and(|task| task.info().group != TaskGroup::Eyeballing) {
        for side in ["width", "height"] {
            params[side] = json!(DRAWN);
        }
    }
    params
}

/// Paths below the folder of the page, and what is to be seen there.
fn pictures(puzzle: &Instance<'_>) -> Result<[(String, RgbImage); 2]> {
    let name = &puzzle.record.task;
    Ok([
        (
            format!("gallery/{name}_puzzle.png"),
            shrink(&puzzle.draw(Layer::Puzzle)?),
        ),
        (
            format!("gallery/{name}_solution.png"),
            shrink(&puzzle.draw(Layer::Solution)?),
        ),
    ])
}

/// The picture with its longest side at [`SHOWN`].
fn shrink(picture: &RgbImage) -> RgbImage {
    let longest = picture.width().max(picture.height());
    let side = |pixels: u32| (pixels * SHOWN / longest).max(1);
    // Its weights are sums and products, which every machine rounds alike.
    let kernel = Kernel::CatmullRom;
    resize(
        picture,
        side(picture.width()),
        side(picture.height()),
        kernel,
    )
}

/// As few bytes as the encoder can make them; unlike `encode_png` for speed.
fn small_png(picture: &RgbImage) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    PngEncoder::new_with_quality(&mut bytes, CompressionType::Best, FilterType::Adaptive)
        .write_image(
            picture.as_raw(),
            picture.width(),
            picture.height(),
            ExtendedColorType::Rgb8,
        )?;
    Ok(bytes)
}

const GROUPS: [(TaskGroup, &str); 4] = [
    (
        TaskGroup::Eyeballing,
        "pick the marker that completes a construction",
    ),
    (TaskGroup::Maze, "find the way"),
    (TaskGroup::Visual, "whole pictures"),
    (TaskGroup::VisualPuzzle, "find the rule, fill the gap"),
];

/// The Markdown text.
fn page(puzzles: &[Instance<'_>]) -> Result<String> {
    let mut text = format!(
        "# Gallery\n\n\
         One puzzle and its solution of each of the {} tasks, smaller and with fewer cells than by default. The last\n\
         column is the answer to the text prompt in the form that it asks for. What the parameters are and how\n\
         answers are judged stands in [the guide](guides/puzzles.md).\n\n\
         Written by `cargo run --release -p vtb-examples --example gallery`; do not edit.\n",
        puzzles.len()
    );
    for (group, what) in GROUPS {
        write!(text, "\n## `{group}`: {what}\n\n")?;
        text.push_str("| task | what to do | puzzle | solution | answer |\n");
        text.push_str("|---|---|---|---|---|\n");
        for puzzle in puzzles.iter().filter(|p| p.record.group == group) {
            text.push_str(&line(puzzle)?);
        }
    }
    Ok(text)
}

/// The line of one puzzle in its table.
fn line(puzzle: &Instance<'_>) -> Result<String> {
    let name = &puzzle.record.task;
    let about = find(name)?.info().about;
    let image = |which: &str| format!("![{name}, {which}](gallery/{name}_{which}.png)");
    Ok(format!(
        "| `{name}` | {about} | {} | {} | `{}` |\n",
        image("puzzle"),
        image("solution"),
        puzzle.record.gold_text()
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn docs() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
    }

    /// A failure here means: run the program again.
    #[test]
    fn the_committed_page_is_the_one_that_is_made() {
        let committed = fs::read_to_string(docs().join("gallery.md")).unwrap();
        assert!(committed == page(&puzzles().unwrap()).unwrap());
    }

    #[test]
    fn the_page_shows_every_task_and_only_pictures_that_exist() {
        let text = fs::read_to_string(docs().join("gallery.md")).unwrap();
        for task in registry() {
            let name = task.info().name;
            assert!(text.contains(&format!("\n| `{name}` | ")), "{name}");
        }
        let linked: BTreeSet<_> = text.split("](gallery/").skip(1).collect();
        let linked: BTreeSet<_> = linked.iter().filter_map(|l| l.split(')').next()).collect();
        let files = fs::read_dir(docs().join("gallery")).unwrap();
        let files: Vec<_> = files.map(|f| f.unwrap()).collect();
        let names: BTreeSet<_> = files.iter().map(|f| f.file_name()).collect();
        let names: BTreeSet<_> = names.iter().filter_map(|name| name.to_str()).collect();
        assert_eq!(linked, names);
        let bytes: u64 = files.iter().map(|f| f.metadata().unwrap().len()).sum();
        assert!(bytes < 1_500_000, "{bytes} bytes of pictures");
    }

    /// Pixels, not bytes: the compressor may change, the pictures may not.
    #[test]
    fn the_committed_pictures_are_those_that_are_drawn() {
        for puzzle in puzzles().unwrap() {
            for (file, picture) in pictures(&puzzle).unwrap() {
                let committed = image::open(docs().join(&file)).unwrap().to_rgb8();
                assert!(committed == picture, "{file}");
            }
        }
    }
}
