//! `adapter inspect`.

use std::process::ExitCode;

use clap::Args;
use vtb_lora::{AdapterFile, AdapterReport, LinearInfo, MergedSource};
use vtb_nn::device::cpu_device;

use super::base::open_base;
use super::find_adapter;

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// Adapter: a PEFT directory, org/name@revision of one, or a safetensors file of diffusers, ComfyUI, Kohya or
    /// DiffSynth
    #[arg(value_name = "ADAPTER")]
    adapter: String,
    /// Base model whose layers the adapter must fit, in either layout; its weights are not read
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Inspect {
    #[allow(clippy::print_stdout, reason = "results go to standard output")]
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let path = find_adapter(&self.adapter)?;
        let base = self.model.as_deref().map(open_base).transpose()?;
        let modules = base.as_ref().map(|base| LinearInfo::of_checkpoint(base));
        let file = AdapterFile::open_any(path, modules.as_deref())?;
        let device = cpu_device();
        let mut report = AdapterReport::new(&file, &device)?;
        if let Some(base) = &base
            && let Err(fault) = MergedSource::new(base, &file, None, &device)
        {
            let fault = fault.to_string();
            if !report.faults.contains(&fault) {
                report.faults.push(fault);
            }
        }
        match self.json {
            true => println!("{}", serde_json::to_string_pretty(&report)?),
            false => println!("{report}"),
        }
        Ok(match report.faults.is_empty() {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        })
    }
}
