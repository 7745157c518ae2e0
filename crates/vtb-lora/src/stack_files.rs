//! Which stacks of experts in a checkpoint the factors of an adapter mean, and how they lie on them.

use std::collections::BTreeSet;

use burn::tensor::Tensor;
use vtb_nn::checkpoint::TensorSource;

use crate::targets::is_path_or_end;
use crate::{AdapterFile, LoraError};

/// Factors on a stack, as matrices of its experts.
pub(crate) struct StackSides {
    experts: usize,
    /// Whether the stored matrices are `(B_e·A_e)ᵀ`: one of file and adapter has inputs first, the other outputs.
    transposed: bool,
}

impl StackSides {
    /// The two factors of every expert's delta, in the order and orientation of the stored matrices.
    ///
    /// # Shapes
    /// `a` is `[E·r, p]`, expert after expert; `b` is `[q, r·E]`, with the columns of expert `e` at `e, E+e, …`. The
    /// products are `[q, p]`, or `[p, q]` where they lie transposed.
    pub(crate) fn products(&self, a: Tensor<2>, b: Tensor<2>) -> Vec<(Tensor<2>, Tensor<2>)> {
        let ([rows, p], [q, _]) = (a.dims(), b.dims());
        let r = rows / self.experts;
        let a = a.reshape([self.experts, r, p]);
        let b = b.reshape([q, r, self.experts]).permute([2, 0, 1]);
        let of = |t: &Tensor<3>, e: usize| t.clone().narrow(0, e, 1).squeeze_dim::<2>(0);
        let pair = |e: usize| match self.transposed {
            false => (of(&b, e), of(&a, e)),
            true => (of(&a, e).transpose(), of(&b, e).transpose()),
        };
        (0..self.experts).map(pair).collect()
    }
}

/// A stack that an adapter changes.
pub(crate) struct StackChange {
    /// Where the adapter keeps the factors: peft names wrappers around the module, not its parameters.
    pub(crate) wrapper: String,
    /// Name of the tensor.
    pub(crate) stack: String,
    pub(crate) sides: StackSides,
}

/// The stacks of `base` that `adapter` changes. A file may hold matrices `[in, out]`, as published, or `[out, in]`, and
/// an adapter may have been made on either; peft takes `[expert, rows, columns]` for outputs and inputs, whatever they
/// are, unless the module says otherwise. The sizes tell which of the four it is, since the delta has the stack's own
/// sides: only for square matrices they do not.
///
/// # Errors
/// [`LoraError::Adapter`] where the base has no such stack, none of these sizes, or one of square matrices.
pub(crate) fn stacks_of(
    adapter: &AdapterFile,
    base: &dyn TensorSource,
) -> Result<Vec<StackChange>, LoraError> {
    let stacks: Vec<(String, [usize; 3])> = base
        .names()
        .into_iter()
        .filter(|name| adapter.config().targets_parameter(name))
        .filter_map(|name| {
            let shape = base.info(&name)?.shape.try_into().ok()?;
            Some((name, shape))
        })
        .collect();
    let (mut found, mut taken) = (Vec::new(), BTreeSet::new());
    for wrapper in adapter.paths().filter(|path| adapter.is_stack(path)) {
        let change = change_of(adapter, wrapper, &stacks)?;
        if !taken.insert(change.stack.clone()) {
            let message = format!("has factors of the stack `{}` twice", change.stack);
            return Err(LoraError::adapter(adapter.dir(), message));
        }
        found.push(change);
    }
    Ok(found)
}

/// The parameter whose factors stand at `wrapper`, told without the base: wrappers nest in the order in which the module
/// registers its parameters, the first one innermost. `None` where the settings name more or fewer parameters of the
/// module than it has wrappers.
pub(crate) fn parameter_of(adapter: &AdapterFile, wrapper: &str) -> Option<String> {
    let module = crate::peft::unwrapped(wrapper);
    let registered = ["gate_up_proj", "down_proj"];
    let mut own: Vec<&str> = adapter
        .config()
        .target_parameters
        .iter()
        .filter_map(|name| {
            let (parent, last) = name.rsplit_once('.').unwrap_or(("experts", name));
            is_path_or_end(module, parent).then_some(last)
        })
        .collect();
    own.sort_by_key(|name| registered.iter().position(|r| r == name).unwrap_or(2));
    let wrappers = adapter
        .paths()
        .filter(|path| adapter.is_stack(path) && crate::peft::unwrapped(path) == module)
        .count();
    let depth = (wrapper.len() - module.len()) / ".base_layer".len();
    let index = wrappers.checked_sub(depth + 1)?;
    (own.len() == wrappers).then(|| format!("{module}.{}", own[index]))
}

/// The stack that the factors at `wrapper` mean.
fn change_of(
    adapter: &AdapterFile,
    wrapper: &str,
    stacks: &[(String, [usize; 3])],
) -> Result<StackChange, LoraError> {
    let fail = |message: String| Err(LoraError::adapter(adapter.dir(), message));
    let module = crate::peft::unwrapped(wrapper);
    let own = |(name, _): &&(String, [usize; 3])| {
        name.rsplit_once('.')
            .is_some_and(|(parent, _)| parent == module)
    };
    let own: Vec<_> = stacks.iter().filter(own).collect();
    if own.is_empty() {
        return fail(format!(
            "adapts a stack of experts of `{module}`, which this model does not have; is it an adapter of another \
             model?"
        ));
    }
    let [a, b] = adapter
        .stored(wrapper)
        .map(|factor| factor.map(|(_, shape)| shape).unwrap_or_default());
    let mut fitting = Vec::new();
    for (name, [experts, rows, columns]) in &own {
        let rank = adapter.rules().rank(name)? * experts;
        let lies = |q: &usize, p: &usize| a == [rank, *p] && b == [*q, rank];
        match (lies(rows, columns), lies(columns, rows)) {
            (false, false) => {}
            (true, true) => {
                return fail(format!(
                    "adapts the stack of experts `{name}`, whose matrices are square, so that the sizes do not tell \
                     inputs from outputs; load the model with the adapter and merge it there (`AnyVlm::merge_adapter`)"
                ));
            }
            (_, transposed) => fitting.push((name, *experts, transposed)),
        }
    }
    let [(name, experts, transposed)] = fitting.as_slice() else {
        let sizes: Vec<String> = own
            .iter()
            .map(|(name, shape)| format!("`{name}` {shape:?}"))
            .collect();
        let which = match fitting.is_empty() {
            true => "fit none of",
            false => "fit more than one of",
        };
        return fail(format!(
            "has factors `{wrapper}` of shapes {a:?} and {b:?}, which {which} {}",
            sizes.join(", ")
        ));
    };
    Ok(StackChange {
        wrapper: wrapper.to_owned(),
        stack: (*name).clone(),
        sides: StackSides {
            experts: *experts,
            transposed: *transposed,
        },
    })
}
