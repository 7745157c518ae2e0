//! Clips to draw: `train_video.csv` and its kin.

use std::path::Path;

use rayon::prelude::*;
use vtb_data::media::{ClipRow, read_clip_rows};
use vtb_data::video::{VideoInfo, VideoReader};

use super::CheckOptions;
use super::edit::changed;
use super::findings::Findings;
use super::leak::{self, Scene, Scenes};

/// Sides of clips are multiples of this, pixels.
const SIDE: u32 = 32;
/// Frames come in groups of so many after the first.
const GROUP: usize = 4;

struct Facts {
    place: String,
    scene: Scene,
    info: VideoInfo,
    frames: usize,
    /// Share of the pixels that differ between the first frame and the last.
    changed: Option<f64>,
}

pub(super) fn look(
    path: &Path,
    options: &CheckOptions,
    whole: bool,
) -> anyhow::Result<(Findings, Scenes)> {
    let rows = read_clip_rows(path, options.base.as_deref())?;
    let read: Vec<Result<Facts, String>> = rows.par_iter().map(|row| facts(row, whole)).collect();
    let mut findings = Findings::new(rows.len());
    let mut scenes = Scenes::default();
    let mut good = Vec::with_capacity(read.len());
    for facts in read {
        match facts {
            Ok(facts) => {
                scenes.0.push(facts.scene.clone());
                good.push(facts);
            }
            Err(fault) => findings.fault("a clip cannot be read", fault),
        }
    }
    if whole {
        sum_up(&good, &mut findings);
    }
    Ok((findings, scenes))
}

/// Decodes every frame: what a file claims about itself may be wrong.
fn facts(row: &ClipRow, whole: bool) -> Result<Facts, String> {
    let place = row.origin.to_string();
    let fault = |fault| format!("{place}: {fault}");
    let mut reader = VideoReader::open(&row.video).map_err(fault)?;
    let info = reader.info().clone();
    let first = reader.next().transpose().map_err(fault)?;
    let first = first.ok_or_else(|| format!("{place}: the clip has no frame"))?;
    let (mut frames, mut last) = (1, None);
    if whole {
        for frame in reader {
            last = Some(frame.map_err(fault)?);
            frames += 1;
        }
    }
    let pixels = leak::pixels([&first]);
    Ok(Facts {
        scene: Scene {
            place: place.clone(),
            hash: leak::scene_hash(&row.extra),
            split: leak::split(&row.extra),
            pixels,
            whole: leak::whole(&[&row.prompt, &row.video.to_string_lossy()], pixels),
        },
        place,
        changed: last.and_then(|last| changed(&first, &last)),
        info,
        frames,
    })
}

fn sum_up(rows: &[Facts], findings: &mut Findings) {
    findings.fact("kind", "clips to draw");
    let spread = |value: fn(&Facts) -> f64| rows.iter().map(value).collect();
    findings.spread("frames", spread(|row| row.frames as f64));
    findings.spread("width", spread(|row| f64::from(row.info.width)));
    findings.spread("height", spread(|row| f64::from(row.info.height)));
    findings.spread("frames per second", spread(|row| row.info.fps));
    findings.spread(
        "share changed",
        rows.iter().filter_map(|row| row.changed).collect(),
    );
    for row in rows {
        let (place, frames) = (&row.place, row.frames);
        if frames % GROUP != 1 {
            let (less, more) = nearest(frames);
            let what = format!("{place}: {frames}; {less} or {more} would do");
            findings.fault("the number of frames is not 4k+1", what);
        }
        let (width, height) = (row.info.width, row.info.height);
        if width % SIDE != 0 || height % SIDE != 0 {
            let what = format!("{place}: {width}x{height}");
            findings.fault("a side is no multiple of 32", what);
        }
        if row.changed == Some(0.0) || frames == 1 {
            findings.fault("nothing happens in a clip", place.clone());
        }
    }
}

/// The legal numbers of frames below and above.
fn nearest(frames: usize) -> (usize, usize) {
    let below = (frames.max(1) - 1) / GROUP * GROUP + 1;
    (below, below + GROUP)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_nearest_lengths_are_legal() {
        assert_eq!(super::nearest(80), (77, 81));
        assert_eq!(super::nearest(2), (1, 5));
        assert_eq!(super::nearest(0), (1, 5));
    }
}
