//! Weights that torch pickled, read as data.
//!
//! A pickle is a program for a stack machine whose `REDUCE` calls anything that can be imported. `pytorch_reader` follows
//! the stack and calls nothing: it knows how torch writes tensors, and every other call is a name without effect. Here a
//! file that holds such a name is refused, for weights have no use for one.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use burn::tensor::{BoolStore, DType, TensorData};
use pytorch_reader::{PickleValue, PytorchReader, Tensor};
use zip::ZipArchive;

use super::cast::cast;
use super::reader::Checkpoint;
use super::shard::MAX_RANK;
use super::source::{TensorInfo, TensorSource, no_cast};
use crate::NnError;

/// Names of files that torch writes.
const ENDINGS: [&str; 4] = ["pth", "pt", "bin", "ckpt"];

/// Keys under which programs put all tensors of a file.
const WRAPPERS: [&str; 2] = ["model_state", "state_dict"];

/// What stands for a value that is no tensor and that torch writes beside tensors.
const KNOWN: [&str; 4] = ["torch.Tensor", "torch.Size", "torch.device", "int"];

/// The most bytes of a program; a tensor takes about 130. Every byte of a hostile one may push a value, of a hundred
/// bytes of memory.
const MAX_PROGRAM: u64 = 8 << 20;

/// What a file starts with that torch wrote since 1.6.
const ZIP: &[u8] = b"PK\x03\x04";

/// An open file of `torch.save`: a dictionary of tensors, by itself or below `model_state` or `state_dict`.
///
/// Names, types and shapes are read when it is opened. Values are read from the file when they are asked for, one tensor at a
/// time; views (transposed, sliced) come out whole and row-major.
#[derive(Debug)]
pub struct PthSource {
    path: PathBuf,
    tensors: BTreeMap<String, (TensorInfo, Tensor)>,
}

/// Opens weights of either kind: what ends in `.pth`, `.pt`, `.bin` or `.ckpt` as [`PthSource`], all else as [`Checkpoint`].
///
/// # Errors
/// As [`PthSource::open`] and [`Checkpoint::open`].
pub fn open_source(path: impl AsRef<Path>) -> Result<Box<dyn TensorSource>, NnError> {
    let path = path.as_ref();
    let ending = path.extension().and_then(|e| e.to_str());
    if path.is_file() && ending.is_some_and(|e| ENDINGS.contains(&e)) {
        return Ok(Box::new(PthSource::open(path)?));
    }
    Ok(Box::new(Checkpoint::open(path)?))
}

impl PthSource {
    /// Opens a zip archive as torch has written it since 1.6, and checks that every tensor lies within it.
    ///
    /// # Errors
    /// [`NnError::Io`], or [`NnError::File`] with the path: the file has another form, is damaged or truncated, holds more
    /// than tensors and plain values (the first foreign object is named), or a tensor that is larger than the whole file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NnError> {
        let path = path.as_ref();
        let fail = |message: String| NnError::file(path, message);
        let length = check_start(path)?;
        check_program(path)?;
        let damaged = |e: pytorch_reader::PytorchError| damaged(path, &e);
        let values = PytorchReader::read_pickle_data(path, None).map_err(damaged)?;
        if let Some(name) = foreign(&values) {
            return Err(fail(format!(
                "holds an object of `{name}`, which is no part of weights; nothing of it was run. Fetch the file from its \
                 publisher, or use safetensors"
            )));
        }
        let reader = PytorchReader::new(path).map_err(damaged)?;
        let tensors = unwrapped(reader.into_tensors());
        if tensors.is_empty() {
            return Err(fail("holds no tensors".into()));
        }
        let described = |(name, tensor): (String, Tensor)| {
            let info = describe(&tensor);
            if info.shape.len() > MAX_RANK || tensor.byte_len() as u64 > length {
                return Err(fail(format!(
                    "tensor `{name}` of shape {:?} is more than a file of {length} bytes holds",
                    info.shape
                )));
            }
            Ok((name, (info, tensor)))
        };
        Ok(Self {
            path: path.to_owned(),
            tensors: tensors
                .into_iter()
                .map(described)
                .collect::<Result<_, _>>()?,
        })
    }

    fn find(&self, name: &str) -> Result<&(TensorInfo, Tensor), NnError> {
        self.tensors.get(name).ok_or_else(|| NnError::Missing {
            name: name.to_owned(),
            origin: self.origin(),
        })
    }
}

impl TensorSource for PthSource {
    fn origin(&self) -> String {
        self.path.display().to_string()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.get(name).map(|(info, _)| info.clone())
    }

    fn load(&self, name: &str) -> Result<TensorData, NnError> {
        let (info, _) = self.find(name)?;
        self.load_as(name, info.dtype)
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn load_as(&self, name: &str, dtype: DType) -> Result<TensorData, NnError> {
        let (info, tensor) = self.find(name)?;
        let bytes = tensor
            .read()
            .map_err(|e| NnError::file(&self.path, e.to_string().replace('\n', " ")))?;
        cast(&bytes, info.dtype, dtype, &info.shape)
            .ok_or_else(|| no_cast(name, &self.origin(), info.dtype, dtype))
    }
}

/// The length of a file that starts as an archive does.
fn check_start(path: &Path) -> Result<u64, NnError> {
    let io = |e| NnError::io(path, e);
    let kind = std::fs::metadata(path).map_err(io)?;
    if !kind.is_file() {
        return Err(NnError::file(path, "is not a regular file"));
    }
    let mut start = Vec::new();
    let file = File::open(path).map_err(io)?;
    file.take(64).read_to_end(&mut start).map_err(io)?;
    if start.starts_with(ZIP) {
        return Ok(kind.len());
    }
    let message = if start.starts_with(b"version https://git-lfs") {
        "is a Git LFS pointer, not the weights; run `git lfs pull` or download the file"
    } else if start.starts_with(b"\x80") {
        "is a bare pickle, as torch wrote before 1.6; load it with torch and save it again, or use safetensors"
    } else {
        "is no archive of torch; fetch the file again"
    };
    Err(NnError::file(path, message))
}

/// The program of an archive is of a size that can be followed.
fn check_program(path: &Path) -> Result<(), NnError> {
    let file = File::open(path).map_err(|e| NnError::io(path, e))?;
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|e| damaged(path, &e))?;
    for member in 0..archive.len() {
        let member = archive
            .by_index_raw(member)
            .map_err(|e| damaged(path, &e))?;
        let program = member.name_raw().ends_with(b"data.pkl");
        if program && member.size() > MAX_PROGRAM {
            return Err(NnError::file(
                path,
                format!(
                    "has a pickle of {} bytes, more than {MAX_PROGRAM}; use safetensors",
                    member.size()
                ),
            ));
        }
    }
    Ok(())
}

fn damaged(path: &Path, error: &dyn Display) -> NnError {
    NnError::file(
        path,
        format!("cannot be read as pickled weights: {error}").replace('\n', " "),
    )
}

/// The first object that is neither a tensor nor a plain value.
fn foreign(value: &PickleValue) -> Option<String> {
    match value {
        PickleValue::Unsupported(name) if KNOWN.contains(&name.as_str()) => None,
        PickleValue::Unsupported(name) => Some(name.clone()),
        PickleValue::List(items) => items.iter().find_map(foreign),
        // The order of a hash map is not that of the file: the least name is the same in every run.
        PickleValue::Dict(entries) => entries.values().filter_map(foreign).min(),
        _ => None,
    }
}

/// Without the key under which all tensors lie.
fn unwrapped(tensors: HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    for wrapper in WRAPPERS {
        let below = |name: &String| {
            let rest = name.strip_prefix(wrapper)?.strip_prefix('.')?;
            Some(rest.to_owned())
        };
        let names: Option<Vec<String>> = tensors.keys().map(below).collect();
        if let Some(names) = names {
            return names.into_iter().zip(tensors.into_values()).collect();
        }
    }
    tensors
}

fn describe(tensor: &Tensor) -> TensorInfo {
    use pytorch_reader::DType as Stored;
    let dtype = match tensor.dtype() {
        Stored::F64 => DType::F64,
        Stored::F32 => DType::F32,
        Stored::F16 => DType::F16,
        Stored::BF16 => DType::BF16,
        Stored::I64 => DType::I64,
        Stored::I32 => DType::I32,
        Stored::I16 => DType::I16,
        Stored::I8 => DType::I8,
        Stored::U64 => DType::U64,
        Stored::U32 => DType::U32,
        Stored::U16 => DType::U16,
        Stored::U8 => DType::U8,
        Stored::Bool => DType::Bool(BoolStore::Native),
    };
    TensorInfo {
        dtype,
        shape: tensor.shape().to_vec(),
    }
}

#[cfg(test)]
mod tests;
