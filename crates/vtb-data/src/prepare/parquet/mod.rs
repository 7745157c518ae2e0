//! Parquet files, as `datasets` writes and reads them.
//!
//! The `parquet` crate is used without arrow: columns are written and read with their levels, which
//! for lists of depth one is little work, and half the code to compile is left out.

#[cfg(feature = "parquet")]
mod columns;
#[cfg(feature = "parquet")]
mod pages;
#[cfg(feature = "parquet")]
mod read;
#[cfg(feature = "parquet")]
mod rows;
#[cfg(feature = "parquet")]
mod schema;
#[cfg(feature = "parquet")]
mod write;

#[cfg(feature = "parquet")]
pub(super) use read::read_samples;
#[cfg(feature = "parquet")]
pub use write::ParquetExport;

/// Refuses a file that this build cannot read.
#[cfg(not(feature = "parquet"))]
pub(super) fn read_samples(
    file: &std::path::Path,
    _: &mut dyn FnMut(Vec<crate::Result<super::Sample>>) -> crate::Result<()>,
) -> crate::Result<()> {
    Err(crate::DataError::Parquet {
        file: file.to_owned(),
        reason: "this build reads no Parquet files; build it with the feature `parquet`".to_owned(),
    })
}
