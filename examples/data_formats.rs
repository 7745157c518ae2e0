//! Writes `docs/data.md`: every format of data with a row that was made and read a moment ago.
//!
//! ```text
//! cargo run --release -p vtb-examples --example data_formats
//! ```
//!
//! Its test holds the committed page to what this program makes.

use std::fmt::Write as _;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Parser;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Value, json};
use vtb_data::evaluate::{self, Kind, RESULTS, evaluate};
use vtb_data::generate::{ClipSettings, Plan, Request, generate};
use vtb_data::manifest::{MANIFEST, Manifest};
use vtb_data::prepare::{
    Common, Exporter, ImageExport, METADATA, ParquetExport, PathMode, Schema, Selection, Settings,
    Source, TRAIN_GRPO, TRAIN_SFT, TarExport, Verify, VideoExport, VideoShape, VlmExport, run,
};
use vtb_puzzle::find;

/// Seed of the puzzles shown.
const SEED: u64 = 7;
/// Widest line of a JSON example, columns.
const WIDTH: usize = 110;
/// Most bytes of a shard.
const SHARD: u64 = 64 << 20;

/// Write the page of data formats.
#[derive(Parser)]
struct Args {
    /// The page.
    #[arg(long, default_value = "docs/data.md")]
    out: PathBuf,
}

#[allow(clippy::print_stdout, reason = "its result")]
fn main() -> Result<()> {
    let out = Args::parse().out;
    fs::write(&out, page()?).with_context(|| format!("writing {}", out.display()))?;
    println!("{}", out.display());
    Ok(())
}

/// The Markdown text.
fn page() -> Result<String> {
    let work = tempfile::tempdir()?;
    let dir = work.path();
    let still = make(&dir.join("still"), None)?;
    let clips = make(
        &dir.join("clips"),
        Some(ClipSettings {
            frames: 5,
            ..ClipSettings::default()
        }),
    )?;
    let mut page = Page::new();
    data_sets(&mut page, &still)?;
    conversations(&mut page, &still, dir)?;
    pictures_and_clips(&mut page, &still, &clips, dir)?;
    whole_data_sets(&mut page, &still, dir)?;
    predictions(&mut page, &still, dir)?;
    Ok(page.text)
}

/// A data set of one colour grid and one small maze.
fn make(dir: &Path, video: Option<ClipSettings>) -> Result<PathBuf> {
    let params = [
        ("color_grid", json!({"canvas": 96})),
        ("maze_square", json!({"rows": 5, "cols": 5})),
    ];
    let plan = Plan::new(Request {
        tasks: params
            .iter()
            .map(|(task, _)| find(task))
            .collect::<Result<_, _>>()?,
        params: params
            .map(|(task, params)| (task.to_owned(), params))
            .into(),
        count: 1,
        seed: SEED,
        video,
        splits: None,
        held_out: Default::default(),
    })?;
    generate(&plan, dir, 1, &mut |_| ControlFlow::Continue(()))?;
    Ok(dir.to_owned())
}

fn data_sets(page: &mut Page, dir: &Path) -> Result<()> {
    page.title("Data sets of puzzles");
    page.say(
        "`generate-dataset` writes both files; paths in them start at the file's folder. The fields are told in \
         [formats](formats.md#data-sets-of-puzzles).",
    );
    page.example(
        "`manifest.jsonl`, a line for each record",
        &line(&dir.join(MANIFEST), 0)?,
    );
    let records: Vec<Value> = serde_json::from_slice(&fs::read(dir.join("color_grid/data.json"))?)?;
    page.example(
        "`TASK/data.json`, a list of records as the Python projects write them",
        &records[0],
    );
    Ok(())
}

fn conversations(page: &mut Page, dir: &Path, work: &Path) -> Result<()> {
    page.title("Conversations");
    page.say(
        "`prepare-data vlm` writes both files. With `--schema swift` (the default) `train-sft`, `train-grpo` and \
         ms-swift read them, with `--schema trl` TRL does. The columns are told in \
         [formats](formats.md#training-rows).",
    );
    for (schema, name, out) in [
        (Schema::Swift, "swift", work.join("swift")),
        (Schema::Trl, "trl", work.join("trl")),
    ] {
        let common = common(dir, &out)?;
        export(dir, VlmExport::new(common, schema)?)?;
        let (sft, grpo) = (out.join(TRAIN_SFT), out.join(TRAIN_GRPO));
        page.example(
            &format!("`{TRAIN_SFT}`, `--schema {name}`"),
            &line(&sft, 0)?,
        );
        if schema == Schema::Swift {
            page.example(&format!("`{TRAIN_GRPO}`, a maze"), &line(&grpo, 1)?);
        } else {
            page.example(
                &format!("`{TRAIN_GRPO}`, `--schema {name}`"),
                &line(&grpo, 0)?,
            );
        }
    }
    Ok(())
}

fn pictures_and_clips(page: &mut Page, still: &Path, clips: &Path, work: &Path) -> Result<()> {
    page.title("Pictures and clips to draw");
    page.say(
        "`prepare-data image` and `prepare-data video`, for DiffSynth and for programs that read its tables. \
         `vtb_data::media` reads them back, from JSON, JSON lines or CSV.",
    );
    let out = work.join("image");
    let place = out.join(METADATA);
    export(still, ImageExport::new(common(still, &out)?, &place)?)?;
    let rows: Vec<Value> = serde_json::from_slice(&fs::read(&place)?)?;
    page.example(&format!("`{METADATA}`, a list of rows"), &rows[0]);
    let out = work.join("video");
    let place = out.join("train_video.csv");
    let shape = VideoShape::default();
    export(
        clips,
        VideoExport::new(common(clips, &out)?, &place, shape)?,
    )?;
    let text = fs::read_to_string(&place)?;
    let lines: Vec<_> = text.lines().take(2).collect();
    page.code(
        "`train_video.csv`, its head and a row",
        "csv",
        &lines.join("\n"),
    );
    Ok(())
}

fn whole_data_sets(page: &mut Page, dir: &Path, work: &Path) -> Result<()> {
    page.title("Whole data sets in shards");
    page.say(
        "`prepare-data parquet` writes what `datasets.load_dataset` opens with pictures, with `--format webdataset` \
         tar files. Pictures lie inside.",
    );
    let out = work.join("parquet");
    export(dir, ParquetExport::new(common(dir, work)?, &out, SHARD)?)?;
    let shard = only_file(&out.join("data"))?;
    page.code(
        &format!("columns of `data/{}`", name(&shard)),
        "text",
        &columns(&shard)?,
    );
    let out = work.join("tar");
    export(dir, TarExport::new(common(dir, work)?, &out, SHARD)?)?;
    let shard = first_tar(&out)?;
    page.code(
        &format!("members of `{}`", name(&shard)),
        "text",
        &members(&shard)?,
    );
    Ok(())
}

fn predictions(page: &mut Page, dir: &Path, work: &Path) -> Result<()> {
    page.title("Predictions and verdicts");
    page.say(
        "`evaluate` reads rows of `id` and one of `text`, `image` and `video`, and writes `results.jsonl`, a line for \
         each attempt.",
    );
    let manifest = Manifest::open(dir)?;
    let entry = manifest.entry(0)?;
    let row = json!({"id": entry.id, "text": format!("<answer>{}</answer>", entry.answer)});
    page.example("a prediction", &row);
    let given = work.join("predictions.jsonl");
    fs::write(&given, format!("{row}\n"))?;
    let settings = evaluate::Settings {
        skip_missing: true,
        ..Default::default()
    };
    let out = work.join("judged");
    evaluate(&manifest, Kind::Text, &given, &settings, &|_, _| ())?.write(&out, 0)?;
    page.example("its line in `results.jsonl`", &line(&out.join(RESULTS), 0)?);
    Ok(())
}

fn common(data: &Path, out: &Path) -> Result<Common> {
    Ok(Common::new(data, out, PathMode::Relative, false, false)?)
}

fn export<E: Exporter>(data: &Path, exporter: E) -> Result<()> {
    let settings = Settings {
        selection: Selection::default(),
        verify: Verify::Full,
        max_bad_rows: 0,
        dry: false,
    };
    let source = Source::open(data, false)?;
    run(&source, &settings, exporter, &mut |_| {
        ControlFlow::Continue(())
    })?;
    Ok(())
}

/// One line of a JSONL file.
fn line(path: &Path, at: usize) -> Result<Value> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let line = text
        .lines()
        .nth(at)
        .with_context(|| format!("{} is short", path.display()))?;
    Ok(serde_json::from_str(line)?)
}

fn name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(folder)?;
    let first = files.next().context("an empty folder")??;
    Ok(first.path())
}

fn first_tar(folder: &Path) -> Result<PathBuf> {
    let files = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<_> = files.iter().map(fs::DirEntry::path).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "tar"));
    paths.sort();
    paths.into_iter().next().context("no shard")
}

/// The columns of a Parquet file, with their types and, where it is text, the first row's value.
fn columns(path: &Path) -> Result<String> {
    let reader = SerializedFileReader::new(fs::File::open(path)?)?;
    let mut text = Vec::new();
    parquet::schema::printer::print_schema(&mut text, reader.metadata().file_metadata().schema());
    Ok(String::from_utf8(text)?.trim_end().to_owned())
}

/// Names and sizes of the files in a tar file.
fn members(path: &Path) -> Result<String> {
    let mut text = String::new();
    let mut archive = tar::Archive::new(fs::File::open(path)?);
    for entry in archive.entries()? {
        let entry = entry?;
        writeln!(text, "{} ({} bytes)", entry.path()?.display(), entry.size())?;
    }
    Ok(text.trim_end().to_owned())
}

/// A page being written.
struct Page {
    text: String,
}

impl Page {
    fn new() -> Self {
        let text = "# Data by example\n\n\
             Every format of data that is written here, with a row that was made by the code. What the fields mean and what\n\
             readers accept stands in [formats](formats.md), how the files are made in the guides on\n\
             [data sets](guides/datasets.md) and [training files](guides/prepare-data.md).\n\n\
             Written by `cargo run --release -p vtb-examples --example data_formats`; do not edit. A row is one line in its\n\
             file; here long ones are broken.\n";
        Self {
            text: text.to_owned(),
        }
    }

    fn title(&mut self, title: &str) {
        self.text += &format!("\n## {title}\n");
    }

    fn say(&mut self, text: &str) {
        self.text += &format!("\n{text}\n");
    }

    fn example(&mut self, what: &str, value: &Value) {
        let shown = pretty(value, 0);
        self.code(what, "json", &shown);
    }

    fn code(&mut self, what: &str, language: &str, text: &str) {
        self.text += &format!("\n{what}:\n\n```{language}\n{text}\n```\n");
    }
}

/// JSON with lists and objects on one line where they fit.
fn pretty(value: &Value, indent: usize) -> String {
    let flat = value.to_string();
    if flat.chars().count() + indent <= WIDTH {
        return flat;
    }
    let inner = " ".repeat(indent + 2);
    let close = " ".repeat(indent);
    match value {
        Value::Array(items) if items.iter().all(|item| !item.is_object()) => {
            // Long lists of numbers: as many to a line as fit.
            let mut lines = vec![String::new()];
            for (item, at) in items.iter().zip(1..) {
                let comma = if at == items.len() { "" } else { "," };
                let item = format!("{item}{comma}");
                let last = lines.len() - 1;
                if !lines[last].is_empty() && inner.len() + lines[last].len() + item.len() > WIDTH {
                    lines.push(item);
                } else {
                    lines[last] += &item;
                }
            }
            format!("[\n{inner}{}\n{close}]", lines.join(&format!("\n{inner}")))
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| pretty(item, indent + 2)).collect();
            format!("[\n{inner}{}\n{close}]", items.join(&format!(",\n{inner}")))
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                format!(
                    "{}: {}",
                    Value::from(name.as_str()),
                    pretty(value, indent + 2)
                )
            };
            let fields: Vec<_> = fields.iter().map(field).collect();
            format!(
                "{{\n{inner}{}\n{close}}}",
                fields.join(&format!(",\n{inner}"))
            )
        }
        _ => flat,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// A failure here means: run the program again.
    #[test]
    fn the_committed_page_is_the_one_that_is_made() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/data.md");
        let committed = fs::read_to_string(docs).unwrap();
        let made = page().unwrap();
        // Not the whole page: the lines that differ.
        for (committed, made) in committed.lines().zip(made.lines()) {
            assert_eq!(committed, made);
        }
        assert_eq!(committed.lines().count(), made.lines().count());
    }

    #[test]
    fn long_values_are_broken_and_stay_the_same_json() {
        let long: Vec<u32> = (0..200).collect();
        let value = json!({"a": {"b": long, "c": [{"d": "x".repeat(120)}]}, "e": 1});
        let text = pretty(&value, 0);
        assert!(text.lines().all(|line| line.len() < 2 * WIDTH));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
