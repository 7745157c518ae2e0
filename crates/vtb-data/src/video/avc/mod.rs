//! H.264 for drawings: Constrained Baseline in one slice a frame, made of integer arithmetic alone,
//! so that the same frames give the same bytes everywhere.
//!
//! Clips of puzzles stand still but for a line that grows. An encoder for cameras searches every
//! block of every frame for motion; this one is told which macroblocks may have changed, passes
//! over the others, and adds to what is there. Key frames predict each macroblock from its edges.
//! Every quantizer is exact to a step: edges of blocks are not smoothed, which would blur lines.

mod bits;
mod block;
mod cavlc;
mod sets;
mod tables;
mod transform;

use super::color::Planes;
use super::mp4_write::Coded;
use block::Picture;

/// Encodes frames of one size.
pub(super) struct Encoder {
    picture: Picture,
    /// Frames from one key frame to the next.
    interval: u32,
    /// Frames since the last key frame, and key frames so far.
    number: u32,
    keys: u32,
    pub(super) sps: Vec<u8>,
    pub(super) pps: Vec<u8>,
}

impl Encoder {
    /// For frames of the size of `planes`; `quantizer` from 12 to 51, below which coefficients
    /// could outgrow their code. A key frame comes at least every second. `colors` are primaries,
    /// transfer and matrix as numbers of H.273.
    pub(super) fn new(planes: &Planes, fps: f64, quantizer: u8, colors: [u8; 3]) -> Self {
        let size = [planes.width, planes.height].map(|side| side as u32);
        Self {
            picture: Picture::new(planes.blocks(), quantizer.clamp(12, 51)),
            interval: fps.max(1.0) as u32,
            number: 0,
            keys: 0,
            sps: sets::sequence(size, fps, colors),
            pps: sets::picture(quantizer),
        }
    }

    /// Encodes the next frame: its slice, with the length in front.
    pub(super) fn encode(&mut self, planes: &Planes) -> Coded {
        let key = self.number == 0;
        let mut out = sets::slice(self.number, self.keys);
        match key {
            true => self.picture.write_whole(planes, &mut out),
            false => self.picture.write_changes(planes, &mut out),
        }
        self.keys += u32::from(key);
        self.number = (self.number + 1) % self.interval;
        let unit = out.finish();
        let mut data = Vec::with_capacity(unit.len() + 4);
        data.extend((unit.len() as u32).to_be_bytes());
        data.extend(unit);
        Coded { data, key }
    }
}
