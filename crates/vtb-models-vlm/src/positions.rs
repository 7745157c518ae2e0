//! Three-dimensional positions of the interleaved M-RoPE.

use crate::VlmError;
use crate::config::VisionIds;

/// Position triples (time, height, width) of an unpadded sequence, and the rope delta.
///
/// Text advances all three axes by one. A picture of `h × w` merged tokens stands still in time and counts rows
/// and columns from the running position, which then moves on by `max(h, w)`. The position of the s-th decoded
/// token is `ids.len() + s + delta` on all axes.
///
/// `grids` are those of pictures and videos in the order of their placeholders. Every temporal group of a video is a
/// run of video placeholders of its own and counts like a picture: time is told by the text between the groups.
///
/// # Errors
/// Placeholders and grids disagree in number, or a run of placeholders is interrupted.
pub fn positions(
    ids: &[u32],
    grids: &[[usize; 3]],
    tokens: &VisionIds,
    merge: usize,
) -> Result<(Vec<[i32; 3]>, i32), VlmError> {
    let merge = merge.max(1);
    let mismatch = || VlmError::ImageTokens {
        placeholders: ids.iter().filter(|id| tokens.is_pad(**id)).count(),
        needed: grids
            .iter()
            .map(|g| g.iter().product::<usize>() / (merge * merge))
            .sum(),
        grids: grids.to_vec(),
        merge,
    };
    let mut out = Vec::with_capacity(ids.len());
    let mut grids_left = grids.iter().copied();
    // Placeholder and grid of the current item, whose first number counts the groups that have not been met.
    let mut pending = (0, [0; 3]);
    let mut next = 0_i32;
    while out.len() < ids.len() {
        let pad = ids[out.len()];
        if !tokens.is_pad(pad) {
            out.push([next; 3]);
            next += 1;
            continue;
        }
        if pending.1[0] == 0 {
            pending = (pad, grids_left.next().ok_or_else(mismatch)?);
        }
        let (of, [groups, h, w]) = pending;
        // A picture has one group, and nothing stands inside a video.
        if pad != of || groups == 0 || (pad == tokens.image && groups != 1) {
            return Err(mismatch());
        }
        let (h, w) = (h / merge, w / merge);
        let run = ids.get(out.len()..out.len() + h * w).ok_or_else(mismatch)?;
        if run.is_empty() || run.iter().any(|id| *id != pad) {
            return Err(mismatch());
        }
        for k in 0..run.len() {
            out.push([next, next + (k / w) as i32, next + (k % w) as i32]);
        }
        pending.1[0] -= 1;
        next += h.max(w) as i32;
    }
    if grids_left.next().is_some() || pending.1[0] > 0 {
        return Err(mismatch());
    }
    Ok((out, next - ids.len() as i32))
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

    #[test]
    fn a_video_is_a_picture_per_group_of_frames() {
        // Two groups of 1x2 tokens with text between, a picture after them.
        let ids = [1, 8, 8, 2, 2, 8, 8, 3, 9, 9, 4];
        let grids = [[2, 2, 4], [1, 4, 2]];
        let (p, delta) = positions(&ids, &grids, &IDS, 2).unwrap();
        assert_eq!(p[1..3], [[1, 1, 1], [1, 1, 2]]);
        assert_eq!(p[5..7], [[5, 5, 5], [5, 5, 6]]);
        assert_eq!(p[8..11], [[8, 8, 8], [8, 9, 8], [10; 3]]);
        assert_eq!(delta, 0);
        // A group too few, a picture in the place of a group.
        assert!(positions(&ids[..5], &grids[..1], &IDS, 2).is_err());
        assert!(positions(&[8, 8, 1, 9, 9], &grids[..1], &IDS, 2).is_err());
        assert!(positions(&[9, 9], &[[2, 2, 2]], &IDS, 2).is_err());
    }

    #[test]
    fn the_reference_example() {
        // 4 text tokens, a picture of 8x12 patches (4x6 tokens), 4 text tokens.
        let mut ids = vec![1; 4];
        ids.extend([9; 24]);
        ids.extend([1; 4]);
        let (p, delta) = positions(&ids, &[[1, 8, 12]], &IDS, 2).unwrap();
        assert_eq!(p[3], [3, 3, 3]);
        assert_eq!(p[4], [4, 4, 4]);
        assert_eq!(p[9], [4, 4, 9]);
        assert_eq!(p[10], [4, 5, 4]);
        assert_eq!(p[27], [4, 7, 9]);
        assert_eq!(p[28], [10, 10, 10]);
        assert_eq!(delta, -18);
    }

    #[test]
    fn text_counts_up_and_two_pictures_keep_their_grids() {
        assert_eq!(
            positions(&[5, 6], &[], &IDS, 2).unwrap(),
            (vec![[0; 3], [1; 3]], 0)
        );
        let ids = [1, 9, 9, 2, 9, 9, 2];
        let (p, delta) = positions(&ids, &[[1, 2, 4], [1, 4, 2]], &IDS, 2).unwrap();
        assert_eq!(p[1..3], [[1, 1, 1], [1, 1, 2]]);
        assert_eq!(p[4..6], [[4, 4, 4], [4, 5, 4]]);
        assert_eq!(p[6], [6; 3]);
        assert_eq!(delta, 0);
    }

    #[test]
    fn mismatches_are_errors() {
        assert!(positions(&[9, 1], &[[1, 2, 4]], &IDS, 2).is_err());
        assert!(positions(&[9], &[[1, 2, 4]], &IDS, 2).is_err());
        assert!(positions(&[9], &[], &IDS, 2).is_err());
        assert!(positions(&[1], &[[1, 2, 2]], &IDS, 2).is_err());
        assert!(positions(&[9], &[[1, 1, 1]], &IDS, 2).is_err());
    }
}
