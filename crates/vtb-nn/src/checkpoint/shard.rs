//! One safetensors file, mapped into memory, its header parsed once.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use memmap2::Mmap;
use safetensors::tensor::Metadata;

use super::source::TensorInfo;
use super::{cast, dtype};
use crate::NnError;

/// The limit of the format, see its specification.
const MAX_HEADER: u64 = 100_000_000;
/// More axes than any tensor library handles; bounds what a hostile header can make us copy.
pub(super) const MAX_RANK: usize = 16;

/// A tensor of a [`Shard`].
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) info: TensorInfo,
    /// Bytes within the file.
    range: Range<usize>,
}

/// A mapped file.
///
/// The values are trusted to stay: somebody who truncates the file while it is open makes reads fail with SIGBUS, as
/// for every mapped file. Files replaced by renaming, as this crate does, are safe.
#[derive(Debug)]
pub(super) struct Shard {
    path: PathBuf,
    map: Mmap,
    metadata: BTreeMap<String, String>,
}

/// What a header says.
#[derive(Debug)]
struct Header {
    entries: BTreeMap<String, Entry>,
    /// What stands under `__metadata__`.
    metadata: BTreeMap<String, String>,
}

impl Shard {
    /// Maps `path` and checks the whole header: every tensor lies within the file, the tensors cover it without
    /// gaps, and their sizes follow from types and shapes.
    pub(super) fn open(path: &Path) -> Result<(Self, BTreeMap<String, Entry>), NnError> {
        let io = |e| NnError::io(path, e);
        // Asked before opening: opening a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(io)?.is_file() {
            return Err(NnError::file(path, "is not a regular file"));
        }
        let file = File::open(path).map_err(io)?;
        // SAFETY: the mapping is read-only and private to this struct; see its contract for files changed under us.
        let map = unsafe { Mmap::map(&file) }.map_err(io)?;
        let header = parse(&map).map_err(|message| NnError::file(path, message))?;
        let shard = Self {
            path: path.to_owned(),
            map,
            metadata: header.metadata,
        };
        Ok((shard, header.entries))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Texts in the header beside the tensors.
    pub(super) fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// `None` if the types do not convert.
    pub(super) fn read(&self, entry: &Entry, to: DType) -> Option<TensorData> {
        let bytes = &self.map[entry.range.clone()];
        let data = cast::cast(bytes, entry.info.dtype, to, &entry.info.shape);
        self.release(&entry.range);
        data
    }

    /// Lets the pages of a range go. They would be reclaimed under pressure anyway; until then a model's files would
    /// count as memory of the process beside the model itself.
    fn release(&self, range: &Range<usize>) {
        #[cfg(unix)]
        {
            // SAFETY: the mapping is of a file and never written, so a dropped page is read from the file again when it
            // is next touched; no value changes under whoever looks at it meanwhile.
            let done = unsafe {
                self.map.unchecked_advise_range(
                    memmap2::UncheckedAdvice::DontNeed,
                    range.start,
                    range.len(),
                )
            };
            if let Err(error) = done {
                tracing::debug!("{}: pages are kept: {error}", self.path.display());
            }
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

/// Parses the header. The contiguity and size checks are those of the safetensors crate.
fn parse(file: &[u8]) -> Result<Header, String> {
    let length = file.len() as u64;
    let prefix: [u8; 8] = match file.get(..8) {
        Some(bytes) => bytes.try_into().map_err(|_| truncated(8, length))?,
        None => return Err(truncated(8, length)),
    };
    let header_length = u64::from_le_bytes(prefix);
    if header_length > MAX_HEADER {
        return Err(not_safetensors(file));
    }
    let start = 8 + header_length as usize;
    let header = file
        .get(8..start)
        .ok_or_else(|| truncated(start as u64, length))?;
    let metadata: Metadata = serde_json::from_slice(header)
        .map_err(|e| format!("the safetensors header is damaged ({e}); fetch the file again"))?;
    let expected = (metadata.data_len() as u64).saturating_add(start as u64);
    if expected > length {
        return Err(truncated(expected, length));
    }
    if expected < length {
        return Err(format!(
            "has {} bytes more than its header announces; fetch the file again",
            length - expected
        ));
    }
    let entries = metadata
        .tensors()
        .into_iter()
        .map(|(name, t)| Ok((name.clone(), entry(name, t, start)?)))
        .collect::<Result<_, String>>()?;
    let texts = metadata.metadata().clone().unwrap_or_default();
    Ok(Header {
        entries,
        metadata: texts.into_iter().collect(),
    })
}

fn entry(
    name: String,
    tensor: &safetensors::tensor::TensorInfo,
    start: usize,
) -> Result<Entry, String> {
    let dtype = dtype::from_file(tensor.dtype).ok_or_else(|| {
        format!(
            "tensor `{name}` is stored as {}, which is not supported; use the bf16, f16 or f32 weights of this model",
            tensor.dtype
        )
    })?;
    if tensor.shape.len() > MAX_RANK {
        return Err(format!(
            "tensor `{name}` has {} axes, at most {MAX_RANK} make sense",
            tensor.shape.len()
        ));
    }
    let (from, to) = tensor.data_offsets;
    Ok(Entry {
        info: TensorInfo {
            dtype,
            shape: tensor.shape.clone(),
        },
        range: start + from..start + to,
    })
}

fn truncated(expected: u64, found: u64) -> String {
    format!("is truncated: {expected} bytes expected, {found} found; fetch or copy the file again")
}

/// Says what the file seems to be instead.
fn not_safetensors(file: &[u8]) -> String {
    if file.starts_with(b"version https://git-lfs") {
        "is a Git LFS pointer, not the weights; run `git lfs pull` or download the file".into()
    } else if file.starts_with(b"PK\x03\x04") || file.starts_with(b"\x80\x02") {
        PICKLE.into()
    } else {
        "is not a safetensors file (its header length is absurd); fetch the file again".into()
    }
}

/// Why pickles are refused, and the way out.
pub(super) const PICKLE: &str = "holds pickled weights, which can run code when read and are not accepted; \
     convert them with transformers: `model.save_pretrained(DIR)` writes safetensors";

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: usize) -> Vec<u8> {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.extend(std::iter::repeat_n(0u8, data));
        bytes
    }

    #[test]
    fn reads_shapes_types_and_ranges() {
        let header = r#"{"__metadata__":{"format":"pt"},
            "b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
            "a":{"dtype":"BF16","shape":[1,3],"data_offsets":[8,14]}}  "#;
        let parsed = parse(&file(header, 14)).expect("valid");
        let texts = [("format".to_owned(), "pt".to_owned())];
        assert_eq!(parsed.metadata, BTreeMap::from(texts));
        let entries = parsed.entries;
        assert_eq!(
            entries["a"].info,
            TensorInfo {
                dtype: DType::BF16,
                shape: vec![1, 3]
            }
        );
        let start = 8 + header.len();
        assert_eq!(entries["a"].range, start + 8..start + 14);
        assert_eq!(entries["b"].range, start..start + 8);
    }

    #[test]
    fn damaged_headers_are_errors_that_say_what_is_wrong() {
        let t = |body: &str, data| parse(&file(body, data)).expect_err("invalid");
        let cases = [
            // Sizes that overflow, lie, overlap or leave gaps.
            (
                r#"{"a":{"dtype":"F32","shape":[4611686018427387904,8],"data_offsets":[0,4]}}"#,
                4,
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#,
                4,
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
                8,
            ),
            (
                r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}"#,
                3,
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#,
                4,
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[1e400],"data_offsets":[0,4]}}"#,
                4,
            ),
            (
                r#"{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#,
                4,
            ),
            (r#"[1,2]"#, 0),
            ("", 0),
        ];
        for (header, data) in cases {
            assert!(t(header, data).contains("header is damaged"), "{header}");
        }
        let deep = "[".repeat(100_000);
        assert!(t(&deep, 0).contains("header is damaged"));
        let fp8 = r#"{"w":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}"#;
        assert!(t(fp8, 1).contains("`w` is stored as F8_E4M3"));
        let rank = r#"{"w":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}}"#;
        assert!(t(rank, 1).contains("17 axes"));
        let fine = r#"{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}"#;
        assert!(t(fine, 1).contains("truncated"));
        assert!(t(fine, 3).contains("1 bytes more"));
    }

    #[test]
    fn other_kinds_of_files_are_recognised() {
        let lfs = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n";
        assert!(parse(lfs).expect_err("pointer").contains("git lfs pull"));
        let zip = b"PK\x03\x04\x00\x00\x08\x08rest of an archive";
        assert!(parse(zip).expect_err("pickle").contains("pickled"));
        assert!(
            parse(b"<!DOCTYPE html><html>")
                .expect_err("page")
                .contains("not a safetensors")
        );
        assert!(parse(b"").expect_err("empty").contains("truncated"));
    }
}
