//! Adapter directories of peft: `adapter_config.json` and `adapter_model.safetensors`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use burn::tensor::{DType, TensorData};
use vtb_nn::NnError;
use vtb_nn::checkpoint::{
    Checkpoint, MemorySource, TensorSource, read_bounded, save_safetensors, write_atomic,
};

use crate::{LoraConfig, LoraError, ModuleFilter};

const CONFIG_FILE: &str = "adapter_config.json";
const WEIGHTS_FILE: &str = "adapter_model.safetensors";
/// What peft wraps around a model.
const PREFIX: &str = "base_model.model.";
/// Settings list module names at most; this is room for a hundred thousand.
const MAX_CONFIG: u64 = 16 << 20;

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
/// [`LoraError::Config`] and [`LoraError::Pattern`] for the settings; [`LoraError::Nn`] for absent or damaged files,
/// a missing partner or another shape; [`LoraError::Adapter`] for tensors that are no factors and pickled weights.
pub fn read_adapter(dir: impl AsRef<Path>) -> Result<Adapter, LoraError> {
    let dir = dir.as_ref();
    let config_path = dir.join(CONFIG_FILE);
    let text = read_bounded(&config_path, MAX_CONFIG)?;
    let origin = config_path.display().to_string();
    let (config, base_model) = LoraConfig::from_adapter_config_json(&text, &origin)?;
    let weights = dir.join(WEIGHTS_FILE);
    if !weights.exists() && dir.join("adapter_model.bin").exists() {
        return Err(LoraError::adapter(
            dir,
            "holds a pickled adapter_model.bin, which can run code when read and is not accepted; load it in peft and save it again",
        ));
    }
    let source = Checkpoint::open(&weights)?;
    let rules = config.rules(&origin)?;
    let mut factors = BTreeMap::new();
    for (path, [a, b]) in pairs(&source, &weights)? {
        let rank = match is_wrapper(&path, &config) {
            true => None,
            false => Some(rules.rank(&path)?),
        };
        let pair = read_pair(&source, [&a, &b], rank)?;
        factors.insert(path, pair);
    }
    Ok(Adapter {
        config,
        base_model,
        factors,
    })
}

/// The tensor names of both factors by module path.
fn pairs(source: &Checkpoint, file: &Path) -> Result<BTreeMap<String, [String; 2]>, LoraError> {
    let mut found: BTreeMap<String, [Option<String>; 2]> = BTreeMap::new();
    for name in source.names() {
        let (path, which) = parse_name(&name).ok_or_else(|| {
            LoraError::adapter(
                file,
                format!("tensor `{name}` is no factor of a LoRA on a linear layer"),
            )
        })?;
        let slot = &mut found.entry(path.to_owned()).or_default()[which];
        if let Some(other) = slot.replace(name.clone()) {
            return Err(LoraError::adapter(
                file,
                format!("tensors `{other}` and `{name}` are the same factor"),
            ));
        }
    }
    if found.is_empty() {
        return Err(LoraError::adapter(
            file,
            "holds no tensors; was the adapter saved before it was made?",
        ));
    }
    let missing = |name: String| NnError::Missing {
        name,
        origin: file.display().to_string(),
    };
    found
        .into_iter()
        .map(|(path, pair)| match pair {
            [Some(a), Some(b)] => Ok((path, [a, b])),
            [None, Some(b)] => Err(missing(b.replace(".lora_B.", ".lora_A.")).into()),
            [Some(a), None] => Err(missing(a.replace(".lora_A.", ".lora_B.")).into()),
            [None, None] => Err(missing(path).into()),
        })
        .collect()
}

/// Splits `base_model.model.PATH.lora_A[.default].weight` into the path and 0 for A, 1 for B.
fn parse_name(name: &str) -> Option<(&str, usize)> {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    let name = name.strip_suffix(".weight")?;
    let name = name.strip_suffix(".default").unwrap_or(name);
    let (path, which) = match name.strip_suffix(".lora_A") {
        Some(path) => (path, 0),
        None => (name.strip_suffix(".lora_B")?, 1),
    };
    (!path.is_empty()).then_some((path, which))
}

/// Whether `path` is a wrapper peft puts around a module one of whose parameters is a target. Wrappers nest, one per
/// parameter.
fn is_wrapper(path: &str, config: &LoraConfig) -> bool {
    let mut module = path;
    while let Some(inner) = module.strip_suffix(".base_layer") {
        module = inner;
    }
    config.target_parameters.iter().any(|name| {
        let parent = name
            .rsplit_once('.')
            .map_or("experts", |(parent, _)| parent);
        crate::targets::is_path_or_end(module, parent)
    })
}

/// Loads A `[r, in]` and B `[out, r]`; with no rank given, only that both have the same is checked.
fn read_pair(
    source: &Checkpoint,
    names: [&str; 2],
    rank: Option<usize>,
) -> Result<Factors, LoraError> {
    let shape = |name: &str| source.info(name).map(|info| info.shape).unwrap_or_default();
    let r = match (rank, shape(names[0]).first()) {
        (Some(r), _) => r,
        (None, first) => first.copied().unwrap_or(0),
    };
    for (axis, name) in names.into_iter().enumerate() {
        check_rank(name, shape(name), axis, r, &source.origin())?;
    }
    Ok(Factors {
        a: source.load_as(names[0], DType::F32)?,
        b: source.load_as(names[1], DType::F32)?,
    })
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
    let dir = dir.as_ref();
    let origin = dir.display().to_string();
    let rules = config.rules(&origin)?;
    let mut tensors = BTreeMap::new();
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
            check_rank(&name, data.shape().to_vec(), axis, r, &origin)?;
            tensors.insert(name, in_f32(data, path)?);
        }
    }
    if tensors.is_empty() {
        return Err(LoraError::adapter(dir, "there are no factors to write"));
    }
    let mut written = config.clone();
    if config.targets.is_all_linear() {
        let modules = factors.keys().filter(|path| !is_wrapper(path, config));
        written.targets = ModuleFilter::names(modules);
    }
    fs::create_dir_all(dir).map_err(|e| NnError::io(dir, e))?;
    let source = MemorySource::new(origin, tensors);
    save_safetensors(dir.join(WEIGHTS_FILE), &source, &BTreeMap::new())?;
    write_atomic(
        &dir.join(CONFIG_FILE),
        written.to_adapter_config_json(base_model).as_bytes(),
    )?;
    Ok(())
}

fn in_f32(data: &TensorData, path: &str) -> Result<TensorData, LoraError> {
    data.clone().try_cast(DType::F32).map_err(|e| {
        NnError::input(format!("the factors of `{path}` cannot be stored: {e}")).into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_several_writers_are_understood() {
        let cases = [
            (
                "base_model.model.model.layers.0.q.lora_A.weight",
                Some(("model.layers.0.q", 0)),
            ),
            ("base_model.model.m.lora_B.default.weight", Some(("m", 1))),
            ("layers.0.q.lora_B.weight", Some(("layers.0.q", 1))),
            ("base_model.model.m.lora_B.bias", None),
            ("base_model.model.m.lora_embedding_A", None),
            ("base_model.model.m.lora_magnitude_vector", None),
            ("base_model.model.m.weight", None),
            (".lora_A.weight", None),
        ];
        for (name, expected) in cases {
            assert_eq!(parse_name(name), expected, "{name}");
        }
    }
}
