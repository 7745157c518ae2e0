//! An exponential moving average of what trains.

use burn::tensor::Device;
use vtb_nn::lm::{NamedTensors, ParamInfo};

use super::host::{fits, to_device, to_host};
use crate::TrainError;
use crate::checkpoint::{Checkpoint, encode_tensors};

/// Metadata entry that holds the number of updates.
const UPDATES: &str = "updates";

/// `e ← e + (1-d)·(p - e)` after every update of the parameters, in f32. The decay of update `n` (from 0) is
/// `d = min(decay, (1+n)/(10+n))`: a young average is short, so that it soon forgets where training began.
#[derive(Debug)]
pub struct Ema {
    decay: f64,
    values: NamedTensors,
    updates: u64,
}

impl Ema {
    /// An average that begins at `values`. `None` where `decay` is 0.
    ///
    /// # Errors
    /// A decay that is not at least 0 and below 1.
    pub fn new(decay: f64, values: &NamedTensors) -> Result<Option<Self>, TrainError> {
        if !(0.0..1.0).contains(&decay) {
            return Err(TrainError::Config(format!(
                "ema_decay = {decay} is not allowed; give a number from 0 (off) to below 1"
            )));
        }
        Ok((decay > 0.0).then(|| Self {
            decay,
            values: values.clone(),
            updates: 0,
        }))
    }

    /// The decay of the next update.
    fn next_decay(&self) -> f64 {
        let n = self.updates as f64;
        self.decay.min((1.0 + n) / (10.0 + n))
    }

    /// Takes in the parameters after an update.
    pub fn update(&mut self, values: &NamedTensors) {
        let share = 1.0 - self.next_decay();
        for (name, value) in values {
            if let Some(old) = self.values.remove(name) {
                let new = old.clone() + (value.clone() - old) * share;
                self.values.insert(name.clone(), new);
            }
        }
        self.updates += 1;
    }

    /// The average of every parameter.
    pub fn values(&self) -> &NamedTensors {
        &self.values
    }

    /// The average as a safetensors file, in the shapes of `params`, with the number of updates in its metadata.
    ///
    /// # Errors
    /// The device could not be read.
    pub fn encode(&self, params: &[ParamInfo]) -> Result<Vec<u8>, TrainError> {
        let values = to_host(&self.values, params)?;
        encode_tensors(&values, Some((UPDATES, &self.updates.to_string())))
    }

    /// Takes the average from a file that [`Ema::encode`] made; the decay stays.
    ///
    /// # Errors
    /// The checkpoint holds no such file, or other parameters than `params`.
    pub fn load(
        &mut self,
        checkpoint: &Checkpoint,
        file: &str,
        params: &[ParamInfo],
        device: &Device,
    ) -> Result<(), TrainError> {
        let path = checkpoint.file(file)?;
        if !checkpoint.manifest.files.contains_key(file) {
            return Err(TrainError::file(
                &path,
                "this checkpoint keeps no average of the weights; resume with ema_decay = 0, as the run was begun",
            ));
        }
        let (tensors, metadata) = checkpoint.tensors(file)?;
        let updates = metadata.get(UPDATES).and_then(|text| text.parse().ok());
        let updates = updates.ok_or_else(|| {
            TrainError::file(
                &path,
                format!("no metadata `{UPDATES}`; not an average of weights"),
            )
        })?;
        fits(&tensors, params, &path)?;
        (self.values, self.updates) = (to_device(&tensors, device), updates);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::host::read_all;
    use super::*;
    use burn::tensor::Tensor;

    fn named(x: f32) -> NamedTensors {
        let value = Tensor::from_floats([x, -x].as_slice(), &Device::default());
        [("w".to_owned(), value)].into()
    }

    fn first(ema: &Ema) -> f64 {
        f64::from(read_all([ema.values()["w"].clone()]).unwrap()[0][0])
    }

    #[test]
    fn it_is_the_recurrence_with_a_short_youth() {
        let mut ema = Ema::new(0.5, &named(1.0)).unwrap().unwrap();
        let mut expected = 1.0;
        for (n, value) in [4.0, -2.0, 8.0, 0.5, 0.25, 3.0, 3.0, 3.0, 7.0, -1.0, 2.0]
            .into_iter()
            .enumerate()
        {
            let decay = f64::min(0.5, (1.0 + n as f64) / (10.0 + n as f64));
            assert_eq!(ema.next_decay(), decay);
            expected = decay * expected + (1.0 - decay) * f64::from(value);
            ema.update(&named(value));
            assert!((first(&ema) - expected).abs() < 1e-5, "{n}: {expected}");
        }
        // From the ninth update on the decay is the one asked for.
        assert_eq!(ema.next_decay(), 0.5);
    }

    #[test]
    fn what_rests_keeps_its_bits() {
        let mut ema = Ema::new(0.999, &named(0.1)).unwrap().unwrap();
        (0..5).for_each(|_| ema.update(&named(0.1)));
        assert_eq!(
            read_all([ema.values()["w"].clone()]).unwrap()[0],
            [0.1, -0.1]
        );
    }

    #[test]
    fn decays_without_meaning_are_refused_and_0_is_off() {
        assert!(Ema::new(0.0, &named(1.0)).unwrap().is_none());
        for decay in [1.0, -0.1, f64::NAN] {
            let text = Ema::new(decay, &named(1.0)).unwrap_err().to_string();
            assert!(text.contains("ema_decay"), "{text}");
        }
    }
}
