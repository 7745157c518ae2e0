//! Where the puzzle lies in an edited picture: scale and shift, from coarse to fine.
//!
//! Editors return pictures at sizes of their own, padded or a few pixels off. Several simple
//! explanations of the size are tried; the best is refined by descent on the mean difference at
//! some hundred places that a good edit leaves alone.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use image::RgbImage;

use super::gray::{Gray, pyramid, soft_luma};
use super::pixels::shrink;
use super::places::{Place, coarse_places, finest_places, sparse_places};
use super::resample::{resample, trim};
use super::sheet::{Likeness, Sheet};

/// Pixel of the picture = `scale` * pixel of the puzzle + `shift`, axis by axis; edges of the first
/// pixel lie at 0.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Map {
    pub(super) scale: [f64; 2],
    pub(super) shift: [f64; 2],
}

impl Map {
    const IDENTITY: Self = Self {
        scale: [1.0; 2],
        shift: [0.0; 2],
    };

    /// Takes the puzzle's rectangle `from` to the picture's rectangle `to`.
    fn between(from: [f64; 4], to: [f64; 4]) -> Self {
        let scale = [0, 1].map(|axis| (to[axis + 2] - to[axis]) / (from[axis + 2] - from[axis]));
        let shift = [0, 1].map(|axis| to[axis] - scale[axis] * from[axis]);
        Self { scale, shift }
    }

    fn is_sane(&self) -> bool {
        let [x, y] = self.scale;
        let sized = (0.2..=6.0).contains(&x) && (0.2..=6.0).contains(&y);
        sized && (1.0 / MAX_STRETCH..=MAX_STRETCH).contains(&(x / y))
    }

    /// Whether the puzzle lies in a picture of size `whole`, but for a narrow strip: a map that
    /// leaves much of it outside has found something else.
    fn is_inside(&self, size: [f64; 2], whole: [f64; 2]) -> bool {
        (0..2).all(|axis| {
            let strip = OUTSIDE_STRIP * whole[axis];
            let end = self.shift[axis] + self.scale[axis] * size[axis];
            self.shift[axis] >= -strip && end <= whole[axis] + strip
        })
    }

    /// Greatest distance between where two maps put a corner of the puzzle, in its pixels.
    pub(super) fn distance(&self, other: &Self, size: [f64; 2]) -> f64 {
        let apart = [0, 1].map(|axis| {
            let start = (self.shift[axis] - other.shift[axis]).abs();
            let turn = (self.scale[axis] - other.scale[axis]) * size[axis];
            let end = (self.shift[axis] - other.shift[axis] + turn).abs();
            start.max(end) / other.scale[axis]
        });
        apart[0].hypot(apart[1])
    }

    /// Translations and stretches about the middle by `step` pixels of the puzzle.
    fn moved(&self, size: [f64; 2], step: f64) -> impl Iterator<Item = Self> {
        const MOVES: [[f64; 4]; 10] = [
            [1.0, 0.0, 0.0, 0.0],
            [-1.0, 0.0, 0.0, 0.0],
            [0.0, 1.0, 0.0, 0.0],
            [0.0, -1.0, 0.0, 0.0],
            [0.0, 0.0, 1.0, 1.0],
            [0.0, 0.0, -1.0, -1.0],
            [0.0, 0.0, 1.0, 0.0],
            [0.0, 0.0, -1.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
            [0.0, 0.0, 0.0, -1.0],
        ];
        let start = *self;
        MOVES.into_iter().map(move |by| {
            let mut map = start;
            for axis in [0, 1] {
                let unit = step * start.scale[axis];
                // Both edges move outwards by one step.
                map.scale[axis] += 2.0 * unit * by[axis + 2] / size[axis];
                map.shift[axis] += unit * (by[axis] - by[axis + 2]);
            }
            map
        })
    }
}

/// How much of a picture's side the puzzle may stick out by.
const OUTSIDE_STRIP: f64 = 0.05;
/// Most that one axis may be stretched against the other.
const MAX_STRETCH: f64 = 1.4;
/// A mean difference at which a picture of the puzzle's size needs no search.
const EXACT: f64 = 2.5;
/// One at which a likely explanation is taken at once.
const FAIR: f64 = 20.0;
/// The difference of one place is cut here, so that edits do not pull the picture about.
const CAP: f32 = 96.0;
const OUTSIDE: f32 = 64.0;

/// The puzzle, ready to be found in pictures.
///
/// For a picture of the puzzle's size, in place, the finest level is enough.
pub(super) struct Anchors {
    sheet: Arc<Sheet>,
    /// Enough where a picture is known to lie in place.
    sparse: OnceLock<Vec<Place>>,
    finest: OnceLock<Vec<Place>>,
    /// The other levels.
    coarse: OnceLock<Vec<Vec<Place>>>,
    /// Rectangle inside the page-coloured border.
    content: OnceLock<[f64; 4]>,
}

/// An edited picture on the puzzle's own grid.
pub(super) struct Aligned<'a> {
    pub(super) picture: Cow<'a, RgbImage>,
    /// From the puzzle to the picture as it was given.
    pub(super) map: Map,
    /// Mean grey difference that is left, 0 to 96.
    pub(super) residual: f64,
    pub(super) likeness: Likeness,
}

impl Anchors {
    pub(super) fn new(sheet: Arc<Sheet>) -> Self {
        Self {
            sheet,
            sparse: OnceLock::new(),
            finest: OnceLock::new(),
            coarse: OnceLock::new(),
            content: OnceLock::new(),
        }
    }

    pub(super) fn size(&self) -> [f64; 2] {
        self.sheet.size.map(f64::from)
    }

    fn sparse(&self) -> &[Place] {
        self.sparse.get_or_init(|| sparse_places(&self.sheet))
    }

    fn finest(&self) -> &[Place] {
        self.finest.get_or_init(|| finest_places(&self.sheet))
    }

    fn coarse(&self) -> &[Vec<Place>] {
        self.coarse.get_or_init(|| coarse_places(&self.sheet))
    }

    fn places(&self, level: usize) -> Option<&[Place]> {
        match level.checked_sub(1) {
            None => Some(self.finest()),
            Some(coarse) => self.coarse().get(coarse).map(Vec::as_slice),
        }
    }

    /// [`Search::score`] at places of the finest level of a picture of the puzzle's size that lies in
    /// place.
    fn residual(&self, places: &[Place], picture: &RgbImage, far: &[u8]) -> f64 {
        let difference = |place: &Place| {
            let [x, y] = [place.x, place.y].map(|part| part as usize);
            match far[self.sheet.grid.tile_of(x, y)] {
                0 => 0.0,
                _ => cap(f32::from(soft_luma(picture, x, y)) - place.value),
            }
        };
        mean(places, difference)
    }

    /// Finds the puzzle and brings it to its own size; `None` when no size would explain it.
    ///
    /// `hint` is where the frame before had it.
    pub(super) fn align<'a>(
        &self,
        picture: &'a RgbImage,
        hint: Option<Map>,
    ) -> Option<Aligned<'a>> {
        let given = [picture.width(), picture.height()];
        if given.contains(&0) {
            return None;
        }
        if given == self.sheet.size {
            let likeness = self.sheet.likeness(picture);
            let is_known = self.sheet.is_in_place(&likeness);
            let places = if is_known {
                self.sparse()
            } else {
                self.finest()
            };
            let residual = self.residual(places, picture, &likeness.far);
            if is_known || residual <= EXACT {
                return Some(Aligned {
                    picture: Cow::Borrowed(picture),
                    map: Map::IDENTITY,
                    residual,
                    likeness,
                });
            }
        }
        let fit = [0, 1].map(|axis| f64::from(given[axis]) / self.size()[axis]);
        let by = (fit[0].min(fit[1]) + 0.05).floor().clamp(1.0, 64.0);
        let small = match by > 1.0 {
            true => Cow::Owned(shrink(picture, by as u32)),
            false => Cow::Borrowed(picture),
        };
        let search = Search {
            anchors: self,
            levels: pyramid(&small),
        };
        let whole = [small.width(), small.height()].map(f64::from);
        let hint = hint.map(|map| map_times(map, 1.0 / by));
        let (map, residual) = self.find(&search, &small, whole, hint)?;
        let straight = [small.width(), small.height()] == self.sheet.size
            && map.distance(&Map::IDENTITY, self.size()) < 0.2;
        let map = if straight { Map::IDENTITY } else { map };
        let picture = match straight {
            true => small,
            false => Cow::Owned(resample(&small, &map, self.sheet.size)),
        };
        Some(Aligned {
            likeness: self.sheet.likeness(&picture),
            picture,
            map: map_times(map, by),
            residual,
        })
    }

    fn find(
        &self,
        search: &Search<'_>,
        picture: &RgbImage,
        whole: [f64; 2],
        hint: Option<Map>,
    ) -> Option<(Map, f64)> {
        if [picture.width(), picture.height()] == self.sheet.size {
            let residual = search.score(&Map::IDENTITY, 0);
            if residual <= EXACT {
                return Some((Map::IDENTITY, residual));
            }
        }
        let full = [0.0, 0.0, self.size()[0], self.size()[1]];
        let stretched = Map::between(full, [0.0, 0.0, whole[0], whole[1]]);
        let middle = search.top().saturating_sub(1);
        let mut rough = Vec::new();
        for start in hint.into_iter().chain([stretched]).filter(Map::is_sane) {
            let found = search.descend(start, search.top(), middle);
            if found.1 <= FAIR && found.0.distance(&start, self.size()) <= 4.0 {
                return Some(search.descend(found.0, middle, 0));
            }
            rough.push(found);
        }
        let mut starts: Vec<Map> = Vec::new();
        for start in self.explanations(picture, full, whole) {
            let known = |other: &Map| start.distance(other, self.size()) < 1.0;
            if start.is_sane() && !starts.iter().any(known) {
                starts.push(start);
            }
        }
        let mut others: Vec<_> = starts
            .into_iter()
            .map(|start| search.descend(start, search.top(), search.top()))
            .collect();
        others.sort_by(|a, b| a.1.total_cmp(&b.1));
        others.truncate(2);
        rough.extend(
            others
                .iter()
                .map(|(map, _)| search.descend(*map, search.top(), middle)),
        );
        let holds = |(map, _): &(Map, f64)| map.is_sane() && map.is_inside(self.size(), whole);
        let inside = rough.into_iter().filter(holds);
        let best = inside.min_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(search.descend(best.0, middle, 0)).filter(holds)
    }

    /// Ways in which a picture of this size may hold the puzzle.
    fn explanations(&self, picture: &RgbImage, full: [f64; 4], whole: [f64; 2]) -> Vec<Map> {
        let size = self.size();
        let ratio = [whole[0] / size[0], whole[1] / size[1]];
        let even = |scale: f64, share: f64| Map {
            scale: [scale; 2],
            shift: [0, 1].map(|axis| (whole[axis] - scale * size[axis]) * share),
        };
        let inside = trim(picture);
        let mut maps = vec![
            Map::between(full, inside),
            Map::between(
                *self.content.get_or_init(|| trim(&self.sheet.puzzle)),
                inside,
            ),
            even(ratio[0].min(ratio[1]), 0.5),
            even(ratio[0].min(ratio[1]), 0.0),
        ];
        if [0, 1]
            .iter()
            .all(|axis| (whole[*axis] - size[*axis]).abs() <= 64.0)
        {
            maps.extend([even(1.0, 0.5), even(1.0, 0.0)]);
        }
        maps
    }
}

fn map_times(map: Map, by: f64) -> Map {
    Map {
        scale: map.scale.map(|part| part * by),
        shift: map.shift.map(|part| part * by),
    }
}

fn cap(difference: f32) -> f32 {
    difference.abs().min(CAP)
}

/// Mean of a difference over places; 0 if there are none.
fn mean(places: &[Place], difference: impl Fn(&Place) -> f32) -> f64 {
    match places.len() {
        0 => 0.0,
        count => f64::from(places.iter().map(difference).sum::<f32>()) / count as f64,
    }
}

struct Search<'a> {
    anchors: &'a Anchors,
    levels: Vec<Gray>,
}

impl Search<'_> {
    fn top(&self) -> usize {
        self.anchors.coarse().len()
    }

    /// Mean difference at the places of a level.
    fn score(&self, map: &Map, level: usize) -> f64 {
        let Some(places) = self.anchors.places(level) else {
            return 0.0;
        };
        // The level of the picture that is about as sharp.
        let finer = f64::midpoint(map.scale[0], map.scale[1]).log2().round() as i32;
        let other = (level as i32 + finer).clamp(0, self.levels.len() as i32 - 1) as usize;
        let Some(gray) = self.levels.get(other) else {
            return 0.0;
        };
        let unit = f64::from(1u32 << level) / f64::from(1u32 << other);
        let scale = map.scale.map(|part| (part * unit) as f32);
        let shift = map
            .shift
            .map(|part| (part / f64::from(1u32 << other)) as f32);
        let difference = |place: &Place| {
            let x = scale[0] * (place.x + 0.5) + shift[0] - 0.5;
            let y = scale[1] * (place.y + 0.5) + shift[1] - 0.5;
            gray.at(x, y)
                .map_or(OUTSIDE, |value| cap(value - place.value))
        };
        mean(places, difference)
    }

    /// Steepest descent, level by level, from level `from` down to level `to`.
    fn descend(&self, start: Map, from: usize, to: usize) -> (Map, f64) {
        // A picture of half the size has nothing to say about single pixels of the puzzle.
        let coarse = f64::midpoint(start.scale[0], start.scale[1]) < 0.7;
        let to = to.max(usize::from(coarse)).min(from);
        let mut best = (start, f64::INFINITY);
        for level in (to..=from).rev() {
            best.1 = self.score(&best.0, level);
            let step = f64::from(1u32 << level) / 2.0;
            best = self.walk(best, level, step);
            if level == to {
                best = self.walk(best, level, step / 2.0);
            }
        }
        best
    }

    fn walk(&self, mut best: (Map, f64), level: usize, step: f64) -> (Map, f64) {
        const ROUNDS: usize = 8;
        for _ in 0..ROUNDS {
            let moves = best.0.moved(self.anchors.size(), step);
            let next = moves
                .map(|map| (map, self.score(&map, level)))
                .min_by(|a, b| a.1.total_cmp(&b.1));
            // What hardly helps is noise, and would drift.
            match next {
                Some(next) if next.1 < 0.99 * best.1 - 0.01 => best = next,
                _ => break,
            }
        }
        best
    }
}
