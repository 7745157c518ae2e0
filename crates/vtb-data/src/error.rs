//! Everything that can go wrong with a training file, each a sentence that names the row.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::generate::GenerateFault;

/// Shorthand for this crate's results.
pub type Result<T> = std::result::Result<T, DataError>;

/// Where a row comes from, for messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The file, or the name of a data set that lives in memory.
    pub file: Arc<Path>,
    /// Line number in the file, or number of the row in memory; counted from 1.
    pub line: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// A file could not be opened, read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What was being done to it.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// A row is not what it has to be.
    #[error("{origin}: {fault}")]
    Row {
        /// The row.
        origin: Origin,
        /// What is wrong with it.
        fault: RowFault,
    },
    /// The file is no longer the one that was opened.
    #[error(
        "{origin}: the row changed while the file was open; start again, or resume with the file as it was"
    )]
    RowChanged {
        /// The row.
        origin: Origin,
    },
    /// A picture of a row cannot be used.
    #[error("{origin}: image {number} ({image}): {fault}")]
    Image {
        /// The row.
        origin: Origin,
        /// Which of the row's pictures, counted from 1.
        number: usize,
        /// The picture's file, or what it is instead.
        image: String,
        /// What is wrong with it.
        fault: ImageFault,
    },
    /// The file of a row's video cannot be used.
    #[error("{origin}: video {number} ({}): {fault}", path.display())]
    RowVideo {
        /// The row.
        origin: Origin,
        /// Which of the row's videos, counted from 1.
        number: usize,
        /// Its file or folder.
        path: PathBuf,
        /// What is wrong with it.
        fault: ImageFault,
    },
    /// A video cannot be read or written.
    #[error("{video}: {fault}")]
    Video {
        /// The video's file or folder, or what it is instead.
        video: String,
        /// What is wrong with it.
        fault: VideoFault,
    },
    /// More rows are unusable than the caller allows.
    #[error(
        "{}: {bad} of {rows} rows are unusable and {allowed} are allowed; the first: {first}",
        file.display()
    )]
    TooManyBadRows {
        /// The data file.
        file: PathBuf,
        /// Unusable rows found.
        bad: usize,
        /// Rows read up to then, blank lines aside.
        rows: usize,
        /// The limit.
        allowed: usize,
        /// The first fault.
        first: Box<DataError>,
    },
    /// No row is left.
    #[error("{}: the data set is empty ({why})", file.display())]
    Empty {
        /// The data file.
        file: PathBuf,
        /// Whether there were no rows, or none that can be used.
        why: &'static str,
    },
    /// A row number past the end.
    #[error("{file}: row {index} was asked for and there are {len}")]
    NoSuchRow {
        /// The data set.
        file: String,
        /// Row asked for, counted from 0.
        index: usize,
        /// Rows there are.
        len: usize,
    },
    /// A saved sampler does not fit the data at hand.
    #[error("the saved place in the data cannot be used: {0}")]
    SamplerState(String),
    /// A background worker stopped before it delivered.
    #[error("a data worker panicked while it prepared item {item}")]
    Worker {
        /// Position of the item in the order asked for, counted from 0.
        item: u64,
    },
    /// A file is no ARC problem, or one too many.
    #[error("{}: `{field}` {reason}", file.display())]
    Arc {
        /// The file or folder.
        file: PathBuf,
        /// The field, with its place in a list.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A puzzle could not be made.
    #[error("puzzle {task}: {reason}")]
    Puzzle {
        /// The task.
        task: String,
        /// What its generator says.
        reason: String,
    },
    /// A task has fewer distinct scenes left than rows are asked for.
    #[error(
        "puzzle {task}: {found} distinct scenes were found in {tries} tries and {wanted} are \
         wanted; ask for fewer rows or for larger puzzles"
    )]
    TooFewScenes {
        /// The task.
        task: String,
        /// Distinct scenes found.
        found: usize,
        /// Rows asked for.
        wanted: usize,
        /// Puzzles made in the search.
        tries: usize,
    },
    /// Rows cannot be held out.
    #[error(
        "a share of {share} of {rows} rows cannot be held out; it must lie above 0 and below 1, and there must be two rows"
    )]
    HeldOut {
        /// The share asked for.
        share: f64,
        /// Rows there are.
        rows: usize,
    },
    /// A data set cannot be generated as asked.
    #[error(transparent)]
    Generate(#[from] GenerateFault),
    /// A record of a task's `data.json` is not what it has to be.
    #[error("{}: record {number} ({id}): {fault}", file.display())]
    Record {
        /// The file.
        file: PathBuf,
        /// Which of its records, counted from 1.
        number: usize,
        /// The record's id, or what stands in its place.
        id: String,
        /// What is wrong with it.
        fault: Box<RowFault>,
    },
    /// An export cannot be made as asked.
    #[error("{0}")]
    Prepare(String),
    /// A Parquet file cannot be read or written.
    #[error("{}: {reason}", file.display())]
    Parquet {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file is not the one that its manifest names.
    #[error(
        "{}: its SHA-256 is {found} and the manifest names {expected}; the file was changed or \
         damaged, make the data set again",
        path.display()
    )]
    Changed {
        /// The file.
        path: PathBuf,
        /// Hash in the manifest.
        expected: String,
        /// Hash of the file.
        found: String,
    },
}

impl DataError {
    pub(crate) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            action,
            source,
        }
    }
}

/// What is wrong with one line of a training file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowFault {
    /// The line is longer than the limit.
    #[error("the line is longer than {limit} bytes")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// The line is not JSON, or holds a key twice.
    #[error("not a JSON object: {0}")]
    Json(String),
    /// The text is not a row of a table.
    #[error("not a CSV row: {0}")]
    Csv(String),
    /// A field is missing.
    #[error("field `{0}` is missing")]
    Missing(String),
    /// A field holds something else than it has to.
    #[error("field `{field}` must be {expected}, not {found}")]
    Field {
        /// The field, with its place in a list.
        field: String,
        /// What it has to be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// A field holds something that cannot be used.
    #[error("field `{field}`: {reason}")]
    Invalid {
        /// The field.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A field that nothing reads, which may be a misspelt one.
    #[error("there is no field `{0}` in this kind of row")]
    Unknown(String),
    /// Two rows have one id.
    #[error("field `id`: {id} is the id of row {first} already")]
    Repeated {
        /// The id.
        id: String,
        /// Line or number of the row that has it first.
        first: u64,
    },
    /// A record of this task and id came before.
    #[error("field `id`: {id} came before in this data set; a doubled row trains twice")]
    Doubled {
        /// The id.
        id: String,
    },
    /// The conversation does not end as the kind of training needs it to.
    #[error("field `messages`: {0}")]
    Conversation(&'static str),
    /// The text has room for another number of pictures than the row brings.
    #[error("the messages hold {tags} <image> tags and the row has {images} images")]
    ImageCount {
        /// Tags in the text.
        tags: usize,
        /// Pictures of the row.
        images: usize,
    },
    /// The text has room for another number of videos than the row brings.
    #[error("the messages hold {tags} <video> tags and the row has {videos} videos")]
    VideoCount {
        /// Tags in the text.
        tags: usize,
        /// Videos of the row.
        videos: usize,
    },
    /// A picture is given both in a message and in the column.
    #[error("images stand in field `images` and inside `messages`: use one of the two")]
    ImagesTwice,
    /// A picture is given by an address that would have to be downloaded.
    #[error("field `{field}`: nothing is downloaded here; save the image and give its path")]
    Remote {
        /// The field.
        field: String,
    },
    /// A picture written as text does not decode.
    #[error("field `{field}`: the base64 text does not decode: {reason}")]
    Base64 {
        /// The field.
        field: String,
        /// What the decoder says.
        reason: String,
    },
}

/// Why a picture cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageFault {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The file is larger than the limit.
    #[error("the file has {bytes} bytes and {limit} are allowed")]
    FileTooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        limit: u64,
    },
    /// The picture has more pixels than the limit, or needs more memory to decode.
    #[error("{0}")]
    TooLarge(String),
    /// The bytes are no picture in a format that is understood, or a broken one.
    #[error("does not decode: {0}")]
    Decode(String),
    /// The path leads out of the directory that pictures and videos are confined to.
    #[error("lies outside {}", root.display())]
    Outside {
        /// That directory.
        root: PathBuf,
    },
}

/// Why a video cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VideoFault {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The file, its frames or their number exceed a limit.
    #[error("{0}")]
    TooLarge(String),
    /// The bytes are in no form that is read here.
    #[error("{found}; MP4 with H.264, GIF, Y4M and folders of PNG frames are read here")]
    Format {
        /// What the bytes are.
        found: String,
    },
    /// The video is coded in a way that the built-in decoder does not know.
    #[error(
        "{found}, which is not decoded here; make it a folder of PNG frames (frame_00000.png, ... \
         with timing.json), a GIF or a Y4M file"
    )]
    Codec {
        /// The codec or the feature.
        found: String,
    },
    /// The file contradicts itself or ends early.
    #[error("is damaged: {0}")]
    Damaged(String),
    /// A coded frame does not decode.
    #[error("frame {frame} of {frames} (in the order of the file) does not decode: {reason}")]
    Decode {
        /// The frame, counted from 0.
        frame: usize,
        /// Frames there are.
        frames: usize,
        /// What the decoder says, and what the stream uses.
        reason: String,
    },
    /// A picture of a frame folder cannot be used.
    #[error("{name}: {fault}")]
    Frame {
        /// The file's name.
        name: String,
        /// What is wrong with it.
        fault: ImageFault,
    },
    /// The frames to write do not make a video.
    #[error("{0}")]
    Frames(String),
}
