//! A file of tensors on its way to an adapter.

use std::collections::BTreeMap;
use std::path::PathBuf;

use vtb_nn::checkpoint::{Checkpoint, TensorSource};

use super::header::DIFFUSERS_SETTINGS;
use super::keys::{Key, Part, why_refused};
use super::layers::Layers;
use super::settings::settings_of;
use super::{AdapterFormat, diffusers};
use crate::config::MAX_RANK;
use crate::file::Pair;
use crate::{AdapterFile, LinearInfo, LoraConfig, LoraError, ModuleFilter};

/// Adapted layers of a file; published models have fewer than a thousand.
const MAX_LAYERS: usize = 4096;
/// Tensors that belong to no layer are named up to this many.
const MAX_NAMED: usize = 8;

/// The tensors of a file, sorted by layer.
pub(super) struct Reading<'m> {
    path: PathBuf,
    source: Checkpoint,
    format: AdapterFormat,
    layers: Layers<'m>,
    pairs: BTreeMap<String, Pair>,
    /// Names of the alphas that are stored.
    alphas: BTreeMap<String, String>,
    /// A tensor whose layer is called otherwise in diffusers.
    translated: Option<String>,
    strangers: Vec<String>,
}

impl<'m> Reading<'m> {
    /// Opens the file at `path`, which may be of any form but PEFT's folder.
    ///
    /// # Errors
    /// [`LoraError::Nn`] for an absent or damaged file, [`LoraError::Adapter`] for one without factors.
    pub(super) fn new(path: PathBuf, modules: Option<&'m [LinearInfo]>) -> Result<Self, LoraError> {
        let source = Checkpoint::open(&path)?;
        let names = source.names();
        let mut forms = BTreeMap::<AdapterFormat, usize>::new();
        for key in names.iter().filter_map(|name| Key::parse(name)) {
            *forms.entry(key.format).or_default() += 1;
        }
        let Some((format, _)) = forms.iter().max_by_key(|(_, count)| **count) else {
            let message = match names.first() {
                None => "holds no tensors; was the adapter saved before it was made?".to_owned(),
                Some(name) => format!("is no file of a LoRA: {}", why_refused(name)),
            };
            return Err(LoraError::adapter(path, message));
        };
        let mut reading = Self {
            format: *format,
            layers: Layers::new(modules),
            pairs: BTreeMap::new(),
            alphas: BTreeMap::new(),
            translated: None,
            strangers: Vec::new(),
            path,
            source,
        };
        reading.sort(&names);
        Ok(reading)
    }

    /// Finds the layer of every tensor.
    fn sort(&mut self, names: &[String]) {
        let mut unknown = Vec::new();
        for name in names {
            let Some(key) = Key::parse(name) else {
                self.strangers.push(why_refused(name));
                continue;
            };
            if key.format != self.format {
                self.strangers.push(format!(
                    "tensor `{name}` is named as in the form {}, others as in the form {}",
                    key.format, self.format
                ));
                continue;
            }
            match self.layers.find(&key) {
                Ok(path) => self.put(name, &key, path),
                Err(why) => unknown.push(format!("tensor `{name}` {why}")),
            }
        }
        let more = unknown.len().saturating_sub(MAX_NAMED);
        self.strangers.extend(unknown.into_iter().take(MAX_NAMED));
        if more > 0 {
            let message = format!("{more} more tensors belong to no layer either");
            self.strangers.push(message);
        }
    }

    /// Puts a tensor to its layer.
    fn put(&mut self, name: &str, key: &Key<'_>, path: String) {
        if path != key.layer {
            self.translated.get_or_insert_with(|| name.to_owned());
        }
        let before = match key.part {
            Part::A => self.pairs.entry(path).or_default()[0].replace(name.to_owned()),
            Part::B => self.pairs.entry(path).or_default()[1].replace(name.to_owned()),
            Part::Alpha => self.alphas.insert(path, name.to_owned()),
        };
        if let Some(other) = before {
            self.strangers.push(format!(
                "tensors `{other}` and `{name}` are the same of one layer"
            ));
        }
    }

    /// The adapter with its settings; what is wrong is among its faults.
    ///
    /// # Errors
    /// [`LoraError::Config`] and [`LoraError::Pattern`] for settings in the header that cannot be used,
    /// [`LoraError::Adapter`] for more layers than a model has.
    pub(super) fn finish(mut self) -> Result<AdapterFile, LoraError> {
        if self.pairs.len() > MAX_LAYERS {
            let layers = self.pairs.len();
            let message =
                format!("adapts {layers} layers; no model has more than {MAX_LAYERS} of them");
            return Err(LoraError::adapter(self.path, message));
        }
        let paths = self.pairs.keys().map(String::as_str);
        if !self.layers.is_one_model(paths) {
            let message = "has layers of Qwen-Image and of Wan; it must be of one model";
            self.strangers.push(message.to_owned());
        }
        let entries = self.source.metadata();
        let (config, base_model) = match entries.get(DIFFUSERS_SETTINGS) {
            Some(text) if self.format == AdapterFormat::Diffusers => self.settings_told(text)?,
            _ => (self.settings_found()?, None),
        };
        self.check_sizes();
        let rules = config.rules(&self.path.display().to_string())?;
        Ok(AdapterFile {
            base_model: base_model.or_else(|| entries.get("vtb.base_model").cloned()),
            dir: self.path.clone(),
            weights: self.path,
            format: self.format,
            config,
            rules,
            source: self.source,
            pairs: self.pairs,
            strangers: self.strangers,
        })
    }

    /// With a model, every factor must have the sizes of its layer.
    fn check_sizes(&mut self) {
        for (path, names) in &self.pairs {
            let Some(linear) = self.layers.info(path) else {
                continue;
            };
            let sizes = [
                (1, linear.in_features, "inputs"),
                (0, linear.out_features, "outputs"),
            ];
            for (name, (axis, size, what)) in names.iter().zip(sizes) {
                let Some(name) = name else { continue };
                let shape = self.source.info(name).map(|info| info.shape);
                let shape = shape.unwrap_or_default();
                if shape.get(axis) != Some(&size) {
                    self.strangers.push(format!(
                        "tensor `{name}` has the shape {shape:?}, but the layer `{path}` of this model has {size} {what}"
                    ));
                }
            }
        }
    }

    /// The settings in the header. They go by diffusers' names, and say all there is to say of the scale.
    fn settings_told(&mut self, text: &str) -> Result<(LoraConfig, Option<String>), LoraError> {
        let told = diffusers::from_text(
            text,
            &format!("{}: {DIFFUSERS_SETTINGS}", self.path.display()),
        )?;
        for name in self.alphas.values() {
            self.strangers.push(format!(
                "tensor `{name}` gives a scale, and the settings in the header (`{DIFFUSERS_SETTINGS}`) give one; one of \
                 them is too many"
            ));
        }
        if let Some(name) = &self.translated {
            self.strangers.push(format!(
                "tensor `{name}` has another name in diffusers, by whose names the settings in the header \
                 (`{DIFFUSERS_SETTINGS}`) go"
            ));
        }
        Ok(told)
    }

    /// Settings by the tensors: ranks by their sizes, and alphas, which are the ranks where none is stored.
    fn settings_found(&mut self) -> Result<LoraConfig, LoraError> {
        let mut layers = BTreeMap::new();
        let mut faults = Vec::new();
        self.pairs.retain(|path, pair| {
            let rank = rank_of(&self.source, pair).map_err(|why| faults.push(why));
            let Ok(rank) = rank else { return false };
            layers.insert(path.clone(), (rank, rank as f64));
            true
        });
        for (path, name) in &self.alphas {
            match (alpha_of(&self.source, name), layers.get_mut(path)) {
                (Ok(alpha), Some((_, own))) => *own = alpha,
                (Err(why), _) => faults.push(why),
                (Ok(_), None) => faults.push(format!(
                    "tensor `{name}` is the alpha of a layer without sound factors"
                )),
            }
        }
        self.strangers.append(&mut faults);
        if layers.is_empty() {
            // Nothing but faults is left to tell.
            return Ok(LoraConfig {
                targets: ModuleFilter::Names(Vec::new()),
                ..LoraConfig::default()
            });
        }
        settings_of(&layers, &self.path.display().to_string())
    }
}

/// The rank of a layer's factors, by A, or by B where A is missing.
fn rank_of(source: &Checkpoint, pair: &Pair) -> Result<usize, String> {
    let of = |axis: usize| {
        let name = pair[axis].as_deref()?;
        Some((name, source.info(name)?.shape, axis))
    };
    let Some((name, shape, axis)) = of(0).or_else(|| of(1)) else {
        return Err("a layer has no factors".to_owned());
    };
    if shape.len() != 2 {
        return Err(format!(
            "tensor `{name}` has the shape {shape:?} and is no matrix; adapters of convolutions are not supported"
        ));
    }
    match shape[axis] {
        rank if (1..=MAX_RANK).contains(&rank) => Ok(rank),
        rank => Err(format!(
            "tensor `{name}` has the shape {shape:?}, a rank of {rank}, which must lie in 1..={MAX_RANK}"
        )),
    }
}

/// The number in a tensor of one element.
fn alpha_of(source: &Checkpoint, name: &str) -> Result<f64, String> {
    let shape = source.info(name).map(|info| info.shape).unwrap_or_default();
    if shape.iter().any(|size| *size != 1) {
        return Err(format!(
            "tensor `{name}` has the shape {shape:?}, but an alpha is one number"
        ));
    }
    let data = source.load(name).map_err(|e| e.to_string())?;
    let alpha = data.iter::<f64>().next().unwrap_or(f64::NAN);
    match alpha.is_finite() && alpha > 0.0 {
        true => Ok(alpha),
        false => Err(format!(
            "tensor `{name}` is {alpha}, but an alpha is a positive number"
        )),
    }
}
