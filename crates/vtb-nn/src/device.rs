//! Which device runs, and in which precision: decided once, at run time.

use std::fmt;
use std::str::FromStr;

use burn::tensor::{DType, Device};

use crate::NnError;

/// What the user asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The first GPU if one is compiled in and present, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// One NVIDIA GPU, by index.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = NnError;

    fn from_str(text: &str) -> Result<Self, NnError> {
        match text {
            "auto" => return Ok(Self::Auto),
            "cpu" => return Ok(Self::Cpu),
            "cuda" => return Ok(Self::Cuda(0)),
            _ => {}
        }
        let index = text.strip_prefix("cuda:").and_then(|i| i.parse().ok());
        index.map(Self::Cuda).ok_or_else(|| {
            NnError::Device(format!(
                "unknown device `{text}`: use `auto`, `cpu`, `cuda` or `cuda:N`"
            ))
        })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(i) => write!(f, "cuda:{i}"),
        }
    }
}

/// Opens the device asked for. Never touches a GPU that is not there: the driver is probed, not assumed.
///
/// # Errors
/// A GPU asked for by name that this build or machine does not have.
pub fn pick_device(choice: DeviceChoice) -> Result<Device, NnError> {
    #[cfg(feature = "cuda")]
    if choice != DeviceChoice::Cpu {
        let found = Device::enumerate(burn::tensor::DeviceType::Cuda);
        let index = if let DeviceChoice::Cuda(i) = choice {
            i
        } else {
            0
        };
        if let Some(device) = found.get(index) {
            return Ok(device.clone());
        }
    }
    if let DeviceChoice::Cuda(i) = choice {
        let why = if cfg!(feature = "cuda") {
            "no such NVIDIA GPU or driver on this machine"
        } else {
            "this program was built without CUDA; rebuild with `--features cuda`"
        };
        return Err(NnError::Device(format!("cuda:{i}: {why}")));
    }
    Ok(cpu_device())
}

/// The CPU device of this build.
pub fn cpu_device() -> Device {
    #[cfg(feature = "flex")]
    return Device::flex();
    #[cfg(not(feature = "flex"))]
    Device::default()
}

/// Number formats of a run. Nothing is converted behind the user's back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precision {
    /// Frozen weights and activations.
    pub weights: DType,
    /// Trainable parameters, their gradients and the optimizer state.
    pub trainable: DType,
}

impl Precision {
    /// f32 throughout: the CPU's choice.
    pub const F32: Self = Self {
        weights: DType::F32,
        trainable: DType::F32,
    };
    /// bf16 weights and activations, f32 trainables, norms, softmax, losses and optimizer state.
    pub const BF16: Self = Self {
        weights: DType::BF16,
        trainable: DType::F32,
    };
}
