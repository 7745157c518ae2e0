//! Reading a checkpoint: one file, or the shards of an index.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::index::{Index, Layout, locate};
use super::shard::{Entry, Shard};
use super::source::{TensorInfo, TensorSource, load_tensor, no_cast};
use crate::NnError;

/// An open checkpoint. Headers are parsed and checked when it is opened; values are read from the mapped files when
/// they are asked for, straight into the type that is asked for.
#[derive(Debug)]
pub struct Checkpoint {
    path: PathBuf,
    shards: Vec<Shard>,
    /// Shard number and place of every tensor.
    tensors: BTreeMap<String, (usize, Entry)>,
}

impl Checkpoint {
    /// Opens a `.safetensors` file, a `.safetensors.index.json` file, or a directory that holds either (the index is
    /// preferred; transformers' names first, then diffusers').
    ///
    /// # Errors
    /// [`NnError::Io`] and [`NnError::File`] with the path of the offending file: absent shards, truncated or damaged
    /// files, an index that points outside its directory or names tensors its shards lack, pickled weights.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, NnError> {
        let path = path.as_ref();
        match locate(path)? {
            Layout::Single(file) => {
                let (shard, entries) = Shard::open(&file)?;
                let tensors = entries
                    .into_iter()
                    .map(|(name, e)| (name, (0, e)))
                    .collect();
                Ok(Self {
                    path: path.to_owned(),
                    shards: vec![shard],
                    tensors,
                })
            }
            Layout::Sharded(index) => Self::open_shards(path, &index),
        }
    }

    fn open_shards(path: &Path, index: &Index) -> Result<Self, NnError> {
        let names: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
        let mut shards = Vec::with_capacity(names.len());
        let mut tensors: BTreeMap<String, (usize, Entry)> = BTreeMap::new();
        for file in names {
            let (shard, entries) = Shard::open(&index.path.with_file_name(file))?;
            for (name, entry) in entries {
                // A tensor that the index does not list still counts, so that loaders can report it as unused.
                if index
                    .weight_map
                    .get(&name)
                    .is_some_and(|listed| listed != file)
                {
                    continue;
                }
                if tensors.contains_key(&name) {
                    let message =
                        format!("holds tensor `{name}`, which an earlier shard holds too");
                    return Err(NnError::file(shard.path(), message));
                }
                tensors.insert(name, (shards.len(), entry));
            }
            shards.push(shard);
        }
        for (name, file) in &index.weight_map {
            if !tensors.contains_key(name) {
                return Err(NnError::file(
                    index.path.with_file_name(file),
                    format!(
                        "lacks tensor `{name}`, which the index says it holds; fetch both again"
                    ),
                ));
            }
        }
        Ok(Self {
            path: path.to_owned(),
            shards,
            tensors,
        })
    }

    /// A tensor as stored; see [`TensorSource::load`].
    pub fn data(&self, name: &str) -> Result<TensorData, NnError> {
        self.load(name)
    }

    /// A float tensor of rank `D` on a device, converted to `dtype`; see [`load_tensor`].
    pub fn tensor<const D: usize>(
        &self,
        name: &str,
        dtype: DType,
        device: &Device,
    ) -> Result<Tensor<D>, NnError> {
        load_tensor(self, name, dtype, device)
    }

    /// The files that hold the tensors.
    pub fn files(&self) -> Vec<&Path> {
        self.shards.iter().map(Shard::path).collect()
    }

    /// Texts that the file's header holds beside the tensors; of several files, those of the first.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        let first = self.shards.first();
        first.map_or_else(BTreeMap::new, |shard| shard.metadata().clone())
    }

    fn find(&self, name: &str) -> Result<(&Shard, &Entry), NnError> {
        match self.tensors.get(name) {
            Some((shard, entry)) => Ok((&self.shards[*shard], entry)),
            None => Err(NnError::Missing {
                name: name.to_owned(),
                origin: self.origin(),
            }),
        }
    }
}

impl TensorSource for Checkpoint {
    fn origin(&self) -> String {
        self.path.display().to_string()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.get(name).map(|(_, entry)| entry.info.clone())
    }

    fn load(&self, name: &str) -> Result<TensorData, NnError> {
        let (_, entry) = self.find(name)?;
        self.load_as(name, entry.info.dtype)
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn load_as(&self, name: &str, dtype: DType) -> Result<TensorData, NnError> {
        let (shard, entry) = self.find(name)?;
        shard.read(entry, dtype).ok_or_else(|| {
            no_cast(
                name,
                &shard.path().display().to_string(),
                entry.info.dtype,
                dtype,
            )
        })
    }
}
