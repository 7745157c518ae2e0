//! Pictures to draw: `metadata.json` and its kin.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use rayon::prelude::*;
use vtb_data::ImageOptions;
use vtb_data::image_io;
use vtb_data::media::{EditRow, read_edit_rows};

use super::CheckOptions;
use super::findings::Findings;
use super::leak::{self, Scene, Scenes};

/// Default for the most pixels of a picture to draw: the recipe's.
const MAX_PIXELS: u64 = 1 << 20;

struct Facts {
    place: String,
    scene: Scene,
    sources: usize,
    pixels: f64,
    /// Share of the pixels that differ between the target and the first source of its size.
    changed: Option<f64>,
    target: u64,
    source: Option<u64>,
    too_large: bool,
}

pub(super) fn look(
    path: &Path,
    options: &CheckOptions,
    whole: bool,
) -> anyhow::Result<(Findings, Scenes)> {
    let rows = read_edit_rows(path, options.base.as_deref())?;
    let most = options.max_pixels.unwrap_or(MAX_PIXELS);
    let read: Vec<Result<Facts, String>> = rows.par_iter().map(|row| facts(row, most)).collect();
    let mut findings = Findings::new(rows.len());
    let mut good = Vec::with_capacity(read.len());
    for facts in read {
        match facts {
            Ok(facts) => good.push(facts),
            Err(fault) => findings.fault("a picture cannot be read", fault),
        }
    }
    if whole {
        sum_up(&good, &mut findings);
    }
    let scenes = Scenes(good.into_iter().map(|facts| facts.scene).collect());
    Ok((findings, scenes))
}

fn facts(row: &EditRow, most: u64) -> Result<Facts, String> {
    let place = row.origin.to_string();
    let load = |image, what: &str| {
        image_io::load(image, &ImageOptions::default())
            .map_err(|fault| format!("{place}: {what} ({image}): {fault}"))
    };
    let target = load(&row.image, "image")?;
    let sources: Vec<Arc<RgbImage>> = row
        .edit_images
        .iter()
        .map(|image| load(image, "edit_image"))
        .collect::<Result<_, _>>()?;
    let start = leak::pixels(sources.iter().map(Arc::as_ref));
    let drawn = leak::pixels([target.as_ref()]).unwrap_or_default();
    let both = leak::whole(&[&row.prompt, &drawn.to_string()], start);
    Ok(Facts {
        scene: Scene {
            place: place.clone(),
            hash: leak::scene_hash(&row.extra),
            split: leak::split(&row.extra),
            pixels: start.or(Some(drawn)),
            whole: both,
        },
        place,
        sources: sources.len(),
        pixels: f64::from(target.width()) * f64::from(target.height()),
        changed: sources.first().and_then(|source| changed(source, &target)),
        target: drawn,
        source: sources
            .first()
            .and_then(|source| leak::pixels([source.as_ref()])),
        too_large: u64::from(target.width()) * u64::from(target.height()) > most,
    })
}

/// Share of pixels that differ; `None` for pictures of two sizes.
pub(super) fn changed(a: &RgbImage, b: &RgbImage) -> Option<f64> {
    let same_size = a.dimensions() == b.dimensions();
    let differ = || a.pixels().zip(b.pixels()).filter(|(a, b)| a != b).count();
    let all = a.width() as usize * a.height() as usize;
    (same_size && all > 0).then(|| differ() as f64 / all as f64)
}

fn sum_up(rows: &[Facts], findings: &mut Findings) {
    findings.fact("kind", "pictures to draw");
    findings.spread(
        "sources per row",
        rows.iter().map(|row| row.sources as f64).collect(),
    );
    findings.spread("pixels drawn", rows.iter().map(|row| row.pixels).collect());
    findings.spread(
        "share changed",
        rows.iter().filter_map(|row| row.changed).collect(),
    );
    let sources: HashMap<u64, &str> = rows
        .iter()
        .filter_map(|row| Some((row.source?, row.place.as_str())))
        .collect();
    for row in rows {
        let place = &row.place;
        if row.source == Some(row.target) {
            findings.fault("what is to be drawn is there already", place.clone());
        } else if let Some(other) = sources.get(&row.target) {
            // An answer that another row starts from: one of the two has its pictures swapped.
            let what = format!("{place} draws what {other} starts from");
            findings.fault("source and target may be swapped", what);
        }
        if row.sources == 0 {
            findings.note("a row starts from no picture", place.clone());
        }
        if row.too_large {
            findings.note(
                "a picture is shrunk for training",
                format!("{place}: {} pixels", row.pixels),
            );
        }
    }
}
