//! Training data: files read strictly, pictures within limits, an order that resumes exactly.
//!
//! No tensors. [`generate`] makes data sets of puzzles, [`manifest`] reads them and [`evaluate`]
//! judges what was predicted for them. Rows follow the
//! ms-swift JSONL schema ([`TrainRow`]); a [`RowSource`] hands them out by number, a [`Sampler`]
//! says which comes next, and [`Prefetch`] prepares them ahead.
//!
//! Invariant: what a run sees depends on the data and the seed alone, never on the number of
//! threads, and every fault names its file, line and field.

mod arc;
mod batches;
#[cfg(feature = "parquet")]
mod completions;
mod dataset;
mod error;
pub mod evaluate;
mod export;
pub mod generate;
mod generated;
#[cfg(feature = "hub")]
pub mod hub;
pub mod image_io;
mod image_ref;
mod jsonl;
mod lines;
pub mod manifest;
pub mod media;
mod message;
mod part;
pub mod picture_cache;
mod positioned;
mod prefetch;
pub mod prepare;
mod row;
mod row_videos;
mod sampler;
pub mod stats;
pub mod video;

pub use arc::{ArcLimits, ArcProblem, load_arc};
pub use batches::{BatchPlan, BatchSampler, BatchState, Bucket, LastBatch};
#[cfg(feature = "parquet")]
pub use completions::{CompletionRow, write_completions};
pub use dataset::{Fingerprint, RowSource};
pub use error::{DataError, ImageFault, Origin, Result, RowFault, VideoFault};
pub use export::write_jsonl;
pub use generated::{GeneratedDataset, PuzzleSpec, puzzle_row};
pub use image_io::{ImageCheck, ImageOptions};
pub use image_ref::ImageRef;
pub use jsonl::{JsonlDataset, OpenOptions, RowCheck};
pub use message::{IMAGE_TAG, Message, Piece, Role, VIDEO_TAG};
pub use part::{RowPart, held_out_rows};
pub use picture_cache::PictureCache;
pub use prefetch::Prefetch;
pub use row::{RowMode, RowRules, TrainRow};
pub use sampler::{Sampler, SamplerState};
