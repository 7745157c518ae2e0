//! A run from an open device to its summary.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use burn::tensor::DType;
use serde_json::{Value, json};
use vtb_data::{Bucket, held_out_rows};
use vtb_lora::{Adapter, AdapterHeader, Factors, write_as};
use vtb_models_diffusion::cache::{Key, TensorCache, hash_folders};
use vtb_models_diffusion::qwen_image::{EditModelDir, QwenImageTransformer};
use vtb_puzzle::judge::PictureJudge;
use vtb_trainer::TrainError;
use vtb_trainer::checkpoint::{Content, Contents};
use vtb_trainer::objectives::flow::FlowConfig;
use vtb_trainer::progress::Reporter;
use vtb_trainer::rng;
use vtb_trainer::run_dir::RunDir;
use vtb_trainer::signal::Interrupt;
use vtb_trainer::train::{
    DrawSamples, Evaluate, FlowEval, FlowMeasured, FlowObjective, Hooks, LoadOptions, Outcome,
    RunContext, check_resume, train,
};

use super::demo;
use super::plan::{cache_dir, machine_section};
use super::previews::{Previews, judges};
use super::rows::{self, Asked, CachedRows, Geometry, Missing, Row};
use super::settings::ImageRun;
use crate::config;
use crate::data::spread;
use crate::edit::fitting;
use crate::ending::INTERRUPTED;
use crate::model::{Machine, open_machine};
use crate::options::TrainOptions;
use crate::plan::Plan;
use crate::session::{identify, interrupted, open_dir, reporter, shown};
use crate::source::{Places, take_over_signals};

/// What held-out rows were before the first step.
const BEFORE: &str = "before.json";
/// Name shown while it runs.
const PHASE: &str = "image";

/// Takes rows to hold out: a matter of their number, the share and the seed.
fn hold_out(rows: Vec<Row>, share: f64, seed: u64) -> anyhow::Result<(Vec<Row>, Vec<Row>)> {
    if share == 0.0 {
        return Ok((rows, Vec::new()));
    }
    let held_out = held_out_rows(rows.len(), share, seed)?;
    let (mut train, mut eval) = (Vec::new(), Vec::new());
    for (index, row) in rows.into_iter().enumerate() {
        match held_out.binary_search(&index) {
            Ok(_) => eval.push(row),
            Err(_) => train.push(row),
        }
    }
    Ok((train, eval))
}

/// A run whose device is open and whose rows were looked at.
pub(super) struct Session {
    run: ImageRun,
    machine: Machine,
    dir: RunDir,
    config: Value,
    model_dir: EditModelDir,
    model_name: String,
    /// To start from, fitted to the model.
    adapter: Option<(Adapter, PathBuf)>,
    judges: HashMap<String, PictureJudge>,
    cache: TensorCache,
    train: Vec<Row>,
    eval: Vec<Row>,
    samples: Vec<Row>,
    geometry: Geometry,
    /// Of the training rows alone.
    dataset_hash: String,
    fingerprint: String,
    started: Instant,
}

impl Session {
    pub(super) fn open(
        mut run: ImageRun,
        options: &TrainOptions,
        places: Places,
    ) -> anyhow::Result<Self> {
        let started = Instant::now();
        let config = serde_json::to_value(&run)?;
        let toml = config::to_toml(&run)?;
        let machine = open_machine(&machine_section(&run))?;
        let given = places
            .model
            .as_deref()
            .map(EditModelDir::open)
            .transpose()?;
        let root = PathBuf::from(&run.output_dir);
        let dir = open_dir(&root, options.resume)?;
        let (train_file, eval_file) = match places.train {
            Some(train) => (train, places.eval),
            None => {
                let made = demo::data(&run.demo, run.seed, &dir.subdir("data")?)?;
                run.samples
                    .judge
                    .get_or_insert(made.judge.display().to_string());
                (made.train, Some(made.eval))
            }
        };
        let model_dir = match given {
            Some(dir) => dir,
            None => {
                let path = dir.root().join("model");
                demo::model(&path, &train_file, run.seed)?;
                EditModelDir::open(&path)?
            }
        };
        let model_path = model_dir.root().to_owned();
        let part = |name: &str| model_path.join(name);
        let precision = format!("{:?}", machine.dtype);
        let geometry = Geometry::of(
            &run,
            hash_folders(&["text_encoder", "tokenizer", "processor"].map(part))?,
            hash_folders(&[part("vae")])?,
            precision,
        );
        let root = run.data.image_root.as_deref().map(Path::new);
        let root = root.filter(|_| run.data.train.is_some());
        let read = |file: &Path| rows::read(file, root, &geometry);
        let train = read(&train_file)?;
        let eval = eval_file.as_deref().map(read).transpose()?;
        if run.data.check_swapped {
            rows::refuse_swapped(
                &train
                    .iter()
                    .chain(eval.iter().flatten())
                    .collect::<Vec<_>>(),
            )?;
        }
        let (train, eval) = match eval {
            Some(eval) => (train, eval),
            None => {
                let seed = rng::seed(run.seed, "held-out rows", 0, 0);
                hold_out(train, run.data.eval_split, seed)?
            }
        };
        let samples = match (&run.samples.prompts, run.samples.count) {
            (_, 0) => Vec::new(),
            (Some(file), count) => read(Path::new(file))?.into_iter().take(count).collect(),
            (None, count) => {
                let from = if eval.is_empty() { &train } else { &eval };
                from.iter().take(count).cloned().collect()
            }
        };
        let most = match run.eval.max_rows {
            0 => eval.len(),
            most => most,
        };
        let eval: Vec<Row> = spread(eval.len(), most).map(|i| eval[i].clone()).collect();
        let judges = match &run.samples.judge {
            Some(dataset) => judges(Path::new(dataset), &samples)
                .with_context(|| format!("samples.judge = {dataset}"))?,
            None => HashMap::new(),
        };
        let outline = QwenImageTransformer::outline(&model_dir.transformer)?;
        let adapter = match places.adapter {
            Some(path) => Some((fitting(&path, &outline.linears())?, path)),
            None => {
                outline.match_adapter(&run.lora.config())?;
                None
            }
        };
        let dataset_hash = rows::fingerprint(&train);
        let encoders = [geometry.encoder.as_str(), &geometry.vae].concat();
        let encoders = Key::of("encoders", &[("files", encoders.as_bytes())]);
        let name = run.data.train.as_deref().unwrap_or("generated");
        let fingerprint = format!("{name} {dataset_hash}, encoders {encoders}");
        check_resume(&RunContext {
            dir: &dir,
            phase: PHASE,
            config: &config,
            dataset_fingerprint: &fingerprint,
            seed: run.seed,
            resume: options.resume,
            device: &machine.device,
        })?;
        identify(
            "train-image",
            &dir,
            options.resume,
            run.seed,
            &toml,
            &fingerprint,
            &config,
        )?;
        Ok(Self {
            cache: TensorCache::open(cache_dir(&run))?,
            model_name: places
                .model_name
                .unwrap_or_else(|| model_path.display().to_string()),
            adapter,
            judges,
            dataset_hash,
            run,
            machine,
            dir,
            config,
            model_dir,
            train,
            eval,
            samples,
            geometry,
            fingerprint,
            started,
        })
    }

    /// Negative prompts of the previews, where there is guidance.
    fn negatives(&self) -> Vec<Asked<'_>> {
        if self.run.samples.cfg <= 1.0 {
            return Vec::new();
        }
        let prompt = self.run.samples.negative_prompt.as_str();
        let asked = |row| Asked {
            key: rows::negative_key(&self.geometry, row, prompt),
            prompt,
            row,
        };
        self.samples.iter().map(asked).collect()
    }

    /// Encodes what the cache lacks: first all prompts, then, with the text encoder gone, all pictures. Answers whether
    /// it came to its end.
    fn fill_cache(
        &self,
        reporter: &mut dyn Reporter,
        interrupt: &Interrupt,
    ) -> anyhow::Result<bool> {
        let rows: Vec<&Row> = self
            .train
            .iter()
            .chain(&self.eval)
            .chain(&self.samples)
            .collect();
        let missing = Missing::of(&self.cache, &rows, self.negatives());
        let all = missing.len();
        if all == 0 {
            reporter.on_message("cache: every prompt and picture is there, and sound");
            return Ok(true);
        }
        let (texts, pictures) = (missing.texts.len(), missing.pictures.len());
        reporter.on_message(&format!(
            "cache: {texts} prompts and {pictures} pictures are encoded"
        ));
        let mut told = Instant::now();
        let mut tell = |done: usize, reporter: &mut dyn Reporter| {
            if told.elapsed().as_secs_f64() >= self.run.log.seconds.max(1.0) {
                told = Instant::now();
                reporter.on_message(&format!("cache: {done} of {all}"));
            }
        };
        if texts > 0 {
            let mut prompts = self
                .model_dir
                .load_prompts(&self.machine.device, self.machine.dtype)?;
            prompts.template = self.geometry.template;
            prompts.condition_area = self.geometry.condition_area;
            for (i, asked) in missing.texts.iter().enumerate() {
                if interrupt.is_set() {
                    return Ok(false);
                }
                rows::encode_text(asked, &prompts, &self.cache, self.machine.dtype)?;
                tell(i + 1, reporter);
            }
        }
        if pictures > 0 {
            let vae = self.model_dir.load_vae(&self.machine.device, DType::F32)?;
            for (i, picture) in missing.pictures.iter().enumerate() {
                if interrupt.is_set() {
                    return Ok(false);
                }
                rows::encode_picture(picture, &vae, &self.cache)?;
                tell(texts + i + 1, reporter);
            }
        }
        Ok(true)
    }

    fn previews(&mut self) -> anyhow::Result<Option<Previews>> {
        if self.samples.is_empty() {
            return Ok(None);
        }
        let negative: Vec<_> = self
            .negatives()
            .into_iter()
            .map(|asked| asked.key)
            .collect();
        let judges = std::mem::take(&mut self.judges);
        let rows: Vec<&Row> = self.samples.iter().collect();
        Ok(Some(Previews::new(
            &self.run.samples,
            &rows,
            &negative,
            &self.cache,
            judges,
            self.model_dir.clone(),
            self.machine.device.clone(),
            self.run.seed,
            self.dir.samples(),
        )?))
    }

    fn model(&self, reporter: &mut dyn Reporter) -> anyhow::Result<QwenImageTransformer> {
        let mut model = self
            .model_dir
            .load_transformer(&self.machine.device, self.machine.dtype)?;
        model.activation = self.run.model.gelu().unwrap_or_default();
        match &self.adapter {
            Some((adapter, path)) => {
                model.load_adapter(adapter.clone(), path)?;
                let path = path.display();
                reporter.on_message(&format!("training goes on with the adapter {path}"));
            }
            None => {
                let lora = self.run.lora.config();
                let report =
                    model.attach_adapter(&lora, rng::seed(self.run.seed, "adapter", 0, 0))?;
                reporter.on_message(&report.to_string());
            }
        }
        Ok(model)
    }

    fn rows(&self, rows: &[Row]) -> CachedRows {
        CachedRows {
            rows: rows.to_vec(),
            cache: self.cache.clone(),
            channels: self.model_dir.transformer.out_channels,
        }
    }

    /// The rows as the trainer draws them, and the noise levels at which it does.
    fn objective(&self) -> anyhow::Result<(FlowObjective<CachedRows>, FlowConfig)> {
        let run = &self.run;
        let flow = FlowConfig {
            patch: self.model_dir.transformer.patch_size,
            ..run.flow.clone()
        };
        let load = LoadOptions {
            threads: run.data.threads,
            ahead: run.data.ahead,
            bucket: match run.data.bucket {
                true => Bucket::Pixels,
                false => Bucket::None,
            },
        };
        let given = self
            .adapter
            .as_ref()
            .map(|(adapter, _)| adapter.config.dropout);
        let dropout = given.unwrap_or(run.lora.dropout) > 0.0;
        let rows = self.rows(&self.train);
        let batch = run.batch.clone();
        let objective = FlowObjective::new(rows, load, batch, &flow, run.seed, dropout)?;
        Ok((objective, flow))
    }

    pub(super) fn run(mut self, options: &TrainOptions, plan: &Plan) -> anyhow::Result<ExitCode> {
        take_over_signals();
        let interrupt = Interrupt::install()?;
        let mut reporter = reporter(options, self.run.log.seconds, &interrupt)?;
        reporter.on_message(&format!("plan\n{plan}"));
        let (mut objective, flow) = self.objective()?;
        if !self.fill_cache(reporter.as_mut(), &interrupt)? {
            let root = shown(self.dir.root());
            reporter.on_message(&format!(
                "interrupted while the cache was filled; go on with --resume --output-dir {root}"
            ));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let previews = self.previews()?;
        let mut model = self.model(reporter.as_mut())?;
        let run = &self.run;
        let seed = rng::seed(run.seed, "held-out noise", 0, 0);
        let eval = &run.eval;
        let held_out = (!self.eval.is_empty())
            .then(|| {
                FlowEval::new(
                    self.rows(&self.eval),
                    &flow,
                    eval.levels,
                    eval.batch_size,
                    seed,
                )
            })
            .transpose()?;
        let measure = |model: &QwenImageTransformer| -> Result<Option<FlowMeasured>, TrainError> {
            held_out
                .as_ref()
                .map(|rows| rows.measure(model))
                .transpose()
        };
        // What it was before the first step is measured once, whatever stops the run.
        let measured = self.dir.root().join(BEFORE);
        if !measured.is_file()
            && let Some(before) = measure(&model)?
        {
            let text = serde_json::to_vec_pretty(&json!({"loss": before.loss, "mse": before.mse}))?;
            self.dir.write(BEFORE, &text)?;
        }
        let config = run.loop_config();
        let context = RunContext {
            dir: &self.dir,
            phase: PHASE,
            config: &self.config,
            dataset_fingerprint: &self.fingerprint,
            seed: run.seed,
            resume: options.resume,
            device: &self.machine.device,
        };
        let mut last = None;
        let mut evaluate_step = |model: &QwenImageTransformer, step: u64| {
            let found = measure(model)?;
            let evaluation = found.as_ref().map(FlowMeasured::evaluation);
            last = found.map(|found| (step, found));
            Ok(evaluation.unwrap_or_default())
        };
        let evaluate: &mut Evaluate<'_, QwenImageTransformer> = &mut evaluate_step;
        let mut draw = |model: &QwenImageTransformer, step: u64| match &previews {
            Some(previews) => previews.draw(model, step).map_err(TrainError::other),
            None => Ok(Default::default()),
        };
        let samples: &mut DrawSamples<'_, QwenImageTransformer> = &mut draw;
        let export = self.export()?;
        let hooks = Hooks {
            completions: None,
            reporter: reporter.as_mut(),
            interrupt: &interrupt,
            evaluate: Some(evaluate),
            export: &export,
            samples: previews.is_some().then_some(samples),
        };
        let outcome = train(&mut model, &mut objective, &config, &context, hooks)?;
        if let Outcome::Interrupted(step) = outcome {
            reporter.on_message(&interrupted(step, self.dir.root()));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let after = match last {
            Some((step, found)) if step == config.max_steps => Some(found),
            _ => measure(&model).context("the final evaluation failed")?,
        };
        self.tell(after)
    }

    /// The adapter in every form asked for, with what readers want to know of it.
    fn export(
        &self,
    ) -> anyhow::Result<impl Fn(&QwenImageTransformer, u64) -> Result<Contents<'static>, TrainError>>
    {
        let formats = self.run.export.parsed().unwrap_or_default();
        let header = AdapterHeader {
            base_model: Some(self.model_name.clone()),
            base_hash: Some(hash_folders(&[self.model_dir.root().join("transformer")])?),
            dataset_hash: Some(self.dataset_hash.clone()),
            template: Some(self.run.model.template.name().into()),
            activation: Some(self.run.model.activation.clone()),
            zero_cond_t: Some(self.model_dir.transformer.zero_cond_t),
            ..AdapterHeader::default()
        };
        Ok(move |model: &QwenImageTransformer, step: u64| {
            let mut contents = Contents::new();
            let Some(lora) = model.adapter_config().cloned() else {
                return Ok(contents);
            };
            let factors = model.adapter_factors();
            let values = |f: &Factors| (f.a.num_elements() + f.b.num_elements()) as u64;
            let size_hint = 4 * factors.values().map(values).sum::<u64>();
            for format in formats.iter().copied() {
                let (lora, factors) = (lora.clone(), factors.clone());
                let header = AdapterHeader {
                    step: Some(step),
                    ..header.clone()
                };
                let write = move |dir: &Path| {
                    let place = match format {
                        vtb_lora::AdapterFormat::Peft => dir.to_owned(),
                        _ => dir.join("adapter.safetensors"),
                    };
                    write_as(format, &place, &lora, &factors, &header, DType::F32)
                        .map_err(TrainError::other)
                };
                let name = match format {
                    vtb_lora::AdapterFormat::Peft => "adapter".to_owned(),
                    other => format!("adapter-{other}"),
                };
                let content = Content::Tree {
                    size_hint,
                    write: Box::new(write),
                };
                contents.insert(name, content);
            }
            Ok(contents)
        })
    }

    #[allow(clippy::print_stdout, reason = "results go to standard output")]
    fn tell(&self, after: Option<FlowMeasured>) -> anyhow::Result<ExitCode> {
        let before = std::fs::read(self.dir.root().join(BEFORE)).ok();
        let before: Option<Value> = before.and_then(|text| serde_json::from_slice(&text).ok());
        let loss = before.as_ref().and_then(|b| b["loss"].as_f64());
        let checkpoint = self
            .dir
            .checkpoints()
            .join(format!("step-{}", self.run.train.max_steps));
        let after_json = after
            .as_ref()
            .map(|a| json!({"loss": a.loss, "mse": a.mse, "rows": a.rows}));
        self.dir.write_summary(&json!({
            "program": "train-image",
            "seed": self.run.seed,
            "seconds": self.started.elapsed().as_secs_f64(),
            "before": before,
            "after": after_json,
            "model": self.model_name,
            "checkpoint": checkpoint,
        }))?;
        if let Some(after) = after {
            match loss {
                Some(before) => println!(
                    "held-out loss      {before:.4} before, {:.4} after ({:+.1} %)",
                    after.loss,
                    100.0 * (after.loss / before - 1.0)
                ),
                None => println!("held-out loss      {:.4}", after.loss),
            }
        }
        println!("run directory      {}", shown(self.dir.root()));
        if !self.samples.is_empty() {
            println!("previews           {}", shown(&self.dir.samples()));
        }
        println!("checkpoint         {}", shown(&checkpoint));
        Ok(ExitCode::SUCCESS)
    }
}
