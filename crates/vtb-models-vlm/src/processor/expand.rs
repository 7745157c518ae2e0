//! One placeholder per picture becomes one placeholder per merged token.

use crate::VlmError;

/// Replaces the k-th `image_token` by as many copies as the k-th grid makes tokens (`t·h·w / merge²`).
///
/// # Errors
/// The number of placeholders is not the number of grids: the text holds stray placeholder tokens, or lacks one.
pub fn expand_images(
    ids: &[u32],
    grids: &[[usize; 3]],
    image_token: u32,
    merge: usize,
) -> Result<Vec<u32>, VlmError> {
    let copies = image_copies(ids, grids, image_token, merge)?;
    let repeat = |(id, n): (&u32, usize)| std::iter::repeat_n(*id, n);
    Ok(ids.iter().zip(copies).flat_map(repeat).collect())
}

/// How often each id is repeated: once, or for the k-th `image_token` as often as the k-th grid makes tokens.
pub(crate) fn image_copies(
    ids: &[u32],
    grids: &[[usize; 3]],
    image_token: u32,
    merge: usize,
) -> Result<Vec<usize>, VlmError> {
    let placeholders = ids.iter().filter(|id| **id == image_token).count();
    if placeholders != grids.len() {
        return Err(VlmError::ImageTokens {
            placeholders,
            needed: grids.len(),
            grids: grids.to_vec(),
            merge,
        });
    }
    let unit = (merge * merge).max(1);
    let mut tokens = grids
        .iter()
        .map(|grid| grid.iter().product::<usize>() / unit);
    let copies = |id: &u32| {
        if *id == image_token {
            tokens.next().unwrap_or(0)
        } else {
            1
        }
    };
    Ok(ids.iter().map(copies).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_grows_to_its_own_grid() {
        let ids = expand_images(&[1, 9, 2, 9, 3], &[[1, 2, 4], [1, 2, 2]], 9, 2).unwrap();
        assert_eq!(ids, [1, 9, 9, 2, 9, 3]);
        assert_eq!(expand_images(&[1, 2], &[], 9, 2).unwrap(), [1, 2]);
    }

    #[test]
    fn a_mismatch_states_counts_and_grids() {
        let error = expand_images(&[9, 9], &[[1, 2, 4]], 9, 2)
            .unwrap_err()
            .in_row("data.jsonl:3");
        let text = error.to_string();
        assert!(
            text.starts_with("row data.jsonl:3: the text has 2 image placeholder"),
            "{text}"
        );
        assert!(
            text.contains("need 1 (grids [[1, 2, 4]], merge 2)"),
            "{text}"
        );
        assert!(expand_images(&[1], &[[1, 2, 2]], 9, 2).is_err());
    }
}
