//! Whether a sample is what it says: files, answer, and which of the two pictures is the question.

use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use vtb_puzzle::{Layer, Puzzle, Record, encode_png, find};

use super::sample::{Picture, Sample};
use crate::error::{DataError, Result};
use crate::image_io::{ImageOptions, load};
use crate::image_ref::ImageRef;
use crate::lines::hex;
use crate::manifest::ManifestEntry;
use sha2::{Digest, Sha256};

/// How far samples are looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verify {
    /// Files are there and unchanged; puzzle and solution differ.
    Quick,
    /// Our own records are derived and drawn again; foreign pictures are decoded and judged.
    Full,
}

/// Checks a sample; `root` is the folder, symbolic links followed, that its files must not leave.
pub(super) fn check(
    sample: &Sample,
    root: &Path,
    limits: &ImageOptions,
    verify: Verify,
) -> Result<()> {
    let pictures = [
        ("image", &sample.puzzle),
        ("reasoning_image", &sample.reasoning),
        ("solution_image_path", &sample.solution),
    ];
    let mut bytes = [None, None, None];
    for ((field, picture), bytes) in pictures.into_iter().zip(&mut bytes) {
        if let Some(picture) = picture {
            *bytes = Some(read(sample, field, picture, root, limits)?);
        }
    }
    if let Some(video) = &sample.video {
        inside(sample, "video", &video.file.path, root)?;
        let fault = |fault: DataError| sample.invalid("video", fault.to_string());
        video.file.verify().map_err(fault)?;
    }
    let [puzzle, reasoning, solution] = bytes;
    if puzzle.is_some() && puzzle == solution {
        return Err(sample.invalid(
            "solution_image_path",
            "the picture of the solution is that of the puzzle, byte for byte",
        ));
    }
    match (verify, sample.record.as_deref()) {
        (Verify::Quick, _) => Ok(()),
        (Verify::Full, Some(record)) => own(sample, record, puzzle.as_deref(), solution.as_deref()),
        (Verify::Full, None) => {
            let decode = |field: &str, bytes: Option<Arc<[u8]>>| {
                let bytes = bytes.map(ImageRef::Encoded);
                let picture = bytes.map(|bytes| load(&bytes, limits)).transpose();
                picture.map_err(|fault| sample.invalid(field, fault.to_string()))
            };
            decode("reasoning_image", reasoning)?;
            let puzzle = decode("image", puzzle)?;
            let solution = decode("solution_image_path", solution)?;
            match (puzzle, solution) {
                (Some(puzzle), Some(solution)) => foreign(sample, &puzzle, &solution),
                _ => Ok(()),
            }
        }
    }
}

/// Refuses a file outside of the data set, whatever links lead there.
fn inside(sample: &Sample, field: &str, path: &Path, root: &Path) -> Result<()> {
    let shown = path.display();
    let found = path.canonicalize();
    let found = found.map_err(|e| sample.invalid(field, format!("{shown}: {e}")))?;
    match found.starts_with(root) {
        true => Ok(()),
        false => {
            let root = root.display();
            Err(sample.invalid(field, format!("{shown} leads out of the data set, {root}")))
        }
    }
}

fn read(
    sample: &Sample,
    field: &str,
    picture: &Picture,
    root: &Path,
    limits: &ImageOptions,
) -> Result<Arc<[u8]>> {
    if let Picture::File(asset) = picture {
        inside(sample, field, &asset.path, root)?;
        if !asset.path.is_file() {
            let shown = asset.path.display();
            return Err(sample.invalid(field, format!("{shown} is no file")));
        }
    }
    let bytes = picture.bytes(limits);
    bytes.map_err(|fault| sample.invalid(field, fault.to_string()))
}

/// Derives the answer of our own record again and draws its pictures again.
fn own(
    sample: &Sample,
    record: &Record,
    puzzle: Option<&[u8]>,
    solution: Option<&[u8]>,
) -> Result<()> {
    let fault = |fault: vtb_puzzle::PuzzleError| sample.invalid("record", fault.to_string());
    let task = find(&record.task).map_err(fault)?;
    task.verify(record).map_err(fault)?;
    let given = [
        ("assets.puzzle", puzzle, Layer::Puzzle, Layer::Solution),
        ("assets.solution", solution, Layer::Solution, Layer::Puzzle),
    ];
    for (field, bytes, layer, other) in given {
        let Some(bytes) = bytes else { continue };
        if shows(task, record, layer, bytes).map_err(fault)? {
            continue;
        }
        let swapped = shows(task, record, other, bytes).map_err(fault)?;
        let why = match swapped {
            true => "puzzle and solution are swapped: this is the other of the two pictures",
            false => "the picture is not the one that the record draws; make the data set again",
        };
        return Err(sample.invalid(field, why));
    }
    Ok(())
}

/// Whether a file shows this picture of a record: the very bytes, or the same pixels written in
/// another way.
fn shows(
    task: &dyn Puzzle,
    record: &Record,
    layer: Layer,
    bytes: &[u8],
) -> vtb_puzzle::Result<bool> {
    let drawn = task.draw(record, layer)?;
    let same = hex(&Sha256::digest(encode_png(&drawn)?)) == hex(&Sha256::digest(bytes));
    let decode = || load(&ImageRef::Encoded(bytes.into()), &ImageOptions::default());
    Ok(same || decode().is_ok_and(|found| *found == drawn))
}

/// Judges both pictures of a foreign record where a judge can be made; elsewhere they must differ.
fn foreign(sample: &Sample, puzzle: &RgbImage, solution: &RgbImage) -> Result<()> {
    if puzzle == solution {
        return Err(sample.invalid(
            "solution_image_path",
            "the picture of the solution shows the puzzle, nothing more",
        ));
    }
    let Some(entry) = sample.foreign.as_deref() else {
        return Ok(());
    };
    // Whether the answer stands in one picture and not in the other; `None` without a judge. A
    // judge looks at what was done to the puzzle, so the other way round takes another judge.
    let shown = |entry: &ManifestEntry, puzzle: &RgbImage, solution: &RgbImage| {
        let judge = entry.picture_judge().ok()?;
        Some((judge.judge(puzzle).correct, judge.judge(solution).correct))
    };
    let why = match shown(entry, puzzle, solution) {
        None | Some((false, true)) => return Ok(()),
        Some((true, _)) => "the picture of the puzzle shows the answer already",
        Some((false, false)) => {
            let mut turned = entry.clone();
            if let Some(other) = &mut turned.solution {
                std::mem::swap(other, &mut turned.puzzle);
            }
            match shown(&turned, solution, puzzle) {
                Some((false, true)) => {
                    "puzzle and solution are swapped: the answer stands in the picture of the puzzle"
                }
                _ => "the picture of the solution does not show the answer",
            }
        }
    };
    Err(sample.invalid("solution_image_path", why))
}
