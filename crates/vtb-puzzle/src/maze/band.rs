//! Thick segments, pixel by pixel: walls and openings, for maps of cells.

use std::ops::Range;

/// Calls `visit(column, row, inset)` for every pixel within half a pixel of the band of half
/// thickness `half` about the segment `a b`, round ends included. `inset` is how deep the pixel's
/// middle lies inside the band, negative outside.
pub(crate) fn each_pixel(
    size: [u32; 2],
    ends: [[f64; 2]; 2],
    half: f64,
    mut visit: impl FnMut(u32, u32, f64),
) {
    let [width, height] = size;
    let [a, b] = ends;
    let reach = half + 0.5;
    let along = [b[0] - a[0], b[1] - a[1]];
    let square = along[0] * along[0] + along[1] * along[1];
    for row in whole(a[1].min(b[1]) - reach, a[1].max(b[1]) + reach, height) {
        let y = f64::from(row) + 0.5;
        let inset = |column: u32| {
            let x = f64::from(column) + 0.5;
            let share = match square > 0.0 {
                true => (((x - a[0]) * along[0] + (y - a[1]) * along[1]) / square).clamp(0.0, 1.0),
                false => 0.0,
            };
            let [dx, dy] = [a[0] + along[0] * share - x, a[1] + along[1] * share - y];
            half - (dx * dx + dy * dy).sqrt()
        };
        let [from, to] = near_row(a[1], along[1], y, reach).map(|at| a[0] + along[0] * at);
        for column in whole(from.min(to) - reach, from.max(to) + reach, width) {
            let inset = inset(column);
            if inset > -0.5 {
                visit(column, row, inset);
            }
        }
    }
}

/// The pixels, in runs, whose middles lie in such a band.
pub(super) fn runs(size: [u32; 2], ends: [[f64; 2]; 2], half: f64) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    each_pixel(size, ends, half, |column, row, inset| {
        let at = row as usize * size[0] as usize + column as usize;
        match runs.last_mut() {
            _ if inset < 0.0 => {}
            Some(run) if run.end == at => run.end += 1,
            _ => runs.push(at..at + 1),
        }
    });
    runs
}

/// The whole numbers from `low` to `high` that are pixels of a side.
pub(crate) fn whole(low: f64, high: f64, side: u32) -> Range<u32> {
    // Casts saturate: what lies left of the picture becomes 0, nonsense an empty range.
    (low.floor() as u32)..(high.ceil() as u32).min(side)
}

/// Shares of a segment between which it is no farther than `reach` above or below `y`.
fn near_row(first: f64, along: f64, y: f64, reach: f64) -> [f64; 2] {
    if along.abs() < 1e-9 {
        return [0.0, 1.0];
    }
    [-reach, reach].map(|off| ((y + off - first) / along).clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// Every pixel of the band is visited once, with its distance, and no other.
    #[test]
    fn visits_agree_with_brute_force() {
        let size = [40, 30];
        for (ends, half) in [
            ([[5.0, 5.0], [30.0, 20.0]], 3.0),
            ([[30.0, 20.0], [5.0, 5.3]], 1.0),
            ([[5.0, 9.0], [33.0, 9.0]], 2.5),
            ([[9.5, 25.0], [9.5, 2.0]], 2.0),
            ([[12.0, 12.0], [12.0, 12.0]], 4.0),
            ([[-9.0, -9.0], [60.0, 40.0]], 2.0),
        ] {
            let mut seen = BTreeMap::new();
            each_pixel(size, ends, half, |x, y, inset| {
                assert!(seen.insert((x, y), inset).is_none());
            });
            for (x, y) in (0..40).flat_map(|x| (0..30).map(move |y| (x, y))) {
                let near = (0..=4_000).map(|step| {
                    let at = f64::from(step) / 4_000.0;
                    let [px, py] = [0, 1]
                        .map(|axis: usize| ends[0][axis] + (ends[1][axis] - ends[0][axis]) * at);
                    (f64::from(x) + 0.5 - px).hypot(f64::from(y) + 0.5 - py)
                });
                let inset = half - near.fold(f64::INFINITY, f64::min);
                match seen.get(&(x, y)) {
                    Some(found) => assert!((found - inset).abs() < 0.02, "{x} {y}"),
                    None => assert!(inset < -0.49, "{x} {y} left out at {inset}"),
                }
            }
        }
    }

    #[test]
    fn nothing_is_visited_outside_or_for_nonsense() {
        let none = |ends| each_pixel([8, 8], ends, 2.0, |_, _, _| panic!("visited"));
        none([[-30.0, -30.0], [-20.0, -9.0]]);
        none([[90.0, 90.0], [95.0, 99.0]]);
        none([[f64::NAN, 1.0], [2.0, f64::NAN]]);
    }
}
