//! Construction strokes: stored in records, drawn whole or growing.

use serde::{Deserialize, Serialize};

use super::canvas::{Canvas, Rgb};

/// One element of a construction. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Stroke {
    /// A line through points, growing along its length.
    Line {
        /// Corners in drawing order.
        points: Vec<[f64; 2]>,
        /// Thickness.
        width: f64,
        /// Colour.
        color: Rgb,
    },
    /// A filled circle, growing from its centre.
    Disc {
        /// Centre.
        center: [f64; 2],
        /// Final radius.
        radius: f64,
        /// Colour.
        color: Rgb,
    },
    /// A filled polygon, each corner on its way from one place to another.
    Polygon {
        /// Corners at the start.
        from: Vec<[f64; 2]>,
        /// Corners at the end, as many.
        to: Vec<[f64; 2]>,
        /// Colour.
        color: Rgb,
    },
    /// What lies between two circles, growing outwards.
    Ring {
        /// Centre.
        center: [f64; 2],
        /// Radius of the hole.
        inner: f64,
        /// Final outer radius.
        outer: f64,
        /// Colour.
        color: Rgb,
    },
}

impl Stroke {
    /// How long the pen is on its way.
    #[must_use]
    pub fn length(&self) -> f64 {
        match self {
            Self::Line { points, .. } => points
                .windows(2)
                .map(|pair| distance(pair[0], pair[1]))
                .sum(),
            Self::Disc { radius, .. } => *radius,
            Self::Polygon { from, to, .. } => from
                .iter()
                .zip(to)
                .map(|(from, to)| distance(*from, *to))
                .fold(0.0, f64::max),
            Self::Ring { inner, outer, .. } => outer - inner,
        }
    }

    /// Draws the first `length` pixels of the stroke.
    pub fn draw(&self, canvas: &mut Canvas, length: f64) {
        if length <= 0.0 {
            return;
        }
        match self {
            Self::Line {
                points,
                width,
                color,
            } => {
                canvas.polyline(&first_part(points, length), *width, *color);
            }
            Self::Disc {
                center,
                radius,
                color,
            } => {
                canvas.disc(*center, radius.min(length), *color);
            }
            Self::Polygon { from, to, color } => {
                let share = (length / self.length()).min(1.0);
                let corners = from.iter().zip(to);
                let corners: Vec<_> = corners
                    .map(|(from, to)| [0, 1].map(|at| from[at] + (to[at] - from[at]) * share))
                    .collect();
                canvas.polygon(&corners, *color);
            }
            Self::Ring {
                center,
                inner,
                outer,
                color,
            } => {
                canvas.annulus(*center, *inner, outer.min(inner + length), *color);
            }
        }
    }
}

/// Draws the share `progress` (0 to 1, by length) of all strokes, one after another.
pub fn draw_growing(canvas: &mut Canvas, strokes: &[Stroke], progress: f64) {
    let whole: f64 = strokes.iter().map(Stroke::length).sum();
    let mut left = whole * progress;
    for stroke in strokes {
        let length = stroke.length();
        // Not cut by rounding when everything is asked for.
        stroke.draw(canvas, if progress >= 1.0 { length + 1.0 } else { left });
        left -= length;
    }
}

fn first_part(points: &[[f64; 2]], length: f64) -> Vec<[f64; 2]> {
    let mut part: Vec<_> = points.first().copied().into_iter().collect();
    let mut left = length;
    for pair in points.windows(2) {
        let step = distance(pair[0], pair[1]);
        if step >= left {
            let share = if step > 0.0 { left / step } else { 1.0 };
            let [from, to] = [pair[0], pair[1]];
            part.push([0, 1].map(|axis| from[axis] + (to[axis] - from[axis]) * share));
            break;
        }
        part.push(pair[1]);
        left -= step;
    }
    part
}

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    let [x, y] = [a[0] - b[0], a[1] - b[1]];
    (x * x + y * y).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_grow_by_length_round_corners() {
        let points = [[0.0, 0.0], [10.0, 0.0], [10.0, 10.0]];
        assert_eq!(first_part(&points, 5.0), [[0.0, 0.0], [5.0, 0.0]]);
        assert_eq!(
            first_part(&points, 15.0),
            [[0.0, 0.0], [10.0, 0.0], [10.0, 5.0]]
        );
        assert_eq!(first_part(&points, 99.0), points);
    }

    #[test]
    fn red_area_grows_and_never_shrinks() {
        let color = [255, 0, 0];
        let strokes = [
            Stroke::Line {
                points: vec![[4.0, 4.0], [28.0, 4.0]],
                width: 3.0,
                color,
            },
            Stroke::Disc {
                center: [16.0, 20.0],
                radius: 8.0,
                color,
            },
            Stroke::Polygon {
                from: vec![[4.0, 28.0]; 3],
                to: vec![[1.0, 31.0], [1.0, 25.0], [7.0, 31.0]],
                color,
            },
            Stroke::Ring {
                center: [16.0, 20.0],
                inner: 9.0,
                outer: 11.0,
                color,
            },
        ];
        let red = |progress: f64| {
            let mut canvas = Canvas::new([32, 32], [255; 3]).unwrap();
            draw_growing(&mut canvas, &strokes, progress);
            let picture = canvas.into_rgb().unwrap();
            picture.pixels().filter(|pixel| pixel.0[1] < 128).count()
        };
        let areas: Vec<_> = (0..=10).map(|step| red(f64::from(step) / 10.0)).collect();
        assert_eq!(areas[0], 0);
        assert!(areas.windows(2).all(|pair| pair[0] < pair[1]), "{areas:?}");
    }
}
