//! The mixture of experts in place of a layer's MLP.

use std::collections::BTreeMap;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use vtb_lora::{AdapterPass, Factors, LoraConfig, LoraError, StackInfo, Stacked};
use vtb_nn::NnError;
use vtb_nn::loader::Loader;
use vtb_nn::ops::{Groups, RouterBalance, grouped_linear, linear, route, swiglu};

use crate::config::MoeConfig;

/// Names of the stacks, as published.
pub(super) const STACKS: [&str; 2] = ["gate_up_proj", "down_proj"];

/// Router and experts: every token runs through its best few experts, whose outputs are averaged by the router's
/// weights.
#[derive(Module, Debug)]
pub struct SparseMlp {
    /// Scores experts; never adapted.
    pub gate: Router,
    /// The experts.
    pub experts: Experts,
}

/// A linear map to one score per expert.
#[derive(Module, Debug)]
pub struct Router {
    /// `[experts, width]`.
    pub weight: Param<Tensor<2>>,
    #[module(skip)]
    top_k: usize,
}

/// `down_e(silu(gate_e(x)) ⊙ up_e(x))` for every expert `e`, in stacks. In memory matrices are `[out, in]`, in
/// published files `[in, out]`; both are read, and the published layout is written.
#[derive(Module, Debug)]
pub struct Experts {
    /// `[experts, 2·inner, width]`, gate rows first.
    pub gate_up_proj: Param<Tensor<3>>,
    /// `[experts, width, inner]`.
    pub down_proj: Param<Tensor<3>>,
    /// Adapter of `gate_up_proj`.
    pub gate_up_adapter: Option<Stacked>,
    /// Adapter of `down_proj`.
    pub down_adapter: Option<Stacked>,
    #[module(skip)]
    path: String,
}

/// How a stack lies in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// `[expert, in, out]`.
    Published,
    /// `[expert, out, in]`.
    Transposed,
    /// Square matrices: the shape does not tell.
    Either,
}

impl SparseMlp {
    pub(super) fn load(loader: &Loader<'_>, width: usize, c: &MoeConfig) -> Self {
        let gate = loader.pp("gate");
        Self {
            gate: Router {
                weight: gate.param("weight", [c.num_experts, width]),
                top_k: c.experts_per_token,
            },
            experts: Experts::load(&loader.pp("experts"), width, c),
        }
    }

    /// `[tokens, width]` to the same shape. Routers report to `balance`.
    pub fn forward(
        &self,
        x: Tensor<2>,
        pass: AdapterPass,
        balance: Option<&Arc<RouterBalance>>,
    ) -> Tensor<2> {
        let logits = linear(x.clone(), self.gate.weight.val(), None);
        let (weights, groups) = route(logits, self.gate.top_k, balance);
        let y = self.experts.forward(groups.gather(x), &groups, pass);
        groups.combine(y, weights)
    }
}

impl Experts {
    fn load(loader: &Loader<'_>, width: usize, c: &MoeConfig) -> Self {
        let (experts, inner) = (c.num_experts, c.intermediate_size);
        let shapes = [[experts, 2 * inner, width], [experts, width, inner]];
        // At most one of the two can be square.
        let found = [0, 1].map(|i| layout(loader, STACKS[i], shapes[i]));
        let load = |i: usize| {
            let layout = match found[i] {
                Layout::Either => found[1 - i],
                other => other,
            };
            match layout {
                Layout::Published => loader.param_transposed(STACKS[i], shapes[i]),
                Layout::Transposed | Layout::Either => loader.param(STACKS[i], shapes[i]),
            }
        };
        Self {
            gate_up_proj: load(0),
            down_proj: load(1),
            gate_up_adapter: None,
            down_adapter: None,
            path: loader.prefix().to_owned(),
        }
    }

    /// Rows grouped by expert, `[rows, width]` to the same shape.
    fn forward(&self, x: Tensor<2>, groups: &Groups, pass: AdapterPass) -> Tensor<2> {
        let project = |x: Tensor<2>, w: &Param<Tensor<3>>, adapter: &Option<Stacked>| {
            let adapter = adapter.as_ref().filter(|_| pass.on);
            let y = grouped_linear(x.clone(), w.val(), groups);
            match adapter {
                Some(adapter) => adapter.add(x, y, groups),
                None => y,
            }
        };
        let h = project(x, &self.gate_up_proj, &self.gate_up_adapter);
        let inner = h.dims()[1] / 2;
        let h = swiglu(h.clone().narrow(1, 0, inner), h.narrow(1, inner, inner));
        project(h, &self.down_proj, &self.down_adapter)
    }

    /// The two stacks as targets of adapters.
    pub fn stacks(&self) -> [StackInfo; 2] {
        let info = |i: usize, w: &Param<Tensor<3>>| {
            let [experts, out_features, in_features] = w.val().dims();
            StackInfo {
                path: format!("{}.{}", self.path, STACKS[i]),
                experts,
                in_features,
                out_features,
            }
        };
        [info(0, &self.gate_up_proj), info(1, &self.down_proj)]
    }

    fn slots(&mut self) -> [(StackInfo, &mut Option<Stacked>); 2] {
        let [gate_up, down] = self.stacks();
        [
            (gate_up, &mut self.gate_up_adapter),
            (down, &mut self.down_adapter),
        ]
    }

    /// Fresh adapters where `config` names a stack.
    pub(super) fn attach_fresh(
        &mut self,
        config: &LoraConfig,
        seed: u64,
        device: &Device,
    ) -> Result<(), LoraError> {
        for (stack, slot) in self.slots() {
            if config.targets_parameter(&stack.path) {
                *slot = Some(Stacked::fresh(&stack, config, seed, device)?);
            }
        }
        Ok(())
    }

    /// Takes the factors of this layer's stacks out of `factors`, where they stand under the paths of peft's wrappers.
    pub(super) fn attach(
        &mut self,
        config: &LoraConfig,
        factors: &mut BTreeMap<String, Factors>,
        device: &Device,
    ) -> Result<(), LoraError> {
        for wrapper in self.wrappers() {
            let Some(found) = factors.remove(&wrapper) else {
                continue;
            };
            let mut slots = self.slots();
            let named = |s: &StackInfo| config.targets_parameter(&s.path);
            let place = slots.iter().position(|(stack, slot)| {
                slot.is_none() && named(stack) && Stacked::fits(stack, &found)
            });
            let Some(place) = place else {
                let (a, b) = (found.a.shape(), found.b.shape());
                return Err(NnError::input(format!(
                    "adapter factors of `{wrapper}` have shapes {a:?} and {b:?}, which fit none of its target_parameters"
                ))
                .into());
            };
            let (stack, slot) = &mut slots[place];
            **slot = Some(Stacked::new(stack, config, found, device)?);
        }
        Ok(())
    }

    /// Paths of peft's wrappers, the inner one first: its factors are those of the first stack.
    fn wrappers(&self) -> [String; 2] {
        [format!("{}.base_layer", self.path), self.path.clone()]
    }

    /// Factors by wrapper path.
    pub(super) fn factors(&self) -> Vec<(String, Factors)> {
        let [inner, outer] = self.wrappers();
        let adapters = [&self.gate_up_adapter, &self.down_adapter];
        match adapters.map(|a| a.as_ref().map(Stacked::factors)) {
            [Some(gate_up), Some(down)] => vec![(inner, gate_up), (outer, down)],
            [one, other] => one.or(other).map(|f| (outer, f)).into_iter().collect(),
        }
    }

    /// Adds the adapters into the stacks and drops them.
    pub(super) fn merge(&mut self) {
        let merge = |w: &mut Param<Tensor<3>>, adapter: &mut Option<Stacked>| {
            if let Some(adapter) = adapter.take() {
                let (id, value, _) = w.clone().consume();
                *w = Param::initialized(id, adapter.merged(value));
            }
        };
        merge(&mut self.gate_up_proj, &mut self.gate_up_adapter);
        merge(&mut self.down_proj, &mut self.down_adapter);
    }
}

/// How the file stores a stack that is `shape` in memory. A shape that is neither is noted as a fault.
fn layout(loader: &Loader<'_>, name: &str, shape: [usize; 3]) -> Layout {
    let published = [shape[0], shape[2], shape[1]];
    let Some(found) = loader.stored_shape(name) else {
        return Layout::Transposed;
    };
    match (found == published, found == shape) {
        (true, true) => Layout::Either,
        (true, false) => Layout::Published,
        (false, true) => Layout::Transposed,
        (false, false) => {
            loader.fault(NnError::ExpertLayout {
                name: loader.path(name),
                origin: loader.origin(),
                found,
                layouts: Box::new([published, shape]),
            });
            Layout::Transposed
        }
    }
}

/// Whether a stack is written `[expert, in, out]`, given its shape in memory. Transformers 5 transposes published
/// files only where the shape tells it to, so a model with a square stack is written as transformers 5 has it.
pub(super) fn written_published(width: usize, c: &MoeConfig) -> bool {
    width != 2 * c.intermediate_size && width != c.intermediate_size
}
