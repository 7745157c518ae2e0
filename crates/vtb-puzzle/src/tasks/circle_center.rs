//! circle_center: which candidate is the centre of a circle?

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::Canvas;
use crate::error::Result;
use crate::eyeballing::figure::{Figure, Shape, require};
use crate::eyeballing::figure_task::{FigureParams, FigureTask, Words, require_finite};
use crate::eyeballing::plane::{Vec2, add, scale, sub};
use crate::record::TaskGroup;
use crate::task::TaskInfo;

/// The task.
pub struct CircleCenter;

/// The circle. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenCircle {
    /// Middle, across.
    pub x: f64,
    /// Middle, down.
    pub y: f64,
    /// Radius.
    pub radius: f64,
}

/// Least and greatest radius as shares of the frame.
const RADIUS: [f64; 2] = [0.3, 0.5];

impl FigureTask for CircleCenter {
    type Given = GivenCircle;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "circle_center",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the centre of a circle.",
        }
    }

    fn words(&self) -> Words {
        Words {
            shown: "a large circle and, inside it, small",
            asked: "Exactly one disc sits at the center of the large circle.",
            drawn: "two diameters of the large circle, at right angles to each other",
            moving: "Two thin diameters of the large circle grow one after the other; they cross \
                     at its center.",
        }
    }

    fn sample(&self, params: &FigureParams, _: usize, dice: &mut Dice) -> Option<GivenCircle> {
        let [least, most] = RADIUS.map(|share| share * params.frame());
        let radius = (dice.between(least, most) * 16.0).round() / 16.0;
        let [x, y] = [0.0, 0.0];
        Some(GivenCircle { x, y, radius })
    }

    fn shift(&self, given: &GivenCircle, by: Vec2) -> GivenCircle {
        let [x, y] = add([given.x, given.y], by);
        GivenCircle { x, y, ..*given }
    }

    fn derive(&self, params: &FigureParams, given: &GivenCircle) -> Result<Figure> {
        let (center, radius) = ([given.x, given.y], given.radius);
        require_finite(&[center])?;
        let [least, most] = RADIUS.map(|share| share * params.frame());
        let sound = (least - 0.1..=most + 0.1).contains(&radius);
        require(sound, "the circle is too small or too large")?;
        let diameter = |spoke: Vec2| {
            let arm = scale(spoke, radius);
            vec![sub(center, arm), add(center, arm)]
        };
        Ok(Figure {
            target: center,
            anchors: Vec::new(),
            mean_is_target: false,
            shapes: vec![Shape::Circle { center, radius }],
            construction: vec![diameter([0.8, 0.6]), diameter([-0.6, 0.8])],
        })
    }

    fn draw(&self, canvas: &mut Canvas, params: &FigureParams, given: &GivenCircle) {
        let common = &params.common;
        let (ink, page) = (common.theme.ink(), common.theme.page());
        canvas.ring(
            [given.x, given.y],
            given.radius,
            common.line_width,
            ink,
            page,
        );
    }
}
