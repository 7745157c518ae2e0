//! Opening devices and models as the configuration asks.

use std::path::Path;

use anyhow::{Context, bail};
use burn::tensor::{DType, Device};
use vtb_lora::{LoraConfig, read_adapter};
use vtb_models_vlm::AnyVlm;
use vtb_models_vlm::encode::RowEncoder;
use vtb_models_vlm::files::ModelDir;
use vtb_nn::device::{DeviceChoice, cpu_device, pick_device};

use crate::ending::Usage;
use crate::settings::{LoraSection, ModelSection};

/// An opened device and the format of frozen weights.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where tensors live.
    pub device: Device,
    /// Format of weights and activations.
    pub dtype: DType,
}

/// Checks `model.device` and `model.precision` without opening anything.
pub fn check_machine(section: &ModelSection) -> anyhow::Result<DeviceChoice> {
    let device = section
        .device
        .parse()
        .map_err(|e: vtb_nn::NnError| Usage(e.to_string()))?;
    if !["auto", "f32", "bf16"].contains(&section.precision.as_str()) {
        bail!(Usage(format!(
            "model.precision = `{}`: use `auto`, `f32` or `bf16`",
            section.precision
        )));
    }
    Ok(device)
}

/// Opens the device.
pub fn open_machine(section: &ModelSection) -> anyhow::Result<Machine> {
    let device = pick_device(check_machine(section)?)?;
    let gpu = device != cpu_device();
    let dtype = match section.precision.as_str() {
        "f32" => DType::F32,
        "bf16" => DType::BF16,
        _ if gpu => DType::BF16,
        _ => DType::F32,
    };
    Ok(Machine { device, dtype })
}

/// Loads a model directory of any family there is code for, and an adapter on top if one is named.
pub fn open_model(
    path: &Path,
    adapter: Option<&Path>,
    machine: &Machine,
) -> anyhow::Result<(AnyVlm, RowEncoder)> {
    let mut model = AnyVlm::load(path, &machine.device, machine.dtype)
        .with_context(|| format!("cannot load the model {}", path.display()))?;
    let encoder = open_encoder(path, &model)?;
    if let Some(dir) = adapter {
        let found = read_adapter(dir)?;
        model.load_adapter(found, dir)?;
    }
    Ok((model, encoder))
}

/// Tokenizer, template and picture settings of a model directory.
pub fn open_encoder(path: &Path, model: &AnyVlm) -> anyhow::Result<RowEncoder> {
    Ok(model.encoder(&ModelDir::open(path)?)?)
}

/// Attaches a fresh adapter unless one was loaded; says which layers it sits on.
///
/// The default list of targets means the decoder's layers, also where a vision tower has layers of the same names. To
/// adapt those too, give a regular expression or other names.
pub fn attach(model: &mut AnyVlm, lora: &LoraConfig, seed: u64) -> anyhow::Result<String> {
    if !model.adapter_factors().is_empty() {
        return Ok("training goes on with the adapter that was loaded".into());
    }
    let mut lora = lora.clone();
    if lora.targets == LoraSection::default().targets {
        lora.targets = model.decoder_targets();
    }
    Ok(model.attach_adapter(&lora, seed)?.to_string())
}
