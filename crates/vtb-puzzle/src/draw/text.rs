//! Letters and digits, from the one font that is compiled in (DejaVu Sans Bold).

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::OnceLock;

use ab_glyph::{Font, FontRef, Glyph, OutlinedGlyph, PxScale, ScaleFont, point};

use super::canvas::{Canvas, Rgb, share};

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

/// A line of text as it is drawn, about its own middle.
struct Ink {
    /// Middle of the inked box.
    middle: [f64; 2],
    letters: Vec<Letter>,
}

struct Letter {
    left: i32,
    top: i32,
    width: usize,
    /// Coverage in 255ths, row by row.
    shares: Vec<u8>,
}

impl Ink {
    fn new(text: &str, size: f64) -> Option<Self> {
        let font = font()?;
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
        let boxes = || outlines.iter().map(OutlinedGlyph::px_bounds);
        let left = boxes().map(|ink| ink.min.x).fold(f32::INFINITY, f32::min);
        let right = boxes()
            .map(|ink| ink.max.x)
            .fold(f32::NEG_INFINITY, f32::max);
        let top = boxes().map(|ink| ink.min.y).fold(f32::INFINITY, f32::min);
        let bottom = boxes()
            .map(|ink| ink.max.y)
            .fold(f32::NEG_INFINITY, f32::max);
        Some(Self {
            middle: [left + right, top + bottom].map(|sum| f64::from(sum) / 2.0),
            letters: outlines.iter().map(Letter::new).collect(),
        })
    }
}

impl Letter {
    fn new(outline: &OutlinedGlyph) -> Self {
        let ink = outline.px_bounds();
        let (width, height) = (ink.width() as usize, ink.height() as usize);
        let mut shares = vec![0; width * height];
        outline.draw(|x, y, coverage| {
            if let Some(to) = shares.get_mut(y as usize * width + x as usize) {
                *to = share(coverage);
            }
        });
        Self {
            left: ink.min.x as i32,
            top: ink.min.y as i32,
            width,
            shares,
        }
    }
}

/// Calls `use_ink` with a line of text, which is kept: mazes print the same numbers all the time.
fn with_ink(text: &str, size: f64, use_ink: impl FnOnce(&Ink)) {
    const SIZES: usize = 40;
    const KEPT: usize = 400;
    const LONGEST: usize = 16;
    thread_local! {
        static INKS: RefCell<HashMap<u64, HashMap<String, Option<Ink>>>> = RefCell::default();
    }
    if text.len() > LONGEST || size > 64.0 {
        if let Some(ink) = Ink::new(text, size) {
            use_ink(&ink);
        }
        return;
    }
    INKS.with_borrow_mut(|sizes| {
        if sizes.len() >= SIZES {
            sizes.clear();
        }
        let inks = sizes.entry(size.to_bits()).or_default();
        if inks.len() >= KEPT {
            inks.clear();
        }
        if !inks.contains_key(text) {
            inks.insert(text.to_owned(), Ink::new(text, size));
        }
        if let Some(Some(ink)) = inks.get(text) {
            use_ink(ink);
        }
    });
}

impl Canvas {
    /// Writes `text` with its inked box centred on `center`; `size` is the em, in pixels.
    pub fn label(&mut self, center: [f64; 2], text: &str, size: f64, color: Rgb) {
        with_ink(text, size, |ink| {
            // Whole pixels: letters are equally sharp wherever they stand.
            let [right, down] = [0, 1].map(|axis| (center[axis] - ink.middle[axis]).round() as i32);
            for letter in &ink.letters {
                let (left, top) = (
                    letter.left.saturating_add(right),
                    letter.top.saturating_add(down),
                );
                let rows = letter.shares.chunks_exact(letter.width.max(1));
                for (y, shares) in rows.enumerate() {
                    let y = top.saturating_add(y as i32);
                    self.stamp_row(y, left, shares, color);
                }
            }
        });
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
