//! Arcs that run behind a band: which arc on the right goes on from the one on the left?
//!
//! The circles are equal and stand one above another, so the arcs on the right do not know which
//! of them goes on. The left end of an arc is steeper than its right end: between the two the arc
//! climbs (or falls) by more than half the column of candidates is high. Hence the candidate level
//! with the left arc is the one at the column's end, whichever is right.

use serde::{Deserialize, Serialize};

use super::plane::{Vec2, add, scale, slope_between, turn};
use super::sheet::{draw_noise_seed, marked, no_scene, require, require_inside, solved_choice};
use super::{
    Candidate, EyeballingParams, distance, draw_around, index_of_answer, require_legible, snap,
};
use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb, Stroke, draw_growing};
use crate::error::Result;
use crate::params::{Optional, Params, within};
use crate::task::Solved;

/// Parameters of the arc tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ArcParams {
    /// What all eyeballing tasks have.
    #[serde(flatten)]
    pub common: EyeballingParams,
    /// Width of the band, as a share of the picture's width (default 0.3).
    pub band: f64,
}

impl Default for ArcParams {
    fn default() -> Self {
        Self {
            common: EyeballingParams::default(),
            band: 0.3,
        }
    }
}

impl Params for ArcParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()?;
        within("band", self.band, 0.15, 0.4)
    }

    fn optional() -> Optional {
        EyeballingParams::OPTIONAL
    }
}

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArcScene {
    /// Left edge of the band.
    pub band_left: u32,
    /// Right edge of the band.
    pub band_right: u32,
    /// Radius of all circles.
    pub radius: f64,
    /// Where all circles have their middles, across.
    pub middle: f64,
    /// Arcs are the upper parts of their circles.
    pub over: bool,
    /// Where the circles on the right have their middles, down; from top to bottom.
    pub rows: Vec<f64>,
    /// Slope of [`turn`] from the band to the far end of an arc on the right.
    pub right_slope: f64,
    /// Likewise on the left.
    pub left_slope: f64,
    /// The arc on the left: its end at the band, its far end.
    pub left_arc: [Vec2; 2],
    /// Far ends of the arcs on the right.
    pub candidates: Vec<Candidate>,
    /// Seed of the noise; 0 without noise.
    pub noise_seed: u32,
}

/// Radius and length of the visible parts, shares of the side.
const RADIUS: [f64; 2] = [0.4, 0.7];
const SEEN: [f64; 2] = [0.12, 0.2];
/// Greatest offset of a visible end from the middle of its circle over the radius: left, right.
const STEEPEST: [f64; 2] = [0.95, 0.75];

/// One circle's visible parts, seen from the circle's middle.
struct Shape {
    /// Unit arrows to the left arc's far end and band end, the right arc's band end and far end.
    arrows: [Vec2; 4],
}

impl Shape {
    /// `None` when the circle does not reach across the band.
    fn of(scene: &ArcScene) -> Option<Self> {
        let sign = if scene.over { 1.0 } else { -1.0 };
        let toward = |x: f64| {
            let across = (x - scene.middle) / scene.radius;
            let down = (1.0 - across * across).max(0.0).sqrt();
            (across.abs() < 1.0).then_some([across, -sign * down])
        };
        let left = toward(f64::from(scene.band_left))?;
        let right = toward(f64::from(scene.band_right))?;
        let far_left = turn(left, -sign * scene.left_slope);
        let far_right = turn(right, sign * scene.right_slope);
        Some(Self {
            arrows: [far_left, left, right, far_right],
        })
    }

    /// A point of the circle in `row`.
    fn at(&self, scene: &ArcScene, row: f64, arrow: usize) -> Vec2 {
        add([scene.middle, row], scale(self.arrows[arrow], scene.radius))
    }

    /// The arc between two of the arrows.
    fn arc(&self, scene: &ArcScene, row: f64, [from, to]: [usize; 2]) -> Vec<Vec2> {
        const STEPS: u32 = 40;
        let (from, to) = (self.arrows[from], self.arrows[to]);
        let slope = slope_between(from, to);
        let part = |step| turn(from, slope * f64::from(step) / f64::from(STEPS));
        (0..=STEPS)
            .map(|step| add([scene.middle, row], scale(part(step), scene.radius)))
            .collect()
    }
}

const LEFT: [usize; 2] = [1, 0];
const HIDDEN: [usize; 2] = [1, 2];
const RIGHT: [usize; 2] = [2, 3];

/// Draws the lots for one scene; `rim` is the room that a candidate needs to its right.
///
/// # Errors
/// [`crate::PuzzleError::NoScene`] when the bound on tries is reached.
pub fn build_arcs(task: &str, params: &ArcParams, rim: f64, dice: &mut Dice) -> Result<ArcScene> {
    const TRIES: u32 = 20_000;
    let noise_seed = draw_noise_seed(&params.common, dice);
    let answer = dice.below(params.common.candidates);
    for _ in 0..TRIES {
        let Some(scene) = draw_column(params, noise_seed, dice) else {
            continue;
        };
        // The arc on the left must fit whichever circle it belongs to.
        let fits = |at: usize| {
            with_left_arc(&scene, at).is_some_and(|scene| solve_arcs(params, rim, &scene).is_ok())
        };
        if (0..params.common.candidates).all(fits)
            && let Some(scene) = with_left_arc(&scene, answer)
        {
            return Ok(scene);
        }
    }
    Err(no_scene(task, TRIES))
}

/// The circles and what is seen of them on the right.
fn draw_column(params: &ArcParams, noise_seed: u32, dice: &mut Dice) -> Option<ArcScene> {
    let common = &params.common;
    let [width, height] = common.canvas().map(f64::from);
    let side = common.side();
    let band = params.band * width;
    let at = (width - band) / 2.0 + width * dice.between(-0.04, 0.04);
    let (band_left, band_right) = (at.round(), (at + band).round());
    let radius = (16.0 * side * dice.between(RADIUS[0], RADIUS[1])).round() / 16.0;
    let mut rows = vec![0.0];
    for _ in 1..common.candidates {
        let gap = common.tolerance() * (1.04 + 0.3 * common.spread * dice.unit());
        rows.push(rows[rows.len() - 1] + gap);
    }
    let span = rows[rows.len() - 1];
    let climb = dice.between(0.5 * span, 0.4 * side);
    let shift = shift_for(climb, radius, (band_right - band_left) / 2.0)?;
    // Half the angle of an arc of this length, which is nearly the tangent.
    let mut slope =
        || (4096.0 * dice.between(SEEN[0], SEEN[1]) * side / (2.0 * radius)).round() / 4096.0;
    let mut scene = ArcScene {
        band_left: band_left as u32,
        band_right: band_right as u32,
        radius,
        middle: (16.0 * ((band_left + band_right) / 2.0 + shift)).round() / 16.0,
        over: false,
        rows: Vec::new(),
        right_slope: slope(),
        left_slope: slope(),
        left_arc: [[0.0; 2]; 2],
        candidates: Vec::new(),
        noise_seed,
    };
    scene.over = dice.chance(0.5);
    let shape = Shape::of(&scene)?;
    let outline = [LEFT, RIGHT]
        .map(|part| shape.arc(&scene, 0.0, part))
        .concat();
    let downs = || outline.iter().map(|point| point[1]);
    let free = common.margin() + common.disc_radius();
    let low = free - downs().fold(f64::INFINITY, f64::min);
    let high = height - free - span - downs().fold(f64::NEG_INFINITY, f64::max);
    let top = (low <= high).then(|| dice.between(low, high))?;
    scene.rows = rows
        .iter()
        .map(|row| (16.0 * (top + row)).round() / 16.0)
        .collect();
    let labels = common.labels.labels(common.candidates);
    let ends = scene.rows.iter().map(|row| snap(shape.at(&scene, *row, 3)));
    scene.candidates = ends
        .zip(labels)
        .map(|([x, y], label)| Candidate { x, y, label })
        .collect();
    Some(scene)
}

/// How far right of the band's middle the circles must stand for their arcs to climb by `climb`
/// behind a band of this half width; `None` when they would become too steep.
fn shift_for(climb: f64, radius: f64, half: f64) -> Option<f64> {
    let height = |across: f64| (radius * radius - across * across).max(0.0).sqrt();
    let climbed = |shift: f64| height(half - shift) - height(half + shift);
    let (mut low, mut high) = (0.0, STEEPEST[0] * radius - half);
    if !(high > 0.0 && climbed(high) > climb) {
        return None;
    }
    // Bisection: the climb grows with the shift.
    for _ in 0..30 {
        let middle = (low + high) / 2.0;
        match climbed(middle) < climb {
            true => low = middle,
            false => high = middle,
        }
    }
    Some(low)
}

/// The scene whose left arc belongs to the circle in row `at`.
fn with_left_arc(scene: &ArcScene, at: usize) -> Option<ArcScene> {
    let shape = Shape::of(scene)?;
    let row = *scene.rows.get(at)?;
    let mut scene = scene.clone();
    scene.left_arc = LEFT.map(|arrow| super::snap_fine(shape.at(&scene, row, arrow)));
    Some(scene)
}

/// Checks every rule of a scene and derives the answer.
///
/// # Errors
/// [`crate::PuzzleError::BadScene`].
pub fn solve_arcs(params: &ArcParams, rim: f64, scene: &ArcScene) -> Result<Solved> {
    let common = &params.common;
    let candidates = &scene.candidates;
    require_legible(common, candidates)?;
    let shape = checked_shape(params, scene)?;
    let half = common.line_width / 2.0;
    for row in &scene.rows {
        let arc = shape.arc(scene, *row, RIGHT);
        let discs: Vec<_> = arc.into_iter().map(|point| (point, half)).collect();
        require_inside(common, &discs)?;
    }
    let left_row = left_row(scene, &shape)?;
    let arc = shape.arc(scene, left_row, LEFT);
    let discs: Vec<_> = arc.into_iter().map(|point| (point, half)).collect();
    require_inside(common, &discs)?;
    for (at, one) in candidates.iter().enumerate() {
        let room = add(one.at(), [rim, 0.0]);
        require_inside(common, &[(room, common.disc_radius())])?;
        require(
            one.x >= f64::from(scene.band_right) + common.disc_radius() + 4.0,
            "a candidate touches the band",
        )?;
        let clear = scene.rows.iter().enumerate().all(|(other, row)| {
            let off = (distance(one.at(), [scene.middle, *row]) - scene.radius).abs();
            other == at || off >= common.disc_radius() + half + 1.0
        });
        require(clear, "a candidate touches another's arc")?;
    }
    require_climb(scene, &shape)?;
    let off = |row: &f64| (row - left_row).abs();
    let violations: Vec<_> = scene.rows.iter().map(off).collect();
    let (answer, least) = index_of_answer(common, &violations)?;
    let hidden = f64::from(scene.band_right - scene.band_left);
    let mut solved = solved_choice(common, candidates, answer, [least, 0.25 * hidden]);
    let row = scene.rows[answer];
    solved.construction.push(Stroke::Line {
        points: shape.arc(scene, row, HIDDEN),
        width: common.line_width,
        color: common.theme.ink(),
    });
    Ok(solved)
}

/// The shape, with all numbers in the ranges of the parameters and the candidates at its ends.
fn checked_shape(params: &ArcParams, scene: &ArcScene) -> Result<Shape> {
    let common = &params.common;
    let [width, height] = common.canvas().map(f64::from);
    let side = common.side();
    let (left, right) = (f64::from(scene.band_left), f64::from(scene.band_right));
    let band = params.band * width;
    let placed = left < right
        && (right - left - band).abs() <= 2.0
        && ((left + right - width) / 2.0).abs() <= 0.05 * width;
    require(placed, "the band is not the parameters'")?;
    let radii = RADIUS[0] * side - 1.0..=RADIUS[1] * side + 1.0;
    require(radii.contains(&scene.radius), "the radius is out of range")?;
    let rows = scene.rows.len() == scene.candidates.len()
        && scene
            .rows
            .iter()
            .all(|row| row.abs() <= 2.0 * height + side);
    require(rows, "the circles are not one for each candidate")?;
    let slopes = [scene.left_slope, scene.right_slope];
    let seen = slopes.iter().all(|slope| (0.05..=0.3).contains(slope));
    require(seen, "a visible arc is too short or too long")?;
    let shape = Shape::of(scene);
    let reaches = shape.as_ref().is_some_and(|shape| {
        let [_, left, right, far] = shape.arrows.map(|arrow| arrow[0].abs());
        left <= STEEPEST[0] + 0.01 && right.max(far) <= STEEPEST[1]
    });
    require(reaches, "the arcs are too steep")?;
    let Some(shape) = shape.filter(|_| reaches) else {
        return Err(crate::PuzzleError::BadScene("no arcs".to_owned()));
    };
    let at_ends = scene.candidates.iter().zip(&scene.rows);
    let at_ends = at_ends
        .map(|(one, row)| distance(one.at(), shape.at(scene, *row, 3)))
        .all(|off| off <= 0.125);
    require(at_ends, "a candidate is not at the end of its arc")?;
    Ok(shape)
}

/// Where the circle of the arc on the left has its middle, down.
fn left_row(scene: &ArcScene, shape: &Shape) -> Result<f64> {
    let [near, far] = scene.left_arc;
    let row = near[1] - shape.arrows[1][1] * scene.radius;
    let fits = [(near, 1), (far, 0)]
        .iter()
        .all(|(end, arrow)| distance(*end, shape.at(scene, row, *arrow)) <= 0.125);
    require(fits, "the arc on the left is not part of such a circle")?;
    Ok(row)
}

/// The arcs climb enough for the candidate level with the left arc to be the last of its column,
/// whichever is the answer.
fn require_climb(scene: &ArcScene, shape: &Shape) -> Result<()> {
    let (first, last) = (scene.rows.first(), scene.rows.last());
    let span = first.zip(last).map_or(0.0, |(first, last)| last - first);
    let down = |arrow: usize| shape.arrows[arrow][1].abs() * scene.radius;
    let climbs = [2, 3].iter().all(|&end| down(end) - down(1) > span / 2.0);
    require(climbs, "the arcs do not climb enough behind the band")
}

/// Draws the arcs as far as they are seen.
fn draw_seen(canvas: &mut Canvas, common: &EyeballingParams, scene: &ArcScene) -> Result<()> {
    let Some(shape) = Shape::of(scene) else {
        return Ok(());
    };
    let ink = common.theme.ink();
    for row in &scene.rows {
        let arc = shape.arc(scene, *row, RIGHT);
        canvas.polyline(&arc, common.line_width, ink);
    }
    let row = left_row(scene, &shape)?;
    let arc = shape.arc(scene, row, LEFT);
    canvas.polyline(&arc, common.line_width, ink);
    Ok(())
}

fn draw_band(canvas: &mut Canvas, common: &EyeballingParams, scene: &ArcScene) {
    let band = [scene.band_left, 0, scene.band_right, common.height];
    canvas.rect(band, band_color(common));
}

/// How the candidates of a task look without callouts: draws them, the one at the given index in
/// red.
type Ends = fn(&mut Canvas, &EyeballingParams, &[Candidate], Option<usize>);

/// The page with the arcs, as far as they are seen.
///
/// # Errors
/// [`crate::PuzzleError::Picture`].
pub fn page_of_arcs(params: &ArcParams, scene: &ArcScene) -> Result<Canvas> {
    let common = &params.common;
    let mut canvas = Canvas::new(common.canvas(), common.theme.page())?;
    draw_seen(&mut canvas, common, scene)?;
    Ok(canvas)
}

/// Draws band and candidates over the arcs of [`page_of_arcs`]; on the solution the band is gone and
/// one arc is whole.
///
/// # Errors
/// [`crate::PuzzleError::Picture`].
pub fn paint_arcs(
    mut canvas: Canvas,
    params: &ArcParams,
    scene: &ArcScene,
    solved: &Solved,
    layer: Layer,
    ends: Ends,
) -> Result<Canvas> {
    let common = &params.common;
    // Letters keep off the band in all pictures alike.
    let mut figure = common.callouts.then(|| canvas.clone());
    if let Some(figure) = &mut figure {
        draw_band(figure, common, scene);
    }
    if layer != Layer::Solution {
        draw_band(&mut canvas, common, scene);
    }
    draw_growing(&mut canvas, &solved.construction, layer.progress());
    let answer = marked(&scene.candidates, solved, layer);
    match figure {
        Some(figure) => {
            draw_around(&mut canvas, common, &scene.candidates, answer, &figure)?;
        }
        None => ends(&mut canvas, common, &scene.candidates, answer),
    }
    canvas.noise(common.noise, u64::from(scene.noise_seed));
    Ok(canvas)
}

/// A shade between page and ink.
fn band_color(params: &EyeballingParams) -> Rgb {
    let (page, ink) = (params.theme.page(), params.theme.ink());
    [0, 1, 2].map(|at| ((4 * u16::from(page[at]) + u16::from(ink[at])) / 5) as u8)
}
