//! Training files as users bring them: good, damaged, moved, changed.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use proptest::prelude::*;
use serde_json::json;
use tempfile::TempDir;
use vtb_data::image_io::encode_png;
use vtb_data::{
    DataError, ImageCheck, ImageOptions, JsonlDataset, OpenOptions, Prefetch, RowRules, RowSource,
    Sampler,
};

fn picture(shade: u8) -> RgbImage {
    RgbImage::from_pixel(6, 4, Rgb([shade, 0, 255 - shade]))
}

fn line(i: usize) -> String {
    json!({
        "messages": [
            {"role": "user", "content": "<image> Which?"}, {"role": "assistant", "content": "A"},
        ],
        "images": [format!("pics/{i}.png")], "solution": "A", "id": format!("row-{i}"),
    })
    .to_string()
}

/// `rows` lines and their pictures; returns the directory and the file.
fn folder(rows: usize) -> (TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("pics")).unwrap();
    for i in 0..rows {
        let bytes = encode_png(&picture(i as u8)).unwrap();
        fs::write(dir.path().join(format!("pics/{i}.png")), bytes).unwrap();
    }
    let file = dir.path().join("train.jsonl");
    fs::write(&file, (0..rows).map(|i| line(i) + "\n").collect::<String>()).unwrap();
    (dir, file)
}

fn sft() -> OpenOptions {
    OpenOptions::new(RowRules::sft())
}

fn lenient(max_bad_rows: usize) -> OpenOptions {
    OpenOptions {
        max_bad_rows,
        ..sft()
    }
}

fn open_error(file: &Path, options: &OpenOptions) -> String {
    JsonlDataset::open(file, options).unwrap_err().to_string()
}

#[test]
fn rows_come_by_number_with_their_pictures() {
    let (_dir, file) = folder(30);
    let data = JsonlDataset::open(&file, &sft()).unwrap();
    assert_eq!(data.len(), 30);
    for i in [29, 0, 13] {
        let row = data.row(i).unwrap();
        assert_eq!(row.id.as_deref(), Some(format!("row-{i}").as_str()));
        assert_eq!(row.origin.line, i as u64 + 1);
        let images = row.load_images(&ImageOptions::default()).unwrap();
        assert_eq!(*images[0], picture(i as u8));
    }
    assert!(
        data.row(30)
            .unwrap_err()
            .to_string()
            .contains("row 30 was asked for")
    );
}

#[test]
fn blank_lines_windows_ends_and_a_byte_order_mark_change_nothing() {
    let (_dir, file) = folder(2);
    fs::write(
        &file,
        format!("\u{feff}{}\r\n\r\n   \n{}", line(0), line(1)),
    )
    .unwrap();
    let data = JsonlDataset::open(&file, &sft()).unwrap();
    assert_eq!(data.len(), 2);
    assert_eq!(data.row(0).unwrap().id.as_deref(), Some("row-0"));
    assert_eq!(data.row(1).unwrap().origin.line, 4);
}

#[test]
fn strict_names_file_line_and_field() {
    let (_dir, file) = folder(3);
    let cut = &line(2)[..40];
    fs::write(&file, format!("{}\n{}\n{cut}", line(0), line(1))).unwrap();
    let text = open_error(&file, &sft());
    assert!(
        text.starts_with(&format!("{}:3: not a JSON object", file.display())),
        "{text}"
    );
    assert!(!text.contains('\n'));

    fs::write(&file, line(0).replace("\"user\"", "\"human\"")).unwrap();
    let text = open_error(&file, &sft());
    assert!(
        text.contains("train.jsonl:1: field `messages[0].role` must be one of"),
        "{text}"
    );
}

#[test]
fn missing_and_broken_pictures_are_named_by_row() {
    let (dir, file) = folder(3);
    fs::remove_file(dir.path().join("pics/1.png")).unwrap();
    let text = open_error(&file, &sft());
    assert!(text.contains("train.jsonl:2: image 1 ("), "{text}");
    assert!(
        text.contains("pics/1.png): cannot be read: No such file"),
        "{text}"
    );

    let whole = encode_png(&picture(1)).unwrap();
    fs::write(dir.path().join("pics/1.png"), &whole[..whole.len() / 2]).unwrap();
    let data = JsonlDataset::open(&file, &sft()).unwrap();
    let text = data
        .row(1)
        .unwrap()
        .load_images(&ImageOptions::default())
        .unwrap_err()
        .to_string();
    assert!(text.contains("train.jsonl:2: image 1 ("), "{text}");
    assert!(text.contains("does not decode"), "{text}");
    let decode = OpenOptions {
        image_check: ImageCheck::Decode,
        ..sft()
    };
    assert!(open_error(&file, &decode).contains("train.jsonl:2: image 1 ("));

    fs::write(dir.path().join("pics/1.png"), b"no picture").unwrap();
    let header = OpenOptions {
        image_check: ImageCheck::Header,
        ..sft()
    };
    assert!(open_error(&file, &header).contains("pics/1.png): does not decode"));
    fs::remove_file(dir.path().join("pics/1.png")).unwrap();
    fs::create_dir(dir.path().join("pics/1.png")).unwrap();
    assert!(open_error(&file, &sft()).contains("pics/1.png): cannot be read: not a file"));
}

#[test]
fn pictures_can_be_confined_to_a_directory() {
    let (dir, file) = folder(1);
    fs::write(
        dir.path().join("secret.png"),
        encode_png(&picture(9)).unwrap(),
    )
    .unwrap();
    let images = ImageOptions {
        root: Some(dir.path().join("pics")),
        ..Default::default()
    };
    let confined = OpenOptions { images, ..sft() };
    assert!(JsonlDataset::open(&file, &confined).is_ok());
    for path in ["pics/../secret.png", "secret.png"] {
        fs::write(&file, line(0).replace("pics/0.png", path)).unwrap();
        assert!(
            open_error(&file, &confined).contains("lies outside"),
            "{path}"
        );
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../secret.png", dir.path().join("pics/link.png")).unwrap();
        fs::write(&file, line(0).replace("pics/0.png", "pics/link.png")).unwrap();
        assert!(open_error(&file, &confined).contains("lies outside"));
    }
}

#[test]
fn lenient_leaves_out_counts_and_stops_at_its_limit() {
    let (_dir, file) = folder(5);
    let text = format!("{}\nrubbish\n{}\n{{}}\n{}\n", line(0), line(2), line(4));
    fs::write(&file, text).unwrap();
    let data = JsonlDataset::open(&file, &lenient(2)).unwrap();
    assert_eq!(data.len(), 3);
    assert_eq!(data.row(1).unwrap().id.as_deref(), Some("row-2"));
    let bad: Vec<String> = data.bad_rows().iter().map(ToString::to_string).collect();
    assert!(bad[0].contains(":2: not a JSON object") && bad[1].contains(":4: field `messages`"));
    let text = open_error(&file, &lenient(1));
    assert!(
        text.contains("2 of 4 rows are unusable and 1 are allowed"),
        "{text}"
    );
    assert!(text.contains(":2: not a JSON object"), "{text}");
}

#[test]
fn an_over_long_line_is_refused_and_never_held() {
    let (_dir, file) = folder(2);
    let long = "x".repeat(3000);
    fs::write(&file, format!("{}\n{long}\n{}", line(0), line(1))).unwrap();
    let rules = RowRules {
        max_line_bytes: 1000,
        ..RowRules::sft()
    };
    let strict = OpenOptions::new(rules);
    assert!(open_error(&file, &strict).ends_with(":2: the line is longer than 1000 bytes"));
    let lenient = OpenOptions {
        max_bad_rows: 1,
        ..strict
    };
    assert_eq!(JsonlDataset::open(&file, &lenient).unwrap().len(), 2);
}

#[test]
fn empty_and_absent_files_say_so() {
    let (dir, file) = folder(0);
    assert!(open_error(&file, &sft()).ends_with("the data set is empty (it has no rows)"));
    fs::write(&file, "rubbish\n").unwrap();
    assert!(open_error(&file, &lenient(5)).ends_with("is empty (no row is usable)"));
    let absent = dir.path().join("absent.jsonl");
    assert!(open_error(&absent, &sft()).contains("absent.jsonl: cannot open: No such file"));
    assert!(open_error(dir.path(), &sft()).contains("cannot open"));
}

#[test]
fn the_fingerprint_follows_the_content() {
    let (_dir, file) = folder(4);
    let print = |options: &OpenOptions| JsonlDataset::open(&file, options).unwrap().fingerprint();
    let before = print(&sft());
    assert_eq!(before, print(&lenient(3)));
    assert_eq!(
        (before.rows, before.bytes),
        (4, fs::metadata(&file).unwrap().len())
    );
    let changed = fs::read_to_string(&file)
        .unwrap()
        .replacen("\"A\"", "\"B\"", 1);
    fs::write(&file, changed).unwrap();
    let after = print(&sft());
    assert_eq!(before.bytes, after.bytes);
    assert_ne!(before.sha256, after.sha256);
}

#[test]
fn a_row_that_changes_under_a_run_is_an_error_not_a_panic() {
    let (_dir, file) = folder(3);
    let data = JsonlDataset::open(&file, &sft()).unwrap();
    fs::write(&file, "short").unwrap();
    assert!(matches!(data.row(2), Err(DataError::Io { .. })));
}

#[test]
fn sampler_prefetch_and_file_work_together() {
    let (_dir, file) = folder(12);
    let data = std::sync::Arc::new(JsonlDataset::open(&file, &sft()).unwrap());
    let order: Vec<usize> = Sampler::new(data.len(), 5, true)
        .unwrap()
        .take(24)
        .collect();
    let source = data.clone();
    let load = move |i: usize| {
        let row = source.row(i)?;
        row.load_images(&ImageOptions::default())?;
        Ok(row.id)
    };
    let sampler = Sampler::new(data.len(), 5, true).unwrap();
    let rows = Prefetch::new(sampler, 3, 4, load).unwrap().take(24);
    let ids: Vec<String> = rows.map(|id| id.unwrap().unwrap()).collect();
    let wanted: Vec<String> = order.iter().map(|i| format!("row-{i}")).collect();
    assert_eq!(ids, wanted);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the file holds, it opens or says why, and what opened can be read.
    #[test]
    fn arbitrary_files_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400), good in 0usize..3,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("t.jsonl");
        let mut content = format!("{}\n", line(0)).repeat(good).into_bytes();
        content.extend(&bytes);
        fs::write(&file, content).unwrap();
        let options = OpenOptions { image_check: ImageCheck::None, ..lenient(1000) };
        if let Ok(data) = JsonlDataset::open(&file, &options) {
            for i in 0..data.len() {
                prop_assert!(data.row(i).is_ok());
            }
        }
    }
}
