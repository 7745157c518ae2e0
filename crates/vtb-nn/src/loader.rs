//! Building modules from named tensors.
//!
//! A model asks for its tensors by path and shape. The loader answers from a checkpoint or from a rule that makes
//! fresh values, remembers what was asked, and [`Loader::finish`] reports everything missing, misshapen or left
//! over in one error.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::rc::Rc;

use burn::module::{Param, ParamId};
use burn::tensor::{DType, Device, Tensor, TensorData};

use crate::NnError;
use crate::checkpoint::{TensorSource, load_tensor, swap_last_axes};

/// Makes the values of a fresh tensor from its path and shape, row-major.
pub type Init<'a> = dyn Fn(&str, &[usize]) -> Vec<f32> + 'a;

enum Origin<'a> {
    Source(&'a dyn TensorSource),
    Fresh(&'a Init<'a>),
    Shapes,
}

struct Shared<'a> {
    origin: Origin<'a>,
    device: Device,
    asked: RefCell<BTreeMap<String, Vec<usize>>>,
    faults: RefCell<Vec<NnError>>,
}

/// A place in the tree of names, such as `model.visual.blocks.3`.
#[derive(Clone)]
pub struct Loader<'a> {
    shared: Rc<Shared<'a>>,
    prefix: String,
    dtype: DType,
}

impl<'a> Loader<'a> {
    /// Loads from `source`, cast to `dtype`, onto `device`.
    pub fn from_source(source: &'a dyn TensorSource, device: &Device, dtype: DType) -> Self {
        Self::new(Origin::Source(source), device, dtype)
    }

    /// Makes fresh values.
    pub fn fresh(init: &'a Init<'a>, device: &Device, dtype: DType) -> Self {
        Self::new(Origin::Fresh(init), device, dtype)
    }

    /// Only notes which tensors are asked for ([`Loader::shapes`]): the modules built from it hold one number per
    /// tensor, whatever their size, and compute nothing sensible.
    pub fn shapes_only(device: &Device, dtype: DType) -> Self {
        Self::new(Origin::Shapes, device, dtype)
    }

    fn new(origin: Origin<'a>, device: &Device, dtype: DType) -> Self {
        let shared = Shared {
            origin,
            device: device.clone(),
            asked: RefCell::default(),
            faults: RefCell::default(),
        };
        Self {
            shared: Rc::new(shared),
            prefix: String::new(),
            dtype,
        }
    }

    /// The place `name` below this one.
    pub fn pp(&self, name: impl Display) -> Self {
        Self {
            shared: self.shared.clone(),
            prefix: self.path(name),
            dtype: self.dtype,
        }
    }

    /// The same place, where tensors are loaded as `dtype`: what a published model keeps in a finer format than the rest.
    pub fn at(&self, dtype: DType) -> Self {
        Self {
            dtype,
            ..self.clone()
        }
    }

    /// Full path of `name` below this place.
    pub fn path(&self, name: impl Display) -> String {
        if self.prefix.is_empty() {
            name.to_string()
        } else {
            format!("{}.{name}", self.prefix)
        }
    }

    /// Where this place lies.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the source has the tensor `name` below this place; `None` when values are made fresh.
    pub fn has(&self, name: &str) -> Option<bool> {
        match &self.shared.origin {
            Origin::Source(source) => Some(source.info(&self.path(name)).is_some()),
            Origin::Fresh(_) | Origin::Shapes => None,
        }
    }

    /// Shape of the tensor `name` below this place as the source stores it; `None` where there is no source or no
    /// such tensor.
    pub fn stored_shape(&self, name: &str) -> Option<Vec<usize>> {
        match &self.shared.origin {
            Origin::Source(source) => Some(source.info(&self.path(name))?.shape),
            Origin::Fresh(_) | Origin::Shapes => None,
        }
    }

    /// Where the tensors come from, for messages.
    pub fn origin(&self) -> String {
        match &self.shared.origin {
            Origin::Source(source) => source.origin(),
            Origin::Fresh(_) | Origin::Shapes => "fresh values".into(),
        }
    }

    /// Remembers a fault the caller found, for [`Loader::finish`].
    pub fn fault(&self, fault: NnError) {
        self.shared.faults.borrow_mut().push(fault);
    }

    /// The tensor `name` below this place. A fault is remembered for [`Loader::finish`]; a stand-in of the right
    /// shape takes its place meanwhile.
    pub fn param<const D: usize>(&self, name: &str, shape: [usize; D]) -> Param<Tensor<D>> {
        let path = self.path(name);
        let value = self.value(&path, shape).unwrap_or_else(|fault| {
            self.fault(fault);
            self.stand_in(shape)
        });
        self.shared.asked.borrow_mut().insert(path, shape.to_vec());
        Param::initialized(ParamId::new(), value)
    }

    /// As [`Loader::param`] for a stack of matrices that the source stores transposed: `shape` is `[n, rows, columns]`
    /// of the parameter, the source holds `[n, columns, rows]`. Needs no more memory than the tensor and, for every
    /// thread, one of its matrices.
    pub fn param_transposed(&self, name: &str, shape: [usize; 3]) -> Param<Tensor<3>> {
        let Origin::Source(source) = &self.shared.origin else {
            return self.param(name, shape);
        };
        let path = self.path(name);
        let [n, rows, columns] = shape;
        let (device, dtype) = (&self.shared.device, self.dtype);
        let load = || {
            check_shape(*source, &path, [n, columns, rows])?;
            let data = swap_last_axes(source.load_as(&path, dtype)?)?;
            Ok(Tensor::from_data(data, (device, dtype)))
        };
        let value = load().unwrap_or_else(|fault| {
            self.fault(fault);
            self.stand_in(shape)
        });
        self.shared.asked.borrow_mut().insert(path, shape.to_vec());
        Param::initialized(ParamId::new(), value)
    }

    /// Every tensor asked for so far, by path.
    pub fn shapes(&self) -> BTreeMap<String, Vec<usize>> {
        self.shared.asked.borrow().clone()
    }

    /// One number that looks like a tensor of any shape.
    fn stand_in<const D: usize>(&self, shape: [usize; D]) -> Tensor<D> {
        let device = (&self.shared.device, self.dtype);
        Tensor::<D>::zeros([1; D], device).expand(shape)
    }

    fn value<const D: usize>(&self, path: &str, shape: [usize; D]) -> Result<Tensor<D>, NnError> {
        let (device, dtype) = (&self.shared.device, self.dtype);
        match &self.shared.origin {
            Origin::Source(source) => {
                check_shape(*source, path, shape)?;
                load_tensor(*source, path, dtype, device)
            }
            Origin::Shapes => Ok(self.stand_in(shape)),
            Origin::Fresh(init) => {
                let values = init(path, &shape);
                Ok(Tensor::from_data(
                    TensorData::new(values, shape),
                    (device, dtype),
                ))
            }
        }
    }

    /// Says everything that went wrong: missing and misshapen tensors, and tensors of the source nobody asked for
    /// (but those `ignore` accepts).
    pub fn finish(&self, ignore: impl Fn(&str) -> bool) -> Result<(), NnError> {
        let mut faults = self.shared.faults.take();
        if let Origin::Source(source) = &self.shared.origin {
            let asked = self.shared.asked.borrow();
            let unused: Vec<String> = source
                .names()
                .into_iter()
                .filter(|n| !asked.contains_key(n) && !ignore(n))
                .collect();
            if !unused.is_empty() {
                faults.push(NnError::input(format!(
                    "{} holds {} tensors this model does not have: {}; is `config.json` of another model?",
                    source.origin(),
                    unused.len(),
                    listing(&unused),
                )));
            }
        }
        if faults.len() <= 1 {
            return faults.pop().map_or(Ok(()), Err);
        }
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Err(NnError::input(format!(
            "{} faults: {}",
            lines.len(),
            listing(&lines)
        )))
    }
}

/// The tensor is there and has this shape.
fn check_shape<const D: usize>(
    source: &dyn TensorSource,
    path: &str,
    shape: [usize; D],
) -> Result<(), NnError> {
    let info = source.info(path).ok_or_else(|| NnError::Missing {
        name: path.to_owned(),
        origin: source.origin(),
    })?;
    if info.shape == shape {
        return Ok(());
    }
    Err(NnError::Shape {
        name: path.to_owned(),
        origin: source.origin(),
        found: info.shape,
        expected: shape.to_vec(),
    })
}

/// The first few items, and how many more there are.
fn listing(items: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut text = items[..items.len().min(SHOWN)].join("; ");
    if items.len() > SHOWN {
        text.push_str(&format!("; and {} more", items.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::checkpoint::MemorySource;
    use crate::device::cpu_device;

    #[test]
    fn every_fault_is_reported_at_once() {
        let tensors = BTreeMap::from([
            (
                "a.weight".to_owned(),
                TensorData::new(vec![1.0f32; 6], [2, 3]),
            ),
            ("stray".to_owned(), TensorData::new(vec![1.0f32], [1])),
        ]);
        let source = MemorySource::new("test.safetensors", tensors);
        let loader = Loader::from_source(&source, &cpu_device(), DType::F32);
        loader.pp("a").param("weight", [3, 2]);
        loader.pp("b").param("weight", [1]);
        let message = loader.finish(|_| false).unwrap_err().to_string();
        for part in ["a.weight", "[2, 3]", "b.weight", "missing", "stray"] {
            assert!(message.contains(part), "{message}");
        }
    }
}
