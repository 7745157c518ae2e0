//! A base checkpoint with an adapter added in, one tensor at a time.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use vtb_nn::NnError;
use vtb_nn::checkpoint::{MemorySource, TensorInfo, TensorSource};

use crate::fit::{check_sizes, layers_of};
use crate::{AdapterFile, Factors, LinearInfo, LoraError};

/// Values of a weight that are merged at a time: 16 MiB in f32.
const BLOCK: usize = 4 << 20;

/// The tensors of `base` under their own names, those of adapted layers with `scaling·B·A` added: in f32, rounded once
/// to the type that is stored.
///
/// Nothing is computed before a tensor is asked for. A tensor is then held twice, as stored before and after, with some
/// blocks of 16 MiB in f32 and its two factors: what a merge needs in memory is set by the largest tensor, whatever the
/// model.
pub struct MergedSource<'a> {
    base: &'a dyn TensorSource,
    adapter: &'a AdapterFile,
    /// Path in the adapter of every weight that changes.
    layers: BTreeMap<String, String>,
    dtype: Option<DType>,
    device: Device,
}

impl<'a> MergedSource<'a> {
    /// Fits `adapter` to `base`: names and sizes are checked for every layer here, values when they are loaded. Float
    /// tensors are stored as `dtype`, or as the base stores them. Products run on `device`.
    ///
    /// # Errors
    /// The first of [`AdapterFile::faults`]; [`LoraError::Adapter`] for a layer that the base does not have or a stack of
    /// experts,
    /// [`LoraError::Nn`] for other sizes.
    pub fn new(
        base: &'a dyn TensorSource,
        adapter: &'a AdapterFile,
        dtype: Option<DType>,
        device: &Device,
    ) -> Result<Self, LoraError> {
        if let Some(fault) = adapter.faults().into_iter().next() {
            return Err(fault);
        }
        if let Some(path) = adapter.paths().find(|path| adapter.is_stack(path)) {
            return Err(LoraError::adapter(
                adapter.dir(),
                format!(
                    "adapts the stack of experts `{path}`, which is not merged file by file; load the model with the \
                     adapter and merge it there (`AnyVlm::merge_adapter`)"
                ),
            ));
        }
        let linears = linear_layers(base);
        let mut layers = BTreeMap::new();
        for (path, linear) in layers_of(adapter.paths(), &linears, adapter.dir())? {
            let shapes = adapter
                .stored(&path)
                .map(|factor| factor.map(|(_, shape)| shape).unwrap_or_default());
            check_sizes(&path, &shapes, linear, adapter.dir())?;
            layers.insert(format!("{}.weight", linear.path), path);
        }
        Ok(Self {
            base,
            adapter,
            layers,
            dtype,
            device: device.clone(),
        })
    }

    /// Names of the tensors that differ from the base.
    pub fn changed(&self) -> impl Iterator<Item = &str> {
        self.layers.keys().map(String::as_str)
    }

    /// Stored bytes of all tensors.
    pub fn byte_len(&self) -> u64 {
        let names = self.names();
        names
            .iter()
            .filter_map(|name| self.info(name))
            .map(|info| info.byte_len())
            .sum()
    }

    fn add(&self, name: &str, path: &str, to: DType) -> Result<TensorData, NnError> {
        let stored = self.base.load(name)?;
        let factors = self.adapter.factors(path)?;
        let scaling = self.adapter.rules().scaling(path)? as f32;
        let merged = add_delta(&stored, &factors, scaling, to, &self.device)?;
        merged.ok_or_else(|| {
            NnError::input(format!(
                "tensor `{name}` is no longer finite as {to:?} with the adapter added; `adapter inspect` tells whether \
                 the adapter is at fault, else choose a type of wider range"
            ))
        })
    }
}

impl TensorSource for MergedSource<'_> {
    fn origin(&self) -> String {
        let adapter: &Path = self.adapter.dir();
        format!("{} with {}", self.base.origin(), adapter.display())
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let mut info = self.base.info(name)?;
        info.dtype = self
            .dtype
            .filter(|_| info.dtype.is_float())
            .unwrap_or(info.dtype);
        Some(info)
    }

    fn load(&self, name: &str) -> Result<TensorData, NnError> {
        let info = self.info(name).ok_or_else(|| NnError::Missing {
            name: name.to_owned(),
            origin: self.origin(),
        })?;
        match self.layers.get(name) {
            Some(path) => self.add(name, path, info.dtype),
            None => self.base.load_as(name, info.dtype),
        }
    }

    fn names(&self) -> Vec<String> {
        self.base.names()
    }
}

/// The linear layers of a checkpoint: its matrices called `weight`, but for tables that are looked up in.
fn linear_layers(base: &dyn TensorSource) -> Vec<LinearInfo> {
    let tables = ["embed_tokens", "pos_embed"];
    let layer = |name: String| {
        let path = name.strip_suffix(".weight")?;
        let [outputs, inputs] = *base.info(&name)?.shape.as_slice() else {
            return None;
        };
        let last = path.rsplit('.').next().unwrap_or(path);
        (!tables.contains(&last)).then(|| LinearInfo {
            path: path.to_owned(),
            in_features: inputs,
            out_features: outputs,
            is_head: last == "lm_head",
        })
    };
    base.names().into_iter().filter_map(layer).collect()
}

/// `stored + scaling·B·A` as `to`; `None` if a value is not finite.
fn add_delta(
    stored: &TensorData,
    factors: &Factors,
    scaling: f32,
    to: DType,
    device: &Device,
) -> Result<Option<TensorData>, NnError> {
    let (from, shape) = (stored.dtype(), stored.shape());
    let ([outputs, inputs], rank) = ([shape[0], shape[1]], factors.a.shape()[0]);
    let a = Tensor::<2>::from_data(factors.a.clone(), (device, DType::F32));
    let b = Tensor::<2>::from_data(factors.b.clone(), (device, DType::F32));
    let rows = (BLOCK / inputs.max(1)).max(1);
    let mut merged = Vec::with_capacity(outputs * inputs * to.size());
    for start in (0..outputs).step_by(rows) {
        let end = outputs.min(start + rows);
        let size = [end - start, inputs];
        let delta = b
            .clone()
            .slice([start..end, 0..rank])
            .matmul(a.clone())
            .into_data();
        let bytes = &stored.as_bytes()[start * inputs * from.size()..end * inputs * from.size()];
        let base = TensorData::from_bytes_vec(bytes.to_vec(), size, from);
        let mut block = cast(base, DType::F32)?;
        let (Ok(values), Ok(delta)) = (block.as_mut_slice::<f32>(), delta.as_slice::<f32>()) else {
            return Err(NnError::input("a product is not in f32"));
        };
        let (mut largest, mut finite) = (0.0f32, true);
        for (value, delta) in values.iter_mut().zip(delta) {
            *value += scaling * delta;
            largest = largest.max(value.abs());
            finite &= value.is_finite();
        }
        // What the largest becomes tells whether any overflows.
        let rounded = cast(TensorData::new(vec![largest], [1]), to)?;
        if !(finite && rounded.iter::<f32>().all(f32::is_finite)) {
            return Ok(None);
        }
        let block = cast(block, to)?;
        merged.extend_from_slice(block.as_bytes());
    }
    Ok(Some(TensorData::from_bytes_vec(merged, shape.to_vec(), to)))
}

/// Converted as checkpoints are: in parallel, rounding to nearest.
fn cast(data: TensorData, to: DType) -> Result<TensorData, NnError> {
    const NAME: &str = "block";
    if data.dtype() == to {
        return Ok(data);
    }
    let one = BTreeMap::from([(NAME.to_owned(), data)]);
    MemorySource::new("a block of a weight", one).load_as(NAME, to)
}
