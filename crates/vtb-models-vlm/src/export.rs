//! A model directory made from another: other weights, the same tokenizer, template and processor.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use burn::tensor::DType;
use serde_json::Value;
use vtb_nn::checkpoint::{TensorSource, save_sharded, write_atomic};

use crate::VlmError;
use crate::files::{CONFIG, CONFIG_LIMIT, ModelDir, read_json};

/// Endings of the files that go along with weights.
const TEXTS: [&str; 3] = [".json", ".jinja", ".txt"];
/// Spellings of the key that names the type of weights.
const DTYPE_KEYS: [&str; 2] = ["dtype", "torch_dtype"];

/// Writes a directory that transformers and vLLM load: `weights` in shards of at most `shard_bytes`, and everything else
/// as `source` has it. Where weights are stored as another type than in `source`, `dtype` says so in `config.json`.
///
/// Tensors are asked for one at a time. `to` is made if it is not there; files in it are replaced.
///
/// # Errors
/// A file that cannot be read or written, or what `weights` says.
pub fn export_model(
    source: &ModelDir,
    weights: &dyn TensorSource,
    dtype: Option<DType>,
    shard_bytes: u64,
    to: &Path,
) -> Result<(), VlmError> {
    copy_texts(source, to)?;
    let config = source.path(CONFIG);
    match dtype {
        None => copy(&config, &to.join(CONFIG))?,
        Some(dtype) => {
            let mut value = read_json(&config, CONFIG_LIMIT)?;
            name_dtype(&mut value, dtype);
            write_atomic(&to.join(CONFIG), format!("{value:#}\n").as_bytes())?;
        }
    }
    save_sharded(to, weights, shard_bytes, &BTreeMap::new())?;
    Ok(())
}

/// Copies what goes along with weights: tokenizer, template, processor and sampling settings. `config.json` and
/// everything about weights or adapters stay behind. `to` is made if it is not there.
///
/// # Errors
/// A file that cannot be read or written.
pub fn copy_texts(source: &ModelDir, to: &Path) -> Result<(), VlmError> {
    fs::create_dir_all(to).map_err(|e| VlmError::io(to, e))?;
    let root = source.root();
    for entry in fs::read_dir(root).map_err(|e| VlmError::io(root, e))? {
        let path = entry.map_err(|e| VlmError::io(root, e))?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some(name) = name.filter(|name| goes_along(name)) else {
            continue;
        };
        if path.is_file() {
            copy(&path, &to.join(name))?;
        }
    }
    Ok(())
}

fn goes_along(name: &str) -> bool {
    TEXTS.iter().any(|ending| name.ends_with(ending))
        && !name.contains("safetensors")
        && !name.starts_with("adapter_")
        && !name.starts_with("pytorch_model")
        && name != CONFIG
}

fn copy(from: &Path, to: &Path) -> Result<(), VlmError> {
    fs::copy(from, to).map_err(|e| VlmError::io(from, e))?;
    let file = File::open(to).map_err(|e| VlmError::io(to, e))?;
    file.sync_all().map_err(|e| VlmError::io(to, e))
}

/// Sets the type of weights wherever the configuration names one, and at its root.
fn name_dtype(config: &mut Value, dtype: DType) {
    let name = match dtype {
        DType::BF16 => "bfloat16",
        DType::F16 => "float16",
        DType::F64 => "float64",
        _ => "float32",
    };
    let Value::Object(root) = config else {
        return;
    };
    let said = DTYPE_KEYS.iter().any(|key| root.contains_key(*key));
    if !said {
        root.insert(DTYPE_KEYS[1].into(), name.into());
    }
    let set = |table: &mut serde_json::Map<String, Value>| {
        for key in DTYPE_KEYS {
            if let Some(value) = table.get_mut(key) {
                *value = name.into();
            }
        }
    };
    set(root);
    root.values_mut()
        .filter_map(Value::as_object_mut)
        .for_each(set);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_type_of_weights_is_named_wherever_it_stood() {
        let mut config = json!({
            "torch_dtype": "float32",
            "text_config": {"dtype": "float32", "hidden_size": 8},
            "vision_config": {"depth": 2},
        });
        name_dtype(&mut config, DType::BF16);
        let expected = json!({
            "torch_dtype": "bfloat16",
            "text_config": {"dtype": "bfloat16", "hidden_size": 8},
            "vision_config": {"depth": 2},
        });
        assert_eq!(config, expected);
        let mut silent = json!({"model_type": "x"});
        name_dtype(&mut silent, DType::F16);
        assert_eq!(silent["torch_dtype"], "float16");
    }

    #[test]
    fn weights_and_configuration_stay_behind() {
        for name in [
            "tokenizer.json",
            "chat_template.jinja",
            "merges.txt",
            "generation_config.json",
        ] {
            assert!(goes_along(name), "{name}");
        }
        for name in [
            "config.json",
            "model.safetensors.index.json",
            "pytorch_model.bin.index.json",
            "adapter_config.json",
            "README.md",
            "model.safetensors",
        ] {
            assert!(!goes_along(name), "{name}");
        }
    }
}
