//! Which tokens of a completion count.

/// Tokens of one completion that take part in the loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompletionMask {
    /// Per id: whether it takes part.
    pub mask: Vec<bool>,
    /// Tokens up to and including the first stop id, whether or not they are masked out as truncated.
    pub length: usize,
    /// Whether a stop id was reached.
    pub terminated: bool,
}

/// Keeps the ids up to and including the first stop id; what follows is padding. Every id of `stop_ids` ends a
/// completion: with two of them (Qwen has `<|im_end|>` and `<|endoftext|>`) masking after one alone would train on
/// padding. With `mask_truncated`, a completion without any stop id takes no part at all.
pub fn completion_mask(ids: &[u32], stop_ids: &[u32], mask_truncated: bool) -> CompletionMask {
    let stop = ids.iter().position(|id| stop_ids.contains(id));
    let length = stop.map_or(ids.len(), |at| at + 1);
    let terminated = stop.is_some();
    let kept = if terminated || !mask_truncated {
        length
    } else {
        0
    };
    CompletionMask {
        mask: (0..ids.len()).map(|t| t < kept).collect(),
        length,
        terminated,
    }
}

/// Share of tokens equal to the one before, over all completions: near 1 for a policy that collapsed into one
/// repeated sign. 0 when there is no such pair.
pub fn repetition_rate<'a>(completions: impl IntoIterator<Item = &'a [u32]>) -> f64 {
    let (mut pairs, mut repeats) = (0_usize, 0_usize);
    for ids in completions {
        pairs += ids.len().saturating_sub(1);
        repeats += ids.windows(2).filter(|pair| pair[0] == pair[1]).count();
    }
    repeats as f64 / pairs.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_ends_with_the_first_stop_id_of_any_kind() {
        let found = completion_mask(&[5, 6, 9, 8, 8], &[8, 9], false);
        assert_eq!(found.mask, [true, true, true, false, false]);
        assert_eq!((found.length, found.terminated), (3, true));
    }

    #[test]
    fn truncated_completions_stay_unless_masked() {
        let kept = completion_mask(&[5, 6], &[9], false);
        assert_eq!(kept.mask, [true, true]);
        let left_out = completion_mask(&[5, 6], &[9], true);
        assert_eq!(left_out.mask, [false, false]);
        assert_eq!((left_out.length, left_out.terminated), (2, false));
        assert_eq!(completion_mask(&[9], &[9], true).mask, [true]);
        assert_eq!(completion_mask(&[], &[9], true).mask, [false; 0]);
    }

    #[test]
    fn repetition_is_seen() {
        assert_eq!(repetition_rate([[1, 2, 3].as_slice(), &[4]]), 0.0);
        assert_eq!(repetition_rate([[7, 7, 7].as_slice(), &[1, 2, 3]]), 0.5);
        assert_eq!(repetition_rate([]), 0.0);
    }
}
