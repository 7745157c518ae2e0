//! Judges answers, edited pictures and clips against a data set.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use vtb_bins::ending::{self, Usage};
use vtb_bins::source::{Wanted, resolve};
use vtb_data::evaluate::{Kind, REPORT, RESULTS, SUMMARY, Settings, evaluate};
use vtb_data::manifest::{MANIFEST, Manifest};
use vtb_puzzle::answer::TagPolicy;

/// Judges answers, edited pictures or clips: verdicts, accuracy and a report.
///
/// Every verdict has a reason. What cannot be read is a verdict too, never the end of the run.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLE)]
struct Cli {
    /// What was predicted
    #[arg(value_enum)]
    kind: What,
    /// Data set: a folder or manifest made by generate-dataset, a folder of `<task>/data.json`, or a name on the hub:
    /// org/name@revision
    #[arg(long, value_name = "DIR|NAME")]
    dataset: String,
    /// JSONL file of rows {"id", "text" | "image" | "video"}, or a folder with a file or folder named after each id
    #[arg(long, value_name = "PATH")]
    predictions: PathBuf,
    /// New folder for results.jsonl, summary.json and report.html
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Where paths in the JSONL file start [default: the file's folder]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Leave out records that nothing was predicted for, instead of counting them as invalid
    #[arg(long)]
    skip_missing: bool,
    /// Whether a text must give its answer inside answer tags
    #[arg(long, value_enum, default_value_t = Tags::Preferred)]
    answer_tags: Tags,
    /// Failed attempts shown in the report
    #[arg(long, value_name = "N", default_value_t = 48)]
    cases: usize,
    /// Threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    num_workers: Option<u16>,
    /// Skip records of a data.json that lack a field, instead of stopping there
    #[arg(long)]
    lenient: bool,
    /// Replace the results that are in the output folder
    #[arg(long)]
    overwrite: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// Texts with an answer
    Text,
    /// Edited pictures: PNG, JPEG, WebP, BMP, GIF
    Image,
    /// Clips: MP4 with H.264, GIF, Y4M, folders of PNG frames
    Video,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Tags {
    /// Without tags there is no answer
    Required,
    /// Tags count where they are; without any the whole text is read
    Preferred,
    /// The whole text is read, tags or not
    Ignored,
}

const EXAMPLE: &str = "\
Example:
  generate-dataset --output-dir data/points --task-groups eyeballing --count 20
  evaluate image --dataset data/points --predictions edited.jsonl --output runs/edited

Several rows of one id are attempts at it, and so are the folders inside an id's folder.

Exit codes: 0 judged, 1 failed, 2 wrong usage.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    ending::start();
    ending::finish(run(&cli))
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let there = cli.output.join(RESULTS);
    if there.exists() && !cli.overwrite {
        let place = there.display();
        return Err(Usage(format!(
            "{place} exists; give another --output or --overwrite"
        ))
        .into());
    }
    if let Some(workers) = cli.num_workers {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(workers.into());
        pool.build_global()?;
    }
    let manifest = open(&resolve(Wanted::Data, &cli.dataset)?, cli.lenient)?;
    let mut settings = Settings {
        root: cli.root.clone(),
        skip_missing: cli.skip_missing,
        ..Settings::default()
    };
    settings.policy.tags = match cli.answer_tags {
        Tags::Required => TagPolicy::Required,
        Tags::Preferred => TagPolicy::Preferred,
        Tags::Ignored => TagPolicy::Ignored,
    };
    let kind = match cli.kind {
        What::Text => Kind::Text,
        What::Image => Kind::Image,
        What::Video => Kind::Video,
    };
    let bar = progress_bar();
    let begun = Instant::now();
    let tell = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let evaluation = evaluate(&manifest, kind, &cli.predictions, &settings, &tell)?;
    bar.finish_and_clear();
    evaluation.write(&cli.output, cli.cases)?;
    report(cli, &manifest, evaluation.summary(), begun.elapsed())?;
    Ok(ExitCode::SUCCESS)
}

fn open(dataset: &Path, lenient: bool) -> anyhow::Result<Manifest> {
    let ours = dataset.is_file() || dataset.join(MANIFEST).exists();
    Ok(match ours {
        true => Manifest::open(dataset)?,
        false => Manifest::open_upstream(dataset, lenient)?,
    })
}

fn progress_bar() -> ProgressBar {
    const TEMPLATE: &str = "judging [{bar:24}] {pos}/{len} {per_sec} eta {eta}";
    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::new(0),
        false => ProgressBar::hidden(),
    };
    let style = ProgressStyle::with_template(TEMPLATE);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn report(
    cli: &Cli,
    manifest: &Manifest,
    summary: &vtb_data::evaluate::Summary,
    took: Duration,
) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{summary}")?;
    for name in [RESULTS, SUMMARY, REPORT] {
        writeln!(out, "{}", cli.output.join(name).display())?;
    }
    let all = &summary.overall;
    let mut notes = std::io::stderr();
    writeln!(
        notes,
        "{} attempts judged in {:.1} s",
        all.attempts,
        took.as_secs_f64()
    )?;
    for (count, what) in [
        (
            manifest.skipped().len(),
            "records of the data set were skipped",
        ),
        (
            all.missing,
            "records have no prediction and count as invalid (--skip-missing leaves them out)",
        ),
        (
            all.unreadable,
            "attempts could not be read and count as invalid; results.jsonl says why",
        ),
    ] {
        if count > 0 {
            writeln!(notes, "warning: {count} {what}")?;
        }
    }
    Ok(())
}
