//! The tensors of a checkpoint: their names and shapes, and a model's weights on their way to files.

use std::collections::BTreeMap;

use burn::tensor::{DType, Tensor, TensorData};
use vtb_nn::NnError;
use vtb_nn::checkpoint::{TensorInfo, TensorSource, swap_last_axes};
use vtb_nn::device::cpu_device;
use vtb_nn::loader::Loader;
use vtb_nn::params::visit_params;

use super::{Head, Network, Tower, experts};
use crate::VlmError;
use crate::config::{Qwen3VlConfig, TextConfig};
use crate::qwen3_vl::VisionTower;

impl Qwen3VlConfig {
    /// Names and shapes of the tensors of a checkpoint, as published. Nothing of their size is allocated.
    ///
    /// # Errors
    /// As [`Qwen3VlConfig::validate`].
    pub fn tensors(&self) -> Result<BTreeMap<String, Vec<usize>>, VlmError> {
        self.validate()?;
        let loader = Loader::shapes_only(&cpu_device(), DType::F32);
        Network::<VisionTower>::load(&loader, self, Head::Wanted);
        let mut shapes = loader.shapes();
        for (name, shape) in &mut shapes {
            if is_written_transposed(name, &self.text) {
                shape.swap(1, 2);
            }
        }
        Ok(shapes)
    }
}

/// Whether a parameter is a stack of experts that files hold transposed.
fn is_written_transposed(name: &str, c: &TextConfig) -> bool {
    let Some(moe) = &c.moe else {
        return false;
    };
    let stack = name
        .rsplit_once(".experts.")
        .is_some_and(|(_, stack)| experts::STACKS.contains(&stack));
    stack && experts::written_published(c.hidden_size, moe)
}

/// The base weights as a source for the checkpoint writer.
pub(super) struct Weights {
    tensors: BTreeMap<String, Stored>,
}

/// A flat tensor, its shape, and whether its last two axes change places on the way to the file.
struct Stored {
    values: Tensor<1>,
    shape: Vec<usize>,
    transposed: bool,
}

impl Weights {
    pub(super) fn of<T: Tower>(net: &Network<T>, config: &TextConfig) -> Self {
        let mut tensors = BTreeMap::new();
        visit_params(net, "", |name, values, shape| {
            if !name.contains(".lora_") {
                let transposed = is_written_transposed(&name, config);
                let stored = Stored {
                    values,
                    shape,
                    transposed,
                };
                tensors.insert(T::stored_name(&name), stored);
            }
        });
        Self { tensors }
    }
}

impl TensorSource for Weights {
    fn origin(&self) -> String {
        "the model in memory".into()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let stored = self.tensors.get(name)?;
        let mut shape = stored.shape.clone();
        if stored.transposed {
            shape.swap(1, 2);
        }
        Some(TensorInfo {
            dtype: stored.values.dtype(),
            shape,
        })
    }

    fn load(&self, name: &str) -> Result<TensorData, NnError> {
        let stored = self.tensors.get(name).ok_or_else(|| NnError::Missing {
            name: name.to_owned(),
            origin: self.origin(),
        })?;
        let data = stored.values.clone().into_data();
        let dtype = data.dtype();
        let shape = stored.shape.clone();
        let data = TensorData::from_bytes_vec(data.as_bytes().to_vec(), shape, dtype);
        if stored.transposed {
            return swap_last_axes(data);
        }
        Ok(data)
    }

    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }
}
