//! The adapter of a checkpoint in every form asked for.

use std::path::Path;

use burn::tensor::DType;
use vtb_lora::{AdapterFormat, AdapterHeader, Factors, write_as};
use vtb_trainer::TrainError;
use vtb_trainer::checkpoint::{Content, Contents};

use super::family::Adapted;

/// Adds the adapter to a checkpoint in these forms, with what readers want to know of it.
pub(super) fn export<N: Adapted>(
    formats: Vec<AdapterFormat>,
    header: AdapterHeader,
) -> impl Fn(&N, u64) -> Result<Contents<'static>, TrainError> {
    move |net: &N, step: u64| {
        let mut contents = Contents::new();
        let Some(lora) = net.adapter_config().cloned() else {
            return Ok(contents);
        };
        let factors = net.adapter_factors();
        let values = |f: &Factors| (f.a.num_elements() + f.b.num_elements()) as u64;
        let size_hint = 4 * factors.values().map(values).sum::<u64>();
        for format in formats.iter().copied() {
            let (lora, factors) = (lora.clone(), factors.clone());
            let header = AdapterHeader {
                step: Some(step),
                ..header.clone()
            };
            let write = move |dir: &Path| {
                let place = match format {
                    AdapterFormat::Peft => dir.to_owned(),
                    _ => dir.join("adapter.safetensors"),
                };
                write_as(format, &place, &lora, &factors, &header, DType::F32)
                    .map_err(TrainError::other)
            };
            let name = match format {
                AdapterFormat::Peft => "adapter".to_owned(),
                other => format!("adapter-{other}"),
            };
            let content = Content::Tree {
                size_hint,
                write: Box::new(write),
            };
            contents.insert(name, content);
        }
        Ok(contents)
    }
}
