//! Shapes that come up again and again at the same places: mazes of one size have the same walls.
//!
//! What a shape covers is measured once and kept; after that it only has to be mixed in.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use super::canvas::{Canvas, Rgb, share};
use super::pen::Pen;
use super::surface::Surface;

/// What a shape covers.
#[derive(Default)]
struct Stamp {
    parts: Vec<Part>,
    /// Coverage of the pixels of all parts that are not covered whole, in 255ths.
    shares: Vec<u8>,
}

/// Part of a row.
struct Part {
    row: i32,
    first: i32,
    last: i32,
    whole: bool,
}

impl Surface for Stamp {
    fn whole(&mut self, row: i32, columns: Range<i32>) {
        self.add(row, columns, true);
    }

    fn edge(&mut self, row: i32, columns: Range<i32>, coverage: impl Fn(i32) -> f32) {
        self.add(row, columns.clone(), false);
        self.shares
            .extend(columns.map(|column| share(coverage(column))));
    }
}

impl Stamp {
    fn add(&mut self, row: i32, columns: Range<i32>, whole: bool) {
        if !columns.is_empty() {
            let (first, last) = (columns.start, columns.end);
            self.parts.push(Part {
                row,
                first,
                last,
                whole,
            });
        }
    }

    /// Bytes, about.
    fn size(&self) -> usize {
        size_of::<Self>() + self.parts.len() * size_of::<Part>() + self.shares.len()
    }

    fn draw(&self, canvas: &mut Canvas, color: Rgb) {
        let mut shares = &self.shares[..];
        for part in &self.parts {
            if part.whole {
                canvas.span(part.row, part.first..part.last, color);
            } else {
                let (here, rest) = shares.split_at((part.last - part.first) as usize);
                canvas.mix_edge(part.row, part.first, here, color);
                shares = rest;
            }
        }
    }
}

/// Kind, size of the picture, and numbers of a shape, to the bit.
type Key = [u64; 8];

/// An area being measured, row by row.
pub(crate) struct Area<'a> {
    stamp: &'a mut Stamp,
    size: [i32; 2],
}

impl Area<'_> {
    /// Part of a row, by the coverage of every column; what lies outside the picture is left out.
    pub(crate) fn row(&mut self, row: i32, columns: Range<i32>, coverage: impl Fn(i32) -> f32) {
        let [width, height] = self.size;
        if !(0..height).contains(&row) {
            return;
        }
        let columns = columns.start.max(0)..columns.end.min(width);
        let shares: Vec<_> = columns
            .clone()
            .map(|column| share(coverage(column)))
            .collect();
        let mut first = columns.start;
        // Bare, covered in part, and covered whole, in turn.
        let kind = |share: &u8| (*share > 0, *share == 255);
        for part in shares.chunk_by(|one, next| kind(one) == kind(next)) {
            let last = first + part.len() as i32;
            if part[0] > 0 {
                self.stamp.add(row, first..last, part[0] == 255);
            }
            if kind(&part[0]) == (true, false) {
                self.stamp.shares.extend_from_slice(part);
            }
            first = last;
        }
    }
}

#[derive(Default)]
struct Kept {
    stamps: HashMap<Key, Stamp>,
    size: usize,
}

/// Draws a stamp that is kept, or made by `make`.
fn draw_kept(canvas: &mut Canvas, key: Key, color: Rgb, make: impl FnOnce(&mut Stamp)) {
    /// Bytes that all stamps of a thread may take.
    const MOST: usize = 4 << 20;
    thread_local! {
        static KEPT: RefCell<Kept> = RefCell::default();
    }
    KEPT.with_borrow_mut(|kept| {
        if kept.size > MOST {
            *kept = Kept::default();
        }
        let size = &mut kept.size;
        let stamp = kept.stamps.entry(key).or_insert_with(|| {
            let mut stamp = Stamp::default();
            make(&mut stamp);
            *size += stamp.size();
            stamp
        });
        stamp.draw(canvas, color);
    });
}

impl Canvas {
    /// [`Canvas::polyline`] from one point to another, where many pictures have the same line.
    pub(crate) fn kept_line(&mut self, ends: [[f64; 2]; 2], width: f64, color: Rgb) {
        let drawable = ends.as_flattened().iter().all(|part| part.is_finite());
        if !(drawable && width > 0.0 && width.is_finite()) {
            return;
        }
        let size = self.size();
        let [[a, b], [c, d]] = ends.map(|end| end.map(f64::to_bits));
        draw_kept(
            self,
            [0, packed(size), a, b, c, d, width.to_bits(), 0],
            color,
            |stamp| {
                Pen::new(ends, width / 2.0).draw(size, stamp);
            },
        );
    }

    /// An area that many pictures have, told by some numbers. `measure` is only asked once.
    pub(crate) fn kept_area(
        &mut self,
        numbers: [f64; 6],
        color: Rgb,
        measure: impl FnOnce(&mut Area<'_>),
    ) {
        let size = self.size();
        let [a, b, c, d, e, f] = numbers.map(f64::to_bits);
        draw_kept(self, [1, packed(size), a, b, c, d, e, f], color, |stamp| {
            measure(&mut Area { stamp, size });
        });
    }
}

fn packed([width, height]: [i32; 2]) -> u64 {
    (width as u64) << 32 | height as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_shapes_are_drawn_as_new_ones() {
        let shapes: [fn(&mut Canvas, bool); 3] = [
            |canvas, kept| {
                let ends = [[5.3, 4.0], [41.0, 22.7]];
                match kept {
                    true => canvas.kept_line(ends, 5.0, [9, 80, 200]),
                    false => canvas.polyline(&ends, 5.0, [9, 80, 200]),
                }
            },
            |canvas, kept| {
                let ends = [[-3.0, 11.0], [60.0, 11.0]];
                match kept {
                    true => canvas.kept_line(ends, 2.5, [0; 3]),
                    false => canvas.polyline(&ends, 2.5, [0; 3]),
                }
            },
            |canvas, kept| {
                let color = [200, 40, 0];
                // With a bare stripe within.
                let covered = |row: i32, column: i32| match column {
                    12 => 0.0,
                    _ => (column as f32 - row as f32 / 3.0) / 7.0,
                };
                let rows = -2..40;
                match kept {
                    true => canvas.kept_area([1.0; 6], color, |area| {
                        for row in rows {
                            area.row(row, -3..90, |column| covered(row, column));
                        }
                    }),
                    false => {
                        for row in rows {
                            let shares = (-3..90).map(|column| share(covered(row, column)));
                            canvas.stamp_row(row, -3, &shares.collect::<Vec<_>>(), color);
                        }
                    }
                }
            },
        ];
        // The second time they are at hand; in another size they are not.
        for size in [[48, 32], [48, 32], [40, 24]] {
            let [new, kept] = [false, true].map(|kept| {
                let mut canvas = Canvas::new(size, [240, 250, 255]).unwrap();
                shapes.iter().for_each(|draw| draw(&mut canvas, kept));
                canvas.into_rgb().unwrap()
            });
            assert!(new == kept, "{size:?}");
        }
    }

    #[test]
    fn not_more_is_kept_than_there_is_room_for() {
        let mut canvas = Canvas::new([600, 600], [255; 3]).unwrap();
        for step in 0..3_000 {
            let y = f64::from(step) / 10.0;
            canvas.kept_line([[5.0, 5.0], [590.0, 5.0 + y]], 7.0, [0; 3]);
        }
        canvas.kept_line([[f64::NAN, 0.0], [1.0, 1.0]], 7.0, [0; 3]);
    }
}
