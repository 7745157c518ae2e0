//! isosceles_trapezoid: which candidate is the fourth corner?
//!
//! Of two sides that are drawn either could be one of the parallel ones; marks say which it is.

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::Canvas;
use crate::error::Result;
use crate::eyeballing::figure::{Figure, Shape, require};
use crate::eyeballing::figure_task::{FigureParams, FigureTask, Words, require_finite};
use crate::eyeballing::plane::{
    Vec2, add, dot, length, lerp, line_distance, mirror, normal, scale, sub, unit,
};
use crate::eyeballing::snap;
use crate::record::TaskGroup;
use crate::task::TaskInfo;

/// The task.
pub struct IsoscelesTrapezoid;

/// One of the parallel sides and a leg. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseAndLeg {
    /// The parallel side that is drawn; the leg starts at its first end.
    pub base: [Vec2; 2],
    /// Far end of the leg.
    pub top: Vec2,
}

/// Half length of either parallel side as a share of the frame.
const HALF: [f64; 2] = [0.16, 0.45];
/// Distance of the parallel sides, likewise.
const HEIGHT: [f64; 2] = [0.3, 0.75];
/// Least difference of their half lengths as a share of the picture's shorter side: otherwise the
/// figure might be taken for a parallelogram.
const DIFFERENCE: f64 = 0.06;

impl BaseAndLeg {
    /// The line in which the trapezoid is its own mirror image.
    fn fold(&self) -> [Vec2; 2] {
        let [a, b] = self.base;
        let middle = lerp(a, b, 0.5);
        [middle, add(middle, normal(sub(b, a)))]
    }

    /// An arrow head on the base and a tick across the leg.
    fn marks(&self, params: &FigureParams) -> Vec<[Vec2; 2]> {
        let size = 2.0 * params.common.line_width.max(4.0);
        let [a, b] = self.base;
        let ahead = scale(unit(sub(b, a)), size);
        let aside = scale(normal(ahead), 0.8);
        let tip = add(lerp(a, b, 0.5), scale(ahead, 0.5));
        let back = sub(tip, ahead);
        let across = scale(unit(normal(sub(self.top, a))), size);
        let middle = lerp(a, self.top, 0.5);
        vec![
            [tip, add(back, aside)],
            [tip, sub(back, aside)],
            [sub(middle, across), add(middle, across)],
        ]
    }
}

impl FigureTask for IsoscelesTrapezoid {
    type Given = BaseAndLeg;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "isosceles_trapezoid",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the fourth corner of an isosceles trapezoid whose parallel side is marked.",
        }
    }

    fn words(&self) -> Words {
        Words {
            shown: "two straight segments that share an end, and",
            asked: "The segments are two sides of an isosceles trapezoid. The one with the arrow \
                    head is one of its two parallel sides, which differ in length; the one with \
                    the tick is one of its two equally long legs. Exactly one disc sits at the \
                    missing fourth corner.",
            drawn: "the two missing sides of the trapezoid",
            moving: "The two missing sides of the trapezoid grow as thin lines, one after the \
                     other, until the figure is closed.",
        }
    }

    fn sample(&self, params: &FigureParams, _: usize, dice: &mut Dice) -> Option<BaseAndLeg> {
        let frame = params.frame();
        let along = dice.direction();
        let across = match dice.chance(0.5) {
            true => normal(along),
            false => scale(normal(along), -1.0),
        };
        let [half, top] = [0, 1].map(|_| dice.between(HALF[0], HALF[1]) * frame);
        let height = dice.between(HEIGHT[0], HEIGHT[1]) * frame;
        Some(BaseAndLeg {
            base: [-half, half].map(|at| snap(scale(along, at))),
            top: snap(add(scale(along, -top), scale(across, height))),
        })
    }

    fn shift(&self, given: &BaseAndLeg, by: Vec2) -> BaseAndLeg {
        BaseAndLeg {
            base: given.base.map(|end| add(end, by)),
            top: add(given.top, by),
        }
    }

    fn derive(&self, params: &FigureParams, given: &BaseAndLeg) -> Result<Figure> {
        let BaseAndLeg { base: [a, b], top } = *given;
        require_finite(&[a, b, top])?;
        let frame = params.frame();
        let within = |[least, most]: [f64; 2], value: f64| {
            (least - 0.01..=most + 0.01).contains(&(value / frame))
        };
        let along = unit(sub(b, a));
        let half = length(sub(b, a)) / 2.0;
        let top_half = dot(sub(lerp(a, b, 0.5), top), along);
        let sound = within(HALF, half) && within(HALF, top_half);
        require(sound, "a parallel side is too short or too long")?;
        let height = line_distance(top, a, b);
        require(
            within(HEIGHT, height),
            "the parallel sides are too near or too far apart",
        )?;
        let slant = (half - top_half).abs();
        let differs = slant >= DIFFERENCE * params.common.side();
        require(differs, "the parallel sides differ too little in length")?;
        require(slant <= 1.4 * height, "a leg is too flat")?;
        let target = mirror(top, given.fold()[0], given.fold()[1]);
        let leg = [a, top];
        let leg_middle = lerp(a, top, 0.5);
        let leg_fold = [leg_middle, add(leg_middle, normal(sub(top, a)))];
        let mut shapes = vec![Shape::Line([a, b]), Shape::Line(leg)];
        shapes.extend(given.marks(params).into_iter().map(Shape::Line));
        // Right if the figure were a parallelogram, or if the leg were a parallel side.
        shapes.push(Shape::Decoy(add(top, sub(b, a))));
        shapes.push(Shape::Decoy(mirror(b, leg_fold[0], leg_fold[1])));
        Ok(Figure {
            target,
            anchors: vec![a, b, top],
            mean_is_target: false,
            shapes,
            construction: vec![vec![b, target, top]],
        })
    }

    fn draw(&self, canvas: &mut Canvas, params: &FigureParams, given: &BaseAndLeg) {
        let common = &params.common;
        let ink = common.theme.ink();
        let [a, b] = given.base;
        canvas.polyline(&[given.top, a, b], common.line_width, ink);
        for mark in given.marks(params) {
            canvas.polyline(&mark, 0.7 * common.line_width, ink);
        }
    }
}
