//! Named tensors between a device and host memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use burn::tensor::{DType, Device, Tensor, TensorData, Transaction};
use vtb_nn::lm::{NamedTensors, ParamInfo};

use crate::TrainError;
use crate::checkpoint::{HostTensor, HostTensors};

/// Reads flat tensors in one go and gives them the shapes of their parameters.
pub fn to_host(tensors: &NamedTensors, params: &[ParamInfo]) -> Result<HostTensors, TrainError> {
    let shapes: BTreeMap<&str, &[usize]> = params
        .iter()
        .map(|p| (p.name.as_str(), p.shape.as_slice()))
        .collect();
    let data = read_all(tensors.values().cloned())?;
    let mut out = HostTensors::new();
    for (name, data) in tensors.keys().zip(data) {
        let shape = shapes
            .get(name.as_str())
            .filter(|shape| shape.iter().product::<usize>() == data.len())
            .ok_or_else(|| {
                TrainError::Tensors(format!(
                    "tensor `{name}` of {} values is none of the trainable parameters; these come from another model",
                    data.len()
                ))
            })?;
        let shape = shape.to_vec();
        out.insert(name.clone(), HostTensor { shape, data });
    }
    Ok(out)
}

/// Refuses tensors of a checkpoint that are not those of the parameters, all of them and no other; `path` is their file.
pub(crate) fn fits(
    tensors: &HostTensors,
    params: &[ParamInfo],
    path: &Path,
) -> Result<(), TrainError> {
    let wrong = |message: String| {
        let message = format!("{message}; resume with the settings of the checkpoint");
        Err(TrainError::file(path, message))
    };
    for ParamInfo { name, shape, .. } in params {
        if tensors
            .get(name)
            .is_none_or(|tensor| tensor.shape != *shape)
        {
            return wrong(format!("tensor `{name}` of shape {shape:?} is missing"));
        }
    }
    let known: BTreeSet<&str> = params.iter().map(|p| p.name.as_str()).collect();
    match tensors.keys().find(|name| !known.contains(name.as_str())) {
        Some(name) => wrong(format!("tensor `{name}` is no trainable parameter")),
        None => Ok(()),
    }
}

/// Uploads host tensors, flat, in f32.
pub fn to_device(tensors: &HostTensors, device: &Device) -> NamedTensors {
    tensors
        .iter()
        .map(|(name, tensor)| (name.clone(), upload(tensor.data.clone(), device)))
        .collect()
}

/// One flat f32 tensor.
pub(super) fn upload(data: Vec<f32>, device: &Device) -> Tensor<1> {
    let len = data.len();
    Tensor::from_data(TensorData::new(data, [len]), (device, DType::F32))
}

/// The values of flat tensors, read from the device together.
pub(super) fn read_all(
    tensors: impl IntoIterator<Item = Tensor<1>>,
) -> Result<Vec<Vec<f32>>, TrainError> {
    tensors
        .into_iter()
        .fold(Transaction::default(), Transaction::register)
        .try_execute()
        .map_err(|e| {
            TrainError::Tensors(format!("tensors could not be read from the device: {e}"))
        })?
        .into_iter()
        .map(|data| {
            data.try_into_vec()
                .map_err(|e| TrainError::Tensors(format!("training state has to be in f32: {e}")))
        })
        .collect()
}
