//! The files of one record.

use std::path::Path;

use image::RgbImage;
use sha2::{Digest, Sha256};
use vtb_puzzle::{Layer, PngSeries, Puzzle, PuzzleError, Record};

use super::clip::{ClipSettings, make_clip};
use crate::error::{DataError, Result};
use crate::lines::hex;
use crate::manifest::{AssetRefs, FileRef, VideoRef, hash_file};

/// Added to the name of a file while it is written.
pub(super) const UNFINISHED: &str = ".tmp";

/// Folders of a task, from the folder of the data set.
pub(super) fn folders(task: &str) -> [String; 2] {
    [format!("{task}/puzzles"), format!("{task}/solutions")]
}

/// Makes the files of records.
pub(super) struct Maker<'a> {
    pub(super) root: &'a Path,
    pub(super) task: &'static dyn Puzzle,
    pub(super) video: Option<&'a ClipSettings>,
}

impl Maker<'_> {
    /// Draws and writes every file of a record.
    ///
    /// Each is complete or absent: it is written beside its place and renamed.
    pub(super) fn make(&self, record: &Record) -> Result<AssetRefs> {
        let [puzzle, solution, clip] = places(record);
        let fail = |fault: PuzzleError| DataError::Puzzle {
            task: record.task.clone(),
            reason: format!("{}: {fault}", record.id),
        };
        let painter = self.task.painter(record).map_err(fail)?;
        let mut series = PngSeries::default();
        let mut write = |path: String, picture: RgbImage| {
            let bytes = series.encode(picture).map_err(fail)?;
            let sha256 = self.write(&path, &bytes)?;
            Ok::<_, DataError>(FileRef { path, sha256 })
        };
        let Some(how) = self.video else {
            // One after the other, in memory that is still at hand.
            return Ok(AssetRefs {
                puzzle: write(puzzle, painter.paint(Layer::Puzzle).map_err(fail)?)?,
                solution: write(solution, painter.paint_last(Layer::Solution).map_err(fail)?)?,
                video: None,
            });
        };
        let draw = |layer| painter.paint(layer).map_err(fail);
        let ends = [draw(Layer::Puzzle)?, draw(Layer::Solution)?];
        let video = || {
            let made = make_clip(record, &ends, |share| draw(Layer::Growing(share)), how)?;
            let sha256 = self.write(&clip, &made.bytes)?;
            Ok::<_, DataError>(VideoRef {
                path: clip,
                sha256,
                fps: how.fps,
                frames: how.frames as u64,
                width: made.width,
                height: made.height,
            })
        };
        let video = video()?;
        let [first, last] = ends;
        Ok(AssetRefs {
            puzzle: write(puzzle, first)?,
            solution: write(solution, last)?,
            video: Some(video),
        })
    }

    /// Whether `assets` are the files that [`Maker::make`] would write, whole and unchanged.
    pub(super) fn is_made(&self, record: &Record, assets: &AssetRefs) -> bool {
        let wanted = places(record);
        let wanted = &wanted[..2 + usize::from(self.video.is_some())];
        let same = |path: &str, sha256: &str| {
            hash_file(&self.root.join(path)).is_ok_and(|found| found == sha256)
        };
        assets.files().map(|(path, _)| path).eq(wanted)
            && assets.files().all(|(path, sha256)| same(path, sha256))
    }

    fn write(&self, path: &str, bytes: &[u8]) -> Result<String> {
        let whole = self.root.join(path);
        let beside = self.root.join(format!("{path}{UNFINISHED}"));
        std::fs::write(&beside, bytes)
            .and_then(|()| std::fs::rename(&beside, &whole))
            .map_err(|e| DataError::io(&whole, "write", e))?;
        Ok(hex(&Sha256::digest(bytes)))
    }
}

/// Picture, solution and clip of a record, from the folder of the data set. Ids are hexadecimal.
fn places(record: &Record) -> [String; 3] {
    let (task, id) = (&record.task, &record.id);
    [
        format!("{task}/puzzles/{id}_puzzle.png"),
        format!("{task}/solutions/{id}_solution.png"),
        format!("{task}/solutions/{id}_solution.mp4"),
    ]
}
