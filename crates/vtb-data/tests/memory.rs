//! Memory stays bounded, whatever a file holds and however long it is read. One test, since memory is that of the whole
//! process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;

use image::{Rgb, RgbImage};
use serde_json::json;
use vtb_data::image_io::{self, encode_png};
use vtb_data::{
    BatchPlan, BatchSampler, Bucket, DataError, ImageOptions, ImageRef, JsonlDataset, LastBatch,
    OpenOptions, PictureCache, Prefetch, RowCheck, RowRules, RowSource,
};

const MIB: u64 = 1 << 20;

/// A line of `/proc/self/status` in bytes.
fn status(field: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|l| l.starts_with(field)).unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        * 1024
}

/// How much `work` raises the highest memory the process ever had.
fn peak_of(work: impl FnOnce()) -> u64 {
    let before = status("VmHWM");
    work();
    status("VmHWM") - before
}

#[test]
fn memory_is_bounded_and_flat() {
    let dir = tempfile::tempdir().unwrap();
    a_line_of_a_gigabyte(dir.path());
    pictures_that_inflate();
    epochs_leave_nothing_behind(dir.path());
}

fn line(picture: &str, row: usize) -> String {
    json!({
        "messages": [
            {"role": "user", "content": format!("<image>{}", "word ".repeat(row % 50))},
            {"role": "assistant", "content": "A"},
        ],
        "images": [picture],
    })
    .to_string()
}

fn a_line_of_a_gigabyte(dir: &Path) {
    let picture = encode_png(&RgbImage::new(4, 4)).unwrap();
    fs::write(dir.join("a.png"), picture).unwrap();
    let path = dir.join("long.jsonl");
    let mut file = File::create(&path).unwrap();
    writeln!(file, "{}", line("a.png", 1)).unwrap();
    // A hole of zeros: it takes no disk.
    file.seek(SeekFrom::Current(1 << 30)).unwrap();
    write!(file, "x\n{}\n", line("a.png", 2)).unwrap();
    drop(file);
    let peak = peak_of(|| {
        let mut options = OpenOptions::new(RowRules::sft());
        options.check = RowCheck::Background;
        let text = JsonlDataset::open(&path, &options).unwrap_err().to_string();
        let wanted = "long.jsonl:2: the line is longer than 33554432 bytes";
        assert!(text.ends_with(wanted), "{text}");
        let mut lenient = OpenOptions::new(RowRules::sft());
        lenient.max_bad_rows = 1;
        assert_eq!(JsonlDataset::open(&path, &lenient).unwrap().len(), 2);
    });
    assert!(
        peak < 64 * MIB,
        "{} MiB for a line of a gigabyte",
        peak / MIB
    );
    fs::remove_file(&path).unwrap();
}

/// A zlib stream of `bytes` zeros, about 1/160 of their size: matches of 258 bytes in the fixed code.
fn bomb(bytes: u64) -> Vec<u8> {
    let (mut out, mut bits, mut held) = (vec![0x78, 0x01], 0u64, 0);
    let mut put = |out: &mut Vec<u8>, value: u64, count: u32| {
        bits |= value << held;
        held += count;
        while held >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            held -= 8;
        }
    };
    // Last block, fixed code; a zero as a literal; then length 258 (code 285) at distance 1. Codes run from their
    // highest bit.
    put(&mut out, 0b011, 3);
    put(&mut out, u64::from(0b0011_0000u8.reverse_bits()), 8);
    for _ in 0..bytes / 258 {
        put(&mut out, u64::from(0b1100_0101u8.reverse_bits()), 8);
        put(&mut out, 0, 5);
    }
    put(&mut out, 0, 7);
    put(&mut out, 0, 16);
    out
}

fn chunk(png: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) {
    png.extend((data.len() as u32).to_be_bytes());
    let from = png.len();
    png.extend(kind);
    png.extend(data);
    let table: Vec<u32> = (0..256u32)
        .map(|i| (0..8).fold(i, |c, _| (c >> 1) ^ (0xedb8_8320 & (c & 1).wrapping_neg())))
        .collect();
    let step = |crc: u32, b: &u8| table[((crc ^ u32::from(*b)) & 255) as usize] ^ (crc >> 8);
    let crc = !png[from..].iter().fold(!0, step);
    png.extend(crc.to_be_bytes());
}

fn png(width: u32, height: u32, chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    chunk(&mut png, b"IHDR", &header);
    for (kind, data) in chunks {
        chunk(&mut png, kind, data);
    }
    chunk(&mut png, b"IEND", b"");
    png
}

fn pictures_that_inflate() {
    let options = ImageOptions::default();
    let load = |bytes: Vec<u8>| image_io::load(&ImageRef::Encoded(bytes.into()), &options);
    let stream = bomb(512 * MIB);
    let profile = [b"x\0\0".as_slice(), &stream].concat();
    let small = bomb(16 * 49 + 600);
    assert!(
        load(png(16, 16, &[(b"IDAT", &small)])).is_ok(),
        "the stream means nothing"
    );
    let peak = peak_of(|| {
        // More pixels than the header says; a colour profile and a text that inflate. They may be refused or cut.
        let _ = load(png(16, 16, &[(b"IDAT", &stream)]));
        let _ = load(png(16, 16, &[(b"iCCP", &profile), (b"IDAT", &small)]));
        let _ = load(png(16, 16, &[(b"zTXt", &profile), (b"IDAT", &small)]));
        // 16 384 x 16 384 would be 768 MiB of pixels.
        let error = load(png(16_384, 16_384, &[(b"IDAT", &stream)])).unwrap_err();
        assert!(error.to_string().contains("more than"), "{error}");
    });
    assert!(peak < 64 * MIB, "{} MiB for small pictures", peak / MIB);
}

/// Thousands of rows and hundreds of megabytes of pixels go by in each epoch.
fn epochs_leave_nothing_behind(dir: &Path) {
    const ROWS: usize = 3000;
    for i in 0..20u8 {
        let image = RgbImage::from_fn(200, 200, |x, y| Rgb([i, (x / 9) as u8, (y / 7) as u8]));
        fs::write(dir.join(format!("{i}.png")), encode_png(&image).unwrap()).unwrap();
    }
    let path = dir.join("train.jsonl");
    let lines = (0..ROWS).map(|i| line(&format!("{}.png", i % 20), i) + "\n");
    fs::write(&path, lines.collect::<String>()).unwrap();
    let mut options = OpenOptions::new(RowRules::sft());
    options.check = RowCheck::Background;
    let data = Arc::new(JsonlDataset::open(&path, &options).unwrap());
    let cache = PictureCache::open(&dir.join("cache"), 64 * MIB).unwrap();
    let source = data.clone();
    let work = move |index: usize| {
        let row = source.row(index)?;
        let key = vtb_data::picture_cache::CacheKey::new(&[(index % 3) as u8], "half");
        let make = || {
            Ok::<_, DataError>(
                row.load_images(&ImageOptions::default())?[0]
                    .as_ref()
                    .clone(),
            )
        };
        match index % 8 {
            0 => cache.get_or_make(key, make),
            _ => make(),
        }
    };
    let plan = BatchPlan {
        batch: 16,
        bucket: Bucket::Length,
        last: LastBatch::Ragged,
    };
    let mut sampler = BatchSampler::new(ROWS, 3, true, plan).unwrap();
    let sizes = |rows: &[usize]| Ok::<_, DataError>(rows.iter().map(|i| *i as u64 % 50).collect());
    let order = std::iter::from_fn(move || sampler.next_batch(16, sizes).ok()).flatten();
    let mut rows = Prefetch::new(order, 2, 16, work).unwrap();
    let mut marks = Vec::new();
    for quarter in 0..8 {
        let pixels: usize = rows.by_ref().take(ROWS / 4).map(|r| r.unwrap().len()).sum();
        assert_eq!(pixels, ROWS / 4 * 200 * 200 * 3);
        // The first quarter fills caches and pools.
        if quarter > 0 {
            marks.push(status("VmRSS"));
        }
    }
    let (first, last) = (marks[0], marks[marks.len() - 1]);
    let grown = last.saturating_sub(first);
    // 600 MiB of pixels went by in between.
    assert!(grown < 8 * MIB, "grew by {} KiB: {marks:?}", grown / 1024);
    let whole = marks.iter().max().unwrap();
    assert!(*whole < 256 * MIB, "{} MiB at most", whole / MIB);
}
