//! The videos of a row: where they may lie, and whether they are there.

use std::io::{Error, ErrorKind};
use std::path::Path;

use crate::error::{DataError, ImageFault, Result};
use crate::image_io::{ImageCheck, ImageOptions, confined};
use crate::row::TrainRow;

impl TrainRow {
    /// The file or folder of video `index`, counted from 0, after a look whether it is there and where it may be.
    /// Nothing is opened.
    ///
    /// # Errors
    /// [`DataError::RowVideo`], which names the row and the video: it is absent, neither file nor folder, or lies
    /// outside the root, links followed; the frames of a folder too.
    pub fn video(&self, index: usize, options: &ImageOptions) -> Result<&Path> {
        let path = self
            .videos
            .get(index)
            .map_or(Path::new(""), |p| p.as_path());
        match usable(path, options) {
            Ok(()) => Ok(path),
            Err(fault) => Err(DataError::RowVideo {
                origin: self.origin.clone(),
                number: index + 1,
                path: path.to_owned(),
                fault,
            }),
        }
    }

    /// Looks whether the row's videos are there. Their content is read when they are used, whatever `check` says.
    ///
    /// # Errors
    /// As [`TrainRow::video`].
    pub fn check_videos(&self, check: ImageCheck, options: &ImageOptions) -> Result<()> {
        let count = match check {
            ImageCheck::None => 0,
            _ => self.videos.len(),
        };
        (0..count).try_for_each(|i| self.video(i, options).map(drop))
    }
}

fn usable(path: &Path, options: &ImageOptions) -> std::result::Result<(), ImageFault> {
    confined(path, options)?;
    let meta = path.metadata()?;
    if meta.is_dir() {
        if options.root.is_some() {
            for frame in path.read_dir()? {
                confined(&frame?.path(), options)?;
            }
        }
        return Ok(());
    }
    if !meta.is_file() {
        let what = Error::new(ErrorKind::InvalidInput, "neither a file nor a folder");
        return Err(ImageFault::Unreadable(what));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::error::Origin;
    use crate::row::RowRules;

    fn row(base: &Path, videos: &[&str]) -> TrainRow {
        let line = serde_json::json!({
            "messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "A"}],
            "videos": videos,
        });
        let origin = Origin {
            file: Path::new("t.jsonl").into(),
            line: 7,
        };
        TrainRow::parse(line.to_string().as_bytes(), origin, &RowRules::sft(), base).unwrap()
    }

    #[test]
    fn absent_videos_are_named_and_files_and_folders_are_taken() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.mp4"), "x").unwrap();
        std::fs::create_dir(dir.path().join("frames")).unwrap();
        let options = ImageOptions::default();
        let row = row(dir.path(), &["a.mp4", "frames", "no.mp4"]);
        assert_eq!(row.video(0, &options).unwrap(), dir.path().join("a.mp4"));
        assert_eq!(row.video(1, &options).unwrap(), dir.path().join("frames"));
        let text = row.check_videos(ImageCheck::Exists, &options).unwrap_err();
        let text = text.to_string();
        assert!(text.starts_with("t.jsonl:7: video 3 ("), "{text}");
        assert!(text.contains("no.mp4"), "{text}");
        row.check_videos(ImageCheck::None, &options).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_root_confines_files_folders_and_the_frames_in_them() {
        let dir = tempfile::tempdir().unwrap();
        let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
        std::fs::create_dir_all(root.join("frames")).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("b.mp4"), "x").unwrap();
        std::fs::write(root.join("a.mp4"), "x").unwrap();
        let options = ImageOptions {
            root: Some(root.clone()),
            ..ImageOptions::default()
        };
        let row = row(&root, &["a.mp4", "../outside/b.mp4", "frames"]);
        row.video(0, &options).unwrap();
        let text = row.video(1, &options).unwrap_err().to_string();
        assert!(
            text.contains("video 2") && text.contains("lies outside"),
            "{text}"
        );
        row.video(2, &options).unwrap();
        let link: PathBuf = root.join("frames/frame_00000.png");
        std::os::unix::fs::symlink(outside.join("b.mp4"), link).unwrap();
        let text = row.video(2, &options).unwrap_err().to_string();
        assert!(
            text.contains("video 3") && text.contains("lies outside"),
            "{text}"
        );
    }
}
