//! Timing work on a device that runs behind the host.

use std::time::Instant;

use anyhow::anyhow;
use burn::tensor::Device;

/// How long to measure.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timer {
    /// Untimed runs first: kernels are compiled and tuned there.
    pub(super) warm_up: usize,
    /// Measurements; the median is reported.
    pub(super) samples: usize,
    /// Least length of a measurement in seconds: short work is repeated to fill it.
    pub(super) sample_seconds: f64,
}

/// Seconds of one run of the work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Timing {
    pub(super) median: f64,
    pub(super) fastest: f64,
}

impl Timer {
    /// For reports.
    pub(super) fn real(quick: bool) -> Self {
        if quick {
            Self {
                warm_up: 2,
                samples: 3,
                sample_seconds: 0.02,
            }
        } else {
            Self {
                warm_up: 3,
                samples: 9,
                sample_seconds: 0.1,
            }
        }
    }

    /// Measures `work`, waiting for the device around every sample.
    pub(super) fn measure(
        &self,
        device: &Device,
        mut work: impl FnMut(),
    ) -> anyhow::Result<Timing> {
        for _ in 0..self.warm_up {
            work();
            wait(device)?;
        }
        let mut sample = |runs: usize| -> anyhow::Result<f64> {
            let start = Instant::now();
            for _ in 0..runs {
                work();
            }
            wait(device)?;
            Ok(start.elapsed().as_secs_f64() / runs as f64)
        };
        let runs = (self.sample_seconds / sample(1)?.max(1e-9)).clamp(1.0, 500.0) as usize;
        let mut seconds = (0..self.samples)
            .map(|_| sample(runs))
            .collect::<anyhow::Result<Vec<_>>>()?;
        seconds.sort_by(f64::total_cmp);
        Ok(Timing {
            median: seconds[seconds.len() / 2],
            fastest: seconds[0],
        })
    }
}

/// Waits for everything the device was asked to do.
pub(super) fn wait(device: &Device) -> anyhow::Result<()> {
    device
        .sync()
        .map_err(|error| anyhow!("the device failed: {error:?}"))
}
