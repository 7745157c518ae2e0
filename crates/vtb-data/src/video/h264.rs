//! H.264 frames from an MP4 track, in display order.
//!
//! The decoder is Cisco's OpenH264: Baseline, Main and High profile, CAVLC and CABAC, B-frames,
//! 8 bits, 4:2:0, progressive. It is C++ and sees only slices and parameter sets that this module
//! has looked at: other units are left out, and sizes are checked before it allocates for them.

use std::collections::VecDeque;
use std::sync::Arc;

use image::{RgbImage, imageops};
use openh264::OpenH264API;
use openh264::decoder::{DecodeOptions, DecodedYUV, Decoder, DecoderConfig, Flush};
use openh264::formats::YUVSource;

use super::color::{Colors, View};
use super::mp4_read::Track;
use super::params::{IDR, PPS, SLICE, SPS, Sequence, is_cabac, nal_type};
use super::reader::Source;
use super::{Found, VideoCodec, VideoInfo, VideoLimits, damaged};
use crate::error::VideoFault;

/// Slices cut in three by importance, which the decoder cannot put together.
const PARTITIONS: std::ops::RangeInclusive<u8> = 2..=4;

/// Decodes a track sample by sample.
pub(super) struct H264Source {
    file: Arc<[u8]>,
    track: Track,
    colors: Colors,
    decoder: Decoder,
    /// Next sample to decode.
    sample: usize,
    /// Frames that the decoder has handed out, shown or not.
    out: usize,
    /// What was left in the decoder at the end.
    last: Option<VecDeque<Option<RgbImage>>>,
    /// One sample as the decoder wants it.
    annex_b: Vec<u8>,
}

impl H264Source {
    pub(super) fn open(file: Arc<[u8]>, limits: &VideoLimits) -> Found<(Self, VideoInfo)> {
        let track = Track::parse(&file, limits)?;
        let colors = track.sequence.colors(track.colors)?;
        let config = DecoderConfig::new().flush_after_decode(Flush::NoFlush);
        let decoder = Decoder::with_api_config(OpenH264API::from_source(), config);
        let decoder = decoder.map_err(|e| fault(&track, 0, &e))?;
        let info = info(&track);
        let mut source = Self {
            file,
            track,
            colors,
            decoder,
            sample: 0,
            out: 0,
            last: None,
            annex_b: Vec::new(),
        };
        source.begin()?;
        Ok((source, info))
    }

    /// Hands the parameter sets of the header to the decoder.
    fn begin(&mut self) -> Found<()> {
        let config = &self.track.config;
        let (sps, pps) = (config.sps.clone(), config.pps.clone());
        self.annex_b.clear();
        for set in sps.iter().chain(&pps) {
            self.unit(set)?;
        }
        if !self.annex_b.is_empty() {
            let options = DecodeOptions::new().flush_after_decode(Flush::NoFlush);
            let decoded = self.decoder.decode_with_options(&self.annex_b, options);
            decoded.map_err(|e| fault(&self.track, 0, &e))?;
        }
        Ok(())
    }

    /// Adds a unit that the decoder may see to the sample.
    fn unit(&mut self, nal: &[u8]) -> Found<()> {
        match nal_type(nal) {
            SPS => {
                let (known, found) = (&self.track.sequence, Sequence::parse(nal)?);
                if (found.width, found.height) != (known.width, known.height) {
                    return damaged(format!(
                        "its frames change from {}x{} to {}x{} on the way",
                        known.width, known.height, found.width, found.height
                    ));
                }
            }
            SLICE | IDR | PPS => {}
            kind if PARTITIONS.contains(&kind) => {
                let found = "H.264 with partitioned slices".into();
                return Err(VideoFault::Codec { found });
            }
            _ => return Ok(()),
        }
        self.annex_b.extend([0, 0, 0, 1]);
        self.annex_b.extend(nal);
        Ok(())
    }

    /// Decodes the next sample; a frame may come out, not necessarily the same one.
    fn step(&mut self, want: bool) -> Found<Option<Option<RgbImage>>> {
        let place = self.track.samples[self.sample];
        let file = Arc::clone(&self.file);
        let Some(data) = file.get(place.start..place.start + place.size) else {
            return damaged("a frame lies outside the file");
        };
        self.annex_b.clear();
        for unit in self.track.config.units(data) {
            self.unit(unit?)?;
        }
        let number = self.sample;
        self.sample += 1;
        if self.annex_b.is_empty() {
            return Ok(None);
        }
        let options = DecodeOptions::new().flush_after_decode(Flush::NoFlush);
        let decoded = self.decoder.decode_with_options(&self.annex_b, options);
        match decoded.map_err(|e| fault(&self.track, number, &e))? {
            Some(decoded) if want => {
                frame(&decoded, &self.track, self.colors).map(|f| Some(Some(f)))
            }
            Some(_) => Ok(Some(None)),
            None => Ok(None),
        }
    }

    /// Whatever the decoder still holds once all samples are in.
    fn flush(&mut self) -> Found<VecDeque<Option<RgbImage>>> {
        let left = self.decoder.flush_remaining();
        let left = left.map_err(|e| fault(&self.track, self.sample, &e))?;
        let frames = left.iter().map(|f| frame(f, &self.track, self.colors));
        frames.map(|f| f.map(Some)).collect()
    }

    /// The next frame in display order, whether the edit list shows it or not.
    fn any(&mut self, want: bool) -> Found<Option<Option<RgbImage>>> {
        while self.sample < self.track.samples.len() {
            if let Some(frame) = self.step(want)? {
                return Ok(Some(frame));
            }
        }
        if self.last.is_none() {
            self.last = Some(self.flush()?);
        }
        let next = self.last.as_mut().and_then(VecDeque::pop_front);
        let all = self.track.samples.len();
        if next.is_none() && self.out < all {
            return Err(VideoFault::Decode {
                frame: self.out,
                frames: all,
                reason: format!(
                    "the decoder left out {} frames{}",
                    all - self.out,
                    uses(&self.track)
                ),
            });
        }
        Ok(next)
    }
}

impl Source for H264Source {
    fn next(&mut self, want: bool) -> Found<Option<Option<RgbImage>>> {
        loop {
            let shown = self.track.shown.get(self.out).copied();
            let Some(next) = self.any(want && shown == Some(true))? else {
                return Ok(None);
            };
            self.out += 1;
            match shown {
                Some(true) => return Ok(Some(next)),
                Some(false) => {}
                None => return damaged("it decodes to more frames than it lists"),
            }
        }
    }
}

fn info(track: &Track) -> VideoInfo {
    let (width, height) = (track.sequence.width, track.sequence.height);
    let shape = track.pixel_aspect.or(track.sequence.pixel_aspect);
    let shape = shape.unwrap_or((1, 1));
    let flip = |(a, b): (u32, u32)| if track.turns % 2 == 1 { (b, a) } else { (a, b) };
    let (width, height) = flip((width, height));
    let frame_count = track.shown.iter().filter(|&&shown| shown).count();
    VideoInfo {
        codec: VideoCodec::H264,
        width,
        height,
        pixel_aspect: flip(shape),
        fps: track.fps,
        frame_count,
        duration: frame_count as f64 / track.fps,
    }
}

/// A decoded frame in RGB, turned upright.
fn frame(decoded: &DecodedYUV<'_>, track: &Track, colors: Colors) -> Found<RgbImage> {
    let (width, height) = decoded.dimensions();
    let wanted = (
        track.sequence.width as usize,
        track.sequence.height as usize,
    );
    if (width, height) != wanted {
        let (w, h) = wanted;
        return damaged(format!(
            "a frame of {width}x{height} turns up among those of {w}x{h}"
        ));
    }
    let strides = decoded.strides();
    // The decoder leaves the chroma of grey streams as it found it.
    let grey = vec![128; width.div_ceil(2)];
    let (u, v, stride) = match track.sequence.monochrome {
        true => (&grey[..], &grey[..], 0),
        false => (decoded.u(), decoded.v(), strides.1),
    };
    let view = View {
        width,
        height,
        y: decoded.y(),
        u,
        v,
        strides: (strides.0, stride),
        halved: (1, 1),
    };
    let Some(frame) = view.to_rgb(colors) else {
        return damaged("the decoder handed out a frame that is too short");
    };
    Ok(match track.turns {
        1 => imageops::rotate90(&frame),
        2 => imageops::rotate180(&frame),
        3 => imageops::rotate270(&frame),
        _ => frame,
    })
}

fn fault(track: &Track, frame: usize, error: &openh264::Error) -> VideoFault {
    VideoFault::Decode {
        frame,
        frames: track.samples.len(),
        reason: format!(
            "the decoder reports {:#x}{}",
            error.native_code(),
            uses(track)
        ),
    }
}

/// What the stream uses, for someone who wonders whether the file or the decoder is at fault.
fn uses(track: &Track) -> String {
    let cabac = track.config.pps.iter().any(|pps| is_cabac(pps));
    let order = |s: &[super::tables::Sample]| s.windows(2).any(|w| w[1].time < w[0].time);
    format!(
        " ({}, {}{}); the file may be damaged or use what the built-in decoder lacks; a folder of \
         PNG frames, a GIF or a Y4M file is read without it",
        track.sequence.profile(),
        if cabac { "CABAC" } else { "CAVLC" },
        if order(&track.samples) {
            ", B-frames"
        } else {
            ""
        },
    )
}
