//! parallelogram: which candidate is the fourth corner?

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::Canvas;
use crate::error::Result;
use crate::eyeballing::figure::{Figure, Shape, require};
use crate::eyeballing::figure_task::{FigureParams, FigureTask, Words, require_finite};
use crate::eyeballing::plane::{Vec2, add, cross, dot, length, scale, sub};
use crate::eyeballing::snap;
use crate::record::TaskGroup;
use crate::task::TaskInfo;

/// The task.
pub struct Parallelogram;

/// Two sides that share a corner. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TwoSides {
    /// End, shared corner, other end.
    pub corners: [Vec2; 3],
}

/// Length of a side as a share of the frame.
const SIDE: [f64; 2] = [0.3, 0.75];
/// Greatest cosine of the angle, either sign: 50 to 130 degrees.
const COS_MAX: f64 = 0.643;

impl FigureTask for Parallelogram {
    type Given = TwoSides;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "parallelogram",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the fourth corner of a parallelogram of which two sides are drawn.",
        }
    }

    fn words(&self) -> Words {
        Words {
            shown: "two straight segments that share an end, and",
            asked: "The segments are two sides of a parallelogram. Exactly one disc sits at its \
                    missing fourth corner.",
            drawn: "the two missing sides of the parallelogram",
            moving: "The two missing sides of the parallelogram grow as thin lines, one after the \
                     other, until the figure is closed.",
        }
    }

    fn sample(&self, params: &FigureParams, _: usize, dice: &mut Dice) -> Option<TwoSides> {
        let mut arm = || {
            let long = dice.between(SIDE[0], SIDE[1]) * params.frame();
            snap(scale(dice.direction(), long))
        };
        Some(TwoSides {
            corners: [arm(), [0.0, 0.0], arm()],
        })
    }

    fn shift(&self, given: &TwoSides, by: Vec2) -> TwoSides {
        TwoSides {
            corners: given.corners.map(|corner| add(corner, by)),
        }
    }

    fn derive(&self, params: &FigureParams, given: &TwoSides) -> Result<Figure> {
        let [one, corner, other] = given.corners;
        require_finite(&given.corners)?;
        let arms = [sub(one, corner), sub(other, corner)];
        let sides = arms.map(|arm| length(arm) / params.frame());
        let sound = |side: &f64| (SIDE[0] - 0.01..=SIDE[1] + 0.01).contains(side);
        require(sides.iter().all(sound), "a side is too short or too long")?;
        let cosine = dot(arms[0], arms[1]) / (length(arms[0]) * length(arms[1]));
        require(
            cosine.abs() <= COS_MAX,
            "the angle is too small or too large",
        )?;
        let side = params.common.side();
        let area = cross(arms[0], arms[1]).abs();
        require(area >= 0.06 * side * side, "the parallelogram is too small")?;
        let target = add(one, arms[1]);
        Ok(Figure {
            target,
            anchors: given.corners.to_vec(),
            mean_is_target: false,
            shapes: vec![Shape::Line([one, corner]), Shape::Line([corner, other])],
            construction: vec![vec![one, target, other]],
        })
    }

    fn draw(&self, canvas: &mut Canvas, params: &FigureParams, given: &TwoSides) {
        let common = &params.common;
        canvas.polyline(&given.corners, common.line_width, common.theme.ink());
    }
}
