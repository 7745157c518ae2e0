//! Parameters of a burn module by path: visiting, lifting into autodiff, collecting gradients, replacing values.
//!
//! Modules here rest outside autodiff. A training pass lifts the trainable parameters of one block at a time into
//! autodiff leaves, so frozen weights never cost a node, a gradient or a copy. Paths are field names joined by dots
//! and equal the published tensor names.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Gradients, Tensor};

use crate::lm::NamedTensors;

/// Path of the module being visited.
#[derive(Default)]
struct Path {
    segments: Vec<String>,
}

impl Path {
    fn starting_at(prefix: &str) -> Self {
        let segments = if prefix.is_empty() {
            Vec::new()
        } else {
            vec![prefix.to_owned()]
        };
        Self { segments }
    }

    fn enter(&mut self, name: &str, container: &str) {
        if is_place(container) {
            self.segments.push(name.to_owned());
        }
    }

    fn exit(&mut self, container: &str) {
        if is_place(container) {
            self.segments.pop();
        }
    }

    fn joined(&self) -> String {
        self.segments.join(".")
    }
}

/// Whether entering a container goes down the tree of names: a variant of an enum stands for the enum itself.
fn is_place(container: &str) -> bool {
    !container.starts_with("Enum:")
}

/// Calls `f(path, flat values, shape)` for every float parameter. `prefix` is put before every path.
pub fn visit_params<M: Module>(
    module: &M,
    prefix: &str,
    f: impl FnMut(String, Tensor<1>, Vec<usize>),
) {
    struct Visit<F> {
        path: Path,
        f: F,
    }
    impl<F: FnMut(String, Tensor<1>, Vec<usize>)> ModuleVisitor for Visit<F> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            let shape = value.dims().to_vec();
            (self.f)(self.path.joined(), value.flatten(0, D - 1), shape);
        }
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }
    }
    module.visit(&mut Visit {
        path: Path::starting_at(prefix),
        f,
    });
}

/// Replaces the values for which `f(path)` answers flat values of the right size; keeps dtypes.
pub fn replace_params<M: Module>(
    module: M,
    prefix: &str,
    f: impl FnMut(&str) -> Option<Tensor<1>>,
) -> M {
    struct Replace<F> {
        path: Path,
        f: F,
    }
    impl<F: FnMut(&str) -> Option<Tensor<1>>> ModuleMapper for Replace<F> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(value) = (self.f)(&self.path.joined()) else {
                return param;
            };
            let (id, old, _) = param.consume();
            let value = value.cast(old.dtype()).reshape(old.dims());
            Param::initialized(id, value)
        }
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }
    }
    module.map(&mut Replace {
        path: Path::starting_at(prefix),
        f,
    })
}

/// A copy (sharing memory) whose parameters named by `trainable` are fresh autodiff leaves.
pub fn lift<M: Module>(module: &M, prefix: &str, trainable: &dyn Fn(&str) -> bool) -> M {
    struct Lift<'a> {
        path: Path,
        trainable: &'a dyn Fn(&str) -> bool,
    }
    impl ModuleMapper for Lift<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !(self.trainable)(&self.path.joined()) {
                return param;
            }
            let (id, value, _) = param.consume();
            Param::initialized(id, value.autodiff().require_grad())
        }
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }
    }
    module.clone().map(&mut Lift {
        path: Path::starting_at(prefix),
        trainable,
    })
}

/// Adds the gradients of a lifted module's leaves into `into`, flat and in f32.
pub fn collect_gradients<M: Module>(
    lifted: &M,
    prefix: &str,
    gradients: &mut Gradients,
    into: &mut NamedTensors,
) {
    struct Collect<'a> {
        path: Path,
        gradients: &'a mut Gradients,
        into: &'a mut NamedTensors,
    }
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let value = param.val();
            if !value.is_autodiff() {
                return;
            }
            if let Some(gradient) = value.grad_remove(self.gradients) {
                let gradient = gradient.cast(DType::F32).flatten(0, D - 1);
                add_gradient(self.into, self.path.joined(), gradient);
            }
        }
        fn enter_module(&mut self, name: &str, container: &str) {
            self.path.enter(name, container);
        }
        fn exit_module(&mut self, _name: &str, container: &str) {
            self.path.exit(container);
        }
    }
    lifted.visit(&mut Collect {
        path: Path::starting_at(prefix),
        gradients,
        into,
    });
}

/// Adds one flat f32 gradient to what is already there under its name.
pub fn add_gradient(into: &mut NamedTensors, name: String, gradient: Tensor<1>) {
    let sum = match into.remove(&name) {
        Some(total) => total + gradient,
        None => gradient,
    };
    into.insert(name, sum);
}
