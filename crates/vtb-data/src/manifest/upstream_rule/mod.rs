//! What an answer to a foreign record must show: from its geometry and its puzzle picture to the
//! rule that a judge goes by.
//!
//! Which fields a record has tells its family: `candidates` are markers, `maze_grid`,
//! `cell_radius` and `cells_per_ring` the three mazes, `colored_cells` a board to be mirrored. Sizes
//! in the record are taken as pixels of the picture; `canvas_dimensions` is not read, since it is
//! wrong for some square mazes.
//!
//! Invariant: whatever the JSON says, it ends in a rule that fits the picture or in an error that
//! names record and field.

mod board;
mod fields;
mod hexagon;
mod labyrinth;
mod markers;
mod maze;
mod square;
mod walls;

use image::RgbImage;
use vtb_puzzle::judge::decode_picture;
use vtb_puzzle::{Answer, CellId, MazeGraph, PathRules, PictureJudge, PictureRule, Question};

use super::line::invalid;
use super::{Asset, ForeignRecord, ManifestEntry};
use crate::error::{Result, RowFault};
use fields::Fields;

pub(super) use board::{Board, layers};

/// Most bytes of a picture.
const MAX_PICTURE: u64 = 64 << 20;

/// The judge of a record's edited pictures.
pub(super) fn picture_judge(
    entry: &ManifestEntry,
    foreign: &ForeignRecord,
) -> Result<PictureJudge> {
    let fail = |fault| foreign.fault(&entry.id, fault);
    let fields = foreign.fields()?;
    let puzzle = picture(entry, foreign, &entry.puzzle, "image")?;
    let solution = match &entry.solution {
        Some(asset) => picture(entry, foreign, asset, "solution_image_path")?,
        None => puzzle.clone(),
    };
    if solution.dimensions() != puzzle.dimensions() {
        let reason = "the picture of the solution has another size than that of the puzzle";
        return Err(fail(invalid("solution_image_path", reason.to_owned())));
    }
    let (rule, graph) = rule(entry, &fields, &puzzle).map_err(fail)?;
    let question = Question {
        answer: &entry.answer,
        options: &entry.options,
        options_listed: false,
        graph: graph.as_ref(),
        path_rules: PathRules::default(),
    };
    PictureJudge::for_question(&question, &puzzle, &solution, &rule)
        .map_err(|fault| fail(invalid("image", fault.to_string())))
}

/// The maze of a record whose solution is `path`.
pub(super) fn maze_graph(
    entry: &ManifestEntry,
    foreign: &ForeignRecord,
    path: &[CellId],
) -> Result<MazeGraph> {
    let fields = foreign.fields()?;
    let puzzle = picture(entry, foreign, &entry.puzzle, "image")?;
    let maze =
        maze::read(&fields, path, &puzzle).map_err(|fault| foreign.fault(&entry.id, fault))?;
    Ok(maze.graph)
}

fn rule(
    entry: &ManifestEntry,
    fields: &Fields,
    puzzle: &RgbImage,
) -> fields::Found<(PictureRule, Option<MazeGraph>)> {
    if let Answer::Path(path) = &entry.answer {
        let maze = maze::read(fields, path, puzzle)?;
        return Ok((PictureRule::Route(maze.rule), Some(maze.graph)));
    }
    let rule = if fields.contains_key("colored_cells") {
        PictureRule::Slots(Board::read(fields)?.rule(puzzle)?)
    } else if fields.contains_key("correct_option") {
        PictureRule::Marker(markers::read(fields)?)
    } else {
        let reason = format!(
            "there is no rule for edited pictures of {}; its answers are judged as text",
            entry.task
        );
        return Err(invalid("image", reason));
    };
    Ok((rule, None))
}

fn picture(
    entry: &ManifestEntry,
    foreign: &ForeignRecord,
    asset: &Asset,
    field: &str,
) -> Result<RgbImage> {
    let bytes = asset.read(MAX_PICTURE)?;
    decode_picture(&bytes).map_err(|reason| foreign.fault(&entry.id, invalid(field, reason)))
}

/// The fault of a field that holds the wrong thing.
fn wrong<T>(field: &str, reason: impl Into<String>) -> std::result::Result<T, RowFault> {
    Err(invalid(field, reason.into()))
}
