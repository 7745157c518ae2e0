//! Shards of bounded size.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, TypePtr};

use super::super::folder::{Shards, StagedFolder};
use super::super::sample::Sample;
use super::super::{Common, Exporter};
use super::rows::ParquetRow;
use super::schema::{PICTURES, TEXTS, features, message};
use crate::error::{DataError, Result};

/// Rows and bytes that are held until they are written as one row group.
const GROUP_ROWS: usize = 256;
const GROUP_BYTES: u64 = 32 << 20;
/// Folder of the shards, where `datasets` looks for them.
const DATA: &str = "data";

/// Writes a folder of Parquet files.
pub struct ParquetExport {
    common: Common,
    folder: Option<StagedFolder>,
    limit: u64,
    schema: TypePtr,
    properties: WriterPropertiesPtr,
    open: BTreeMap<String, Open>,
}

impl std::fmt::Debug for ParquetExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ParquetExport({:?})", self.folder)
    }
}

#[derive(Default)]
struct Open {
    shards: Shards,
    writer: Option<SerializedFileWriter<File>>,
    /// Bytes in the shard, those that are held included.
    bytes: u64,
    held: Vec<ParquetRow>,
    held_bytes: u64,
}

impl ParquetExport {
    /// Writes to the folder `place`, in shards of about `limit` bytes.
    ///
    /// # Errors
    /// [`DataError::Prepare`] if something else is there; [`DataError::Io`].
    pub fn new(common: Common, place: &Path, limit: u64) -> Result<Self> {
        let folder = match common.dry {
            true => None,
            false => {
                let folder = StagedFolder::create(place)?;
                let data = folder.path().join(DATA);
                std::fs::create_dir_all(&data).map_err(|e| DataError::io(&data, "create", e))?;
                Some(folder)
            }
        };
        let schema = parse_message_type(&message()).map_err(|e| fault(place, &e))?;
        Ok(Self {
            common,
            folder,
            limit,
            schema: Arc::new(schema),
            properties: Arc::new(properties()),
            open: BTreeMap::new(),
        })
    }
}

fn properties() -> WriterProperties {
    let mut builder = WriterProperties::builder()
        .set_created_by(format!("vtb-data {}", env!("CARGO_PKG_VERSION")))
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_key_value_metadata(Some(vec![KeyValue::new(
            "huggingface".to_owned(),
            features(),
        )]));
    let inside = |name: &str, path: &[&str]| {
        let parts = std::iter::once(name).chain(path.iter().copied());
        ColumnPath::new(parts.map(str::to_owned).collect())
    };
    let list = inside("images", &["list", "element", "bytes"]);
    let single = PICTURES.map(|name| inside(name, &["bytes"]));
    // Picture files are packed already, and no two are alike.
    for path in std::iter::once(list).chain(single) {
        builder = builder
            .set_column_compression(path.clone(), Compression::UNCOMPRESSED)
            .set_column_dictionary_enabled(path, false);
    }
    builder.build()
}

fn fault(place: &Path, fault: &parquet::errors::ParquetError) -> DataError {
    DataError::Parquet {
        file: place.to_owned(),
        reason: fault.to_string(),
    }
}

impl Exporter for ParquetExport {
    type Row = ParquetRow;

    fn common(&self) -> &Common {
        &self.common
    }

    fn make(&self, sample: &Sample) -> Result<ParquetRow> {
        ParquetRow::of(sample, &self.common)
    }

    fn add(&mut self, row: ParquetRow) -> Result<()> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let place = folder.place();
        let bytes = row.bytes();
        let split = row.split.clone();
        let open = self.open.entry(split.clone()).or_default();
        if open.writer.is_some() && open.bytes + bytes > self.limit {
            open.close().map_err(|e| fault(place, &e))?;
        }
        if open.writer.is_none() {
            let name = Shards::working_name(&split, open.shards.rows.len());
            let path = folder.path().join(DATA).join(name);
            let file = File::create(&path).map_err(|e| DataError::io(place, "write", e))?;
            let writer = SerializedFileWriter::new(
                file,
                Arc::clone(&self.schema),
                Arc::clone(&self.properties),
            );
            open.writer = Some(writer.map_err(|e| fault(place, &e))?);
            open.shards.rows.push(0);
            open.bytes = 0;
        }
        open.bytes += bytes;
        open.held_bytes += bytes;
        open.held.push(row);
        if let Some(rows) = open.shards.rows.last_mut() {
            *rows += 1;
        }
        if open.held.len() >= GROUP_ROWS || open.held_bytes >= GROUP_BYTES {
            open.flush().map_err(|e| fault(place, &e))?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Vec<PathBuf>> {
        let Some(folder) = self.folder.take() else {
            return Ok(Vec::new());
        };
        let mut files = Vec::new();
        for (split, open) in &mut self.open {
            open.close().map_err(|e| fault(folder.place(), &e))?;
            let named = open
                .shards
                .rename(&folder.path().join(DATA), split, "parquet")?;
            let within = |(name, rows): (String, usize)| (format!("{DATA}/{name}"), rows);
            files.extend(named.into_iter().map(within));
        }
        folder.finish("parquet", &files)
    }
}

impl Open {
    fn close(&mut self) -> parquet::errors::Result<()> {
        self.flush()?;
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        let file = writer.into_inner()?;
        file.sync_all().map_err(Into::into)
    }

    /// Writes the rows that are held as one row group.
    fn flush(&mut self) -> parquet::errors::Result<()> {
        let rows = std::mem::take(&mut self.held);
        self.held_bytes = 0;
        let Some(writer) = self.writer.as_mut().filter(|_| !rows.is_empty()) else {
            return Ok(());
        };
        let mut group = writer.next_row_group()?;
        for leaf in leaves(&rows) {
            let Some(mut column) = group.next_column()? else {
                return Err(parquet::errors::ParquetError::General(
                    "the schema has fewer columns than a row".to_owned(),
                ));
            };
            let Leaf { values, defs, reps } = &leaf;
            let reps = (!reps.is_empty()).then_some(reps.as_slice());
            match (column.untyped(), values) {
                (ColumnWriter::ByteArrayColumnWriter(column), Values::Bytes(values)) => {
                    column.write_batch(values, Some(defs), reps)?;
                }
                (ColumnWriter::BoolColumnWriter(column), Values::Bools(values)) => {
                    column.write_batch(values, Some(defs), reps)?;
                }
                _ => {
                    return Err(parquet::errors::ParquetError::General(
                        "a column is of another type than its row".to_owned(),
                    ));
                }
            }
            column.close()?;
        }
        group.close()?;
        Ok(())
    }
}

enum Values {
    Bytes(Vec<ByteArray>),
    Bools(Vec<bool>),
}

/// A column of a row group: values that are there, and levels that say where.
struct Leaf {
    values: Values,
    defs: Vec<i16>,
    reps: Vec<i16>,
}

/// Definition levels of an optional value, an optional value inside an optional group, and the
/// nodes on the way to a value in a list: list, item, group, value.
const VALUE: i16 = 1;
const INSIDE: i16 = 2;
const EMPTY: i16 = 1;
const ITEM: i16 = 2;

impl Leaf {
    /// One value or none for each row; `max` is the level of a value.
    fn single<'a>(max: i16, values: impl Iterator<Item = Option<&'a [u8]>>) -> Self {
        let (mut found, mut defs) = (Vec::new(), Vec::new());
        for value in values {
            defs.push(if value.is_some() { max } else { 0 });
            found.extend(value.map(|bytes| ByteArray::from(bytes.to_vec())));
        }
        Self {
            values: Values::Bytes(found),
            defs,
            reps: Vec::new(),
        }
    }

    /// A list or none for each row; `max` is the level of an item's value.
    fn list<'a>(max: i16, rows: impl Iterator<Item = Option<Vec<&'a [u8]>>>) -> Self {
        let (mut found, mut defs, mut reps) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let items = match row {
                None => {
                    defs.push(0);
                    reps.push(0);
                    continue;
                }
                Some(items) => items,
            };
            if items.is_empty() {
                defs.push(EMPTY);
                reps.push(0);
            }
            for (at, item) in items.into_iter().enumerate() {
                defs.push(max);
                reps.push(i16::from(at > 0));
                found.push(ByteArray::from(item.to_vec()));
            }
        }
        Self {
            values: Values::Bytes(found),
            defs,
            reps,
        }
    }
}

/// Every column, in the order of the schema.
fn leaves(rows: &[ParquetRow]) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for at in 0..TEXTS.len() {
        let texts = rows.iter().map(|row| row.texts[at].as_deref());
        leaves.push(Leaf::single(
            VALUE,
            texts.map(|text| text.map(str::as_bytes)),
        ));
    }
    let listed = rows.iter().map(|row| row.options_listed);
    leaves.push(Leaf {
        defs: listed
            .clone()
            .map(|on| if on.is_some() { VALUE } else { 0 })
            .collect(),
        values: Values::Bools(listed.flatten().collect()),
        reps: Vec::new(),
    });
    let options = rows.iter().map(|row| {
        let names = row.options.as_ref()?;
        Some(names.iter().map(|name| name.as_bytes()).collect())
    });
    leaves.push(Leaf::list(ITEM + 1, options));
    let messages = |part: for<'a> fn(&'a (&'static str, String)) -> &'a str| {
        let turns = rows.iter().map(|row| row.messages.as_ref());
        Leaf::list(
            ITEM + 2,
            turns.map(|turns| Some(turns?.iter().map(|turn| part(turn).as_bytes()).collect())),
        )
    };
    leaves.push(messages(|(role, _)| role));
    leaves.push(messages(|(_, text)| text));
    let images = rows
        .iter()
        .map(|row| Some(row.images.iter().map(|(_, b)| &b[..]).collect()));
    leaves.push(Leaf::list(ITEM + 2, images));
    let names = rows.iter().map(|row| {
        let names = row.images.iter().map(|(name, _)| name.as_bytes());
        Some(names.collect())
    });
    leaves.push(Leaf::list(ITEM + 2, names));
    for at in 0..PICTURES.len() {
        let stored = rows.iter().map(|row| row.pictures[at].as_ref());
        let bytes = stored
            .clone()
            .map(|found| found.map(|(_, bytes)| &bytes[..]));
        leaves.push(Leaf::single(INSIDE, bytes));
        let names = stored.map(|found| found.map(|(name, _)| name.as_bytes()));
        leaves.push(Leaf::single(INSIDE, names));
    }
    leaves
}
