//! Parquet files: ours, the benchmark's, and hostile ones.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::*;
use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use serde_json::Value;
use vtb_data::prepare::*;

fn settings(max_bad_rows: usize) -> Settings {
    Settings {
        selection: Selection::default(),
        verify: Verify::Full,
        max_bad_rows,
        dry: false,
    }
}

fn export<E: Exporter>(source: &Source, bad: usize, exporter: E) -> vtb_data::Result<Report> {
    let done = run(source, &settings(bad), exporter, &mut |_| {
        ControlFlow::Continue(())
    });
    done.map(Option::unwrap)
}

fn common(source: &Source, out: &Path) -> Common {
    Common::new(source.root(), out, PathMode::Output, false, false).unwrap()
}

fn write(data: &Path, place: &Path, limit: u64) -> Report {
    let source = Source::open(data, false).unwrap();
    let paths = common(&source, place.parent().unwrap());
    export(&source, 0, ParquetExport::new(paths, place, limit).unwrap()).unwrap()
}

/// Questions of a folder of Parquet files.
fn questions(place: &Path, out: &Path, bad: usize) -> vtb_data::Result<Report> {
    let source = Source::open(place, false)?;
    let exporter = VlmExport::new(common(&source, out), Schema::Swift)?;
    export(&source, bad, exporter)
}

fn edits(place: &Path, out: &Path) -> vtb_data::Result<Report> {
    let source = Source::open(place, false)?;
    let exporter = ImageExport::new(common(&source, out), &out.join(METADATA))?;
    export(&source, 0, exporter)
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_data_set_comes_back_from_parquet_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let [data, first, place, second] =
        ["data", "a", "shards", "b"].map(|name| dir.path().join(name));
    let manifest = data_set(&small(3, false), &data);
    let source = Source::open(&data, false).unwrap();
    let exporter = VlmExport::new(common(&source, &first), Schema::Swift).unwrap();
    export(&source, 0, exporter).unwrap();
    for (limit, shards) in [(1, manifest.len()), (1 << 30, 2)] {
        let report = write(&data, &place, limit);
        assert_eq!(report.files.len(), shards);
        assert_eq!(
            files(&place, ".parquet").len(),
            shards,
            "older shards are gone"
        );
        // Records are verified and drawn again on the way.
        let report = questions(&place, &second, 0).unwrap();
        assert_eq!(report.total(), manifest.len());
        for name in [TRAIN_SFT, TRAIN_GRPO] {
            let sorted = |folder: &Path| {
                let mut rows = lines(&folder.join(name));
                rows.sort_by_key(|row| row["id"].to_string());
                for row in &mut rows {
                    // Pictures are files of another name, with the same bytes.
                    let picture = folder.join(row["images"][0].as_str().unwrap());
                    row["images"] = std::fs::read(picture).unwrap().into();
                }
                rows
            };
            assert_eq!(sorted(&first), sorted(&second));
        }
    }
    let names: BTreeSet<String> = files(&place, ".parquet")
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let wanted = [
        "test-00000-of-00001.parquet",
        "train-00000-of-00001.parquet",
    ];
    assert_eq!(names, BTreeSet::from(wanted.map(str::to_owned)));
    assert_eq!(edits(&place, &second).unwrap().total(), manifest.len());
}

const BENCHMARK: &str = "message schema { optional binary task (STRING); optional int64 id; \
    optional binary prompt (STRING); \
    optional group image { optional binary bytes; optional binary path (STRING); } \
    optional group solution_image { optional binary bytes; optional binary path (STRING); } }";
const WORDS: &str = "message schema { optional binary task (STRING); optional binary id (STRING); \
    optional binary prompt (STRING); \
    optional group image { optional binary bytes; optional binary path (STRING); } \
    optional binary answer (STRING); }";

enum Column {
    Text(i16, Vec<Option<Vec<u8>>>),
    Number(Vec<i64>),
}

fn text(texts: &[&str]) -> Column {
    Column::Text(
        1,
        texts
            .iter()
            .map(|text| Some(text.as_bytes().to_vec()))
            .collect(),
    )
}

fn inside(values: &[Option<&[u8]>]) -> Column {
    Column::Text(
        2,
        values
            .iter()
            .map(|value| value.map(<[u8]>::to_vec))
            .collect(),
    )
}

fn file(path: &Path, schema: &str, compression: Compression, columns: &[Column]) {
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(compression)
        .build();
    let out = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(out, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    for column in columns {
        let mut to = group.next_column().unwrap().unwrap();
        match (to.untyped(), column) {
            (ColumnWriter::ByteArrayColumnWriter(to), Column::Text(max, cells)) => {
                let levels: Vec<i16> = cells
                    .iter()
                    .map(|c| if c.is_some() { *max } else { 0 })
                    .collect();
                let values: Vec<ByteArray> =
                    cells.iter().flatten().map(|c| c.clone().into()).collect();
                to.write_batch(&values, Some(&levels), None).unwrap();
            }
            (ColumnWriter::Int64ColumnWriter(to), Column::Number(numbers)) => {
                to.write_batch(numbers, Some(&vec![1; numbers.len()]), None)
                    .unwrap();
            }
            _ => panic!("another type"),
        }
        to.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
}

fn pictures() -> [Vec<u8>; 2] {
    let task = vtb_puzzle::find("midpoint").unwrap();
    let record = task.generate(&Value::Null, 3).unwrap();
    [vtb_puzzle::Layer::Puzzle, vtb_puzzle::Layer::Solution]
        .map(|layer| vtb_puzzle::encode_png(&task.draw(&record, layer).unwrap()).unwrap())
}

#[test]
fn the_benchmarks_rows_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let [puzzle, solution] = pictures();
    let path = dir.path().join("vision.parquet");
    let [p, s] = [Some(&puzzle[..]), Some(&solution[..])];
    let name: Option<&[u8]> = Some(b"x.png");
    let columns = |task: &str, solution: Option<&[u8]>| {
        [
            text(&[task, "maze_square"]),
            Column::Number(vec![7, 8]),
            text(&["Mark it.", "Go."]),
            inside(&[p, p]),
            inside(&[name, name]),
            inside(&[solution, s]),
            inside(&[name, name]),
        ]
    };
    for compression in [Compression::SNAPPY, Compression::UNCOMPRESSED] {
        file(&path, BENCHMARK, compression, &columns("midpoint", s));
        let out = dir.path().join("out");
        assert_eq!(edits(&path, &out).unwrap().total(), 2);
        let rows = std::fs::read_to_string(out.join(METADATA)).unwrap();
        let rows: Vec<Value> = serde_json::from_str(&rows).unwrap();
        assert_eq!(rows[0]["id"], "7");
        assert_eq!(rows[0]["task_group"], "eyeballing");
        assert_eq!(rows[1]["task_group"], "maze");
        assert_eq!(rows[0]["prompt"], "Mark it.");
        let stored = |field: &str| std::fs::read(out.join(rows[0][field].as_str().unwrap()));
        assert_eq!(stored("edit_image").unwrap(), puzzle);
        assert_eq!(stored("image").unwrap(), solution);
        // Nothing to answer with.
        let fault = questions(&path, &out, 0).unwrap_err().to_string();
        assert!(
            fault.contains("record 1 (7)") && fault.contains("answer"),
            "{fault}"
        );
    }
    let fault = |columns: &[Column]| {
        file(&path, BENCHMARK, Compression::SNAPPY, columns);
        edits(&path, dir.path()).unwrap_err().to_string()
    };
    let unknown = fault(&columns("riddle", s));
    assert!(
        unknown.contains("(7)") && unknown.contains("\"riddle\" is no known task"),
        "{unknown}"
    );
    assert!(fault(&columns("midpoint", p)).contains("byte for byte"));
    assert!(fault(&columns("midpoint", None)).contains("`solution_image_path` is missing"));
    assert!(fault(&columns("midpoint", Some(b"no picture"))).contains("does not decode"));
}

#[test]
fn questions_in_words_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let [puzzle, _] = pictures();
    let path = dir.path().join("words.parquet");
    let columns = [
        text(&["GSM8K", "MMMU"]),
        text(&["a", "b"]),
        text(&["How many?", "Which?"]),
        inside(&[None, Some(&puzzle)]),
        inside(&[None, None]),
        text(&["72", "C"]),
    ];
    file(&path, WORDS, Compression::SNAPPY, &columns);
    assert_eq!(questions(&path, dir.path(), 0).unwrap().total(), 2);
    let rows = lines(&dir.path().join(TRAIN_SFT));
    assert_eq!(rows[0]["task_group"], TEXT_CENTRIC);
    assert_eq!(rows[0]["images"], serde_json::json!([]));
    let asked = |row: &Value| row["messages"][0]["content"].as_str().unwrap().to_owned();
    assert!(asked(&rows[0]).starts_with("How many?"));
    assert!(asked(&rows[1]).starts_with("<image>Which?"));
    assert_eq!(rows[0]["messages"][1]["content"], "<answer>72</answer>");
    let picture = rows[1]["images"][0].as_str().unwrap();
    assert_eq!(std::fs::read(dir.path().join(picture)).unwrap(), puzzle);
    // A row that comes twice is refused.
    let columns = [
        text(&["MMMU", "MMMU"]),
        text(&["b", "b"]),
        text(&["Which?", "Which?"]),
        inside(&[None, None]),
        inside(&[None, None]),
        text(&["C", "C"]),
    ];
    file(&path, WORDS, Compression::SNAPPY, &columns);
    let fault = questions(&path, dir.path(), 0).unwrap_err().to_string();
    assert!(
        fault.contains("record 2 (b)") && fault.contains("trains twice"),
        "{fault}"
    );
}

fn sample_file(dir: &Path) -> PathBuf {
    let [puzzle, solution] = pictures();
    let path = dir.join("vision.parquet");
    let columns = [
        text(&["midpoint"]),
        Column::Number(vec![7]),
        text(&["Mark it."]),
        inside(&[Some(&puzzle)]),
        inside(&[None]),
        inside(&[Some(&solution)]),
        inside(&[None]),
    ];
    file(&path, BENCHMARK, Compression::SNAPPY, &columns);
    path
}

/// A page of zeros of this size, whose column claims to be a picture.
fn bomb(path: &Path, bytes: usize) {
    let zeros = vec![0_u8; bytes];
    let [puzzle, _] = pictures();
    let columns = [
        text(&["midpoint"]),
        Column::Number(vec![7]),
        text(&["Mark it."]),
        inside(&[Some(&zeros)]),
        inside(&[None]),
        inside(&[Some(&puzzle)]),
        inside(&[None]),
    ];
    file(
        path,
        BENCHMARK,
        Compression::GZIP(Default::default()),
        &columns,
    );
}

#[test]
fn bombs_and_lying_headers_are_refused_before_they_are_unpacked() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bomb.parquet");
    bomb(&path, 80 << 20);
    assert!(path.metadata().unwrap().len() < 1 << 20, "it is no bomb");
    let fault = edits(&path, dir.path()).unwrap_err().to_string();
    assert!(fault.contains("column `image.bytes`"), "{fault}");
    assert!(fault.contains("are allowed"), "{fault}");
    // A table of contents that claims more than there is.
    let whole = std::fs::read(sample_file(dir.path())).unwrap();
    let path = dir.path().join("lying.parquet");
    let mut lying = whole.clone();
    let at = lying.len() - 8;
    lying[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    std::fs::write(&path, &lying).unwrap();
    let fault = edits(&path, dir.path()).unwrap_err().to_string();
    assert!(
        fault.contains("table of contents claims 4294967295 bytes"),
        "{fault}"
    );
    for cut in [0, 3, 8, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let fault = edits(&path, dir.path()).unwrap_err().to_string();
        assert!(fault.contains("lying.parquet"), "{fault}");
    }
    // More rows than a group may have: small in the file, endless to read.
    let many = 1 << 21;
    let columns = [
        Column::Text(1, vec![None; many]),
        Column::Number(vec![7; many]),
        Column::Text(1, vec![None; many]),
        Column::Text(2, vec![None; many]),
        Column::Text(2, vec![None; many]),
        Column::Text(2, vec![None; many]),
        Column::Text(2, vec![None; many]),
    ];
    file(&path, BENCHMARK, Compression::SNAPPY, &columns);
    assert!(path.metadata().unwrap().len() < 1 << 20);
    let fault = edits(&path, dir.path()).unwrap_err().to_string();
    assert!(fault.contains("a row group claims 2097152 rows"), "{fault}");
}

#[test]
fn no_damage_to_a_file_is_more_than_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let whole = std::fs::read(sample_file(dir.path())).unwrap();
    let path = dir.path().join("damaged.parquet");
    // Pages and their headers are at the start, the table of contents at the end.
    let places = (0..120).chain(whole.len() - 480..whole.len());
    let mut refused = 0;
    for (at, flip) in places.zip([1_u8, 0x80, 0xff].into_iter().cycle()) {
        let mut bytes = whole.clone();
        bytes[at] ^= flip;
        std::fs::write(&path, &bytes).unwrap();
        refused += usize::from(edits(&path, dir.path()).is_err());
    }
    assert!(refused > 300, "{refused} of 600");
}
