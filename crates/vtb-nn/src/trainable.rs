//! What every model that trains can say of its parameters.

use std::collections::BTreeSet;

use burn::module::Module;
use burn::tensor::DType;

use crate::NnError;
use crate::lm::{NamedTensors, ParamInfo};
use crate::params::{replace_params, visit_params};

/// A model whose trainable parameters can be listed, read and replaced by name.
pub trait Trainable {
    /// The parameters that train, sorted by name.
    fn trainable(&self) -> Vec<ParamInfo>;

    /// Current values of the trainable parameters, flat, in f32.
    fn trainable_values(&self) -> NamedTensors;

    /// Replaces trainable parameters by flat f32 values.
    ///
    /// # Errors
    /// Unknown names, or wrong sizes.
    fn set_trainable(&mut self, values: NamedTensors) -> Result<(), NnError>;
}

/// Names of the parameters of a burn module that train.
#[derive(Debug, Clone, Default)]
pub struct TrainableSet(BTreeSet<String>);

impl TrainableSet {
    /// The parameters of `module` whose path `trains` accepts.
    pub fn of<M: Module>(module: &M, trains: impl Fn(&str) -> bool) -> Self {
        let mut names = BTreeSet::new();
        visit_params(module, "", |path, _, _| {
            if trains(&path) {
                names.insert(path);
            }
        });
        Self(names)
    }

    /// The factors of the adapters of `module`.
    pub fn adapters<M: Module>(module: &M) -> Self {
        let is_factor = |p: &str| p.ends_with(".lora_A.weight") || p.ends_with(".lora_B.weight");
        Self::of(module, is_factor)
    }

    /// Whether the parameter at `path` trains.
    pub fn contains(&self, path: &str) -> bool {
        self.0.contains(path)
    }

    /// Whether any parameter that trains lies below `prefix`.
    pub fn any_below(&self, prefix: &str) -> bool {
        let first = self.0.range(prefix.to_owned()..).next();
        first.is_some_and(|name| name.starts_with(prefix))
    }

    /// Nothing trains any more.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// What [`Trainable::trainable`] answers for `module`: weight decay is for matrices.
    pub fn infos<M: Module>(&self, module: &M) -> Vec<ParamInfo> {
        let mut infos = Vec::new();
        visit_params(module, "", |name, _, shape| {
            if self.contains(&name) {
                let decay = shape.len() > 1;
                infos.push(ParamInfo { name, shape, decay });
            }
        });
        infos.sort_by(|a, b| a.name.cmp(&b.name));
        infos
    }

    /// What [`Trainable::trainable_values`] answers for `module`.
    pub fn values<M: Module>(&self, module: &M) -> NamedTensors {
        let mut values = NamedTensors::new();
        visit_params(module, "", |name, value, _| {
            if self.contains(&name) {
                values.insert(name, value.cast(DType::F32));
            }
        });
        values
    }

    /// `module` with `values` in place, as [`Trainable::set_trainable`] asks.
    ///
    /// # Errors
    /// A value is of another size than its parameter, or names one that does not train.
    pub fn replaced<M: Module>(&self, module: M, mut values: NamedTensors) -> Result<M, NnError> {
        for info in self.infos(&module) {
            let expected: usize = info.shape.iter().product();
            if let Some(value) = values.get(&info.name)
                && value.dims()[0] != expected
            {
                return Err(NnError::Shape {
                    name: info.name,
                    origin: "the update".into(),
                    found: value.dims().to_vec(),
                    expected: info.shape,
                });
            }
        }
        if let Some(name) = values.keys().find(|name| !self.contains(name)) {
            return Err(NnError::input(format!(
                "`{name}` is not a trainable parameter of this model"
            )));
        }
        Ok(replace_params(module, "", |path| values.remove(path)))
    }
}
