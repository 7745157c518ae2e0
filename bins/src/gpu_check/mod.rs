//! `gpu-check`: does this machine's GPU compute what the CPU computes, how fast, and in how much memory?
//!
//! Every check stands alone: one that fails or panics is reported and the others go on.

mod block;
mod cases;
mod clock;
mod compare;
mod lane;
mod memory;
mod options;
mod rates;
mod report;
mod step;
mod timing;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use burn::tensor::{DType, Device};
use vtb_nn::device::{DeviceChoice, cpu_device, pick_device};

use crate::ending::Usage;
use compare::Lanes;
use lane::Lane;
use report::Report;
use timing::Timer;

pub use options::{Options, Section};

const HOW: &str = "gpu-check is built with `cargo build --release --features cuda --bin gpu-check` \
    and runs where an NVIDIA driver, NVRTC and the CUDA headers are installed (docs/gpu.md); \
    `--self-test` needs no GPU";

/// Runs the program: 0 if every check passed, 1 if one did not.
///
/// # Errors
/// Wrong usage, no GPU to check, or a report that cannot be written.
#[allow(clippy::print_stdout, reason = "results go to standard output")]
pub fn run(options: &Options) -> anyhow::Result<ExitCode> {
    if options.list {
        for line in listing(options.quick) {
            println!("{line}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    check_out(&options.out)?;
    let mut report = if options.self_test {
        let mut report = Report::new("self-test", "cpu", !options.markdown);
        compare_all(
            &self_lanes(),
            &[Section::Ops, Section::Step],
            true,
            &mut report,
        );
        report
    } else {
        check_gpu(options)?
    };
    report.finish();
    report.write_json(&options.out)?;
    tell(&report, options);
    Ok(if report.passed() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// The verdict; tables have standard output for themselves.
#[allow(clippy::print_stdout, reason = "results go to standard output")]
#[allow(
    clippy::print_stderr,
    reason = "tables may go to a file, the verdict to the user"
)]
fn tell(report: &Report, options: &Options) {
    let verdict = report.verdict(&options.out);
    if options.markdown {
        print!("{}", report.markdown());
        eprintln!("{verdict}");
    } else {
        println!("{verdict}");
    }
}

fn check_gpu(options: &Options) -> anyhow::Result<Report> {
    let (choice, device) = open_gpu(&options.device)?;
    check_headers()?;
    let mut report = Report::new("gpu", &choice.to_string(), !options.markdown);
    report.describe(&device, options.quick);
    let sections = options.sections();
    compare_all(
        &gpu_lanes(&choice, &device),
        &sections,
        options.quick,
        &mut report,
    );
    let timer = Timer::real(options.quick);
    if sections.contains(&Section::Rates) {
        rates::run(
            &device,
            &rates::Sizes::real(options.quick),
            &timer,
            &mut report,
        );
    }
    if sections.contains(&Section::Block) {
        block::run(
            &device,
            DType::BF16,
            &block::sizes(options.quick),
            &timer,
            &mut report,
        );
    }
    Ok(report)
}

/// The sections that compare numbers.
fn compare_all(lanes: &Lanes, sections: &[Section], small: bool, report: &mut Report) {
    if sections.contains(&Section::Ops) {
        for case in cases::CASES {
            let run = |lane: &Lane| Ok((case.run)(lane, small));
            compare::check(Section::Ops, case.name, lanes, run, report);
        }
    }
    if sections.contains(&Section::Step) {
        for (name, recompute) in step::STEPS {
            compare::check(
                Section::Step,
                name,
                lanes,
                |lane| step::run(lane, recompute),
                report,
            );
        }
    }
}

fn open_gpu(text: &str) -> anyhow::Result<(DeviceChoice, Device)> {
    let choice: DeviceChoice = match text.parse() {
        Ok(choice @ DeviceChoice::Cuda(_)) => choice,
        Ok(_) => bail!(Usage(format!(
            "--device `{text}`: gpu-check reads `cuda` or `cuda:N`"
        ))),
        Err(error) => bail!(Usage(error.to_string())),
    };
    match pick_device(choice) {
        Ok(device) => Ok((choice, device)),
        Err(error) => bail!(Usage(format!("nothing to check: {error}; {HOW}"))),
    }
}

/// Kernels include CUDA's headers, and without them the first launch would panic on another thread.
fn check_headers() -> anyhow::Result<()> {
    let root = cuda_root();
    let header = root.join("include/cuda_bf16.h");
    if !header.is_file() {
        bail!(Usage(format!(
            "no CUDA headers: {} is not there; install them and set CUDA_PATH to the directory \
             that holds `include` (docs/gpu.md)",
            header.display()
        )));
    }
    Ok(())
}

/// Where burn's CUDA runtime will look for headers: its rule, repeated.
pub(crate) fn cuda_root() -> PathBuf {
    if let Some(path) = std::env::var_os("CUDA_PATH") {
        return PathBuf::from(path);
    }
    let mut known = ["/usr/local/cuda", "/opt/cuda"]
        .into_iter()
        .map(PathBuf::from);
    let compiler = Path::new("/usr/bin/nvcc").exists();
    let otherwise = if compiler { "/usr" } else { "/usr/local/cuda" };
    known
        .find(|root| root.exists())
        .unwrap_or_else(|| PathBuf::from(otherwise))
}

/// Refuses a report that has nowhere to go before minutes are spent on it.
fn check_out(out: &Path) -> anyhow::Result<()> {
    let parent = out
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    if out.is_dir() || !parent.is_dir() {
        bail!(Usage(format!(
            "--out {}: name a file in a directory that exists",
            out.display()
        )));
    }
    Ok(())
}

fn gpu_lanes(choice: &DeviceChoice, device: &Device) -> Lanes {
    let lane = |dtype, name: &str| Lane::new(format!("{choice} {name}"), device.clone(), dtype);
    Lanes {
        reference: Lane::new("cpu f32".into(), cpu_device(), DType::F32),
        tested: vec![lane(DType::F32, "f32"), lane(DType::BF16, "bf16")],
    }
}

/// The CPU against itself: fused f32 kernels against the portable definitions, which bf16 runs.
fn self_lanes() -> Lanes {
    let lane = |dtype, name: &str| Lane::new(name.to_owned(), cpu_device(), dtype);
    Lanes {
        reference: lane(DType::F32, "cpu f32"),
        tested: vec![lane(DType::F32, "cpu f32"), lane(DType::BF16, "cpu bf16")],
    }
}

fn listing(quick: bool) -> Vec<String> {
    let line = |section: Section, name: &str| format!("{section:<6} {name}");
    let mut lines: Vec<String> = cases::CASES
        .iter()
        .map(|case| line(Section::Ops, case.name))
        .collect();
    lines.extend(
        step::STEPS
            .iter()
            .map(|(name, _)| line(Section::Step, name)),
    );
    lines.extend(
        rates::Sizes::real(quick)
            .names()
            .iter()
            .map(|n| line(Section::Rates, n)),
    );
    lines.extend(
        block::sizes(quick)
            .iter()
            .map(|b| line(Section::Block, &b.name())),
    );
    lines
}

/// The device's own name, where the backend tells it.
fn device_name(device: &Device) -> Option<String> {
    #[cfg(feature = "cuda")]
    return device.identity().map(|identity| identity.name);
    #[cfg(not(feature = "cuda"))]
    {
        let _ = device;
        None
    }
}

fn driver() -> Option<String> {
    let text = std::fs::read_to_string("/proc/driver/nvidia/version").ok()?;
    text.lines().next().map(|line| line.trim().to_owned())
}

/// Writes `text` to `path`.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests;
