//! Rows that are too long: dropped, or cut around their pictures, never through one.

use vtb_nn::lm::LmRow;

use crate::VlmError;
use crate::config::VisionIds;

/// What becomes of a row longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Overflow {
    /// [`VlmError::TooLong`]; callers drop and count such rows.
    #[default]
    Drop,
    /// Text is removed from the start.
    Left,
    /// Text is removed from the end.
    Right,
}

/// Shortens a row to `max` tokens. Pictures stay whole, with their start and end tokens, and so does what `whole` marks.
pub(super) fn fit(
    row: &mut LmRow,
    whole: &[bool],
    max: usize,
    overflow: Overflow,
    ids: &VisionIds,
) -> Result<(), VlmError> {
    let length = row.ids.len();
    if length <= max {
        return Ok(());
    }
    if overflow == Overflow::Drop {
        return Err(VlmError::TooLong { length, max });
    }
    let mut keep = picture_tokens(&row.ids, ids);
    for (keep, whole) in keep.iter_mut().zip(whole) {
        *keep |= whole;
    }
    let pictures = keep.iter().filter(|kept| **kept).count();
    // A row of pictures alone has nothing to say.
    if pictures >= max {
        return Err(VlmError::TooLong {
            length: pictures,
            max,
        });
    }
    let text: Vec<usize> = (0..length).filter(|i| !keep[*i]).collect();
    let room = max - pictures;
    let kept = match overflow {
        Overflow::Left => &text[text.len() - room..],
        _ => &text[..room],
    };
    for i in kept {
        keep[*i] = true;
    }
    let mut flags = keep.iter();
    row.ids.retain(|_| flags.next() == Some(&true));
    let mut flags = keep.iter();
    row.scored.retain(|_| flags.next() == Some(&true));
    Ok(())
}

/// Marks placeholders and the start and end tokens around each run of them.
fn picture_tokens(row: &[u32], ids: &VisionIds) -> Vec<bool> {
    let is_pad = |id: &u32| *id == ids.image || *id == ids.video;
    (0..row.len())
        .map(|i| {
            is_pad(&row[i])
                || row[i] == ids.vision_start && row.get(i + 1).is_some_and(is_pad)
                || row[i] == ids.vision_end && i > 0 && is_pad(&row[i - 1])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: VisionIds = VisionIds {
        image: 90,
        video: 91,
        vision_start: 92,
        vision_end: 93,
    };

    fn cut(max: usize, overflow: Overflow) -> Result<LmRow, VlmError> {
        let ids = vec![1, 2, 92, 90, 90, 93, 3, 4, 5];
        let scored = ids.iter().map(|id| *id >= 4 && *id < 90).collect();
        let mut row = LmRow {
            ids,
            scored,
            ..LmRow::default()
        };
        fit(&mut row, &[], max, overflow, &IDS).map(|()| row)
    }

    #[test]
    fn pictures_survive_whole() {
        let left = cut(6, Overflow::Left).unwrap();
        assert_eq!(left.ids, [92, 90, 90, 93, 4, 5]);
        assert_eq!(left.scored, [false, false, false, false, true, true]);
        let right = cut(7, Overflow::Right).unwrap();
        assert_eq!(right.ids, [1, 2, 92, 90, 90, 93, 3]);
        assert_eq!(cut(9, Overflow::Drop).unwrap().ids.len(), 9);
    }

    #[test]
    fn what_is_marked_stays_whole() {
        let ids = vec![1, 2, 92, 91, 93, 3, 92, 91, 93, 4, 5];
        let mut whole = vec![false; ids.len()];
        whole[1..9].fill(true);
        let mut row = LmRow {
            scored: vec![false; ids.len()],
            ids,
            ..LmRow::default()
        };
        fit(&mut row, &whole, 9, Overflow::Left, &IDS).unwrap();
        assert_eq!(row.ids, [2, 92, 91, 93, 3, 92, 91, 93, 5]);
    }

    #[test]
    fn rows_that_cannot_be_cut_are_refused() {
        assert!(cut(8, Overflow::Drop).unwrap_err().is_too_long());
        for overflow in [Overflow::Left, Overflow::Right] {
            let error = cut(4, overflow).unwrap_err();
            assert!(
                error.is_too_long() && error.to_string().contains("4 tokens"),
                "{error}"
            );
        }
    }
}
