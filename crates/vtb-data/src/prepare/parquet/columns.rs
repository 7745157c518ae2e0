//! Columns of a row group, a row at a time.

use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::file::reader::RowGroupReader;
use parquet::schema::types::ColumnDescriptor;

/// A value; numbers are taken for their digits, for ids.
#[derive(Debug, Clone)]
pub(super) enum Cell {
    Bytes(ByteArray),
    Bool(bool),
}

/// What a column holds for one row: the items of a list, or the one value; nothing for an empty
/// list and for a value that is absent.
pub(super) type Cells = Vec<Option<Cell>>;

/// Whether a column is of a shape that is read: values, or lists of depth one.
pub(super) fn is_readable(column: &ColumnDescriptor) -> bool {
    let known = [
        Physical::BYTE_ARRAY,
        Physical::BOOLEAN,
        Physical::INT32,
        Physical::INT64,
    ];
    known.contains(&column.physical_type()) && column.max_rep_level() <= 1
}

/// A column that is read from its start.
pub(super) struct Column {
    reader: ColumnReader,
    max_def: i16,
    /// Definition level from which on a list has an item.
    item: i16,
    is_list: bool,
    /// Levels and values of rows begun.
    defs: Vec<i16>,
    reps: Vec<i16>,
}

impl Column {
    pub(super) fn open(group: &dyn RowGroupReader, at: usize) -> parquet::errors::Result<Self> {
        let descriptor = group.metadata().schema_descr().column(at);
        let max_def = descriptor.max_def_level();
        let is_list = descriptor.max_rep_level() == 1;
        Ok(Self {
            item: descriptor.repeated_ancestor_def_level(),
            reader: group.get_column_reader(at)?,
            max_def,
            is_list,
            defs: Vec::new(),
            reps: Vec::new(),
        })
    }

    /// The next row.
    pub(super) fn next(&mut self) -> parquet::errors::Result<Cells> {
        let (defs, reps) = (&mut self.defs, &mut self.reps);
        defs.clear();
        reps.clear();
        let text = |number: String| Cell::Bytes(ByteArray::from(number.as_str()));
        let values: Vec<Cell> = match &mut self.reader {
            ColumnReader::ByteArrayColumnReader(r) => {
                let values = record::<ByteArrayType>(r, defs, reps)?;
                values.into_iter().map(Cell::Bytes).collect()
            }
            ColumnReader::BoolColumnReader(r) => {
                let values = record::<BoolType>(r, defs, reps)?;
                values.into_iter().map(Cell::Bool).collect()
            }
            ColumnReader::Int32ColumnReader(r) => {
                let values = record::<Int32Type>(r, defs, reps)?;
                values.into_iter().map(|n| text(n.to_string())).collect()
            }
            ColumnReader::Int64ColumnReader(r) => {
                let values = record::<Int64Type>(r, defs, reps)?;
                values.into_iter().map(|n| text(n.to_string())).collect()
            }
            _ => Vec::new(),
        };
        let mut values = values.into_iter();
        if self.max_def == 0 {
            return Ok(values.map(Some).collect());
        }
        let levels = self
            .defs
            .iter()
            .filter(|def| !self.is_list || **def >= self.item);
        let cell = |def: &i16| match *def == self.max_def {
            true => values.next(),
            false => None,
        };
        Ok(levels.map(cell).collect())
    }
}

fn record<T: DataType>(
    reader: &mut ColumnReaderImpl<T>,
    defs: &mut Vec<i16>,
    reps: &mut Vec<i16>,
) -> parquet::errors::Result<Vec<T::T>> {
    let mut values = Vec::new();
    let (rows, _, _) = reader.read_records(1, Some(defs), Some(reps), &mut values)?;
    match rows {
        1 => Ok(values),
        _ => Err(parquet::errors::ParquetError::General(
            "a column ends before its row group does".to_owned(),
        )),
    }
}
