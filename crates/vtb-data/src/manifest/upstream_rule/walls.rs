//! Walls that only the picture shows.
//!
//! Records of hexagonal and round mazes do not say which passages are open. Walls are dark and
//! floors light, so between every two neighbours a small window is looked at where a wall would
//! stand. What is neither dark nor light, a marker or a printed number, says nothing.

use image::RgbImage;
use vtb_puzzle::CellId;

use super::fields::Found;
use super::wrong;

/// Greatest channel of a wall, and least of a floor.
const DARK: u8 = 80;
const LIGHT: u8 = 150;
/// Share of dark pixels from which there is a wall, and up to which there is none.
const WALLED: f64 = 0.7;
const OPEN: f64 = 0.3;
/// Least share of a window's pixels that say something.
const TELLING: f64 = 0.4;

/// Where a wall between two cells would stand.
pub(super) struct Door {
    pub(super) cells: [CellId; 2],
    /// Middle of the window.
    pub(super) at: [f64; 2],
    /// Unit vector from cell to cell.
    pub(super) across: [f64; 2],
    /// Half the size of the window, across and along the wall, pixels.
    pub(super) half: [f64; 2],
}

/// What belongs to a cell at a point of the picture.
pub(super) struct Spot {
    pub(super) cell: CellId,
    /// No wall of this maze can stand there, so a mark hides nothing but floor.
    pub(super) is_inside: bool,
}

#[derive(Clone, Copy, PartialEq)]
enum Tone {
    Dark,
    Light,
    Neither,
}

fn tone(puzzle: &RgbImage, x: f64, y: f64) -> Option<Tone> {
    let [x, y] = [x.floor(), y.floor()];
    let seen = x >= 0.0 && y >= 0.0 && x < f64::from(puzzle.width());
    if !seen || y >= f64::from(puzzle.height()) {
        return None;
    }
    Some(tone_of(puzzle.get_pixel(x as u32, y as u32).0))
}

fn tone_of(color: [u8; 3]) -> Tone {
    let [least, most] = [color.iter().min(), color.iter().max()];
    match (least, most) {
        (_, Some(&most)) if most <= DARK => Tone::Dark,
        (Some(&least), _) if least >= LIGHT => Tone::Light,
        _ => Tone::Neither,
    }
}

/// The doors that no wall closes.
pub(super) fn passages(puzzle: &RgbImage, doors: &[Door]) -> Found<Vec<(CellId, CellId)>> {
    let mut open = Vec::new();
    for door in doors {
        let [a, b] = door.cells;
        match dark_share(puzzle, door) {
            Some(share) if share >= WALLED => {}
            Some(share) if share <= OPEN => open.push((a, b)),
            _ => {
                let reason = format!(
                    "it cannot be seen whether a wall stands between cells {a} and {b}; the record \
                     does not say"
                );
                return wrong("image", reason);
            }
        }
    }
    Ok(open)
}

/// Share of dark among dark and light pixels of a door's window.
fn dark_share(puzzle: &RgbImage, door: &Door) -> Option<f64> {
    let [[dx, dy], [x, y]] = [door.across, door.at];
    let steps = |half: f64| {
        let count = half.clamp(0.5, 64.0).ceil() as i32;
        (-count..=count).map(move |at| half * f64::from(at) / f64::from(count))
    };
    let [mut dark, mut light, mut all] = [0u32; 3];
    for out in steps(door.half[0]) {
        for along in steps(door.half[1]) {
            all += 1;
            match tone(puzzle, x + out * dx - along * dy, y + out * dy + along * dx) {
                Some(Tone::Dark) => dark += 1,
                Some(Tone::Light) => light += 1,
                _ => {}
            }
        }
    }
    let told = f64::from(dark + light);
    (told >= TELLING * f64::from(all)).then(|| f64::from(dark) / told)
}

/// The cell of every pixel: `spot` says whose it would be without walls, dark pixels are walls.
///
/// A mark over a border hides what lies beside it: its pixels go with the nearest that tell.
pub(super) fn cell_map(
    puzzle: &RgbImage,
    spot: impl Fn([f64; 2]) -> Option<Spot>,
) -> Vec<Option<CellId>> {
    let spots: Vec<Option<Spot>> = puzzle
        .enumerate_pixels()
        .map(|(x, y, _)| spot([f64::from(x) + 0.5, f64::from(y) + 0.5]))
        .collect();
    let mut tones: Vec<Tone> = puzzle.pixels().map(|color| tone_of(color.0)).collect();
    for (tone, spot) in tones.iter_mut().zip(&spots) {
        if *tone == Tone::Neither && spot.as_ref().is_some_and(|spot| spot.is_inside) {
            *tone = Tone::Light;
        }
    }
    spread(&mut tones, puzzle.width() as usize);
    let cell = |(spot, tone): (Option<Spot>, Tone)| spot.filter(|_| tone == Tone::Light);
    let pairs = spots.into_iter().zip(tones);
    pairs.map(|pair| cell(pair).map(|spot| spot.cell)).collect()
}

/// Gives every pixel that says nothing the tone of the nearest one that does.
fn spread(tones: &mut [Tone], width: usize) {
    let told = |at: &usize| tones[*at] != Tone::Neither;
    let mut front: Vec<usize> = (0..tones.len()).filter(told).collect();
    while !front.is_empty() {
        let mut next = Vec::new();
        for at in front {
            let column = at % width.max(1);
            let around = [
                (column > 0).then(|| at - 1),
                (column + 1 < width).then_some(at + 1),
                at.checked_sub(width),
                Some(at + width).filter(|below| *below < tones.len()),
            ];
            for to in around.into_iter().flatten() {
                if tones[to] == Tone::Neither {
                    tones[to] = tones[at];
                    next.push(to);
                }
            }
        }
        front = next;
    }
}
