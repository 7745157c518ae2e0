//! One placeholder per picture and video becomes one placeholder per merged token; videos get their timestamps.

use std::ops::Range;
use std::sync::Arc;

use vtb_nn::lm::ImagePatches;

use super::video::VideoPatches;
use crate::VlmError;
use crate::config::VisionIds;

const START: &str = "<|vision_start|>";
const PAD: &str = "<|video_pad|>";
const END: &str = "<|vision_end|>";

/// How the temporal groups of a video stand in a prompt. Each is `<1.5 seconds>`, a start token, its placeholders and
/// an end token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum VideoForm {
    /// The groups take the place of the template's start, placeholder and end token: what the checkpoints were trained
    /// with, and `transformers` 4 makes.
    #[default]
    Groups,
    /// They take the place of the placeholder alone, so that another start and end token stand around all of them:
    /// what `transformers` 5 makes.
    Nested,
}

/// Writes out the videos of a rendered text: every `<|video_pad|>` becomes the groups of the next of `videos`, each
/// with a single placeholder.
///
/// # Errors
/// The text has more video placeholders than there are videos.
pub(crate) fn expand_videos<'a>(
    text: &str,
    videos: &mut impl Iterator<Item = &'a VideoPatches>,
    form: VideoForm,
) -> Result<String, VlmError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(PAD) {
        let video = videos.next().ok_or_else(|| {
            VlmError::Messages(
                "the text has more video placeholders than the row has videos; mark videos with <video>"
                    .to_owned(),
            )
        })?;
        let mut before = &rest[..at];
        rest = &rest[at + PAD.len()..];
        if form == VideoForm::Groups
            && let (Some(outer), Some(after)) = (before.strip_suffix(START), rest.strip_prefix(END))
        {
            (before, rest) = (outer, after);
        }
        out.push_str(before);
        for seconds in &video.timestamps {
            out.push_str(&format!("<{seconds:.1} seconds>{START}{PAD}{END}"));
        }
    }
    out.push_str(rest);
    Ok(out)
}

/// Where the pictures and videos of a row stand among its ids, which hold one placeholder per picture and per temporal
/// group of a video.
#[derive(Debug)]
pub(crate) struct Visuals {
    /// How often each id is repeated: once, or as often as its picture or group makes tokens.
    pub(crate) copies: Vec<usize>,
    /// Pictures and videos in the order of their placeholders.
    pub(crate) order: Vec<Arc<ImagePatches>>,
    /// For every video, from its first placeholder up to and with its last.
    pub(crate) videos: Vec<Range<usize>>,
}

impl Visuals {
    /// Finds them.
    ///
    /// # Errors
    /// The number of placeholders is not what pictures and videos need: the text holds stray placeholder tokens, or
    /// lacks one.
    pub(crate) fn find(
        ids: &[u32],
        images: &[Arc<ImagePatches>],
        videos: &[VideoPatches],
        tokens: &VisionIds,
        merge: usize,
    ) -> Result<Self, VlmError> {
        let unit = (merge * merge).max(1);
        let mut found = Self {
            copies: vec![1; ids.len()],
            order: Vec::new(),
            videos: Vec::new(),
        };
        let (mut images_left, mut videos_left) = (images.iter(), videos.iter());
        let mut pending = 0;
        let mut fits = true;
        for (i, id) in ids.iter().enumerate() {
            if *id == tokens.image {
                let Some(image) = images_left.next().filter(|_| pending == 0) else {
                    fits = false;
                    break;
                };
                found.copies[i] = image.rows() / unit;
                found.order.push(image.clone());
            } else if *id == tokens.video {
                if pending == 0 {
                    let Some(video) = videos_left.next() else {
                        fits = false;
                        break;
                    };
                    pending = video.patches.grid[0];
                    found.order.push(video.patches.clone());
                    found.videos.push(i..i + 1);
                }
                let (Some(video), Some(span)) = (found.order.last(), found.videos.last_mut())
                else {
                    break;
                };
                found.copies[i] = video.grid[1] * video.grid[2] / unit;
                span.end = i + 1;
                pending = pending.saturating_sub(1);
            }
        }
        if fits && pending == 0 && images_left.len() + videos_left.len() == 0 {
            return Ok(found);
        }
        let all = images.iter().chain(videos.iter().map(|v| &v.patches));
        Err(VlmError::ImageTokens {
            placeholders: ids.iter().filter(|id| tokens.is_pad(**id)).count(),
            needed: images.len() + videos.iter().map(|v| v.patches.grid[0]).sum::<usize>(),
            grids: all.map(|v| v.grid).collect(),
            merge,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: VisionIds = VisionIds {
        image: 9,
        video: 8,
        vision_start: 7,
        vision_end: 6,
    };

    fn patches(grid: [usize; 3]) -> Arc<ImagePatches> {
        Arc::new(ImagePatches {
            values: Vec::new(),
            grid,
            key: 0,
        })
    }

    fn video(grid: [usize; 3]) -> VideoPatches {
        VideoPatches {
            patches: patches(grid),
            timestamps: (0..grid[0]).map(|i| i as f64 + 0.25).collect(),
        }
    }

    #[test]
    fn every_placeholder_grows_to_its_own_grid() {
        let images = [patches([1, 2, 4]), patches([1, 2, 2])];
        let videos = [video([2, 4, 4])];
        let ids = [1, 9, 2, 8, 3, 8, 4, 9];
        let found = Visuals::find(&ids, &images, &videos, &IDS, 2).unwrap();
        assert_eq!(found.copies, [1, 2, 1, 4, 1, 4, 1, 1]);
        let grids: Vec<_> = found.order.iter().map(|v| v.grid).collect();
        assert_eq!(grids, [[1, 2, 4], [2, 4, 4], [1, 2, 2]]);
        assert_eq!(found.videos, std::slice::from_ref(&(3..6)));
    }

    #[test]
    fn a_mismatch_states_counts_and_grids() {
        let image = [patches([1, 2, 4])];
        let error = Visuals::find(&[9, 9], &image, &[], &IDS, 2)
            .unwrap_err()
            .in_row("data.jsonl:3");
        let text = error.to_string();
        assert!(
            text.starts_with("row data.jsonl:3: the text has 2 image or video placeholder"),
            "{text}"
        );
        assert!(
            text.contains("need 1 (grids [[1, 2, 4]], merge 2)"),
            "{text}"
        );
        let videos = [video([2, 2, 2])];
        assert!(Visuals::find(&[1], &image, &[], &IDS, 2).is_err());
        assert!(Visuals::find(&[8], &[], &videos, &IDS, 2).is_err());
        assert!(Visuals::find(&[8, 9, 8], &image, &videos, &IDS, 2).is_err());
        assert!(Visuals::find(&[8, 8, 8], &[], &videos, &IDS, 2).is_err());
    }

    #[test]
    fn groups_are_written_in_both_forms() {
        let videos = [video([2, 2, 2])];
        let text = "A<|vision_start|><|video_pad|><|vision_end|>B";
        let expand = |form| expand_videos(text, &mut videos.iter(), form).unwrap();
        let groups = "<0.2 seconds><|vision_start|><|video_pad|><|vision_end|>\
                      <1.2 seconds><|vision_start|><|video_pad|><|vision_end|>";
        assert_eq!(expand(VideoForm::Groups), format!("A{groups}B"));
        assert_eq!(
            expand(VideoForm::Nested),
            format!("A<|vision_start|>{groups}<|vision_end|>B")
        );
        let twice = format!("{text}{text}");
        let text = expand_videos(&twice, &mut videos.iter(), VideoForm::Groups)
            .unwrap_err()
            .to_string();
        assert!(text.contains("more video placeholders"), "{text}");
    }
}
