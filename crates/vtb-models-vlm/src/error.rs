//! What can go wrong between a model directory and a row of tokens, said so that a user can act on it.

use std::path::PathBuf;

use vtb_nn::NnError;

/// Errors of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VlmError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file is larger than any honest file of its kind.
    #[error("{path} has {bytes} bytes, more than the {limit} that are read; is it the right file?")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        bytes: u64,
        /// The most that is read.
        limit: u64,
    },
    /// A model directory lacks a file.
    #[error("{dir} holds no {what}; looked for {looked}")]
    MissingFile {
        /// The directory.
        dir: PathBuf,
        /// What is missing.
        what: &'static str,
        /// The names that would have been accepted.
        looked: String,
    },
    /// A file holds something else than it should.
    #[error("{path}: {message}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// A required key is absent. Class defaults are never used in its place.
    #[error("{path}: `{key}` is missing; it has no default, copy it from the published file")]
    MissingKey {
        /// The file.
        path: PathBuf,
        /// Dotted path of the key.
        key: String,
    },
    /// A key has a value that cannot be used.
    #[error("{path}: `{key}` is {value}, expected {expected}")]
    BadValue {
        /// The file.
        path: PathBuf,
        /// Dotted path of the key.
        key: String,
        /// What was found.
        value: String,
        /// What is accepted.
        expected: String,
    },
    /// A model or option this crate does not implement.
    #[error("{path}: {what} is not supported yet; supported is {supported}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What was asked for.
        what: String,
        /// What there is.
        supported: &'static str,
    },
    /// A configuration built in code does not hold together.
    #[error("model configuration: {0}")]
    Config(String),
    /// A picture cannot be decoded.
    #[error("image {name}: {message}")]
    Image {
        /// File name, or the caller's label.
        name: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// A video cannot be used.
    #[error("video {name}: {message}")]
    Video {
        /// File name, or the caller's label.
        name: String,
        /// What is wrong and what to do.
        message: String,
    },
    /// A conversation and its pictures do not fit together, or a message has a form that is not understood.
    #[error("{0}")]
    Messages(String),
    /// Placeholders and picture grids disagree.
    #[error(
        "the text has {placeholders} image or video placeholder tokens, the pictures and videos need {needed} (grids \
         {grids:?}, merge {merge}); remove placeholder tokens from the text and mark pictures with <image>, videos \
         with <video>"
    )]
    ImageTokens {
        /// Placeholders found.
        placeholders: usize,
        /// Placeholders the pictures need.
        needed: usize,
        /// Grids of the row's pictures.
        grids: Vec<[usize; 3]>,
        /// Spatial merge size.
        merge: usize,
    },
    /// A row is longer than allowed and the policy is to drop it, or it cannot be cut without cutting a picture.
    #[error(
        "the row has {length} tokens, more than max_length {max}; raise max_length, shrink the pictures, or drop \
         the row"
    )]
    TooLong {
        /// Tokens of the row (of its pictures alone, where truncation was asked for).
        length: usize,
        /// The limit.
        max: usize,
    },
    /// The chat template failed.
    #[error("{origin}: chat template: {message}")]
    Template {
        /// The file the template came from.
        origin: String,
        /// What went wrong and where.
        message: String,
    },
    /// The tokenizer failed.
    #[error("{origin}: tokenizer: {message}")]
    Tokenizer {
        /// The file the tokenizer came from.
        origin: String,
        /// What went wrong.
        message: String,
    },
    /// An error in a named row of a data set.
    #[error("row {row}: {source}")]
    Row {
        /// The caller's name of the row, such as `train.jsonl:17`.
        row: String,
        /// What is wrong with it.
        source: Box<VlmError>,
    },
    /// An error of the tensor layers.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// An error of an adapter.
    #[error(transparent)]
    Lora(#[from] vtb_lora::LoraError),
}

impl VlmError {
    /// Wraps an I/O error with its file.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io {
            path: path.into(),
            source,
        }
    }

    /// A file whose contents are wrong.
    pub fn file(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::File {
            path: path.into(),
            message: message.into(),
        }
    }

    /// A picture that cannot be used.
    pub fn image(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Image {
            name: name.into(),
            message: message.into(),
        }
    }

    /// A video that cannot be used.
    pub fn video(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Video {
            name: name.into(),
            message: message.into(),
        }
    }

    /// Names the row of the data set the error belongs to.
    pub fn in_row(self, row: impl Into<String>) -> Self {
        Self::Row {
            row: row.into(),
            source: Box::new(self),
        }
    }

    /// Whether a row was refused for its length alone: callers that drop such rows count them.
    pub fn is_too_long(&self) -> bool {
        match self {
            Self::TooLong { .. } => true,
            Self::Row { source, .. } => source.is_too_long(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_named_and_length_is_recognised_through_the_name() {
        let error = VlmError::TooLong { length: 9, max: 4 }.in_row("train.jsonl:17");
        assert!(error.is_too_long());
        let text = error.to_string();
        assert!(
            text.starts_with("row train.jsonl:17: the row has 9 tokens"),
            "{text}"
        );
        assert!(!text.contains('\n') && !text.contains("  "), "{text}");
        assert!(!VlmError::image("a.png", "broken").in_row("3").is_too_long());
    }
}
