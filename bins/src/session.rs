//! What both training programs do around the step loop.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vtb_lora::{LoraConfig, write_adapter};
use vtb_models_vlm::qwen3_vl::Qwen3Vl;
use vtb_trainer::TrainError;
use vtb_trainer::checkpoint::{Content, Contents};
use vtb_trainer::progress::{self, Reporter};
use vtb_trainer::run_dir::{RunDir, RunManifest, Start};
use vtb_trainer::signal::Interrupt;

use crate::config::{Resolved, Schema, resolve};
use crate::ending::Usage;
use crate::options::TrainOptions;

/// Keys that are absent by default.
const OPTIONAL: [&str; 10] = [
    "model.path",
    "model.adapter",
    "data.train",
    "data.eval",
    "lora.exclude",
    "grpo.epsilon_high",
    "grpo.delta",
    "grpo.entropy_floor",
    "grpo.repetition_ceiling",
    "lora.targets",
];

/// Keys below which anything may stand.
const FREE: [&str; 2] = ["rewards", "demo.params"];

/// Reads the configuration file and the flags over `defaults`.
pub fn settings<T: Serialize + DeserializeOwned>(
    options: &TrainOptions,
    defaults: &T,
) -> anyhow::Result<Resolved<T>> {
    let schema = Schema {
        optional: &OPTIONAL,
        free: &FREE,
    };
    Ok(resolve(
        defaults,
        options.config.as_deref(),
        &options.overrides(),
        schema,
    )?)
}

/// Whether a configuration file or `--set` names a model.
pub fn names_model(options: &TrainOptions) -> bool {
    let set = options.set.iter().any(|s| s.starts_with("model.path"));
    let file = options
        .config
        .as_deref()
        .and_then(|p| std::fs::read_to_string(p).ok());
    let table = file.and_then(|text| text.parse::<toml::Table>().ok());
    let named = table.and_then(|t| t.get("model")?.get("path").cloned());
    set || named.is_some()
}

/// The directory, or the first free one with a number behind it: a second run without a name disturbs no first one.
pub fn free_directory(wanted: &str) -> String {
    let used = |path: &str| std::fs::read_dir(path).is_ok_and(|mut d| d.next().is_some());
    if !used(wanted) {
        return wanted.to_owned();
    }
    let mut number = 2;
    while used(&format!("{wanted}-{number}")) {
        number += 1;
    }
    format!("{wanted}-{number}")
}

/// Fails with all faults at once.
pub fn refuse(faults: Vec<String>) -> anyhow::Result<()> {
    match faults.len() {
        0 => Ok(()),
        1 => Err(Usage(faults.concat()).into()),
        n => Err(Usage(format!("{n} faults in the settings: {}", faults.join("; "))).into()),
    }
}

/// Opens the run directory and writes what identifies the run.
pub fn open_run(
    program: &str,
    root: &Path,
    resume: bool,
    seed: u64,
    toml: &str,
    fingerprint: &str,
    config: &Value,
) -> Result<RunDir, TrainError> {
    let dir = RunDir::open(root, if resume { Start::Resume } else { Start::Fresh })?;
    if !resume {
        dir.write_config(toml)?;
        let mut manifest = RunManifest::now(program, seed);
        manifest.dataset_fingerprint = fingerprint.to_owned();
        manifest.config_hash = vtb_trainer::canonical::hash(config);
        dir.write_manifest(&manifest)?;
    }
    Ok(dir)
}

/// A dashboard, a bar or plain lines.
pub fn reporter(
    options: &TrainOptions,
    seconds: f64,
    interrupt: &Interrupt,
) -> anyhow::Result<Box<dyn Reporter>> {
    if options.tui {
        return dashboard(interrupt);
    }
    Ok(progress::automatic(Duration::from_secs_f64(
        seconds.clamp(0.0, 3600.0),
    )))
}

#[cfg(feature = "tui")]
fn dashboard(interrupt: &Interrupt) -> anyhow::Result<Box<dyn Reporter>> {
    Ok(Box::new(vtb_trainer::tui::Dashboard::open(
        interrupt.clone(),
    )?))
}

#[cfg(not(feature = "tui"))]
fn dashboard(_interrupt: &Interrupt) -> anyhow::Result<Box<dyn Reporter>> {
    Err(Usage("--tui needs a build with `--features tui`".into()).into())
}

/// Adds the adapter, or the whole model, to a checkpoint.
pub fn export(
    lora: LoraConfig,
    base: String,
    full: Option<PathBuf>,
) -> impl Fn(&Qwen3Vl) -> Result<Contents<'static>, TrainError> {
    move |model| {
        let mut contents = Contents::new();
        let factors = model.adapter_factors();
        if !factors.is_empty() {
            let (lora, base) = (lora.clone(), base.clone());
            let size_hint = factors
                .values()
                .map(|f| (f.a.num_elements() + f.b.num_elements()) as u64 * 4)
                .sum();
            let write = move |dir: &Path| {
                write_adapter(dir, &lora, &base, &factors).map_err(TrainError::other)
            };
            contents.insert(
                "adapter".into(),
                Content::Tree {
                    size_hint,
                    write: Box::new(write),
                },
            );
        } else if let Some(source) = &full {
            let size_hint = model.parameters() * 4;
            let (model, source) = (model.clone(), source.clone());
            let write =
                move |dir: &Path| save_model(&model, &source, dir).map_err(TrainError::other);
            contents.insert(
                "model".into(),
                Content::Tree {
                    size_hint,
                    write: Box::new(write),
                },
            );
        }
        Ok(contents)
    }
}

/// Writes the weights, and the tokenizer and processor files of the directory they came from.
pub fn save_model(model: &Qwen3Vl, source: &Path, dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    for entry in std::fs::read_dir(source)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|n| n.to_str())
            .unwrap_or_default()
            .to_owned();
        let text = name.ends_with(".json") || name.ends_with(".jinja") || name.ends_with(".txt");
        if path.is_file() && text && !name.contains("safetensors") && name != "config.json" {
            std::fs::copy(&path, dir.join(&name))?;
        }
    }
    model.save(dir)?;
    Ok(())
}

/// Quotes a path for a command line where it needs it.
pub fn shown(path: &Path) -> String {
    let text = path.display().to_string();
    if text.contains(char::is_whitespace) {
        format!("'{text}'")
    } else {
        text
    }
}
