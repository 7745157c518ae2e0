//! Training files for models that draw: a prompt, what to draw, and the pictures it starts from.
//!
//! These are the files that DiffSynth reads: a table with the columns `prompt` and `image` (with
//! `edit_image`) or `video`, as a JSON list, JSON lines or CSV. Paths start at the file's folder, or
//! at a base path. Columns that are not known stay with the row.

mod rows;
mod table;

pub use rows::{ClipRow, EditRow, MediaKind, read_clip_rows, read_edit_rows};
pub use table::MAX_TABLE_BYTES;
