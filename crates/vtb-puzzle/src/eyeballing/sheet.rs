//! What every task with candidates does alike: options, prompts, pictures, measures.

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, draw_growing};
use crate::error::{PuzzleError, Result};
use crate::judge::{MarkerRule, PictureRule};
use crate::record::{Answer, Prompts};
use crate::task::Solved;

use super::plane::{Vec2, segment_distance};
use super::{Candidate, EyeballingParams, draw_anchor, draw_choices};

/// Seed of the noise of a new scene; 0 without noise.
pub fn draw_noise_seed(params: &EyeballingParams, dice: &mut Dice) -> u32 {
    match params.noise {
        0 => 0,
        _ => (dice.bits() >> 32) as u32,
    }
}

/// What is said of a puzzle; each a sentence or more.
#[derive(Debug, Clone)]
pub struct Wording {
    /// What the picture shows, and that exactly one candidate fits.
    pub figure: String,
    /// What is asked.
    pub question: &'static str,
    /// How the picture is to be changed.
    pub edit: &'static str,
    /// What happens in the video.
    pub film: &'static str,
}

impl Wording {
    /// The four prompts.
    #[must_use]
    pub fn prompts(&self, params: &EyeballingParams) -> Prompts {
        let Self {
            figure,
            question,
            edit,
            film,
        } = self;
        let prompts = Prompts {
            text: format!(
                "{figure} {question} Put only its mark inside <answer> and </answer> at the end \
                 of your reply."
            ),
            image: format!("{figure} {edit}"),
            text_image: format!(
                "{figure} {edit} Name its mark inside <answer> and </answer> as well."
            ),
            video: format!("{figure} The camera does not move. {film} Nothing else changes."),
        };
        in_words_of(params, prompts)
    }
}

/// Prompts that speak of discs, in the words for how candidates are drawn.
#[must_use]
pub fn in_words_of(params: &EyeballingParams, prompts: Prompts) -> Prompts {
    if !params.callouts {
        return prompts;
    }
    let reword = |prompt: String| {
        let dots = prompt.replace("disc", "dot");
        format!(
            "Small dots are named by marks beside them, each joined to its dot by a thin line. \
             {dots}"
        )
    };
    Prompts {
        text: reword(prompts.text),
        image: reword(prompts.image),
        text_image: reword(prompts.text_image),
        video: reword(prompts.video),
    }
}

/// A solution with the answer's label and the two measures every task has.
///
/// `difficulty` is one half where the nearest wrong candidate is off by `half_at` pixels.
#[must_use]
pub fn solved_choice(
    params: &EyeballingParams,
    candidates: &[Candidate],
    answer: usize,
    [min_violation, half_at]: [f64; 2],
) -> Solved {
    let label = candidates[answer].label.clone();
    let mut solved = Solved::new(Answer::Choice(label), params.canvas());
    let difficulty = 1.0 / (1.0 + min_violation / half_at);
    for (name, value) in [("min_violation", min_violation), ("difficulty", difficulty)] {
        solved.measures.insert(name.to_owned(), value);
    }
    solved
}

/// Index of the candidate to mark in this layer: the answer's, once the solution is shown.
#[must_use]
pub fn marked(candidates: &[Candidate], solved: &Solved, layer: Layer) -> Option<usize> {
    let is_answer = |one: &Candidate| Answer::Choice(one.label.clone()) == solved.answer;
    match layer {
        Layer::Solution => candidates.iter().position(is_answer),
        Layer::Puzzle | Layer::Growing(_) => None,
    }
}

/// What stands on the page besides the strokes of the figure.
pub struct Sheet<'a> {
    /// Looks.
    pub params: &'a EyeballingParams,
    /// Points to choose from.
    pub candidates: &'a [Candidate],
    /// Hollow rings: middle and outer radius.
    pub rings: &'a [(Vec2, f64)],
    /// Seed of the noise.
    pub noise_seed: u32,
}

impl Sheet<'_> {
    /// Draws the figure, the construction over it, the rings, the markers, the noise.
    ///
    /// # Errors
    /// [`PuzzleError::Picture`].
    pub fn paint(
        &self,
        solved: &Solved,
        layer: Layer,
        figure: impl Fn(&mut Canvas),
    ) -> Result<Canvas> {
        let params = self.params;
        let mut canvas = Canvas::new(params.canvas(), params.theme.page())?;
        let rings = |canvas: &mut Canvas| {
            for (at, radius) in self.rings {
                draw_anchor(canvas, params, *at, *radius);
            }
        };
        figure(&mut canvas);
        draw_growing(&mut canvas, &solved.construction, layer.progress());
        rings(&mut canvas);
        let answer = marked(self.candidates, solved, layer);
        draw_choices(&mut canvas, params, self.candidates, answer, |page| {
            figure(page);
            rings(page);
        })?;
        canvas.noise(params.noise, u64::from(self.noise_seed));
        Ok(canvas)
    }
}

/// The rule that one of the candidates must be made red.
#[must_use]
pub fn marker_rule(candidates: &[Candidate], radius: f64) -> PictureRule {
    let points = candidates.iter().map(Candidate::at).collect();
    PictureRule::Marker(MarkerRule { points, radius })
}

/// The error of a task that ran out of tries.
#[must_use]
pub fn no_scene(task: &str, tries: u32) -> PuzzleError {
    PuzzleError::NoScene {
        task: task.to_owned(),
        tries,
        hint: "fewer candidates, smaller markers, less spread or a larger picture would help"
            .to_owned(),
    }
}

/// [`PuzzleError::BadScene`] unless the rule holds.
///
/// # Errors
/// The fault.
pub fn require(holds: bool, fault: &str) -> Result<()> {
    match holds {
        true => Ok(()),
        false => Err(PuzzleError::BadScene(fault.to_owned())),
    }
}

/// Checks that discs (middle, radius) lie inside the margin.
///
/// # Errors
/// [`PuzzleError::BadScene`], also for coordinates that are no numbers.
pub fn require_inside(params: &EyeballingParams, discs: &[(Vec2, f64)]) -> Result<()> {
    let inside = discs.iter().all(|(at, radius)| params.holds(*at, *radius));
    require(inside, "part of the figure lies outside the margin")
}

/// Checks that no candidate touches one of these line segments.
///
/// # Errors
/// [`PuzzleError::BadScene`].
pub fn require_clear(
    params: &EyeballingParams,
    candidates: &[Candidate],
    strokes: &[[Vec2; 2]],
) -> Result<()> {
    let clear = |one: &Candidate| {
        strokes
            .iter()
            .all(|[a, b]| segment_distance(one.at(), *a, *b) >= params.stroke_clearance())
    };
    require(
        candidates.iter().all(clear),
        "a candidate touches a line of the figure",
    )
}
