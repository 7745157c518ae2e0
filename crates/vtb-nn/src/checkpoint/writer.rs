//! Writing safetensors: the same tensors give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde_json::json;

use super::atomic::{write_atomic, write_atomic_with};
use super::dtype;
use super::source::{TensorInfo, TensorSource};
use crate::NnError;

/// Writes all tensors of `source` to one file, through a temporary file and a rename. `metadata` goes into the
/// header, with `format: pt` added if it has no `format`: transformers and peft refuse files without one.
///
/// Tensors are asked for one at a time and stored in the type they come in.
///
/// # Errors
/// [`NnError::Io`] when the disk is full or the directory absent, [`NnError::Input`] for types that have no stored
/// form, or what the source says. An earlier file of that name then stays as it was.
pub fn save_safetensors(
    path: impl AsRef<Path>,
    source: &dyn TensorSource,
    metadata: &BTreeMap<String, String>,
) -> Result<(), NnError> {
    let tensors = describe(source)?;
    write_file(
        path.as_ref(),
        source,
        &tensors.iter().collect::<Vec<_>>(),
        metadata,
    )
}

/// Writes a model directory's weights: `model.safetensors` if they fit into `max_shard_bytes`, else
/// `model-0000i-of-0000n.safetensors` and `model.safetensors.index.json`. Tensors keep the order of their names; one
/// that is larger than the limit gets a file of its own. Weight files of an earlier save that would be read instead
/// are removed at the end. Returns the weight files.
///
/// # Errors
/// As [`save_safetensors`].
pub fn save_sharded(
    dir: impl AsRef<Path>,
    source: &dyn TensorSource,
    max_shard_bytes: u64,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<PathBuf>, NnError> {
    save_sharded_as(dir, STEM, source, max_shard_bytes, metadata)
}

/// As [`save_sharded`] with `stem` in the place of `model` in the names of files: diffusers looks for
/// `diffusion_pytorch_model`.
///
/// # Errors
/// As [`save_safetensors`].
pub fn save_sharded_as(
    dir: impl AsRef<Path>,
    stem: &str,
    source: &dyn TensorSource,
    max_shard_bytes: u64,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<PathBuf>, NnError> {
    let dir = dir.as_ref();
    let index = index_name(stem);
    fs::create_dir_all(dir).map_err(|e| NnError::io(dir, e))?;
    let tensors = describe(source)?;
    let shards = split(&tensors, max_shard_bytes);
    let count = shards.len();
    let mut written = BTreeSet::new();
    let mut weight_map = BTreeMap::new();
    for (i, shard) in shards.iter().enumerate() {
        let file = match count {
            1 => format!("{stem}.safetensors"),
            _ => format!("{stem}-{:05}-of-{count:05}.safetensors", i + 1),
        };
        write_file(&dir.join(&file), source, shard, metadata)?;
        weight_map.extend(
            shard
                .iter()
                .map(|(name, _)| ((*name).clone(), file.clone())),
        );
        written.insert(file);
    }
    if count > 1 {
        write_index(&dir.join(&index), &tensors, &weight_map)?;
        written.insert(index.clone());
    }
    remove_stale(dir, stem, &written)?;
    written.remove(&index);
    Ok(written.iter().map(|file| dir.join(file)).collect())
}

/// The stem that transformers looks for.
const STEM: &str = "model";

fn index_name(stem: &str) -> String {
    format!("{stem}.safetensors.index.json")
}

type Described<'a> = (&'a String, &'a TensorInfo);

fn describe(source: &dyn TensorSource) -> Result<BTreeMap<String, TensorInfo>, NnError> {
    let mut tensors = BTreeMap::new();
    for name in source.names() {
        let info = source.info(&name).ok_or_else(|| NnError::Missing {
            name: name.clone(),
            origin: source.origin(),
        })?;
        if name == "__metadata__" || dtype::to_file(info.dtype).is_none() {
            return Err(NnError::input(format!(
                "tensor `{name}` of {} ({:?}) cannot be stored as safetensors",
                source.origin(),
                info.dtype
            )));
        }
        tensors.insert(name, info);
    }
    Ok(tensors)
}

fn split(tensors: &BTreeMap<String, TensorInfo>, limit: u64) -> Vec<Vec<Described<'_>>> {
    let mut shards = vec![Vec::new()];
    let mut size = 0u64;
    for tensor in tensors {
        let bytes = tensor.1.byte_len();
        let last = shards.len() - 1;
        if !shards[last].is_empty() && size.saturating_add(bytes) > limit {
            shards.push(vec![tensor]);
            size = bytes;
        } else {
            shards[last].push(tensor);
            size += bytes;
        }
    }
    shards
}

fn write_file(
    path: &Path,
    source: &dyn TensorSource,
    tensors: &[Described<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<(), NnError> {
    let mut order = tensors.to_vec();
    // Wider types first keeps every tensor aligned to its element; names make the order total.
    order.sort_by_key(|(name, info)| (std::cmp::Reverse(info.dtype.size()), *name));
    let header = header(&order, metadata).map_err(|e| NnError::file(path, e.to_string()))?;
    write_atomic_with(path, |w| {
        let io = |e| NnError::io(path, e);
        w.write_all(&(header.len() as u64).to_le_bytes())
            .map_err(io)?;
        w.write_all(header.as_bytes()).map_err(io)?;
        for (name, info) in &order {
            let data = source.load(name)?;
            if data.dtype() != info.dtype || data.shape().as_slice() != info.shape {
                return Err(NnError::input(format!(
                    "tensor `{name}` of {} changed while it was written to {}",
                    source.origin(),
                    path.display()
                )));
            }
            w.write_all(data.as_bytes()).map_err(io)?;
        }
        Ok(())
    })
}

/// The JSON header, padded with spaces so that the data starts at a multiple of 8.
fn header(
    order: &[Described<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<String, serde_json::Error> {
    let mut metadata = metadata.clone();
    metadata
        .entry("format".into())
        .or_insert_with(|| "pt".into());
    let mut text = format!("{{\"__metadata__\":{}", serde_json::to_string(&metadata)?);
    let mut offset = 0u64;
    for (name, info) in order {
        let end = offset + info.byte_len();
        // `describe` admitted only types that have a stored form.
        let stored = dtype::to_file(info.dtype).unwrap_or(Dtype::U8);
        let (name, shape) = (
            serde_json::to_string(name)?,
            serde_json::to_string(&info.shape)?,
        );
        text += &format!(
            ",{name}:{{\"dtype\":\"{stored}\",\"shape\":{shape},\"data_offsets\":[{offset},{end}]}}"
        );
        offset = end;
    }
    text.push('}');
    text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
    Ok(text)
}

fn write_index(
    path: &Path,
    tensors: &BTreeMap<String, TensorInfo>,
    weight_map: &BTreeMap<String, String>,
) -> Result<(), NnError> {
    let size: u64 = tensors.values().map(TensorInfo::byte_len).sum();
    let parameters: usize = tensors
        .values()
        .map(|t| t.shape.iter().product::<usize>())
        .sum();
    let index = json!({
        "metadata": { "total_parameters": parameters, "total_size": size },
        "weight_map": weight_map,
    });
    let text =
        serde_json::to_string_pretty(&index).map_err(|e| NnError::file(path, e.to_string()))?;
    write_atomic(path, format!("{text}\n").as_bytes())
}

/// Removes weights of an earlier save: transformers would prefer a stale `model.safetensors` over a new index.
fn remove_stale(dir: &Path, stem: &str, written: &BTreeSet<String>) -> Result<(), NnError> {
    for entry in fs::read_dir(dir).map_err(|e| NnError::io(dir, e))? {
        let entry = entry.map_err(|e| NnError::io(dir, e))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_weight_file(stem, &name) && !written.contains(&name) {
            fs::remove_file(entry.path()).map_err(|e| NnError::io(entry.path(), e))?;
        }
    }
    Ok(())
}

fn is_weight_file(stem: &str, name: &str) -> bool {
    let digits = |s: &str| s.len() == 5 && s.bytes().all(|b| b.is_ascii_digit());
    let rest = name.strip_prefix(stem);
    let shard = rest
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.strip_suffix(".safetensors"))
        .and_then(|numbers| numbers.split_once("-of-"))
        .is_some_and(|(i, n)| digits(i) && digits(n));
    shard || name == index_name(stem) || rest == Some(".safetensors")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_weight_files_are_ever_stale() {
        for ours in [
            "model.safetensors",
            "model.safetensors.index.json",
            "model-00001-of-00012.safetensors",
        ] {
            assert!(is_weight_file(STEM, ours), "{ours}");
            assert!(!is_weight_file("diffusion_pytorch_model", ours), "{ours}");
        }
        for other in [
            "adapter_model.safetensors",
            "model-1-of-2.safetensors",
            "model-old.safetensors",
            "config.json",
        ] {
            assert!(!is_weight_file(STEM, other), "{other}");
        }
    }
}
