//! H.264 parameter sets: what a stream needs from its decoder, known before a decoder sees it.

use super::bits::Bits;
use super::boxes::Bytes;
use super::color::Colors;
use super::{Found, damaged};
use crate::error::VideoFault;

/// NAL unit types that matter here.
pub(super) const SLICE: u8 = 1;
pub(super) const IDR: u8 = 5;
pub(super) const SPS: u8 = 7;
pub(super) const PPS: u8 = 8;

/// Type of a NAL unit; 0, which no unit has, where it is empty.
pub(super) fn nal_type(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |header| header & 31)
}

/// The parts of a sequence parameter set that are used.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sequence {
    /// Size of the shown part of a frame.
    pub(super) width: u32,
    pub(super) height: u32,
    profile: u8,
    /// Number of the colour matrix and whether the range is full, where it is said.
    pub(super) matrix: Option<u8>,
    pub(super) full_range: Option<bool>,
    pub(super) pixel_aspect: Option<(u32, u32)>,
    pub(super) monochrome: bool,
}

impl Sequence {
    /// Reads a sequence parameter set and refuses what the decoder cannot do.
    pub(super) fn parse(nal: &[u8]) -> Found<Self> {
        let mut bits = Bits::of_nal(nal);
        let profile = bits.bits(8)? as u8;
        bits.bits(16)?; // constraints and level
        bits.ue()?; // id
        let chroma = match profile {
            66 | 77 | 88 => 1,
            100 => high(&mut bits)?,
            _ => return unsupported(format!("H.264 {}", profile_name(profile))),
        };
        bits.ue()?; // log2_max_frame_num
        order_count(&mut bits)?;
        bits.ue()?; // reference frames
        bits.bit()?; // gaps in frame numbers
        let blocks = (u64::from(bits.ue()?) + 1, u64::from(bits.ue()?) + 1);
        if !bits.bit()? {
            return unsupported("interlaced H.264".into());
        }
        bits.bit()?; // direct_8x8_inference
        let (width, height) = shown(&mut bits, blocks, chroma)?;
        let mut sequence = Self {
            width,
            height,
            profile,
            matrix: None,
            full_range: None,
            pixel_aspect: None,
            monochrome: chroma == 0,
        };
        if bits.bit()? {
            sequence.usability(&mut bits)?;
        }
        Ok(sequence)
    }

    /// The start of the video usability information: pixel shape and colours.
    fn usability(&mut self, bits: &mut Bits) -> Found<()> {
        if bits.bit()? {
            let shape = match bits.bits(8)? {
                255 => Some((bits.bits(16)?, bits.bits(16)?)),
                id => SHAPES.get(id as usize).copied(),
            };
            self.pixel_aspect = shape.filter(|&(h, v)| h > 0 && v > 0);
        }
        if bits.bit()? {
            bits.bit()?; // overscan
        }
        if bits.bit()? {
            bits.bits(3)?; // video format
            self.full_range = Some(bits.bit()?);
            if bits.bit()? {
                bits.bits(16)?; // primaries, transfer: these do not change the numbers
                self.matrix = Some(bits.bits(8)? as u8);
            }
        }
        Ok(())
    }

    /// The colours, said here or in the container.
    pub(super) fn colors(&self, container: Option<(u8, bool)>) -> Found<Colors> {
        let matrix = self.matrix.filter(|&m| m != 2);
        let matrix = matrix.or(container.map(|c| c.0)).unwrap_or(2);
        let full = self.full_range.or(container.map(|c| c.1));
        let Some(colors) = Colors::of_code(matrix, full.unwrap_or(false)) else {
            return unsupported(format!("H.264 with colour matrix {matrix} of H.273"));
        };
        Ok(colors)
    }

    /// The profile, for messages.
    pub(super) fn profile(&self) -> String {
        profile_name(self.profile)
    }
}

/// Pixel shapes by number (H.264 table E-1).
const SHAPES: [(u32, u32); 17] = [
    (0, 0),
    (1, 1),
    (12, 11),
    (10, 11),
    (16, 11),
    (40, 33),
    (24, 11),
    (20, 11),
    (32, 11),
    (80, 33),
    (18, 11),
    (15, 11),
    (64, 33),
    (160, 99),
    (4, 3),
    (3, 2),
    (2, 1),
];

fn unsupported<T>(found: String) -> Found<T> {
    Err(VideoFault::Codec { found })
}

fn profile_name(profile: u8) -> String {
    let name = match profile {
        66 => "Baseline",
        77 => "Main",
        88 => "Extended",
        100 => "High",
        110 => "High 10",
        122 => "High 4:2:2",
        244 => "High 4:4:4 Predictive",
        44 => "CAVLC 4:4:4 Intra",
        _ => return format!("profile {profile}"),
    };
    format!("{name} profile")
}

/// The fields that only High profiles have. Returns the chroma format, 0 (none) or 1 (4:2:0).
fn high(bits: &mut Bits) -> Found<u32> {
    let chroma = bits.ue()?;
    if chroma > 1 {
        return unsupported("H.264 with 4:2:2 or 4:4:4 chroma".into());
    }
    if bits.ue()? > 0 || bits.ue()? > 0 {
        return unsupported("H.264 with more than 8 bits".into());
    }
    bits.bit()?; // lossless transform bypass
    if bits.bit()? {
        for list in 0..8 {
            if bits.bit()? {
                scaling_list(bits, if list < 6 { 16 } else { 64 })?;
            }
        }
    }
    Ok(chroma)
}

fn scaling_list(bits: &mut Bits, size: usize) -> Found<()> {
    let (mut last, mut next) = (8i32, 8i32);
    for _ in 0..size {
        if next != 0 {
            next = (last.wrapping_add(bits.se()?)) & 255;
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

fn order_count(bits: &mut Bits) -> Found<()> {
    match bits.ue()? {
        0 => {
            bits.ue()?;
        }
        1 => {
            bits.bit()?;
            bits.se()?;
            bits.se()?;
            let cycle = bits.ue()?;
            if cycle > 255 {
                return damaged("an H.264 parameter set counts too many reference frames");
            }
            for _ in 0..cycle {
                bits.se()?;
            }
        }
        2 => {}
        _ => return damaged("an H.264 parameter set orders pictures in an unknown way"),
    }
    Ok(())
}

/// Size of the frame within its blocks of 16 pixels.
fn shown(bits: &mut Bits, blocks: (u64, u64), chroma: u32) -> Found<(u32, u32)> {
    let mut cut = [0u64; 4];
    if bits.bit()? {
        let unit = if chroma == 0 { 1 } else { 2 };
        for cut in &mut cut {
            *cut = u64::from(bits.ue()?) * unit;
        }
    }
    let size = |blocks: u64, cut: u64| {
        let size = (blocks * 16).checked_sub(cut).filter(|&s| s > 0);
        size.and_then(|s| u32::try_from(s).ok())
    };
    match (
        size(blocks.0, cut[0] + cut[1]),
        size(blocks.1, cut[2] + cut[3]),
    ) {
        (Some(width), Some(height)) => Ok((width, height)),
        _ => damaged("an H.264 parameter set gives frames no size"),
    }
}

/// Whether a picture parameter set chooses CABAC; for messages.
pub(super) fn is_cabac(pps: &[u8]) -> bool {
    let mut bits = Bits::of_nal(pps);
    let mut flag = || {
        bits.ue()?;
        bits.ue()?;
        bits.bit()
    };
    flag().unwrap_or(false)
}

/// The decoder configuration of an `avc1` or `avc3` track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AvcConfig {
    /// Bytes of the length in front of each NAL unit: 1, 2 or 4.
    pub(super) length_bytes: usize,
    pub(super) sps: Vec<Vec<u8>>,
    pub(super) pps: Vec<Vec<u8>>,
}

impl AvcConfig {
    /// Reads the content of an `avcC` box.
    pub(super) fn parse(data: &[u8]) -> Found<Self> {
        let mut data = Bytes::new(data, "avcC");
        data.skip(4)?;
        let length_bytes = usize::from(data.u8()? & 3) + 1;
        if length_bytes == 3 {
            return damaged("box avcC gives NAL units lengths of 3 bytes");
        }
        let sets = data.u8()? & 31;
        let sps = sets_of(&mut data, sets)?;
        let sets = data.u8()?;
        let pps = sets_of(&mut data, sets)?;
        Ok(Self {
            length_bytes,
            sps,
            pps,
        })
    }

    /// The NAL units of a sample.
    pub(super) fn units<'a>(
        &self,
        sample: &'a [u8],
    ) -> impl Iterator<Item = Found<&'a [u8]>> + use<'a> {
        let mut data = Bytes::new(sample, "mdat");
        let length_bytes = self.length_bytes;
        std::iter::from_fn(move || {
            if data.is_empty() {
                return None;
            }
            let unit = data
                .number(length_bytes)
                .and_then(|n| data.take(n as usize));
            if unit.is_err() {
                data = Bytes::new(&[], "mdat");
            }
            Some(unit)
        })
    }
}

fn sets_of(data: &mut Bytes<'_>, count: u8) -> Found<Vec<Vec<u8>>> {
    let mut sets = Vec::new();
    for _ in 0..count {
        let length = usize::from(data.u16()?);
        sets.push(data.take(length)?.to_vec());
    }
    Ok(sets)
}
