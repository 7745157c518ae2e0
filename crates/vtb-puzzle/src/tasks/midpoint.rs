//! midpoint: which candidate lies halfway between two rings?
//!
//! The candidates are scattered first, and kept only if the rings could be placed about any of
//! them; then the index drawn beforehand says about which they are. The set of candidates
//! therefore knows nothing of the answer.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Stroke, draw_growing};
use crate::error::{PuzzleError, Result};
use crate::eyeballing::sheet::{in_words_of, marked, marker_rule};
use crate::eyeballing::{
    Candidate, Cluster, EyeballingParams, distance, draw_anchor, draw_candidates, draw_choices,
    index_of_answer, require_legible, snap,
};
use crate::judge::PictureRule;
use crate::params::{Optional, Params, within};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct Midpoint;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MidpointParams {
    /// What all eyeballing tasks have.
    #[serde(flatten)]
    pub common: EyeballingParams,
    /// Least distance of a ring from the midpoint, as a share of the shorter side (default 0.2).
    pub half_min: f64,
    /// Greatest distance of a ring from the midpoint, likewise (default 0.36).
    pub half_max: f64,
}

impl Default for MidpointParams {
    fn default() -> Self {
        Self {
            common: EyeballingParams::default(),
            half_min: 0.25,
            half_max: 0.38,
        }
    }
}

impl Params for MidpointParams {
    fn validate(&self) -> Result<(), String> {
        self.common.validate()?;
        within("half_min", self.half_min, 0.1, 0.45)?;
        within("half_max", self.half_max, self.half_min, 0.45)
    }

    fn optional() -> Optional {
        EyeballingParams::OPTIONAL
    }
}

impl MidpointParams {
    fn ring_radius(&self) -> f64 {
        (self.common.marker_radius + 6.0).max(0.028 * self.common.side())
    }

    /// How much longer than a disc the cluster is, along the line of the rings.
    ///
    /// In a round one the answer would be nearer to either ring than a candidate beside it: "the
    /// one nearest a ring" would be right in 25 of 100 puzzles with five candidates, "farthest" in
    /// 15. Many candidates cannot be stretched as far: rings must find gaps between them.
    fn stretch(&self) -> f64 {
        (20.0 / self.common.candidates as f64).sqrt().min(2.0)
    }

    fn halves(&self) -> [f64; 2] {
        [
            self.half_min * self.common.side(),
            self.half_max * self.common.side(),
        ]
    }
}

/// Geometry. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MidpointScene {
    /// Centres of the two rings.
    pub segment: [[f64; 2]; 2],
    /// Outer radius of the rings.
    pub ring_radius: f64,
    /// Points to choose from.
    pub candidates: Vec<Candidate>,
    /// Seed of the noise; 0 without noise.
    pub noise_seed: u32,
}

const TRIES: u32 = 10_000;

impl Task for Midpoint {
    type Params = MidpointParams;
    type Scene = MidpointScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "midpoint",
            group: TaskGroup::Eyeballing,
            version: 1,
            about: "Pick the candidate that lies halfway between two rings.",
        }
    }

    fn build(&self, params: &MidpointParams, dice: &mut Dice) -> Result<MidpointScene> {
        let answer = dice.below(params.common.candidates);
        let noise_seed = match params.common.noise {
            0 => 0,
            _ => (dice.bits() >> 32) as u32,
        };
        let [least, most] = params.halves();
        for _ in 0..TRIES {
            let half = dice.between(least, most);
            let arm = snap(dice.direction().map(|part| part * half));
            let Some(candidates) = scatter(params, arm, dice) else {
                continue;
            };
            let segment = rings(&candidates[answer], arm);
            let ring_radius = params.ring_radius();
            let scene = MidpointScene {
                segment,
                ring_radius,
                candidates,
                noise_seed,
            };
            if self.solve(params, &scene).is_ok() {
                return Ok(scene);
            }
        }
        Err(PuzzleError::NoScene {
            task: Task::info(self).name.to_owned(),
            tries: TRIES,
            hint: "fewer candidates, smaller markers, less spread or a larger picture would help"
                .to_owned(),
        })
    }

    fn solve(&self, params: &MidpointParams, scene: &MidpointScene) -> Result<Solved> {
        let common = &params.common;
        require_legible(common, &scene.candidates)?;
        let [start, end] = scene.segment;
        let middle = [0, 1].map(|axis| (start[axis] + end[axis]) / 2.0);
        let half = distance(start, end) / 2.0;
        let [least, most] = params.halves();
        require(
            scene.ring_radius == params.ring_radius(),
            "ring radius is not the parameters'",
        )?;
        require(
            (least - 0.5..=most + 0.5).contains(&half),
            "rings too near or too far apart",
        )?;
        let fits = scene
            .segment
            .iter()
            .all(|ring| ring_fits(params, &scene.candidates, *ring));
        require(
            fits,
            "a ring touches a candidate or lies outside the margin",
        )?;
        let violations: Vec<_> = scene
            .candidates
            .iter()
            .map(|point| distance(point.at(), middle))
            .collect();
        let (answer, min_violation) = index_of_answer(common, &violations)?;
        let label = scene.candidates[answer].label.clone();
        let mut solved = Solved::new(Answer::Choice(label), common.canvas());
        solved.construction.push(Stroke::Line {
            points: vec![start, end],
            width: (common.line_width / 2.0).max(2.0),
            color: common.theme.construction(),
        });
        solved
            .measures
            .insert("min_violation".to_owned(), min_violation);
        // Half at the point where the runner-up is off by a fifth of the half length.
        let ease = min_violation / (0.2 * half);
        solved
            .measures
            .insert("difficulty".to_owned(), 1.0 / (1.0 + ease));
        Ok(solved)
    }

    fn options(
        &self,
        params: &MidpointParams,
        _: &MidpointScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.common.labels.labels(params.common.candidates))
    }

    fn prompts(&self, params: &MidpointParams, _: &Solved, options: &[String]) -> Prompts {
        let names = options.join(", ");
        let figure = format!(
            "The picture shows two large empty rings and smaller discs marked {names}. Imagine a \
             straight segment between the centers of the two rings. Exactly one disc sits at its \
             midpoint."
        );
        let edit = "Draw the segment between the two ring centers, outline the disc at its \
                    midpoint in red, and leave the rest of the picture as it is.";
        let prompts = Prompts {
            text: format!(
                "{figure} Which one? Put only its mark inside <answer> and </answer> at the end \
                 of your reply."
            ),
            image: format!("{figure} {edit}"),
            text_image: format!(
                "{figure} {edit} Name the mark of that disc inside <answer> and </answer> as well."
            ),
            video: format!(
                "{figure} The camera does not move. A thin line grows from one ring to the other; \
                 when it has arrived, the disc at its midpoint gets a red outline. Nothing else \
                 changes."
            ),
        };
        in_words_of(&params.common, prompts)
    }

    fn paint(
        &self,
        params: &MidpointParams,
        scene: &MidpointScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let common = &params.common;
        let mut canvas = Canvas::new(common.canvas(), common.theme.page())?;
        let rings = |canvas: &mut Canvas| {
            for ring in scene.segment {
                draw_anchor(canvas, common, ring, scene.ring_radius);
            }
        };
        draw_growing(&mut canvas, &solved.construction, layer.progress());
        rings(&mut canvas);
        let answer = marked(&scene.candidates, solved, layer);
        draw_choices(&mut canvas, common, &scene.candidates, answer, rings)?;
        canvas.noise(common.noise, u64::from(scene.noise_seed));
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        params: &MidpointParams,
        scene: &MidpointScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        Ok(marker_rule(&scene.candidates, params.common.disc_radius()))
    }
}

/// Candidates of which each could be the answer, with rings at `arm` and `-arm` from it.
fn scatter(params: &MidpointParams, arm: [f64; 2], dice: &mut Dice) -> Option<Vec<Candidate>> {
    let common = &params.common;
    let half = distance(arm, [0.0, 0.0]);
    let axis = arm.map(|part| part / half);
    let canvas = common.canvas().map(f64::from);
    let middle = common.middle();
    let center = [0, 1].map(|at: usize| {
        let free = common.margin() + params.ring_radius() + arm[at].abs();
        let roam = canvas[at] / 2.0 - free - common.cluster_radius() * axis[at].abs();
        middle[at] + dice.between(-1.0, 1.0) * roam.max(0.0)
    });
    let cluster = Cluster {
        center,
        axis,
        stretch: params.stretch(),
    };
    let candidates = draw_candidates(common, cluster, dice)?;
    // The same demand on every candidate, so that it says nothing about which is the answer.
    let hosts = |point: &Candidate| {
        rings(point, arm)
            .iter()
            .all(|ring| ring_fits(params, &candidates, *ring))
    };
    candidates.iter().all(hosts).then_some(candidates)
}

/// Centres of the rings about a point.
fn rings(middle: &Candidate, [x, y]: [f64; 2]) -> [[f64; 2]; 2] {
    [[middle.x - x, middle.y - y], [middle.x + x, middle.y + y]]
}

/// A ring here lies inside the margin and touches no candidate.
fn ring_fits(params: &MidpointParams, candidates: &[Candidate], ring: [f64; 2]) -> bool {
    let clear = ring_clearance(params);
    params.common.holds(ring, params.ring_radius())
        && candidates
            .iter()
            .all(|point| distance(point.at(), ring) >= clear)
}

/// Least distance between the centres of a ring and of a candidate, pixels.
fn ring_clearance(params: &MidpointParams) -> f64 {
    params.ring_radius() + params.common.disc_radius() + 4.0
}

fn require(holds: bool, fault: &str) -> Result<()> {
    if holds {
        Ok(())
    } else {
        Err(PuzzleError::BadScene(fault.to_owned()))
    }
}
