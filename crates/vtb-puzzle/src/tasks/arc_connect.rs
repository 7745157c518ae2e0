//! arc_connect: which arc on the right of a band goes on from the one on its left?
//!
//! As arc_connect_point_ver, but the arcs end in small dots, and their letters stand beside them.

use crate::dice::Dice;
use crate::draw::{Canvas, Layer};
use crate::error::Result;
use crate::eyeballing::arcs::{
    ArcParams, ArcScene, build_arcs, page_of_arcs, paint_arcs, solve_arcs,
};
use crate::eyeballing::sheet::{Wording, marker_rule};
use crate::eyeballing::{dot_radius, dot_reach, draw_dots};
use crate::judge::PictureRule;
use crate::record::{Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct ArcConnect;

impl Task for ArcConnect {
    type Params = ArcParams;
    type Scene = ArcScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "arc_connect",
            group: TaskGroup::Eyeballing,
            version: 1,
            about: "Pick the named arc that goes on from another behind a band.",
        }
    }

    fn build(&self, params: &ArcParams, dice: &mut Dice) -> Result<ArcScene> {
        build_arcs(Task::info(self).name, params, rim(params), dice)
    }

    fn solve(&self, params: &ArcParams, scene: &ArcScene) -> Result<Solved> {
        solve_arcs(params, rim(params), scene)
    }

    fn options(
        &self,
        params: &ArcParams,
        _: &ArcScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        Ok(params.common.labels.labels(params.common.candidates))
    }

    fn prompts(&self, params: &ArcParams, _: &Solved, options: &[String]) -> Prompts {
        Wording {
            figure: format!(
                "A shaded vertical band covers the middle of the picture. One arc of a circle \
                 runs behind it from the left. On the right several arcs come out; each ends \
                 in a small dot, and the marks beside the dots are {}. Exactly one of them belongs \
                 to the same circle as the arc on the left.",
                options.join(", ")
            ),
            question: "Which one?",
            edit: "Take the band away, draw the one arc whole, outline the dot at its end in \
                   red, and leave the rest of the picture as it is.",
            film: "Over the band the arc on the left grows on along its circle until it meets an \
                   arc on the right; then the band is gone, and the dot at the end of that arc \
                   gets a red outline.",
        }
        .prompts(&params.common)
    }

    fn ground(&self, params: &ArcParams, scene: &ArcScene, _: &Solved) -> Result<Option<Canvas>> {
        page_of_arcs(params, scene).map(Some)
    }

    fn paint_over(
        &self,
        ground: Canvas,
        params: &ArcParams,
        scene: &ArcScene,
        solved: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        paint_arcs(ground, params, scene, solved, layer, draw_dots)
    }

    fn picture_rule(
        &self,
        params: &ArcParams,
        scene: &ArcScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let common = &params.common;
        let radius = match common.callouts {
            true => common.disc_radius(),
            false => dot_radius(common),
        };
        Ok(marker_rule(&scene.candidates, radius))
    }
}

/// Room that a letter needs on the right of its dot.
fn rim(params: &ArcParams) -> f64 {
    match params.common.callouts {
        true => 0.0,
        false => dot_reach(&params.common),
    }
}
