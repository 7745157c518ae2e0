//! Device memory while work runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use burn::tensor::Device;
use serde::Serialize;

use super::timing::wait;
use crate::guard::guard;

/// What the device's memory pools held. Pools keep no peak, so one number is sampled and one is an upper bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Memory {
    /// Bytes in use before: weights and inputs.
    pub(super) before: u64,
    /// Most bytes seen in use while the work ran, sampled every fifth of a millisecond.
    pub(super) sampled_peak: u64,
    /// Bytes the pools hold from the device afterwards, after being trimmed before: never below the true peak.
    pub(super) reserved: u64,
}

/// Runs `work` once with an eye on the pools; `None` where the device keeps no such books (the CPU).
pub(super) fn watch(device: &Device, work: impl FnOnce()) -> Result<Option<Memory>, String> {
    guard(|| wait(device))?;
    device.memory_cleanup();
    let Some(before) = device.memory_pool_usage() else {
        return Ok(None);
    };
    let done = AtomicBool::new(false);
    let (outcome, sampled) = std::thread::scope(|scope| {
        let sampler = scope.spawn(|| sample(device, &done));
        let outcome = guard(|| {
            work();
            wait(device)
        });
        done.store(true, Ordering::Release);
        (outcome, sampler.join().unwrap_or_default())
    });
    outcome?;
    let after = device.memory_pool_usage();
    Ok(after.map(|after| Memory {
        before: before.bytes_in_use,
        sampled_peak: sampled.max(after.bytes_in_use),
        reserved: after.bytes_reserved,
    }))
}

fn sample(device: &Device, done: &AtomicBool) -> u64 {
    let mut most = 0;
    while !done.load(Ordering::Acquire) {
        most = most.max(
            device
                .memory_pool_usage()
                .map_or(0, |usage| usage.bytes_in_use),
        );
        std::thread::sleep(Duration::from_micros(200));
    }
    most
}
