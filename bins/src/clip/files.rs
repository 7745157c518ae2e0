//! Files of clips: MP4, folders of PNG frames, latents.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use image::RgbImage;
use vtb_data::video::{VideoSettings, encode_mp4, write_frames};
use vtb_models_vlm::processor::Rgb;
use vtb_nn::checkpoint::write_atomic;
use vtb_nn::velocity::Latent;

use crate::edit::pictures::image_of;
use crate::edit::{check_place, read_noise};
use crate::ending::Usage;

/// The form of a clip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClipForm {
    /// H.264 in MP4.
    Mp4,
    /// A folder of PNG files, exact.
    Frames,
}

impl ClipForm {
    /// The form that a name asks for: a folder is a name without ending.
    ///
    /// # Errors
    /// [`Usage`] for other endings than `.mp4`.
    pub fn of(path: &Path) -> anyhow::Result<Self> {
        let ending = path.extension().and_then(|e| e.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("mp4") => Ok(Self::Mp4),
            None => Ok(Self::Frames),
            Some(_) if path.is_dir() => Ok(Self::Frames),
            Some(_) => {
                let shown = path.display();
                Err(Usage(format!(
                    "{shown}: clips are written as .mp4, or as PNG frames into a folder; name one"
                ))
                .into())
            }
        }
    }
}

/// Checks that a clip can be written where `path` says, and leaves nothing there.
///
/// # Errors
/// Its folder is not there or takes no file; or the folder for frames holds something.
pub fn check_clip(path: &Path) -> anyhow::Result<()> {
    if ClipForm::of(path)? == ClipForm::Mp4 || !path.exists() {
        return check_place(path);
    }
    let shown = path.display();
    ensure!(
        path.is_dir(),
        "{shown} is a file; name a folder for frames, or an .mp4 file"
    );
    let mut entries = path
        .read_dir()
        .with_context(|| format!("cannot list {shown}"))?;
    if entries.next().is_some() {
        bail!("{shown} holds files already; name a new folder for frames");
    }
    check_place(&path.join("frame_00000.png"))
}

/// Writes a clip. A file is whole or as it was before.
///
/// # Errors
/// It cannot be written; it is named.
pub fn write_clip(path: &Path, frames: &[Rgb], fps: f64) -> anyhow::Result<()> {
    let frames: Vec<RgbImage> = frames.iter().map(image_of).collect::<anyhow::Result<_>>()?;
    match ClipForm::of(path)? {
        ClipForm::Mp4 => {
            let bytes = encode_mp4(&frames, VideoSettings::at(fps))?;
            write_atomic(path, &bytes).with_context(|| format!("cannot write {}", path.display()))
        }
        ClipForm::Frames => {
            write_frames(path, &frames, fps)?;
            Ok(())
        }
    }
}

/// Reads the noise of a clip to start from: the tensor `latents` of a safetensors file, `[1, channels, (frames-1)/4+1,
/// height/16, width/16]`.
///
/// # Errors
/// As [`read_noise`].
pub fn read_clip_latents(path: &Path, shape: [usize; 4]) -> anyhow::Result<Latent> {
    let [channels, frames, height, width] = shape;
    let told = |frames: usize, height: usize, width: usize| {
        let frames = frames.saturating_sub(1).saturating_mul(4).saturating_add(1);
        [frames, width.saturating_mul(16), height.saturating_mul(16)]
    };
    let [count, wide, high] = told(frames, height, width);
    let what = format!("a clip of {count} frames of {wide}x{high}");
    read_noise(path, shape, &what, &|found| match found {
        [1, c, f, h, w] if *c == channels && *f > 0 && *h > 0 && *w > 0 => {
            let [count, wide, high] = told(*f, *h, *w);
            Some(format!("give --frames {count} --size {wide}x{high}"))
        }
        _ => None,
    })
}
