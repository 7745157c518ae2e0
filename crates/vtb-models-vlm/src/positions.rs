//! Three-dimensional positions of the interleaved M-RoPE.

use crate::VlmError;

/// Position triples (time, height, width) of an unpadded sequence, and the rope delta.
///
/// Text advances all three axes by one. A picture of `h × w` merged tokens stands still in time and counts rows
/// and columns from the running position, which then moves on by `max(h, w)`. The position of the s-th decoded
/// token is `ids.len() + s + delta` on all axes.
///
/// A video whose temporal groups have their own start and end tokens is given one grid `[1, h, w]` per group.
///
/// # Errors
/// Placeholders and grids disagree in number, or a picture's run of placeholders is interrupted.
pub fn positions(
    ids: &[u32],
    grids: &[[usize; 3]],
    image_token: u32,
    merge: usize,
) -> Result<(Vec<[i32; 3]>, i32), VlmError> {
    let merge = merge.max(1);
    let mismatch = || VlmError::ImageTokens {
        placeholders: ids.iter().filter(|id| **id == image_token).count(),
        needed: grids
            .iter()
            .map(|g| g.iter().product::<usize>() / (merge * merge))
            .sum(),
        grids: grids.to_vec(),
        merge,
    };
    let mut out = Vec::with_capacity(ids.len());
    let mut grids_left = grids.iter();
    let mut next = 0_i32;
    while out.len() < ids.len() {
        if ids[out.len()] != image_token {
            out.push([next; 3]);
            next += 1;
            continue;
        }
        let [t, h, w] = *grids_left.next().ok_or_else(mismatch)?;
        let (h, w) = (h / merge, w / merge);
        let end = out.len() + t * h * w;
        let run = ids.get(out.len()..end).ok_or_else(mismatch)?;
        if run.is_empty() || run.iter().any(|id| *id != image_token) {
            return Err(mismatch());
        }
        for k in 0..run.len() {
            let (time, row, column) = (k / (h * w), k / w % h, k % w);
            out.push([next + time as i32, next + row as i32, next + column as i32]);
        }
        next += t.max(h).max(w) as i32;
    }
    if grids_left.next().is_some() {
        return Err(mismatch());
    }
    Ok((out, next - ids.len() as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_example() {
        // 4 text tokens, a picture of 8x12 patches (4x6 tokens), 4 text tokens.
        let mut ids = vec![1; 4];
        ids.extend([9; 24]);
        ids.extend([1; 4]);
        let (p, delta) = positions(&ids, &[[1, 8, 12]], 9, 2).unwrap();
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
            positions(&[5, 6], &[], 9, 2).unwrap(),
            (vec![[0; 3], [1; 3]], 0)
        );
        let ids = [1, 9, 9, 2, 9, 9, 2];
        let (p, delta) = positions(&ids, &[[1, 2, 4], [1, 4, 2]], 9, 2).unwrap();
        assert_eq!(p[1..3], [[1, 1, 1], [1, 1, 2]]);
        assert_eq!(p[4..6], [[4, 4, 4], [4, 5, 4]]);
        assert_eq!(p[6], [6; 3]);
        assert_eq!(delta, 0);
    }

    #[test]
    fn mismatches_are_errors() {
        assert!(positions(&[9, 1], &[[1, 2, 4]], 9, 2).is_err());
        assert!(positions(&[9], &[[1, 2, 4]], 9, 2).is_err());
        assert!(positions(&[9], &[], 9, 2).is_err());
        assert!(positions(&[1], &[[1, 2, 2]], 9, 2).is_err());
        assert!(positions(&[9], &[[1, 1, 1]], 9, 2).is_err());
    }
}
