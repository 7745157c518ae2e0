//! `adapter convert`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use vtb_lora::{LoraConfig, NameLayout, read_adapter, write_adapter};

use super::find_adapter;
use super::output::NewDir;

/// For whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum To {
    /// PEFT with the names of transformers 4.52 and later: model.language_model.layers, model.visual
    Peft,
    /// PEFT with the names before 4.52, and of text models: model.layers, visual
    PeftLegacy,
    /// As peft, with --fold-scale: for vLLM and others that read only r and lora_alpha
    Vllm,
}

#[derive(Debug, Args)]
pub(super) struct Convert {
    /// PEFT adapter with any of these names: a directory, or org/name@revision
    #[arg(value_name = "ADAPTER")]
    adapter: String,
    /// Names and settings of the copy
    #[arg(long, value_enum)]
    to: To,
    /// Directory to write; must not be there yet
    #[arg(long, value_name = "DIR")]
    output_dir: PathBuf,
    /// One rank and one alpha for all layers, without patterns and rsLoRA: alpha says the scale where it can, else it goes
    /// into factor B
    #[arg(long)]
    fold_scale: bool,
    /// Name this base model in the copy [default: the one the adapter names]
    #[arg(long, value_name = "DIR|NAME")]
    base_model: Option<String>,
}

impl Convert {
    #[allow(clippy::print_stdout, reason = "results go to standard output")]
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let dir = find_adapter(&self.adapter)?;
        let adapter = read_adapter(&dir)?;
        let layout = match self.to {
            To::PeftLegacy => NameLayout::Legacy,
            To::Peft | To::Vllm => NameLayout::Current,
        };
        let before = adapter.config.clone();
        let mut adapter = adapter.renamed(layout, &dir)?;
        if self.fold_scale || self.to == To::Vllm {
            adapter = adapter.folded(&dir)?;
        }
        let named = self.base_model.as_deref().or(adapter.base_model.as_deref());
        let out = NewDir::begin(&self.output_dir)?;
        write_adapter(
            out.path(),
            &adapter.config,
            named.unwrap_or_default(),
            &adapter.factors,
        )?;
        out.finish()?;
        println!(
            "wrote {} layers{} into {}",
            adapter.factors.len(),
            scale_told(&before, &adapter.config),
            self.output_dir.display()
        );
        Ok(ExitCode::SUCCESS)
    }
}

/// What became of the scale.
fn scale_told(before: &LoraConfig, after: &LoraConfig) -> String {
    let patterns = |c: &LoraConfig| !c.rank_pattern.is_empty() || !c.alpha_pattern.is_empty();
    let folded = before.use_rslora != after.use_rslora || (patterns(before) && !patterns(after));
    match folded {
        true => format!(", all of rank {} and alpha {}", after.r, after.alpha),
        false => String::new(),
    }
}
