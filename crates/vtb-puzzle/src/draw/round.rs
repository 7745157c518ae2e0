//! Discs and rings.

use super::surface::{Surface, ceil, floor, half_chord};

/// Beyond half a pixel from an edge a pixel counts as wholly inside or outside; a little more, as the
/// distances are rounded.
const EDGE: f64 = 0.5 + 1e-6;

/// Draws what lies between two circles, down to a row. Only pixels next to a circle are measured, by
/// the distance of their middles from the centre.
pub(super) fn draw_round(
    [width, height]: [i32; 2],
    [x, y]: [f64; 2],
    [inner, outer]: [f64; 2],
    end: f64,
    coverage: impl Fn(f64) -> f64,
    surface: &mut impl Surface,
) {
    let reach = outer + EDGE;
    if !(reach.is_finite() && x.is_finite() && y.is_finite()) {
        return;
    }
    let first = floor(y - reach).max(0);
    let last = ceil(y + reach)
        .min(floor(end).saturating_add(1))
        .min(height);
    for row in first..last {
        let down = f64::from(row) + 0.5 - y;
        let column = |off: f64| ceil(x + off - 0.5).clamp(0, width);
        let measure = |column: i32| {
            let across = f64::from(column) + 0.5 - x;
            coverage((across * across + down * down).sqrt()) as f32
        };
        // Half the widths of what is touched, covered whole but for a hole, and bare again.
        let (touched, bare) = (half_chord(reach, down), half_chord(inner - EDGE, down));
        let (left, right) = (column(-touched), column(touched));
        let (whole, hole) = (
            half_chord(outer - EDGE, down),
            half_chord(inner + EDGE, down),
        );
        if whole <= hole {
            surface.edge(row, left..column(-bare), measure);
            surface.edge(row, column(bare)..right, measure);
            continue;
        }
        let (left_whole, right_whole) = (column(-whole), column(whole));
        surface.edge(row, left..left_whole, measure);
        if hole > 0.0 {
            let (left_hole, right_hole) = (column(-hole), column(hole));
            surface.whole(row, left_whole..left_hole);
            surface.edge(row, left_hole..column(-bare), measure);
            surface.edge(row, column(bare)..right_hole, measure);
            surface.whole(row, right_hole..right_whole);
        } else {
            surface.whole(row, left_whole..right_whole);
        }
        surface.edge(row, right_whole..right, measure);
    }
}
