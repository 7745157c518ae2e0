//! Passes outside autodiff: hidden states and scores.

use burn::tensor::{DType, IndexingUpdateOp, Tensor};
use vtb_lora::AdapterPass;
use vtb_nn::NnError;
use vtb_nn::lm::{AdapterState, LmRow, ScoreOptions, TokenScores};
use vtb_nn::ops::head::{HeadScores, head_scores};

use super::packing::indices;
use super::plan::BatchPlan;
use super::text::DecoderLayer;
use super::tower::Tower;
use super::{TextContext, Vlm};

/// Merged tokens and deepstack features of a set of pictures.
pub(super) struct Features {
    /// `[merged, decoder width]`.
    pub(super) merged: Tensor<2>,
    /// One `[merged, decoder width]` per deepstack merger.
    pub(super) deepstack: Vec<Tensor<2>>,
}

/// What [`Vlm::trace_vision`] shows.
pub struct VisionTrace {
    /// Patch embeddings with positions added.
    pub stem: Tensor<2>,
    /// Output of every block.
    pub blocks: Vec<Tensor<2>>,
    /// Merged tokens.
    pub merged: Tensor<2>,
    /// Deepstack features.
    pub deepstack: Vec<Tensor<2>>,
}

/// Runs a tower outside autodiff, keeping every intermediate result.
fn trace<T: Tower>(
    tower: &T,
    c: &T::Config,
    patches: Tensor<2>,
    context: &T::Context,
) -> VisionTrace {
    let stem = T::run_stem(&tower.stem(), patches, context);
    let mut x = stem.clone();
    let mut blocks = Vec::new();
    let mut deepstack = Vec::new();
    for (i, block) in tower.blocks().iter().enumerate() {
        x = T::run_block(i, block, x, context);
        blocks.push(x.clone());
        if let Some(slot) = T::deepstack_slot(c, i) {
            let merger = &tower.deepstack()[slot];
            deepstack.push(T::run_merger(merger, x.clone(), context));
        }
    }
    VisionTrace {
        stem,
        blocks,
        merged: T::run_merger(tower.merger(), x, context),
        deepstack,
    }
}

impl<T: Tower> Vlm<T> {
    /// The vision tower's intermediate results on the pictures of `plan`, if it has any.
    pub fn trace_vision(&self, plan: &BatchPlan) -> Option<VisionTrace> {
        self.trace_features(plan, AdapterPass::EVAL)
    }

    fn trace_features(&self, plan: &BatchPlan, pass: AdapterPass) -> Option<VisionTrace> {
        let vision = &self.config.vision;
        let (patches, context) = plan.vision::<T>(vision, pass, &self.device)?;
        Some(trace(&self.net.model.visual, vision, patches, &context))
    }

    /// Hidden states of packed rows: embeddings with pictures in place, then the output of every layer, the last
    /// after the final norm; each `[tokens, width]`.
    pub fn hidden_states(&self, rows: &[LmRow]) -> Result<Vec<Tensor<2>>, NnError> {
        let plan = BatchPlan::new(rows, &self.config)?;
        let features = self.features(&plan, AdapterPass::EVAL);
        let context = plan.text(&self.config.text, AdapterPass::EVAL, &self.device);
        let mut x = self.embed(&plan, features.as_ref());
        let mut states = vec![x.clone()];
        for (i, layer) in self.net.model.language_model.layers.iter().enumerate() {
            x = add_deepstack(layer.forward(x, &context), i, &plan, features.as_ref());
            states.push(x.clone());
        }
        states.pop();
        states.push(self.net.model.language_model.norm.forward(x));
        Ok(states)
    }

    /// Hidden states after the final norm, one `[tokens, width]` per row, without the first `skip` tokens of each.
    /// Runs outside autodiff and needs no output head.
    ///
    /// # Errors
    /// Rows and model do not fit together, or a row has no token beyond the skipped ones.
    pub fn features_of(&self, rows: &[LmRow], skip: usize) -> Result<Vec<Tensor<2>>, NnError> {
        if let Some(index) = rows.iter().position(|row| row.ids.len() <= skip) {
            return Err(NnError::input(format!(
                "row {index} has {} tokens, of which the first {skip} are to be left out: nothing remains",
                rows[index].ids.len()
            )));
        }
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let plan = BatchPlan::new(rows, &self.config)?;
        let hidden = self.decode_packed(&plan, AdapterPass::EVAL, |_, layer, x, context| {
            layer.forward(x, context)
        });
        let normed = self.net.model.language_model.norm.forward(hidden);
        let mut start = 0;
        let take = |&length: &usize| {
            let row = normed.clone().narrow(0, start + skip, length - skip);
            start += length;
            row
        };
        Ok(plan.lengths.iter().map(take).collect())
    }

    /// Logits `[tokens, vocab]` of packed rows, in f32.
    pub fn logits(&self, rows: &[LmRow]) -> Result<Tensor<2>, NnError> {
        let mut states = self.hidden_states(rows)?;
        let last = states
            .pop()
            .ok_or_else(|| NnError::input("no rows to score"))?;
        Ok(vtb_nn::ops::linear(last, self.net.head(), None).cast(DType::F32))
    }

    /// Features of the pictures of `plan`, outside autodiff.
    pub(super) fn features(&self, plan: &BatchPlan, pass: AdapterPass) -> Option<Features> {
        let trace = self.trace_features(plan, pass)?;
        Some(Features {
            merged: trace.merged,
            deepstack: trace.deepstack,
        })
    }

    /// Embeddings with merged features in the places of image tokens, `[tokens, width]`.
    pub(super) fn embed(&self, plan: &BatchPlan, features: Option<&Features>) -> Tensor<2> {
        let table = self.net.model.language_model.embed_tokens.weight.val();
        let ids: Vec<usize> = plan.ids.iter().map(|id| *id as usize).collect();
        let embedded = table.select(0, indices(&ids, &self.device));
        let Some(features) = features else {
            return embedded;
        };
        let tokens = plan.ids.len();
        let mut order: Vec<usize> = (0..tokens).collect();
        for (place, feature) in plan.placeholders.iter().zip(&plan.features) {
            order[*place] = tokens + feature;
        }
        Tensor::cat(vec![embedded, features.merged.clone()], 0)
            .select(0, indices(&order, &self.device))
    }

    /// Runs the decoder outside autodiff, showing `each` every layer.
    pub(crate) fn decode_packed(
        &self,
        plan: &BatchPlan,
        pass: AdapterPass,
        mut each: impl FnMut(usize, &DecoderLayer, Tensor<2>, &TextContext) -> Tensor<2>,
    ) -> Tensor<2> {
        let features = self.features(plan, pass);
        let context = plan.text(&self.config.text, pass, &self.device);
        let mut x = self.embed(plan, features.as_ref());
        for (i, layer) in self.net.model.language_model.layers.iter().enumerate() {
            x = add_deepstack(each(i, layer, x, &context), i, plan, features.as_ref());
        }
        x
    }
}

/// Adds the deepstack features of layer `layer` at the image placeholders.
pub(super) fn add_deepstack(
    x: Tensor<2>,
    layer: usize,
    plan: &BatchPlan,
    features: Option<&Features>,
) -> Tensor<2> {
    let Some(added) = features.and_then(|f| f.deepstack.get(layer)) else {
        return x;
    };
    let device = x.device();
    let rows = added.clone().select(0, indices(&plan.features, &device));
    x.select_assign(
        0,
        indices(&plan.placeholders, &device),
        rows,
        IndexingUpdateOp::Add,
    )
}

/// Scores under the output head at the positions that predict scored tokens.
pub(super) fn score_hidden<T: Tower>(
    model: &Vlm<T>,
    hidden: Tensor<2>,
    plan: &BatchPlan,
    temperature: f32,
) -> (Tensor<2>, HeadScores) {
    let picked = hidden.select(0, indices(&plan.predictors, &model.device));
    let normed = model.net.model.language_model.norm.forward(picked.clone());
    let scores = head_scores(&normed, &model.net.head(), &plan.targets, temperature);
    (picked, scores)
}

pub(super) fn token_scores<T: Tower>(
    model: &Vlm<T>,
    rows: &[LmRow],
    options: &ScoreOptions,
) -> Result<Vec<TokenScores>, NnError> {
    let plan = BatchPlan::new(rows, &model.config)?;
    if plan.targets.is_empty() {
        return Ok(vec![TokenScores::default(); rows.len()]);
    }
    let pass = match options.adapter {
        AdapterState::On => AdapterPass::EVAL,
        AdapterState::Off => AdapterPass::OFF,
    };
    let hidden = model.decode_packed(&plan, pass, |_, layer, x, context| {
        layer.forward(x, context)
    });
    let (_, scores) = score_hidden(model, hidden, &plan, options.temperature);
    Ok(split_scores(&plan, &scores))
}

pub(super) fn split_scores(plan: &BatchPlan, scores: &HeadScores) -> Vec<TokenScores> {
    let (logp, entropy) = (plan.by_row(&scores.logp), plan.by_row(&scores.entropy));
    logp.into_iter()
        .zip(entropy)
        .zip(plan.by_row(&scores.top))
        .map(|((logp, entropy), top)| TokenScores { logp, entropy, top })
        .collect()
}
