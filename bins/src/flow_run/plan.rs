//! Checks of the settings, and what a run is going to do.

use std::path::{Path, PathBuf};

use vtb_lora::AdapterFormat;

use super::family::{Adapted, Family, Run};
use super::settings::{DataKeys, ModelKeys};
use crate::model::check_machine;
use crate::plan::Plan;
use crate::session::{NamedData, refuse};
use crate::settings::ModelSection;
use crate::source::Inputs;

/// Fails with every fault of the settings at once.
pub(super) fn check<F: Family>(run: &Run<F>) -> anyhow::Result<()> {
    let data = &run.data;
    let named = NamedData {
        model: run.model.is_named(),
        train: data.train().is_some(),
        eval: data.eval().is_some(),
        eval_split: data.eval_split(),
        ahead: data.ahead().1,
    };
    let mut faults = named.faults();
    faults.extend(run.loop_config().faults());
    if run.batch.batch_size * run.batch.gradient_accumulation == 0 {
        faults.push("batch.batch_size and batch.gradient_accumulation must be at least 1".into());
    }
    faults.extend(F::faults(run));
    faults.extend(
        run.flow
            .validate()
            .into_iter()
            .map(|fault| format!("flow.{fault}")),
    );
    if run.eval.levels == 0 || run.eval.batch_size == 0 {
        faults.push("eval.levels and eval.batch_size must be at least 1".into());
    }
    if run.samples.count > 0 && run.samples.steps < 2 {
        faults.push("samples.steps must be at least 2".into());
    }
    if !run.samples.cfg.is_finite() {
        faults.push("samples.cfg must be a number".into());
    }
    for (key, path) in [
        ("samples.judge", run.samples.judge.as_deref()),
        ("samples.prompts", run.samples.prompts.as_deref()),
        (F::Data::ROOT, data.root()),
    ] {
        if let Some(path) = path
            && !Path::new(path).exists()
        {
            faults.push(format!("{key} = `{path}` does not exist"));
        }
    }
    if let Err(name) = run.export.parsed() {
        let known: Vec<&str> = AdapterFormat::ALL.iter().map(|f| f.name()).collect();
        faults.push(format!(
            "export.formats: `{name}` is none of {}",
            known.join(", ")
        ));
    }
    if let Err(error) = run.lora.config().rules("lora") {
        faults.push(error.to_string());
    }
    if let Err(error) = check_machine(&machine_section::<F>(run)) {
        faults.push(error.to_string());
    }
    refuse(faults)
}

/// Device and precision as other programs name them.
pub(super) fn machine_section<F: Family>(run: &Run<F>) -> ModelSection {
    ModelSection::on(run.model.device(), run.model.precision())
}

/// The lines of the plan; the model's small files and the rows are read for it.
pub(super) fn plan<F: Family>(run: &Run<F>, inputs: &Inputs) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    match &inputs.model {
        Some(source) => {
            plan.line("model", source.in_plan());
            if let Some(path) = source.local() {
                let dir = F::look(path)?;
                let report = F::outline(&dir)?.match_adapter(&run.lora.config())?;
                plan.line("parameters", F::parameters(&dir)?);
                plan.line("trainable", report.parameters());
            }
        }
        None => plan.line("model", F::MADE),
    }
    match &inputs.train {
        Some(source) => plan.line("data", source.in_plan()),
        None => plan.line("data", F::made_data(run)),
    }
    plan.inputs(inputs);
    let local = inputs.local_rows(F::ROWS, F::EVAL_ROWS)?;
    let prompts = run.samples.prompts.as_ref().map(PathBuf::from);
    for (name, file) in [
        ("rows", local.train),
        ("held-out rows", local.eval),
        ("previews", prompts),
    ] {
        if let Some(file) = file {
            F::plan_rows(run, name, &file, &mut plan)?;
        }
    }
    if inputs.adapter.is_none() {
        let (rank, alpha, targets) = (run.lora.rank, run.lora.alpha, &run.lora.targets);
        plan.line(
            "adapter",
            format!("rank {rank}, alpha {alpha}, targets {targets}"),
        );
    }
    let rows = run.batch.batch_size * run.batch.gradient_accumulation;
    plan.line("steps", format!("{} × {rows} rows", run.train.max_steps));
    let (rate, schedule) = (run.train.learning_rate, run.train.schedule);
    plan.line("learning rate", format!("{rate} ({schedule:?})"));
    plan.line("cache", cache_dir::<F>(run).display());
    plan.line("seed", run.seed);
    plan.line("output", &run.output_dir);
    Ok(plan)
}

/// Where encoded prompts and samples lie.
pub(super) fn cache_dir<F: Family>(run: &Run<F>) -> PathBuf {
    match run.data.cache_dir() {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(&run.output_dir).join("cache"),
    }
}
