//! Pictures and an instruction in, an edited picture out.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use serde_json::json;
use vtb_bins::edit::{
    EditModel, EditSettings, Job, PictureForm, Told, check_place, load, parse_size, read_latents,
    same_file, write_latents, write_picture,
};
use vtb_bins::ending::{self, Usage};
use vtb_bins::model::{check_machine, open_machine};
use vtb_bins::settings::ModelSection;
use vtb_bins::source::{Source, Wanted};
use vtb_data::ImageRef;
use vtb_models_diffusion::qwen_image::{Activation, EditTemplate, noise};
use vtb_models_vlm::processor::Rgb;

/// Edits pictures by instruction with a Qwen-Image-Edit, optionally with a trained adapter.
///
/// One edit (--image, --prompt), whose picture is written to --out, or all rows of a file (--data), whose pictures are
/// written to the folder --output, with predictions.jsonl for `evaluate image`. Where that folder has the first pictures
/// already, it goes on after them: give the same flags again, and another folder for another model or adapter.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLE)]
struct Cli {
    /// Model directory in the diffusers layout, or a name on the hub: org/name@revision
    #[arg(long, value_name = "DIR|NAME")]
    model: String,
    /// Adapter: a PEFT folder or name on the hub, or a file of diffusers, ComfyUI, Kohya or DiffSynth
    #[arg(long, value_name = "PATH|NAME")]
    adapter: Option<String>,
    /// Picture to edit; may be repeated, in order
    #[arg(long, value_name = "FILE", required_unless_present = "data")]
    image: Vec<PathBuf>,
    /// What to do with the pictures, which are called `Picture 1`, `Picture 2`, ...
    #[arg(long, value_name = "TEXT", required_unless_present = "data")]
    prompt: Option<String>,
    /// File for the result, .png or .jpg; one of that name is replaced
    #[arg(long, value_name = "FILE", required_unless_present = "data")]
    out: Option<PathBuf>,
    /// Rows to edit: metadata.json, JSON lines or CSV with `prompt`, `edit_image` and `id`, as `prepare-data image`
    /// writes them
    #[arg(long, value_name = "FILE", requires = "output",
        conflicts_with_all = ["image", "prompt", "out", "latents", "save_latents"])]
    data: Option<PathBuf>,
    /// Pictures of --data are relative to this folder [default: that of the file]
    #[arg(long, value_name = "DIR", requires = "data")]
    image_root: Option<PathBuf>,
    /// Folder for the pictures, each named by the id of its row, and predictions.jsonl
    #[arg(long, value_name = "DIR", requires = "data")]
    output: Option<PathBuf>,
    /// Pictures for each row, from different noise
    #[arg(long, value_name = "K", default_value_t = 1, requires = "data")]
    num_samples: usize,
    /// What the result is to be unlike; without guidance it is not looked at
    #[arg(long, value_name = "TEXT", default_value = " ")]
    negative_prompt: String,
    /// Steps from noise to the picture, at least 2
    #[arg(long, value_name = "N", default_value_t = 40)]
    steps: usize,
    /// Strength of guidance; 1 is none, which takes half the time
    #[arg(long, value_name = "S", default_value_t = 4.0)]
    cfg: f32,
    /// Guide without bringing every token back to the norm it has without guidance
    #[arg(long)]
    no_rescale: bool,
    /// Seed of the noise
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// Size of the result, multiples of 16 [default: about 1024 x 1024 pixels in the shape of the last picture]
    #[arg(long, value_name = "WxH", value_parser = parse_size)]
    size: Option<(usize, usize)>,
    /// How pictures stand in the prompt: numbered, or one alone as in the first Qwen-Image-Edit
    #[arg(long, value_enum, default_value_t = Template::List)]
    template: Template,
    /// x·sigmoid(1.702x) in the transformer's MLPs, for adapters that were trained with it (DiffSynth)
    #[arg(long)]
    quick_gelu: bool,
    /// Pixels of a picture as the transformer sees it
    #[arg(long, value_name = "PX", default_value_t = 1 << 20, value_parser = clap::value_parser!(u32).range(1024..=1 << 24))]
    reference_area: u32,
    /// Pixels of a picture as the text encoder sees it, with the list template
    #[arg(long, value_name = "PX", default_value_t = 384 * 384, value_parser = clap::value_parser!(u32).range(1024..=1 << 24))]
    condition_area: u32,
    /// Start from this noise instead of a seed: safetensors with the key `latents`, [1,16,1,H/8,W/8]
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
enum Template {
    /// `Picture 1:`, `Picture 2:`, ...
    List,
    /// One picture without a number
    Single,
}

const EXAMPLE: &str = "\
Examples:
  infer-image --model Qwen-Image-Edit-2511 --image maze.png --prompt 'Draw the path' --out path.png
  infer-image --model Qwen-Image-Edit-2511 --adapter runs/image/checkpoints/step-2000/adapter --data data/image/metadata.json --output runs/edited
  evaluate image --dataset data/points --predictions runs/edited/predictions.jsonl --output runs/judged

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
    match (&cli.data, &cli.output, &cli.out) {
        (Some(data), Some(output), _) => many(cli, &settings, &section, data, output),
        (_, _, Some(out)) => one(cli, &settings, &section, out),
        _ => Err(Usage("give --out, or --data and --output".into()).into()),
    }
}

#[allow(
    clippy::print_stdout,
    reason = "the file that was written is the result"
)]
fn one(
    cli: &Cli,
    settings: &EditSettings,
    section: &ModelSection,
    out: &Path,
) -> anyhow::Result<ExitCode> {
    PictureForm::of(out)?;
    let read = |path: &PathBuf| load(&ImageRef::Path(path.clone()));
    let pictures: Vec<Rgb> = cli.image.iter().map(read).collect::<Result<_, _>>()?;
    let sizes: Vec<_> = pictures.iter().map(|p| (p.width, p.height)).collect();
    let size = settings.check_pictures(&sizes)?;
    if cli.save_latents.as_deref() == Some(out) {
        let why = format!(
            "--out and --save-latents are both {}; name two files",
            out.display()
        );
        return Err(Usage(why).into());
    }
    for file in [Some(out), cli.save_latents.as_deref()]
        .into_iter()
        .flatten()
    {
        check_place(file)?;
        let given = cli.image.iter().chain(&cli.latents);
        if let Some(given) = given.into_iter().find(|given| same_file(given, file)) {
            let shown = given.display();
            return Err(Usage(format!("{shown} would be replaced; name another file")).into());
        }
    }
    let model = cli.find_model()?.open()?;
    model.check_steps(settings.steps, size)?;
    let shape = model.latent_shape(size);
    let start = match &cli.latents {
        Some(path) => read_latents(path, shape)?,
        None => noise(shape, settings.seed),
    };
    let machine = open_machine(section)?;
    let told = Told::default();
    let prompt = cli.prompt.as_deref().unwrap_or_default();
    let request = |_| Ok(settings.request(pictures.clone(), prompt));
    let (drawing, inputs) = model.prepare(&machine, settings.activation, 1, &request, &told)?;
    let inputs = inputs.first().context("nothing was encoded")?;
    told.begin("step", settings.steps);
    let (latent, picture) = drawing.draw(inputs, start, settings.steps, &mut || told.step())?;
    told.end();
    if let Some(path) = &cli.save_latents {
        write_latents(path, &latent)?;
    }
    write_picture(out, &picture)?;
    println!("{}", out.display());
    Ok(ExitCode::SUCCESS)
}

#[allow(
    clippy::print_stdout,
    reason = "the file that was written is the result"
)]
fn many(
    cli: &Cli,
    settings: &EditSettings,
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
    recorded.insert("num-samples".into(), json!(cli.num_samples));
    let job = Job::open(
        data,
        cli.image_root.as_deref(),
        output,
        cli.num_samples,
        recorded,
    )?;
    if !job.is_done() {
        let model = found.open()?;
        job.check(settings, &model)?;
        job.run(settings, model, &open_machine(section)?)?;
    }
    println!("{}: {} pictures", job.predictions().display(), job.len());
    Ok(ExitCode::SUCCESS)
}

impl Cli {
    fn settings(&self) -> EditSettings {
        EditSettings {
            negative_prompt: self.negative_prompt.clone(),
            cfg: self.cfg,
            rescale: !self.no_rescale,
            steps: self.steps,
            seed: self.seed,
            size: self.size,
            template: match self.template {
                Template::List => EditTemplate::List,
                Template::Single => EditTemplate::Single,
            },
            activation: match self.quick_gelu {
                true => Activation::QuickGelu,
                false => Activation::GeluTanh,
            },
            reference_area: self.reference_area as usize,
            condition_area: self.condition_area as usize,
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
    fn open(&self) -> anyhow::Result<EditModel> {
        let adapter = self.adapter.as_ref().map(Source::fetch).transpose()?;
        EditModel::open(&self.model.fetch()?, adapter.as_deref())
    }
}
