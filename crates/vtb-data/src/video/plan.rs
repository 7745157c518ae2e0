//! Clips of an exact number of frames.

use image::RgbImage;

use crate::error::VideoFault;

/// The next length of the form 4k + 1, at least 5: what video models that compress time by four
/// take. 81, 49 and 25 are such lengths.
pub fn clip_length(frames: usize) -> usize {
    frames.max(5).saturating_sub(1).div_ceil(4) * 4 + 1
}

/// For each of `n` frames, the share of the solution that is drawn: `hold_start` frames of 0,
/// then equal steps, then `hold_end` frames of 1.
///
/// # Errors
/// [`VideoFault::Frames`] if a hold is empty or nothing is left between them.
pub fn plan_frames(n: usize, hold_start: usize, hold_end: usize) -> Result<Vec<f64>, VideoFault> {
    let holds = hold_start.saturating_add(hold_end);
    if hold_start == 0 || hold_end == 0 || holds > n {
        return Err(VideoFault::Frames(format!(
            "{n} frames cannot hold the first picture for {hold_start} and the last for {hold_end}; \
             each needs one frame at least"
        )));
    }
    let grows = n - holds;
    let share = |i: usize| match i {
        i if i < hold_start => 0.0,
        i if i >= n - hold_end => 1.0,
        i => (i + 1 - hold_start) as f64 / (grows + 1) as f64,
    };
    Ok((0..n).map(share).collect())
}

/// The clip at exactly `n` frames. Frames that repeat the first or the last one are added or left
/// out first, in proportion, and at least one of each stays; only a clip that is still too long
/// loses frames in between, evenly.
///
/// # Errors
/// [`VideoFault::Frames`] for an empty clip, or for `n` below 2 (1 if all frames are the same).
pub fn fit_frames(frames: &[RgbImage], n: usize) -> Result<Vec<&RgbImage>, VideoFault> {
    let impossible = |why: &str| {
        let text = format!("a clip of {} frames cannot become {n}: {why}", frames.len());
        Err(VideoFault::Frames(text))
    };
    let (Some(first), Some(last)) = (frames.first(), frames.last()) else {
        return impossible("it is empty");
    };
    let start = frames.iter().take_while(|f| *f == first).count();
    if start == frames.len() {
        return match n {
            0 => impossible("nothing would be left"),
            _ => Ok(vec![first; n]),
        };
    }
    if n < 2 {
        return impossible("its first and last frame differ");
    }
    let end = frames.iter().rev().take_while(|f| *f == last).count();
    let middle = &frames[start..frames.len() - end];
    // Frames between the holds, of which all stay if there is room.
    let kept = middle.len().min(n - 2);
    let holds = n - kept;
    // Both holds get their share of what is left, rounded, and neither nothing.
    let first_hold = (2 * holds * start + start + end) / (2 * (start + end));
    let first_hold = first_hold.clamp(1, holds - 1);
    let mut clip = vec![first; first_hold];
    // The middles of `kept` equal stretches.
    clip.extend((0..kept).map(|i| &middle[(2 * i + 1) * middle.len() / (2 * kept)]));
    clip.resize(n, last);
    Ok(clip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn clip(shades: &[u8]) -> Vec<RgbImage> {
        let frame = |&shade: &u8| RgbImage::from_pixel(2, 2, Rgb([shade; 3]));
        shades.iter().map(frame).collect()
    }

    fn fitted(shades: &[u8], n: usize) -> Vec<u8> {
        let frames = clip(shades);
        let fitted = fit_frames(&frames, n).unwrap();
        fitted.iter().map(|f| f.get_pixel(0, 0).0[0]).collect()
    }

    #[test]
    fn lengths_are_the_next_of_4k_plus_1() {
        let lengths = [0, 5, 6, 80, 81, 82, 49].map(clip_length);
        assert_eq!(lengths, [5, 5, 9, 81, 81, 85, 49]);
    }

    #[test]
    fn a_plan_starts_with_nothing_and_ends_with_all() {
        assert_eq!(
            plan_frames(7, 2, 2).unwrap(),
            [0.0, 0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
        );
        assert_eq!(plan_frames(2, 1, 1).unwrap(), [0.0, 1.0]);
        for n in [81, 49, 25] {
            let plan = plan_frames(n, 4, 8).unwrap();
            assert_eq!(plan.len(), n);
            assert!(plan.is_sorted());
            assert_eq!(plan.iter().filter(|s| **s == 0.0).count(), 4);
            assert_eq!(plan.iter().filter(|s| **s == 1.0).count(), 8);
        }
        assert!(plan_frames(5, 0, 1).is_err());
        assert!(plan_frames(5, 3, 3).is_err());
        assert!(plan_frames(5, usize::MAX, 2).is_err());
    }

    #[test]
    fn holds_give_way_before_growth_does() {
        let grown = [0, 0, 0, 1, 2, 3, 9, 9, 9];
        assert_eq!(fitted(&grown, 9), grown);
        assert_eq!(fitted(&grown, 7), [0, 0, 1, 2, 3, 9, 9]);
        assert_eq!(fitted(&grown, 5), [0, 1, 2, 3, 9]);
        assert_eq!(fitted(&grown, 4), [0, 1, 3, 9]);
        assert_eq!(fitted(&grown, 3), [0, 2, 9]);
        assert_eq!(fitted(&grown, 2), [0, 9]);
        let longer = fitted(&grown, 25);
        assert_eq!(longer.iter().filter(|s| **s == 0).count(), 11);
        assert_eq!(longer.iter().filter(|s| **s == 9).count(), 11);
        assert_eq!(fitted(&[5, 5], 4), [5; 4]);
        assert!(fit_frames(&clip(&[1, 2]), 1).is_err());
        assert!(fit_frames(&[], 5).is_err());
    }
}
