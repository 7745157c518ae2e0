//! Named f32 tensors as safetensors bytes, the same bytes for the same values.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View};

use crate::TrainError;

/// A tensor in host memory, row-major.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HostTensor {
    /// Its shape; the product is the length of `data`.
    pub shape: Vec<usize>,
    /// Its values.
    pub data: Vec<f32>,
}

/// Host tensors by name.
pub type HostTensors = BTreeMap<String, HostTensor>;

/// A safetensors file of these tensors. At most one metadata entry, since readers and writers keep metadata in
/// unordered maps and two would make the bytes differ from run to run.
pub fn encode_tensors(
    tensors: &HostTensors,
    metadata: Option<(&str, &str)>,
) -> Result<Vec<u8>, TrainError> {
    for (name, tensor) in tensors {
        if tensor.shape.iter().product::<usize>() != tensor.data.len() {
            return Err(TrainError::Tensors(format!(
                "tensor `{name}` of shape {:?} cannot hold {} values",
                tensor.shape,
                tensor.data.len()
            )));
        }
    }
    let metadata = metadata.map(|(k, v)| HashMap::from([(k.to_string(), v.to_string())]));
    safetensors::serialize(tensors, metadata).map_err(TrainError::other)
}

/// Tensors and metadata of safetensors bytes read from `path`. Only f32 is accepted.
pub fn decode_tensors(
    path: &Path,
    bytes: &[u8],
) -> Result<(HostTensors, BTreeMap<String, String>), TrainError> {
    let unreadable = |e: safetensors::SafeTensorError| {
        TrainError::file(path, format!("not a readable safetensors file: {e}"))
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(unreadable)?;
    let file = SafeTensors::deserialize(bytes).map_err(unreadable)?;
    let mut tensors = HostTensors::new();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            let found = view.dtype();
            return Err(TrainError::file(
                path,
                format!("tensor `{name}` is {found:?}; training state is kept in F32"),
            ));
        }
        let data = view
            .data()
            .as_chunks()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        let shape = view.shape().to_vec();
        tensors.insert(name.to_string(), HostTensor { shape, data });
    }
    let metadata = header.metadata().clone().unwrap_or_default();
    Ok((tensors, metadata.into_iter().collect()))
}

impl View for &HostTensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }

    fn data_len(&self) -> usize {
        self.data.len() * size_of::<f32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> HostTensors {
        let tensor = |shape: &[usize], data: &[f32]| HostTensor {
            shape: shape.to_vec(),
            data: data.to_vec(),
        };
        HostTensors::from([
            (
                "b.weight".into(),
                tensor(&[2, 2], &[1.0, -0.0, f32::MIN_POSITIVE, f32::NAN]),
            ),
            ("a".into(), tensor(&[3], &[0.1, 0.2, 0.3])),
            ("empty".into(), tensor(&[0], &[])),
        ])
    }

    #[test]
    fn bytes_are_the_same_every_time_and_read_back_bit_for_bit() {
        let bytes = encode_tensors(&sample(), Some(("note", "x"))).unwrap();
        assert_eq!(
            bytes,
            encode_tensors(&sample(), Some(("note", "x"))).unwrap()
        );
        let (back, metadata) = decode_tensors(Path::new("f"), &bytes).unwrap();
        assert_eq!(metadata["note"], "x");
        for (name, tensor) in sample() {
            let bits = |t: &HostTensor| t.data.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&back[&name]), bits(&tensor), "{name}");
            assert_eq!(back[&name].shape, tensor.shape);
        }
    }

    #[test]
    fn a_shape_that_does_not_fit_is_named() {
        let tensors = HostTensors::from([(
            "w".into(),
            HostTensor {
                shape: vec![3],
                data: vec![0.0],
            },
        )]);
        let error = encode_tensors(&tensors, None).unwrap_err().to_string();
        assert!(error.contains("`w`"), "{error}");
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = encode_tensors(&sample(), None).unwrap();
        for len in 0..bytes.len() {
            assert!(
                decode_tensors(Path::new("f"), &bytes[..len]).is_err(),
                "{len}"
            );
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_tensors(Path::new("f"), &bytes);
        }
    }
}
