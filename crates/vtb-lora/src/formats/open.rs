//! Opening an adapter of any form.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vtb_nn::NnError;

use super::read::Reading;
use super::{AdapterHeader, DIFFUSERS_FILE, DiffusionFamily};
use crate::file::Pair;
use crate::peft::{CONFIG_FILE, WEIGHTS_FILE};
use crate::{AdapterFile, LinearInfo, LoraError};

/// Files of a folder that are looked at.
const MAX_FILES: usize = 1000;

impl AdapterFile {
    /// Opens an adapter of any form: a folder of PEFT, a safetensors file, or a folder with one such file. With
    /// `modules`, the linear layers of the model, every name in a file must be that of one of them, in diffusers'
    /// transformer or in the original files, and have its sizes; without, that of a layer of Qwen-Image or Wan. Folders
    /// of PEFT are fitted by [`Adapter::fit`](crate::Adapter::fit), whatever the model.
    ///
    /// What is wrong with tensors and names is told by [`AdapterFile::faults`].
    ///
    /// # Errors
    /// As [`AdapterFile::open`]; [`LoraError::Adapter`] for a folder of several files, for weights of PEFT without their
    /// settings, and for a file without factors.
    pub fn open_any(
        path: impl AsRef<Path>,
        modules: Option<&[LinearInfo]>,
    ) -> Result<Self, LoraError> {
        let path = path.as_ref();
        match locate(path)? {
            Place::Folder(dir) => Self::open(dir)?.with_diffusers_names(),
            Place::File(file) => Reading::new(file, modules)?.finish(),
        }
    }

    /// What the adapter's file says about where it comes from.
    pub fn header(&self) -> AdapterHeader {
        let header = AdapterHeader::from_metadata(self.source.metadata());
        AdapterHeader {
            base_model: self.base_model.clone().or(header.base_model),
            ..header
        }
    }

    /// A folder of PEFT on the original model of Wan, by diffusers' names.
    fn with_diffusers_names(mut self) -> Result<Self, LoraError> {
        let Some(family) = DiffusionFamily::of(self.paths()) else {
            return Ok(self);
        };
        let mut renamed = BTreeMap::<String, (String, Pair)>::new();
        for (old, pair) in std::mem::take(&mut self.pairs) {
            let new = family.diffusers(&old).unwrap_or_else(|| old.clone());
            if let Some((other, _)) = renamed.get(&new) {
                let message = format!("modules `{other}` and `{old}` are the same layer, `{new}`");
                self.strangers.push(message);
                continue;
            }
            renamed.insert(new, (old, pair));
        }
        if renamed.iter().any(|(new, (old, _))| new != old) {
            let names = renamed.iter().map(|(new, (old, _))| (new, old));
            self.config = crate::fit::explicit(&self.config, names)?;
            self.rules = self.config.rules("adapter settings")?;
        }
        let pairs = renamed.into_iter().map(|(path, (_, pair))| (path, pair));
        self.pairs = pairs.collect();
        Ok(self)
    }
}

/// Where an adapter is.
enum Place {
    /// A folder of PEFT.
    Folder(PathBuf),
    /// A safetensors file.
    File(PathBuf),
}

fn locate(path: &Path) -> Result<Place, LoraError> {
    if path.is_dir() {
        return locate_in(path);
    }
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let folder = || Ok(Place::Folder(parent.to_owned()));
    match path.file_name().and_then(|name| name.to_str()) {
        Some(CONFIG_FILE) => folder(),
        Some(WEIGHTS_FILE) if parent.join(CONFIG_FILE).is_file() => folder(),
        Some(WEIGHTS_FILE) if path.is_file() => Err(LoraError::adapter(
            path,
            format!(
                "holds the weights of a PEFT adapter, whose ranks and scales stand in {CONFIG_FILE}; put that beside it"
            ),
        )),
        _ if path.extension().is_some() => Ok(Place::File(path.to_owned())),
        // What it says of a path where nothing is names what was expected there.
        _ => Ok(Place::Folder(path.to_owned())),
    }
}

fn locate_in(dir: &Path) -> Result<Place, LoraError> {
    if dir.join(CONFIG_FILE).exists() {
        return Ok(Place::Folder(dir.to_owned()));
    }
    let theirs = dir.join(DIFFUSERS_FILE);
    if theirs.is_file() {
        return Ok(Place::File(theirs));
    }
    let entries = std::fs::read_dir(dir).map_err(|e| NnError::io(dir, e))?;
    let mut files: Vec<PathBuf> = entries
        .take(MAX_FILES)
        .flatten()
        .map(|entry| entry.path())
        .filter(|file| file.extension().is_some_and(|end| end == "safetensors") && file.is_file())
        .collect();
    files.sort();
    match files.as_slice() {
        [] => Ok(Place::Folder(dir.to_owned())),
        [file] => locate(file),
        [first, second, ..] => {
            let name = |file: &Path| file.file_name().map(|n| n.to_string_lossy().into_owned());
            let message = format!(
                "holds {} safetensors files ({}, {}, ...) and no {CONFIG_FILE}; name the one to read",
                files.len(),
                name(first).unwrap_or_default(),
                name(second).unwrap_or_default(),
            );
            Err(LoraError::adapter(dir, message))
        }
    }
}
