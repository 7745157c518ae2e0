//! Logged completions as Parquet files, with the pictures they are about.

use std::path::Path;

use serde_json::Value;
use vtb_data::RowSource;
use vtb_trainer::TrainError;

/// Whether this build writes Parquet files.
pub const AVAILABLE: bool = cfg!(feature = "parquet");

/// Writes completions as the step loop shows them to `path` with the ending `parquet`; an earlier file, of a run that goes on
/// from before it, is replaced.
///
/// # Errors
/// A row of `source` or one of its pictures cannot be read; the file cannot be written.
#[cfg(feature = "parquet")]
pub fn write(path: &Path, shown: &[Value], source: &dyn RowSource) -> Result<(), TrainError> {
    use std::collections::HashMap;
    use std::collections::hash_map::Entry;
    use std::sync::Arc;

    use vtb_data::{CompletionRow, write_completions};

    let step = path.file_name().and_then(|name| name.to_str());
    let step = step.and_then(|name| name.strip_prefix("step-")?.parse().ok());
    let mut seen: HashMap<u64, Vec<Arc<[u8]>>> = HashMap::new();
    let mut rows = Vec::with_capacity(shown.len());
    for one in shown {
        let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| one[key].as_f64().unwrap_or(f64::NAN);
        let row = one["row"].as_u64().unwrap_or_default();
        let images = match seen.entry(row) {
            Entry::Occupied(found) => found.get().clone(),
            Entry::Vacant(place) => place.insert(pictures(source, row as usize)?).clone(),
        };
        rows.push(CompletionRow {
            step: step.unwrap_or_default(),
            id: text("id"),
            prompt: text("prompt"),
            completion: text("completion"),
            reward: number("reward"),
            rewards: one["rewards"].to_string(),
            advantage: number("advantage"),
            tokens: one["tokens"].as_u64().unwrap_or_default(),
            terminated: one["terminated"].as_bool().unwrap_or_default(),
            images,
        });
    }
    let file = path.with_extension("parquet");
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(TrainError::io(&file, error));
        }
        _ => {}
    }
    write_completions(&file, &rows).map_err(TrainError::other)
}

/// The picture files of a row, encoded.
#[cfg(feature = "parquet")]
fn pictures(source: &dyn RowSource, row: usize) -> Result<Vec<std::sync::Arc<[u8]>>, TrainError> {
    use vtb_data::image_io;

    let row = source.row(row).map_err(TrainError::other)?;
    let options = image_io::ImageOptions::default();
    let mut files = Vec::with_capacity(row.images.len());
    for (i, image) in row.images.iter().enumerate() {
        let fault = |fault| TrainError::other(row.image_error(i, fault));
        let bytes = match image_io::encoded(image, &options).map_err(fault)? {
            Some(bytes) => bytes.into_owned(),
            None => {
                let drawn = image_io::load(image, &options).map_err(fault)?;
                vtb_puzzle::encode_png(&drawn).map_err(TrainError::other)?
            }
        };
        files.push(bytes.into());
    }
    Ok(files)
}

/// Nothing: this build has no Parquet, and [`AVAILABLE`] says so.
#[cfg(not(feature = "parquet"))]
pub fn write(_: &Path, _: &[Value], _: &dyn RowSource) -> Result<(), TrainError> {
    Ok(())
}
