//! Questions about pictures and videos in, answers out.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use serde_json::json;
use vtb_bins::answers::{Ask, answer_file};
use vtb_bins::ending::{self, Usage};
use vtb_bins::model::{open_machine, open_model};
use vtb_bins::settings::ModelSection;
use vtb_bins::source::{Wanted, resolve};
use vtb_bins::video;
use vtb_models_vlm::chat::Message;
use vtb_models_vlm::encode::Media;
use vtb_models_vlm::processor::VideoForm;
use vtb_nn::lm::{CausalLm, SampleOptions, StopReason};

/// Answers questions about pictures and videos with a Qwen3-VL or Qwen2.5-VL, optionally with a trained adapter.
///
/// One question (--prompt), whose answer is printed, or all rows of a file (--data), whose answers are written to --output
/// for `evaluate text`. Where that file has the first answers already, it goes on after them: give the same flags again,
/// and another file for another model or adapter.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Model directory in the Hugging Face layout, or a name on the hub: org/name@revision
    #[arg(long, value_name = "DIR|NAME")]
    model: String,
    /// PEFT adapter: a directory, or org/name@revision
    #[arg(long, value_name = "DIR|NAME")]
    adapter: Option<String>,
    /// Picture file; may be repeated, in order
    #[arg(long, value_name = "FILE")]
    image: Vec<PathBuf>,
    /// Video file (MP4, GIF, Y4M) or folder of frames; may be repeated, in order
    #[arg(long, value_name = "FILE")]
    video: Vec<PathBuf>,
    /// How videos stand in the prompt: `groups` as the models were trained, `nested` as transformers 5 writes them
    #[arg(long, value_name = "FORM", default_value = "groups")]
    video_form: Form,
    /// The question; `<image>` and `<video>` mark the places of pictures and videos, else they come first
    #[arg(long, value_name = "TEXT", required_unless_present = "data")]
    prompt: Option<String>,
    /// Rows to answer: JSON lines with `messages`, `images` and `id`, as `prepare-data vlm` writes them
    #[arg(long, value_name = "FILE", requires = "output", conflicts_with_all = ["prompt", "image", "video", "json"])]
    data: Option<PathBuf>,
    /// File for the answers, JSON lines of `id` and `text`
    #[arg(long, value_name = "FILE", requires = "data")]
    output: Option<PathBuf>,
    /// Answers to each row, for pass@k; above 1 it needs a temperature above 0
    #[arg(long, value_name = "K", default_value_t = 1, requires = "data")]
    num_samples: usize,
    /// Answers that decode at a time
    #[arg(long, value_name = "N", default_value_t = 32, requires = "data")]
    max_num_seqs: usize,
    /// Most tokens of the answer
    #[arg(long, value_name = "N", default_value_t = 512)]
    max_new_tokens: usize,
    /// Sampling temperature; 0 is greedy
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    temperature: f32,
    /// Nucleus mass; 1 is off
    #[arg(long, value_name = "P", default_value_t = 1.0)]
    top_p: f32,
    /// Sample among the likeliest tokens; 0 is off
    #[arg(long, value_name = "K", default_value_t = 0)]
    top_k: usize,
    /// Penalty on tokens already seen; 1 is off
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    repetition_penalty: f32,
    /// Seed of sampling
    #[arg(long, value_name = "N", default_value_t = 42)]
    seed: u64,
    /// `auto`, `cpu`, `cuda` or `cuda:N`
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// `auto`, `f32` or `bf16`
    #[arg(long, value_name = "FORMAT", default_value = "auto")]
    precision: String,
    /// Print one JSON object: prompt_token_ids, token_ids, logprobs (natural log, of the chosen tokens), text,
    /// stop_reason
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    Groups,
    Nested,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    ending::start();
    ending::finish(answer(&cli))
}

#[allow(clippy::print_stdout, reason = "the answer goes to standard output")]
fn answer(cli: &Cli) -> anyhow::Result<ExitCode> {
    if cli.num_samples == 0 || cli.max_num_seqs == 0 {
        return Err(Usage("--num-samples and --max-num-seqs must be at least 1".into()).into());
    }
    if cli.num_samples > 1 && cli.temperature <= 0.0 {
        let why = "several greedy answers would all be equal; give --temperature";
        return Err(Usage(why.into()).into());
    }
    let section = ModelSection::on(&cli.device, &cli.precision);
    let adapter = cli.adapter.as_deref();
    let adapter = adapter
        .map(|text| resolve(Wanted::Adapter, text))
        .transpose()?;
    let model = resolve(Wanted::Model, &cli.model)?;
    let machine = open_machine(&section)?;
    let (model, mut encoder) = open_model(&model, adapter.as_deref(), &machine)?;
    encoder.options.video_form = match cli.video_form {
        Form::Groups => VideoForm::Groups,
        Form::Nested => VideoForm::Nested,
    };
    let options = SampleOptions {
        max_new_tokens: cli.max_new_tokens,
        temperature: cli.temperature,
        top_k: cli.top_k,
        top_p: cli.top_p,
        repetition_penalty: cli.repetition_penalty,
        stop_ids: encoder.tokenizer.stop_ids(),
        max_num_seqs: cli.max_num_seqs,
    };
    if let (Some(data), Some(output)) = (&cli.data, &cli.output) {
        let ask = Ask {
            options,
            num_samples: cli.num_samples,
            seed: cli.seed,
        };
        let count = answer_file(&model, encoder, data, output, &ask)?;
        println!("{}: {count} answers", output.display());
        return Ok(ExitCode::SUCCESS);
    }
    let images = encoder.images.load(&cli.image)?;
    let mut videos = Vec::new();
    for path in &cli.video {
        videos.push(video::load(path, encoder.video_settings()?)?);
    }
    let media = Media {
        images: &images,
        videos: &videos,
    };
    let prompt = cli.prompt.as_deref().unwrap_or_default();
    let row = encoder.encode_prompt(&[Message::user(prompt)], media)?;
    let mut completions = model.generate(std::slice::from_ref(&row), &options, &[cli.seed])?;
    let completion = completions.pop().context("the model answered nothing")?;
    let text = encoder.decode(&completion.ids)?;
    if !cli.json {
        println!("{text}");
        return Ok(ExitCode::SUCCESS);
    }
    let answer = json!({
        "prompt_token_ids": row.ids,
        "token_ids": completion.ids,
        "logprobs": completion.logprobs,
        "text": text,
        "stop_reason": match completion.stop {
            StopReason::Stop => "stop",
            StopReason::Length => "length",
        },
    });
    println!("{answer}");
    Ok(ExitCode::SUCCESS)
}
