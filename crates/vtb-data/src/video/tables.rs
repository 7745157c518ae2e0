//! The sample tables of an MP4 track, spread out to one entry per sample.

use super::boxes::{Bytes, be32, find, need};
use super::{Found, VideoLimits, damaged};

/// Where one coded frame lies and when it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) start: usize,
    pub(super) size: usize,
    /// Composition time in ticks of the track, before the edit list.
    pub(super) time: i64,
}

/// All samples of a track, and the ticks that they last together.
#[derive(Debug)]
pub(super) struct Samples {
    pub(super) all: Vec<Sample>,
    pub(super) ticks: u64,
}

impl Samples {
    /// Reads the tables below `stbl`; every sample lies within a file of `file` bytes.
    pub(super) fn parse(stbl: &[u8], file: usize, limits: &VideoLimits) -> Found<Self> {
        let sizes = sizes(stbl, limits)?;
        let starts = starts(stbl, &sizes)?;
        let (times, ticks) = times(stbl, sizes.len())?;
        let mut all = Vec::with_capacity(sizes.len());
        for (i, ((&size, &start), &time)) in sizes.iter().zip(&starts).zip(&times).enumerate() {
            let end = start.checked_add(u64::from(size));
            if end.is_none_or(|end| end > file as u64) {
                return damaged(format!(
                    "frame {i} of {} lies behind the end of the file, which may be cut short",
                    sizes.len()
                ));
            }
            let (start, size) = (start as usize, size as usize);
            all.push(Sample { start, size, time });
        }
        Ok(Self { all, ticks })
    }
}

fn sizes(stbl: &[u8], limits: &VideoLimits) -> Found<Vec<u32>> {
    if let Some(data) = find(stbl, b"stsz")? {
        let mut data = Bytes::new(data, "stsz");
        data.skip(4)?;
        let size = data.u32()?;
        if size == 0 {
            let table = data.table(4)?;
            limits.check_count(table.len())?;
            return Ok(table.map(|entry| be32(entry, 0)).collect());
        }
        // One size for all: nothing but the limit bounds the count.
        let count = data.u32()? as usize;
        limits.check_count(count)?;
        return Ok(vec![size; count]);
    }
    let mut data = Bytes::new(need(stbl, b"stz2")?, "stz2");
    data.skip(7)?;
    let bits = data.u8()?;
    let count = data.u32()? as usize;
    limits.check_count(count)?;
    match bits {
        8 | 16 => {
            let width = usize::from(bits / 8);
            let read = |_| Ok(data.number(width)? as u32);
            (0..count).map(read).collect()
        }
        _ => damaged(format!("box stz2 has fields of {bits} bits")),
    }
}

/// Offsets of the samples, from the chunks' offsets and the number of samples in each.
fn starts(stbl: &[u8], sizes: &[u32]) -> Found<Vec<u64>> {
    let (data, width) = match find(stbl, b"stco")? {
        Some(data) => (Bytes::new(data, "stco"), 4),
        None => (Bytes::new(need(stbl, b"co64")?, "co64"), 8),
    };
    let mut data = data;
    data.skip(4)?;
    let chunks = data.table(width)?;
    let mut runs = Bytes::new(need(stbl, b"stsc")?, "stsc");
    runs.skip(4)?;
    let mut runs = runs.table(12)?.peekable();
    let (mut starts, mut per_chunk) = (Vec::with_capacity(sizes.len()), 0);
    for (i, chunk) in chunks.enumerate() {
        while let Some(run) = runs.next_if(|run| be32(run, 0) as usize <= i + 1) {
            per_chunk = be32(run, 4);
            if be32(run, 8) != 1 {
                return damaged("its frames use more than one decoder configuration");
            }
        }
        let mut at = chunk.iter().fold(0, |n, &b| n << 8 | u64::from(b));
        for _ in 0..per_chunk {
            let Some(&size) = sizes.get(starts.len()) else {
                break;
            };
            starts.push(at);
            at = at.saturating_add(u64::from(size));
        }
    }
    if starts.len() < sizes.len() {
        let (found, all) = (starts.len(), sizes.len());
        return damaged(format!("only {found} of {all} frames have a place in it"));
    }
    Ok(starts)
}

/// Composition times, and the sum of all durations.
fn times(stbl: &[u8], count: usize) -> Found<(Vec<i64>, u64)> {
    let mut data = Bytes::new(need(stbl, b"stts")?, "stts");
    data.skip(4)?;
    let (mut times, mut now) = (Vec::with_capacity(count), 0u64);
    for run in data.table(8)? {
        for _ in 0..be32(run, 0) {
            if times.len() == count {
                break;
            }
            // 2^32 frames of 2^32 ticks would stay within 64 bits.
            times.push(now as i64);
            now += u64::from(be32(run, 4));
        }
    }
    if times.len() < count {
        return damaged(format!(
            "only {} of {count} frames have a time",
            times.len()
        ));
    }
    if let Some(data) = find(stbl, b"ctts")? {
        let mut data = Bytes::new(data, "ctts");
        data.skip(4)?;
        let mut late = times.iter_mut();
        for run in data.table(8)? {
            // Signed by version 1, and in practice by version 0 too.
            let offset = i64::from(be32(run, 4) as i32);
            for time in late.by_ref().take(be32(run, 0) as usize) {
                *time += offset;
            }
        }
    }
    Ok((times, now))
}
