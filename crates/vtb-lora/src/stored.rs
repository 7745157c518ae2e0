//! Factors on their way to a file.

use std::collections::BTreeMap;

use burn::tensor::{DType, TensorData};
use vtb_nn::NnError;
use vtb_nn::checkpoint::{TensorInfo, TensorSource};

use crate::merge::cast;
use crate::{Factors, LoraError};

/// Factors under the names of a file. Each is scaled and rounded when it is asked for, so that no more than one is held
/// twice.
pub(crate) struct FactorSource<'a> {
    origin: String,
    dtype: DType,
    tensors: BTreeMap<String, Stored<'a>>,
}

enum Stored<'a> {
    Factor {
        data: &'a TensorData,
        layer: &'a str,
        scale: f32,
    },
    Number(f32),
}

impl<'a> FactorSource<'a> {
    /// Nothing yet; factors will be stored as `dtype`. `origin` names the file in messages.
    pub(crate) fn new(origin: String, dtype: DType) -> Self {
        Self {
            origin,
            dtype,
            tensors: BTreeMap::new(),
        }
    }

    /// Adds both factors of a layer under `names`, A first; A is multiplied by `scale`.
    ///
    /// # Errors
    /// A scale that f32 cannot hold.
    pub(crate) fn add(
        &mut self,
        layer: &'a str,
        pair: &'a Factors,
        names: [String; 2],
        scale: f64,
    ) -> Result<(), LoraError> {
        let scale = self.in_f32(layer, scale)?;
        let factors = [(&pair.a, scale), (&pair.b, 1.0)];
        for (name, (data, scale)) in names.into_iter().zip(factors) {
            let factor = Stored::Factor { data, layer, scale };
            self.tensors.insert(name, factor);
        }
        Ok(())
    }

    /// Adds a number, which is stored in f32.
    ///
    /// # Errors
    /// One that f32 cannot hold.
    pub(crate) fn add_number(
        &mut self,
        layer: &str,
        name: String,
        value: f64,
    ) -> Result<(), LoraError> {
        let value = self.in_f32(layer, value)?;
        self.tensors.insert(name, Stored::Number(value));
        Ok(())
    }

    /// # Errors
    /// Nothing was added.
    pub(crate) fn check_any(&self) -> Result<(), LoraError> {
        match self.tensors.is_empty() {
            true => Err(LoraError::adapter(
                &self.origin,
                "there are no factors to write",
            )),
            false => Ok(()),
        }
    }

    fn in_f32(&self, layer: &str, value: f64) -> Result<f32, LoraError> {
        let rounded = value as f32;
        match rounded.is_normal() {
            true => Ok(rounded),
            false => Err(LoraError::adapter(
                &self.origin,
                format!("the scale of `{layer}` needs {value:e}, which this form cannot hold"),
            )),
        }
    }

    fn factor(&self, data: &TensorData, layer: &str, scale: f32) -> Result<TensorData, NnError> {
        let cannot = |e| NnError::input(format!("the factors of `{layer}` cannot be stored: {e}"));
        let mut values = data.clone().try_cast(DType::F32).map_err(cannot)?;
        let sound = all_finite(&values);
        if scale != 1.0 {
            for value in values.as_mut_slice::<f32>().map_err(cannot)? {
                *value *= scale;
            }
        }
        let stored = cast(values, self.dtype)?;
        match sound && !all_finite(&stored) {
            true => Err(NnError::input(format!(
                "the factors of `{layer}` leave the range of {:?}; store them in a type of wider range",
                self.dtype
            ))),
            false => Ok(stored),
        }
    }
}

fn all_finite(data: &TensorData) -> bool {
    data.iter::<f32>().all(f32::is_finite)
}

impl TensorSource for FactorSource<'_> {
    fn origin(&self) -> String {
        self.origin.clone()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        Some(match self.tensors.get(name)? {
            Stored::Factor { data, .. } => TensorInfo {
                dtype: self.dtype,
                shape: data.shape().to_vec(),
            },
            Stored::Number(_) => TensorInfo {
                dtype: DType::F32,
                shape: Vec::new(),
            },
        })
    }

    fn load(&self, name: &str) -> Result<TensorData, NnError> {
        match self.tensors.get(name) {
            Some(Stored::Factor { data, layer, scale }) => self.factor(data, layer, *scale),
            Some(Stored::Number(value)) => Ok(TensorData::new(vec![*value], Vec::<usize>::new())),
            None => Err(NnError::Missing {
                name: name.to_owned(),
                origin: self.origin(),
            }),
        }
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }
}
