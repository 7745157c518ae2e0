//! Rings, painted row by row.

use super::band::whole;
use crate::draw::{Canvas, Rgb};

/// Paints what lies between two radii, with smooth edges.
///
/// A labyrinth's corridors are most of its picture; painting a disc in a disc in a disc instead
/// touches every pixel several times.
pub(crate) fn paint_annulus(
    canvas: &mut Canvas,
    [width, height]: [u32; 2],
    center: [f64; 2],
    [inner, outer]: [f64; 2],
    color: Rgb,
) {
    for row in whole(center[1] - outer - 0.5, center[1] + outer + 0.5, height) {
        let down = f64::from(row) + 0.5 - center[1];
        let chord = |radius: f64| (radius * radius - down * down).max(0.0).sqrt();
        // A pixel whose middle is half a pixel or more inside both circles is covered whole.
        let [hole, from] = [(inner - 0.5).max(0.0), inner + 0.5].map(chord);
        let [to, reach] = [outer - 0.5, outer + 0.5].map(chord);
        let [from, to] = if from < to {
            [from, to]
        } else {
            [reach, reach]
        };
        for columns in sides(center[0], [from, to], width) {
            canvas.rect([columns.start, row, columns.end, row + 1], color);
        }
        let edges = [[hole, from], [to, reach]];
        let edges = edges
            .into_iter()
            .flat_map(|edge| sides(center[0], edge, width));
        for columns in edges {
            let columns = columns.start as i32..columns.end as i32;
            canvas.fade(row as i32, columns, color, |column| {
                let across = f64::from(column) + 0.5 - center[0];
                let radius = (across * across + down * down).sqrt();
                ((radius - inner).min(outer - radius) + 0.5) as f32
            });
        }
    }
}

/// Columns whose middles lie `near..far` to the left and to the right of `middle`.
fn sides(middle: f64, [near, far]: [f64; 2], width: u32) -> [std::ops::Range<u32>; 2] {
    // Casts saturate at 0, the picture's left edge.
    let column = |x: f64| ((x - 0.5).ceil() as u32).min(width);
    let first = column(middle);
    let left = |off: f64| ((middle - off + 0.5).floor() as u32).min(first);
    [
        left(far)..left(near),
        column(middle + near)..column(middle + far),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_is_covered_once_by_its_distance() {
        for (center, radii) in [
            ([20.0, 15.0], [5.0, 11.0]),
            ([20.5, 15.5], [5.0, 6.0]),
            ([20.3, 14.1], [3.2, 13.7]),
            ([1.0, 28.0], [9.0, 17.0]),
            ([20.5, 15.0], [0.0, 4.0]),
        ] {
            let mut canvas = Canvas::new([40, 30], [0; 3]).unwrap();
            paint_annulus(&mut canvas, [40, 30], center, radii, [255; 3]);
            for (x, y, pixel) in canvas.into_rgb().unwrap().enumerate_pixels() {
                let radius = (f64::from(x) + 0.5 - center[0]).hypot(f64::from(y) + 0.5 - center[1]);
                let inset = (radius - radii[0]).min(radii[1] - radius);
                let expected = 255.0 * (inset + 0.5).clamp(0.0, 1.0);
                assert!(
                    (f64::from(pixel.0[0]) - expected).abs() <= 1.0,
                    "{center:?} {radii:?}: {x} {y} is {pixel:?}, not {expected}"
                );
            }
        }
    }
}
