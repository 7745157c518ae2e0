//! Keys and values of what was read so far, allocated once for a whole generation.

use burn::tensor::{Tensor, s};
use vtb_lora::AdapterPass;
use vtb_nn::ops::{AttentionMask, RopeTable, attention};

use crate::model::{Tower, Vlm, text_rope};

/// Caches of all layers for a batch of rows. Prompts end at a common place, so that all rows append at the same one;
/// shorter prompts have unused room before them.
#[derive(Debug)]
pub struct Cache {
    layers: Vec<LayerCache>,
    /// Lengths of the distinct prompts.
    lengths: Vec<usize>,
    /// Distinct prompt of every row.
    which: Vec<usize>,
    /// Where prompts end.
    prompt: usize,
    capacity: usize,
    /// Tokens appended since.
    appended: usize,
}

/// Keys and values of one layer, each `[rows, capacity, kv_heads, dim]`.
#[derive(Debug)]
pub struct LayerCache {
    keys: Option<Tensor<4>>,
    values: Option<Tensor<4>>,
}

/// What one decoding step shares between layers.
pub struct StepContext {
    /// Rotation of each row's new token.
    pub rope: RopeTable,
    /// Adapter state.
    pub pass: AdapterPass,
    /// Where the new token goes.
    slot: usize,
    mask: AttentionMask,
}

impl Cache {
    pub(super) fn new(lengths: &[usize], which: &[usize], max_new: usize) -> Self {
        let prompt = lengths.iter().copied().max().unwrap_or(0);
        Self {
            layers: Vec::new(),
            lengths: lengths.to_vec(),
            which: which.to_vec(),
            prompt,
            capacity: prompt + max_new,
            appended: 0,
        }
    }

    /// Adds a layer holding the packed keys and values `[tokens, kv_heads, dim]` of the distinct prompts.
    pub(super) fn fill(&mut self, keys: &Tensor<3>, values: &Tensor<3>) {
        let layer = LayerCache {
            keys: Some(self.spread(keys)),
            values: Some(self.spread(values)),
        };
        self.layers.push(layer);
    }

    fn spread(&self, packed: &Tensor<3>) -> Tensor<4> {
        let [_, heads, dim] = packed.dims();
        let mut pieces = Vec::with_capacity(self.lengths.len());
        let mut start = 0;
        for &length in &self.lengths {
            let piece = packed.clone().narrow(0, start, length);
            start += length;
            pieces.push(piece.unsqueeze::<4>());
        }
        let shape = [self.which.len(), self.capacity, heads, dim];
        let options = (&packed.device(), packed.dtype());
        let mut room = Tensor::<4>::zeros(shape, options);
        for (row, &which) in self.which.iter().enumerate() {
            let from = self.prompt - self.lengths[which];
            room = room.slice_assign(s![row..row + 1, from..self.prompt], pieces[which].clone());
        }
        room
    }

    /// Opens a step whose tokens stand at `positions`.
    pub(super) fn step<T: Tower>(&mut self, model: &Vlm<T>, positions: &[i32]) -> StepContext {
        let slot = self.prompt + self.appended;
        self.appended += 1;
        let positions: Vec<[i32; 3]> = positions.iter().map(|p| [*p; 3]).collect();
        let ranges = self
            .which
            .iter()
            .map(|w| ((self.prompt - self.lengths[*w]) as u32, slot as u32 + 1));
        StepContext {
            rope: text_rope(&positions, &model.config().text, model.device()),
            pass: AdapterPass::EVAL,
            slot,
            mask: AttentionMask::from_ranges(ranges.collect()),
        }
    }

    pub(super) fn layers_mut(&mut self) -> impl Iterator<Item = &mut LayerCache> {
        self.layers.iter_mut()
    }
}

impl LayerCache {
    /// Appends one token per row and attends to everything cached. Heads are `[rows, heads, dim]`; the result is
    /// `[rows, heads·dim]`.
    pub(crate) fn attend(
        &mut self,
        q: Tensor<3>,
        k: Tensor<3>,
        v: Tensor<3>,
        context: &StepContext,
        scale: f32,
    ) -> Tensor<2> {
        let [rows, heads, dim] = q.dims();
        let keys = append(&mut self.keys, k, context.slot);
        let values = append(&mut self.values, v, context.slot);
        let q = q.reshape([rows, 1, heads, dim]);
        attention(q, keys, values, &context.mask, scale).reshape([rows, heads * dim])
    }
}

/// Writes `new` (`[rows, heads, dim]`) at `slot`. The tensor is taken out while it is written so that it is unshared
/// and changes in place.
fn append(room: &mut Option<Tensor<4>>, new: Tensor<3>, slot: usize) -> Tensor<4> {
    let [rows, heads, dim] = new.dims();
    let new = new.reshape([rows, 1, heads, dim]);
    let written = match room.take() {
        Some(all) => all.slice_assign(s![.., slot..slot + 1], new),
        None => new,
    };
    *room = Some(written.clone());
    written
}
