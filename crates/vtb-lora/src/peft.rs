//! Adapter directories of peft: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use vtb_nn::NnError;
use vtb_nn::checkpoint::{Checkpoint, TensorSource, save_safetensors, write_atomic};

use crate::stored::FactorSource;
use crate::{AdapterFile, LoraConfig, LoraError, ModuleFilter, NameLayout, RankRules};

pub(crate) const CONFIG_FILE: &str = "adapter_config.json";
pub(crate) const WEIGHTS_FILE: &str = "adapter_model.safetensors";
/// What peft wraps around a model.
pub(crate) const PREFIX: &str = "base_model.model.";

/// The trained factors of one layer, in f32.
#[derive(Debug, Clone, PartialEq)]
pub struct Factors {
    /// `[r, in]`.
    pub a: TensorData,
    /// `[out, r]`.
    pub b: TensorData,
}

/// An adapter as read from its directory.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// Its settings.
    pub config: LoraConfig,
    /// The base model it names.
    pub base_model: Option<String>,
    /// Factors by module path. They, not the targets of the settings, say which layers are adapted. Those of stacks of
    /// experts stand under the paths of peft's wrappers; see [`Stacked`](crate::Stacked).
    pub factors: BTreeMap<String, Factors>,
}

/// Reads an adapter directory. Factors of any float type become f32; every tensor must be a factor of a pair whose
/// rank is that of the settings.
///
/// # Errors
/// As [`AdapterFile::open`]; [`LoraError::Nn`] for a missing partner or another shape; [`LoraError::Adapter`] for
/// tensors that are no factors.
pub fn read_adapter(dir: impl AsRef<Path>) -> Result<Adapter, LoraError> {
    AdapterFile::open(dir)?.read()
}

/// Whether `path` is a wrapper peft puts around a module one of whose parameters is a target. Wrappers nest, one per
/// parameter.
pub(crate) fn is_wrapper(path: &str, config: &LoraConfig) -> bool {
    let module = unwrapped(path);
    config.target_parameters.iter().any(|name| {
        let parent = name
            .rsplit_once('.')
            .map_or("experts", |(parent, _)| parent);
        crate::targets::is_path_or_end(module, parent)
    })
}

/// The module inside the wrappers at `path`.
pub(crate) fn unwrapped(path: &str) -> &str {
    let mut module = path;
    while let Some(inner) = module.strip_suffix(".base_layer") {
        module = inner;
    }
    module
}

/// Loads A `[r, in]` and B `[out, r]`; with no rank given, only that both have the same is checked.
pub(crate) fn read_pair(
    source: &Checkpoint,
    names: [&str; 2],
    r: Option<usize>,
) -> Result<Factors, LoraError> {
    check_pair(source, names, r)?;
    Ok(Factors {
        a: source.load_as(names[0], DType::F32)?,
        b: source.load_as(names[1], DType::F32)?,
    })
}

/// Both are matrices of rank `r`; of one and the same rank where none is given.
pub(crate) fn check_pair(
    source: &Checkpoint,
    names: [&str; 2],
    r: Option<usize>,
) -> Result<(), LoraError> {
    let shape = |name: &str| source.info(name).map(|info| info.shape).unwrap_or_default();
    let r = r.unwrap_or_else(|| shape(names[0]).first().copied().unwrap_or(0));
    for (axis, name) in names.into_iter().enumerate() {
        check_rank(name, shape(name), axis, r, &source.origin())?;
    }
    Ok(())
}

/// A matrix whose size along `axis` is the rank.
fn check_rank(
    name: &str,
    found: Vec<usize>,
    axis: usize,
    r: usize,
    origin: &str,
) -> Result<(), NnError> {
    if found.len() == 2 && found[axis] == r {
        return Ok(());
    }
    let mut expected = found.clone();
    expected.resize(2, 0);
    expected[axis] = r;
    Err(NnError::Shape {
        name: name.into(),
        origin: origin.into(),
        found,
        expected,
    })
}

/// Writes an adapter directory that peft loads; files of an earlier save are replaced whole. `all-linear` is written
/// as the list of adapted modules, since other programs may count other layers among the linear ones.
///
/// # Errors
/// [`LoraError::Nn`] when the disk refuses or a factor has another rank than the settings give its module.
pub fn write_adapter(
    dir: impl AsRef<Path>,
    config: &LoraConfig,
    base_model: &str,
    factors: &BTreeMap<String, Factors>,
) -> Result<(), LoraError> {
    let (dir, entries) = (dir.as_ref(), BTreeMap::new());
    let origin = dir.display().to_string();
    check_ranks(config, &config.rules(&origin)?, factors, &origin)?;
    write_folder(dir, config, base_model, factors, &entries, DType::F32)
}

/// As [`write_adapter`], with `entries` in the header of the tensors' file and factors stored as `dtype`. Ranks were
/// checked before.
pub(crate) fn write_folder(
    dir: &Path,
    config: &LoraConfig,
    base_model: &str,
    factors: &BTreeMap<String, Factors>,
    entries: &BTreeMap<String, String>,
    dtype: DType,
) -> Result<(), LoraError> {
    let mut source = FactorSource::new(dir.display().to_string(), dtype);
    for (path, pair) in factors {
        let names = ["lora_A", "lora_B"].map(|factor| format!("{PREFIX}{path}.{factor}.weight"));
        source.add(path, pair, names, 1.0)?;
    }
    source.check_any()?;
    let written = with_listed_targets(config, factors);
    // What peft wraps as a language model must be one.
    let task = names_language_model(factors).then_some("CAUSAL_LM");
    fs::create_dir_all(dir).map_err(|e| NnError::io(dir, e))?;
    save_safetensors(dir.join(WEIGHTS_FILE), &source, entries)?;
    write_atomic(
        &dir.join(CONFIG_FILE),
        written.adapter_config_json(base_model, task).as_bytes(),
    )?;
    Ok(())
}

/// Whether all modules are called as those of language models are, by any release of transformers.
fn names_language_model(factors: &BTreeMap<String, Factors>) -> bool {
    let known = |path: &String| NameLayout::Current.rename(path).is_some();
    factors.keys().all(known)
}

/// All factors must have the ranks that the settings give their modules.
pub(crate) fn check_ranks(
    config: &LoraConfig,
    rules: &RankRules,
    factors: &BTreeMap<String, Factors>,
    origin: &str,
) -> Result<(), LoraError> {
    for (path, pair) in factors {
        let r = match is_wrapper(path, config) {
            true => pair.a.shape().as_slice().first().copied().unwrap_or(0),
            false => rules.rank(path)?,
        };
        for (axis, (factor, data)) in [("lora_A", &pair.a), ("lora_B", &pair.b)]
            .into_iter()
            .enumerate()
        {
            let name = format!("{PREFIX}{path}.{factor}.weight");
            check_rank(&name, data.shape().to_vec(), axis, r, origin)?;
        }
    }
    Ok(())
}

/// The settings with `all-linear` written out as the list of adapted modules.
pub(crate) fn with_listed_targets(
    config: &LoraConfig,
    factors: &BTreeMap<String, Factors>,
) -> LoraConfig {
    let mut listed = config.clone();
    if config.targets.is_all_linear() {
        let modules = factors.keys().filter(|path| !is_wrapper(path, config));
        listed.targets = ModuleFilter::names(modules);
    }
    listed
}
