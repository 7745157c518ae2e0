//! What was found: said line by line, written as JSON and as Markdown tables.

use std::path::Path;

use burn::tensor::Device;
use serde::Serialize;

use super::block::BlockResult;
use super::clock;
use super::compare::Comparison;
use super::options::Section;
use super::rates::{Rate, Unit};

/// Everything a run found.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    program: &'static str,
    version: &'static str,
    date: String,
    mode: &'static str,
    quick: bool,
    device: String,
    device_name: Option<String>,
    driver: Option<String>,
    host: Host,
    passed: bool,
    comparisons: Vec<Comparison>,
    rates: Vec<Rate>,
    ceiling: Ceiling,
    blocks: Vec<BlockResult>,
    failures: Vec<Failure>,
    #[serde(skip)]
    speaks: bool,
}

#[derive(Debug, Serialize)]
struct Host {
    os: &'static str,
    arch: &'static str,
    threads: usize,
}

/// The best rates measured in this run: what shares are shares of.
#[derive(Debug, Default, Serialize)]
struct Ceiling {
    tflops: Option<f64>,
    gigabytes: Option<f64>,
}

/// A check that could not be carried out.
#[derive(Debug, Serialize)]
struct Failure {
    section: Section,
    check: String,
    lane: String,
    message: String,
}

impl Report {
    /// An empty report dated now; with `speaks`, every finding is printed as it comes.
    pub(super) fn new(mode: &'static str, device: &str, speaks: bool) -> Self {
        Self {
            program: "gpu-check",
            version: env!("CARGO_PKG_VERSION"),
            date: clock::now(),
            mode,
            quick: false,
            device: device.to_owned(),
            device_name: None,
            driver: None,
            host: Host {
                os: std::env::consts::OS,
                arch: std::env::consts::ARCH,
                threads: std::thread::available_parallelism().map_or(1, usize::from),
            },
            passed: false,
            comparisons: Vec::new(),
            rates: Vec::new(),
            ceiling: Ceiling::default(),
            blocks: Vec::new(),
            failures: Vec::new(),
            speaks,
        }
    }

    /// Notes which device it is.
    pub(super) fn describe(&mut self, device: &Device, quick: bool) {
        self.quick = quick;
        self.device_name = super::device_name(device);
        self.driver = super::driver();
        let name = self.device_name.as_deref().unwrap_or("unnamed device");
        self.say(&format!("{}: {name}", self.device));
    }

    #[allow(clippy::print_stdout, reason = "results go to standard output")]
    fn say(&self, line: &str) {
        if self.speaks {
            println!("{line}");
        }
    }

    pub(super) fn comparison(&mut self, c: Comparison) {
        let e = c.errors;
        self.say(&format!(
            "{} {:<6} {:<26} {:<18} {:<11} relative {:.1e} (at most {:.0e})  cosine {:.6}  largest {:.1e}",
            mark(c.pass), c.section, c.check, c.output, c.lane, e.relative, c.limits.relative,
            e.cosine, e.max_abs,
        ));
        self.comparisons.push(c);
    }

    pub(super) fn failure(&mut self, section: Section, check: &str, lane: &str, message: String) {
        self.say(&format!(
            "{} {section:<6} {check:<26} {lane}: {message}",
            mark(false)
        ));
        let (check, lane) = (check.to_owned(), lane.to_owned());
        self.failures.push(Failure {
            section,
            check,
            lane,
            message,
        });
    }

    pub(super) fn rate(&mut self, name: &str, rate: Result<Rate, String>) {
        match rate {
            Ok(rate) => {
                let (ms, unit) = (rate.seconds * 1e3, unit(rate.unit));
                let dtype = rate.dtype;
                self.say(&format!(
                    "     rates  {name} {dtype}: {ms:.3} ms, {:.1} {unit}",
                    rate.rate
                ));
                self.rates.push(rate);
            }
            Err(why) => self.failure(Section::Rates, name, "", why),
        }
    }

    pub(super) fn block(&mut self, name: &str, block: Result<BlockResult, String>) {
        match block {
            Ok(block) => {
                self.say(&format!(
                    "     block  {name}: forward {:.2} ms, with backward {:.2} ms, {:.1} TFLOP/s, {}",
                    block.forward_seconds * 1e3,
                    block.step_seconds * 1e3,
                    block.step_tflops,
                    memory(&block),
                ));
                self.blocks.push(block);
            }
            Err(why) => self.failure(Section::Block, name, "", why),
        }
    }

    /// Works out ceilings, shares and the verdict.
    pub(super) fn finish(&mut self) {
        let best = |of: &dyn Fn(&Rate) -> bool| {
            self.rates
                .iter()
                .filter(|r| of(r))
                .map(|r| r.rate)
                .max_by(f64::total_cmp)
        };
        let tflops = best(&|r| r.is_product);
        let gigabytes = best(&|r| r.unit == Unit::GigaBytes);
        for rate in &mut self.rates {
            let ceiling = if rate.unit == Unit::Tflops {
                tflops
            } else {
                gigabytes
            };
            rate.share = ceiling.map(|ceiling| rate.rate / ceiling);
        }
        for block in &mut self.blocks {
            block.share = tflops.map(|ceiling| block.step_tflops / ceiling);
        }
        self.ceiling = Ceiling { tflops, gigabytes };
        let found = self.comparisons.len() + self.rates.len() + self.blocks.len();
        self.passed =
            found > 0 && self.failures.is_empty() && self.comparisons.iter().all(|c| c.pass);
    }

    pub(super) fn passed(&self) -> bool {
        self.passed
    }

    /// The last line.
    pub(super) fn verdict(&self, out: &Path) -> String {
        let beyond = self.comparisons.iter().filter(|c| !c.pass).count();
        format!(
            "{}: {} comparisons, {beyond} beyond tolerance; {} rates; {} blocks; {} checks failed; report: {}",
            mark(self.passed).trim_end(),
            self.comparisons.len(),
            self.rates.len(),
            self.blocks.len(),
            self.failures.len(),
            out.display(),
        )
    }

    pub(super) fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        super::write(path, &text)
    }

    /// Tables for `docs/benchmarks.md`.
    pub(super) fn markdown(&self) -> String {
        let name = self.device_name.as_deref().unwrap_or(&self.device);
        let mut text = format!("## {name}, {}\n\n", self.date);
        if let Some(driver) = &self.driver {
            text.push_str(&format!("{driver}\n\n"));
        }
        let row = |c: &Comparison| {
            let (e, l) = (c.errors, c.limits);
            vec![
                c.check.to_owned(),
                c.output.to_owned(),
                c.lane.clone(),
                format!("{:.1e}", e.max_abs),
                format!("{:.1e} (≤ {:.0e})", e.relative, l.relative),
                format!("{:.6} (≥ {})", e.cosine, l.cosine),
                mark(c.pass).trim_end().to_owned(),
            ]
        };
        let head = [
            "check",
            "output",
            "lane",
            "largest error",
            "relative error",
            "cosine",
            "",
        ];
        text.push_str(&table(&head, self.comparisons.iter().map(row).collect()));
        let row = |r: &Rate| {
            let rate = format!("{:.1} {}", r.rate, unit(r.unit));
            vec![
                r.name.clone(),
                r.dtype.into(),
                milliseconds(r.seconds),
                rate,
                percent(r.share),
            ]
        };
        let head = ["work", "format", "median", "rate", "share of best"];
        text.push_str(&table(&head, self.rates.iter().map(row).collect()));
        let row = |b: &BlockResult| {
            vec![
                b.model.to_owned(),
                b.tokens.to_string(),
                b.keep.to_owned(),
                milliseconds(b.forward_seconds),
                milliseconds(b.step_seconds),
                format!("{:.1} TFLOP/s", b.step_tflops),
                percent(b.share),
                memory(b),
            ]
        };
        let head = [
            "layer",
            "tokens",
            "kept",
            "forward",
            "with backward",
            "rate",
            "share of best",
            "memory",
        ];
        text.push_str(&table(&head, self.blocks.iter().map(row).collect()));
        let row = |f: &Failure| {
            vec![
                f.section.to_string(),
                f.check.clone(),
                f.lane.clone(),
                f.message.clone(),
            ]
        };
        let head = ["failed in", "check", "lane", "why"];
        text.push_str(&table(&head, self.failures.iter().map(row).collect()));
        text
    }
}

/// A Markdown table, or nothing when it has no rows.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: Vec<String>| {
        let cells: Vec<String> = cells
            .iter()
            .map(|c| c.replace('|', "\\|").replace('\n', " "))
            .collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let head_line = line(head.iter().map(|h| (*h).to_owned()).collect());
    let rule = line(vec!["---".into(); head.len()]);
    let body: String = rows.into_iter().map(line).collect();
    format!("{head_line}{rule}{body}\n")
}

fn mark(pass: bool) -> &'static str {
    if pass { "PASS" } else { "FAIL" }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Tflops => "TFLOP/s",
        Unit::GigaBytes => "GB/s",
    }
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.3} ms", seconds * 1e3)
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "–".into(), |share| format!("{:.0} %", 100.0 * share))
}

fn memory(block: &BlockResult) -> String {
    let gib = |bytes: u64| bytes as f64 / f64::from(1 << 30);
    match &block.memory {
        None => "memory not counted on this device".into(),
        Some(m) => format!(
            "{:.2} GiB before, {:.2} GiB seen at most, {:.2} GiB reserved",
            gib(m.before),
            gib(m.sampled_peak),
            gib(m.reserved)
        ),
    }
}
