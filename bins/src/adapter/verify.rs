//! `adapter verify`: base and adapter against the merged model.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use burn::tensor::DType;
use clap::Args;
use serde::Serialize;
use vtb_lora::{AdapterFile, read_adapter};
use vtb_models_vlm::AnyVlm;
use vtb_models_vlm::config::AnyVlmConfig;
use vtb_models_vlm::files::ModelDir;
use vtb_nn::checkpoint::{Checkpoint, TensorSource};

use super::compare::{Compared, Limits, Logits, Verdict};
use super::merge::fitted;
use super::probes::{Probe, probes};
use super::{Stored, find_adapter};
use crate::ending::Usage;
use crate::model::{Machine, open_encoder, open_machine};
use crate::settings::ModelSection;
use crate::source::{Wanted, resolve};

/// Last positions of an input whose logits are compared: with a vocabulary of 151,936 they take 39 MB.
const POSITIONS: usize = 64;

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// Base model: a directory in the Hugging Face layout, or org/name@revision
    #[arg(long, value_name = "DIR|NAME")]
    model: String,
    /// Adapter: a PEFT directory, or org/name@revision of one
    #[arg(long, value_name = "DIR|NAME")]
    adapter: String,
    /// Merged model [default: merge in memory, as `adapter merge` would]
    #[arg(long, value_name = "DIR|NAME")]
    merged: Option<String>,
    /// How the merge in memory stores weights
    #[arg(long, value_enum, default_value_t = Stored::Keep, conflicts_with = "merged")]
    dtype: Stored,
    /// `auto`, `cpu`, `cuda` or `cuda:N`
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Format that both models compute in: `f32` shows the merge's own rounding, `bf16` takes half the memory
    #[arg(long, value_name = "FORMAT", default_value = "f32")]
    precision: String,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    /// Type of the merged weights.
    stored: &'static str,
    /// Type both models computed in.
    computed: &'static str,
    #[serde(flatten)]
    limits: Limits,
    probes: Vec<Compared>,
    verdict: Verdict,
}

impl Verify {
    #[allow(clippy::print_stdout, reason = "results go to standard output")]
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let find_model = |text: &str| resolve(Wanted::Model, text);
        let adapter_dir = find_adapter(&self.adapter)?;
        let base_dir = ModelDir::open(find_model(&self.model)?)?;
        let merged_dir = self.merged.as_deref().map(find_model).transpose()?;
        let machine = open_machine(&ModelSection::on(&self.device, &self.precision))?;
        let base = Checkpoint::open(base_dir.root())?;
        let file = AdapterFile::open(&adapter_dir)?;
        let in_memory = fitted(&base, &file, self.dtype.dtype(), &base_dir)?;
        let changed: Vec<String> = in_memory.changed().map(str::to_owned).collect();
        let open = merged_dir.as_deref().map(Checkpoint::open).transpose()?;
        let merged: &dyn TensorSource = match &open {
            Some(checkpoint) => checkpoint,
            None => &in_memory,
        };
        let stored = narrowest(merged, &changed)?;

        let (probes, plain, adapted, layers) =
            with_adapter(base_dir.root(), &adapter_dir, &machine)?;
        let config_dir = merged_dir.as_deref().unwrap_or(base_dir.root());
        let config = AnyVlmConfig::from_dir(&ModelDir::open(config_dir)?)?;
        let model = AnyVlm::from_source(config, merged, &machine.device, machine.dtype)
            .context("cannot load the merged model")?;
        let limits = Limits::new(stored, machine.dtype, layers);
        let mut compared = Vec::new();
        for ((probe, plain), adapted) in probes.iter().zip(&plain).zip(&adapted) {
            let merged = logits(&model, probe)?;
            let found = Compared::new(probe.name, plain, adapted, &merged);
            compared.push(found.with_context(|| format!("the probe `{}`", probe.name))?);
        }
        let report = Report {
            stored: name_of(stored),
            computed: name_of(machine.dtype),
            verdict: limits.judge(&compared),
            limits,
            probes: compared,
        };
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(&report)?),
            false => print!("{}", report.table()),
        }
        Ok(match report.verdict.passed() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}

/// The inputs, their logits without and with the adapter, and how many layers the decoder has.
#[allow(clippy::type_complexity, reason = "told apart where they are used")]
fn with_adapter(
    base: &Path,
    adapter: &Path,
    machine: &Machine,
) -> anyhow::Result<(Vec<Probe>, Vec<Logits>, Vec<Logits>, usize)> {
    let mut model = AnyVlm::load(base, &machine.device, machine.dtype)
        .with_context(|| format!("cannot load the model {}", base.display()))?;
    let probes = probes(Arc::new(open_encoder(base, &model)?))?;
    let all = |model: &AnyVlm| -> anyhow::Result<Vec<Logits>> {
        probes.iter().map(|probe| logits(model, probe)).collect()
    };
    let plain = all(&model)?;
    model.load_adapter(read_adapter(adapter)?, adapter)?;
    let adapted = all(&model)?;
    let layers = model.config().text().num_layers;
    Ok((probes, plain, adapted, layers))
}

/// Logits of the last positions of an input.
fn logits(model: &AnyVlm, probe: &Probe) -> anyhow::Result<Logits> {
    let all = model.logits(std::slice::from_ref(&probe.row))?;
    let [rows, width] = all.dims();
    let data = all
        .slice([rows.saturating_sub(POSITIONS)..rows, 0..width])
        .into_data();
    Ok(Logits {
        values: data.iter::<f32>().collect(),
        width,
    })
}

/// The coarsest type among the merged weights.
fn narrowest(merged: &dyn TensorSource, changed: &[String]) -> anyhow::Result<DType> {
    let mut found = DType::F32;
    for name in changed {
        let Some(info) = merged.info(name) else {
            bail!(Usage(format!(
                "--merged: {} has no tensor `{name}`; is it a merge of this base model?",
                merged.origin()
            )));
        };
        found = match (found, info.dtype) {
            (DType::BF16, _) | (_, DType::BF16) => DType::BF16,
            (DType::F16, _) | (_, DType::F16) => DType::F16,
            _ => DType::F32,
        };
    }
    Ok(found)
}

fn name_of(dtype: DType) -> &'static str {
    match dtype {
        DType::BF16 => "bf16",
        DType::F16 => "f16",
        _ => "f32",
    }
}

impl Report {
    fn table(&self) -> String {
        let mut text = format!(
            "merged weights in {}, computed in {}; differences of logits, in parts of their spread\n\n{:<20} {:>9} {:>10} \
             {:>10} {:>10} {:>10} {:>8} {:>16}\n",
            self.stored,
            self.computed,
            "probe",
            "positions",
            "adapter",
            "mean",
            "rms",
            "max",
            "spread",
            "same first token"
        );
        for p in &self.probes {
            text += &format!(
                "{:<20} {:>9} {:>10.2e} {:>10.2e} {:>10.2e} {:>10.2e} {:>8.3} {:>16}\n",
                p.probe,
                p.positions,
                p.effect,
                p.mean,
                p.rms,
                p.max,
                p.spread,
                format!("{}/{}", p.same_argmax, p.positions)
            );
        }
        text += &format!(
            "{:<20} {:>9} {:>10} {:>10} {:>10.2e} {:>10.2e}\n\n{}\n",
            "bound",
            "",
            "",
            "",
            self.limits.rms,
            self.limits.max,
            self.verdict.sentence()
        );
        text
    }
}
