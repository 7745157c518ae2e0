//! The video track of an MP4 or QuickTime file.

use super::boxes::{Bytes, boxes, find, name_of, need};
use super::params::{AvcConfig, SPS, Sequence, nal_type};
use super::tables::{Sample, Samples};
use super::{Found, VideoLimits, damaged};
use crate::error::VideoFault;

/// What is needed to decode and show the first video track.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) config: AvcConfig,
    pub(super) sequence: Sequence,
    /// Colour matrix of H.273 and range, as the container says.
    pub(super) colors: Option<(u8, bool)>,
    pub(super) pixel_aspect: Option<(u32, u32)>,
    /// In the order of the file, which is that of decoding.
    pub(super) samples: Vec<Sample>,
    /// For each frame in display order: whether the edit list shows it.
    pub(super) shown: Vec<bool>,
    /// Quarter turns clockwise.
    pub(super) turns: u8,
    /// Frames per second, the mean over all.
    pub(super) fps: f64,
}

impl Track {
    /// Reads everything but the coded frames.
    pub(super) fn parse(file: &[u8], limits: &VideoLimits) -> Found<Self> {
        let moov = movie(file)?;
        let trak = video_track(moov)?;
        let mdia = need(trak, b"mdia")?;
        let scale = timescale(need(mdia, b"mdhd")?)?;
        let stbl = need(need(mdia, b"minf")?, b"stbl")?;
        let entry = Entry::parse(need(stbl, b"stsd")?)?;
        let samples = Samples::parse(stbl, file.len(), limits)?;
        if samples.all.is_empty() {
            return damaged(match find(moov, b"mvex")? {
                Some(_) => {
                    "it is a fragmented MP4, which is not read here; rewrite it as a plain one"
                }
                None => "its video track has no frames",
            });
        }
        if samples.ticks == 0 {
            return damaged("its frames last no time");
        }
        let sequence = entry.sequence(file, &samples.all)?;
        limits.check_size(sequence.width.into(), sequence.height.into())?;
        let count = samples.all.len();
        let shown = match edit(trak, mvhd_scale(moov)?, scale)? {
            Some(edit) => edit.shown(&samples),
            None => vec![true; count],
        };
        Ok(Self {
            sequence,
            colors: entry.colors,
            pixel_aspect: entry.pixel_aspect,
            config: entry.config,
            samples: samples.all,
            shown,
            turns: turns(need(trak, b"tkhd")?)?,
            fps: count as f64 * scale / samples.ticks as f64,
        })
    }
}

/// The `moov` box. Damage behind it does not matter yet.
fn movie(file: &[u8]) -> Found<&[u8]> {
    for found in boxes(file) {
        let (name, content) = found?;
        match &name {
            b"moov" => return Ok(content),
            b"moof" => return damaged("it is a fragmented MP4 without a table of contents"),
            _ => {}
        }
    }
    damaged("its table of contents (moov) is missing; the file may be cut short")
}

fn video_track(moov: &[u8]) -> Found<&[u8]> {
    for found in boxes(moov) {
        let (name, trak) = found?;
        if name != *b"trak" {
            continue;
        }
        let hdlr = need(need(trak, b"mdia")?, b"hdlr")?;
        if hdlr.get(8..12) == Some(b"vide") {
            return Ok(trak);
        }
    }
    Err(VideoFault::Format {
        found: "the file has no video track".into(),
    })
}

/// The `timescale` of `mdhd` or `mvhd`.
fn timescale(header: &[u8]) -> Found<f64> {
    let mut data = Bytes::new(header, "mdhd");
    let dates = if data.u8()? == 1 { 16 } else { 8 };
    data.skip(3 + dates)?;
    match data.u32()? {
        0 => damaged("its clock has zero ticks a second"),
        scale => Ok(f64::from(scale)),
    }
}

fn mvhd_scale(moov: &[u8]) -> Found<f64> {
    timescale(need(moov, b"mvhd")?)
}

/// Quarter turns from the matrix of a track header; anything but a turn counts as none.
fn turns(tkhd: &[u8]) -> Found<u8> {
    let mut data = Bytes::new(tkhd, "tkhd");
    let times = if data.u8()? == 1 { 32 } else { 20 };
    data.skip(3 + times + 16)?;
    let mut row = || -> Found<(i32, i32)> {
        let (a, b) = (data.u32()? as i32, data.u32()? as i32);
        data.skip(4)?;
        Ok((a.signum(), b.signum()))
    };
    Ok(match (row()?, row()?) {
        ((0, 1), (-1, 0)) => 1,
        ((-1, 0), (0, -1)) => 2,
        ((0, -1), (1, 0)) => 3,
        _ => 0,
    })
}

/// The part of the track's time that is shown, in its ticks.
struct Edit {
    from: f64,
    length: Option<f64>,
}

/// The edit list, if it shows one stretch of the track at its own speed; others are not followed.
fn edit(trak: &[u8], movie: f64, scale: f64) -> Found<Option<Edit>> {
    let Some(edts) = find(trak, b"edts")? else {
        return Ok(None);
    };
    let Some(elst) = find(edts, b"elst")? else {
        return Ok(None);
    };
    let mut data = Bytes::new(elst, "elst");
    let wide = data.u8()? == 1;
    data.skip(3)?;
    let size = if wide { 20 } else { 12 };
    let mut found = None;
    for entry in data.table(size)? {
        let mut entry = Bytes::new(entry, "elst");
        let (length, from) = match wide {
            true => (entry.number(8)?, entry.number(8)? as i64),
            false => (u64::from(entry.u32()?), i64::from(entry.u32()? as i32)),
        };
        if from < 0 {
            // A pause before the first frame.
            continue;
        }
        if found.is_some() || entry.u16()? != 1 {
            return Ok(None);
        }
        found = Some(Edit {
            from: from as f64,
            // Some writers leave the length open with 0.
            length: (length > 0).then(|| length as f64 / movie * scale),
        });
    }
    Ok(found)
}

impl Edit {
    /// For each frame in display order, whether it is shown. Half a frame is allowed for rounding
    /// between the two clocks.
    fn shown(&self, samples: &Samples) -> Vec<bool> {
        let half = samples.ticks as f64 / samples.all.len() as f64 / 2.0;
        let mut times: Vec<i64> = samples.all.iter().map(|s| s.time).collect();
        times.sort_unstable();
        let shows = |&time: &i64| {
            let at = time as f64 - self.from;
            at > -half && self.length.is_none_or(|length| at < length.max(half))
        };
        let shown: Vec<bool> = times.iter().map(shows).collect();
        match shown.contains(&true) {
            true => shown,
            // An edit that shows nothing is a mistake of the writer.
            false => vec![true; shown.len()],
        }
    }
}

/// The sample entry of the track: its codec and how it is set up.
struct Entry {
    config: AvcConfig,
    colors: Option<(u8, bool)>,
    pixel_aspect: Option<(u32, u32)>,
}

impl Entry {
    fn parse(stsd: &[u8]) -> Found<Self> {
        let mut data = Bytes::new(stsd, "stsd");
        data.skip(8)?;
        let Some(first) = boxes(data.take(stsd.len() - 8)?).next() else {
            return damaged("box stsd is empty");
        };
        let (name, content) = first?;
        if name != *b"avc1" && name != *b"avc3" {
            return Err(VideoFault::Codec {
                found: codec_name(name),
            });
        }
        let Some(inside) = content.get(78..) else {
            return damaged("box avc1 ends early");
        };
        let config = AvcConfig::parse(need(inside, b"avcC")?)?;
        let colors = match find(inside, b"colr")? {
            // nclx: kind, primaries, transfer, matrix, range in the top bit; nclc has no range.
            Some([b'n', b'c', b'l', kind, _, _, _, _, _, matrix, rest @ ..]) => {
                let full = *kind == b'x' && rest.first().is_some_and(|r| r & 0x80 != 0);
                Some((*matrix, full))
            }
            _ => None,
        };
        let pixel_aspect = match find(inside, b"pasp")? {
            Some(data) => {
                let mut data = Bytes::new(data, "pasp");
                Some((data.u32()?, data.u32()?)).filter(|&(h, v)| h > 0 && v > 0)
            }
            None => None,
        };
        Ok(Self {
            config,
            colors,
            pixel_aspect,
        })
    }

    /// The stream's parameters: from the header or, failing that, from the first frame.
    fn sequence(&self, file: &[u8], samples: &[Sample]) -> Found<Sequence> {
        if let Some(sps) = self.config.sps.first() {
            return Sequence::parse(sps);
        }
        let first = samples.first().map_or(&[][..], |s| {
            file.get(s.start..s.start + s.size).unwrap_or_default()
        });
        for unit in self.config.units(first) {
            let unit = unit?;
            if nal_type(unit) == SPS {
                return Sequence::parse(unit);
            }
        }
        damaged("its H.264 stream has no sequence parameters")
    }
}

fn codec_name(entry: [u8; 4]) -> String {
    let name = match &entry {
        b"hvc1" | b"hev1" | b"dvh1" | b"dvhe" => "HEVC (H.265)",
        b"vp08" => "VP8",
        b"vp09" => "VP9",
        b"av01" => "AV1",
        b"mp4v" => "MPEG-4 part 2",
        b"vvc1" | b"vvi1" => "VVC (H.266)",
        b"jpeg" | b"mjpa" | b"mjpb" => "Motion JPEG",
        b"apcn" | b"apch" | b"apcs" | b"apco" | b"ap4h" => "ProRes",
        b"encv" => "encrypted video",
        _ => "an unknown codec",
    };
    format!("the video is {name} ({})", name_of(entry))
}
