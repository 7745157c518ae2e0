//! Which files a checkpoint directory consists of.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::shard::PICKLE;
use crate::NnError;

/// An index of a million tensors stays below this.
const MAX_INDEX: u64 = 64 << 20;

/// Base names under which transformers and diffusers store weights, in the order they are looked for.
const STEMS: [&str; 2] = ["model", "diffusion_pytorch_model"];

/// The files to open.
#[derive(Debug)]
pub(super) enum Layout {
    /// Everything is in one file.
    Single(PathBuf),
    /// Tensors spread over several files.
    Sharded(Index),
}

/// A `*.safetensors.index.json`.
#[derive(Debug)]
pub(super) struct Index {
    /// The index file itself.
    pub(super) path: PathBuf,
    /// Shard of each tensor, a plain file name.
    pub(super) weight_map: BTreeMap<String, String>,
}

/// Finds the weights at `path`, a file or a directory.
pub(super) fn locate(path: &Path) -> Result<Layout, NnError> {
    let kind = std::fs::metadata(path).map_err(|e| NnError::io(path, e))?;
    if !kind.is_dir() {
        return match path.extension().and_then(|e| e.to_str()) {
            Some("json") => Ok(Layout::Sharded(read_index(path)?)),
            Some("bin" | "pt" | "pth" | "ckpt") => Err(NnError::file(path, PICKLE)),
            _ => Ok(Layout::Single(path.to_owned())),
        };
    }
    for stem in STEMS {
        let index = path.join(format!("{stem}.safetensors.index.json"));
        if index.is_file() {
            return Ok(Layout::Sharded(read_index(&index)?));
        }
        let single = path.join(format!("{stem}.safetensors"));
        if single.is_file() {
            return Ok(Layout::Single(single));
        }
    }
    Err(NnError::file(path, nothing_found(path)))
}

fn nothing_found(dir: &Path) -> String {
    let pickled = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .any(|entry| {
            let name = entry.file_name();
            let extension = Path::new(&name).extension().and_then(|e| e.to_str());
            matches!(extension, Some("bin" | "pt" | "pth"))
        });
    if pickled {
        return PICKLE.into();
    }
    "holds no `model.safetensors` and no `model.safetensors.index.json`; is this the directory of a model?".into()
}

fn read_index(path: &Path) -> Result<Index, NnError> {
    #[derive(Deserialize)]
    struct File {
        weight_map: BTreeMap<String, String>,
    }
    let text = read_bounded(path, MAX_INDEX)?;
    let file: File = serde_json::from_slice(&text)
        .map_err(|e| NnError::file(path, format!("is not an index of safetensors files: {e}")))?;
    for (tensor, shard) in &file.weight_map {
        if !is_plain_name(shard) {
            return Err(NnError::file(
                path,
                format!(
                    "tensor `{tensor}` is said to be in {shard:?}, which is not the name of a file beside the index"
                ),
            ));
        }
    }
    if file.weight_map.is_empty() {
        return Err(NnError::file(
            path,
            "lists no tensors; fetch the file again",
        ));
    }
    Ok(Index {
        path: path.to_owned(),
        weight_map: file.weight_map,
    })
}

/// Whether `name` can only mean a file in the directory it is joined to.
fn is_plain_name(name: &str) -> bool {
    !(name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0', ':']))
}

/// Reads a file of at most `limit` bytes; larger ones are refused, not cut.
///
/// # Errors
/// [`NnError::Io`], or [`NnError::File`] if it is larger or no regular file.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>, NnError> {
    let io = |e| NnError::io(path, e);
    if !std::fs::metadata(path).map_err(io)?.is_file() {
        return Err(NnError::file(path, "is not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(io)?;
    file.take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(NnError::file(
            path,
            format!("is larger than {limit} bytes, the limit for its kind"),
        ));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("dir");
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).expect("write");
        }
        dir
    }

    #[test]
    fn an_index_wins_over_a_single_file() {
        let map = r#"{"metadata":{"total_size":1},"weight_map":{"a":"model-00001-of-00001.safetensors"}}"#;
        let dir = dir_with(&[
            ("model.safetensors", ""),
            ("model.safetensors.index.json", map),
        ]);
        let Layout::Sharded(index) = locate(dir.path()).expect("found") else {
            panic!("the index was not used");
        };
        assert_eq!(index.weight_map["a"], "model-00001-of-00001.safetensors");
        let single = dir_with(&[("diffusion_pytorch_model.safetensors", "")]);
        assert!(matches!(locate(single.path()), Ok(Layout::Single(_))));
    }

    #[test]
    fn shards_outside_the_directory_are_refused() {
        for name in [
            "../x",
            "/etc/passwd",
            "a/../../b",
            "..",
            "",
            "a\\u0000b",
            "c:\\\\x",
            "sub/x",
        ] {
            let map = format!(r#"{{"weight_map":{{"some.weight":"{name}"}}}}"#);
            let dir = dir_with(&[("model.safetensors.index.json", &map)]);
            let error = locate(dir.path()).expect_err("refused").to_string();
            assert!(error.contains("`some.weight`"), "{name}: {error}");
        }
    }

    #[test]
    fn damaged_indices_are_errors() {
        for text in [
            "",
            "{",
            "[]",
            r#"{"weight_map":[]}"#,
            r#"{"weight_map":{}}"#,
            r#"{"weight_map":{"a":1}}"#,
        ] {
            let dir = dir_with(&[("model.safetensors.index.json", text)]);
            let error = locate(dir.path()).expect_err("damaged").to_string();
            assert!(error.contains("index.json"), "{text}: {error}");
        }
    }

    #[test]
    fn pickles_and_empty_directories_name_the_way_out() {
        let pickled = dir_with(&[("pytorch_model.bin", "x")]);
        let error = locate(pickled.path()).expect_err("pickle").to_string();
        assert!(error.contains("save_pretrained"), "{error}");
        let error = locate(&pickled.path().join("pytorch_model.bin")).expect_err("pickle");
        assert!(error.to_string().contains("save_pretrained"), "{error}");
        let empty = dir_with(&[]);
        let error = locate(empty.path()).expect_err("empty").to_string();
        assert!(error.contains("model.safetensors"), "{error}");
        assert!(matches!(
            locate(&empty.path().join("no")),
            Err(NnError::Io { .. })
        ));
    }

    #[test]
    fn bounded_reads_refuse_larger_files() {
        let dir = dir_with(&[("a.json", "12345")]);
        let path = dir.path().join("a.json");
        assert_eq!(read_bounded(&path, 5).expect("fits"), b"12345");
        assert!(read_bounded(&path, 4).is_err());
        assert!(read_bounded(dir.path(), 4).is_err());
    }
}
