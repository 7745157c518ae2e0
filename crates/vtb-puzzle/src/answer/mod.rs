//! The one parser of answers: free text in, an option, a path, a sequence of names or a grid out.
//!
//! It is total (any text gives a result, none panics) and takes time linear in the text. Judges and
//! rewards both use it, so an answer never means two things in two places.

mod choice;
mod code_words;
mod grid;
mod options;
mod path;
mod policy;
mod sequence;
mod span;
mod tokens;

pub use choice::{AnswerMethod, ChoiceAnswer, parse_choice};
pub use grid::{GridAnswer, parse_grid};
pub use path::{PathAnswer, parse_path};
pub use policy::{AnswerPolicy, AnswerStatus, MultiplePolicy, TagPolicy};
pub use sequence::{SequenceAnswer, parse_sequence};
pub use span::{AnswerSpan, extract_span, text_from_bytes};
