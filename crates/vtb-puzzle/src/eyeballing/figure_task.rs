//! Tasks of one kind: a figure is given, one point follows from it, candidates stand about it.
//!
//! A task's author says what is given and what follows; this file makes a [`Task`] of it.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::fair::{Search, draw_fair_set, draw_place};
use super::figure::{Figure, require};
use super::plane::{Vec2, add, scale};
use super::sheet::{in_words_of, marked, marker_rule};
use super::{
    Candidate, EyeballingParams, distance, draw_choices, index_of_answer, require_legible, snap,
};
use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke, draw_growing};
use crate::error::{PuzzleError, Result};
use crate::judge::PictureRule;
use crate::params::{Optional, Params, within};
use crate::record::{Answer, Prompts};
use crate::task::{Solved, Task, TaskInfo};

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FigureParams {
    /// What all eyeballing tasks have.
    #[serde(flatten)]
    pub common: EyeballingParams,
    /// Largest figure, as a share of the room that the candidates leave (default 1).
    pub figure_size: f64,
    /// How close together candidates are put, against the usual; no parameter, see [`Effort`].
    #[serde(skip, default = "usual")]
    pub(crate) squeeze: f64,
}

fn usual() -> f64 {
    1.0
}

impl Default for FigureParams {
    fn default() -> Self {
        Self {
            common: EyeballingParams::default(),
            figure_size: 1.0,
            squeeze: usual(),
        }
    }
}

impl Params for FigureParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()?;
        within("figure_size", self.figure_size, 0.6, 1.0)
    }

    fn optional() -> Optional {
        EyeballingParams::OPTIONAL
    }
}

impl FigureParams {
    /// Side of the square that a figure may fill, pixels.
    ///
    /// The figure moves with the answer, so the candidates take their spread from the free room.
    #[must_use]
    pub fn frame(&self) -> f64 {
        let free = self.common.side() - 2.0 * self.common.margin() - self.common.line_width;
        let spread = 1.25 * self.squeeze * self.common.cluster_radius();
        self.figure_size * (free - spread).max(0.0)
    }

    /// Outer radius of a ring that marks a point of the figure, pixels.
    #[must_use]
    pub fn ring_radius(&self) -> f64 {
        (self.common.marker_radius + 6.0).max(0.028 * self.common.side())
    }
}

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FigureScene<G> {
    /// What is drawn besides the candidates.
    pub given: G,
    /// Points to choose from.
    pub candidates: Vec<Candidate>,
    /// Seed of the noise; 0 without noise.
    pub noise_seed: u32,
}

/// What the prompts say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words {
    /// What is seen besides the discs, to follow "The picture shows ".
    pub shown: &'static str,
    /// Sentences that say which point is asked for, up to "Exactly one disc ...".
    pub asked: &'static str,
    /// The construction an edited picture shows, to follow "Draw ".
    pub drawn: &'static str,
    /// What happens in the video, whole sentences.
    pub moving: &'static str,
}

/// A task that asks for the one point that follows from a figure.
pub trait FigureTask: Send + Sync + 'static {
    /// What is given; numbers snapped.
    type Given: Serialize + DeserializeOwned + Clone;

    /// Name and place.
    fn info(&self) -> TaskInfo;

    /// What the prompts say.
    fn words(&self) -> Words;

    /// How many kinds of figure there are, all equally likely.
    fn kinds(&self) -> usize {
        1
    }

    /// Of how many figures the one with most room about its target is taken: fair sets of
    /// candidates are found several times sooner about it. 1 where figures are dear and roomy anyway.
    fn roomiest_of(&self) -> u32 {
        8
    }

    /// Candidates have so little room that few figures have a fair set of them: the search is
    /// picky, see [`Search`].
    fn is_cramped(&self) -> bool {
        false
    }

    /// Draws what is given, anywhere; `None` when the lots did not fit.
    fn sample(&self, params: &FigureParams, kind: usize, dice: &mut Dice) -> Option<Self::Given>;

    /// The same, elsewhere.
    fn shift(&self, given: &Self::Given, by: Vec2) -> Self::Given;

    /// Checks what is given and derives the rest.
    ///
    /// # Errors
    /// [`PuzzleError::BadScene`] naming the rule that is broken.
    fn derive(&self, params: &FigureParams, given: &Self::Given) -> Result<Figure>;

    /// Draws what is given, below the construction.
    fn draw(&self, canvas: &mut Canvas, params: &FigureParams, given: &Self::Given);

    /// Draws what the construction must not cover.
    fn draw_over(&self, _canvas: &mut Canvas, _params: &FigureParams, _given: &Self::Given) {}
}

/// How hard a scene is searched for.
#[derive(Debug, Clone, Copy)]
struct Effort {
    /// Figures to try.
    figures: u32,
    /// Each is the roomiest of so many times [`FigureTask::roomiest_of`].
    chosen_of: u32,
    /// How close together candidates are put, against the usual.
    squeeze: f64,
    /// How often each candidate is moved in search of a fair set.
    moves: usize,
}

/// The usual effort finds a scene at once in most cases. Many candidates, or large ones in a small
/// picture, fit into few figures, and stand close together there: what they must keep is the same.
const EFFORTS: [Effort; 3] = [
    Effort {
        figures: 1_500,
        chosen_of: 1,
        squeeze: 1.0,
        moves: 40,
    },
    Effort {
        figures: 150,
        chosen_of: 3,
        squeeze: 0.85,
        moves: 300,
    },
    Effort {
        figures: 300,
        chosen_of: 8,
        squeeze: 0.7,
        moves: 600,
    },
];
const SETS_PER_FIGURE: u32 = 3;

impl<T: FigureTask> Task for T {
    type Params = FigureParams;
    type Scene = FigureScene<T::Given>;

    fn info(&self) -> TaskInfo {
        FigureTask::info(self)
    }

    fn build(&self, params: &FigureParams, dice: &mut Dice) -> Result<Self::Scene> {
        let answer = dice.below(params.common.candidates);
        let noise_seed = match params.common.noise {
            0 => 0,
            _ => (dice.bits() >> 32) as u32,
        };
        let kind = dice.below(self.kinds());
        let tries = EFFORTS
            .iter()
            .flat_map(|effort| (0..effort.figures).map(move |at| (effort, at)));
        for (effort, tried) in tries {
            // With many candidates one kind may have no room for them.
            let kind = match tried < effort.figures / 2 {
                true => kind,
                false => dice.below(self.kinds()),
            };
            let Some((given, figure)) = roomy(self, params, *effort, kind, dice) else {
                continue;
            };
            let Some(points) = place_set(self, params, *effort, &figure, dice) else {
                continue;
            };
            let scene = FigureScene {
                given: self.shift(&given, points[answer]),
                candidates: named(params, points),
                noise_seed,
            };
            if self.solve(params, &scene).is_ok() {
                return Ok(scene);
            }
        }
        Err(PuzzleError::NoScene {
            task: FigureTask::info(self).name.to_owned(),
            tries: SETS_PER_FIGURE * EFFORTS.iter().map(|effort| effort.figures).sum::<u32>(),
            hint: "fewer candidates, smaller markers, less spread or a larger picture would help"
                .to_owned(),
        })
    }

    fn solve(&self, params: &FigureParams, scene: &Self::Scene) -> Result<Solved> {
        let common = &params.common;
        require_legible(common, &scene.candidates)?;
        let figure = self.derive(params, &scene.given)?;
        figure.require_room(common, &scene.candidates)?;
        let violations: Vec<_> = scene
            .candidates
            .iter()
            .map(|point| distance(point.at(), figure.target))
            .collect();
        let (answer, min_violation) = index_of_answer(common, &violations)?;
        let label = scene.candidates[answer].label.clone();
        let mut solved = Solved::new(Answer::Choice(label), common.canvas());
        solved.construction = construction(common, &figure.construction);
        let mut measure = |name: &str, value| solved.measures.insert(name.to_owned(), value);
        measure("min_violation", min_violation);
        // Half at the point where the runner-up is off by a fifth of the figure's size.
        let ease = min_violation / (0.2 * figure.size());
        measure("difficulty", 1.0 / (1.0 + ease));
        Ok(solved)
    }

    fn options(
        &self,
        params: &FigureParams,
        _: &Self::Scene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.common.labels.labels(params.common.candidates))
    }

    fn prompts(&self, params: &FigureParams, _: &Solved, options: &[String]) -> Prompts {
        figure_prompts(&params.common, &self.words(), options)
    }

    fn ground(
        &self,
        params: &FigureParams,
        scene: &Self::Scene,
        _: &Solved,
    ) -> Result<Option<Canvas>> {
        let common = &params.common;
        let mut canvas = Canvas::new(common.canvas(), common.theme.page())?;
        self.draw(&mut canvas, params, &scene.given);
        Ok(Some(canvas))
    }

    fn paint_over(
        &self,
        mut canvas: Canvas,
        params: &FigureParams,
        scene: &Self::Scene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let common = &params.common;
        draw_growing(&mut canvas, &solved.construction, layer.progress());
        self.draw_over(&mut canvas, params, &scene.given);
        let answer = marked(&scene.candidates, solved, layer);
        draw_choices(&mut canvas, common, &scene.candidates, answer, |page| {
            self.draw(page, params, &scene.given);
            self.draw_over(page, params, &scene.given);
        })?;
        canvas.noise(common.noise, u64::from(scene.noise_seed));
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        params: &FigureParams,
        scene: &Self::Scene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        Ok(marker_rule(&scene.candidates, params.common.disc_radius()))
    }
}

/// What is given and what follows, with the answer within half a snap of the origin.
fn centered<T: FigureTask>(
    task: &T,
    params: &FigureParams,
    kind: usize,
    dice: &mut Dice,
) -> Option<(T::Given, Figure)> {
    let given = task.sample(params, kind, dice)?;
    let figure = task.derive(params, &given).ok()?;
    let given = task.shift(&given, scale(snap(figure.target), -1.0));
    let figure = task.derive(params, &given).ok()?;
    let clear = figure.admits(&params.common, figure.target);
    clear.then_some((given, figure))
}

/// The figure with most room about its target, of as many as the effort says.
fn roomy<T: FigureTask>(
    task: &T,
    params: &FigureParams,
    effort: Effort,
    kind: usize,
    dice: &mut Dice,
) -> Option<(T::Given, Figure)> {
    let params = FigureParams {
        squeeze: effort.squeeze,
        ..params.clone()
    };
    let count = effort.chosen_of * task.roomiest_of();
    let figures = (0..count).filter_map(|_| centered(task, &params, kind, dice));
    let slack = |(_, figure): &(T::Given, Figure)| figure.slack(&params.common);
    figures.max_by(|one, other| slack(one).total_cmp(&slack(other)))
}

/// A fair set of candidates in a place where each could be the answer.
fn place_set<T: FigureTask>(
    task: &T,
    params: &FigureParams,
    effort: Effort,
    figure: &Figure,
    dice: &mut Dice,
) -> Option<Vec<Vec2>> {
    let common = &params.common;
    let search = Search {
        squeeze: effort.squeeze,
        moves: effort.moves,
        picky: task.is_cramped(),
    };
    (0..SETS_PER_FIGURE).find_map(|_| {
        let points = draw_fair_set(common, figure, search, dice)?;
        let place = draw_place(common, figure, &points, dice)?;
        Some(points.into_iter().map(|point| add(point, place)).collect())
    })
}

fn named(params: &FigureParams, points: Vec<Vec2>) -> Vec<Candidate> {
    let labels = params.common.labels.labels(points.len());
    let named = points.into_iter().zip(labels);
    named
        .map(|([x, y], label)| Candidate { x, y, label })
        .collect()
}

/// Lines of a solution in the look of construction lines.
#[must_use]
pub fn construction(params: &EyeballingParams, lines: &[Vec<Vec2>]) -> Vec<Stroke> {
    let stroke = |points: &Vec<Vec2>| Stroke::Line {
        points: points.iter().copied().map(snap).collect(),
        width: (params.line_width / 2.0).max(2.0),
        color: params.theme.construction(),
    };
    lines.iter().map(stroke).collect()
}

/// The four prompts.
#[must_use]
pub fn figure_prompts(params: &EyeballingParams, words: &Words, options: &[String]) -> Prompts {
    let Words {
        shown,
        asked,
        drawn,
        moving,
    } = words;
    let names = options.join(", ");
    let figure = format!("The picture shows {shown} discs marked {names}. {asked}");
    let edit = format!(
        "Draw {drawn}, outline the disc you were asked for in red, and leave the rest of the \
         picture as it is."
    );
    let prompts = Prompts {
        text: format!(
            "{figure} Which one? Put only its mark inside <answer> and </answer> at the end of \
             your reply."
        ),
        image: format!("{figure} {edit}"),
        text_image: format!(
            "{figure} {edit} Name the mark of that disc inside <answer> and </answer> as well."
        ),
        video: format!(
            "{figure} The camera does not move. {moving} At the end the disc that was asked for \
             gets a red outline. Nothing else changes."
        ),
    };
    in_words_of(params, prompts)
}

/// Every number is finite and none is out of all proportion.
///
/// # Errors
/// [`PuzzleError::BadScene`].
pub fn require_finite(points: &[Vec2]) -> Result<()> {
    let sound = points.iter().flatten().all(|part| part.abs() < 1e5);
    require(sound, "a coordinate is not a number of pixels")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eyeballing::callouts::{Callout, place};
    use crate::tasks::{
        CircleCenter, Circumcenter, FermatPoint, Incenter, IsoscelesTrapezoid, Orthocenter,
        Parallelogram, RayIntersection, Reflection, TriangleCenter,
    };

    const COUNT: u64 = 2_000;

    /// How often rules that look at nothing but the letters are right, in standard deviations from
    /// chance.
    fn letter_rules<T: FigureTask>(task: &T, base: u64) -> Vec<(&'static str, f64)> {
        let name = FigureTask::info(task).name;
        let mut params = FigureParams::default();
        params.common.callouts = true;
        let common = &params.common;
        let mut right = [0.0; 5];
        for index in 0..COUNT {
            let seed = crate::record_seed(base, name, index);
            let scene = task.build(&params, &mut Dice::new(seed, name)).unwrap();
            let target = task.derive(&params, &scene.given).unwrap().target;
            let mut page = Canvas::new(common.canvas(), common.theme.page()).unwrap();
            task.draw(&mut page, &params, &scene.given);
            task.draw_over(&mut page, &params, &scene.given);
            let letters = place(common, &scene.candidates, Some(&page)).unwrap();
            let share = 1.0 / letters.len() as f64;
            let sum = letters
                .iter()
                .fold([0.0; 2], |sum, one| add(sum, one.letter));
            let middle = scale(sum, share);
            let is_answer = |at: usize| distance(scene.candidates[at].at(), target) < 1.0;
            let long = |one: &Callout| distance(one.leader[0], one.leader[1]);
            let scores: [&dyn Fn(&Callout) -> f64; 5] = [
                &|one| long(one),
                &|one| -long(one),
                &|one| distance(one.letter, middle),
                &|one| -distance(one.letter, middle),
                &|one| one.letter[1] - one.leader[0][1],
            ];
            for (right, score) in right.iter_mut().zip(scores) {
                let by_score =
                    |a: &usize, b: &usize| score(&letters[*a]).total_cmp(&score(&letters[*b]));
                let pick = (0..letters.len()).min_by(by_score).unwrap();
                *right += f64::from(u8::from(is_answer(pick)));
            }
        }
        let count = COUNT as f64;
        let sigma = |right: f64| (right - 0.2 * count) / (0.16 * count).sqrt();
        let names = [
            "shortest line",
            "longest line",
            "inner letter",
            "outer letter",
            "letter above",
        ];
        names.into_iter().zip(right.map(sigma)).collect()
    }

    /// Letters keep off the figure, and the answer has its own place in the figure; still their
    /// places do not give it away.
    #[test]
    #[ignore = "takes minutes"]
    fn letters_do_not_tell_the_answer() {
        fn check<T: FigureTask>(task: &T, faults: &mut Vec<String>) {
            let name = FigureTask::info(task).name;
            let first = letter_rules(task, 604);
            println!("{name}: {first:.1?}");
            if first.iter().all(|(_, sigma)| sigma.abs() <= 3.0) {
                return;
            }
            let again = letter_rules(task, 605);
            println!("{name} again: {again:.1?}");
            let both = first.iter().zip(&again);
            let stands_out = |one: &f64, other: &f64| one.abs() > 3.0 && other.abs() > 3.0;
            let found = both.filter(|(one, other)| stands_out(&one.1, &other.1));
            faults.extend(found.map(|(one, other)| format!("{name}: {one:?}, {other:?}")));
        }
        let mut faults = Vec::new();
        check(&CircleCenter, &mut faults);
        check(&Circumcenter, &mut faults);
        check(&FermatPoint, &mut faults);
        check(&Incenter, &mut faults);
        check(&IsoscelesTrapezoid, &mut faults);
        check(&Orthocenter, &mut faults);
        check(&Parallelogram, &mut faults);
        check(&RayIntersection, &mut faults);
        check(&Reflection, &mut faults);
        check(&TriangleCenter, &mut faults);
        assert!(faults.is_empty(), "{faults:#?}");
    }
}
