//! Where `train-grpo` gets its completions, as `[rollout]` says.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use vtb_models_vlm::AnyVlm;
use vtb_trainer::objectives::grpo::SamplingCorrection;
use vtb_trainer::rollout::{InProcess, Rollout};

use crate::ending::Usage;
use crate::settings::{GrpoRun, RolloutSection};

/// Completions decoded together in this process.
pub const BATCH: usize = 128;
/// Directory below that of the run where adapters for a server lie, unless `rollout.adapter_dir` names another.
const ADAPTERS: &str = "rollout-adapters";
/// Longest timeout: a day.
const LONGEST: f64 = 86_400.0;

impl RolloutSection {
    /// Whether a server completes prompts.
    pub fn over_http(&self) -> bool {
        self.backend == "http"
    }
}

/// Faults of `[rollout]` and of how it goes together with the rest.
pub fn faults(run: &GrpoRun) -> Vec<String> {
    let rollout = &run.rollout;
    let mut faults = Vec::new();
    if !["in-process", "http"].contains(&rollout.backend.as_str()) {
        faults.push(format!(
            "rollout.backend = `{}`: use `in-process` or `http`",
            rollout.backend
        ));
    }
    let within = |value: f64, most: f64| value > 0.0 && value <= most;
    if !within(rollout.timeout_seconds, LONGEST) {
        faults.push(format!(
            "rollout.timeout_seconds = {} must be above 0 and at most {LONGEST}",
            rollout.timeout_seconds
        ));
    }
    if !within(rollout.canary_tolerance, f64::MAX) {
        faults.push(format!(
            "rollout.canary_tolerance = {} must be above 0",
            rollout.canary_tolerance
        ));
    }
    if !(1..=1024).contains(&rollout.concurrency) {
        faults.push(format!(
            "rollout.concurrency = {} must be from 1 to 1024",
            rollout.concurrency
        ));
    }
    if !(1..=20).contains(&rollout.attempts) {
        faults.push(format!(
            "rollout.attempts = {} must be from 1 to 20",
            rollout.attempts
        ));
    }
    if rollout.over_http() {
        faults.extend(server_faults(rollout));
    }
    if rollout.over_http() && run.train.mode == "full" {
        faults.push(
            "rollout.backend = `http` needs train.mode = `lora`: a server is brought up to date by loading an adapter"
                .into(),
        );
    }
    if rollout.over_http() && run.lora.dropout > 0.0 {
        faults.push(
            "rollout.backend = `http` needs lora.dropout = 0: the server samples without dropout"
                .into(),
        );
    }
    faults
}

#[cfg(feature = "http")]
fn server_faults(rollout: &RolloutSection) -> Vec<String> {
    use vtb_trainer::rollout::{ApiKey, check_address};
    let found = [
        check_address(&rollout.url),
        ApiKey::from_env(&rollout.api_key_env).map(drop),
    ];
    let faults = found.into_iter().filter_map(Result::err);
    faults.map(|fault| fault.to_string()).collect()
}

#[cfg(not(feature = "http"))]
fn server_faults(_rollout: &RolloutSection) -> Vec<String> {
    vec!["rollout.backend = `http` needs a build with `--features http`".into()]
}

/// What the plan says of it.
pub fn in_plan(run: &GrpoRun) -> String {
    let rollout = &run.rollout;
    if !rollout.over_http() {
        return "in this process".to_owned();
    }
    let correction = match run.grpo.sampling_correction {
        SamplingCorrection::None => {
            "no correction for the server's other kernels (grpo.sampling_correction)".to_owned()
        }
        mode => format!(
            "correction {mode:?}, cap {}",
            run.grpo.sampling_correction_cap
        ),
    };
    format!(
        "{}, {} requests at a time, {correction}",
        rollout.url, rollout.concurrency
    )
}

/// Opens what `[rollout]` names; a server must answer. `base` is what adapters call their base model.
pub fn open(
    run: &GrpoRun,
    root: &Path,
    base: &str,
    model: &AnyVlm,
) -> anyhow::Result<Box<dyn Rollout>> {
    if !run.rollout.over_http() {
        return Ok(Box::new(InProcess { batch: BATCH }));
    }
    over_http(&run.rollout, root, base, model)
}

#[cfg(feature = "http")]
fn over_http(
    rollout: &RolloutSection,
    root: &Path,
    base: &str,
    model: &AnyVlm,
) -> anyhow::Result<Box<dyn Rollout>> {
    use vtb_trainer::rollout::{ApiKey, HttpRollout, HttpSettings};
    let usage = |fault: vtb_trainer::rollout::HttpFault| Usage(fault.to_string());
    let key = ApiKey::from_env(&rollout.api_key_env).map_err(usage)?;
    let dir = match &rollout.adapter_dir {
        Some(dir) => PathBuf::from(dir),
        None => root.join(ADAPTERS),
    };
    // The server runs in another directory.
    let dir =
        std::path::absolute(&dir).with_context(|| format!("cannot find {}", dir.display()))?;
    let settings = HttpSettings {
        url: rollout.url.clone(),
        key,
        adapter_dir: dir,
        server_adapter_dir: rollout.server_adapter_dir.as_ref().map(PathBuf::from),
        base_model: base.to_owned(),
        concurrency: rollout.concurrency,
        timeout: Duration::from_secs_f64(rollout.timeout_seconds),
        attempts: rollout.attempts,
        backoff: Duration::from_millis(500),
        canary_tolerance: rollout.canary_tolerance,
        banned_ids: model.config().ids().all().to_vec(),
    };
    let rollout = HttpRollout::new(settings).map_err(usage)?;
    rollout.probe()?;
    Ok(Box::new(rollout))
}

#[cfg(not(feature = "http"))]
fn over_http(
    _rollout: &RolloutSection,
    _root: &Path,
    _base: &str,
    _model: &AnyVlm,
) -> anyhow::Result<Box<dyn Rollout>> {
    Err(Usage("rollout.backend = `http` needs a build with `--features http`".into()).into())
}
