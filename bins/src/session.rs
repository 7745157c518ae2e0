//! What both training programs do around the step loop.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use vtb_lora::{Factors, write_adapter};
use vtb_models_vlm::AnyVlm;
use vtb_models_vlm::export::copy_texts;
use vtb_models_vlm::files::ModelDir;
use vtb_trainer::TrainError;
use vtb_trainer::checkpoint::{Content, Contents};
use vtb_trainer::progress::{self, Reporter};
use vtb_trainer::run_dir::{RunDir, RunManifest, Start};
use vtb_trainer::signal::Interrupt;

use crate::config::{Resolved, Schema, resolve};
use crate::ending::Usage;
use crate::model::check_machine;
use crate::options::TrainOptions;
use crate::settings::{DataSection, EvalSection, ModelSection, TrainSection};

/// Keys that are absent by default.
const OPTIONAL: [&str; 21] = [
    "model.path",
    "model.adapter",
    "data.train",
    "data.eval",
    "data.image_root",
    "data.video_root",
    "data.cache_dir",
    "train.vit_lr",
    "train.aligner_lr",
    "lora.exclude",
    "lora.target_parameters",
    "grpo.epsilon_high",
    "grpo.delta",
    "grpo.entropy_floor",
    "grpo.repetition_ceiling",
    "grpo.sampling_correction_floor",
    "rollout.adapter_dir",
    "rollout.server_adapter_dir",
    "lora.targets",
    "samples.prompts",
    "samples.judge",
];

/// Keys below which anything may stand.
const FREE: [&str; 2] = ["rewards", "demo.params"];

/// Reads the configuration file and the flags over `defaults`. Where no run directory is named, a fresh run takes the
/// first free one and a resumed run the last used one.
pub fn settings<T: Serialize + DeserializeOwned>(
    options: &TrainOptions,
    defaults: &T,
    output_dir: impl Fn(&T) -> String,
) -> anyhow::Result<Resolved<T>> {
    let schema = Schema {
        optional: &OPTIONAL,
        free: &FREE,
    };
    let mut overrides = options.overrides();
    let file = options.config.as_deref();
    let found = resolve(defaults, file, &overrides, schema)?;
    if found.origin("output_dir") != "defaults" || options.print_config {
        return Ok(found);
    }
    let dir = numbered_directory(&output_dir(&found.value), options.resume);
    overrides.push(format!("output_dir={}", Value::from(dir)));
    Ok(resolve(defaults, file, &overrides, schema)?)
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

/// `wanted`, `wanted-2`, `wanted-3`, ...: the first that is free, or the last in use.
fn numbered_directory(wanted: &str, in_use: bool) -> String {
    let used = |path: &str| std::fs::read_dir(path).is_ok_and(|mut d| d.next().is_some());
    let name = |number: u32| {
        if number == 1 {
            wanted.to_owned()
        } else {
            format!("{wanted}-{number}")
        }
    };
    let mut free = 1;
    while used(&name(free)) {
        free += 1;
    }
    name(if in_use {
        free.saturating_sub(1).max(1)
    } else {
        free
    })
}

/// What settings name of model and data.
pub struct NamedData {
    /// A model.
    pub model: bool,
    /// Training rows.
    pub train: bool,
    /// Held-out rows.
    pub eval: bool,
    /// `data.eval_split`.
    pub eval_split: f64,
    /// `data.ahead`.
    pub ahead: usize,
}

impl NamedData {
    /// Faults in how these go together.
    pub fn faults(&self) -> Vec<String> {
        let share = self.eval_split;
        let checks = [
            (
                self.model && !self.train,
                "a model is named but no data; give --data FILE or org/name".to_owned(),
            ),
            (
                self.train && !self.model,
                "data is named but no model; give --model DIR or org/name".to_owned(),
            ),
            (
                self.eval && !self.train,
                "held-out data is named but no training data; give --data FILE".to_owned(),
            ),
            (
                !(0.0..1.0).contains(&share),
                format!("data.eval_split = {share} must be at least 0 and below 1"),
            ),
            (
                share > 0.0 && self.eval,
                "data.eval_split and data.eval are both set; leave one out".to_owned(),
            ),
            (
                share > 0.0 && !self.train,
                "data.eval_split is set but no data is named; give --data FILE".to_owned(),
            ),
            (self.ahead == 0, "data.ahead must be at least 1".to_owned()),
        ];
        let wrong = checks.into_iter().filter(|(wrong, _)| *wrong);
        wrong.map(|(_, fault)| fault).collect()
    }
}

/// Faults in how model, data and mode go together, shared by the programs.
pub fn shared_faults(
    model: &ModelSection,
    data: &DataSection,
    train: &TrainSection,
    eval: &EvalSection,
) -> Vec<String> {
    let named = NamedData {
        model: model.path.is_some(),
        train: data.train.is_some(),
        eval: data.eval.is_some(),
        eval_split: data.eval_split,
        ahead: data.ahead,
    };
    let mut faults = named.faults();
    if eval.batch_size == 0 {
        faults.push("eval.batch_size must be at least 1".into());
    }
    if eval.num_samples > 0 && !(eval.temperature > 0.0 && eval.temperature.is_finite()) {
        faults.push(format!(
            "eval.temperature = {} must be above 0: eval.num_samples asks for different answers",
            eval.temperature
        ));
    }
    for (key, rate) in [("vit_lr", train.vit_lr), ("aligner_lr", train.aligner_lr)] {
        if rate.is_some_and(|rate| !(rate >= 0.0 && rate.is_finite())) {
            faults.push(format!("train.{key} must be at least 0"));
        }
        if rate.is_some() && train.learning_rate <= 0.0 {
            faults.push(format!("train.{key} needs a train.learning_rate above 0"));
        }
    }
    if model.overflow().is_none() {
        let found = &model.truncation_strategy;
        faults.push(format!(
            "model.truncation_strategy = `{found}`: use `raise`, `left` or `right`"
        ));
    }
    if data.labels().is_none() {
        let found = &data.loss_scale;
        faults.push(format!(
            "data.loss_scale = `{found}`: use `default`, `last_round` or `all`"
        ));
    }
    if !(data.cache_gib > 0.0 && data.cache_gib.is_finite()) {
        faults.push(format!(
            "data.cache_gib = {} must be above 0",
            data.cache_gib
        ));
    }
    if !["lora", "full"].contains(&train.mode.as_str()) {
        faults.push(format!(
            "train.mode = `{}`: use `lora` or `full`",
            train.mode
        ));
    }
    if train.mode == "full" && model.adapter.is_some() {
        faults.push(
            "train.mode = `full` cannot start from an adapter; merge it into the model first"
                .into(),
        );
    }
    if let Err(error) = check_machine(model) {
        faults.push(error.to_string());
    }
    faults
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
    let dir = open_dir(root, resume)?;
    identify(program, &dir, resume, seed, toml, fingerprint, config)?;
    Ok(dir)
}

/// Opens the run directory, for runs whose data is made in it.
pub fn open_dir(root: &Path, resume: bool) -> Result<RunDir, TrainError> {
    RunDir::open(root, if resume { Start::Resume } else { Start::Fresh })
}

/// Writes what identifies the run. A run may have been killed before it had written that.
pub fn identify(
    program: &str,
    dir: &RunDir,
    resume: bool,
    seed: u64,
    toml: &str,
    fingerprint: &str,
    config: &Value,
) -> Result<(), TrainError> {
    if !resume || !dir.has_manifest() {
        dir.write_config(toml)?;
        let mut manifest = RunManifest::now(program, seed);
        manifest.dataset_fingerprint = fingerprint.to_owned();
        manifest.config_hash = vtb_trainer::canonical::hash(config);
        dir.write_manifest(&manifest)?;
    }
    Ok(())
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

/// Adds the adapter, or the whole model, to a checkpoint. `source` is the directory the model came from; adapters name
/// their base by `name` where there is one, so that they load on other machines.
pub fn export(
    source: PathBuf,
    name: Option<String>,
) -> impl Fn(&AnyVlm, u64) -> Result<Contents<'static>, TrainError> {
    let name = name.unwrap_or_else(|| source.display().to_string());
    move |model, _| {
        let mut contents = Contents::new();
        let (source, name) = (source.clone(), name.clone());
        if let Some(lora) = model.adapter_config().cloned() {
            let factors = model.adapter_factors();
            let values = |f: &Factors| (f.a.num_elements() + f.b.num_elements()) as u64;
            let size_hint = 4 * factors.values().map(values).sum::<u64>();
            let write = move |dir: &Path| {
                write_adapter(dir, &lora, &name, &factors).map_err(TrainError::other)
            };
            contents.insert(
                "adapter".into(),
                Content::Tree {
                    size_hint,
                    write: Box::new(write),
                },
            );
        } else {
            let size_hint = 4 * model.parameters();
            let model = model.clone();
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
pub fn save_model(model: &AnyVlm, source: &Path, dir: &Path) -> anyhow::Result<()> {
    copy_texts(&ModelDir::open(source)?, dir)?;
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

/// What is said after a signal.
pub fn interrupted(step: u64, root: &Path) -> String {
    format!(
        "interrupted after step {step}; go on with --resume --output-dir {}",
        shown(root)
    )
}
