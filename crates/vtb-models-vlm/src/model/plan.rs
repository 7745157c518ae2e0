//! From rows to what the towers run on: one packed sequence, pictures once each, and who goes where.

use std::collections::HashMap;

use burn::tensor::{Device, Tensor, TensorData};
use vtb_lora::AdapterPass;
use vtb_nn::NnError;
use vtb_nn::lm::LmRow;
use vtb_nn::ops::RopeTable;

use super::packing::Packing;
use super::text::TextContext;
use super::tower::Tower;
use crate::config::{TextConfig, TowerConfig, VlmConfig};
use crate::positions::positions;

/// A batch laid out for the network. Tokens of all rows lie end to end, without padding.
#[derive(Debug)]
pub struct BatchPlan {
    /// Tokens per row.
    pub lengths: Vec<usize>,
    /// All token ids.
    pub ids: Vec<u32>,
    /// Time, height and width position of every token.
    pub positions: Vec<[i32; 3]>,
    /// Per row: what to add to a token's index to get its position once the prompt is over.
    pub deltas: Vec<i32>,
    /// Grids of the distinct pictures and videos.
    pub grids: Vec<[usize; 3]>,
    /// Patch rows of the distinct pictures and videos, `[patches, patch_dim]`.
    pub patches: Vec<f32>,
    /// Packed indices of placeholders, ascending.
    pub placeholders: Vec<usize>,
    /// For each placeholder, the row of the merged features that replaces it.
    pub features: Vec<usize>,
    /// Packed indices whose hidden state predicts a scored token.
    pub predictors: Vec<usize>,
    /// The scored tokens themselves.
    pub targets: Vec<u32>,
    /// Scored tokens per row.
    pub scored: Vec<usize>,
}

impl BatchPlan {
    /// Lays out `rows`.
    ///
    /// # Errors
    /// A row that is empty, holds an id outside the vocabulary, scores its first token, or whose placeholders do
    /// not match its pictures; the message names the row.
    pub fn new<V: TowerConfig>(rows: &[LmRow], c: &VlmConfig<V>) -> Result<Self, NnError> {
        let mut plan = Self::empty();
        let mut pictures: HashMap<u64, usize> = HashMap::new();
        let mut merged_rows = 0;
        for (index, row) in rows.iter().enumerate() {
            check_row(index, row, c)?;
            let offset = plan.ids.len();
            let mut starts = Vec::new();
            for image in &row.images {
                let start = *pictures.entry(image.key).or_insert_with(|| {
                    let start = merged_rows;
                    merged_rows += image.rows() / c.vision.merge_unit();
                    plan.grids.push(image.grid);
                    plan.patches.extend_from_slice(&image.values);
                    start
                });
                starts.push((start, image.rows() / c.vision.merge_unit()));
            }
            let mut features = starts.into_iter().flat_map(|(start, n)| start..start + n);
            for (i, &id) in row.ids.iter().enumerate() {
                if c.ids.is_pad(id) {
                    plan.placeholders.push(offset + i);
                    plan.features.extend(features.next());
                }
                if row.scored.get(i) == Some(&true) {
                    plan.predictors.push(offset + i - 1);
                    plan.targets.push(id);
                }
            }
            let grids: Vec<_> = row.images.iter().map(|image| image.grid).collect();
            let (found, delta) = positions(&row.ids, &grids, &c.ids, c.vision.merge_size())
                .map_err(|e| NnError::input(format!("row {index}: {e}")))?;
            plan.positions.extend(found);
            plan.deltas.push(delta);
            plan.lengths.push(row.ids.len());
            plan.scored.push(row.scored_count());
            plan.ids.extend_from_slice(&row.ids);
        }
        Ok(plan)
    }

    fn empty() -> Self {
        Self {
            lengths: Vec::new(),
            ids: Vec::new(),
            positions: Vec::new(),
            deltas: Vec::new(),
            grids: Vec::new(),
            patches: Vec::new(),
            placeholders: Vec::new(),
            features: Vec::new(),
            predictors: Vec::new(),
            targets: Vec::new(),
            scored: Vec::new(),
        }
    }

    /// Patch rows on the device, `[patches, patch_dim]` in f32, and the tower's context.
    pub fn vision<T: Tower>(
        &self,
        c: &T::Config,
        pass: AdapterPass,
        device: &Device,
    ) -> Option<(Tensor<2>, T::Context)> {
        if self.grids.is_empty() {
            return None;
        }
        let columns = c.patch_dim();
        let rows = self.patches.len() / columns;
        let patches = Tensor::from_data(
            TensorData::new(self.patches.clone(), [rows, columns]),
            device,
        );
        Some((patches, T::context(&self.grids, c, pass, device)))
    }

    /// The decoder's context.
    pub fn text(&self, c: &TextConfig, pass: AdapterPass, device: &Device) -> TextContext {
        TextContext {
            packing: Packing::new(&self.lengths, true),
            rope: text_rope(&self.positions, c, device),
            pass,
            balance: None,
        }
    }

    /// Splits a flat list over scored tokens by row.
    pub fn by_row<T: Clone>(&self, flat: &[T]) -> Vec<Vec<T>> {
        let mut rest = flat;
        let take = |&n: &usize| {
            let (head, tail) = rest.split_at(n);
            rest = tail;
            head.to_vec()
        };
        self.scored.iter().map(take).collect()
    }
}

/// Rotary tables of decoder positions.
pub(crate) fn text_rope(positions: &[[i32; 3]], c: &TextConfig, device: &Device) -> RopeTable {
    let angles = c.mrope().angles(positions, c.head_dim, c.rope_theta);
    RopeTable::from_angles(&angles, c.head_dim / 2, device)
}

fn check_row<V: TowerConfig>(index: usize, row: &LmRow, c: &VlmConfig<V>) -> Result<(), NnError> {
    let fail = |message: String| Err(NnError::input(format!("row {index}: {message}")));
    if row.ids.is_empty() {
        return fail("it has no tokens".into());
    }
    if let Some(id) = row.ids.iter().find(|id| **id as usize >= c.text.vocab_size) {
        let size = c.text.vocab_size;
        return fail(format!(
            "token id {id} lies outside the vocabulary of {size}; is the tokenizer of another model?"
        ));
    }
    if !row.scored.is_empty() && row.scored.len() != row.ids.len() {
        return fail(format!(
            "{} score marks for {} tokens",
            row.scored.len(),
            row.ids.len()
        ));
    }
    if row.scored.first() == Some(&true) {
        return fail("the first token has no prefix to be scored under".into());
    }
    if !V::VIDEOS && row.ids.contains(&c.ids.video) {
        return fail("it shows a video, and this model is run on pictures alone here".into());
    }
    let columns = c.vision.patch_dim();
    for (i, image) in row.images.iter().enumerate() {
        let merge = c.vision.merge_size();
        let [_, h, w] = image.grid;
        if image.values.len() != image.rows() * columns
            || h % merge + w % merge != 0
            || image.rows() == 0
        {
            return fail(format!(
                "picture {i} has {} values on grid {:?}, the model reads {columns} a patch and grids divisible by {merge}",
                image.values.len(),
                image.grid
            ));
        }
    }
    let placeholders = row.ids.iter().filter(|id| c.ids.is_pad(**id)).count();
    let needed: usize = row
        .images
        .iter()
        .map(|i| i.rows() / c.vision.merge_unit())
        .sum();
    if placeholders != needed {
        let grids: Vec<_> = row.images.iter().map(|i| i.grid).collect();
        return fail(format!(
            "{placeholders} picture and video placeholder tokens, but the pictures and videos (grids {grids:?}) make {needed} features"
        ));
    }
    Ok(())
}
