//! Video files to what a model sees of them.

use std::path::Path;

use vtb_data::video::{VideoInfo, VideoReader};
use vtb_models_vlm::processor::{Rgb, VideoPatches, VideoSettings};

/// Reads the frames of a video that the model looks at. One frame is held at a time beside those, which are kept at
/// the size the model sees.
///
/// # Errors
/// The file cannot be read, is broken, or has too few frames; the message names it.
pub fn load(path: &Path, settings: &VideoSettings) -> anyhow::Result<VideoPatches> {
    let name = path.display().to_string();
    let reader = VideoReader::open(path)?;
    let info = reader.info();
    let mut video = settings.start(&name, sides(info), info.frame_count, info.fps)?;
    // Frames between are decoded all the same: each builds on those before it.
    for (index, frame) in reader.enumerate() {
        let frame = frame?;
        if video.wanted() == Some(index) {
            let (width, height) = (frame.width() as usize, frame.height() as usize);
            video.push(&Rgb::new(&name, width, height, frame.into_raw())?)?;
        }
        if video.wanted().is_none() {
            break;
        }
    }
    Ok(video.finish()?)
}

/// Temporal groups, height and width in pixels that a video becomes. The file is read, no frame is decoded.
///
/// # Errors
/// As [`load`], as far as it shows before frames are decoded.
pub fn resized(path: &Path, settings: &VideoSettings) -> anyhow::Result<[usize; 3]> {
    let reader = VideoReader::open(path)?;
    let (info, name) = (reader.info(), path.display().to_string());
    Ok(settings.resized(&name, sides(info), info.frame_count, info.fps)?)
}

fn sides(info: &VideoInfo) -> (usize, usize) {
    (info.height as usize, info.width as usize)
}

#[cfg(test)]
mod tests {
    use image::RgbImage;
    use vtb_data::video::write_frames;

    use super::*;

    #[test]
    fn the_frames_of_a_file_become_groups_with_moments() {
        let dir = tempfile::tempdir().unwrap();
        let frames: Vec<RgbImage> = (0..9_u8)
            .map(|i| RgbImage::from_pixel(64, 32, image::Rgb([i * 20, 0, 255])))
            .collect();
        let folder = dir.path().join("clip");
        write_frames(&folder, &frames, 4.0).unwrap();
        let video = load(&folder, &VideoSettings::default()).unwrap();
        // 2.25 seconds at two frames a second: four frames, 0, 3, 5 and 8.
        assert_eq!(video.patches.grid[0], 2);
        assert_eq!(video.timestamps, [0.375, 1.625]);
        let [groups, height, width] = resized(&folder, &VideoSettings::default()).unwrap();
        assert_eq!([groups, height / 16, width / 16], video.patches.grid);
        let red = |row: usize| ((video.patches.values[row * 1536] * 0.5 + 0.5) * 255.0).round();
        assert_eq!(red(0), 0.0);
        assert_eq!(red(video.patches.rows() / 2), 100.0);
        let text = load(&dir.path().join("no.mp4"), &VideoSettings::default()).unwrap_err();
        assert!(format!("{text:#}").contains("no.mp4"));
    }
}
