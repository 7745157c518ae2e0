//! The pixels of a part of a picture.

use super::pixels::least3;
use super::rule::Area;

/// Indices of the pixels of an area, ascending; their middles lie inside.
pub(super) fn pixels_of(area: &Area, [width, height]: [u32; 2]) -> Vec<u32> {
    let [left, top, right, bottom] = bounds(area);
    let clip = |at: f64, end: u32| at.clamp(0.0, f64::from(end)) as u32;
    let columns = clip(left.floor(), width)..clip(right.ceil(), width);
    let mut found = Vec::new();
    for y in clip(top.floor(), height)..clip(bottom.ceil(), height) {
        let at = |x: u32| [f64::from(x) + 0.5, f64::from(y) + 0.5];
        let inside = columns.clone().filter(|x| contains(area, at(*x)));
        found.extend(inside.map(|x| y * width + x));
    }
    found
}

/// The pixels well inside an area: a seventh of the way to the middle of a disc from its edge.
pub(super) fn core_of(pixels: &[u32], width: u32) -> Vec<u32> {
    let place = |at: &u32| [at % width, at / width];
    let edge = |axis: usize| {
        let along = pixels.iter().map(move |at| place(at)[axis]);
        (along.clone().min().unwrap_or(0), along.max().unwrap_or(0))
    };
    let ((left, right), (top, bottom)) = (edge(0), edge(1));
    // One empty pixel all round, so that what lies at the picture's edge shrinks as well.
    let row = (right - left + 3) as usize;
    let local = |at: &u32| {
        let [x, y] = place(at);
        (y - top + 1) as usize * row + (x - left + 1) as usize
    };
    let mut mask = vec![0u8; row * (bottom - top + 3) as usize];
    pixels.iter().for_each(|at| mask[local(at)] = 1);
    let rounds = (0.08 * (pixels.len() as f64).sqrt())
        .round()
        .clamp(1.0, 16.0) as usize;
    for _ in 0..rounds {
        mask = least3(&mask, row, 1);
    }
    let core: Vec<_> = pixels
        .iter()
        .copied()
        .filter(|at| mask[local(at)] != 0)
        .collect();
    if core.is_empty() {
        pixels.to_vec()
    } else {
        core
    }
}

fn bounds(area: &Area) -> [f64; 4] {
    match area {
        Area::Disc {
            center: [x, y],
            radius,
        } => [x - radius, y - radius, x + radius, y + radius],
        Area::Rect(edges) => *edges,
        Area::Polygon(points) => {
            let all = |axis: usize| points.iter().map(move |point| point[axis]);
            let least = |axis| all(axis).fold(f64::INFINITY, f64::min);
            let most = |axis| all(axis).fold(f64::NEG_INFINITY, f64::max);
            [least(0), least(1), most(0), most(1)]
        }
    }
}

fn contains(area: &Area, [x, y]: [f64; 2]) -> bool {
    match area {
        Area::Disc { center, radius } => {
            let [across, down] = [x - center[0], y - center[1]];
            across * across + down * down <= radius * radius
        }
        Area::Rect([left, top, right, bottom]) => {
            (*left..*right).contains(&x) && (*top..*bottom).contains(&y)
        }
        // A ray to the right crosses the outline an odd number of times.
        Area::Polygon(points) => {
            let next = points.iter().cycle().skip(1);
            let crossed = points.iter().zip(next).filter(|(a, b)| {
                (a[1] > y) != (b[1] > y) && x < a[0] + (y - a[1]) / (b[1] - a[1]) * (b[0] - a[0])
            });
            crossed.count() % 2 == 1
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_hold_the_pixels_inside_them() {
        let size = [20, 10];
        assert_eq!(
            pixels_of(&Area::Rect([1.0, 2.0, 4.0, 4.0]), size),
            [41, 42, 43, 61, 62, 63]
        );
        let disc = Area::Disc {
            center: [10.0, 5.0],
            radius: 4.0,
        };
        assert!((pixels_of(&disc, size).len() as f64 - 50.3).abs() < 5.0);
        let square = Area::Polygon(vec![[1.0, 2.0], [4.0, 2.0], [4.0, 4.0], [1.0, 4.0]]);
        assert_eq!(pixels_of(&square, size), [41, 42, 43, 61, 62, 63]);
        let core = core_of(
            &pixels_of(&Area::Rect([2.0, 2.0, 12.0, 8.0]), size),
            size[0],
        );
        assert_eq!(core.len(), 8 * 4);
    }

    #[test]
    fn strange_areas_are_harmless() {
        let size = [6, 6];
        for area in [
            Area::Disc {
                center: [f64::NAN, 0.0],
                radius: 2.0,
            },
            Area::Disc {
                center: [1e300, -1e300],
                radius: f64::INFINITY,
            },
            Area::Rect([9.0, 9.0, -9.0, f64::NAN]),
            Area::Polygon(Vec::new()),
            Area::Polygon(vec![[f64::INFINITY, 1.0]; 3]),
        ] {
            assert!(core_of(&pixels_of(&area, size), size[0]).len() <= 36);
        }
    }
}
