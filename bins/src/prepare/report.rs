//! Progress, and what was done.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use vtb_data::DataError;
use vtb_data::prepare::{Exporter, Report, Settings, Source, run};
use vtb_trainer::signal::Interrupt;

use super::options::usage;
use crate::ending::INTERRUPTED;

/// Reasons that are told in full.
const REASONS: usize = 5;

/// Runs an export to its end and tells of it.
pub(super) fn export<E: Exporter>(
    source: &Source,
    settings: &Settings,
    exporter: E,
) -> anyhow::Result<ExitCode> {
    let stop = Interrupt::install()?;
    let bar = progress_bar(source.records());
    let begun = Instant::now();
    let mut read = 0;
    let ended = run(source, settings, exporter, &mut |done| {
        read = done;
        bar.set_position(done as u64);
        match stop.is_set() {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    });
    bar.finish_and_clear();
    let mut notes = std::io::stderr();
    let Some(report) = ended.map_err(usage)? else {
        writeln!(
            notes,
            "interrupted after {read} records; nothing was changed"
        )?;
        return Ok(ExitCode::from(INTERRUPTED));
    };
    tell(&report, settings)?;
    let seconds = begun.elapsed().as_secs_f64();
    writeln!(notes, "{} rows in {seconds:.1} s", report.total())?;
    Ok(ExitCode::SUCCESS)
}

fn progress_bar(len: Option<usize>) -> ProgressBar {
    const TEMPLATE: &str = "[{bar:24}] {pos}/{len} {per_sec} eta {eta}";
    let bar = match (std::io::stderr().is_terminal(), len) {
        (true, Some(len)) => ProgressBar::new(len as u64),
        (true, None) => ProgressBar::new_spinner(),
        (false, _) => ProgressBar::hidden(),
    };
    if len.is_some() {
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    }
    bar
}

fn tell(report: &Report, settings: &Settings) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    for file in &report.files {
        writeln!(out, "{}", file.display())?;
    }
    for ((group, task), rows) in &report.rows {
        writeln!(out, "{task:24} {group:14} {rows:>8} rows")?;
    }
    let mut notes = std::io::stderr();
    if settings.dry {
        writeln!(notes, "dry run: nothing was written")?;
    }
    if report.unselected > 0 {
        writeln!(notes, "{} records were not selected", report.unselected)?;
    }
    for (note, rows) in &report.notes {
        writeln!(notes, "note: {rows} {note}")?;
    }
    if report.bad.is_empty() {
        return Ok(());
    }
    writeln!(
        notes,
        "warning: {} records were left out:",
        report.bad.len()
    )?;
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    for fault in &report.bad {
        *reasons.entry(reason(fault)).or_default() += 1;
    }
    for (reason, count) in reasons {
        writeln!(notes, "  {count} x {reason}")?;
    }
    for fault in report.bad.iter().take(REASONS) {
        writeln!(notes, "  {fault}")?;
    }
    if report.bad.len() > REASONS {
        writeln!(notes, "  and {} more", report.bad.len() - REASONS)?;
    }
    Ok(())
}

/// What is wrong, without the record's name.
fn reason(fault: &DataError) -> String {
    match fault {
        DataError::Record { fault, .. } => fault.to_string(),
        DataError::Row { fault, .. } => fault.to_string(),
        other => other.to_string(),
    }
}
