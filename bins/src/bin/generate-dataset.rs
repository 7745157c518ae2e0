//! Data sets of visual puzzles: pictures, solutions, clips and records.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::{Args, Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;
use vtb_bins::ending::{self, INTERRUPTED, Usage};
use vtb_data::generate::{
    ClipSettings, ClipSize, Ended, KNOBS, ParamLayers, Plan, Progress, Request, Splits, Summary,
    choose_tasks, generate,
};
use vtb_data::manifest::Manifest;
use vtb_data::video::SizeFit;
use vtb_trainer::signal::Interrupt;

/// Makes data sets of visual puzzles: pictures, solutions, clips and records.
///
/// Everything follows from the settings and the seed, whatever the number of workers. A run that was stopped goes on
/// when it is started again with the same settings.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLE)]
struct Cli {
    /// Folder of the data set: new, or with an earlier run of the same settings
    #[arg(
        long,
        alias = "output_dir",
        value_name = "DIR",
        default_value = "data/puzzles"
    )]
    output_dir: PathBuf,
    /// Tasks to make, or `all`
    #[arg(long, value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    tasks: Vec<String>,
    /// Only tasks of these groups: eyeballing, maze, visual, visual_puzzle
    #[arg(long, alias = "task_groups", value_name = "GROUP", num_args = 1.., value_delimiter = ',')]
    task_groups: Vec<String>,
    /// Tasks to leave out
    #[arg(long, alias = "exclude_tasks", value_name = "NAME", num_args = 1.., value_delimiter = ',')]
    exclude_tasks: Vec<String>,
    /// Records of each task, every one of another scene
    #[arg(long, value_name = "N", default_value_t = 10)]
    count: u64,
    /// Seed of everything
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// Threads [default: one per core]
    #[arg(long, alias = "num_workers", value_name = "N")]
    num_workers: Option<usize>,
    /// Parts that share no scene, such as train=0.8,validation=0.1,test=0.1
    #[arg(long, value_name = "SHARES")]
    split: Option<String>,
    /// Data set (folder or manifest) whose scenes must not appear; may be repeated
    #[arg(long, alias = "held_out", value_name = "DIR")]
    held_out: Vec<PathBuf>,
    #[command(flatten)]
    clips: Clips,
    #[command(flatten)]
    params: Params,
    /// Check everything, print the plan and stop: nothing is written
    #[arg(long)]
    dry_run: bool,
    /// Print every task with its group and its parameters, one JSON object a line, and stop
    #[arg(long)]
    list_tasks: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Solution clips")]
struct Clips {
    /// Write a clip of the growing solution for each record
    #[arg(long)]
    video: bool,
    /// Frames of a clip, exactly; video models want 4k+1
    #[arg(long, value_name = "N", default_value_t = 81, requires = "video")]
    frames: usize,
    /// Frames per second
    #[arg(long, value_name = "X", default_value_t = 16.0, requires = "video")]
    fps: f64,
    /// Size of the frames [default: that of the picture]
    #[arg(long, alias = "video_size", value_name = "WxH", requires = "video", value_parser = size)]
    video_size: Option<(u32, u32)>,
    /// How pictures of another size are brought to it
    #[arg(long, value_enum, default_value_t = Fit::Pad, requires = "video_size")]
    fit: Fit,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Fit {
    /// Shrink to fit, repeat the edge
    Pad,
    /// Fill, cut what sticks out
    Crop,
    /// Stretch
    Resample,
}

/// Sizes that several tasks have; later ones win: these, --config, --set.
#[derive(Debug, Args)]
#[command(next_help_heading = "Parameters of tasks")]
struct Params {
    /// Width of the pictures of every task, pixels; alone, pictures are square
    #[arg(long, alias = "canvas_width", value_name = "PX")]
    canvas_width: Option<u32>,
    /// Height of the pictures of every task, pixels
    #[arg(long, alias = "canvas_height", value_name = "PX")]
    canvas_height: Option<u32>,
    /// Radius of the markers (eyeballing)
    #[arg(long, alias = "point_radius", value_name = "PX")]
    point_radius: Option<f64>,
    /// Thickness of the lines (eyeballing)
    #[arg(long, alias = "line_width", value_name = "PX")]
    line_width: Option<f64>,
    /// Rows of cells, odd (maze_square)
    #[arg(long, alias = "maze_rows", value_name = "N")]
    maze_rows: Option<u32>,
    /// Columns of cells, odd (maze_square)
    #[arg(long, alias = "maze_cols", value_name = "N")]
    maze_cols: Option<u32>,
    /// Side of a cell (maze_square)
    #[arg(long, alias = "maze_cell_size", value_name = "PX")]
    maze_cell_size: Option<u32>,
    /// Rings of cells about the middle (maze_hexagon)
    #[arg(long, alias = "hex_radius", value_name = "N")]
    hex_radius: Option<u32>,
    /// Side of a cell (maze_hexagon)
    #[arg(long, alias = "hex_cell_size", value_name = "PX")]
    hex_cell_size: Option<u32>,
    /// Thickness of the walls (maze_hexagon)
    #[arg(long, alias = "hex_wall_thickness", value_name = "PX")]
    hex_wall_thickness: Option<u32>,
    /// Rings (maze_labyrinth)
    #[arg(long, alias = "lab_rings", value_name = "N")]
    lab_rings: Option<u32>,
    /// Cells of a ring (maze_labyrinth)
    #[arg(long, alias = "lab_segments", value_name = "N")]
    lab_segments: Option<u32>,
    /// Width of a ring (maze_labyrinth)
    #[arg(long, alias = "lab_cell_size", value_name = "PX")]
    lab_cell_size: Option<u32>,
    /// Thickness of the walls (maze_labyrinth)
    #[arg(long, alias = "lab_wall_thickness", value_name = "PX")]
    lab_wall_thickness: Option<u32>,
    /// TOML or JSON file with a table of parameters for each task
    #[arg(long, alias = "task_config_path", value_name = "FILE")]
    config: Option<PathBuf>,
    /// One parameter, such as maze_square.print_ids=false; may be repeated
    #[arg(long, value_name = "TASK.KEY=VALUE")]
    set: Vec<String>,
}

const EXAMPLE: &str = "\
Example:
  generate-dataset --output-dir data/mazes --tasks maze_square --count 1000 --seed 7 --maze-rows 11 --maze-cols 11 \\
                   --split train=0.9,test=0.1

Writes DIR/manifest.jsonl, DIR/generation.json and, for every task, data.json, puzzles/ and solutions/.

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted (start it again to go on).";

fn main() -> ExitCode {
    let cli = Cli::parse();
    ending::start();
    ending::finish(run(&cli))
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let mut held_out = BTreeSet::new();
    for place in &cli.held_out {
        for entry in Manifest::open(place)?.iter() {
            held_out.extend(entry?.record.map(|record| record.scene_hash));
        }
    }
    let params = file(&cli.params)?;
    // Whatever is wrong from here on was asked for wrongly.
    let plan = plan(cli, params, held_out).map_err(|fault| Usage(fault.to_string()))?;
    if cli.list_tasks {
        list(&plan)?;
        return Ok(ExitCode::SUCCESS);
    }
    show(cli, &plan)?;
    if cli.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    let stop = Interrupt::install()?;
    let mut meter = Meter::new(plan.records());
    let workers = cli.num_workers.map_or_else(cores, Ok)?;
    let ended = generate(&plan, &cli.output_dir, workers, &mut |progress| {
        meter.show(progress);
        match stop.is_set() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    meter.bar.finish_and_clear();
    match ended? {
        Ended::Finished(summary) => {
            report(&summary)?;
            Ok(ExitCode::SUCCESS)
        }
        Ended::Interrupted { done, total } => {
            let mut out = std::io::stderr();
            writeln!(out, "interrupted: {done} of {total} records are finished")?;
            Ok(ExitCode::from(INTERRUPTED))
        }
    }
}

fn plan(cli: &Cli, params: Value, held_out: BTreeSet<String>) -> anyhow::Result<Plan> {
    let tasks = choose_tasks(&cli.tasks, &cli.task_groups, &cli.exclude_tasks)?;
    let mut layers = ParamLayers::new(&tasks);
    layers.canvas(cli.params.canvas_width, cli.params.canvas_height)?;
    for (option, value) in knobs(&cli.params) {
        let Some(knob) = KNOBS.iter().find(|knob| knob.option == option) else {
            continue;
        };
        if let Some(value) = value {
            layers.knob(knob, value)?;
        }
    }
    layers.file(params)?;
    for assignment in &cli.params.set {
        layers.set(assignment)?;
    }
    let Clips {
        video,
        frames,
        fps,
        video_size,
        fit,
    } = cli.clips;
    let size = video_size.map(|(width, height)| ClipSize {
        width,
        height,
        fit: match fit {
            Fit::Pad => SizeFit::Pad,
            Fit::Crop => SizeFit::Crop,
            Fit::Resample => SizeFit::Resample,
        },
    });
    let request = Request {
        tasks,
        params: layers.finish(),
        count: cli.count,
        seed: cli.seed,
        video: video.then_some(ClipSettings { frames, fps, size }),
        splits: cli.split.as_deref().map(Splits::parse).transpose()?,
        held_out,
    };
    Ok(Plan::new(request)?)
}

fn knobs(params: &Params) -> [(&'static str, Option<Value>); 12] {
    let whole = |value: Option<u32>| value.map(Value::from);
    let real = |value: Option<f64>| value.map(Value::from);
    [
        ("point-radius", real(params.point_radius)),
        ("line-width", real(params.line_width)),
        ("maze-rows", whole(params.maze_rows)),
        ("maze-cols", whole(params.maze_cols)),
        ("maze-cell-size", whole(params.maze_cell_size)),
        ("hex-radius", whole(params.hex_radius)),
        ("hex-cell-size", whole(params.hex_cell_size)),
        ("hex-wall-thickness", whole(params.hex_wall_thickness)),
        ("lab-rings", whole(params.lab_rings)),
        ("lab-segments", whole(params.lab_segments)),
        ("lab-cell-size", whole(params.lab_cell_size)),
        ("lab-wall-thickness", whole(params.lab_wall_thickness)),
    ]
}

/// The parameter file as an object, empty without one.
fn file(params: &Params) -> anyhow::Result<Value> {
    let Some(path) = &params.config else {
        return Ok(Value::Object(serde_json::Map::new()));
    };
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let json = path.extension().is_some_and(|end| end == "json");
    let value = match json {
        true => serde_json::from_str(&text).map_err(|fault| fault.to_string()),
        false => toml::from_str(&text).map_err(|fault| fault.to_string()),
    };
    value.map_err(|fault| Usage(format!("{}: {fault}", path.display())).into())
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once(['x', 'X']);
    let sides = sides.and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides.ok_or_else(|| "write it as WIDTHxHEIGHT, such as 480x896".to_owned())
}

fn cores() -> anyhow::Result<usize> {
    let cores = std::thread::available_parallelism();
    Ok(cores
        .context("the number of cores is not known; give --num-workers")?
        .get())
}

fn list(plan: &Plan) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    for task in plan.tasks() {
        let about = task.task.info().about;
        let line = serde_json::json!({
            "task": task.name, "group": task.group, "about": about, "params": task.params,
        });
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn show(cli: &Cli, plan: &Plan) -> anyhow::Result<()> {
    let mut out = std::io::stderr();
    let (records, tasks) = (plan.records(), plan.tasks().len());
    let place = cli.output_dir.display();
    writeln!(
        out,
        "{records} records of {tasks} tasks, seed {}, in {place}",
        cli.seed
    )?;
    for task in plan.tasks() {
        let space = match task.scene_space {
            Some(space) => format!("{space} scenes"),
            None => "scenes not counted".to_owned(),
        };
        writeln!(
            out,
            "  {:24} {:14} {} of {space}",
            task.name,
            task.group.as_str(),
            plan.count()
        )?;
    }
    if let Some(video) = plan.video() {
        let ClipSettings { frames, fps, .. } = video;
        writeln!(out, "  clips of {frames} frames at {fps} per second")?;
    }
    Ok(())
}

fn report(summary: &Summary) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{}", summary.manifest.display())?;
    for (name, task) in &summary.tasks {
        let parts: Vec<String> = task
            .splits
            .iter()
            .map(|(part, n)| format!("{part} {n}"))
            .collect();
        let line = format!(
            "{name:24} {:>8} records  {}",
            task.tally.records,
            parts.join(", ")
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A bar on a terminal, a line every ten seconds elsewhere.
struct Meter {
    bar: ProgressBar,
    said: Option<Instant>,
}

impl Meter {
    fn new(total: u64) -> Self {
        const TEMPLATE: &str = "{msg:24} [{bar:24}] {pos}/{len} {elapsed}";
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::new(total),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, said: None }
    }

    fn show(&mut self, progress: &Progress<'_>) {
        let Progress {
            task,
            done,
            total,
            rate,
            left,
            ..
        } = progress;
        let left = left.map_or_else(String::new, |left| format!(", {} s left", left.as_secs()));
        let speed = format!("{rate:.1}/s{left}");
        if !self.bar.is_hidden() {
            self.bar.set_message(format!("{task} {speed}"));
            self.bar.set_position(*done);
            return;
        }
        let due = self
            .said
            .is_none_or(|at| at.elapsed() >= Duration::from_secs(10));
        if due || done == total {
            self.said = Some(Instant::now());
            // A reader that went away must not end the run.
            let _ = writeln!(std::io::stderr(), "{task} {done}/{total} {speed}");
        }
    }
}
