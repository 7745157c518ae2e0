//! Writing an adapter in any form.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::DType;
use vtb_nn::checkpoint::save_safetensors;

use super::header::{self, DIFFUSERS_SETTINGS};
use super::names::flat_of;
use super::{AdapterFormat, AdapterHeader, DiffusionFamily, diffusers};
use crate::peft::{check_ranks, with_listed_targets, write_folder};
use crate::stored::FactorSource;
use crate::{Factors, LoraConfig, LoraError, RankRules};

/// Writes an adapter as `format` has it: a folder for PEFT, else one safetensors file, replaced whole if it is there.
/// Factors are stored as `dtype` (f32, bf16 or f16); `header` goes into the file with ranks, alphas and layers.
///
/// `factors` go by the paths of diffusers' transformer. Where a form has no place for a scale it is multiplied into A, in
/// f32: A has the larger numbers, B of a short training is near zero and would leave the range of f16 first.
///
/// # Errors
/// [`LoraError::Adapter`] for layers of another model than Qwen-Image and Wan in any form but PEFT's, and for a scale
/// that a file cannot hold; [`LoraError::Nn`] when the disk refuses, a factor has another rank than the settings give it,
/// or a number leaves the range of `dtype`.
pub fn write_as(
    format: AdapterFormat,
    path: impl AsRef<Path>,
    config: &LoraConfig,
    factors: &BTreeMap<String, Factors>,
    header: &AdapterHeader,
    dtype: DType,
) -> Result<(), LoraError> {
    let path = path.as_ref();
    let origin = path.display().to_string();
    let rules = config.rules(&origin)?;
    check_ranks(config, &rules, factors, &origin)?;
    let family = DiffusionFamily::of(factors.keys().map(String::as_str));
    let mut entries = header.to_metadata();
    entries.extend(told(family, &rules, factors)?);
    if format == AdapterFormat::Peft {
        let base = header.base_model.as_deref().unwrap_or_default();
        return write_folder(path, config, base, factors, &entries, dtype);
    }
    let family = family.ok_or_else(|| {
        LoraError::adapter(
            path,
            format!(
                "the form {format} has names for the layers of Qwen-Image and Wan, and this adapter's do not tell which of \
                 them it is of; write it as peft"
            ),
        )
    })?;
    match format {
        AdapterFormat::Diffusers => {
            let listed = with_listed_targets(config, factors);
            let text = diffusers::to_text(&listed, header.base_model.as_deref());
            entries.insert(DIFFUSERS_SETTINGS.into(), text);
        }
        AdapterFormat::Kohya => entries.extend(kohya_entries(&rules, factors)?),
        AdapterFormat::Peft | AdapterFormat::ComfyUi | AdapterFormat::DiffSynth => {}
    }
    let mut source = FactorSource::new(origin, dtype);
    for (layer, pair) in factors {
        let scale = rules.scaling(layer)?;
        let alpha = alpha(&rules, layer)?;
        if family.diffusers(layer).as_ref() != Some(layer) {
            let message = format!("`{layer}` is not what diffusers calls this layer of {family}");
            return Err(LoraError::adapter(path, message));
        }
        let place = place_of(format, family, layer, scale);
        let name = |part: &str| name_of(format, family, layer, part);
        let folded = if place == ScaleIn::A { scale } else { 1.0 };
        source.add(layer, pair, factor_parts(format).map(name), folded)?;
        if place == ScaleIn::Alpha {
            source.add_number(layer, name("alpha"), alpha)?;
        }
    }
    source.check_any()?;
    Ok(save_safetensors(path, &source, &entries)?)
}

/// Where a form keeps a layer's scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ScaleIn {
    /// In settings, or nowhere since it is 1.
    Elsewhere,
    /// In a tensor of its own.
    Alpha,
    /// In the factor.
    A,
}

fn place_of(format: AdapterFormat, family: DiffusionFamily, layer: &str, scale: f64) -> ScaleIn {
    // diffusers reads no alpha of these.
    let outside = family == DiffusionFamily::Wan && family.within_block(layer).is_none();
    match format {
        AdapterFormat::Peft | AdapterFormat::Diffusers => ScaleIn::Elsewhere,
        AdapterFormat::Kohya => ScaleIn::Alpha,
        _ if scale == 1.0 => ScaleIn::Elsewhere,
        AdapterFormat::ComfyUi if !outside => ScaleIn::Alpha,
        AdapterFormat::ComfyUi | AdapterFormat::DiffSynth => ScaleIn::A,
    }
}

/// The ends of the factors' names, A first.
fn factor_parts(format: AdapterFormat) -> [&'static str; 2] {
    match format {
        AdapterFormat::Kohya => ["lora_down.weight", "lora_up.weight"],
        AdapterFormat::DiffSynth => ["lora_A.default.weight", "lora_B.default.weight"],
        _ => ["lora_A.weight", "lora_B.weight"],
    }
}

/// The name of a tensor of `layer`.
fn name_of(format: AdapterFormat, family: DiffusionFamily, layer: &str, part: &str) -> String {
    let original = || family.original(layer).unwrap_or_else(|| layer.to_owned());
    let name = match format {
        AdapterFormat::Peft | AdapterFormat::Diffusers => layer.to_owned(),
        AdapterFormat::Kohya => flat_of(&original()),
        AdapterFormat::ComfyUi | AdapterFormat::DiffSynth => original(),
    };
    format!("{}{name}.{part}", format.prefix())
}

/// The alpha by which readers that divide it by the rank get the scale.
fn alpha(rules: &RankRules, layer: &str) -> Result<f64, LoraError> {
    match rules.is_rslora() {
        true => Ok(rules.scaling(layer)? * rules.rank(layer)? as f64),
        false => rules.alpha(layer),
    }
}

fn told(
    family: Option<DiffusionFamily>,
    rules: &RankRules,
    factors: &BTreeMap<String, Factors>,
) -> Result<BTreeMap<String, String>, LoraError> {
    let (mut ranks, mut alphas, mut layers) = (Vec::new(), Vec::new(), Vec::new());
    for layer in factors.keys() {
        ranks.push(rules.rank(layer)?);
        alphas.push(rules.alpha(layer)?);
        let within = family.and_then(|family| family.within_block(layer));
        layers.push(within.unwrap_or(layer).to_owned());
    }
    Ok(header::told(ranks, alphas, layers))
}

/// What Kohya's programs show of an adapter: its rank and alpha, or that they differ.
fn kohya_entries(
    rules: &RankRules,
    factors: &BTreeMap<String, Factors>,
) -> Result<BTreeMap<String, String>, LoraError> {
    let (mut ranks, mut alphas) = (Vec::new(), Vec::new());
    for layer in factors.keys() {
        ranks.push(rules.rank(layer)?.to_string());
        alphas.push(alpha(rules, layer)?.to_string());
    }
    let one = |mut values: Vec<String>| {
        values.dedup();
        match values.as_slice() {
            [value] => value.clone(),
            _ => "Dynamic".to_owned(),
        }
    };
    Ok(BTreeMap::from([
        ("ss_network_dim".to_owned(), one(ranks)),
        ("ss_network_alpha".to_owned(), one(alphas)),
    ]))
}
