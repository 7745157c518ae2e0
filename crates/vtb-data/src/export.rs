//! Writing rows out: one JSONL file and a folder of PNG files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;

use crate::dataset::RowSource;
use crate::error::{DataError, Result};
use crate::image_io::{ImageOptions, write_png, write_whole};
use crate::row::TrainRow;

/// Folder for pictures, beside the JSONL file.
const IMAGES: &str = "images";
/// Rows decoded and written together.
const CHUNK: usize = 64;

/// Writes `source` as `dir/name` (JSONL) with its pictures as `dir/images/*.png`, and returns the
/// path of the JSONL file. Image paths in it are relative, so that the directory can be moved.
///
/// Pictures go first; the JSONL file appears only when it is complete, so an interrupted export
/// leaves no file that looks whole, and an older one of that name stays as it was.
///
/// # Errors
/// A row or a picture cannot be read; a file cannot be written.
pub fn write_jsonl(
    dir: &Path,
    name: &str,
    source: &dyn RowSource,
    options: &ImageOptions,
) -> Result<PathBuf> {
    let images = dir.join(IMAGES);
    std::fs::create_dir_all(&images).map_err(|e| DataError::io(&images, "create", e))?;
    let mut taken = BTreeSet::new();
    let mut lines = Vec::with_capacity(source.len());
    for start in (0..source.len()).step_by(CHUNK) {
        let end = (start + CHUNK).min(source.len());
        let rows: Result<Vec<TrainRow>> = (start..end)
            .into_par_iter()
            .map(|i| source.row(i))
            .collect();
        let mut named = Vec::with_capacity(CHUNK);
        for (row, index) in rows?.into_iter().zip(start..) {
            let stem = stem(&row, index, &mut taken);
            named.push((row, stem));
        }
        let written: Result<Vec<Value>> = named
            .par_iter()
            .map(|(row, stem)| Ok(row.to_json(write_images(row, stem, &images, options)?)))
            .collect();
        lines.extend(written?.iter().map(Value::to_string));
    }
    let path = dir.join(name);
    write_whole(&path, true, |file| {
        lines.iter().try_for_each(|line| writeln!(file, "{line}"))
    })?;
    Ok(path)
}

fn write_images(
    row: &TrainRow,
    stem: &str,
    dir: &Path,
    options: &ImageOptions,
) -> Result<Vec<Value>> {
    let pictures = row.load_images(options)?;
    let write = |(i, picture)| {
        let file = if i == 0 {
            format!("{stem}.png")
        } else {
            format!("{stem}_{i}.png")
        };
        write_png(&dir.join(&file), picture)?;
        Ok(Value::from(format!("{IMAGES}/{file}")))
    };
    pictures
        .iter()
        .map(|p| &**p)
        .enumerate()
        .map(write)
        .collect()
}

/// A file name for a row's pictures: its id where that is a safe name and not taken, else its
/// number. Ids come from files and may hold anything.
fn stem(row: &TrainRow, index: usize, taken: &mut BTreeSet<String>) -> String {
    let safe = |id: &&String| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        (1..=80).contains(&id.len()) && id.bytes().all(plain)
    };
    let id = row
        .id
        .as_ref()
        .filter(safe)
        .filter(|id| taken.insert((*id).clone()));
    // An underscore keeps numbers apart from ids, which hold none.
    id.cloned().unwrap_or_else(|| format!("row_{index}"))
}
