//! Sampled completions as a Parquet file, with the pictures they are about.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use serde_json::json;

use crate::error::{DataError, Result};

/// A completion of reinforcement learning and what it earned.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletionRow {
    /// Optimizer step, from 0.
    pub step: u64,
    /// Name of the prompt's row.
    pub id: String,
    /// The question as text.
    pub prompt: String,
    /// What the policy wrote.
    pub completion: String,
    /// Total reward.
    pub reward: f64,
    /// Rewards by name, a JSON object.
    pub rewards: String,
    /// Advantage within its group.
    pub advantage: f64,
    /// Tokens of the completion.
    pub tokens: u64,
    /// It ended by itself.
    pub terminated: bool,
    /// Picture files of the prompt, encoded.
    pub images: Vec<Arc<[u8]>>,
}

const SCHEMA: &str = "message completions {
    required int64 step;
    required binary id (STRING);
    required binary prompt (STRING);
    required binary completion (STRING);
    required double reward;
    required binary rewards (STRING);
    required double advantage;
    required int64 tokens;
    required boolean terminated;
    optional group images (LIST) { repeated group list {
        optional group element { optional binary bytes; optional binary path (STRING); }
    } }
}";

/// By this key `datasets` knows that the pictures are pictures.
fn features() -> KeyValue {
    let value = |of: &str| json!({"dtype": of, "_type": "Value"});
    let features = json!({
        "step": value("int64"), "id": value("string"), "prompt": value("string"),
        "completion": value("string"), "reward": value("float64"), "rewards": value("string"),
        "advantage": value("float64"), "tokens": value("int64"), "terminated": value("bool"),
        "images": [{"_type": "Image"}],
    });
    let text = json!({"info": {"features": features}}).to_string();
    KeyValue::new("huggingface".to_owned(), text)
}

/// Writes `rows` to the new file `path`.
///
/// # Errors
/// The file is there already or cannot be written.
pub fn write_completions(path: &Path, rows: &[CompletionRow]) -> Result<()> {
    let file = File::create_new(path).map_err(|e| DataError::io(path, "create", e))?;
    write(file, rows).map_err(|fault| DataError::Parquet {
        file: path.to_owned(),
        reason: fault.to_string(),
    })
}

fn write(file: File, rows: &[CompletionRow]) -> std::result::Result<(), ParquetError> {
    // Picture files are packed already; those of a group are equal, so that each is stored once.
    let pictures = ["images", "list", "element", "bytes"].map(str::to_owned);
    let properties = WriterProperties::builder()
        .set_created_by(format!("vtb-data {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::SNAPPY)
        .set_column_compression(
            ColumnPath::new(pictures.to_vec()),
            Compression::UNCOMPRESSED,
        )
        .set_dictionary_page_size_limit(1 << 30)
        .set_key_value_metadata(Some(vec![features()]))
        .build();
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    let numbers = |of: fn(&CompletionRow) -> u64| rows.iter().map(|r| of(r) as i64).collect();
    let texts = |of: fn(&CompletionRow) -> &String| {
        let text = |row| ByteArray::from(of(row).as_bytes().to_vec());
        rows.iter().map(text).collect()
    };
    let shares = |of: fn(&CompletionRow) -> f64| rows.iter().map(of).collect();
    put(&mut group, Values::Whole(numbers(|r| r.step)))?;
    put(&mut group, Values::Bytes(texts(|r| &r.id)))?;
    put(&mut group, Values::Bytes(texts(|r| &r.prompt)))?;
    put(&mut group, Values::Bytes(texts(|r| &r.completion)))?;
    put(&mut group, Values::Real(shares(|r| r.reward)))?;
    put(&mut group, Values::Bytes(texts(|r| &r.rewards)))?;
    put(&mut group, Values::Real(shares(|r| r.advantage)))?;
    put(&mut group, Values::Whole(numbers(|r| r.tokens)))?;
    put(
        &mut group,
        Values::Bools(rows.iter().map(|r| r.terminated).collect()),
    )?;
    let images = Images::of(rows);
    put(&mut group, Values::Images(&images, true))?;
    put(&mut group, Values::Images(&images, false))?;
    group.close()?;
    writer.close()?;
    Ok(())
}

enum Values<'a> {
    Whole(Vec<i64>),
    Real(Vec<f64>),
    Bytes(Vec<ByteArray>),
    Bools(Vec<bool>),
    /// The bytes of pictures, or their names, of which there are none.
    Images(&'a Images, bool),
}

/// Pictures of all rows with the levels of their lists.
struct Images {
    bytes: Vec<ByteArray>,
    /// 4 for bytes; 3 for a picture without what is asked for, 1 for an empty list.
    defs: Vec<i16>,
    reps: Vec<i16>,
}

const ELEMENT: i16 = 3;

impl Images {
    fn of(rows: &[CompletionRow]) -> Self {
        let (mut bytes, mut defs, mut reps) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            if row.images.is_empty() {
                defs.push(1);
                reps.push(0);
            }
            for (at, image) in row.images.iter().enumerate() {
                bytes.push(ByteArray::from(image.to_vec()));
                defs.push(ELEMENT + 1);
                reps.push(i16::from(at > 0));
            }
        }
        Self { bytes, defs, reps }
    }
}

fn put(
    group: &mut SerializedRowGroupWriter<'_, File>,
    values: Values<'_>,
) -> std::result::Result<(), ParquetError> {
    let wrong = || ParquetError::General("the schema and the columns differ".to_owned());
    let mut column = group.next_column()?.ok_or_else(wrong)?;
    match (column.untyped(), values) {
        (ColumnWriter::Int64ColumnWriter(column), Values::Whole(values)) => {
            column.write_batch(&values, None, None)?;
        }
        (ColumnWriter::DoubleColumnWriter(column), Values::Real(values)) => {
            column.write_batch(&values, None, None)?;
        }
        (ColumnWriter::BoolColumnWriter(column), Values::Bools(values)) => {
            column.write_batch(&values, None, None)?;
        }
        (ColumnWriter::ByteArrayColumnWriter(column), Values::Bytes(values)) => {
            column.write_batch(&values, None, None)?;
        }
        (ColumnWriter::ByteArrayColumnWriter(column), Values::Images(images, true)) => {
            column.write_batch(&images.bytes, Some(&images.defs), Some(&images.reps))?;
        }
        (ColumnWriter::ByteArrayColumnWriter(column), Values::Images(images, false)) => {
            let defs: Vec<i16> = images.defs.iter().map(|def| (*def).min(ELEMENT)).collect();
            column.write_batch(&[], Some(&defs), Some(&images.reps))?;
        }
        _ => return Err(wrong()),
    }
    column.close()
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{ListAccessor, RowAccessor};

    use super::*;

    #[test]
    fn rows_come_back_with_their_pictures() {
        let row = |step, pictures: &[&[u8]]| CompletionRow {
            step,
            id: format!("row {step}"),
            prompt: "Which one?".to_owned(),
            completion: "<answer>B</answer>".to_owned(),
            reward: 0.5,
            rewards: r#"{"auto":0.5}"#.to_owned(),
            advantage: -1.25,
            tokens: 7,
            terminated: step % 2 == 0,
            images: pictures.iter().map(|bytes| Arc::from(*bytes)).collect(),
        };
        let rows = [row(0, &[b"one"]), row(1, &[]), row(2, &[b"two", b"three"])];
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("completions.parquet");
        write_completions(&path, &rows).unwrap();
        assert!(
            write_completions(&path, &rows).is_err(),
            "it is there already"
        );
        let reader = SerializedFileReader::new(File::open(&path).unwrap()).unwrap();
        let read: Vec<_> = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| row.unwrap())
            .collect();
        assert_eq!(read.len(), 3);
        assert_eq!(read[0].get_long(0).unwrap(), 0);
        assert_eq!(read[2].get_string(1).unwrap(), "row 2");
        assert_eq!(read[1].get_double(6).unwrap(), -1.25);
        assert!(!read[1].get_bool(8).unwrap());
        let pictures = |row: usize| -> Vec<Vec<u8>> {
            let list = read[row].get_list(9).unwrap();
            let picture = |at| {
                list.get_group(at)
                    .unwrap()
                    .get_bytes(0)
                    .unwrap()
                    .data()
                    .to_vec()
            };
            (0..list.len()).map(picture).collect()
        };
        let wanted = rows
            .each_ref()
            .map(|row| row.images.iter().map(|b| b.to_vec()).collect::<Vec<_>>());
        assert_eq!([0, 1, 2].map(pictures), wanted);
    }
}
