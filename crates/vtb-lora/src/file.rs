//! An adapter, opened but not loaded: settings and the names, types and shapes of its tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::tensor::DType;
use vtb_nn::NnError;
use vtb_nn::checkpoint::{Checkpoint, TensorSource, read_bounded};

use crate::formats::partner;
use crate::peft::{CONFIG_FILE, PREFIX, WEIGHTS_FILE, read_pair};
use crate::{Adapter, AdapterFormat, Factors, LoraConfig, LoraError, RankRules};

/// Settings list module names at most; this is room for a hundred thousand.
const MAX_CONFIG: u64 = 16 << 20;

/// The names of both factors of a layer, A first.
pub(crate) type Pair = [Option<String>; 2];

/// An open adapter. Values are read from the mapped file when a layer is asked for, so that what is held in memory is
/// one layer's factors at a time.
///
/// What its tensors are is told by [`AdapterFile::faults`]; opening looks at the settings and the file's header only.
#[derive(Debug)]
pub struct AdapterFile {
    /// The directory, or the file where there is but one.
    pub(crate) dir: PathBuf,
    /// The file with the tensors.
    pub(crate) weights: PathBuf,
    pub(crate) format: AdapterFormat,
    pub(crate) config: LoraConfig,
    pub(crate) base_model: Option<String>,
    pub(crate) rules: RankRules,
    pub(crate) source: Checkpoint,
    pub(crate) pairs: BTreeMap<String, Pair>,
    /// Tensors that are no factors, factors that are there twice, and what else is wrong with the file.
    pub(crate) strangers: Vec<String>,
}

impl AdapterFile {
    /// Opens an adapter directory of peft; see [`AdapterFile::open_any`] for other forms.
    ///
    /// # Errors
    /// [`LoraError::Config`] and [`LoraError::Pattern`] for the settings, [`LoraError::Nn`] for absent or damaged
    /// files, [`LoraError::Adapter`] for pickled weights and a file without tensors.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, LoraError> {
        let dir = dir.as_ref().to_owned();
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
        let (mut pairs, mut strangers) = (BTreeMap::<String, Pair>::new(), Vec::new());
        for name in source.names() {
            let Some((path, which)) = parse_name(&name) else {
                strangers.push(format!(
                    "tensor `{name}` is no factor of a LoRA on a linear layer"
                ));
                continue;
            };
            let slot = &mut pairs.entry(path.to_owned()).or_default()[which];
            if let Some(other) = slot.replace(name.clone()) {
                strangers.push(format!(
                    "tensors `{other}` and `{name}` are the same factor"
                ));
            }
        }
        if pairs.is_empty() && strangers.is_empty() {
            return Err(LoraError::adapter(
                weights,
                "holds no tensors; was the adapter saved before it was made?",
            ));
        }
        Ok(Self {
            dir,
            weights,
            format: AdapterFormat::Peft,
            config,
            base_model,
            rules,
            source,
            pairs,
            strangers,
        })
    }

    /// The directory, or the file where there is but one.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The form it is in.
    pub fn format(&self) -> AdapterFormat {
        self.format
    }

    /// Reads all of it. Factors of any float type become f32.
    ///
    /// # Errors
    /// The first of [`AdapterFile::faults`].
    pub fn read(&self) -> Result<Adapter, LoraError> {
        if let Some(fault) = self.faults().into_iter().next() {
            return Err(fault);
        }
        let factors = self
            .paths()
            .map(|path| Ok((path.to_owned(), self.factors(path)?)))
            .collect::<Result<_, LoraError>>()?;
        Ok(Adapter {
            config: self.config.clone(),
            base_model: self.base_model.clone(),
            factors,
        })
    }

    /// Its settings.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Rank, alpha and scaling of its layers.
    pub fn rules(&self) -> &RankRules {
        &self.rules
    }

    /// The base model it names.
    pub fn base_model(&self) -> Option<&str> {
        self.base_model.as_deref()
    }

    /// Paths of the adapted layers, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.pairs.keys().map(String::as_str)
    }

    /// Type and shapes of both factors, as far as they are there.
    pub fn stored(&self, path: &str) -> [Option<(DType, Vec<usize>)>; 2] {
        let of = |which: usize| {
            let name = self.pairs.get(path)?[which].as_deref()?;
            let info = self.source.info(name)?;
            Some((info.dtype, info.shape))
        };
        [of(0), of(1)]
    }

    /// Everything that is wrong with names and shapes, each naming its tensor; none for an adapter that
    /// [`read_adapter`](crate::read_adapter) accepts. Values are not looked at.
    pub fn faults(&self) -> Vec<LoraError> {
        let strangers = self
            .strangers
            .iter()
            .map(|message| LoraError::adapter(&self.weights, message));
        let layers = self.paths().filter_map(|path| self.check(path).err());
        strangers.chain(layers).collect()
    }

    /// Both factors of the layer at `path`, in f32.
    ///
    /// # Errors
    /// [`LoraError::Nn`] for a missing factor, or one of another rank than the settings give.
    pub fn factors(&self, path: &str) -> Result<Factors, LoraError> {
        let names = self.names(path)?;
        read_pair(&self.source, names, self.rank(path)?)
    }

    fn check(&self, path: &str) -> Result<(), LoraError> {
        let names = self.names(path)?;
        crate::peft::check_pair(&self.source, names, self.rank(path)?)
    }

    /// The rank that the settings give a layer; none for stacks of experts, whose factors have a rank for each expert.
    fn rank(&self, path: &str) -> Result<Option<usize>, LoraError> {
        match self.is_stack(path) {
            true => Ok(None),
            false => Ok(Some(self.rules.rank(path)?)),
        }
    }

    /// Whether `path` stands for a stack of experts; see [`Stacked`](crate::Stacked).
    pub fn is_stack(&self, path: &str) -> bool {
        crate::peft::is_wrapper(path, &self.config)
    }

    /// The tensor names of both factors.
    fn names(&self, path: &str) -> Result<[&str; 2], LoraError> {
        let missing = |name: String| NnError::Missing {
            name,
            origin: self.weights.display().to_string(),
        };
        match self.pairs.get(path) {
            Some([Some(a), Some(b)]) => Ok([a, b]),
            Some([None, Some(one)] | [Some(one), None]) => Err(missing(partner(one)).into()),
            Some([None, None]) | None => Err(missing(path.to_owned()).into()),
        }
    }
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
