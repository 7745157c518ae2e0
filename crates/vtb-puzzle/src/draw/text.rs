//! Letters and digits, from the one font that is compiled in (DejaVu Sans Bold).

use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, Glyph, PxScale, ScaleFont, point};

use super::canvas::{Canvas, Rgb};

/// The font is part of the program, so a failure to parse it would show in every test; without it
/// pictures merely have no letters.
fn font() -> Option<&'static FontRef<'static>> {
    static FONT: OnceLock<Option<FontRef<'static>>> = OnceLock::new();
    FONT.get_or_init(|| FontRef::try_from_slice(dejavu::sans::bold()).ok())
        .as_ref()
}

/// Width of a line of text, in units of its size.
#[must_use]
pub fn text_width(text: &str) -> f64 {
    let Some(font) = font() else { return 0.0 };
    let units = f64::from(font.units_per_em().unwrap_or(2048.0));
    text.chars()
        .map(|letter| f64::from(font.h_advance_unscaled(font.glyph_id(letter))) / units)
        .sum()
}

impl Canvas {
    /// Writes `text` with its inked box centred on `center`; `size` is the em, in pixels.
    pub fn label(&mut self, center: [f64; 2], text: &str, size: f64, color: Rgb) {
        let Some(font) = font() else { return };
        let units = font.units_per_em().unwrap_or(2048.0);
        let scale = PxScale::from(size as f32 * font.height_unscaled() / units);
        let scaled = font.as_scaled(scale);
        let mut pen = 0.0;
        let mut outlines = Vec::new();
        for letter in text.chars() {
            let id = font.glyph_id(letter);
            let glyph: Glyph = id.with_scale_and_position(scale, point(pen, 0.0));
            pen += scaled.h_advance(id);
            outlines.extend(font.outline_glyph(glyph));
        }
        let boxes = || outlines.iter().map(ab_glyph::OutlinedGlyph::px_bounds);
        let left = boxes().map(|ink| ink.min.x).fold(f32::INFINITY, f32::min);
        let right = boxes()
            .map(|ink| ink.max.x)
            .fold(f32::NEG_INFINITY, f32::max);
        let top = boxes().map(|ink| ink.min.y).fold(f32::INFINITY, f32::min);
        let bottom = boxes()
            .map(|ink| ink.max.y)
            .fold(f32::NEG_INFINITY, f32::max);
        // Whole pixels: letters are equally sharp wherever they stand.
        let shift_x = (center[0] - f64::from(left + right) / 2.0).round() as i32;
        let shift_y = (center[1] - f64::from(top + bottom) / 2.0).round() as i32;
        for outline in outlines {
            let ink = outline.px_bounds();
            let x0 = (ink.min.x as i32).saturating_add(shift_x);
            let y0 = (ink.min.y as i32).saturating_add(shift_y);
            outline.draw(|x, y, coverage| {
                let (x, y) = (x0.saturating_add(x as i32), y0.saturating_add(y as i32));
                self.blend(x, y, coverage, color);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_centred_and_have_ink() {
        let mut canvas = Canvas::new([60, 40], [255; 3]).unwrap();
        canvas.label([30.0, 20.0], "A8", 16.0, [0; 3]);
        let picture = canvas.into_rgb().unwrap();
        let ink: Vec<_> = picture
            .enumerate_pixels()
            .filter(|(_, _, p)| p.0[0] < 128)
            .collect();
        assert!(ink.len() > 60, "{}", ink.len());
        let middle = |values: Vec<u32>| {
            let (low, high) = (values.iter().min().unwrap(), values.iter().max().unwrap());
            f64::from(low + high + 1) / 2.0
        };
        assert!((middle(ink.iter().map(|(x, _, _)| *x).collect()) - 30.0).abs() <= 1.0);
        assert!((middle(ink.iter().map(|(_, y, _)| *y).collect()) - 20.0).abs() <= 1.0);
    }

    #[test]
    fn widths_add_up() {
        assert!((text_width("88") - 2.0 * text_width("8")).abs() < 1e-9);
        assert!((0.5..0.9).contains(&text_width("8")));
    }

    #[test]
    fn strange_text_is_harmless() {
        let mut canvas = Canvas::new([8, 8], [255; 3]).unwrap();
        for text in ["", " ", "\u{10ffff}", "\n"] {
            canvas.label([4.0, 4.0], text, 6.0, [0; 3]);
        }
        canvas.label([f64::NAN, 1e30], "A", 6.0, [0; 3]);
    }
}
