//! The order in which a tower with window attention visits a picture.

/// Merged units of a picture, window by window.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Windows {
    /// The unit (in reading order, frame after frame) that stands at each place.
    pub order: Vec<usize>,
    /// Units of each window, in the same order; none is empty.
    pub sizes: Vec<usize>,
}

/// Cuts a grid of `rows × cols` merged units per frame into windows of `side × side`, in reading order, units in
/// reading order inside each. Windows at the right and lower edge hold the units that are left.
///
/// The reference pads the grid to whole windows, by a whole empty window where it is whole already, and drops the
/// padding again; what remains is this.
pub fn window_order(frames: usize, rows: usize, cols: usize, side: usize) -> Windows {
    let mut windows = Windows::default();
    let side = side.max(1);
    for frame in 0..frames {
        for top in (0..rows).step_by(side) {
            for left in (0..cols).step_by(side) {
                let before = windows.order.len();
                for row in top..rows.min(top + side) {
                    let first = (frame * rows + row) * cols;
                    windows
                        .order
                        .extend(first + left..first + cols.min(left + side));
                }
                windows.sizes.push(windows.order.len() - before);
            }
        }
    }
    windows
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ragged_windows_keep_the_units_they_have() {
        // 6x10 patches are 3x5 units.
        let windows = window_order(1, 3, 5, 2);
        assert_eq!(
            windows.order,
            [0, 1, 5, 6, 2, 3, 7, 8, 4, 9, 10, 11, 12, 13, 14]
        );
        let ends: Vec<usize> = windows
            .sizes
            .iter()
            .scan(0, |end, n| {
                *end += 4 * n;
                Some(*end)
            })
            .collect();
        assert_eq!(ends, [16, 32, 40, 48, 56, 60]);
    }

    #[test]
    fn frames_follow_each_other() {
        let windows = window_order(2, 2, 2, 2);
        assert_eq!(windows.order, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(windows.sizes, [4, 4]);
    }

    proptest! {
        #[test]
        fn every_unit_stands_once(t in 1_usize..3, h in 1_usize..12, w in 1_usize..12, side in 1_usize..6) {
            let windows = window_order(t, h, w, side);
            let mut sorted = windows.order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..t * h * w).collect::<Vec<_>>());
            prop_assert!(windows.sizes.iter().all(|n| *n > 0));
            prop_assert_eq!(windows.sizes.iter().sum::<usize>(), t * h * w);
        }
    }
}
