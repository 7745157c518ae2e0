//! `train-sft`: from settings to a summary.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use serde_json::json;
use vtb_data::{RowMode, RowRules, RowSource};
use vtb_models_vlm::AnyVlm;
use vtb_trainer::rng;
use vtb_trainer::signal::Interrupt;
use vtb_trainer::train::{Evaluate, Hooks, Outcome, RunContext, SftObjective, train};

use crate::config;
use crate::data::{Rows, check_files, fingerprint, hold_out, mode_of, open_jsonl};
use crate::demo;
use crate::ending::INTERRUPTED;
use crate::evaluate::HeldOut;
use crate::memory::{self, Batch, States, capacity, row_sizes};
use crate::model::{attach, open_machine, open_model};
use crate::options::TrainOptions;
use crate::plan::Plan;
use crate::probe::Probe;
use crate::session::{
    export, interrupted, names_model, open_run, refuse, reporter, settings, shared_faults, shown,
};
use crate::settings::{EvalSection, SftRun};
use crate::source::{
    EVAL_ROWS, Inputs, Named, Places, SFT_ROWS, Source, Wanted, take_over_signals,
};

/// Most tokens of a held-out answer, unless the settings say otherwise.
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
    let inputs = Inputs::find(
        Wanted::Model,
        Named::of(&mut run.model, &mut run.data),
        resumed.as_deref(),
    )?;
    let states = states(&run, &inputs)?;
    let mut plan = plan(&run, &inputs, states.as_ref());
    if options.dry_run {
        let rows = inputs.local_rows(&SFT_ROWS, &EVAL_ROWS)?;
        let eval = rows.eval.as_deref().map_or(RowRules::grpo(), eval_rules);
        for line in check_files(&run.data, &rows, RowRules::sft(), eval)? {
            plan.line("checked", line);
        }
        if let (Some(states), Some(file), Some(model)) =
            (&states, &rows.train, inputs.local_model())
        {
            let rules = RowRules::sft();
            let batch = Batch {
                rows: run.batch.batch_size as u64,
                sizes: row_sizes(model, &states.config, file, rules, &run.data)?,
                completion: 0,
                generations: 1,
                recompute: run.batch.recompute,
            };
            let capacity = capacity(options.device_memory, &run.model);
            memory::tell(&mut plan, states, &batch, None, capacity);
        }
        print!("plan (no device was opened, nothing was written)\n{plan}");
        return Ok(ExitCode::SUCCESS);
    }
    let places = inputs.fetch(&SFT_ROWS, &EVAL_ROWS)?;
    execute(&run, options, &config::to_toml(&run)?, &plan, &places)
}

/// Held-out rows with answers to compare with are read with them.
fn eval_rules(path: &Path) -> RowRules {
    RowRules {
        mode: mode_of(path),
        require_solution: false,
        ..RowRules::sft()
    }
}

fn check(run: &SftRun) -> anyhow::Result<()> {
    let mut faults = shared_faults(&run.model, &run.data, &run.train, &run.eval);
    if run.batch.batch_size * run.batch.gradient_accumulation == 0 {
        faults.push("batch.batch_size and batch.gradient_accumulation must be at least 1".into());
    }
    refuse(faults)
}

fn states(run: &SftRun, inputs: &Inputs) -> anyhow::Result<Option<States>> {
    let accumulates = run.batch.gradient_accumulation > 1;
    inputs.states(&run.model, &run.train, &run.lora, accumulates)
}

fn plan(run: &SftRun, inputs: &Inputs, states: Option<&States>) -> Plan {
    let mut plan = Plan::default();
    plan.model(inputs.model.as_ref(), states, &run.lora, &run.train);
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
    plan
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
    encoder.options.overflow = run.model.overflow().unwrap_or_default();
    take_over_signals();
    let interrupt = Interrupt::install()?;
    let mut reporter = reporter(options, run.log.seconds, &interrupt)?;
    reporter.on_message(&format!("plan\n{plan}"));
    let lora = run.lora.config();
    if run.train.mode == "full" {
        model.train_full(run.train.full());
    } else {
        let report = attach(&mut model, &lora, rng::seed(run.seed, "adapter", 0, 0))?;
        reporter.on_message(&report);
    }
    let stop_ids = encoder.tokenizer.stop_ids();
    let encoder = Arc::new(encoder);
    let mut source = source;
    let eval_rows = match (&puzzles, &places.eval) {
        (Some(puzzles), _) => Some(Rows::new(puzzles.eval.clone(), encoder.clone())),
        (None, Some(path)) => {
            let data = open_jsonl(path, eval_rules(path), &run.data)?;
            Some(Rows::new(Arc::new(data), encoder.clone()).configured(&run.data)?)
        }
        (None, None) => {
            let (train, held_out) = hold_out(source, &run.data, run.seed)?;
            source = train;
            let rows = |part| Rows::new(part, encoder.clone()).configured(&run.data);
            held_out.map(rows).transpose()?
        }
    };
    let eval = EvalSection {
        max_new_tokens: match run.eval.max_new_tokens {
            0 => EVAL_TOKENS,
            given => given,
        },
        ..run.eval.clone()
    };
    let seed = rng::seed(run.seed, "evaluation", 0, 0);
    let held_out = eval_rows
        .map(|rows| HeldOut::new(rows, &eval, &stop_ids, seed))
        .transpose()?;
    let measure = |model: &AnyVlm| {
        held_out
            .as_ref()
            .map(|rows| rows.measure(model))
            .transpose()
    };
    let dropout = run.train.mode == "lora" && run.lora.dropout > 0.0;
    let rows = Rows::new(source, encoder).configured(&run.data)?;
    if run.train.probe {
        let probe = Probe {
            rows: run.batch.batch_size,
            completion: 0,
            generations: 1,
            recompute: run.batch.recompute,
        };
        reporter.on_message(&probe.run(&model, &rows)?);
    }
    let mut objective = SftObjective::new(
        rows,
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
            .map(|found| found.evaluation())
            .unwrap_or_default())
    };
    let evaluate: &mut Evaluate<'_, AnyVlm> = &mut evaluate_step;
    let hooks = Hooks {
        completions: None,
        reporter: reporter.as_mut(),
        interrupt: &interrupt,
        evaluate: Some(evaluate),
        export: &export,
        samples: None,
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
        let what = match after.accuracy {
            Some(_) => "held-out accuracy",
            None => "held-out",
        };
        println!("{what:<18} {after}");
    }
    println!("run directory      {}", shown(dir.root()));
    println!("{kind:<18} {}", shown(&result));
    Ok(ExitCode::SUCCESS)
}
