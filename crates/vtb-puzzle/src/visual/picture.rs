//! Pictures for jigsaws: drawn from a seed, or given as the bytes of a file.

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::imageops::{FilterType, crop_imm, resize};
use image::{ImageFormat, ImageReader, Limits, RgbImage};

use crate::dice::Dice;
use crate::draw::{Canvas, Rgb};
use crate::error::Result;

/// Longest data URI of a picture, characters.
const MOST_CHARS: usize = 4 << 20;
/// Largest side of a given picture, pixels.
const MOST_PIXELS: u32 = 4096;
/// What the decoder may allocate, bytes.
const MOST_ALLOC: u64 = 256 << 20;

const KINDS: [(&str, ImageFormat); 2] = [
    ("data:image/png;base64,", ImageFormat::Png),
    ("data:image/jpeg;base64,", ImageFormat::Jpeg),
];

/// Checks a data URI's length and kind without decoding it.
pub(crate) fn check_data_uri(uri: &str) -> Result<(), String> {
    if uri.len() > MOST_CHARS {
        let found = uri.len();
        return Err(format!(
            "has {found} characters and {MOST_CHARS} are allowed: use a smaller picture"
        ));
    }
    match KINDS.iter().any(|(start, _)| uri.starts_with(start)) {
        true => Ok(()),
        false => Err(format!(
            "must be a data URI that starts with `{}` or `{}`",
            KINDS[0].0, KINDS[1].0
        )),
    }
}

/// Decodes a PNG or JPEG picture from a data URI and fits it to `size`: its middle part of that
/// shape, enlarged or reduced.
///
/// # Errors
/// A sentence saying what is wrong with the picture.
pub(crate) fn decode_picture(uri: &str, [width, height]: [u32; 2]) -> Result<RgbImage, String> {
    check_data_uri(uri)?;
    let kind = KINDS
        .iter()
        .find_map(|(start, format)| Some((uri.strip_prefix(start)?, *format)));
    let (text, format) = kind.ok_or("is no data URI")?;
    let bytes = STANDARD
        .decode(text.trim())
        .map_err(|fault| format!("does not decode: {fault}"))?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(MOST_PIXELS);
    limits.max_image_height = Some(MOST_PIXELS);
    limits.max_alloc = Some(MOST_ALLOC);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let whole = reader
        .decode()
        .map_err(|fault| format!("does not decode: {fault}"))?
        .to_rgb8();
    let (given_width, given_height) = (u64::from(whole.width()), u64::from(whole.height()));
    // The largest part with sides in the wanted ratio.
    let by_height = given_height * u64::from(width) / u64::from(height.max(1));
    let by_width = given_width * u64::from(height) / u64::from(width.max(1));
    let part_width = given_width.min(by_height).max(1) as u32;
    let part_height = given_height.min(by_width).max(1) as u32;
    let left = (whole.width() - part_width) / 2;
    let top = (whole.height() - part_height) / 2;
    let part = crop_imm(&whole, left, top, part_width, part_height);
    Ok(resize(&*part, width, height, FilterType::Triangle))
}

/// Draws a picture with much to see everywhere: a many-coloured ground, shapes, a grain.
///
/// # Errors
/// As [`Canvas::new`].
pub(crate) fn draw_picture(seed: u64, size: [u32; 2]) -> Result<RgbImage> {
    let mut dice = Dice::new(seed, "jigsaw/picture");
    let mut canvas = Canvas::new(size, [0; 3])?;
    paint_ground(&mut canvas, size, &mut dice);
    for _ in 0..10 + dice.below(5) {
        paint_shape(&mut canvas, size, &mut dice);
    }
    let mut picture = canvas.into_rgb()?;
    add_grain(&mut picture, &mut dice);
    Ok(picture)
}

/// Colours on a lattice, blended between its points.
fn paint_ground(canvas: &mut Canvas, [width, height]: [u32; 2], dice: &mut Dice) {
    const POINTS: usize = 5;
    let fields = [(); 3].map(|()| Field::empty(POINTS));
    let [mut red, mut green, mut blue] = fields;
    for at in 0..POINTS * POINTS {
        let color = vivid(dice).map(f64::from);
        for (field, channel) in [&mut red, &mut green, &mut blue].into_iter().zip(color) {
            field.values[at] = channel;
        }
    }
    let across = weights(width, POINTS);
    for (y, down) in weights(height, POINTS).into_iter().enumerate() {
        let lines = [&red, &green, &blue].map(|field| field.line(down));
        for (x, place) in across.iter().enumerate() {
            // Half a step more rounds to the nearest: channels are not negative.
            let color = [0, 1, 2].map(|at: usize| (between(&lines[at], *place) + 0.5) as u8);
            canvas.dot(x as i32, y as i32, color);
        }
    }
}

/// A colour with one strong and one weak channel.
fn vivid(dice: &mut Dice) -> Rgb {
    let mut channels = [dice.whole(170, 255), dice.whole(40, 220), dice.whole(0, 80)];
    dice.shuffle(&mut channels);
    channels.map(|channel| channel as u8)
}

fn paint_shape(canvas: &mut Canvas, size: [u32; 2], dice: &mut Dice) {
    let side = f64::from(size[0].min(size[1]));
    let place = |dice: &mut Dice| size.map(|edge| dice.unit() * f64::from(edge));
    let center = place(dice);
    let radius = side * dice.between(0.05, 0.16);
    let (color, other) = (vivid(dice), vivid(dice));
    let [x, y] = dice.direction();
    let along = |steps: f64, aside: f64| {
        [
            center[0] + steps * x - aside * y,
            center[1] + steps * y + aside * x,
        ]
    };
    match dice.below(5) {
        0 => canvas.disc(center, radius, color),
        1 => canvas.ring(center, radius, 0.35 * radius, color, other),
        2 => {
            let corners: Vec<_> = (0..5).map(|_| place(dice)).collect();
            canvas.polyline(&corners, side * dice.between(0.012, 0.03), color);
        }
        3 => {
            let width = 0.2 * radius;
            for stripe in -2..=2 {
                let aside = 2.0 * width * f64::from(stripe);
                let ends = [along(-1.6 * radius, aside), along(1.6 * radius, aside)];
                canvas.polyline(&ends, width, color);
            }
        }
        _ => {
            for row in -1..=1 {
                for column in -1..=1 {
                    let (steps, aside) = (f64::from(column), f64::from(row));
                    let dot = along(0.7 * radius * steps, 0.7 * radius * aside);
                    canvas.disc(dot, 0.24 * radius, color);
                }
            }
        }
    }
}

/// Makes the picture lighter and darker in small spots.
fn add_grain(picture: &mut RgbImage, dice: &mut Dice) {
    let grains = [(9, 22.0), (31, 14.0)].map(|(points, reach)| {
        let mut field = Field::empty(points);
        for value in &mut field.values {
            *value = dice.between(-reach, reach);
        }
        field
    });
    let (width, height) = picture.dimensions();
    let [across, down] =
        [width, height].map(|pixels| grains.each_ref().map(|field| weights(pixels, field.points)));
    for (y, row) in picture.rows_mut().enumerate() {
        let lines = [0, 1].map(|at: usize| grains[at].line(down[at][y]));
        for (x, pixel) in row.enumerate() {
            let change = between(&lines[0], across[0][x]) + between(&lines[1], across[1][x]);
            pixel.0 = pixel
                .0
                .map(|channel| (f64::from(channel) + change + 0.5).clamp(0.0, 255.0) as u8);
        }
    }
}

/// Numbers on a square lattice that spans the picture.
struct Field {
    points: usize,
    values: Vec<f64>,
}

impl Field {
    fn empty(points: usize) -> Self {
        Self {
            points,
            values: vec![0.0; points * points],
        }
    }

    /// The field along a row of pixels, at the lattice's columns.
    fn line(&self, (row, share): (usize, f64)) -> Vec<f64> {
        let values = |row: usize| &self.values[row * self.points..(row + 1) * self.points];
        let pairs = values(row).iter().zip(values(row + 1));
        pairs.map(|(from, to)| from + (to - from) * share).collect()
    }
}

/// For each of `pixels` in a row the lattice point before it, and the share of the one after it.
fn weights(pixels: u32, points: usize) -> Vec<(usize, f64)> {
    let last = points - 1;
    let weight = |at: u32| {
        let scaled = f64::from(at) / f64::from(pixels) * last as f64;
        let cell = (scaled as usize).min(last - 1);
        let rest = scaled - cell as f64;
        // Flat at the points, so that the lattice does not show.
        (cell, rest * rest * (3.0 - 2.0 * rest))
    };
    (0..pixels).map(weight).collect()
}

fn between(line: &[f64], (cell, share): (usize, f64)) -> f64 {
    line[cell] + (line[cell + 1] - line[cell]) * share
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::encode_png;

    fn uri(picture: &RgbImage) -> String {
        let bytes = encode_png(picture).unwrap();
        format!("{}{}", KINDS[0].0, STANDARD.encode(bytes))
    }

    #[test]
    fn pictures_follow_from_their_seed() {
        let draw = |seed| draw_picture(seed, [60, 40]).unwrap();
        assert_eq!(draw(3), draw(3));
        assert_ne!(draw(3), draw(4));
    }

    #[test]
    fn given_pictures_are_cut_to_shape() {
        let given = RgbImage::from_fn(40, 10, |x, _| image::Rgb([x as u8 * 6, 0, 0]));
        let cut = decode_picture(&uri(&given), [10, 10]).unwrap();
        assert_eq!(cut.dimensions(), (10, 10));
        assert_eq!(cut.get_pixel(0, 0).0, [15 * 6, 0, 0]);
        let same = decode_picture(&uri(&given), [40, 10]).unwrap();
        assert_eq!(same, given);
    }

    #[test]
    fn what_is_no_picture_is_refused() {
        let refuse = |uri: &str| decode_picture(uri, [8, 8]).unwrap_err();
        assert!(refuse("https://host/a.png").contains("data URI"));
        assert!(refuse("data:image/gif;base64,AAAA").contains("data URI"));
        assert!(refuse("data:image/png;base64,?").contains("does not decode"));
        assert!(refuse("data:image/png;base64,AAAA").contains("does not decode"));
        let long = format!("{}{}", KINDS[0].0, "A".repeat(MOST_CHARS));
        assert!(refuse(&long).contains("characters"));
        let whole = uri(&RgbImage::new(30, 30));
        assert!(refuse(&whole[..whole.len() - 40]).contains("does not decode"));
        let wide = uri(&RgbImage::new(MOST_PIXELS + 1, 1));
        assert!(refuse(&wide).contains("does not decode"));
    }
}
