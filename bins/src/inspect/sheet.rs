//! A contact sheet: what some rows ask, what they start from, and what they are to become.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use rayon::prelude::*;
use vtb_data::image_io::{self, ImageOptions};
use vtb_data::media::{read_clip_rows, read_edit_rows};
use vtb_data::video::VideoReader;
use vtb_data::{JsonlDataset, OpenOptions, RowRules, RowSource};
use vtb_puzzle::draw::{Canvas, text_width};

use super::Kind;

/// Width and height of a cell and of each of its two pictures, pixels.
const CELL: [u32; 2] = [640, 216];
const PICTURE: u32 = 192;
const GAP: u32 = 12;
/// Cells side by side.
const ACROSS: usize = 2;
/// Most rows of a sheet: it has to fit a picture.
const MOST: usize = 36;
/// Size of letters and distance of lines, pixels.
const LETTER: f64 = 11.0;
const LINE: f64 = 15.0;
const INK: [u8; 3] = [32; 3];
const FAINT: [u8; 3] = [120; 3];

/// What is shown of one row.
struct Cell {
    title: String,
    text: String,
    input: Option<RgbImage>,
    /// The picture to be drawn, or the last frame of the clip.
    target: Option<RgbImage>,
    /// The answer, where there is no picture.
    answer: String,
}

/// Draws `count` rows of `file`, spread evenly over it, as one PNG at `out`; returns how many are shown.
///
/// # Errors
/// The file or one of the rows cannot be read, or the picture cannot be written.
pub fn preview(
    file: &Path,
    kind: Option<Kind>,
    base: Option<&Path>,
    count: usize,
    out: &Path,
) -> anyhow::Result<usize> {
    let cells = match Kind::of(file, kind)? {
        Kind::Vlm => chats(file, base, count)?,
        Kind::Image => edits(file, base, count)?,
        Kind::Video => clips(file, base, count)?,
    };
    let sheet = draw(&cells)?;
    image_io::write_png(out, &sheet)?;
    Ok(cells.len())
}

/// Numbers of up to `count` rows among `rows`, spread evenly.
fn chosen(rows: usize, count: usize) -> Vec<usize> {
    let count = count.clamp(1, MOST).min(rows);
    (0..count).map(|at| at * rows / count).collect()
}

fn chats(file: &Path, base: Option<&Path>, count: usize) -> anyhow::Result<Vec<Cell>> {
    let mut options = OpenOptions::new(RowRules {
        require_solution: false,
        ..RowRules::sft()
    });
    options.image_base = base.map(Path::to_owned);
    let rows = match JsonlDataset::open(file, &options) {
        Ok(rows) => rows,
        // Prompts without answers are not supervised rows.
        Err(_) => {
            options.rules.mode = vtb_data::RowMode::Grpo;
            JsonlDataset::open(file, &options)?
        }
    };
    let cell = |index| {
        let row = rows.row(index)?;
        let pictures = row.load_images(&ImageOptions::default())?;
        let said: Vec<_> = row.messages.iter().map(|m| m.content.as_str()).collect();
        let answered = row
            .messages
            .last()
            .filter(|m| m.role == vtb_data::Role::Assistant);
        let (asked, answer) = match answered {
            Some(answer) => (&said[..said.len() - 1], answer.content.clone()),
            None => (&said[..], row.solution_text().unwrap_or_default()),
        };
        let task = row.task_type.clone().unwrap_or_default();
        Ok(Cell {
            title: format!("{} {task}", row.origin.line),
            text: asked.join(" / "),
            input: side_by_side(&pictures),
            target: None,
            answer,
        })
    };
    chosen(rows.len(), count)
        .into_par_iter()
        .map(cell)
        .collect()
}

fn edits(file: &Path, base: Option<&Path>, count: usize) -> anyhow::Result<Vec<Cell>> {
    let rows = read_edit_rows(file, base)?;
    let cell = |index: usize| {
        let row = &rows[index];
        let load = |image| {
            image_io::load(image, &ImageOptions::default())
                .with_context(|| format!("{}: {image}", row.origin))
        };
        let sources = row
            .edit_images
            .iter()
            .map(load)
            .collect::<anyhow::Result<Vec<_>>>()?;
        Ok(Cell {
            title: title(row.origin.line, &row.extra),
            text: row.prompt.clone(),
            input: side_by_side(&sources),
            target: Some(load(&row.image)?.as_ref().clone()),
            answer: String::new(),
        })
    };
    chosen(rows.len(), count)
        .into_par_iter()
        .map(cell)
        .collect()
}

fn clips(file: &Path, base: Option<&Path>, count: usize) -> anyhow::Result<Vec<Cell>> {
    let rows = read_clip_rows(file, base)?;
    let cell = |index: usize| {
        let row = &rows[index];
        let mut reader = VideoReader::open(&row.video).with_context(|| row.origin.to_string())?;
        let frames = reader.info().frame_count;
        let first = reader.next().transpose()?;
        let last = match frames {
            0 | 1 => first.clone(),
            _ => Some(reader.last_frame()?),
        };
        Ok(Cell {
            title: format!("{}, {frames} frames", title(row.origin.line, &row.extra)),
            text: row.prompt.clone(),
            input: first,
            target: last,
            answer: String::new(),
        })
    };
    chosen(rows.len(), count)
        .into_par_iter()
        .map(cell)
        .collect()
}

fn title(line: u64, columns: &serde_json::Map<String, serde_json::Value>) -> String {
    let task = columns.get("task_type").and_then(serde_json::Value::as_str);
    format!("{line} {}", task.unwrap_or_default())
}

/// Several pictures as one, at the height of the lowest.
fn side_by_side(pictures: &[Arc<RgbImage>]) -> Option<RgbImage> {
    if let [one] = pictures {
        return Some(one.as_ref().clone());
    }
    let height = pictures
        .iter()
        .map(|picture| picture.height())
        .min()?
        .clamp(1, PICTURE);
    let scaled: Vec<_> = pictures
        .iter()
        .map(|picture| fit(picture, u32::MAX, height))
        .collect();
    let width = scaled.iter().map(RgbImage::width).sum();
    let mut whole = RgbImage::from_pixel(width, height, Rgb([255; 3]));
    let mut left = 0;
    for picture in &scaled {
        imageops::replace(&mut whole, picture, left, 0);
        left += i64::from(picture.width());
    }
    Some(whole)
}

/// The picture, shrunk to fit.
fn fit(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (w, h) = picture.dimensions();
    let scale = (f64::from(width) / f64::from(w)).min(f64::from(height) / f64::from(h));
    if scale >= 1.0 {
        return picture.clone();
    }
    let side = |pixels: u32| ((f64::from(pixels) * scale).round() as u32).max(1);
    imageops::resize(picture, side(w), side(h), FilterType::CatmullRom)
}

fn draw(cells: &[Cell]) -> anyhow::Result<RgbImage> {
    let down = cells.len().div_ceil(ACROSS).max(1);
    let size = [CELL[0] * ACROSS as u32, CELL[1] * down as u32];
    let mut canvas = Canvas::new(size, [255; 3])?;
    let corner = |at: usize| {
        [
            CELL[0] * (at % ACROSS) as u32,
            CELL[1] * (at / ACROSS) as u32,
        ]
    };
    for (cell, at) in cells.iter().zip(0..) {
        write_cell(&mut canvas, cell, corner(at));
    }
    let mut sheet = canvas.into_rgb()?;
    for (cell, at) in cells.iter().zip(0..) {
        let [left, top] = corner(at);
        let slots = [(&cell.target, 1), (&cell.input, 2)];
        for (picture, from_right) in slots {
            let Some(picture) = picture else { continue };
            let shown = fit(picture, PICTURE, PICTURE);
            let x = left + CELL[0] - from_right * (PICTURE + GAP);
            imageops::replace(&mut sheet, &shown, i64::from(x), i64::from(top + GAP));
        }
    }
    Ok(sheet)
}

fn write_cell(canvas: &mut Canvas, cell: &Cell, [left, top]: [u32; 2]) {
    let [x, y] = [f64::from(left + GAP), f64::from(top + GAP)];
    let width = f64::from(CELL[0] - 2 * (PICTURE + GAP) - 2 * GAP);
    canvas.rect(
        [left, top + CELL[1] - 1, left + CELL[0], top + CELL[1]],
        [220; 3],
    );
    write_lines(canvas, [x, y], &wrap(&cell.title, width, 1), FAINT);
    let most = ((f64::from(CELL[1] - 2 * GAP) / LINE) as usize).saturating_sub(1);
    write_lines(canvas, [x, y + LINE], &wrap(&cell.text, width, most), INK);
    if cell.target.is_none() {
        let x = f64::from(left + CELL[0] - PICTURE - GAP);
        let lines = wrap(&cell.answer, f64::from(PICTURE), most);
        write_lines(canvas, [x, y], &lines, INK);
    }
}

fn write_lines(canvas: &mut Canvas, [x, y]: [f64; 2], lines: &[String], color: [u8; 3]) {
    for (line, at) in lines.iter().zip(0..) {
        let middle = x + LETTER * text_width(line) / 2.0;
        canvas.label(
            [middle, y + LINE * (f64::from(at) + 0.5)],
            line,
            LETTER,
            color,
        );
    }
}

/// Lines no wider than `width` pixels, at most `most` of them; the last one ends in dots where more would follow.
fn wrap(text: &str, width: f64, most: usize) -> Vec<String> {
    let fits = |line: &str| LETTER * text_width(line) <= width;
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        // A word without spaces, such as a list of numbers, is cut where it has to be.
        let mut rest = word;
        while !rest.is_empty() {
            let gap = if line.is_empty() { "" } else { " " };
            if fits(&format!("{line}{gap}{rest}")) {
                line = format!("{line}{gap}{rest}");
                break;
            }
            if line.is_empty() {
                let letters = rest
                    .char_indices()
                    .map(|(at, letter)| at + letter.len_utf8());
                let cut = letters.take_while(|end| fits(&rest[..*end])).last();
                let first = rest.chars().next().map_or(0, char::len_utf8);
                let (head, tail) = rest.split_at(cut.unwrap_or(first));
                lines.push(head.to_owned());
                rest = tail;
            } else {
                lines.push(std::mem::take(&mut line));
            }
            if lines.len() > most {
                break;
            }
        }
        if lines.len() > most {
            break;
        }
    }
    lines.extend((!line.is_empty()).then_some(line));
    if lines.len() > most {
        lines.truncate(most);
        if let Some(last) = lines.last_mut() {
            last.push_str(" ...");
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_spread_over_the_file() {
        assert_eq!(chosen(100, 4), [0, 25, 50, 75]);
        assert_eq!(chosen(3, 16), [0, 1, 2]);
        assert_eq!(chosen(1000, 500).len(), MOST);
    }

    #[test]
    fn text_is_cut_into_lines_that_fit() {
        let text =
            "a question of some length about [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]";
        let lines = wrap(text, 120.0, 99);
        assert!(lines.len() > 3);
        assert!(
            lines.iter().all(|line| LETTER * text_width(line) <= 120.0),
            "{lines:?}"
        );
        assert_eq!(lines.concat().replace(' ', ""), text.replace(' ', ""));
        let short = wrap(text, 120.0, 2);
        assert_eq!(short.len(), 2);
        assert!(short[1].ends_with("..."));
        assert!(wrap("", 120.0, 5).is_empty());
        // A letter wider than the line still makes progress.
        assert_eq!(wrap("WW", 1.0, 5), ["W", "W"]);
    }
}
