//! reflection: which candidate is the mirror image of a ring?

use serde::{Deserialize, Serialize};

use crate::dice::Dice;
use crate::draw::Canvas;
use crate::error::Result;
use crate::eyeballing::figure::{Figure, Shape, require};
use crate::eyeballing::figure_task::{FigureParams, FigureTask, Words, require_finite};
use crate::eyeballing::plane::{Vec2, add, dot, line_distance, mirror, normal, scale, sub};
use crate::eyeballing::{distance, draw_anchor, snap};
use crate::record::TaskGroup;
use crate::task::TaskInfo;

/// The task.
pub struct Reflection;

/// What is given. Pixels, y down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MirrorAndSource {
    /// Ends of the mirror line.
    pub axis: [Vec2; 2],
    /// Middle of the ring that is reflected.
    pub source: Vec2,
}

/// Length of the mirror line as a share of the frame.
const AXIS: [f64; 2] = [0.45, 0.9];
/// Distance of the ring from the mirror line, likewise.
const APART: [f64; 2] = [0.22, 0.42];
/// Where on the mirror line the ring is opposite, as a share of its length.
const FOOT: [f64; 2] = [0.2, 0.8];

impl FigureTask for Reflection {
    type Given = MirrorAndSource;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "reflection",
            group: TaskGroup::Eyeballing,
            version: 2,
            about: "Pick the mirror image of a ring in a straight line.",
        }
    }

    fn words(&self) -> Words {
        Words {
            shown: "a straight line, a large empty ring on one side of it, and on the other side",
            asked: "The line is a mirror. Exactly one disc sits where the center of the ring is \
                    reflected to.",
            drawn: "the straight segment from the center of the ring to its mirror image",
            moving: "A thin line grows from the ring at right angles across the mirror line, until \
                     it is as long behind the mirror as in front of it.",
        }
    }

    fn sample(&self, params: &FigureParams, _: usize, dice: &mut Dice) -> Option<MirrorAndSource> {
        let frame = params.frame();
        let along = dice.direction();
        let axis_length = dice.between(AXIS[0], AXIS[1]) * frame;
        let foot = dice.between(FOOT[0], FOOT[1]);
        let apart = dice.between(APART[0], APART[1]) * frame;
        let end = |at: f64| snap(scale(along, (at - foot) * axis_length));
        Some(MirrorAndSource {
            axis: [end(0.0), end(1.0)],
            source: snap(scale(normal(along), apart)),
        })
    }

    fn shift(&self, given: &MirrorAndSource, by: Vec2) -> MirrorAndSource {
        MirrorAndSource {
            axis: given.axis.map(|end| add(end, by)),
            source: add(given.source, by),
        }
    }

    fn derive(&self, params: &FigureParams, given: &MirrorAndSource) -> Result<Figure> {
        let MirrorAndSource {
            axis: [a, b],
            source,
        } = *given;
        require_finite(&[a, b, source])?;
        let frame = params.frame();
        let holds = |[least, most]: [f64; 2], value: f64, slack: f64| {
            (least - slack..=most + slack).contains(&value)
        };
        let long = distance(a, b);
        require(
            holds(AXIS, long / frame, 0.01),
            "the mirror has a wrong length",
        )?;
        let apart = line_distance(source, a, b) / frame;
        require(
            holds(APART, apart, 0.01),
            "the ring is too near to the mirror or too far",
        )?;
        let opposite = dot(sub(source, a), sub(b, a)) / (long * long);
        require(
            holds(FOOT, opposite, 0.01),
            "the ring is not opposite to the mirror",
        )?;
        let target = mirror(source, a, b);
        Ok(Figure {
            target,
            anchors: vec![a, b, source],
            mean_is_target: false,
            shapes: vec![
                Shape::Wall([a, b]),
                Shape::Ring {
                    center: source,
                    radius: params.ring_radius(),
                },
            ],
            construction: vec![vec![source, target]],
        })
    }

    fn draw(&self, canvas: &mut Canvas, params: &FigureParams, given: &MirrorAndSource) {
        let common = &params.common;
        canvas.polyline(&given.axis, common.line_width, common.theme.ink());
    }

    fn draw_over(&self, canvas: &mut Canvas, params: &FigureParams, given: &MirrorAndSource) {
        draw_anchor(canvas, &params.common, given.source, params.ring_radius());
    }
}
