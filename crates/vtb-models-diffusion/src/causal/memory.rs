//! What layers remember between pieces of a clip.

use burn::tensor::Tensor;

/// A slot for every layer that looks back, in the order in which they are run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Memory {
    slots: Vec<Slot>,
    at: usize,
}

/// The last frames a layer has seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Slot {
    /// Frames seen so far.
    pub(super) seen: usize,
    /// The last of them, oldest first.
    pub(super) frames: Vec<Tensor<3>>,
}

impl Memory {
    /// Another piece of the clip begins: the first layer is the next to ask.
    pub(crate) fn rewind(&mut self) {
        self.at = 0;
    }

    /// The slot of the next layer.
    pub(super) fn slot(&mut self) -> &mut Slot {
        if self.at == self.slots.len() {
            self.slots.push(Slot::default());
        }
        self.at += 1;
        &mut self.slots[self.at - 1]
    }
}

impl Slot {
    /// Remembers a frame, and of those before it so many that `most` are kept.
    pub(super) fn push(&mut self, frame: Tensor<3>, most: usize) {
        self.seen += 1;
        self.frames.push(frame);
        if self.frames.len() > most {
            self.frames.remove(0);
        }
    }

    /// The frame `back` frames before the next one.
    pub(super) fn back(&self, back: usize) -> Option<&Tensor<3>> {
        let at = self.frames.len().checked_sub(back)?;
        self.frames.get(at)
    }
}
