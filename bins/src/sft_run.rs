//! `train-sft`: from settings to a summary.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use serde_json::json;
use vtb_data::{RowMode, RowRules, RowSource};
use vtb_models_vlm::AnyVlm;
use vtb_models_vlm::model::FullTraining;
use vtb_trainer::rng;
use vtb_trainer::signal::Interrupt;
use vtb_trainer::train::{Evaluate, Hooks, Outcome, RunContext, SftObjective, train};

use crate::config;
use crate::data::{Rows, check_files, fingerprint, open_jsonl};
use crate::demo;
use crate::ending::INTERRUPTED;
use crate::evaluate;
use crate::model::{attach, open_machine, open_model};
use crate::options::TrainOptions;
use crate::plan::Plan;
use crate::session::{
    export, interrupted, names_model, open_run, refuse, reporter, settings, shared_faults, shown,
};
use crate::settings::SftRun;
use crate::source::{Inputs, Places, SFT_ROWS, Source, take_over_signals};

/// Most tokens of a held-out answer.
const EVAL_TOKENS: usize = 64;

/// Runs the program.
#[allow(clippy::print_stdout, reason = "results go to standard output")]
pub fn run(options: &TrainOptions) -> anyhow::Result<ExitCode> {
    let own_model = options.model.is_some() || names_model(options);
    let resolved = settings(options, &SftRun::defaults(!own_model), |run| {
        run.output_dir.clone()
    })?;
    if options.print_config {
        print!("{}", resolved.toml);
        return Ok(ExitCode::SUCCESS);
    }
    let mut run = resolved.value;
    check(&run)?;
    let resumed = options.resume.then(|| PathBuf::from(&run.output_dir));
    let inputs = Inputs::find(&mut run.model, &mut run.data, resumed.as_deref())?;
    let mut plan = plan(&run, &inputs)?;
    if options.dry_run {
        for line in check_files(&run.data, &inputs.local_rows(&SFT_ROWS)?, RowRules::sft())? {
            plan.line("checked", line);
        }
        print!("plan (no device was opened, nothing was written)\n{plan}");
        return Ok(ExitCode::SUCCESS);
    }
    let places = inputs.fetch(&SFT_ROWS)?;
    execute(&run, options, &config::to_toml(&run)?, &plan, &places)
}

fn check(run: &SftRun) -> anyhow::Result<()> {
    let mut faults = shared_faults(&run.model, &run.data, &run.train);
    if run.batch.batch_size * run.batch.gradient_accumulation == 0 {
        faults.push("batch.batch_size and batch.gradient_accumulation must be at least 1".into());
    }
    refuse(faults)
}

fn plan(run: &SftRun, inputs: &Inputs) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    let bytes = if run.model.precision == "bf16" { 2 } else { 4 };
    plan.model(inputs.model.as_ref(), &run.lora, &run.train, bytes)?;
    let generated = || {
        format!(
            "{} generated {} puzzles",
            run.demo.train_puzzles, run.demo.task
        )
    };
    let data = inputs.train.as_ref().map(Source::in_plan);
    plan.line("data", data.unwrap_or_else(generated));
    plan.inputs(inputs);
    let rows = run.batch.batch_size * run.batch.gradient_accumulation;
    plan.line("steps", format!("{} × {rows} rows", run.train.max_steps));
    plan.line(
        "learning rate",
        format!("{} ({:?})", run.train.learning_rate, run.train.schedule),
    );
    plan.line("seed", run.seed);
    plan.line("output", &run.output_dir);
    Ok(plan)
}

#[allow(clippy::print_stdout, reason = "results go to standard output")]
fn execute(
    run: &SftRun,
    options: &TrainOptions,
    toml: &str,
    plan: &Plan,
    places: &Places,
) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let config = serde_json::to_value(run)?;
    let puzzles = match &run.data.train {
        Some(_) => None,
        None => Some(demo::puzzles(&run.demo, run.seed, RowMode::Sft)?),
    };
    let source: Arc<dyn RowSource> = match (&puzzles, places.train.as_deref()) {
        (Some(puzzles), _) => puzzles.train.clone(),
        (None, Some(path)) => Arc::new(open_jsonl(path, RowRules::sft(), &run.data)?),
        (None, None) => return Err(anyhow::anyhow!("no training data is named")),
    };
    let machine = open_machine(&run.model)?;
    let adapter = places.adapter.as_deref();
    let given = places.model.as_deref();
    let mut loaded = given
        .map(|path| open_model(path, adapter, &machine))
        .transpose()?;
    let fingerprint = fingerprint(source.as_ref(), &run.data);
    let root = Path::new(&run.output_dir);
    let dir = open_run(
        "train-sft",
        root,
        options.resume,
        run.seed,
        toml,
        &fingerprint,
        &config,
    )?;
    let model_dir = given.map_or_else(|| dir.root().join("model"), PathBuf::from);
    if given.is_none() && !demo::has_weights(&model_dir) {
        demo::write_tiny_model(&model_dir, source.as_ref(), run.seed, &machine)?;
    }
    let (mut model, mut encoder) = match loaded.take() {
        Some(loaded) => loaded,
        None => open_model(&model_dir, adapter, &machine)?,
    };
    encoder.options.max_length = Some(run.model.max_length);
    take_over_signals();
    let interrupt = Interrupt::install()?;
    let mut reporter = reporter(options, run.log.seconds, &interrupt)?;
    reporter.on_message(&format!("plan\n{plan}"));
    let lora = run.lora.config();
    if run.train.mode == "full" {
        let what = if given.is_none() {
            FullTraining::Everything
        } else {
            FullTraining::Language
        };
        model.train_full(what);
    } else {
        let report = attach(&mut model, &lora, rng::seed(run.seed, "adapter", 0, 0))?;
        reporter.on_message(&report);
    }
    let stop_ids = encoder.tokenizer.stop_ids();
    let encoder = Arc::new(encoder);
    let eval_rows = match (&puzzles, &places.eval) {
        (Some(puzzles), _) => Some(Rows::new(puzzles.eval.clone(), encoder.clone())),
        (None, Some(path)) => {
            let data = open_jsonl(path, RowRules::grpo(), &run.data)?;
            Some(Rows::new(Arc::new(data), encoder.clone()).configured(&run.data)?)
        }
        (None, None) => None,
    };
    let measure = |model: &AnyVlm| -> Result<_, vtb_trainer::TrainError> {
        let Some(rows) = &eval_rows else {
            return Ok(None);
        };
        evaluate::accuracy(model, rows, &stop_ids, EVAL_TOKENS).map(Some)
    };
    let dropout = run.train.mode == "lora" && run.lora.dropout > 0.0;
    let mut objective = SftObjective::new(
        Rows::new(source, encoder).configured(&run.data)?,
        run.data.load_options(),
        run.batch.clone(),
        run.seed,
        dropout,
    )?;
    let context = RunContext {
        dir: &dir,
        phase: "sft",
        config: &config,
        dataset_fingerprint: &fingerprint,
        seed: run.seed,
        resume: options.resume,
        device: &machine.device,
    };
    let export = export(model_dir.clone(), places.model_name.clone());
    let mut evaluate_step = |model: &AnyVlm, _: u64| {
        Ok(measure(model)?
            .map(|found| evaluate::evaluation(&found))
            .unwrap_or_default())
    };
    let evaluate: &mut Evaluate<'_, AnyVlm> = &mut evaluate_step;
    let hooks = Hooks {
        reporter: reporter.as_mut(),
        interrupt: &interrupt,
        evaluate: Some(evaluate),
        export: &export,
    };
    let loop_config = run.train.loop_config(&run.save, &run.log);
    let outcome = train(&mut model, &mut objective, &loop_config, &context, hooks)?;
    if let Outcome::Interrupted(step) = outcome {
        reporter.on_message(&interrupted(step, dir.root()));
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let after = measure(&model).context("the final evaluation failed")?;
    let seconds = started.elapsed().as_secs_f64();
    let kind = if model.adapter_factors().is_empty() {
        "model"
    } else {
        "adapter"
    };
    let result = dir
        .checkpoints()
        .join(format!("step-{}", run.train.max_steps))
        .join(kind);
    let summary = json!({
        "program": "train-sft",
        "seed": run.seed,
        "seconds": seconds,
        "after": after,
        "model": places.model_name.clone().unwrap_or_else(|| model_dir.display().to_string()),
        kind: result,
    });
    dir.write_summary(&summary)?;
    if let Some(after) = after {
        println!(
            "held-out accuracy  {:.1} % of {}",
            100.0 * after.accuracy,
            after.n
        );
    }
    println!("run directory      {}", shown(dir.root()));
    println!("{kind:<18} {}", shown(&result));
    Ok(ExitCode::SUCCESS)
}
