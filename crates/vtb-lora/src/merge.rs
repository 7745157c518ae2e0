//! A base checkpoint with an adapter added in, one tensor at a time.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData};
use vtb_nn::NnError;
use vtb_nn::checkpoint::{MemorySource, TensorInfo, TensorSource};

use crate::fit::{check_sizes, layers_of};
use crate::stack_files::{StackSides, stacks_of};
use crate::{AdapterFile, LinearInfo, LoraError};

/// Values of a weight that are merged at a time: 16 MiB in f32.
const BLOCK: usize = 4 << 20;

/// The tensors of `base` under their own names, those of adapted layers and stacks of experts with `scaling·B·A` added:
/// in f32, rounded once to the type that is stored.
///
/// Nothing is computed before a tensor is asked for. A tensor is then held twice, as stored before and after, with some
/// blocks of 16 MiB in f32 and its two factors: what a merge needs in memory is set by the largest tensor, whatever the
/// model.
pub struct MergedSource<'a> {
    base: &'a dyn TensorSource,
    adapter: &'a AdapterFile,
    /// What is added to every weight that changes.
    changes: BTreeMap<String, Change>,
    dtype: Option<DType>,
    device: Device,
}

/// Factors of the adapter for one weight.
struct Change {
    /// Their path in the adapter.
    path: String,
    /// How they lie on a stack of experts; none for a matrix.
    stack: Option<StackSides>,
    /// What their product is multiplied by.
    scaling: f32,
}

impl<'a> MergedSource<'a> {
    /// Fits `adapter` to `base`: names and sizes are checked for every layer here, values when they are loaded. Float
    /// tensors are stored as `dtype`, or as the base stores them. Products run on `device`.
    ///
    /// # Errors
    /// The first of [`AdapterFile::faults`]; [`LoraError::Adapter`] for a layer or stack of experts that the base does
    /// not have, and for a stack of square matrices, [`LoraError::Nn`] for other sizes.
    pub fn new(
        base: &'a dyn TensorSource,
        adapter: &'a AdapterFile,
        dtype: Option<DType>,
        device: &Device,
    ) -> Result<Self, LoraError> {
        if let Some(fault) = adapter.faults().into_iter().next() {
            return Err(fault);
        }
        let mut changes = BTreeMap::new();
        for found in stacks_of(adapter, base)? {
            let change = Change {
                scaling: adapter.rules().scaling(&found.stack)? as f32,
                path: found.wrapper,
                stack: Some(found.sides),
            };
            changes.insert(found.stack, change);
        }
        let linears = LinearInfo::of_checkpoint(base);
        let paths = adapter.paths().filter(|path| !adapter.is_stack(path));
        for (path, linear) in layers_of(paths, &linears, adapter.dir())? {
            let shapes = adapter
                .stored(&path)
                .map(|factor| factor.map(|(_, shape)| shape).unwrap_or_default());
            check_sizes(&path, &shapes, linear, adapter.dir())?;
            let change = Change {
                scaling: adapter.rules().scaling(&path)? as f32,
                path,
                stack: None,
            };
            changes.insert(format!("{}.weight", linear.path), change);
        }
        Ok(Self {
            base,
            adapter,
            changes,
            dtype,
            device: device.clone(),
        })
    }

    /// Names of the tensors that differ from the base.
    pub fn changed(&self) -> impl Iterator<Item = &str> {
        self.changes.keys().map(String::as_str)
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

    fn add(&self, name: &str, change: &Change, to: DType) -> Result<TensorData, NnError> {
        let stored = self.base.load(name)?;
        let factors = self.adapter.factors(&change.path)?;
        let read = |data| Tensor::<2>::from_data(data, (&self.device, DType::F32));
        let (a, b) = (read(factors.a), read(factors.b));
        let products = match &change.stack {
            None => vec![(b, a)],
            Some(sides) => sides.products(a, b),
        };
        let merged = add_products(&stored, &products, change.scaling, to)?;
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
        match self.changes.get(name) {
            Some(change) => self.add(name, change, info.dtype),
            None => self.base.load_as(name, info.dtype),
        }
    }

    fn names(&self) -> Vec<String> {
        self.base.names()
    }
}

impl LinearInfo {
    /// The linear layers of a checkpoint: its matrices called `weight`, but for tables that are looked up in.
    pub fn of_checkpoint(base: &dyn TensorSource) -> Vec<Self> {
        let tables = ["embed_tokens", "pos_embed"];
        let layer = |name: String| {
            let path = name.strip_suffix(".weight")?;
            let [outputs, inputs] = *base.info(&name)?.shape.as_slice() else {
                return None;
            };
            let last = path.rsplit('.').next().unwrap_or(path);
            (!tables.contains(&last)).then(|| Self {
                path: path.to_owned(),
                in_features: inputs,
                out_features: outputs,
                is_head: last == "lm_head",
            })
        };
        base.names().into_iter().filter_map(layer).collect()
    }
}

/// `stored + scaling·left·right` as `to`, matrix by matrix along the axes before the last two; `None` if a value is not
/// finite.
fn add_products(
    stored: &TensorData,
    products: &[(Tensor<2>, Tensor<2>)],
    scaling: f32,
    to: DType,
) -> Result<Option<TensorData>, NnError> {
    let mut merged = Vec::with_capacity(stored.num_elements() * to.size());
    let mut rest = stored.as_bytes();
    for (left, right) in products {
        let ([rows, rank], columns) = (left.dims(), right.dims()[1]);
        let step = (BLOCK / columns.max(1)).max(1);
        for start in (0..rows).step_by(step) {
            let end = rows.min(start + step);
            let part = left.clone().slice([start..end, 0..rank]);
            let delta = part.matmul(right.clone()).into_data();
            let (bytes, tail) = rest.split_at((end - start) * columns * stored.dtype().size());
            rest = tail;
            let size = [end - start, columns];
            let base = TensorData::from_bytes_vec(bytes.to_vec(), size, stored.dtype());
            let Some(block) = add_block(base, &delta, scaling, to)? else {
                return Ok(None);
            };
            merged.extend_from_slice(block.as_bytes());
        }
    }
    let shape = stored.shape().to_vec();
    Ok(Some(TensorData::from_bytes_vec(merged, shape, to)))
}

/// `base + scaling·delta` as `to`; `None` if a value is not finite.
fn add_block(
    base: TensorData,
    delta: &TensorData,
    scaling: f32,
    to: DType,
) -> Result<Option<TensorData>, NnError> {
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
    match finite && rounded.iter::<f32>().all(f32::is_finite) {
        true => Ok(Some(cast(block, to)?)),
        false => Ok(None),
    }
}

/// Converted as checkpoints are: in parallel, rounding to nearest.
pub(crate) fn cast(data: TensorData, to: DType) -> Result<TensorData, NnError> {
    const NAME: &str = "block";
    if data.dtype() == to {
        return Ok(data);
    }
    let one = BTreeMap::from([(NAME.to_owned(), data)]);
    MemorySource::new("a block of a weight", one).load_as(NAME, to)
}
