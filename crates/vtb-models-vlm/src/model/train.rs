//! The training pass: forward block by block, the objective on the host, backward block by block.

use std::sync::Arc;

use burn::tensor::{DType, IndexingUpdateOp, Tensor};
use vtb_lora::AdapterPass;
use vtb_nn::NnError;
use vtb_nn::lm::{BackwardOptions, LmRow, LogpGradient, NamedTensors, PassReport};
use vtb_nn::ops::RouterBalance;
use vtb_nn::ops::head::head_backward;
use vtb_nn::params::add_gradient;
use vtb_nn::recompute::{Keep, Role, Segment};

use super::Vlm;
use super::layers::RmsNorm;
use super::packing::indices;
use super::plan::BatchPlan;
use super::score::{Features, add_deepstack, score_hidden, split_scores};
use super::text::{DecoderLayer, TextContext};
use super::tower::Tower;
use crate::config::TowerConfig;

const VISUAL: &str = "model.visual";
const TEXT: &str = "model.language_model";

pub(super) fn backward<T: Tower>(
    model: &Vlm<T>,
    rows: &[LmRow],
    options: &BackwardOptions,
    objective: &mut LogpGradient<'_>,
) -> Result<(NamedTensors, PassReport), NnError> {
    let plan = BatchPlan::new(rows, &model.config)?;
    if plan.targets.is_empty() {
        return Err(NnError::input(
            "no token of the batch is scored: there is nothing to train on",
        ));
    }
    let pass = AdapterPass {
        on: true,
        dropout_seed: options.dropout_seed,
    };
    let keep = if options.recompute {
        Keep::Input
    } else {
        Keep::Graph
    };
    let run = Run {
        model,
        plan: &plan,
        keep,
        pass,
        trains: &|path| model.trains(path),
    };
    let (features, vision) = run.vision_forward();
    let mut context = plan.text(&model.config.text, pass, &model.device);
    let moe = model.config.text.moe.as_ref();
    context.balance = moe.map(|moe| Arc::new(RouterBalance::new(moe.num_experts)));
    let (hidden, text) = run.text_forward(features.as_ref(), &context);
    let balance = context.balance.as_ref();
    let router_loss = balance.map(|b| b.close(options.router_loss));
    let (picked, scores) = score_hidden(model, hidden, &plan, options.temperature);
    let weights = run.ask(objective, split_scores(&plan, &scores))?;
    let mut gradients = NamedTensors::new();
    let g = run.head_backward(
        picked,
        &scores.lse,
        &weights,
        options.temperature,
        &mut gradients,
    );
    let g = run.text_backward(text, g, &context, &mut gradients);
    if let (Some(g), Some(vision)) = (&g, vision) {
        run.vision_backward(vision, g, &mut gradients);
    }
    if let Some(g) = g {
        run.embedding_backward(g.input, &mut gradients);
    }
    Ok((gradients, PassReport { router_loss }))
}

/// One pass: the model, its batch and how to keep activations.
struct Run<'a, T: Tower> {
    model: &'a Vlm<T>,
    plan: &'a BatchPlan,
    keep: Keep,
    pass: AdapterPass,
    trains: &'a dyn Fn(&str) -> bool,
}

/// The vision tower between its forward and its backward pass.
struct VisionTape<T: Tower> {
    context: T::Context,
    stem: Segment<T::Stem>,
    blocks: Vec<Segment<T::Block>>,
    deepstack: Vec<Segment<T::Merger>>,
    merger: Segment<T::Merger>,
}

/// Gradients that leave the decoder downwards.
struct TextGradient {
    /// By the embeddings with pictures in place, `[tokens, width]`.
    input: Tensor<2>,
    /// By the output of the layers that take deepstack features.
    injected: Vec<Tensor<2>>,
}

impl<T: Tower> Run<'_, T> {
    fn role(&self, prefix: String, input_gradient: bool) -> Role<'_> {
        Role {
            prefix,
            trainable: self.trains,
            input_gradient,
        }
    }

    /// Features of the pictures; the tape only where something in the tower trains.
    fn vision_forward(&self) -> (Option<Features>, Option<VisionTape<T>>) {
        let model = self.model;
        if !model.trains_below(VISUAL) {
            return (model.features(self.plan, self.pass), None);
        }
        let vision = &model.config.vision;
        let found = self.plan.vision::<T>(vision, self.pass, &model.device);
        let Some((patches, context)) = found else {
            return (None, None);
        };
        let tower = &model.net.model.visual;
        let forward = |stem: &T::Stem, x| T::run_stem(stem, x, &context);
        let (mut x, stem) = Segment::forward(
            &tower.stem(),
            patches,
            self.keep,
            &self.role(VISUAL.into(), false),
            forward,
        );
        let (mut blocks, mut deepstack, mut injected) = (Vec::new(), Vec::new(), Vec::new());
        for (i, block) in tower.blocks().iter().enumerate() {
            let role = self.role(format!("{VISUAL}.blocks.{i}"), true);
            let (y, segment) = Segment::forward(block, x, self.keep, &role, |b, x| {
                T::run_block(i, b, x, &context)
            });
            blocks.push(segment);
            x = y;
            if let Some(slot) = T::deepstack_slot(vision, i) {
                let merger = &tower.deepstack()[slot];
                let (added, segment) = self.merger_forward(merger, Some(slot), x.clone(), &context);
                injected.push(added);
                deepstack.push(segment);
            }
        }
        let (merged, merger) = self.merger_forward(tower.merger(), None, x, &context);
        let tape = VisionTape {
            context,
            stem,
            blocks,
            deepstack,
            merger,
        };
        (
            Some(Features {
                merged,
                deepstack: injected,
            }),
            Some(tape),
        )
    }

    fn merger_role(&self, slot: Option<usize>) -> Role<'_> {
        self.role(
            match slot {
                Some(slot) => format!("{VISUAL}.deepstack_merger_list.{slot}"),
                None => format!("{VISUAL}.merger"),
            },
            true,
        )
    }

    fn merger_forward(
        &self,
        merger: &T::Merger,
        slot: Option<usize>,
        x: Tensor<2>,
        context: &T::Context,
    ) -> (Tensor<2>, Segment<T::Merger>) {
        Segment::forward(merger, x, self.keep, &self.merger_role(slot), |m, x| {
            T::run_merger(m, x, context)
        })
    }

    /// Whether anything below the output of layer `layer` trains, embeddings and pictures included.
    fn trains_under(&self, layer: usize) -> bool {
        self.trains_input()
            || (0..layer).any(|i| self.model.trains_below(&format!("{TEXT}.layers.{i}.")))
    }

    fn trains_input(&self) -> bool {
        let model = self.model;
        model.trains_below(VISUAL) || model.trains(&format!("{TEXT}.embed_tokens.weight"))
    }

    fn layer_role(&self, layer: usize) -> Role<'_> {
        self.role(format!("{TEXT}.layers.{layer}"), self.trains_under(layer))
    }

    fn text_forward(
        &self,
        features: Option<&Features>,
        context: &TextContext,
    ) -> (Tensor<2>, Vec<Segment<DecoderLayer>>) {
        let mut x = self.model.embed(self.plan, features);
        let mut segments = Vec::new();
        for (i, layer) in self
            .model
            .net
            .model
            .language_model
            .layers
            .iter()
            .enumerate()
        {
            let role = self.layer_role(i);
            let (y, segment) =
                Segment::forward(layer, x, self.keep, &role, |l, x| l.forward(x, context));
            x = add_deepstack(y, i, self.plan, features);
            segments.push(segment);
        }
        (x, segments)
    }

    /// Asks the objective and checks its answer against the batch.
    fn ask(
        &self,
        objective: &mut LogpGradient<'_>,
        scores: Vec<vtb_nn::lm::TokenScores>,
    ) -> Result<Vec<f32>, NnError> {
        let weights = objective(&scores)?;
        let fits = weights.len() == scores.len()
            && weights
                .iter()
                .zip(&scores)
                .all(|(w, s)| w.len() == s.logp.len());
        if !fits {
            return Err(NnError::input(
                "the objective must answer one derivative for every scored token of every row",
            ));
        }
        Ok(weights.concat())
    }

    /// Through the output head and the final norm; the gradient by the last layer's output.
    fn head_backward(
        &self,
        picked: Tensor<2>,
        lse: &[f32],
        weights: &[f32],
        temperature: f32,
        into: &mut NamedTensors,
    ) -> Tensor<2> {
        let model = self.model;
        let norm = &model.net.model.language_model.norm;
        let head_name = match &model.net.lm_head {
            Some(_) => "lm_head.weight".to_owned(),
            None => format!("{TEXT}.embed_tokens.weight"),
        };
        let role = self.role(format!("{TEXT}.norm"), true);
        let forward = |n: &RmsNorm, x| n.forward(x);
        let (normed, segment) = Segment::forward(norm, picked, Keep::Input, &role, forward);
        let (d_normed, d_head) = head_backward(
            &normed,
            &model.net.head(),
            &self.plan.targets,
            lse,
            weights,
            temperature,
            model.trains(&head_name),
        );
        if let Some(d) = d_head {
            add_gradient(into, head_name, d.flatten(0, 1));
        }
        let d_picked = segment.backward(norm, d_normed, &role, forward, into);
        let rows = self.plan.ids.len();
        let width = model.config.text.hidden_size;
        let zeros = Tensor::zeros([rows, width], (&model.device, model.net.head().dtype()));
        match d_picked {
            Some(d) => {
                let places = indices(&self.plan.predictors, &model.device);
                zeros.select_assign(0, places, d, IndexingUpdateOp::Add)
            }
            None => zeros,
        }
    }

    /// Down through the layers, as far as anything below trains.
    fn text_backward(
        &self,
        segments: Vec<Segment<DecoderLayer>>,
        gradient: Tensor<2>,
        context: &TextContext,
        into: &mut NamedTensors,
    ) -> Option<TextGradient> {
        let layers = &self.model.net.model.language_model.layers;
        let slots = self.model.net.model.visual.deepstack().len();
        let mut injected = Vec::new();
        let mut g = gradient;
        for (i, segment) in segments.into_iter().enumerate().rev() {
            if i < slots {
                injected.push(g.clone());
            }
            let role = self.layer_role(i);
            g = segment.backward(&layers[i], g, &role, |l, x| l.forward(x, context), into)?;
        }
        injected.reverse();
        Some(TextGradient { input: g, injected })
    }

    /// Sums decoder gradients at the placeholders by the feature that stands there.
    fn by_feature(&self, gradient: &Tensor<2>) -> Tensor<2> {
        let device = &self.model.device;
        let unit = self.model.config.vision.merge_unit();
        let rows: usize = self
            .plan
            .grids
            .iter()
            .map(|g| g.iter().product::<usize>() / unit)
            .sum();
        let at = gradient
            .clone()
            .select(0, indices(&self.plan.placeholders, device));
        let zeros = Tensor::zeros([rows, gradient.dims()[1]], (device, gradient.dtype()));
        zeros.select_assign(
            0,
            indices(&self.plan.features, device),
            at,
            IndexingUpdateOp::Add,
        )
    }

    fn vision_backward(&self, tape: VisionTape<T>, text: &TextGradient, into: &mut NamedTensors) {
        let tower = &self.model.net.model.visual;
        let context = &tape.context;
        let merge = |m: &T::Merger, x| T::run_merger(m, x, context);
        let d = self.by_feature(&text.input);
        let mut g = tape
            .merger
            .backward(tower.merger(), d, &self.merger_role(None), merge, into);
        let mut deepstack = tape.deepstack.into_iter().enumerate().rev().peekable();
        for (i, segment) in tape.blocks.into_iter().enumerate().rev() {
            if T::deepstack_slot(&self.model.config.vision, i).is_some()
                && let Some((slot, segment)) = deepstack.next()
            {
                let d = self.by_feature(&text.injected[slot]);
                let merger = &tower.deepstack()[slot];
                let role = self.merger_role(Some(slot));
                let added = segment.backward(merger, d, &role, merge, into);
                g = match (g, added) {
                    (Some(g), Some(added)) => Some(g + added),
                    (g, added) => g.or(added),
                };
            }
            let role = self.role(format!("{VISUAL}.blocks.{i}"), true);
            let Some(d) = g else { return };
            g = segment.backward(
                &tower.blocks()[i],
                d,
                &role,
                |b, x| T::run_block(i, b, x, context),
                into,
            );
        }
        if let Some(g) = g {
            let role = self.role(VISUAL.into(), false);
            tape.stem.backward(
                &tower.stem(),
                g,
                &role,
                |s, x| T::run_stem(s, x, context),
                into,
            );
        }
    }

    /// Gradient of the embedding table: rows of text tokens, summed by id.
    fn embedding_backward(&self, gradient: Tensor<2>, into: &mut NamedTensors) {
        let name = format!("{TEXT}.embed_tokens.weight");
        if !self.model.trains(&name) {
            return;
        }
        let tokens = self.model.config.ids;
        let at: Vec<usize> = (0..self.plan.ids.len())
            .filter(|i| !tokens.is_pad(self.plan.ids[*i]))
            .collect();
        let ids: Vec<usize> = at.iter().map(|i| self.plan.ids[*i] as usize).collect();
        let device = &self.model.device;
        let rows = gradient.cast(DType::F32).select(0, indices(&at, device));
        let table = self
            .model
            .net
            .model
            .language_model
            .embed_tokens
            .weight
            .val();
        let zeros = Tensor::<2>::zeros(table.dims(), (device, DType::F32));
        let d = zeros.select_assign(0, indices(&ids, device), rows, IndexingUpdateOp::Add);
        add_gradient(into, name, d.flatten(0, 1));
    }
}
