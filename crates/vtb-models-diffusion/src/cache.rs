//! Encoded prompts and pictures on disk, so that the encoders need not be in memory while the transformer trains.
//!
//! An entry holds one tensor and is named by a hash of everything that went into it: content, geometry, template, the
//! encoder's files, and [`VERSION`] of this code. Another input is another name, so nothing stale is ever found; what is
//! found is checked against the digest it was written with.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::tensor::{DType, TensorData};
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use sha2::{Digest, Sha256};
use vtb_nn::checkpoint::{read_bounded, write_atomic};

use crate::DiffusionError;

/// Raised whenever the same inputs would give other values: resizing, template, encoders.
pub const VERSION: u32 = 1;
/// More than any entry: the states of a prompt of 100 thousand tokens.
const ENTRY_LIMIT: u64 = 2 << 30;
const VALUE: &str = "value";

/// The name of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(String);

impl Key {
    /// The key of a `kind` of entry made from named inputs.
    pub fn of(kind: &str, inputs: &[(&str, &[u8])]) -> Self {
        Self::at_version(VERSION, kind, inputs)
    }

    fn at_version(version: u32, kind: &str, inputs: &[(&str, &[u8])]) -> Self {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        add(kind.as_bytes());
        add(&version.to_le_bytes());
        for (name, bytes) in inputs {
            add(name.as_bytes());
            add(bytes);
        }
        Self(hex(&hash.finalize()))
    }

    /// Hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A tensor of the cache.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Row-major values.
    pub values: Vec<f32>,
}

/// A folder of entries. Several processes may share it.
#[derive(Debug, Clone)]
pub struct TensorCache {
    root: PathBuf,
}

impl TensorCache {
    /// Opens a folder, making it if need be.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, DiffusionError> {
        let root = root.into();
        std::fs::create_dir_all(&root).map_err(|e| DiffusionError::io(&root, e))?;
        Ok(Self { root })
    }

    /// The file of an entry.
    pub fn path(&self, key: &Key) -> PathBuf {
        let fan = key.0.get(..2).unwrap_or("00");
        self.root.join(fan).join(format!("{key}.safetensors"))
    }

    /// Whether a sound entry is there. One that is damaged counts as absent, and is said so.
    pub fn has(&self, key: &Key) -> bool {
        let path = self.path(key);
        if !path.is_file() {
            return false;
        }
        match self.read(key) {
            Ok(_) => true,
            Err(fault) => {
                tracing::warn!("{fault}; it is made again");
                false
            }
        }
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// It is absent, or not what was written; the file is named.
    pub fn read(&self, key: &Key) -> Result<Entry, DiffusionError> {
        let path = self.path(key);
        let bytes = read_bounded(&path, ENTRY_LIMIT)?;
        let damaged = |what: &str| {
            let message =
                format!("this cache entry is damaged ({what}); delete it, it will be made again");
            DiffusionError::file(&path, message)
        };
        let (_, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|e| damaged(&e.to_string()))?;
        let told = metadata.metadata().clone().unwrap_or_default();
        let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(&e.to_string()))?;
        let tensor = file.tensor(VALUE).map_err(|e| damaged(&e.to_string()))?;
        if told.get("key") != Some(&key.0) {
            return Err(damaged("it belongs to another key"));
        }
        let digest = digest(tensor.shape(), tensor.data());
        if told.get("sha256") != Some(&digest) {
            return Err(damaged("its digest differs"));
        }
        let dtype = match tensor.dtype() {
            safetensors::Dtype::F32 => DType::F32,
            safetensors::Dtype::BF16 => DType::BF16,
            other => return Err(damaged(&format!("values of type {other:?}"))),
        };
        let shape = tensor.shape().to_vec();
        let data = TensorData::from_bytes_vec(tensor.data().to_vec(), shape.clone(), dtype);
        Ok(Entry {
            shape,
            values: data.iter::<f32>().collect(),
        })
    }

    /// Writes an entry, stored as `dtype` (f32 or bf16). It appears whole or not at all.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn write(&self, key: &Key, entry: &Entry, dtype: DType) -> Result<(), DiffusionError> {
        let path = self.path(key);
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(|e| DiffusionError::io(dir, e))?;
        }
        let (dtype, stored) = match dtype {
            DType::BF16 => (safetensors::Dtype::BF16, DType::BF16),
            _ => (safetensors::Dtype::F32, DType::F32),
        };
        let data = TensorData::new(entry.values.clone(), entry.shape.clone()).convert_dtype(stored);
        let fail = |e: String| DiffusionError::file(&path, format!("cannot be written: {e}"));
        let view = TensorView::new(dtype, entry.shape.clone(), data.as_bytes())
            .map_err(|e| fail(e.to_string()))?;
        let told = HashMap::from([
            ("key".to_owned(), key.0.clone()),
            ("sha256".to_owned(), digest(&entry.shape, data.as_bytes())),
        ]);
        let bytes =
            safetensors::serialize([(VALUE, view)], Some(told)).map_err(|e| fail(e.to_string()))?;
        write_atomic(&path, &bytes)?;
        Ok(())
    }
}

fn digest(shape: &[usize], bytes: &[u8]) -> String {
    let mut hash = Sha256::new();
    for side in shape {
        hash.update((*side as u64).to_le_bytes());
    }
    hash.update(bytes);
    hex(&hash.finalize())
}

/// Hash of files, and of every file of folders, by name and content: what an encoder is.
///
/// # Errors
/// A folder or file cannot be read.
pub fn hash_paths(paths: &[PathBuf]) -> Result<String, DiffusionError> {
    let mut files = BTreeMap::new();
    for place in paths {
        let name = place.file_name().unwrap_or_default().to_owned();
        if place.is_file() {
            files.insert((name.clone(), name), place.clone());
            continue;
        }
        for item in std::fs::read_dir(place).map_err(|e| DiffusionError::io(place, e))? {
            let item = item.map_err(|e| DiffusionError::io(place, e))?;
            let path = item.path();
            if path.is_file() {
                files.insert((name.clone(), item.file_name()), path);
            }
        }
    }
    let hashes: Vec<Result<[u8; 32], DiffusionError>> =
        files.par_iter().map(|(_, path)| hash_file(path)).collect();
    let mut whole = Sha256::new();
    for ((dir, file), hash) in files.keys().zip(hashes) {
        for name in [dir, file] {
            whole.update(name.as_encoded_bytes());
            whole.update([0]);
        }
        whole.update(hash?);
    }
    Ok(hex(&whole.finalize()))
}

fn hash_file(path: &Path) -> Result<[u8; 32], DiffusionError> {
    let fail = |e| DiffusionError::io(path, e);
    let mut file = File::open(path).map_err(fail)?;
    let mut buffer = vec![0; 1 << 20];
    let mut hash = Sha256::new();
    loop {
        match file.read(&mut buffer).map_err(fail)? {
            0 => return Ok(hash.finalize().into()),
            read => hash.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            shape: vec![2, 3],
            values: vec![0.5, -1.25, 3.0, 0.0, 1e-3, 7.0],
        }
    }

    #[test]
    fn entries_come_back_and_damage_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let cache = TensorCache::open(dir.path().join("cache")).unwrap();
        let key = Key::of("text", &[("prompt", b"a")]);
        assert!(!cache.has(&key));
        cache.write(&key, &entry(), DType::F32).unwrap();
        assert_eq!(cache.read(&key).unwrap(), entry());
        cache.write(&key, &entry(), DType::BF16).unwrap();
        assert!((cache.read(&key).unwrap().values[4] - 1e-3).abs() < 1e-5);

        let path = cache.path(&key);
        let good = std::fs::read(&path).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        for bad in [&flipped[..], &good[..good.len() - 1], b"", b"junk"] {
            std::fs::write(&path, bad).unwrap();
            assert!(!cache.has(&key));
            let error = cache.read(&key).unwrap_err().to_string();
            assert!(
                error.contains("safetensors") && error.contains("damaged"),
                "{error}"
            );
        }
        let other = Key::of("text", &[("prompt", b"b")]);
        std::fs::create_dir_all(cache.path(&other).parent().unwrap()).unwrap();
        std::fs::write(cache.path(&other), &good).unwrap();
        assert!(!cache.has(&other), "an entry under another name");
    }

    #[test]
    fn every_input_makes_another_key() {
        let base = Key::of("text", &[("a", b"1"), ("b", b"2")]);
        for other in [
            Key::of("picture", &[("a", b"1"), ("b", b"2")]),
            Key::of("text", &[("a", b"12"), ("b", b"")]),
            Key::of("text", &[("a", b"1"), ("c", b"2")]),
            Key::of("text", &[("a", b"1")]),
            Key::at_version(VERSION + 1, "text", &[("a", b"1"), ("b", b"2")]),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn a_folder_is_its_names_and_contents() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("vae");
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("a"), b"1").unwrap();
        let hash = || hash_paths(std::slice::from_ref(&folder)).unwrap();
        let first = hash();
        assert_eq!(first, hash());
        std::fs::write(folder.join("a"), b"2").unwrap();
        let second = hash();
        std::fs::rename(folder.join("a"), folder.join("b")).unwrap();
        assert!(first != second && second != hash());
        let file = hash_paths(&[folder.join("b")]).unwrap();
        assert!(file != hash() && file == hash_paths(&[folder.join("b")]).unwrap());
        assert!(hash_paths(&[dir.path().join("none")]).is_err());
    }
}
