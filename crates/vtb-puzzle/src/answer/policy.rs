//! What the parser is asked to accept, and what it says about an answer.

use serde::{Deserialize, Serialize};

/// Whether an answer must stand between answer tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TagPolicy {
    /// Without tags the answer is missing.
    Required,
    /// Tags count where they are; without any the whole text is read.
    #[default]
    Preferred,
    /// The whole text is read, tags or not.
    Ignored,
}

/// What to do when a text gives several different answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MultiplePolicy {
    /// The last one counts.
    Last,
    /// The first one counts.
    First,
    /// None counts: the answer is `multiple` (tags) or `ambiguous` (mentions in prose).
    #[default]
    Error,
}

/// Settings of the parser.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerPolicy {
    /// Whether tags are required.
    pub tags: TagPolicy,
    /// Which of several different answers counts.
    pub multiple: MultiplePolicy,
    /// Where options are words, a lone letter names one by its place in the list (`B` = second).
    pub option_letters: bool,
    /// Path lists: leave out items that are not integers (and say so) instead of refusing the list.
    pub drop_bad_items: bool,
    /// Longer texts are malformed, unread. Bytes.
    pub max_bytes: usize,
}

impl Default for AnswerPolicy {
    fn default() -> Self {
        Self {
            tags: TagPolicy::default(),
            multiple: MultiplePolicy::default(),
            option_letters: true,
            drop_bad_items: false,
            max_bytes: 1 << 20,
        }
    }
}

/// How reading an answer went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerStatus {
    /// One answer was found.
    Ok,
    /// There is no answer: no tags where they are required, no mention of an option, no list.
    Missing,
    /// Tags do not pair, a list is not a list of cell ids, or the text is over its cap.
    Malformed,
    /// Several tag pairs with different contents.
    Multiple,
    /// An answer that is not among the options.
    OutOfSet,
    /// Several different options are named.
    Ambiguous,
    /// The tags, the list or the whole text hold nothing.
    Empty,
}

impl AnswerStatus {
    /// Name in logs and records, e.g. `out_of_set`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Multiple => "multiple",
            Self::OutOfSet => "out_of_set",
            Self::Ambiguous => "ambiguous",
            Self::Empty => "empty",
        }
    }
}
