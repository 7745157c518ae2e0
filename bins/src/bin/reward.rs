//! Looks at rewards before a model is trained on them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use vtb_bins::ending::{self, Usage};
use vtb_bins::reward_check;
use vtb_bins::settings::GrpoRun;
use vtb_data::{JsonlDataset, OpenOptions, RowRules};
use vtb_rewards::{Registry, RewardSpec, WeightedRewards};

/// Looks at rewards before a model is trained on them.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = EXAMPLE)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Scores right, wrong, guessed and empty answers to the rows of a training file
    ///
    /// Ends with 1 where a wrong answer is paid as much as the right one, or where the solution of a row is not read
    /// as an answer.
    Check(Check),
    /// Prints the names of the rewards
    List,
}

#[derive(Debug, clap::Args)]
struct Check {
    /// JSONL file of rows with a solution, as train-grpo reads it
    file: PathBuf,
    /// Rewards, with weights: `auto`, `format=0.1`, ... [default: those of train-grpo]
    #[arg(long, value_name = "NAME[=WEIGHT]", value_delimiter = ',')]
    rewards: Vec<String>,
    /// Take the rewards of a configuration of train-grpo instead
    #[arg(long, value_name = "FILE", conflicts_with = "rewards")]
    config: Option<PathBuf>,
    /// Rows that are looked at, spread evenly over the file
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    rows: u32,
}

const EXAMPLE: &str = "\
Example:
  reward check data/train_grpo.jsonl --rewards auto,format=0.1

Exit codes: 0 the rewards tell right from wrong, 1 they do not or the run failed, 2 wrong usage.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    ending::start();
    ending::finish(match &cli.command {
        Command::Check(check) => run(check),
        Command::List => list(),
    })
}

#[allow(clippy::print_stdout, reason = "results go to standard output")]
fn run(check: &Check) -> anyhow::Result<ExitCode> {
    let specs = specs(check)?;
    let rewards = WeightedRewards::from_specs(&Registry::builtin(), &specs)
        .map_err(|fault| Usage(fault.to_string()))?;
    let rows = JsonlDataset::open(&check.file, &OpenOptions::new(RowRules::grpo()))?;
    let findings = reward_check::check(&rows, check.rows as usize, &rewards)?;
    print!("{}", findings.table());
    let faults = findings.faults();
    for fault in &faults {
        println!("{fault}");
    }
    Ok(match faults.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

#[allow(clippy::print_stdout, reason = "results go to standard output")]
fn list() -> anyhow::Result<ExitCode> {
    Registry::builtin()
        .names()
        .for_each(|name| println!("{name}"));
    Ok(ExitCode::SUCCESS)
}

fn specs(check: &Check) -> anyhow::Result<Vec<RewardSpec>> {
    if let Some(path) = &check.config {
        return from_config(path);
    }
    if check.rewards.is_empty() {
        return Ok(GrpoRun::defaults(false).rewards);
    }
    check.rewards.iter().map(|given| spec(given)).collect()
}

fn spec(given: &str) -> anyhow::Result<RewardSpec> {
    let (name, weight) = given.split_once('=').unwrap_or((given, "1"));
    let weight = weight
        .parse()
        .map_err(|_| Usage(format!("--rewards {given}: `{weight}` is not a number")))?;
    Ok(RewardSpec {
        name: name.to_owned(),
        weight,
        params: serde_json::Value::Null,
    })
}

/// The `[[rewards]]` of a configuration; its other keys are not looked at.
fn from_config(path: &Path) -> anyhow::Result<Vec<RewardSpec>> {
    use anyhow::Context;
    #[derive(serde::Deserialize)]
    struct Named {
        rewards: Option<Vec<RewardSpec>>,
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("{}", path.display()))?;
    let named: Named =
        toml::from_str(&text).map_err(|fault| Usage(format!("{}: {fault}", path.display())))?;
    Ok(named
        .rewards
        .unwrap_or_else(|| GrpoRun::defaults(false).rewards))
}
