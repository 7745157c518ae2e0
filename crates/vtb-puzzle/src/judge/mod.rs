//! Judging edited pictures and clips.
//!
//! An edited picture comes back at some size, padded, a few pixels off, compressed. It is first
//! laid over the puzzle (`register`), then compared with it (`compare`), and what is new is read by
//! the task's [`PictureRule`]: a marker made red, a red line through a maze, a place filled. The
//! answer it must agree with is the record's; pixels only say what was answered.
//!
//! ```
//! use vtb_puzzle::judge::PictureJudge;
//! use vtb_puzzle::{Layer, Puzzle, find};
//!
//! let task = find("midpoint")?;
//! let record = task.generate(&serde_json::Value::Null, 7)?;
//! let judge = PictureJudge::new(task, &record)?;
//! assert!(judge.judge(&task.draw(&record, Layer::Solution)?).correct);
//! assert!(!judge.judge(&task.draw(&record, Layer::Puzzle)?).correct);
//! # Ok::<(), vtb_puzzle::PuzzleError>(())
//! ```

mod area;
mod cell_map;
mod clip;
mod color;
mod compare;
mod decode;
mod flat_png;
mod gray;
mod known;
mod marker;
mod picture;
mod pixels;
mod places;
mod png;
mod region;
mod register;
mod resample;
mod route;
mod route_line;
mod route_walk;
mod rule;
mod sheet;
mod slot_read;
mod slots;
mod tiles;
mod verdict;

pub use cell_map::CellMap;
pub use clip::ClipJudge;
pub use color::{ciede2000, color_difference, lab};
pub use decode::decode_picture;
pub use picture::PictureJudge;
pub use rule::{Area, Expect, MarkerRule, PictureRule, RouteRule, Slot, SlotRule};
pub use verdict::{ClipVerdict, PictureVerdict};
