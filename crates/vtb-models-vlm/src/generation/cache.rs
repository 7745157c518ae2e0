//! Keys and values of what was read so far, allocated once for a whole generation.

use burn::tensor::{Tensor, s};
use vtb_lora::AdapterPass;
use vtb_nn::ops::{AttentionMask, RopeTable, attention};

use crate::model::{Tower, Vlm, indices, text_rope};

/// Caches of all layers for the lanes that decode together. All lanes append at the same slot, whenever they began:
/// the prompt of a row that enters is put before it. When the room is full, everything moves towards its beginning.
#[derive(Debug)]
pub struct Cache {
    layers: Vec<LayerCache>,
    /// Where every lane's row begins; `None` for a lane without one.
    starts: Vec<Option<usize>>,
    /// Where the next token of every lane goes.
    slot: usize,
    capacity: usize,
    /// Tokens of the longest prompt, for which there must be room before the slot.
    longest: usize,
}

/// Keys and values of one layer, each `[lanes, capacity, kv_heads, dim]`.
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
    /// Room for prompts of up to `longest` tokens and `max_new` more. If rows enter later than others, there is half as
    /// much again, so that moving them is rare.
    pub(super) fn new(lanes: usize, longest: usize, max_new: usize, enter_later: bool) -> Self {
        let window = longest + max_new;
        let more = if enter_later { window / 2 + 1 } else { 0 };
        Self {
            layers: Vec::new(),
            starts: vec![None; lanes],
            slot: longest,
            capacity: window + more,
            longest,
        }
    }

    /// Puts the keys and values of a prompt, each `[tokens, kv_heads, dim]` by layer, into a lane that has no row.
    pub(super) fn enter(&mut self, lane: usize, prompt: &[[Tensor<3>; 2]]) {
        let lanes = self.starts.len();
        for (at, [keys, values]) in prompt.iter().enumerate() {
            if self.layers.len() == at {
                let room = |like: &Tensor<3>| {
                    let [_, heads, dim] = like.dims();
                    let options = (&like.device(), like.dtype());
                    Tensor::<4>::zeros([lanes, self.capacity, heads, dim], options)
                };
                let (keys, values) = (Some(room(keys)), Some(room(values)));
                self.layers.push(LayerCache { keys, values });
            }
            let from = self.slot - keys.dims()[0];
            let place = s![lane..lane + 1, from..self.slot];
            let layer = &mut self.layers[at];
            layer.change(|room, is_keys| {
                let new = if is_keys { keys } else { values };
                room.slice_assign(place, new.clone().unsqueeze::<4>())
            });
            self.starts[lane] = Some(from);
        }
    }

    /// The row of a lane has ended.
    pub(super) fn leave(&mut self, lane: usize) {
        self.starts[lane] = None;
    }

    /// Only these lanes stay, in this order.
    pub(super) fn keep(&mut self, lanes: &[usize]) {
        self.starts = lanes.iter().map(|lane| self.starts[*lane]).collect();
        for layer in &mut self.layers {
            layer.change(|room, _| {
                let places = indices(lanes, &room.device());
                room.select(0, places)
            });
        }
    }

    /// Opens a step whose tokens stand at `positions`, one per lane.
    pub(super) fn step<T: Tower>(&mut self, model: &Vlm<T>, positions: &[i32]) -> StepContext {
        if self.slot == self.capacity {
            self.move_back();
        }
        let slot = self.slot;
        self.slot += 1;
        let positions: Vec<[i32; 3]> = positions.iter().map(|p| [*p; 3]).collect();
        let starts = self.starts.iter();
        let ranges = starts.map(|start| (start.unwrap_or(slot) as u32, slot as u32 + 1));
        StepContext {
            rope: text_rope(&positions, &model.config().text, model.device()),
            pass: AdapterPass::EVAL,
            slot,
            mask: AttentionMask::from_ranges(ranges.collect()),
        }
    }

    /// Moves all rows towards the beginning of the room, as far as they and later prompts allow.
    fn move_back(&mut self) {
        let first = self.starts.iter().flatten().min().copied();
        let by = first.unwrap_or(self.slot).min(self.slot - self.longest);
        let (slot, capacity) = (self.slot, self.capacity);
        for layer in &mut self.layers {
            layer.change(|room, _| {
                let [lanes, _, heads, dim] = room.dims();
                let options = (&room.device(), room.dtype());
                let used = room.narrow(1, by, slot - by);
                let fresh = Tensor::<4>::zeros([lanes, capacity, heads, dim], options);
                fresh.slice_assign(s![.., 0..slot - by], used)
            });
        }
        self.starts.iter_mut().flatten().for_each(|at| *at -= by);
        self.slot -= by;
    }

    pub(super) fn layers_mut(&mut self) -> impl Iterator<Item = &mut LayerCache> {
        self.layers.iter_mut()
    }
}

impl LayerCache {
    /// Replaces keys (`true`) and values. Each is taken out while it changes, so that it is unshared and changes in
    /// place.
    fn change(&mut self, mut change: impl FnMut(Tensor<4>, bool) -> Tensor<4>) {
        self.keys = self.keys.take().map(|keys| change(keys, true));
        self.values = self.values.take().map(|values| change(values, false));
    }

    /// Appends one token per lane and attends to everything cached. Heads are `[lanes, heads, dim]`; the result is
    /// `[lanes, heads·dim]`.
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

/// Writes `new` (`[lanes, heads, dim]`) at `slot`, in place: see [`LayerCache::change`].
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
