//! `adapter inspect`.

use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use vtb_lora::{AdapterFile, AdapterReport, MergedSource};
use vtb_nn::checkpoint::Checkpoint;
use vtb_nn::device::cpu_device;

use super::{find_adapter, find_model};

#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// PEFT adapter: a directory, or org/name@revision
    #[arg(value_name = "ADAPTER")]
    adapter: String,
    /// Base model whose layers the adapter must fit; its weights are not read
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Inspect {
    #[allow(clippy::print_stdout, reason = "results go to standard output")]
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let file = AdapterFile::open(find_adapter(&self.adapter)?)?;
        let device = cpu_device();
        let mut report = AdapterReport::new(&file, &device)?;
        if let Some(model) = &self.model {
            let base = Checkpoint::open(find_model(model)?).context("the base model")?;
            if let Err(fault) = MergedSource::new(&base, &file, None, &device) {
                let fault = fault.to_string();
                if !report.faults.contains(&fault) {
                    report.faults.push(fault);
                }
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
