//! NVIDIA GPUs: driver, devices, NVRTC and headers, found as the CUDA backend finds them: by the loader, at run time.

use std::ffi::c_int;

use libloading::{Library, Symbol};
use nvml_wrapper::Nvml;

use super::report::{Report, Status};
use crate::gpu_check::cuda_root;
use crate::plan::gib;

/// Names of the driver's library, which every driver installs.
const DRIVER: [&str; 2] = ["libcuda.so.1", "libcuda.so"];
/// Names under which NVRTC is asked for.
const NVRTC: [&str; 4] = [
    "libnvrtc.so",
    "libnvrtc.so.13",
    "libnvrtc.so.12",
    "libnvrtc.so.11",
];

/// Looks for everything a GPU needs. What is missing is needed only where this program would use the GPU by itself.
pub(super) fn look(report: &mut Report) {
    let built = cfg!(feature = "cuda");
    match built {
        true => report.ok("gpu", "CUDA backend", "built in"),
        false => report.bad(
            Status::Missing,
            "gpu",
            "CUDA backend",
            "not built in",
            "cargo build --release -p vtb-bins --features cuda (needs no GPU and no toolkit)",
        ),
    }
    let driver = driver_version();
    match driver {
        Some(version) => report.ok("gpu", "driver", format!("for CUDA {}", dotted(version))),
        None => report.bad(
            Status::Missing,
            "gpu",
            "driver",
            "libcuda.so.1 is not found",
            "install NVIDIA's driver; in a container start with its runtime (docker run --gpus all)",
        ),
    }
    let devices = devices(report, driver.is_some());
    // With a driver and a device, `--device auto` is the GPU.
    let used = built && devices;
    match nvrtc_version() {
        Some((name, [major, minor])) => {
            report.ok("gpu", "NVRTC", format!("{name}, CUDA {major}.{minor}"));
        }
        None => report.bad(
            Status::Missing,
            "gpu",
            "NVRTC",
            "libnvrtc.so is not found",
            "install the CUDA toolkit or its NVRTC package, and add its folder to LD_LIBRARY_PATH; or use --device cpu",
        ),
    }
    report.needed(used);
    let header = cuda_root().join("include/cuda_bf16.h");
    match header.is_file() {
        true => report.ok("gpu", "CUDA headers", header.display().to_string()),
        false => report.bad(
            Status::Missing,
            "gpu",
            "CUDA headers",
            format!("{} is not there", header.display()),
            "install the headers of the CUDA runtime and of CCCL, and set CUDA_PATH to the folder that holds `include` \
             (docs/gpu.md); or use --device cpu",
        ),
    }
    report.needed(used);
}

/// A row for each device; whether there is any.
fn devices(report: &mut Report, driver: bool) -> bool {
    let hint = "check the card and CUDA_VISIBLE_DEVICES, and what `nvidia-smi` says";
    let nvml = match Nvml::init() {
        Ok(nvml) => nvml,
        // Without a driver there is nothing to list.
        Err(_) if !driver => {
            report.bad(
                Status::Missing,
                "gpu",
                "devices",
                "none",
                "as for the driver",
            );
            return false;
        }
        Err(fault) => {
            let told = format!("cannot be listed: {fault}");
            report.bad(Status::Warn, "gpu", "devices", told, hint);
            return driver;
        }
    };
    let count = nvml.device_count().unwrap_or(0);
    if count == 0 {
        report.bad(Status::Missing, "gpu", "devices", "none", hint);
        return false;
    }
    let version = nvml.sys_driver_version().unwrap_or_default();
    for index in 0..count {
        let name = format!("device {index}");
        match describe(&nvml, index) {
            Ok(told) => report.ok("gpu", name, format!("{told}, driver {version}")),
            Err(fault) => report.bad(Status::Warn, "gpu", name, fault.to_string(), hint),
        }
    }
    true
}

fn describe(nvml: &Nvml, index: u32) -> Result<String, nvml_wrapper::error::NvmlError> {
    let device = nvml.device_by_index(index)?;
    let memory = device.memory_info()?;
    let kind = device.cuda_compute_capability()?;
    Ok(format!(
        "{}, {} free of {}, compute capability {}.{}",
        device.name()?,
        gib(memory.free),
        gib(memory.total),
        kind.major,
        kind.minor
    ))
}

/// The newest CUDA version that the driver supports, as 1000·major + 10·minor.
fn driver_version() -> Option<u32> {
    let (_, library) = open(&DRIVER)?;
    let mut version: c_int = 0;
    // SAFETY: the driver's interface gives this function this type, and it needs no initialisation; `version` outlives
    // the call.
    let status = unsafe {
        let ask: Symbol<'_, unsafe extern "C" fn(*mut c_int) -> c_int> =
            library.get(b"cuDriverGetVersion\0").ok()?;
        ask(&mut version)
    };
    (status == 0).then(|| version.unsigned_abs())
}

/// The first name of NVRTC that the loader finds, and its version.
fn nvrtc_version() -> Option<(&'static str, [c_int; 2])> {
    let (name, library) = open(&NVRTC)?;
    let [mut major, mut minor]: [c_int; 2] = [0; 2];
    // SAFETY: NVRTC's interface gives this function this type; both numbers outlive the call.
    let status = unsafe {
        let ask: Symbol<'_, unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int> =
            library.get(b"nvrtcVersion\0").ok()?;
        ask(&mut major, &mut minor)
    };
    (status == 0).then_some((name, [major, minor]))
}

fn open(names: &[&'static str]) -> Option<(&'static str, Library)> {
    names.iter().find_map(|name| {
        // SAFETY: loading runs the library's initialisers; these are NVIDIA's own, which the CUDA backend loads too.
        let library = unsafe { Library::new(name) };
        Some((*name, library.ok()?))
    })
}

fn dotted(version: u32) -> String {
    format!("{}.{}", version / 1000, version % 1000 / 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_of_any_kind_gets_its_rows() {
        let mut report = Report::default();
        look(&mut report);
        let names: Vec<_> = report.rows().iter().map(|row| row.name.as_str()).collect();
        for name in ["CUDA backend", "driver", "NVRTC", "CUDA headers"] {
            assert!(names.contains(&name), "{names:?}");
        }
        for row in report.rows() {
            assert_eq!(row.status == Status::Ok, row.hint.is_none(), "{row:?}");
        }
        // Nothing of a GPU is needed by a program that has no code for it.
        assert!(cfg!(feature = "cuda") || report.usable());
        assert_eq!(dotted(12_080), "12.8");
    }
}
