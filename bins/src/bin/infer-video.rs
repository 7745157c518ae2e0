//! A picture and a prompt in, a clip out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use serde_json::json;
use vtb_bins::clip::{
    ClipForm, ClipJob, ClipSettings, VideoModel, check_clip, read_clip_latents, write_clip,
};
use vtb_bins::edit::{Told, check_place, load, parse_size, same_file, write_latents};
use vtb_bins::ending::{self, Usage};
use vtb_bins::model::{check_machine, open_machine};
use vtb_bins::settings::ModelSection;
use vtb_bins::source::{Source, Wanted};
use vtb_data::ImageRef;
use vtb_models_diffusion::scheduler::noise;
use vtb_models_diffusion::wan::Solver;

/// Makes clips from a picture and a prompt with a Wan2.2-TI2V, optionally with a trained adapter.
///
/// One clip (--image, --prompt), which is written to --out, or one for every row of a file (--data), which are written to
/// the folder --output, with predictions.jsonl for `evaluate video`. Where that folder has the first clips already, it
/// goes on after them: give the same flags again, and another folder for another model or adapter.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLE)]
struct Cli {
    /// Model directory in the diffusers layout or with the original files, or a name on the hub: org/name@revision
    #[arg(long, value_name = "DIR|NAME")]
    model: String,
    /// Adapter: a PEFT folder or name on the hub, or a file of diffusers, ComfyUI, Kohya or DiffSynth
    #[arg(long, value_name = "PATH|NAME")]
    adapter: Option<String>,
    /// Picture that the clip starts from, scaled until it covers the size; the middle is kept
    #[arg(long, value_name = "FILE", required_unless_present = "data")]
    image: Option<PathBuf>,
    /// What happens in the clip
    #[arg(long, value_name = "TEXT", required_unless_present = "data")]
    prompt: Option<String>,
    /// File for the clip, .mp4, which is replaced if it is there; or a new folder for PNG frames, which lose nothing
    #[arg(long, value_name = "FILE|DIR", required_unless_present = "data")]
    out: Option<PathBuf>,
    /// Rows: CSV, JSON lines or a JSON list with `prompt`, `video` and `id`, as `prepare-data video` writes them; a clip
    /// starts from `input_image`, else from the first frame of `video`
    #[arg(long, value_name = "FILE", requires = "output",
        conflicts_with_all = ["image", "prompt", "out", "latents", "save_latents"])]
    data: Option<PathBuf>,
    /// Files of --data are relative to this folder [default: that of the file]
    #[arg(long, value_name = "DIR", requires = "data")]
    video_root: Option<PathBuf>,
    /// Folder for the clips, each named by the id of its row, and predictions.jsonl
    #[arg(long, value_name = "DIR", requires = "data")]
    output: Option<PathBuf>,
    /// Clips for each row, from different noise
    #[arg(long, value_name = "K", default_value_t = 1, requires = "data")]
    num_samples: usize,
    /// What the result is to be unlike; without guidance it is not looked at
    #[arg(long, value_name = "TEXT", default_value = "")]
    negative_prompt: String,
    /// Frames: 4k + 1
    #[arg(long, value_name = "N", default_value_t = 81)]
    frames: usize,
    /// Width and height, multiples of 32 [default: 480x896, or 896x480 for a picture that is wider than high]
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    size: Option<(usize, usize)>,
    /// Steps from noise to the clip, at least 2
    #[arg(long, value_name = "N", default_value_t = 50)]
    steps: usize,
    /// Strength of guidance; 1 is none, which takes half the time
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    cfg: f32,
    /// Shift of the noise levels towards noise; 3 is advised for small frames
    #[arg(long, value_name = "S", default_value_t = 5.0)]
    shift: f64,
    /// How a step is taken
    #[arg(long, value_enum, default_value_t = Steps::Unipc)]
    solver: Steps,
    /// Seed of the noise
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// Frames per second of the file
    #[arg(long, value_name = "X", default_value_t = 24.0)]
    fps: f64,
    /// Decode in tiles: less memory, and nearly the same clip
    #[arg(long)]
    tiled: bool,
    /// Start from this noise instead of a seed: safetensors with the key `latents`, [1,48,(N-1)/4+1,H/16,W/16]
    #[arg(long, value_name = "FILE")]
    latents: Option<PathBuf>,
    /// File for the latent of the result, in the form of --latents
    #[arg(long, value_name = "FILE")]
    save_latents: Option<PathBuf>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// `auto`, `f32` or `bf16`
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    precision: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Steps {
    /// Second order, as the model is published with
    Unipc,
    /// First order, as DiffSynth-Studio has it
    Euler,
}

const EXAMPLE: &str = "\
Examples:
  infer-video --model Wan2.2-TI2V-5B --image maze.png --prompt 'A red line solves the maze.' --out solved.mp4
  infer-video --model Wan2.2-TI2V-5B --adapter runs/video/checkpoints/step-2000/adapter --data data/video/test.csv --output runs/clips
  evaluate video --dataset data/mazes --predictions runs/clips/predictions.jsonl --output runs/judged

Exit codes: 0 written, 1 failed, 2 wrong usage.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    ending::start();
    ending::finish(run(&cli))
}

fn run(cli: &Cli) -> anyhow::Result<ExitCode> {
    let settings = cli.settings();
    settings.check()?;
    if cli.num_samples == 0 {
        return Err(Usage("--num-samples must be at least 1".into()).into());
    }
    let section = ModelSection::on(&cli.device, &cli.precision);
    check_machine(&section)?;
    match (&cli.data, &cli.output, &cli.image, &cli.out) {
        (Some(data), Some(output), _, _) => many(cli, &settings, &section, data, output),
        (_, _, Some(image), Some(out)) => one(cli, &settings, &section, image, out),
        _ => Err(Usage("give --image and --out, or --data and --output".into()).into()),
    }
}

#[allow(
    clippy::print_stdout,
    reason = "the file that was written is the result"
)]
fn one(
    cli: &Cli,
    settings: &ClipSettings,
    section: &ModelSection,
    image: &Path,
    out: &Path,
) -> anyhow::Result<ExitCode> {
    ClipForm::of(out)?;
    let picture = load(&ImageRef::Path(image.to_owned()))?;
    let picture = settings.first_frame(&picture);
    if cli.save_latents.as_deref() == Some(out) {
        let why = format!(
            "--out and --save-latents are both {}; name two files",
            out.display()
        );
        return Err(Usage(why).into());
    }
    check_clip(out)?;
    if let Some(file) = &cli.save_latents {
        check_place(file)?;
    }
    for file in [Some(out), cli.save_latents.as_deref()]
        .into_iter()
        .flatten()
    {
        let given = std::iter::once(image).chain(cli.latents.as_deref());
        if let Some(given) = given.into_iter().find(|given| same_file(given, file)) {
            let shown = given.display();
            return Err(Usage(format!("{shown} would be replaced; name another file")).into());
        }
    }
    let model = cli.find_model()?.open()?;
    let shape = model.latent_shape(settings.frames, (picture.width, picture.height));
    let start = match &cli.latents {
        Some(path) => read_clip_latents(path, shape)?,
        None => noise(shape, settings.seed),
    };
    let machine = open_machine(section)?;
    let told = Told::default();
    let prompt = cli.prompt.as_deref().unwrap_or_default();
    let (words, first) = (|_| prompt.to_owned(), |_| Ok(picture.clone()));
    let (drawing, inputs) = model.prepare(&machine, settings, 1, &words, &first, &told)?;
    let inputs = inputs.first().context("nothing was encoded")?;
    told.begin("step", settings.steps);
    let mut step = || told.step();
    let (latent, frames) = drawing.draw(inputs, start, settings, cli.tiled, &mut step)?;
    told.end();
    if let Some(path) = &cli.save_latents {
        write_latents(path, &latent)?;
    }
    write_clip(out, &frames, settings.fps)?;
    println!("{}", out.display());
    Ok(ExitCode::SUCCESS)
}

#[allow(
    clippy::print_stdout,
    reason = "the file that was written is the result"
)]
fn many(
    cli: &Cli,
    settings: &ClipSettings,
    section: &ModelSection,
    data: &Path,
    output: &Path,
) -> anyhow::Result<ExitCode> {
    let found = cli.find_model()?;
    let mut recorded = settings.recorded();
    recorded.insert("model".into(), json!(found.model.name()));
    let adapter = found.adapter.as_ref().map(Source::name);
    recorded.insert("adapter".into(), json!(adapter));
    recorded.insert("precision".into(), json!(cli.precision));
    recorded.insert("tiled".into(), json!(cli.tiled));
    recorded.insert("num-samples".into(), json!(cli.num_samples));
    let root = cli.video_root.as_deref();
    let job = ClipJob::open(data, root, output, cli.num_samples, recorded)?;
    if !job.is_done() {
        let model = found.open()?;
        job.run(settings, cli.tiled, model, &open_machine(section)?)?;
    }
    println!("{}: {} clips", job.predictions().display(), job.len());
    Ok(ExitCode::SUCCESS)
}

impl Cli {
    fn settings(&self) -> ClipSettings {
        ClipSettings {
            negative_prompt: self.negative_prompt.clone(),
            cfg: self.cfg,
            steps: self.steps,
            shift: self.shift,
            solver: match self.solver {
                Steps::Unipc => Solver::UniPc,
                Steps::Euler => Solver::Euler,
            },
            seed: self.seed,
            frames: self.frames,
            size: self.size,
            fps: self.fps,
        }
    }

    /// Finds out where model and adapter are; nothing is fetched yet.
    fn find_model(&self) -> anyhow::Result<Found> {
        let adapter = self.adapter.as_deref();
        let adapter = adapter.map(|text| Source::find(Wanted::Adapter, text));
        Ok(Found {
            model: Source::find(Wanted::Pipeline, &self.model)?,
            adapter: adapter.transpose()?,
        })
    }
}

/// Model and adapter, found and not fetched.
struct Found {
    model: Source,
    adapter: Option<Source>,
}

impl Found {
    fn open(&self) -> anyhow::Result<VideoModel> {
        let adapter = self.adapter.as_ref().map(Source::fetch).transpose()?;
        VideoModel::open(&self.model.fetch()?, adapter.as_deref())
    }
}
