//! `train-grpo`: from settings to a summary.

mod plan;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use serde_json::json;
use vtb_data::{RowMode, RowRules, RowSource};
use vtb_models_vlm::AnyVlm;
use vtb_models_vlm::encode::RowEncoder;
use vtb_models_vlm::model::FullTraining;
use vtb_nn::lm::CausalLm;
use vtb_rewards::{Registry, WeightedRewards};
use vtb_trainer::rng;
use vtb_trainer::run_dir::RunDir;
use vtb_trainer::signal::Interrupt;
use vtb_trainer::train::{
    Evaluate, GrpoObjective, Hooks, Outcome, RunContext, SftObjective, ShowCompletions, train,
};

use plan::{lanes, plan as whole_plan};

use crate::completions;
use crate::config;
use crate::data::{Rows, check_files, fingerprint, hold_out, open_jsonl};
use crate::demo::{self, Puzzles};
use crate::ending::{INTERRUPTED, Usage};
use crate::evaluate::{HeldOut, Measured};
use crate::memory::{self, Batch, capacity, row_sizes};
use crate::model::{Machine, attach, open_machine, open_model};
use crate::options::TrainOptions;
use crate::probe::Probe;
use crate::rollout;
use crate::session::{
    export, interrupted, names_model, open_run, refuse, reporter, save_model, settings,
    shared_faults, shown,
};
use crate::settings::{DataSection, EvalSection, GrpoRun, SftRun};
use crate::source::{EVAL_ROWS, GRPO_ROWS, Inputs, Named, Places, Wanted, take_over_signals};

/// Runs the program. A configuration may name the rewards of `registry`.
#[allow(clippy::print_stdout, reason = "results go to standard output")]
pub fn run(options: &TrainOptions, registry: &Registry) -> anyhow::Result<ExitCode> {
    let own_model = options.model.is_some() || names_model(options);
    let resolved = settings(options, &GrpoRun::defaults(!own_model), |run| {
        run.output_dir.clone()
    })?;
    if options.print_config {
        print!("{}", resolved.toml);
        return Ok(ExitCode::SUCCESS);
    }
    let mut run = resolved.value;
    check(&run, registry)?;
    let resumed = options.resume.then(|| PathBuf::from(&run.output_dir));
    let inputs = Inputs::find(
        Wanted::Model,
        Named::of(&mut run.model, &mut run.data),
        resumed.as_deref(),
    )?;
    let toml = config::to_toml(&run)?;
    weigh(&mut run)?;
    let accumulates = run.batch.gradient_accumulation > 1;
    let states = inputs.states(&run.model, &run.train, &run.lora, accumulates)?;
    let mut plan = whole_plan(&run, &inputs, states.as_ref());
    if options.dry_run {
        let (rows, rules) = (inputs.local_rows(&GRPO_ROWS, &EVAL_ROWS)?, RowRules::grpo());
        for line in check_files(&run.data, &rows, rules, rules)? {
            plan.line("checked", line);
        }
        if let (Some(states), Some(file), Some(model)) =
            (&states, &rows.train, inputs.local_model())
        {
            let batch = Batch {
                rows: run.batch.batch_size as u64,
                sizes: row_sizes(model, &states.config, file, rules, &run.data)?,
                completion: run.grpo.max_completion_length as u64,
                generations: run.grpo.num_generations as u64,
                recompute: run.batch.recompute,
            };
            let capacity = capacity(options.device_memory, &run.model);
            // A server keeps the keys and values of what it samples.
            let lanes = (!run.rollout.over_http()).then(|| lanes(&run));
            memory::tell(&mut plan, states, &batch, lanes, capacity);
        }
        print!("plan (no device was opened, nothing was written)\n{plan}");
        return Ok(ExitCode::SUCCESS);
    }
    let started = Instant::now();
    let places = inputs.fetch(&GRPO_ROWS, &EVAL_ROWS)?;
    let mut session = Session::open(&run, registry, options, &toml, &places)?;
    session.reporter.on_message(&format!("plan\n{plan}"));
    if !session.warm_start()? {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let trained = session.reinforce()?;
    if let Outcome::Interrupted(step) = trained.outcome {
        let message = interrupted(step, session.dir.root());
        session.reporter.on_message(&message);
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let seconds = started.elapsed().as_secs_f64();
    session.summarise(&trained, seconds)?;
    print!("{}", session.last_lines(&trained, seconds)?);
    Ok(ExitCode::SUCCESS)
}

fn check(run: &GrpoRun, registry: &Registry) -> anyhow::Result<()> {
    let mut faults = shared_faults(&run.model, &run.data, &run.train, &run.eval);
    faults.extend(
        run.grpo
            .validate()
            .iter()
            .map(|fault| format!("grpo.{fault}")),
    );
    let rows =
        run.batch.batch_size * run.batch.gradient_accumulation * run.batch.steps_per_generation;
    if rows == 0 || !rows.is_multiple_of(run.grpo.num_generations.max(1)) {
        faults.push(format!(
            "batch.batch_size · batch.gradient_accumulation · batch.steps_per_generation = {rows} must be a multiple \
             of grpo.num_generations = {}",
            run.grpo.num_generations
        ));
    }
    if run.train.mode == "full" && run.grpo.beta > 0.0 {
        faults.push(
            "grpo.beta above 0 needs train.mode = `lora`: the reference is the adapter-off policy"
                .into(),
        );
    }
    faults.extend(rollout::faults(run));
    if run.rewards.is_empty() {
        faults.push("rewards is empty; name at least one reward".into());
    }
    if run.log.completion_pictures && !completions::AVAILABLE {
        faults.push(
            "log.completion_pictures needs a build with the feature `parquet`, which this is not"
                .into(),
        );
    }
    if let Err(error) = WeightedRewards::from_specs(registry, &run.rewards) {
        faults.push(format!("rewards: {error}"));
    }
    refuse(faults)
}

/// Puts `grpo.reward_weights`, where given, into the list of rewards.
fn weigh(run: &mut GrpoRun) -> anyhow::Result<()> {
    if run.grpo.reward_weights.is_empty() {
        return Ok(());
    }
    let weights = run.grpo.weights(run.rewards.len());
    let weights = weights.map_err(|fault| Usage(format!("grpo.{fault}")))?;
    for (spec, weight) in run.rewards.iter_mut().zip(weights) {
        spec.weight = weight;
    }
    Ok(())
}

/// What the reinforcement phase found.
struct Trained {
    outcome: Outcome,
    before: Option<Measured>,
    after: Option<Measured>,
    adapter: PathBuf,
}

/// Opened training data, and held-out rows where some are named.
struct Files {
    train: Arc<dyn RowSource>,
    eval: Option<Arc<dyn RowSource>>,
}

impl Files {
    /// `None` where no data is named.
    fn open(places: &Places, data: &DataSection, seed: u64) -> anyhow::Result<Option<Self>> {
        let open = |path: &PathBuf| -> anyhow::Result<Arc<dyn RowSource>> {
            Ok(Arc::new(open_jsonl(path, RowRules::grpo(), data)?))
        };
        let Some(train) = &places.train else {
            return Ok(None);
        };
        let train = open(train)?;
        let (train, eval) = match &places.eval {
            Some(path) => (train, Some(open(path)?)),
            None => hold_out(train, data, seed)?,
        };
        Ok(Some(Self { train, eval }))
    }
}

/// An opened run.
struct Session<'a> {
    run: &'a GrpoRun,
    registry: &'a Registry,
    places: &'a Places,
    resume: bool,
    dir: RunDir,
    config: serde_json::Value,
    machine: Machine,
    interrupt: Interrupt,
    reporter: Box<dyn vtb_trainer::progress::Reporter>,
    /// Generated puzzles, where no data is named.
    puzzles: Option<Puzzles>,
    /// The files that are named: to train on, and held out.
    files: Option<Files>,
    fingerprint: String,
    model_dir: PathBuf,
}

impl<'a> Session<'a> {
    fn open(
        run: &'a GrpoRun,
        registry: &'a Registry,
        options: &TrainOptions,
        toml: &str,
        places: &'a Places,
    ) -> anyhow::Result<Self> {
        let puzzles = match &run.data.train {
            Some(_) => None,
            None => Some(demo::puzzles(&run.demo, run.seed, RowMode::Sft)?),
        };
        // Opened before anything is written.
        let files = Files::open(places, &run.data, run.seed)?;
        let config = serde_json::to_value(run)?;
        let root = Path::new(&run.output_dir);
        let source: &dyn RowSource = match (&puzzles, &files) {
            (Some(puzzles), _) => puzzles.train.as_ref(),
            (None, Some(files)) => files.train.as_ref(),
            (None, None) => return Err(anyhow::anyhow!("no training data is named")),
        };
        let fingerprint = fingerprint(source, &run.data);
        let machine = open_machine(&run.model)?;
        if let Some(path) = &places.model {
            // A model that does not load leaves no run directory behind.
            open_model(path, places.adapter.as_deref(), &machine)?;
        }
        let dir = open_run(
            "train-grpo",
            root,
            options.resume,
            run.seed,
            toml,
            &fingerprint,
            &config,
        )?;
        take_over_signals();
        let interrupt = Interrupt::install()?;
        Ok(Self {
            run,
            registry,
            places,
            resume: options.resume,
            model_dir: places
                .model
                .clone()
                .unwrap_or_else(|| dir.root().join("model")),
            config,
            machine,
            reporter: reporter(options, run.log.seconds, &interrupt)?,
            interrupt,
            puzzles,
            files,
            fingerprint,
            dir,
        })
    }

    /// Gives the tiny model a short supervised start. False when interrupted.
    fn warm_start(&mut self) -> anyhow::Result<bool> {
        let Some(puzzles) = &self.puzzles else {
            return Ok(true);
        };
        if self.run.model.path.is_some() || demo::has_weights(&self.model_dir) {
            return Ok(true);
        }
        let fresh = self.dir.root().join("fresh-model");
        if !demo::has_weights(&fresh) {
            demo::write_tiny_model(&fresh, puzzles.train.as_ref(), self.run.seed, &self.machine)?;
        }
        let (mut model, encoder) = open_model(&fresh, None, &self.machine)?;
        model.train_full(FullTraining::EVERYTHING);
        let encoder = Arc::new(encoder);
        if self.run.demo.warm_steps > 0 && !self.supervise(&mut model, &encoder)? {
            return Ok(false);
        }
        save_model(&model, &fresh, &self.model_dir)?;
        std::fs::remove_dir_all(&fresh)
            .with_context(|| format!("cannot remove {}", fresh.display()))?;
        Ok(true)
    }

    /// The supervised steps, in a run directory of their own, resumed if they were begun. False when interrupted.
    fn supervise(&mut self, model: &mut AnyVlm, encoder: &Arc<RowEncoder>) -> anyhow::Result<bool> {
        let name = "warm-start";
        let Some(puzzles) = &self.puzzles else {
            return Ok(true);
        };
        let seed = rng::seed(self.run.seed, name, 0, 0);
        let fingerprint = puzzles.train.fingerprint().to_string();
        let rows = Rows::new(puzzles.train.clone(), encoder.clone());
        let settings = self.warm_settings();
        let load = self.run.data.load_options();
        let mut objective = SftObjective::new(rows, load, settings.batch.clone(), seed, false)?;
        let root = self.dir.root().join(name);
        let resume = root.exists();
        let config = serde_json::to_value(&settings)?;
        let toml = toml::to_string(&settings)?;
        let dir = open_run(name, &root, resume, seed, &toml, &fingerprint, &config)?;
        let context = RunContext {
            dir: &dir,
            phase: name,
            config: &config,
            dataset_fingerprint: &fingerprint,
            seed,
            resume,
            device: &self.machine.device,
        };
        let nothing = |_: &AnyVlm, _: u64| Ok(Default::default());
        let hooks = Hooks {
            completions: None,
            reporter: self.reporter.as_mut(),
            interrupt: &self.interrupt,
            evaluate: None,
            export: &nothing,
            samples: None,
        };
        let loop_config = settings.train.loop_config(&settings.save, &settings.log);
        let outcome = train(model, &mut objective, &loop_config, &context, hooks)?;
        Ok(outcome == Outcome::Finished)
    }

    fn warm_settings(&self) -> SftRun {
        let mut settings = SftRun::defaults(true);
        let steps = self.run.demo.warm_steps;
        settings.train.max_steps = steps;
        settings.train.learning_rate = self.run.demo.warm_learning_rate;
        settings.train.schedule = vtb_trainer::schedule::Decay::Constant;
        settings.train.warmup_steps = (steps / 8).min(50);
        settings.batch.batch_size = self.run.demo.warm_batch;
        settings.save.keep_best = false;
        settings.save.keep_last = 1;
        settings
    }

    fn prompts(&self, encoder: &Arc<RowEncoder>) -> anyhow::Result<(Rows, Option<Rows>)> {
        if let Some(puzzles) = &self.puzzles {
            let eval = Rows::new(puzzles.eval.clone(), encoder.clone());
            return Ok((
                Rows::new(puzzles.train.clone(), encoder.clone()),
                Some(eval),
            ));
        }
        let files = self.files.as_ref().context("no training data is named")?;
        let rows = |data: &Arc<dyn RowSource>| {
            Rows::new(data.clone(), encoder.clone()).configured(&self.run.data)
        };
        Ok((
            rows(&files.train)?,
            files.eval.as_ref().map(rows).transpose()?,
        ))
    }

    /// Measures, trains, measures again.
    fn reinforce(&mut self) -> anyhow::Result<Trained> {
        let adapter = self.places.adapter.as_deref();
        let (mut model, mut encoder) = open_model(&self.model_dir, adapter, &self.machine)?;
        encoder.options.max_length = Some(self.run.model.max_length);
        encoder.options.overflow = self.run.model.overflow().unwrap_or_default();
        let stop_ids = encoder.tokenizer.stop_ids();
        let encoder = Arc::new(encoder);
        let (train_rows, eval_rows) = self.prompts(&encoder)?;
        let train_rows = train_rows.with_chat(self.run.rollout.over_http());
        let completions = rollout::open(self.run, self.dir.root(), &self.base_name(), &model)?;
        let seed = self.run.seed;
        let lora = self.run.lora.config();
        if self.run.train.mode == "full" {
            model.train_full(self.run.train.full());
        }
        let eval = EvalSection {
            max_new_tokens: match self.run.eval.max_new_tokens {
                0 => self.run.grpo.max_completion_length,
                given => given,
            },
            ..self.run.eval.clone()
        };
        let eval_seed = rng::seed(seed, "evaluation", 0, 0);
        let held_out = eval_rows
            .map(|rows| HeldOut::new(rows, &eval, &stop_ids, eval_seed))
            .transpose()?;
        let before = self.measured("before", held_out.as_ref(), &model)?;
        if self.run.train.mode == "lora" {
            let report = attach(&mut model, &lora, rng::seed(seed, "adapter", 0, 0))?;
            self.reporter.on_message(&report);
        }
        let rewards = WeightedRewards::from_specs(self.registry, &self.run.rewards)?;
        if self.run.train.probe {
            let probe = Probe {
                rows: self.run.batch.batch_size,
                completion: self.run.grpo.max_completion_length,
                generations: self.run.grpo.num_generations,
                recompute: self.run.batch.recompute,
            };
            self.reporter.on_message(&probe.run(&model, &train_rows)?);
        }
        let dropout = self.run.lora.dropout > 0.0;
        let pictures = train_rows.clone();
        let mut objective = GrpoObjective::new(
            train_rows,
            self.run.data.load_options(),
            completions,
            rewards,
            self.run.grpo.clone(),
            self.run.batch.clone(),
            stop_ids.clone(),
            seed,
            dropout,
        )?;
        let context = RunContext {
            dir: &self.dir,
            phase: "grpo",
            config: &self.config,
            dataset_fingerprint: &self.fingerprint,
            seed,
            resume: self.resume,
            device: &self.machine.device,
        };
        let export = export(self.model_dir.clone(), self.places.model_name.clone());
        let mut measure = |model: &AnyVlm, _step: u64| {
            let Some(rows) = &held_out else {
                return Ok(Default::default());
            };
            Ok(rows.measure(model)?.evaluation())
        };
        let evaluate: &mut Evaluate<'_, AnyVlm> = &mut measure;
        let mut keep = |path: &Path, shown: &[serde_json::Value]| {
            completions::write(path, shown, pictures.source())
        };
        let completions = (self.run.log.completion_pictures && completions::AVAILABLE)
            .then_some(&mut keep as &mut ShowCompletions<'_>);
        let hooks = Hooks {
            completions,
            reporter: self.reporter.as_mut(),
            interrupt: &self.interrupt,
            evaluate: Some(evaluate),
            export: &export,
            samples: None,
        };
        let loop_config = self.run.train.loop_config(&self.run.save, &self.run.log);
        let outcome = train(&mut model, &mut objective, &loop_config, &context, hooks)?;
        let after = match (&outcome, &held_out) {
            (Outcome::Finished | Outcome::Stopped(..), Some(rows)) => Some(rows.measure(&model)?),
            _ => None,
        };
        let kind = if model.adapter_factors().is_empty() {
            "model"
        } else {
            "adapter"
        };
        let step = match outcome {
            Outcome::Interrupted(step) | Outcome::Stopped(step, _) => step,
            Outcome::Finished => self.run.train.max_steps,
        };
        let adapter = self
            .dir
            .checkpoints()
            .join(format!("step-{step}"))
            .join(kind);
        Ok(Trained {
            outcome,
            before,
            after,
            adapter,
        })
    }

    /// Held-out accuracy before training, remembered for a resumed run.
    fn measured(
        &mut self,
        name: &str,
        held_out: Option<&HeldOut>,
        model: &dyn CausalLm,
    ) -> anyhow::Result<Option<Measured>> {
        let Some(rows) = held_out else {
            return Ok(None);
        };
        let file = format!("accuracy-{name}.json");
        if let Ok(text) = std::fs::read_to_string(self.dir.root().join(&file))
            && let Ok(found) = serde_json::from_str(&text)
        {
            return Ok(Some(found));
        }
        let found = rows.measure(model)?;
        self.dir
            .write(&file, serde_json::to_string(&found)?.as_bytes())?;
        let message = format!("held-out accuracy {name}: {found}");
        self.reporter.on_message(&message);
        Ok(Some(found))
    }

    fn summarise(&self, trained: &Trained, seconds: f64) -> anyhow::Result<()> {
        let task = match &self.puzzles {
            Some(_) => &self.run.demo.task,
            None => self.run.data.train.as_ref().unwrap_or(&self.run.demo.task),
        };
        let summary = json!({
            "program": "train-grpo",
            "task": task,
            "seed": self.run.seed,
            "chance": self.puzzles.as_ref().map(|p| p.chance),
            "seconds": seconds,
            "before": trained.before,
            "after": trained.after,
            "model": self.model_name(),
            "adapter": trained.adapter,
        });
        self.dir.write_summary(&summary)?;
        Ok(())
    }

    /// What adapters call their base model.
    fn base_name(&self) -> String {
        let name = self.places.model_name.clone();
        name.unwrap_or_else(|| self.model_dir.display().to_string())
    }

    /// The model as `--model` takes it.
    fn model_name(&self) -> String {
        let given = self.run.model.path.clone();
        given.unwrap_or_else(|| self.model_dir.display().to_string())
    }

    /// What a person reads at the end: accuracy, where everything lies, how to try it.
    fn last_lines(&self, trained: &Trained, seconds: f64) -> anyhow::Result<String> {
        let mut lines = Vec::new();
        if let Outcome::Stopped(step, why) = &trained.outcome {
            lines.push(format!("stopped after step {step}: {why}"));
        }
        if let (Some(before), Some(after)) = (&trained.before, &trained.after) {
            lines.push(format!("held-out accuracy before  {}", before));
            lines.push(format!("held-out accuracy after   {}", after));
        }
        if let Some(puzzles) = &self.puzzles {
            lines.push(format!(
                "chance                    {:.1} %",
                100.0 * puzzles.chance
            ));
        }
        lines.push(format!("time                      {seconds:.0} s"));
        lines.push(format!(
            "run directory             {}",
            shown(self.dir.root())
        ));
        lines.push(format!(
            "try it                    {}",
            self.try_it(trained)?
        ));
        Ok(lines.join("\n") + "\n")
    }

    /// The command that answers a held-out puzzle with the trained adapter.
    fn try_it(&self, trained: &Trained) -> anyhow::Result<String> {
        let (image, prompt) = match &self.puzzles {
            Some(puzzles) => {
                let row = puzzles.eval.row(0)?;
                let path = self.dir.root().join("example.png");
                if let Some(image) = row.load_images(&Default::default())?.first() {
                    vtb_data::image_io::write_png(&path, image)?;
                }
                let text = row
                    .messages
                    .iter()
                    .map(|m| m.content.replace("<image>", ""));
                (shown(&path), text.collect::<String>())
            }
            None => ("PICTURE".into(), "QUESTION".into()),
        };
        let weights = if trained.adapter.ends_with("adapter") {
            format!(
                "--model {} --adapter {}",
                shown(Path::new(&self.model_name())),
                shown(&trained.adapter)
            )
        } else {
            format!("--model {}", shown(&trained.adapter))
        };
        let prompt = prompt.replace('\'', "'\\''");
        Ok(format!(
            "cargo run --release --bin infer-vlm -- {weights} --image {image} --prompt '{prompt}' --temperature 0"
        ))
    }
}
