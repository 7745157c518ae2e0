//! What the user of `gpu-check` may choose.

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;

/// A group of checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Section {
    /// Every tensor operation, forward and backward, against the CPU
    Ops,
    /// One training step of a tiny model against the CPU
    Step,
    /// Rates of products, attention and copies at real sizes
    Rates,
    /// One decoder block of 4B and 8B size, forward and backward
    Block,
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Ops => "ops",
            Self::Step => "step",
            Self::Rates => "rates",
            Self::Block => "block",
        };
        f.pad(name)
    }
}

/// Arguments of `gpu-check`.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The GPU to check: `cuda` or `cuda:N`
    #[arg(long, value_name = "DEVICE", default_value = "cuda:0")]
    pub device: String,
    /// Smaller cases, fewer repeats and only the first sizes
    #[arg(long)]
    pub quick: bool,
    /// Run this section alone; may be repeated
    #[arg(long, value_name = "SECTION", conflicts_with = "self_test")]
    pub only: Vec<Section>,
    /// Where the dated JSON report goes
    #[arg(long, value_name = "FILE", default_value = "gpu-check.json")]
    pub out: PathBuf,
    /// Print Markdown tables when all is done, in place of a line per check
    #[arg(long)]
    pub markdown: bool,
    /// Print the names of all checks and do nothing
    #[arg(long)]
    pub list: bool,
    /// Compare the CPU with itself (sections ops and step, small sizes): needs no GPU
    #[arg(long)]
    pub self_test: bool,
}

impl Options {
    /// The sections to run.
    pub(super) fn sections(&self) -> Vec<Section> {
        if self.only.is_empty() {
            Section::value_variants().to_vec()
        } else {
            self.only.clone()
        }
    }
}
