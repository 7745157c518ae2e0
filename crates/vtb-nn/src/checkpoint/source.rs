//! Named host tensors, produced one at a time.

use std::collections::BTreeMap;

use burn::tensor::{DType, Device, Tensor, TensorData};

use super::cast::cast;
use crate::NnError;

/// What a tensor is, without its values.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Type of the stored elements.
    pub dtype: DType,
    /// Row-major shape.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// Stored bytes.
    pub fn byte_len(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.dtype.size() as u64
    }
}

/// Named tensors on the host: a checkpoint, a model about to be saved, or plain data.
///
/// Names are unique. [`TensorSource::info`] answers for every name of [`TensorSource::names`], and
/// [`TensorSource::load`] returns exactly that type and shape.
pub trait TensorSource {
    /// Where the tensors come from, for messages.
    fn origin(&self) -> String;

    /// Type and shape of a tensor; `None` if there is none of that name.
    fn info(&self, name: &str) -> Option<TensorInfo>;

    /// The tensor as stored. [`NnError::Missing`] if there is none of that name.
    fn load(&self, name: &str) -> Result<TensorData, NnError>;

    /// All names, sorted.
    fn names(&self) -> Vec<String>;

    /// The tensor converted to `dtype`: floats among each other (round to nearest, ties to even), other types only
    /// to themselves ([`NnError::Input`] otherwise).
    fn load_as(&self, name: &str, dtype: DType) -> Result<TensorData, NnError> {
        let data = self.load(name)?;
        if data.dtype() == dtype {
            return Ok(data);
        }
        cast(
            data.as_bytes(),
            data.dtype(),
            dtype,
            data.shape().as_slice(),
        )
        .ok_or_else(|| no_cast(name, &self.origin(), data.dtype(), dtype))
    }
}

pub(super) fn no_cast(name: &str, origin: &str, from: DType, to: DType) -> NnError {
    NnError::input(format!(
        "tensor `{name}` in {origin} holds {from:?} and cannot be read as {to:?}"
    ))
}

/// Loads a float tensor of rank `D` onto a device, converted to `dtype`.
///
/// # Errors
/// [`NnError::Missing`], [`NnError::Input`] for another rank or an integer tensor, or what the source says.
pub fn load_tensor<const D: usize>(
    source: &dyn TensorSource,
    name: &str,
    dtype: DType,
    device: &Device,
) -> Result<Tensor<D>, NnError> {
    let info = source.info(name).ok_or_else(|| NnError::Missing {
        name: name.to_owned(),
        origin: source.origin(),
    })?;
    if info.shape.len() != D {
        return Err(NnError::input(format!(
            "tensor `{name}` in {} has shape {:?}, a tensor with {D} axes is needed",
            source.origin(),
            info.shape
        )));
    }
    if !dtype.is_float() {
        return Err(no_cast(name, &source.origin(), info.dtype, dtype));
    }
    Ok(Tensor::from_data(
        source.load_as(name, dtype)?,
        (device, dtype),
    ))
}

/// Tensors held in memory.
#[derive(Debug, Clone, Default)]
pub struct MemorySource {
    origin: String,
    tensors: BTreeMap<String, TensorData>,
}

impl MemorySource {
    /// `origin` names the tensors in messages.
    pub fn new(origin: impl Into<String>, tensors: BTreeMap<String, TensorData>) -> Self {
        Self {
            origin: origin.into(),
            tensors,
        }
    }
}

impl TensorSource for MemorySource {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.tensors.get(name).map(|data| TensorInfo {
            dtype: data.dtype(),
            shape: data.shape().to_vec(),
        })
    }

    fn load(&self, name: &str) -> Result<TensorData, NnError> {
        self.tensors
            .get(name)
            .cloned()
            .ok_or_else(|| NnError::Missing {
                name: name.to_owned(),
                origin: self.origin(),
            })
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source() -> MemorySource {
        let w = TensorData::new(vec![1.0f32, -2.0, 0.5, 3.0], [2, 2]);
        let ids = TensorData::new(vec![1i64, 2], [2]);
        MemorySource::new(
            "memory",
            BTreeMap::from([("w".into(), w), ("ids".into(), ids)]),
        )
    }

    #[test]
    fn loads_on_a_device_in_the_asked_type() {
        let device = Device::flex();
        let w: Tensor<2> = load_tensor(&source(), "w", DType::BF16, &device).expect("loads");
        assert_eq!(w.dtype(), DType::BF16);
        let values = w.into_data().try_cast(DType::F32).expect("cast");
        assert_eq!(
            values.as_slice::<f32>().expect("f32"),
            [1.0, -2.0, 0.5, 3.0]
        );
    }

    #[test]
    fn refuses_unknown_names_ranks_and_types() {
        let device = Device::flex();
        let missing = load_tensor::<2>(&source(), "v", DType::F32, &device).expect_err("absent");
        assert!(matches!(missing, NnError::Missing { ref name, .. } if name == "v"));
        let rank = load_tensor::<1>(&source(), "w", DType::F32, &device).expect_err("rank");
        assert!(rank.to_string().contains("`w`"), "{rank}");
        let int = load_tensor::<1>(&source(), "ids", DType::F32, &device).expect_err("integer");
        assert!(int.to_string().contains("I64"), "{int}");
    }
}
