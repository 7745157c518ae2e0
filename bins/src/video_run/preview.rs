//! Previews of clips.

use std::path::Path;

use image::RgbImage;
use vtb_data::video::{VideoSettings, write_mp4};
use vtb_models_diffusion::wan::VideoInputs;
use vtb_nn::velocity::Latent;
use vtb_puzzle::judge::{ClipJudge, PictureJudge};

use super::rows::Clip;
use crate::edit::pictures::image_of;
use crate::flow_run::{Looked, psnr};

/// A row to draw.
pub(super) struct Preview {
    pub(super) inputs: VideoInputs,
    pub(super) target: Clip,
}

/// The first frame of a latent, which is the latent of the first picture: the autoencoder sees nothing of later ones.
pub(super) fn first_frame(latent: &Latent) -> Latent {
    let [channels, frames, height, width] = latent.shape;
    let frame = latent.frame_len();
    let of_channel = |c: usize| &latent.values[c * frames * frame..][..frame];
    Latent {
        shape: [channels, 1, height, width],
        values: (0..channels).flat_map(of_channel).copied().collect(),
    }
}

/// Writes a clip, and compares it with its target, which is decoded again: both in memory would be too much for long ones.
pub(super) fn show(
    preview: &Preview,
    drawn: &[RgbImage],
    place: &Path,
    fps: f64,
) -> anyhow::Result<Looked> {
    let mut file = place.as_os_str().to_owned();
    file.push(".mp4");
    write_mp4(Path::new(&file), drawn, VideoSettings::at(fps))?;
    let target = preview.target.load()?;
    let target: Vec<RgbImage> = target.iter().map(image_of).collect::<anyhow::Result<_>>()?;
    Ok(Looked {
        tiles: three(&target).chain(three(drawn)).cloned().collect(),
        psnr: psnr(drawn.iter().zip(&target)),
    })
}

/// The first frame, one in the middle, the last.
fn three(frames: &[RgbImage]) -> impl Iterator<Item = &RgbImage> {
    let last = frames.len().saturating_sub(1);
    [0, last / 2, last]
        .into_iter()
        .filter_map(|i| frames.get(i))
}

/// Whether a clip leads to the right answer, and how near it came.
pub(super) fn judge(judge: PictureJudge, drawn: &[RgbImage]) -> (bool, f64) {
    let mut judge = ClipJudge::with_judge(judge);
    for frame in drawn {
        judge.push(frame);
    }
    let verdict = judge.finish();
    let score = verdict.measures.get("score").copied();
    (verdict.correct, score.unwrap_or(0.0))
}
