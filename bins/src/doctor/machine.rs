//! The program itself, processor, memory, disk, environment.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use vtb_trainer::checkpoint::free_bytes;

use super::report::{Report, Status};
use crate::memory::{MainMemory, main_memory};
use crate::plan::gib;

/// Less memory than this is tight for the runs without arguments.
const LITTLE_MEMORY: u64 = 2 << 30;
/// Less room than this is tight for a run directory.
const LITTLE_ROOM: u64 = 1 << 30;
/// The smallest published model takes about this.
const SMALL_MODEL: u64 = 5 << 30;

pub(super) fn program(report: &mut Report) {
    let version = format!(
        "{} for {} on {}",
        env!("CARGO_PKG_VERSION"),
        std::env::consts::OS,
        std::env::consts::ARCH
    );
    report.ok("program", "version", version);
    if cfg!(debug_assertions) {
        let hint = "build with --release; training is many times slower without";
        report.bad(Status::Warn, "program", "build", "for development", hint);
    } else {
        report.ok("program", "build", "release");
    }
    let features = [
        ("flex", cfg!(feature = "flex")),
        ("cuda", cfg!(feature = "cuda")),
        ("hub", cfg!(feature = "hub")),
        ("parquet", cfg!(feature = "parquet")),
        ("tui", cfg!(feature = "tui")),
    ];
    let named = |wanted: bool| {
        let named = features.iter().filter(|(_, on)| *on == wanted);
        named.map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
    };
    let built = format!("{} (not built in: {})", named(true), named(false));
    report.ok("program", "features", built);
    if cfg!(feature = "flex") {
        report.ok("program", "CPU backend", "built in");
    } else {
        let hint = "build with the default features, or with `--features flex`";
        report.bad(
            Status::Missing,
            "program",
            "CPU backend",
            "not built in",
            hint,
        );
    }
    report.needed(true);
}

pub(super) fn processor(report: &mut Report) {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut system = sysinfo::System::new();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let name = system.cpus().first().map(|cpu| cpu.brand().trim());
    let name = name.filter(|name| !name.is_empty()).unwrap_or("unknown");
    report.ok("processor", "name", format!("{name}, {threads} threads"));
    let found = instructions();
    let listed = found.join(", ");
    if cfg!(target_arch = "x86_64") && !(found.contains(&"avx2") && found.contains(&"fma")) {
        let hint = "products run without vector instructions, several times slower; use a processor of 2013 or later, and \
                    in a virtual machine pass its features through";
        report.bad(Status::Warn, "processor", "instructions", listed, hint);
    } else {
        report.ok("processor", "instructions", listed);
    }
}

/// Vector instructions that kernels here make use of.
fn instructions() -> Vec<&'static str> {
    #[cfg(target_arch = "x86_64")]
    let known = [
        ("sse4.2", std::is_x86_feature_detected!("sse4.2")),
        ("avx", std::is_x86_feature_detected!("avx")),
        ("avx2", std::is_x86_feature_detected!("avx2")),
        ("fma", std::is_x86_feature_detected!("fma")),
        ("avx512f", std::is_x86_feature_detected!("avx512f")),
        ("avx512bf16", std::is_x86_feature_detected!("avx512bf16")),
    ];
    #[cfg(target_arch = "aarch64")]
    let known = [
        ("neon", std::arch::is_aarch64_feature_detected!("neon")),
        ("bf16", std::arch::is_aarch64_feature_detected!("bf16")),
    ];
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let known: [(&str, bool); 0] = [];
    let there = known.into_iter().filter(|(_, there)| *there);
    there.map(|(name, _)| name).collect()
}

pub(super) fn memory(report: &mut Report) {
    let Some(MainMemory {
        total,
        free,
        contained,
    }) = main_memory()
    else {
        return;
    };
    let of = if contained { " of this container" } else { "" };
    let told = format!("{} free of {}{of}", gib(free), gib(total));
    if free < LITTLE_MEMORY {
        let hint = "close programs, or train with smaller batches (batch.batch_size)";
        report.bad(Status::Warn, "memory", "main memory", told, hint);
    } else {
        report.ok("memory", "main memory", told);
    }
}

/// Where programs write: here, temporary files, the hub's cache.
pub(super) fn disks(report: &mut Report, cache: Option<&Path>) {
    match std::env::current_dir() {
        Ok(here) => disk(report, "current folder", &here, LITTLE_ROOM, true),
        Err(fault) => {
            let hint = "go to a folder that is there";
            report.bad(
                Status::Missing,
                "disk",
                "current folder",
                fault.to_string(),
                hint,
            );
            report.needed(true);
        }
    }
    disk(
        report,
        "temporary files",
        &std::env::temp_dir(),
        LITTLE_ROOM,
        false,
    );
    if let Some(cache) = cache {
        disk(report, "hub cache", cache, SMALL_MODEL, false);
    }
}

fn disk(report: &mut Report, name: &str, path: &Path, little: u64, needed: bool) {
    let shown = path.display();
    // A cache may not be there yet; what counts is where it will be made.
    let place = path.ancestors().find(|p| p.is_dir()).unwrap_or(path);
    if let Err(fault) = try_to_write(place) {
        let status = if needed {
            Status::Missing
        } else {
            Status::Warn
        };
        let hint = "cannot be written; run programs elsewhere, or change its owner or mode";
        report.bad(status, "disk", name, format!("{shown}: {fault}"), hint);
        report.needed(needed);
        return;
    }
    match free_bytes(place) {
        Some(free) if free < little => {
            let told = format!("{shown}: {} free", gib(free));
            let hint = format!("make room, or use another disk; {} is little", gib(free));
            report.bad(Status::Warn, "disk", name, told, hint);
        }
        Some(free) => report.ok("disk", name, format!("{shown}: {} free", gib(free))),
        None => report.ok("disk", name, shown.to_string()),
    }
    report.needed(needed);
}

/// Makes a file and takes it away.
fn try_to_write(dir: &Path) -> std::io::Result<()> {
    let file: PathBuf = dir.join(format!(".vtb-doctor-{}", std::process::id()));
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&file)?;
    fs::remove_file(&file)
}

/// The variables that the programs and the libraries below them read.
pub(super) fn environment(
    report: &mut Report,
    variables: impl Iterator<Item = (OsString, OsString)>,
) {
    let mut found: Vec<_> = variables
        .filter_map(|(name, value)| {
            let name = name.to_str().filter(|name| matters(name))?.to_owned();
            let value = shown(&name, &value.to_string_lossy());
            Some((name, value))
        })
        .collect();
    found.sort();
    if found.is_empty() {
        report.ok("environment", "variables", "none that matter are set");
    }
    for (name, value) in found {
        report.ok("environment", name, value);
    }
}

fn matters(name: &str) -> bool {
    const NAMES: [&str; 15] = [
        "ALL_PROXY",
        "CUBECL_AUTOTUNE_LEVEL",
        "CUDA_PATH",
        "CUDA_VISIBLE_DEVICES",
        "CURL_CA_BUNDLE",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "LD_LIBRARY_PATH",
        "NO_PROXY",
        "RAYON_NUM_THREADS",
        "REQUESTS_CA_BUNDLE",
        "RUST_LOG",
        "SSL_CERT_FILE",
        "TMPDIR",
        "TRANSFORMERS_OFFLINE",
    ];
    let upper = name.to_ascii_uppercase();
    name.starts_with("HF_")
        || name.starts_with("HUGGING")
        || name == "XDG_CACHE_HOME"
        || NAMES.contains(&upper.as_str())
}

/// A value without what is secret in it. A path to a token is no secret; an address may hold a password.
fn shown(name: &str, value: &str) -> String {
    let upper = name.to_ascii_uppercase();
    let path = upper.ends_with("_PATH");
    let secret = ["TOKEN", "SECRET", "PASSWORD", "KEY"]
        .iter()
        .any(|word| upper.contains(word));
    if (secret && !path && !upper.contains("DISABLE"))
        || upper.ends_with("_PROXY") && upper != "NO_PROXY"
        || value.contains('@')
        || value.contains("hf_")
    {
        return "set (not shown)".into();
    }
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    value.chars().take(200).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let variables = [
            ("HF_TOKEN", "hf_abcdef"),
            ("HUGGING_FACE_HUB_TOKEN", "secretive"),
            ("HF_TOKEN_PATH", "/home/a/token"),
            ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
            ("HF_ENDPOINT", "https://user:secretive@mirror"),
            ("https_proxy", "http://user:secretive@proxy"),
            ("HF_HOME", "/data/hf"),
            ("PATH", "/bin"),
            ("OTHER", "secretive"),
        ];
        let mut report = Report::default();
        let pairs = variables.map(|(a, b)| (OsString::from(a), OsString::from(b)));
        environment(&mut report, pairs.into_iter());
        let table = report.table();
        assert!(
            !table.contains("abcdef") && !table.contains("secretive"),
            "{table}"
        );
        for part in ["/home/a/token", "/data/hf", "https_proxy"] {
            assert!(table.contains(part), "{table}");
        }
        assert!(!table.contains("OTHER") && !table.contains("/bin"));
        assert_eq!(report.rows().len(), 7);
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_missing_where_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let mut report = Report::default();
        let not_yet = dir.path().join("not/there/yet");
        disk(&mut report, "cache", &not_yet, 0, false);
        assert_eq!(report.rows()[0].status, Status::Ok);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        disk(&mut report, "cache", dir.path(), u64::MAX, false);
        assert_eq!(report.rows()[1].status, Status::Warn);
        assert!(report.usable());
        if cfg!(target_os = "linux") {
            disk(&mut report, "here", Path::new("/proc"), 0, true);
            assert!(!report.usable(), "{}", report.table());
        }
    }
}
