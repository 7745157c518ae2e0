//! Training files and pictures that are damaged, hostile or somewhere else: each is an error that says where and what,
//! within bounded memory.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use serde_json::json;
use tempfile::TempDir;
use vtb_data::image_io::{self, encode_png};
use vtb_data::{
    DataError, ImageFault, ImageOptions, ImageRef, JsonlDataset, OpenOptions, RowCheck, RowRules,
    RowSource,
};

fn line(picture: &str) -> String {
    json!({
        "messages": [
            {"role": "user", "content": "<image>?"}, {"role": "assistant", "content": "A"},
        ],
        "images": [picture],
    })
    .to_string()
}

/// A folder with one picture and a file of `lines`.
fn folder(lines: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let picture = RgbImage::from_pixel(8, 6, Rgb([1, 2, 3]));
    fs::write(dir.path().join("a.png"), encode_png(&picture).unwrap()).unwrap();
    let file = dir.path().join("train.jsonl");
    fs::write(&file, lines).unwrap();
    (dir, file)
}

fn options(check: RowCheck) -> OpenOptions {
    OpenOptions {
        check,
        ..OpenOptions::new(RowRules::sft())
    }
}

/// Every fault is found when the file opens, with both ways of checking: small files are checked whole.
#[track_caller]
fn refused(lines: &[u8], parts: &[&str]) {
    let (_dir, file) = folder(lines);
    for check in [RowCheck::Full, RowCheck::Background] {
        let text = JsonlDataset::open(&file, &options(check))
            .unwrap_err()
            .to_string();
        assert!(!text.contains('\n'), "{text}");
        for part in parts {
            assert!(text.contains(part), "`{part}` is not in: {text}");
        }
    }
}

#[test]
fn lines_that_are_no_rows() {
    let good = line("a.png");
    let second = |text: &[u8]| [good.as_bytes(), b"\n", text, b"\n", good.as_bytes()].concat();
    refused(
        &good.as_bytes()[..good.len() - 9],
        &["train.jsonl:1: not a JSON object: EOF"],
    );
    refused(
        &second(&good.as_bytes()[..30]),
        &["train.jsonl:2: not a JSON object: EOF", "column 30"],
    );
    let mut bad = good.clone().into_bytes();
    let at = good.find('?').unwrap();
    bad[at] = 0xff;
    refused(&second(&bad), &["train.jsonl:2", "invalid unicode"]);
    let twice = good.replacen('{', "{\"images\": [], ", 1);
    refused(
        &second(twice.as_bytes()),
        &["train.jsonl:2", "the key \"images\" stands twice"],
    );
    refused(&second(b"\0\0\0"), &["train.jsonl:2", "not a JSON object"]);
    let deep = format!("{{\"messages\": {}", "[".repeat(100_000));
    refused(&second(deep.as_bytes()), &["train.jsonl:2", "recursion"]);
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    refused(&utf16, &["train.jsonl:1", "not a JSON object"]);
}

/// 1,000 rows, of which `bad` are broken.
fn many(bad: &[usize]) -> String {
    let row = |i: usize| match bad.contains(&i) {
        true => "{\"messages\": 7}\n".to_owned(),
        false => line("a.png") + "\n",
    };
    (0..1000).map(row).collect()
}

#[test]
fn a_row_nobody_checked_is_never_handed_out() {
    // 256 rows are looked at when the file opens, the last among them.
    let (_dir, file) = folder(many(&[999]).as_bytes());
    let text = JsonlDataset::open(&file, &options(RowCheck::Background)).unwrap_err();
    assert!(
        text.to_string()
            .contains("train.jsonl:1000: field `messages`")
    );

    let (_dir, file) = folder(many(&[503]).as_bytes());
    let data = JsonlDataset::open(&file, &options(RowCheck::Background)).unwrap();
    assert_eq!(data.len(), 1000);
    // Drawn before or after it is found, it is the error and not the row.
    let text = data.row(503).unwrap_err().to_string();
    assert!(text.contains("train.jsonl:504: field `messages`"), "{text}");
    while !data.is_checked() {
        std::thread::yield_now();
    }
    // Once found it ends the run, whichever row is drawn.
    let text = data.row(3).unwrap_err().to_string();
    assert!(text.contains("train.jsonl:504: field `messages`"), "{text}");
    let full = JsonlDataset::open(&file, &options(RowCheck::Full)).unwrap_err();
    assert_eq!(full.to_string(), text);
}

#[test]
fn a_file_opens_the_same_whichever_way_it_is_checked() {
    let (_dir, file) = folder(many(&[]).as_bytes());
    let full = JsonlDataset::open(&file, &options(RowCheck::Full)).unwrap();
    let lazy = JsonlDataset::open(&file, &options(RowCheck::Background)).unwrap();
    assert_eq!(full.fingerprint(), lazy.fingerprint());
    for i in [0, 400, 999] {
        assert_eq!(full.row(i).unwrap(), lazy.row(i).unwrap());
    }
    while !lazy.is_checked() {
        std::thread::yield_now();
    }
    assert!(lazy.row(7).is_ok());
    // Leaving rows out needs to know which: every row is checked at once.
    fs::write(&file, many(&[3, 700])).unwrap();
    let mut lenient = options(RowCheck::Background);
    lenient.max_bad_rows = 2;
    let lenient = JsonlDataset::open(&file, &lenient).unwrap();
    assert_eq!((lenient.len(), lenient.bad_rows().len()), (998, 2));
}

#[test]
fn a_row_that_is_another_one_now_is_told() {
    let (_dir, file) = folder((line("a.png") + "\n" + &line("a.png")).as_bytes());
    let data = JsonlDataset::open(&file, &options(RowCheck::Full)).unwrap();
    let changed = fs::read_to_string(&file).unwrap().replace("\"A\"", "\"B\"");
    fs::write(&file, changed).unwrap();
    let error = data.row(1).unwrap_err();
    assert!(matches!(error, DataError::RowChanged { .. }));
    assert!(error.to_string().contains("train.jsonl:2: the row changed"));
}

/// What a row may name, without a root and with one.
#[test]
fn paths_out_of_the_root() {
    let (dir, file) = folder(b"");
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.png");
    fs::copy(dir.path().join("a.png"), &secret).unwrap();
    fs::create_dir(dir.path().join("sub")).unwrap();
    let up = format!("sub/../../{}/secret.png", name(outside.path()));
    let mut places = vec![
        ("a.png", false),
        ("sub/../a.png", false),
        (up.as_str(), true),
    ];
    let absolute = secret.to_str().unwrap().to_owned();
    places.push((&absolute, true));
    let own = dir.path().join("a.png").to_str().unwrap().to_owned();
    places.push((&own, false));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&secret, dir.path().join("link.png")).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("folder")).unwrap();
        places.extend([("link.png", true), ("folder/secret.png", true)]);
    }
    for (place, leaves) in places {
        fs::write(&file, line(place)).unwrap();
        assert!(
            JsonlDataset::open(&file, &options(RowCheck::Full)).is_ok(),
            "{place}"
        );
        let mut confined = options(RowCheck::Full);
        confined.images.root = Some(dir.path().to_owned());
        match JsonlDataset::open(&file, &confined) {
            Ok(_) => assert!(!leaves, "{place}"),
            Err(error) => {
                assert!(leaves, "{place}: {error}");
                let text = error.to_string();
                assert!(text.contains("train.jsonl:1: image 1") && text.contains("lies outside"));
            }
        }
    }
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn decode(bytes: &[u8], options: &ImageOptions) -> Result<(), ImageFault> {
    let image = ImageRef::Encoded(bytes.into());
    let header = image_io::dimensions(&image, options).map(drop);
    let whole = image_io::load(&image, options).map(drop);
    // What the header shows is told before anything is decoded.
    header.and(whole)
}

#[test]
fn pictures_that_claim_to_be_huge() {
    let png = encode_png(&RgbImage::new(4, 4)).unwrap();
    for (width, height) in [(60_000u32, 60_000u32), (16_000, 16_000), (u32::MAX >> 1, 1)] {
        let mut huge = png.clone();
        huge[16..20].copy_from_slice(&width.to_be_bytes());
        huge[20..24].copy_from_slice(&height.to_be_bytes());
        let sum = crc32(&huge[12..29]);
        huge[29..33].copy_from_slice(&sum.to_be_bytes());
        let error = decode(&huge, &ImageOptions::default()).unwrap_err();
        assert!(matches!(error, ImageFault::TooLarge(_)), "{error}");
    }
    // A JPEG's size stands in its frame header.
    let mut jpeg = Vec::new();
    let format = image::ImageFormat::Jpeg;
    RgbImage::new(8, 8)
        .write_to(&mut std::io::Cursor::new(&mut jpeg), format)
        .unwrap();
    let frame = jpeg.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xff, 0xff, 0xff]);
    let error = decode(&jpeg, &ImageOptions::default()).unwrap_err();
    assert!(matches!(error, ImageFault::TooLarge(_)), "{error}");
}

#[test]
fn a_file_above_the_limit_is_not_read() {
    let (dir, _file) = folder(b"");
    let path = dir.path().join("a.png");
    let options = ImageOptions {
        max_file_bytes: 20,
        ..ImageOptions::default()
    };
    let image = ImageRef::Path(path);
    let error = image_io::load(&image, &options).unwrap_err();
    assert!(
        matches!(error, ImageFault::FileTooLarge { limit: 20, .. }),
        "{error}"
    );
    assert!(image_io::encoded(&image, &options).is_err());
}

/// CRC-32 of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |mut crc, byte| {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
        crc
    })
}
