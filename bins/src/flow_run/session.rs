//! A run from an open device to its summary.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Context;
use serde_json::{Value, json};
use vtb_data::manifest::ManifestEntry;
use vtb_data::{Bucket, held_out_rows};
use vtb_lora::{Adapter, AdapterHeader};
use vtb_models_diffusion::cache::{Key, TensorCache};
use vtb_trainer::TrainError;
use vtb_trainer::objectives::flow::FlowConfig;
use vtb_trainer::progress::Reporter;
use vtb_trainer::rng;
use vtb_trainer::run_dir::RunDir;
use vtb_trainer::signal::Interrupt;
use vtb_trainer::train::{
    DrawSamples, Evaluate, FlowEval, FlowMeasured, FlowObjective, Hooks, LoadOptions, Outcome,
    RunContext, check_resume, train,
};

use super::export::export;
use super::family::{Adapted, Family, RowOf, Run};
use super::fill::Filling;
use super::plan::{cache_dir, machine_section};
use super::previews::{Previews, judges};
use super::rows::{Asked, CachedRows, Row, fingerprint};
use super::settings::DataKeys;
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

/// Takes rows to hold out: a matter of their number, the share and the seed. Several samples of one row of the file stay
/// together.
fn hold_out<M>(rows: Vec<Row<M>>, share: f64, seed: u64) -> anyhow::Result<[Vec<Row<M>>; 2]> {
    if share == 0.0 {
        return Ok([rows, Vec::new()]);
    }
    let mut place = None;
    let mut count = 0;
    let mut numbers = Vec::with_capacity(rows.len());
    for row in &rows {
        if place.replace(&row.place) != Some(&row.place) {
            count += 1;
        }
        numbers.push(count - 1);
    }
    let held_out = held_out_rows(count, share, seed)?;
    let (mut train, mut eval) = (Vec::new(), Vec::new());
    for (number, row) in numbers.into_iter().zip(rows) {
        match held_out.binary_search(&number) {
            Ok(_) => eval.push(row),
            Err(_) => train.push(row),
        }
    }
    Ok([train, eval])
}

/// Rows of a run.
struct Rows<R> {
    train: Vec<R>,
    eval: Vec<R>,
    samples: Vec<R>,
}

impl<R: Clone> Rows<R> {
    /// Reads and parts them.
    fn read<F: Family>(
        family: &F,
        run: &Run<F>,
        train_file: &Path,
        eval_file: Option<&Path>,
    ) -> anyhow::Result<Rows<RowOf<F>>> {
        let root = run.data.root().map(Path::new);
        let root = root.filter(|_| run.data.train().is_some());
        let read = |file: &Path| family.read(file, root);
        let train = read(train_file)?;
        let eval = eval_file.map(read).transpose()?;
        let all: Vec<_> = train.iter().chain(eval.iter().flatten()).collect();
        family.refuse(run, &all)?;
        let [train, eval] = match eval {
            Some(eval) => [train, eval],
            None => {
                let seed = rng::seed(run.seed, "held-out rows", 0, 0);
                hold_out(train, run.data.eval_split(), seed)?
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
        let eval = spread(eval.len(), most).map(|i| eval[i].clone()).collect();
        Ok(Rows {
            train,
            eval,
            samples,
        })
    }
}

/// A run whose device is open and whose rows were looked at.
pub(super) struct Session<F: Family> {
    run: Run<F>,
    machine: Machine,
    dir: RunDir,
    config: Value,
    family: F,
    model_name: String,
    /// To start from, fitted to the model.
    adapter: Option<(Adapter, PathBuf)>,
    judges: HashMap<String, ManifestEntry>,
    cache: TensorCache,
    rows: Rows<RowOf<F>>,
    /// Of the training rows alone.
    dataset_hash: String,
    fingerprint: String,
    started: Instant,
}

impl<F: Family> Session<F> {
    pub(super) fn open(
        mut run: Run<F>,
        options: &TrainOptions,
        places: Places,
    ) -> anyhow::Result<Self> {
        let started = Instant::now();
        let config = serde_json::to_value(&run)?;
        let toml = config::to_toml(&run)?;
        let machine = open_machine(&machine_section::<F>(&run))?;
        let given = places.model.as_deref().map(F::look).transpose()?;
        let root = PathBuf::from(&run.output_dir);
        let dir = open_dir(&root, options.resume)?;
        let (train_file, eval_file) = match places.train {
            Some(train) => (train, places.eval),
            None => {
                let made = F::make_data(&run, &dir.subdir("data")?)?;
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
                F::make_model(&path, &train_file, run.seed)?;
                F::look(&path)?
            }
        };
        let outline = F::outline(&model_dir)?;
        let family = F::open(&run, model_dir, format!("{:?}", machine.dtype))?;
        let rows = Rows::<RowOf<F>>::read(&family, &run, &train_file, eval_file.as_deref())?;
        let judges = match &run.samples.judge {
            Some(dataset) => judges(Path::new(dataset), &rows.samples)
                .with_context(|| format!("samples.judge = {dataset}"))?,
            None => HashMap::new(),
        };
        let adapter = match places.adapter {
            Some(path) => Some((fitting(&path, &outline.linears())?, path)),
            None => {
                outline.match_adapter(&run.lora.config())?;
                None
            }
        };
        let dataset_hash = fingerprint(&rows.train);
        let encoders = Key::of("encoders", &[("files", family.encoders().as_bytes())]);
        let name = run.data.train().unwrap_or("generated");
        let fingerprint = format!("{name} {dataset_hash}, encoders {encoders}");
        check_resume(&RunContext {
            dir: &dir,
            phase: F::PHASE,
            config: &config,
            dataset_fingerprint: &fingerprint,
            seed: run.seed,
            resume: options.resume,
            device: &machine.device,
        })?;
        identify(
            F::PROGRAM,
            &dir,
            options.resume,
            run.seed,
            &toml,
            &fingerprint,
            &config,
        )?;
        Ok(Self {
            cache: TensorCache::open(cache_dir::<F>(&run))?,
            model_name: places
                .model_name
                .unwrap_or_else(|| family.root().display().to_string()),
            adapter,
            judges,
            dataset_hash,
            run,
            machine,
            dir,
            config,
            family,
            rows,
            fingerprint,
            started,
        })
    }

    /// Negative prompts of the previews, where there is guidance.
    fn negatives(&self) -> Vec<Asked<'_, F::Media>> {
        if self.run.samples.cfg <= 1.0 {
            return Vec::new();
        }
        let prompt = self.run.samples.negative_prompt.as_str();
        let asked = |row| Asked {
            key: self.family.key(row, prompt),
            prompt,
            row,
        };
        self.rows.samples.iter().map(asked).collect()
    }

    /// Encodes what the cache lacks. Answers whether it came to its end.
    fn fill_cache(
        &self,
        reporter: &mut dyn Reporter,
        interrupt: &Interrupt,
    ) -> anyhow::Result<bool> {
        let Rows {
            train,
            eval,
            samples,
        } = &self.rows;
        let rows: Vec<_> = train.iter().chain(eval).chain(samples).collect();
        let filling = Filling {
            family: &self.family,
            cache: &self.cache,
            machine: &self.machine,
            seconds: self.run.log.seconds,
        };
        filling.run(&rows, self.negatives(), reporter, interrupt)
    }

    fn previews(&self) -> anyhow::Result<Option<Previews<'_, F>>> {
        if self.rows.samples.is_empty() {
            return Ok(None);
        }
        let negative: Vec<Key> = self.negatives().into_iter().map(|a| a.key).collect();
        Ok(Some(Previews::new(
            &self.family,
            &self.run,
            &self.rows.samples,
            &negative,
            &self.cache,
            &self.judges,
            self.machine.device.clone(),
            self.dir.samples(),
        )?))
    }

    fn net(&self, reporter: &mut dyn Reporter) -> anyhow::Result<F::Net> {
        let mut net = self.family.load_net(&self.run, &self.machine)?;
        match &self.adapter {
            Some((adapter, path)) => {
                net.load_adapter(adapter.clone(), path)?;
                let path = path.display();
                reporter.on_message(&format!("training goes on with the adapter {path}"));
            }
            None => {
                let lora = self.run.lora.config();
                let report =
                    net.attach_adapter(&lora, rng::seed(self.run.seed, "adapter", 0, 0))?;
                reporter.on_message(&report.to_string());
            }
        }
        Ok(net)
    }

    fn cached(&self, rows: &[RowOf<F>]) -> CachedRows<F::Media> {
        CachedRows {
            rows: rows.to_vec(),
            cache: self.cache.clone(),
            channels: self.family.channels_and_patch().0,
        }
    }

    /// The rows as the trainer draws them, and the noise levels at which it does.
    fn objective(&self) -> anyhow::Result<(FlowObjective<CachedRows<F::Media>>, FlowConfig)> {
        let run = &self.run;
        let flow = FlowConfig {
            patch: self.family.channels_and_patch().1,
            ..run.flow.clone()
        };
        let (threads, ahead) = run.data.ahead();
        let load = LoadOptions {
            threads,
            ahead,
            bucket: match run.data.bucket() {
                true => Bucket::Pixels,
                false => Bucket::None,
            },
        };
        let given = self
            .adapter
            .as_ref()
            .map(|(adapter, _)| adapter.config.dropout);
        let dropout = given.unwrap_or(run.lora.dropout) > 0.0;
        let rows = self.cached(&self.rows.train);
        let batch = run.batch.clone();
        let objective = FlowObjective::new(rows, load, batch, &flow, run.seed, dropout)?;
        Ok((objective, flow))
    }

    pub(super) fn run(self, options: &TrainOptions, plan: &Plan) -> anyhow::Result<ExitCode> {
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
        let mut net = self.net(reporter.as_mut())?;
        let run = &self.run;
        let seed = rng::seed(run.seed, "held-out noise", 0, 0);
        let (eval, rows) = (&run.eval, &self.rows.eval);
        let held_out = (!rows.is_empty())
            .then(|| {
                let rows = self.cached(rows);
                FlowEval::new(rows, &flow, eval.levels, eval.batch_size, seed)
            })
            .transpose()?;
        let measure = |net: &F::Net| -> Result<Option<FlowMeasured>, TrainError> {
            held_out.as_ref().map(|rows| rows.measure(net)).transpose()
        };
        // What it was before the first step is measured once, whatever stops the run.
        let measured = self.dir.root().join(BEFORE);
        if !measured.is_file()
            && let Some(before) = measure(&net)?
        {
            let text = serde_json::to_vec_pretty(&json!({"loss": before.loss, "mse": before.mse}))?;
            self.dir.write(BEFORE, &text)?;
        }
        let config = run.loop_config();
        let context = RunContext {
            dir: &self.dir,
            phase: F::PHASE,
            config: &self.config,
            dataset_fingerprint: &self.fingerprint,
            seed: run.seed,
            resume: options.resume,
            device: &self.machine.device,
        };
        let mut last = None;
        let mut evaluate_step = |net: &F::Net, step: u64| {
            let found = measure(net)?;
            let evaluation = found.as_ref().map(FlowMeasured::evaluation);
            last = found.map(|found| (step, found));
            Ok(evaluation.unwrap_or_default())
        };
        let evaluate: &mut Evaluate<'_, F::Net> = &mut evaluate_step;
        let mut draw = |net: &F::Net, step: u64| match &previews {
            Some(previews) => previews.draw(net, step).map_err(TrainError::other),
            None => Ok(Default::default()),
        };
        let samples: &mut DrawSamples<'_, F::Net> = &mut draw;
        let header = AdapterHeader {
            base_model: Some(self.model_name.clone()),
            dataset_hash: Some(self.dataset_hash.clone()),
            ..self.family.header(run)?
        };
        let export = export::<F::Net>(run.export.parsed().unwrap_or_default(), header);
        let hooks = Hooks {
            completions: None,
            reporter: reporter.as_mut(),
            interrupt: &interrupt,
            evaluate: Some(evaluate),
            export: &export,
            samples: previews.is_some().then_some(samples),
        };
        let outcome = train(&mut net, &mut objective, &config, &context, hooks)?;
        if let Outcome::Interrupted(step) = outcome {
            reporter.on_message(&interrupted(step, self.dir.root()));
            return Ok(ExitCode::from(INTERRUPTED));
        }
        let after = match last {
            Some((step, found)) if step == config.max_steps => Some(found),
            _ => measure(&net).context("the final evaluation failed")?,
        };
        self.tell(after)
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
            "program": F::PROGRAM,
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
        if !self.rows.samples.is_empty() {
            println!("previews           {}", shown(&self.dir.samples()));
        }
        println!("checkpoint         {}", shown(&checkpoint));
        Ok(ExitCode::SUCCESS)
    }
}
