//! What an adapter is, and what is wrong with it, without its base model.

use std::collections::BTreeMap;
use std::fmt;

use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::Serialize;

use crate::stack_files::parameter_of;
use crate::targets::{short_name, thousands};
use crate::{AdapterFile, DiffusionFamily, Factors, LoraError, ModuleFilter, NameLayout};

/// Layers of one name with one rank and alpha.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeltaGroup {
    /// `decoder`, `vision`, `dit` (the transformer of a diffusion model) or `other`.
    pub part: &'static str,
    /// Last word of the layers' paths, such as `q_proj`; in a diffusion model, what they are called within a block.
    pub module: String,
    /// How many layers.
    pub layers: usize,
    /// Rank of their factors.
    pub rank: usize,
    /// Numerator of their scale.
    pub alpha: f64,
    /// What B·A is multiplied by.
    pub scale: f64,
    /// Elements of their factors.
    pub parameters: u64,
    /// Types of their factors in the file.
    pub dtype: String,
    /// Mean over the layers of the Frobenius norm of `scale·B·A`.
    pub norm_mean: f64,
    /// Largest of these norms.
    pub norm_max: f64,
    /// Path of the layer that has it.
    pub largest: String,
    /// Layers whose delta is zero: not trained, or B as it started.
    pub zero: usize,
}

/// The report; its [`Display`](fmt::Display) is a table for people.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AdapterReport {
    /// The form of its files: `peft`, `diffusers`, `comfyui`, `kohya` or `diffsynth`.
    pub format: &'static str,
    /// The base model the adapter names.
    pub base_model: Option<String>,
    /// Rank where no pattern says another.
    pub r: usize,
    /// Alpha where no pattern says another.
    pub alpha: f64,
    /// Whether the scale is alpha/√r.
    pub use_rslora: bool,
    /// Dropout in training.
    pub dropout: f64,
    /// The targets as the settings give them; a long list of modules by their number.
    pub targets: String,
    /// Other ranks.
    pub rank_pattern: Vec<(String, usize)>,
    /// Other alphas.
    pub alpha_pattern: Vec<(String, f64)>,
    /// How modules are named: `peft`, `peft-legacy`, `qwen-image`, `wan` (both as diffusers has them), or `other`.
    pub names: &'static str,
    /// Adapted layers.
    pub layers: usize,
    /// Elements of all factors.
    pub parameters: u64,
    /// The layers, grouped.
    pub groups: Vec<DeltaGroup>,
    /// Everything that is wrong, a sentence each.
    pub faults: Vec<String>,
}

impl AdapterReport {
    /// Reads every tensor of an adapter. What is wrong with tensors is among [`AdapterReport::faults`]. Products run on
    /// `device`; one layer is in memory at a time.
    ///
    /// # Errors
    /// [`LoraError::Pattern`] for a pattern that cannot be matched.
    pub fn new(file: &AdapterFile, device: &Device) -> Result<Self, LoraError> {
        let config = file.config();
        let family = DiffusionFamily::of(file.paths());
        let mut report = Self {
            format: file.format().name(),
            base_model: file.base_model().map(str::to_owned),
            r: config.r,
            alpha: config.alpha,
            use_rslora: config.use_rslora,
            dropout: config.dropout,
            targets: targets_told(&config.targets),
            rank_pattern: config.rank_pattern.clone(),
            alpha_pattern: config.alpha_pattern.clone(),
            names: names_told(file, family),
            layers: 0,
            parameters: 0,
            groups: Vec::new(),
            faults: file.faults().iter().map(ToString::to_string).collect(),
        };
        let mut groups = BTreeMap::<GroupKey, Vec<Layer>>::new();
        for path in file.paths() {
            // What cannot be read is among the faults already, unless its type is no float.
            let factors = match file.factors(path) {
                Ok(factors) => factors,
                Err(fault) => {
                    let fault = fault.to_string();
                    if !report.faults.contains(&fault) {
                        report.faults.push(fault);
                    }
                    continue;
                }
            };
            let before = report.faults.len();
            report.look_for_strange_numbers(path, &factors);
            let rules = file.rules();
            // Those of a stack go by its own name, not by that of the wrapper around its module.
            let own = file.is_stack(path).then(|| parameter_of(file, path));
            let owner = own.flatten().unwrap_or_else(|| path.to_owned());
            let within = family.and_then(|family| family.within_block(&owner));
            let key = GroupKey {
                part: family.map_or_else(|| part(&owner), |_| "dit"),
                module: within.unwrap_or_else(|| short_name(&owner)).to_owned(),
                rank: rules.rank(&owner)?,
                alpha: rules.alpha(&owner)?.to_string(),
            };
            let rows = factors.a.shape()[0];
            if rows % key.rank > 0 {
                report.faults.push(format!(
                    "tensor `{path}.lora_A.weight` has {rows} rows, no multiple of the rank {} of `{owner}`",
                    key.rank
                ));
            }
            let sound = report.faults.len() == before;
            let scale = rules.scaling(&owner)?;
            let experts = rows / key.rank;
            groups.entry(key).or_default().push(Layer {
                path: owner,
                parameters: (factors.a.num_elements() + factors.b.num_elements()) as u64,
                dtype: dtype_of(file, path),
                norm: sound.then(|| norm(&factors, experts, scale, device)),
            });
        }
        for (key, layers) in groups {
            let group = key.group(&layers, file)?;
            report.layers += group.layers;
            report.parameters += group.parameters;
            report.groups.push(group);
        }
        Ok(report)
    }

    fn look_for_strange_numbers(&mut self, path: &str, factors: &Factors) {
        for (name, data) in [("lora_A", &factors.a), ("lora_B", &factors.b)] {
            let width = data.shape().as_slice().last().copied().unwrap_or(1).max(1);
            let mut strange = data
                .iter::<f32>()
                .enumerate()
                .filter(|(_, value)| !value.is_finite());
            let Some((at, value)) = strange.next() else {
                continue;
            };
            let (count, row, column) = (1 + strange.count(), at / width, at % width);
            self.faults.push(format!(
                "tensor `{path}.{name}.weight` has {count} numbers that are not finite, the first, {value}, in row {row}, \
                 column {column}; take an earlier checkpoint"
            ));
        }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey {
    part: &'static str,
    module: String,
    rank: usize,
    alpha: String,
}

struct Layer {
    path: String,
    parameters: u64,
    dtype: String,
    /// `None` where a number is not finite, or sizes are wrong.
    norm: Option<f64>,
}

impl GroupKey {
    fn group(self, layers: &[Layer], file: &AdapterFile) -> Result<DeltaGroup, LoraError> {
        let first = layers.first().map_or("", |layer| &layer.path);
        let (alpha, scale) = (file.rules().alpha(first)?, file.rules().scaling(first)?);
        let norms: Vec<(f64, &str)> = layers
            .iter()
            .filter_map(|layer| Some((layer.norm?, layer.path.as_str())))
            .collect();
        let (norm_max, largest) = norms
            .iter()
            .copied()
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .unwrap_or((0.0, ""));
        let mut dtypes: Vec<&str> = layers.iter().map(|layer| layer.dtype.as_str()).collect();
        dtypes.sort_unstable();
        dtypes.dedup();
        Ok(DeltaGroup {
            part: self.part,
            module: self.module,
            layers: layers.len(),
            rank: self.rank,
            alpha,
            scale,
            parameters: layers.iter().map(|layer| layer.parameters).sum(),
            dtype: dtypes.join(", "),
            norm_mean: norms.iter().map(|(norm, _)| norm).sum::<f64>() / norms.len().max(1) as f64,
            norm_max,
            largest: largest.to_owned(),
            zero: norms.iter().filter(|(norm, _)| *norm == 0.0).count(),
        })
    }
}

/// A list of every adapted module says no more than their number.
fn targets_told(targets: &ModuleFilter) -> String {
    const LONG: usize = 24;
    match targets {
        ModuleFilter::Names(names) if names.len() > LONG => {
            format!("{} modules by name", names.len())
        }
        targets => targets.to_string(),
    }
}

fn names_told(file: &AdapterFile, family: Option<DiffusionFamily>) -> &'static str {
    match (family, NameLayout::of(file.paths())) {
        (Some(DiffusionFamily::QwenImage), _) => "qwen-image",
        (Some(DiffusionFamily::Wan), _) => "wan",
        (None, Some(NameLayout::Current)) => "peft",
        (None, Some(NameLayout::Legacy)) => "peft-legacy",
        (None, None) => "other",
    }
}

fn part(path: &str) -> &'static str {
    match NameLayout::Legacy.rename(path) {
        Some(name) if name.starts_with("visual.") => "vision",
        Some(_) => "decoder",
        None => "other",
    }
}

fn dtype_of(file: &AdapterFile, path: &str) -> String {
    let name = |stored: Option<(DType, Vec<usize>)>| {
        stored.map_or(String::new(), |(dtype, _)| {
            format!("{dtype:?}").to_lowercase()
        })
    };
    let [a, b] = file.stored(path).map(name);
    match a == b {
        true => a,
        false => format!("{a}/{b}"),
    }
}

/// `‖scale·B·A‖` (Frobenius) over all experts, one for a plain layer, from two `[r, r]` products each: the square is the
/// sum over `(BᵀB) ⊙ (A·Aᵀ)`. Of a rank beyond the layer's sizes, which a file may claim, it is taken from the product.
fn norm(factors: &Factors, experts: usize, scale: f64, device: &Device) -> f64 {
    let tensor = |data: &TensorData| Tensor::<2>::from_data(data.clone(), (device, DType::F32));
    let (a, b) = (tensor(&factors.a), tensor(&factors.b));
    let ([rows, inputs], [outputs, _]) = (a.dims(), b.dims());
    if experts == 1 && outputs * inputs < rows * rows {
        let product = b.matmul(a).into_data();
        return scale * product.iter::<f64>().map(|x| x * x).sum::<f64>().sqrt();
    }
    let a = a.reshape([experts, rows / experts, inputs]);
    let b = b
        .reshape([outputs, rows / experts, experts])
        .permute([2, 0, 1]);
    let (ga, gb) = (
        a.clone().matmul(a.swap_dims(1, 2)),
        b.clone().swap_dims(1, 2).matmul(b),
    );
    let [ga, gb] = [ga, gb].map(|g| g.into_data().iter::<f64>().collect::<Vec<_>>());
    let square: f64 = ga.iter().zip(&gb).map(|(x, y)| x * y).sum();
    scale * square.max(0.0).sqrt()
}

impl fmt::Display for AdapterReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &str, value: &dyn fmt::Display| {
            writeln!(f, "{name:<15} {value}")
        };
        let base = self.base_model.as_deref().unwrap_or("not named");
        line(f, "form", &self.format)?;
        line(f, "base model", &base)?;
        line(f, "rank, alpha", &format!("{}, {}", self.r, self.alpha))?;
        let scale = match self.use_rslora {
            true => "alpha/√r (rsLoRA)",
            false => "alpha/r",
        };
        line(f, "scale", &scale)?;
        line(f, "dropout", &self.dropout)?;
        line(f, "targets", &self.targets)?;
        for (pattern, rank) in &self.rank_pattern {
            line(f, "rank pattern", &format!("{pattern} = {rank}"))?;
        }
        for (pattern, alpha) in &self.alpha_pattern {
            line(f, "alpha pattern", &format!("{pattern} = {alpha}"))?;
        }
        line(f, "names", &self.names)?;
        line(f, "layers", &self.layers)?;
        line(f, "parameters", &thousands(self.parameters))?;
        let width = self.groups.iter().map(|g| g.module.len()).max();
        let width = width.unwrap_or(0).max(6);
        write!(
            f,
            "\n  part     {:width$}  layers  rank  alpha   scale    parameters  type  |delta| mean         max  zero",
            "module"
        )?;
        for g in &self.groups {
            write!(
                f,
                "\n  {:<7}  {:width$}  {:>6}  {:>4}  {:>5}  {:>6.4}  {:>12}  {:>4}  {:>12.4e}  {:>10.4e}  {:>4}",
                g.part,
                g.module,
                g.layers,
                g.rank,
                g.alpha,
                g.scale,
                thousands(g.parameters),
                g.dtype,
                g.norm_mean,
                g.norm_max,
                g.zero
            )?;
        }
        for fault in &self.faults {
            write!(f, "\nfault: {fault}")?;
        }
        Ok(())
    }
}
