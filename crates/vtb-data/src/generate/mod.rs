//! Data sets of puzzles on disk: pictures, clips, records.
//!
//! A [`Request`] says what is wanted, a [`Plan`] is a request that was checked, and [`generate`]
//! carries it out in a folder:
//!
//! ```text
//! manifest.jsonl                       every record, see [`crate::manifest`]
//! generation.json                      settings, counts, versions
//! <task>/data.json                     the same records as the Python projects write them
//! <task>/puzzles/<id>_puzzle.png
//! <task>/solutions/<id>_solution.png   and .mp4
//! ```
//!
//! Invariant: every byte follows from the plan. Neither the number of workers nor a run that was
//! killed and started again makes a difference, and no two records of a task show one scene.

mod choose;
mod clip;
mod fault;
mod params;
mod pick;
mod plan;
mod progress;
mod row;
mod run;
mod split;
mod store;
mod work;

pub use choose::choose_tasks;
pub(crate) use clip::draw_clip;
pub use clip::{ClipSettings, ClipSize};
pub use fault::GenerateFault;
pub use params::{KNOBS, Knob, ParamLayers, Scope};
pub use pick::Tally;
pub use plan::{Plan, Request, TaskPlan};
pub use progress::{OnProgress, Progress};
pub use run::{Ended, Summary, TaskSummary, generate};
pub use split::Splits;
