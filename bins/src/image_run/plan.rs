//! Checks of the settings, and what a run is going to do.

use std::path::{Path, PathBuf};

use vtb_data::media::read_edit_rows;
use vtb_models_diffusion::qwen_image::{EditModelDir, QwenImageTransformer};

use super::settings::ImageRun;
use crate::model::check_machine;
use crate::plan::Plan;
use crate::session::{NamedData, refuse};
use crate::settings::ModelSection;
use crate::source::{IMAGE_EVAL_ROWS, IMAGE_ROWS, Inputs};

/// Fails with every fault of the settings at once.
pub(super) fn check(run: &ImageRun) -> anyhow::Result<()> {
    let named = NamedData {
        model: run.model.path.is_some(),
        train: run.data.train.is_some(),
        eval: run.data.eval.is_some(),
        eval_split: run.data.eval_split,
        ahead: run.data.ahead,
    };
    let mut faults = named.faults();
    faults.extend(run.loop_config().faults());
    if run.batch.batch_size * run.batch.gradient_accumulation == 0 {
        faults.push("batch.batch_size and batch.gradient_accumulation must be at least 1".into());
    }
    for (key, area) in [
        ("max_pixels", run.data.max_pixels),
        ("reference_area", run.data.reference_area),
        ("condition_area", run.data.condition_area),
    ] {
        if area < 1024 {
            faults.push(format!("data.{key} = {area} must be at least 1024"));
        }
    }
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
    if run.model.gelu().is_none() {
        let found = &run.model.activation;
        faults.push(format!(
            "model.activation = `{found}`: use `gelu_tanh` or `quick_gelu`"
        ));
    }
    for (key, path) in [
        ("samples.judge", &run.samples.judge),
        ("samples.prompts", &run.samples.prompts),
        ("data.image_root", &run.data.image_root),
    ] {
        if let Some(path) = path
            && !Path::new(path).exists()
        {
            faults.push(format!("{key} = `{path}` does not exist"));
        }
    }
    if let Err(name) = run.export.parsed() {
        let known: Vec<&str> = vtb_lora::AdapterFormat::ALL
            .iter()
            .map(|f| f.name())
            .collect();
        faults.push(format!(
            "export.formats: `{name}` is none of {}",
            known.join(", ")
        ));
    }
    if let Err(error) = run.lora.config().rules("lora") {
        faults.push(error.to_string());
    }
    if let Err(error) = check_machine(&machine_section(run)) {
        faults.push(error.to_string());
    }
    refuse(faults)
}

/// Device and precision as other programs name them.
pub(super) fn machine_section(run: &ImageRun) -> ModelSection {
    ModelSection::on(&run.model.device, &run.model.precision)
}

/// The lines of the plan; the model's small files and the rows are read for it.
pub(super) fn plan(run: &ImageRun, inputs: &Inputs) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    match &inputs.model {
        Some(source) => {
            plan.line("model", source.in_plan());
            if let Some(path) = source.local() {
                let dir = EditModelDir::open(path)?;
                let outline = QwenImageTransformer::outline(&dir.transformer)?;
                let report = outline.match_adapter(&run.lora.config())?;
                let all: usize = QwenImageTransformer::tensors(&dir.transformer)?
                    .values()
                    .map(|shape| shape.iter().product::<usize>())
                    .sum();
                plan.line("parameters", all);
                plan.line("trainable", report.parameters());
            }
        }
        None => plan.line(
            "model",
            "a tiny Qwen-Image-Edit, made here (random transformer, hand-made autoencoder)",
        ),
    }
    match &inputs.train {
        Some(source) => plan.line("data", source.in_plan()),
        None => plan.line(
            "data",
            format!(
                "{} generated {} puzzles",
                run.demo.train_puzzles, run.demo.task
            ),
        ),
    }
    plan.inputs(inputs);
    let local = inputs.local_rows(&IMAGE_ROWS, &IMAGE_EVAL_ROWS)?;
    let root = run.data.image_root.as_deref().map(Path::new);
    let prompts = run.samples.prompts.as_ref().map(PathBuf::from);
    for (name, file) in [
        ("rows", local.train),
        ("held-out rows", local.eval),
        ("previews", prompts),
    ] {
        if let Some(file) = file {
            plan.line(name, read_edit_rows(&file, root)?.len());
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
    plan.line("cache", cache_dir(run).display());
    plan.line("seed", run.seed);
    plan.line("output", &run.output_dir);
    Ok(plan)
}

/// Where encoded prompts and pictures lie.
pub(super) fn cache_dir(run: &ImageRun) -> PathBuf {
    match &run.data.cache_dir {
        Some(dir) => PathBuf::from(dir),
        None => Path::new(&run.output_dir).join("cache"),
    }
}
