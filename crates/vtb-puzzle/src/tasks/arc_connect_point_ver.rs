//! arc_connect_point_ver: markers at the ends of arcs; which arc goes on from the one on the left?

use crate::dice::Dice;
use crate::draw::{Canvas, Layer};
use crate::error::Result;
use crate::eyeballing::arcs::{
    ArcParams, ArcScene, build_arcs, page_of_arcs, paint_arcs, solve_arcs,
};
use crate::eyeballing::draw_markers;
use crate::eyeballing::sheet::{Wording, marker_rule};
use crate::judge::PictureRule;
use crate::record::{Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};

/// The task.
pub struct ArcConnectPointVer;

impl Task for ArcConnectPointVer {
    type Params = ArcParams;
    type Scene = ArcScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "arc_connect_point_ver",
            group: TaskGroup::Eyeballing,
            version: 1,
            about: "Pick the marked arc that goes on from another behind a band.",
        }
    }

    fn build(&self, params: &ArcParams, dice: &mut Dice) -> Result<ArcScene> {
        build_arcs(Task::info(self).name, params, 0.0, dice)
    }

    fn solve(&self, params: &ArcParams, scene: &ArcScene) -> Result<Solved> {
        solve_arcs(params, 0.0, scene)
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
                 runs behind it from the left. On the right several arcs come out; the discs at \
                 their ends are marked {}. Exactly one of them belongs to the same circle as the \
                 arc on the left.",
                options.join(", ")
            ),
            question: "Which one?",
            edit: "Take the band away, draw the one arc whole, outline the disc at its end in \
                   red, and leave the rest of the picture as it is.",
            film: "Over the band the arc on the left grows on along its circle until it meets an \
                   arc on the right; then the band is gone, and the disc at the end of that arc \
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
        paint_arcs(ground, params, scene, solved, layer, draw_markers)
    }

    fn picture_rule(
        &self,
        params: &ArcParams,
        scene: &ArcScene,
        _: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        Ok(marker_rule(&scene.candidates, params.common.disc_radius()))
    }
}
