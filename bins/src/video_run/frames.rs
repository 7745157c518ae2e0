//! Which frames of a clip are trained on.

use std::fmt;

use anyhow::bail;
use serde::{Deserialize, Serialize};

/// The fewest frames of which any is left to learn where the first is given: two of the latent.
pub(super) const LEAST: usize = 5;

/// How frames are taken from clips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameSampling {
    /// The first ones, one after the other.
    Head,
    /// As many as are asked for, evenly over the whole clip; its first and last among them.
    Uniform,
    /// The clip cut into pieces of so many; what is left at its end is dropped.
    Chunk,
}

/// What becomes of clips that are too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShortClip {
    /// The run ends with the row's name.
    Refuse,
    /// All of their frames are taken, up to the largest 4k + 1.
    Shorten,
}

/// A choice of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameChoice {
    /// How they are taken.
    pub(super) sampling: FrameSampling,
    /// What becomes of short clips.
    pub(super) short: ShortClip,
    /// Frames of a sample: 4k + 1.
    pub(super) frames: usize,
}

impl FrameChoice {
    /// The numbers of the frames of every sample of a clip of `have` frames, in order.
    ///
    /// # Errors
    /// The clip is too short.
    pub(super) fn of(&self, have: usize) -> anyhow::Result<Vec<Vec<usize>>> {
        let wanted = self.frames;
        if have >= wanted {
            return Ok(match self.sampling {
                FrameSampling::Head => vec![(0..wanted).collect()],
                FrameSampling::Uniform => vec![spread(have, wanted)],
                FrameSampling::Chunk => (0..have / wanted)
                    .map(|piece| (piece * wanted..(piece + 1) * wanted).collect())
                    .collect(),
            });
        }
        let most = have.saturating_sub(1) / 4 * 4 + 1;
        if most < LEAST || have == 0 {
            bail!(
                "the clip has {have} frames, and {LEAST} are the fewest that can be trained on; leave the row out"
            );
        }
        match self.short {
            ShortClip::Refuse => bail!(
                "the clip has {have} frames, and data.frames = {wanted} are asked for; set data.short=\"shorten\" to train \
                 on {most} of it, set data.frames={most}, or leave the row out"
            ),
            ShortClip::Shorten => Ok(vec![match self.sampling {
                FrameSampling::Uniform => spread(have, most),
                _ => (0..most).collect(),
            }]),
        }
    }
}

/// `wanted` numbers from 0 to `have` - 1, evenly.
fn spread(have: usize, wanted: usize) -> Vec<usize> {
    let steps = wanted.saturating_sub(1).max(1);
    (0..wanted)
        .map(|i| (2 * i * (have - 1) + steps) / (2 * steps))
        .collect()
}

/// What was taken of some clips.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Taken {
    clips: usize,
    samples: usize,
    /// Fewest and most frames of a clip.
    have: Option<(usize, usize)>,
    /// Frames that are trained on.
    taken: usize,
    dropped: usize,
    shortened: usize,
}

impl Taken {
    /// Adds a clip of `have` frames.
    pub(super) fn add(&mut self, have: usize, samples: &[Vec<usize>], choice: &FrameChoice) {
        let (least, most) = self.have.unwrap_or((have, have));
        self.have = Some((least.min(have), most.max(have)));
        let taken: usize = samples.iter().map(Vec::len).sum();
        self.clips += 1;
        self.samples += samples.len();
        self.taken += taken;
        self.dropped += have - taken;
        self.shortened += usize::from(have < choice.frames);
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (least, most) = self.have.unwrap_or_default();
        let have = match least == most {
            true => least.to_string(),
            false => format!("{least} to {most}"),
        };
        let Self {
            clips,
            samples,
            taken,
            dropped,
            ..
        } = self;
        write!(
            f,
            "{clips} clips of {have} frames; {samples} samples, {taken} frames taken, {dropped} dropped"
        )?;
        match self.shortened {
            0 => Ok(()),
            n => write!(f, "; {n} clips are shortened"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(sampling: FrameSampling, short: ShortClip) -> FrameChoice {
        FrameChoice {
            sampling,
            short,
            frames: 9,
        }
    }

    #[test]
    fn frames_are_taken_as_asked() {
        let of = |sampling, have| choice(sampling, ShortClip::Refuse).of(have).unwrap();
        let first: Vec<usize> = (0..9).collect();
        assert_eq!(of(FrameSampling::Head, 30), std::slice::from_ref(&first));
        assert_eq!(
            of(FrameSampling::Uniform, 30),
            [[0, 4, 7, 11, 15, 18, 22, 25, 29]]
        );
        let pieces = of(FrameSampling::Chunk, 30);
        assert_eq!(pieces.len(), 3);
        assert_eq!(pieces[2], (18..27).collect::<Vec<_>>());
        for sampling in [
            FrameSampling::Head,
            FrameSampling::Uniform,
            FrameSampling::Chunk,
        ] {
            assert_eq!(of(sampling, 9), std::slice::from_ref(&first));
        }
        let mut taken = Taken::default();
        taken.add(
            30,
            &pieces,
            &choice(FrameSampling::Chunk, ShortClip::Refuse),
        );
        assert_eq!(
            taken.to_string(),
            "1 clips of 30 frames; 3 samples, 27 frames taken, 3 dropped"
        );
    }

    #[test]
    fn short_clips_are_refused_or_shortened() {
        let refused = choice(FrameSampling::Head, ShortClip::Refuse);
        let fault = refused.of(8).unwrap_err().to_string();
        assert!(fault.contains("has 8 frames") && fault.contains("data.frames=5"));
        let shorten = choice(FrameSampling::Head, ShortClip::Shorten);
        assert_eq!(shorten.of(8).unwrap(), [[0, 1, 2, 3, 4]]);
        let whole = choice(FrameSampling::Uniform, ShortClip::Shorten);
        assert_eq!(whole.of(8).unwrap(), [[0, 2, 4, 5, 7]]);
        for have in 0..LEAST {
            let fault = shorten.of(have).unwrap_err().to_string();
            assert!(fault.contains("fewest"), "{fault}");
        }
    }
}
