//! What every source of training rows promises.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::row::TrainRow;

/// Identifies the content of a data set. A run saves it and refuses to resume with another.
///
/// Pictures in files of their own are not covered: hashing them would take as long as an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// SHA-256 of the content, lower-case hexadecimal.
    pub sha256: String,
    /// Bytes that were hashed.
    pub bytes: u64,
    /// Usable rows.
    pub rows: u64,
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "sha256:{} ({} bytes, {} rows)",
            self.sha256, self.bytes, self.rows
        )
    }
}

/// Rows by number. Implementations are read from several threads at a time.
pub trait RowSource: Send + Sync {
    /// Rows there are; never 0.
    fn len(&self) -> usize;

    /// Always false: a source without rows cannot be made.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One row. The same number gives the same row every time.
    ///
    /// # Errors
    /// The row cannot be read, or there is none of that number.
    fn row(&self, index: usize) -> Result<TrainRow>;

    /// What the data set is.
    fn fingerprint(&self) -> Fingerprint;
}
