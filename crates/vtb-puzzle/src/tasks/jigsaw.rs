//! jigsaw: where does each tile belong?
//!
//! A picture, drawn from a seed or given by the user, is cut into square tiles that lie scattered on a
//! dark page, if asked for turned by quarter turns. Pictures are kept only if no two tiles look alike;
//! of our own ones also every seam must say which tile goes on.

use image::RgbImage;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dice::Dice;
use crate::draw::{Canvas, Layer, Rgb};
use crate::error::{PuzzleError, Result};
use crate::hash::scene_hash;
use crate::judge::{Expect, PictureRule, Slot, SlotRule};
use crate::params::{Params, within};
use crate::record::{Answer, Prompts, TaskGroup};
use crate::task::{Solved, Task, TaskInfo};
use crate::visual::{
    Board, Cut, canvas_sides, check_data_uri, decode_picture, draw_picture, require,
};

/// The task.
pub struct Jigsaw;

const PAGE: Rgb = [32, 32, 32];
const INK: Rgb = [240, 240, 240];
const LEAST_TILE: u32 = 24;
/// Free pixels about a tile with its name.
const PAD: u32 = 4;
/// Share of the picture's sides that the tiles together may take.
const MOST_SHARE: f64 = 0.62;
/// Mean difference of the two tiles most alike, grey levels.
const LEAST_DIFFERENCE: f64 = 10.0;
/// Wrong tiles that a place of an edited picture is compared with.
const MOST_OTHERS: usize = 6;

/// Parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JigsawParams {
    /// Width of the page, pixels (default 512).
    pub width: u32,
    /// Height of the page, pixels (default 512).
    pub height: u32,
    /// Rows of tiles, 2 to 5 (default 3).
    pub rows: u32,
    /// Columns of tiles, 2 to 5 (default 3).
    pub cols: u32,
    /// Tiles are turned by quarter turns, all but the one named A (default false).
    pub rotate: bool,
    /// A picture to cut up in place of our own: a data URI of a PNG or JPEG file (default none).
    pub picture: Option<String>,
}

impl Default for JigsawParams {
    fn default() -> Self {
        Self {
            width: 512,
            height: 512,
            rows: 3,
            cols: 3,
            rotate: false,
            picture: None,
        }
    }
}

impl Params for JigsawParams {
    fn validate(&self) -> Result<(), String> {
        canvas_sides(self.width, self.height)?;
        within("rows", self.rows, 2, 5)?;
        within("cols", self.cols, 2, 5)?;
        if let Some(uri) = &self.picture {
            check_data_uri(uri).map_err(|fault| format!("`picture` {fault}"))?;
        }
        let side = self.layout().side;
        if side < LEAST_TILE {
            return Err(format!(
                "tiles would be {side} pixels wide, {LEAST_TILE} are needed: fewer `rows` or \
                 `cols`, or a larger `width` and `height`"
            ));
        }
        Ok(())
    }
}

/// How tiles are spread: one to each cell of a lattice over the page, with room to move.
struct Layout {
    /// Columns and rows of the lattice.
    lattice: [u32; 2],
    /// Side of a tile.
    side: u32,
    /// Height of the line for its name.
    label: u32,
}

impl JigsawParams {
    fn count(&self) -> u32 {
        self.rows * self.cols
    }

    fn layout(&self) -> Layout {
        let label = (self.width.min(self.height) / 26).max(16);
        let share = |whole: u32, count: u32| (MOST_SHARE * f64::from(whole)) as u32 / count;
        let most = share(self.width, self.cols).min(share(self.height, self.rows));
        let lattices = (1..=self.count()).map(|across| [across, self.count().div_ceil(across)]);
        let side = |[across, down]: [u32; 2]| {
            let width = (self.width / across).saturating_sub(2 * PAD);
            let height = (self.height / down).saturating_sub(2 * PAD + label);
            // An eighth of the room is left to move in.
            (width.min(height) * 7 / 8).min(most)
        };
        // Of lattices with equally large tiles the one with the most room.
        let room = |[across, down]: [u32; 2]| (self.width / across).min(self.height / down);
        let lattice = lattices.max_by_key(|&lattice| (side(lattice), room(lattice)));
        let lattice = lattice.unwrap_or([1, 1]);
        Layout {
            lattice,
            side: side(lattice),
            label,
        }
    }

    /// Where the finished picture lies.
    fn target(&self) -> Board {
        let side = self.layout().side;
        let origin = [
            (self.width - self.cols * side) / 2,
            (self.height - self.rows * side) / 2,
        ];
        Board {
            origin,
            cell: side,
            shape: [self.rows, self.cols],
        }
    }
}

/// Where the picture comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum PictureOrigin {
    /// Drawn from this seed.
    Drawn {
        /// The seed.
        seed: u64,
    },
    /// The parameter `picture`, of which this is a hash.
    Given {
        /// 32 hex digits.
        hash: String,
    },
}

/// A tile on the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Its name, a letter below it.
    pub name: String,
    /// Left and top edge where it lies, pixels.
    pub at: [u32; 2],
    /// Quarter turns, clockwise, by which it lies turned.
    pub turn: u8,
    /// Row and column where it belongs.
    pub home: [u32; 2],
}

/// Geometry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JigsawScene {
    /// The picture.
    pub picture: PictureOrigin,
    /// Side of a tile, pixels.
    pub tile: u32,
    /// The tiles, by name.
    pub pieces: Vec<Piece>,
}

impl JigsawScene {
    fn draw_picture(&self, params: &JigsawParams) -> Result<RgbImage> {
        let size = [params.cols, params.rows].map(|count| count * self.tile);
        match (&self.picture, &params.picture) {
            (PictureOrigin::Drawn { seed }, None) => draw_picture(*seed, size),
            (PictureOrigin::Given { hash }, Some(uri)) if *hash == uri_hash(uri) => {
                decode_picture(uri, size).map_err(|fault| PuzzleError::BadParam {
                    task: "jigsaw".to_owned(),
                    reason: format!("`picture` {fault}"),
                })
            }
            _ => Err(PuzzleError::BadScene(
                "the picture is not the parameters'".to_owned(),
            )),
        }
    }

    fn cut<'a>(&self, params: &JigsawParams, picture: &'a RgbImage) -> Cut<'a> {
        Cut {
            picture,
            rows: params.rows,
            cols: params.cols,
            side: self.tile,
            turned: params.rotate,
        }
    }

    fn require_layout(&self, params: &JigsawParams) -> Result<()> {
        let Layout { side, label, .. } = params.layout();
        require(self.tile == side, "tiles are not of the parameters' size")?;
        require(
            self.pieces.len() == params.count() as usize,
            "there are not rows x cols pieces",
        )?;
        for (at, piece) in self.pieces.iter().enumerate() {
            let [left, top] = piece.at;
            let inside = left <= params.width - side && top <= params.height - side - label;
            require(inside, "a piece lies outside the page")?;
            require(
                piece.home[0] < params.rows && piece.home[1] < params.cols,
                "a piece has no home",
            )?;
            let may_turn = params.rotate && at > 0;
            require(
                piece.turn == 0 || (may_turn && piece.turn < 4),
                "a piece is turned that may not be",
            )?;
            require(piece.name == name(at), "names are not letters in order")?;
            for other in &self.pieces[..at] {
                require(piece.home != other.home, "two pieces have one home")?;
                let apart =
                    left.abs_diff(other.at[0]) >= side || top.abs_diff(other.at[1]) >= side + label;
                require(apart, "two pieces overlap")?;
            }
        }
        Ok(())
    }
}

impl Task for Jigsaw {
    type Params = JigsawParams;
    type Scene = JigsawScene;

    fn info(&self) -> TaskInfo {
        TaskInfo {
            name: "jigsaw",
            group: TaskGroup::Visual,
            version: 1,
            about: "Put the scattered tiles of a picture together.",
        }
    }

    fn build(&self, params: &JigsawParams, dice: &mut Dice) -> Result<JigsawScene> {
        const TRIES: u32 = 60;
        let pieces = scatter(params, dice);
        let mut scene = JigsawScene {
            picture: PictureOrigin::Drawn { seed: 0 },
            tile: params.layout().side,
            pieces,
        };
        let tries = if params.picture.is_some() { 1 } else { TRIES };
        for _ in 0..tries {
            scene.picture = match &params.picture {
                Some(uri) => PictureOrigin::Given {
                    hash: uri_hash(uri),
                },
                None => PictureOrigin::Drawn {
                    // JSON readers that keep numbers as doubles keep 53 bits.
                    seed: dice.bits() >> 11,
                },
            };
            match self.solve(params, &scene) {
                Ok(_) => return Ok(scene),
                Err(fault @ PuzzleError::BadParam { .. }) => return Err(fault),
                Err(_) => {}
            }
        }
        let hint = match params.picture {
            Some(_) => "tiles of this picture look alike: use another or lower `rows` and `cols`",
            None => "lower `rows` and `cols`",
        };
        Err(PuzzleError::NoScene {
            task: Task::info(self).name.to_owned(),
            tries,
            hint: hint.to_owned(),
        })
    }

    fn solve(&self, params: &JigsawParams, scene: &JigsawScene) -> Result<Solved> {
        scene.require_layout(params)?;
        let picture = scene.draw_picture(params)?;
        let cut = scene.cut(params, &picture);
        let difference = cut.least_difference();
        require(difference >= LEAST_DIFFERENCE, "two tiles look alike")?;
        require(
            params.picture.is_some() || cut.seams_hold(),
            "a seam does not say which tile goes on",
        )?;
        let at_home = |home: [u32; 2]| scene.pieces.iter().find(|piece| piece.home == home);
        let places = params.target().places();
        let names = places.filter_map(|(row, column)| at_home([row, column]));
        let names = names.map(|piece| item(params, piece)).collect();
        let canvas = [params.width, params.height];
        let mut solved = Solved::new(Answer::Sequence(names), canvas);
        solved
            .measures
            .insert("min_difference".to_owned(), difference);
        Ok(solved)
    }

    fn options(
        &self,
        params: &JigsawParams,
        scene: &JigsawScene,
        _: &Solved,
        _: &mut Dice,
    ) -> Result<Vec<String>> {
        let turns = if params.rotate { 4 } else { 1 };
        let all = scene
            .pieces
            .iter()
            .flat_map(|piece| (0..turns).map(move |turn| (piece, turn)));
        Ok(all
            .map(|(piece, turn)| {
                item(
                    params,
                    &Piece {
                        turn,
                        ..piece.clone()
                    },
                )
            })
            .collect())
    }

    fn lists_options(&self, params: &JigsawParams) -> bool {
        !params.rotate
    }

    fn prompts(&self, params: &JigsawParams, _: &Solved, options: &[String]) -> Prompts {
        let (rows, cols) = (params.rows, params.cols);
        let turned = match params.rotate {
            true => {
                " Tile A is the right way up; any other may be turned by 90, 180 or 270 degrees."
            }
            false => " All tiles are the right way up.",
        };
        let figure = format!(
            "A picture was cut into {rows} rows of {cols} square tiles, which lie scattered on a \
             dark page, each with its letter below it.{turned}"
        );
        let names = match params.rotate {
            true => {
                "Write each as its letter and the degrees by which it must be turned clockwise \
                 (0, 90, 180 or 270), like A0 or C90."
                    .to_owned()
            }
            false => format!("The tiles are: {}.", options.join(", ")),
        };
        let list = format!(
            "in reading order, row by row from the top left, separated by commas, inside <answer> \
             and </answer>. {names}"
        );
        let edit = "Put the tiles together in the middle of the page without gaps, at the size \
                    they have, and remove the letters; the rest of the page stays dark.";
        let upright = match params.rotate {
            true => ", turned the right way up",
            false => "",
        };
        Prompts {
            text: format!("{figure} Name the tiles of the finished picture {list}"),
            image: format!("{figure} {edit}"),
            text_image: format!("{figure} {edit} Also name the tiles {list}"),
            video: format!(
                "{figure} The camera does not move. One after another the tiles move to their \
                 places in the middle of the page{upright}, until the picture is whole; their \
                 letters vanish."
            ),
        }
    }

    fn paint(
        &self,
        params: &JigsawParams,
        scene: &JigsawScene,
        _: &Solved,
        layer: Layer,
    ) -> Result<Canvas> {
        let picture = scene.draw_picture(params)?;
        let cut = scene.cut(params, &picture);
        let label = f64::from(params.layout().label);
        let mut canvas = Canvas::new([params.width, params.height], PAGE)?;
        let done = layer.progress() * scene.pieces.len() as f64;
        let part = |at: usize| (done - at as f64).clamp(0.0, 1.0);
        // Tiles that have arrived lie below the others, a moving one above all.
        let mut order: Vec<_> = (0..scene.pieces.len()).collect();
        order.sort_by_key(|&at| match part(at) {
            arrived if arrived >= 1.0 => 0,
            waiting if waiting <= 0.0 => 1,
            _ => 2,
        });
        for at in order {
            let piece = &scene.pieces[at];
            let home = params.target().cell(piece.home[0], piece.home[1]);
            let place = [0, 1].map(|axis: usize| {
                let (from, to) = (f64::from(piece.at[axis]), f64::from(home[axis]));
                (from + (to - from) * part(at)).round() as i32
            });
            let turn = if part(at) > 0.0 { 0 } else { piece.turn };
            cut.tile(piece.home[0], piece.home[1], turn)
                .paste(&mut canvas, place);
            if part(at) <= 0.0 {
                let side = f64::from(scene.tile);
                let below = [
                    f64::from(piece.at[0]) + side / 2.0,
                    f64::from(piece.at[1]) + side + label / 2.0,
                ];
                canvas.label(below, &piece.name, 0.85 * label, INK);
            }
        }
        Ok(canvas)
    }

    fn picture_rule(
        &self,
        params: &JigsawParams,
        scene: &JigsawScene,
        solved: &Solved,
        _: &[String],
    ) -> Result<PictureRule> {
        let picture = scene.draw_picture(params)?;
        let cut = scene.cut(params, &picture);
        let whole = self.paint(params, scene, solved, Layer::Solution)?;
        let whole = whole.into_rgb()?;
        let board = params.target();
        let slots = board.places().map(|(row, column)| Slot {
            name: format!("row {}, column {}", row + 1, column + 1),
            area: board.cell(row, column).into(),
            expect: Expect::Drawing {
                right: 0,
                choices: choices(&cut, &whole, board, [row, column]),
            },
        });
        Ok(PictureRule::Slots(SlotRule {
            slots: slots.collect(),
            keeps_rest: false,
        }))
    }
}

/// The finished picture with the right tile, then with what else could lie at one place: the page,
/// the tile wrongly turned, and the tiles most like it.
fn choices(
    cut: &Cut<'_>,
    whole: &RgbImage,
    board: Board,
    [row, column]: [u32; 2],
) -> Vec<(String, RgbImage)> {
    let [left, top, ..] = board.cell(row, column);
    let with = |tile: &dyn Fn(u32, u32) -> [u8; 3]| {
        let mut picture = whole.clone();
        for y in 0..board.cell {
            for x in 0..board.cell {
                picture.put_pixel(left + x, top + y, image::Rgb(tile(x, y)));
            }
        }
        picture
    };
    let mut choices = vec![
        ("the right tile".to_owned(), whole.clone()),
        ("nothing".to_owned(), with(&|_, _| PAGE)),
    ];
    for turn in 1..if cut.turned { 4 } else { 1 } {
        let tile = cut.tile(row, column, turn);
        let name = format!("the right tile, turned by {} degrees", 90 * u32::from(turn));
        choices.push((name, with(&|x, y| tile.pixel(x, y))));
    }
    for [other_row, other_column] in cut.most_alike([row, column]).into_iter().take(MOST_OTHERS) {
        let tile = cut.tile(other_row, other_column, 0);
        let name = format!(
            "the tile of row {}, column {}",
            other_row + 1,
            other_column + 1
        );
        choices.push((name, with(&|x, y| tile.pixel(x, y))));
    }
    choices
}

/// Pieces, each somewhere in a lattice cell of its own, named in reading order of the cells.
fn scatter(params: &JigsawParams, dice: &mut Dice) -> Vec<Piece> {
    let Layout {
        lattice: [across, down],
        side,
        label,
    } = params.layout();
    let mut cells: Vec<_> = (0..across * down).collect();
    dice.shuffle(&mut cells);
    cells.truncate(params.count() as usize);
    cells.sort_unstable();
    let mut homes: Vec<_> = params.target().places().collect();
    dice.shuffle(&mut homes);
    let [width, height] = [params.width / across, params.height / down];
    let pieces = cells.into_iter().zip(homes).enumerate();
    pieces
        .map(|(at, (cell, (row, column)))| {
            let mut place = |start: u32, room: u32, taken: u32| {
                let slack = (room - taken).saturating_sub(2 * PAD);
                start + PAD + dice.below(slack as usize + 1) as u32
            };
            let left = place(cell % across * width, width, side);
            let top = place(cell / across * height, height, side + label);
            Piece {
                name: name(at),
                at: [left, top],
                turn: match params.rotate && at > 0 {
                    true => dice.below(4) as u8,
                    false => 0,
                },
                home: [row, column],
            }
        })
        .collect()
}

/// The name of a piece: a capital letter.
fn name(at: usize) -> String {
    let letter = u8::try_from(at).map_or(b'?', |at| b'A'.saturating_add(at));
    char::from(letter).to_string()
}

/// How an answer writes a piece: its name, and the degrees of its turn back if there are turns.
fn item(params: &JigsawParams, piece: &Piece) -> String {
    match params.rotate {
        true => format!("{}{}", piece.name, (4 - u32::from(piece.turn)) % 4 * 90),
        false => piece.name.clone(),
    }
}

fn uri_hash(uri: &str) -> String {
    scene_hash("jigsaw/picture", &Value::from(uri))
}
