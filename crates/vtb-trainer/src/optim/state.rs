//! Optimizer state in and out: named by parameter, in f32, so that it outlives the process bit for bit.

use std::collections::BTreeMap;

use burn::tensor::Device;

use super::adamw::{AdamW, Moments};
use super::host::{read_all, upload};
use crate::TrainError;
use crate::checkpoint::{Checkpoint, HostTensor, HostTensors, encode_tensors};

/// Metadata entry that holds the updates made to each parameter.
const STEPS: &str = "steps";

/// State of one parameter in host memory.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AdamState {
    /// First moment, flat.
    pub m: Vec<f32>,
    /// Second moment, flat.
    pub v: Vec<f32>,
    /// Updates made.
    pub step: u64,
}

impl AdamW {
    /// The state of every parameter that has any, read in one go.
    pub fn export(&self) -> Result<BTreeMap<String, AdamState>, TrainError> {
        let moments = self.state.values();
        let mut data = read_all(moments.flat_map(|s| [s.m.clone(), s.v.clone()]))?.into_iter();
        Ok(self
            .state
            .iter()
            .filter_map(|(name, moments)| {
                let (m, v) = (data.next()?, data.next()?);
                let step = moments.step;
                Some((name.clone(), AdamState { m, v, step }))
            })
            .collect())
    }

    /// Replaces the state. Unknown names and other lengths are errors, and then nothing has changed.
    pub fn import(
        &mut self,
        state: BTreeMap<String, AdamState>,
        device: &Device,
    ) -> Result<(), TrainError> {
        for (name, state) in &state {
            let len = self.shape(name)?.iter().product::<usize>();
            if state.m.len() != len || state.v.len() != len {
                return Err(TrainError::Tensors(format!(
                    "optimizer state of `{name}` has {} and {} values, the parameter has {len}; resume with the settings of the checkpoint",
                    state.m.len(),
                    state.v.len()
                )));
            }
        }
        let load = |state: AdamState| Moments {
            m: upload(state.m, device),
            v: upload(state.v, device),
            step: state.step,
        };
        self.state = state.into_iter().map(|(name, s)| (name, load(s))).collect();
        Ok(())
    }

    /// The state as a safetensors file: `{parameter}.m` and `{parameter}.v` in the parameter's shape, and the updates
    /// made in the metadata entry `steps`.
    pub fn encode(&self) -> Result<Vec<u8>, TrainError> {
        let mut tensors = HostTensors::new();
        let mut steps = BTreeMap::new();
        for (name, state) in self.export()? {
            for (moment, data) in [("m", state.m), ("v", state.v)] {
                let shape = self.shape(&name)?.to_vec();
                tensors.insert(format!("{name}.{moment}"), HostTensor { shape, data });
            }
            steps.insert(name, state.step);
        }
        let steps = serde_json::to_string(&steps).map_err(TrainError::other)?;
        encode_tensors(&tensors, Some((STEPS, &steps)))
    }

    /// Takes the state from a file that [`AdamW::encode`] made.
    pub fn load(
        &mut self,
        checkpoint: &Checkpoint,
        file: &str,
        device: &Device,
    ) -> Result<(), TrainError> {
        let (mut tensors, metadata) = checkpoint.tensors(file)?;
        let path = checkpoint.file(file)?;
        let steps: BTreeMap<String, u64> = metadata
            .get(STEPS)
            .and_then(|text| serde_json::from_str(text).ok())
            .ok_or_else(|| {
                TrainError::file(&path, format!("no metadata `{STEPS}`; not optimizer state"))
            })?;
        let mut state = BTreeMap::new();
        for (name, step) in steps {
            let mut take = |moment: &str| {
                let tensor = format!("{name}.{moment}");
                tensors
                    .remove(&tensor)
                    .map(|t| t.data)
                    .ok_or_else(|| TrainError::file(&path, format!("tensor `{tensor}` is missing")))
            };
            let (m, v) = (take("m")?, take("v")?);
            state.insert(name, AdamState { m, v, step });
        }
        if let Some(name) = tensors.keys().next() {
            return Err(TrainError::file(
                &path,
                format!("tensor `{name}` belongs to no parameter in `{STEPS}`"),
            ));
        }
        self.import(state, device)
    }

    fn shape(&self, name: &str) -> Result<&[usize], TrainError> {
        let param = self.params.iter().find(|p| p.name == name);
        param.map(|p| p.shape.as_slice()).ok_or_else(|| {
            TrainError::Tensors(format!(
                "optimizer state of `{name}`, which is no trainable parameter; resume with the settings of the checkpoint"
            ))
        })
    }
}
