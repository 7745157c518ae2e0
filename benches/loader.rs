//! Speed of the data loader against PyTorch's, and how fast a large file opens, measured in the same run.
//!
//!     cargo bench -p vtb-bins --bench loader                     # ours alone
//!     cargo bench -p vtb-bins --bench loader -- --python PYTHON  # and a DataLoader, with the ratios
//!     cargo bench -p vtb-bins --bench loader -- --only pictures  # one of pictures, parts, open: for a profiler
//!
//! Pictures: puzzles of 480×480 (PNG) to 448×448, and photo-like ones of 1024×768 (JPEG, quality 90, made by Pillow
//! where PYTHON is given) to 512×384; the sizes are those of the Qwen3-VL processor with at most 448² pixels. Ours runs
//! the whole row on two threads: JSON, template, tokens, picture, normalised patch rows (which hold every pixel twice,
//! once per frame). The DataLoader has two workers and batches of 32, and does the picture alone: read, decode, resize,
//! normalise. "The picture alone" is the same work on our two threads, every pixel once.
//!
//! Seconds are the best of several passes; processor seconds are those of the same pass, all threads and workers
//! together, and say more on a machine with other work.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use vtb_bins::data::Rows;
use vtb_bins::settings::SftRun;
use vtb_data::{
    BatchPlan, BatchSampler, Bucket, GeneratedDataset, ImageOptions, JsonlDataset, LastBatch,
    OpenOptions, Prefetch, PuzzleSpec, RowCheck, RowMode, RowRules, RowSource, image_io,
};
use vtb_models_vlm::encode::RowEncoder;
use vtb_models_vlm::processor::{ImageProcessor, ImageSettings};
use vtb_models_vlm::tiny::TinySpec;
use vtb_trainer::train::RowEncoder as _;

const THREADS: usize = 2;
const BATCH: usize = 32;
const PUZZLES: usize = 256;
const PHOTOS: usize = 128;
const PASSES: usize = 5;
/// Epochs of one of our passes, which would be too short to measure.
const ROUNDS: usize = 4;
const OPEN_ROWS: usize = 100_000;

struct Options {
    python: Option<String>,
    only: Option<String>,
}

fn options() -> Options {
    let args: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = args.iter().position(|a| a == name)?;
        args.get(at + 1).cloned()
    };
    Options {
        python: value("--python"),
        only: value("--only"),
    }
}

fn main() {
    vtb_bins::allocator::keep_freed_pages();
    let options = options();
    let wanted = |name: &str| options.only.as_deref().is_none_or(|only| only == name);
    let dir = tempfile::tempdir().unwrap();
    if wanted("pictures") || wanted("parts") {
        let folders = pictures(dir.path(), options.python.as_deref());
        if wanted("parts") {
            folders.iter().for_each(parts);
        }
        if wanted("pictures") {
            let encoder = encoder(dir.path());
            for folder in &folders {
                compare(folder, &encoder, dir.path(), options.python.as_deref());
            }
        }
    }
    if wanted("open") {
        open(dir.path());
    }
}

/// Pictures of one kind, a training file that names them, and the size they become.
struct Folder {
    name: &'static str,
    path: PathBuf,
    files: Vec<PathBuf>,
    rows: PathBuf,
}

fn pictures(dir: &Path, python: Option<&str>) -> Vec<Folder> {
    let spec = PuzzleSpec {
        task: "color_grid".into(),
        params: json!({"canvas": 480}),
        seed: 1,
        count: PUZZLES,
    };
    let puzzles = GeneratedDataset::new(&spec, RowMode::Sft, &Default::default()).unwrap();
    let folder = dir.join("puzzles");
    std::fs::create_dir(&folder).unwrap();
    for i in 0..puzzles.len() {
        let image = &puzzles
            .row(i)
            .unwrap()
            .load_images(&ImageOptions::default())
            .unwrap()[0];
        image_io::write_png(&folder.join(format!("{i:04}.png")), image).unwrap();
    }
    let photos = dir.join("photos");
    std::fs::create_dir(&photos).unwrap();
    match python {
        Some(python) => {
            reference(
                python,
                &["--make", path(&photos), "--count", &PHOTOS.to_string()],
            );
        }
        None => {
            (0..PHOTOS).for_each(|i| photo(i).save(photos.join(format!("{i:04}.jpg"))).unwrap())
        }
    }
    [("puzzles", folder), ("photos", photos)]
        .map(|(name, folder)| described(name, folder))
        .into()
}

fn described(name: &'static str, folder: PathBuf) -> Folder {
    let listed = std::fs::read_dir(&folder).unwrap();
    let mut files: Vec<PathBuf> = listed.map(|e| e.unwrap().path()).collect();
    files.sort();
    let rows = folder.join("rows.jsonl");
    let line = |file: &PathBuf| row(file.file_name().unwrap().to_str().unwrap()) + "\n";
    std::fs::write(&rows, files.iter().map(line).collect::<String>()).unwrap();
    Folder {
        name,
        path: folder,
        files,
        rows,
    }
}

fn row(picture: &str) -> String {
    let question = "<image>The grid shows colors that follow a rule, and one cell is empty. Which color belongs there? \
                    Reply with the letter of the right option in answer tags.";
    json!({
        "messages": [
            {"role": "user", "content": question},
            {"role": "assistant", "content": "<answer>B</answer>"},
        ],
        "images": [picture], "solution": "B", "task_type": "color_grid", "task_group": "visual_puzzle", "id": picture,
        "options": ["red", "blue", "green", "orange", "purple", "yellow"],
    })
    .to_string()
}

/// A smooth picture with grain.
fn photo(seed: usize) -> RgbImage {
    let mut state = seed as u32 + 1;
    RgbImage::from_fn(1024, 768, |x, y| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = f64::from(state >> 24) / 16.0;
        let wave = |f: f64| 110.0 + 90.0 * (f * f64::from(x + y * 2) + seed as f64).sin();
        Rgb([0.004, 0.007, 0.011].map(|f| (wave(f) + grain) as u8))
    })
}

fn settings() -> ImageSettings {
    ImageSettings {
        max_pixels: 448 * 448,
        ..ImageSettings::default()
    }
}

fn encoder(dir: &Path) -> Arc<RowEncoder> {
    let model = dir.join("model");
    let corpus = [row("a"), row("b")];
    let config = TinySpec::default()
        .write_files(&model, &corpus, 512)
        .unwrap();
    let files = vtb_models_vlm::files::ModelDir::open(&model).unwrap();
    let mut encoder = RowEncoder::from_dir(&files, &config).unwrap();
    encoder.images.settings = settings();
    Arc::new(encoder)
}

/// Passes over all pictures of a folder, each read, decoded, resized and normalised; seconds and processor seconds of
/// one.
fn pictures_alone(files: &[PathBuf]) -> (f64, f64) {
    let once = ImageSettings {
        temporal: 1,
        ..settings()
    };
    let (files, processor) = (files.to_vec(), ImageProcessor::new(once));
    let len = files.len();
    let options = ImageOptions::default();
    timed(len, move |i| {
        let bytes = std::fs::read(&files[i]).unwrap();
        let image = image_io::decode(&bytes, &options).unwrap();
        let (w, h) = (image.width() as usize, image.height() as usize);
        let resized = processor.resize("bench", w, h, &image).unwrap().unwrap();
        processor.patches("bench", &resized).unwrap().values.len()
    })
}

/// Passes over all rows of a folder; seconds and processor seconds of one.
fn pass(rows: &Arc<Rows>, len: usize) -> (f64, f64) {
    let source = Arc::clone(rows);
    timed(len, move |i| {
        source.encode(i).unwrap().images[0].values.len()
    })
}

/// Passes of `work` over `len` things in the order of an epoch, `THREADS` at a time; seconds and processor seconds of
/// one. `work` gives the number of values it made.
fn timed(len: usize, work: impl Fn(usize) -> usize + Send + Sync + 'static) -> (f64, f64) {
    let plan = BatchPlan {
        batch: BATCH,
        bucket: Bucket::None,
        last: LastBatch::Wrap,
    };
    let mut sampler = BatchSampler::new(len, 1, true, plan).unwrap();
    let order = sampler
        .next_batch(len * ROUNDS, |_| Ok::<_, vtb_data::DataError>(Vec::new()))
        .unwrap();
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let work = move |i: usize| Ok::<_, vtb_data::DataError>(work(i));
    let drawn = Prefetch::new(order.into_iter(), THREADS, BATCH, work).unwrap();
    let mut values = 0;
    for row in drawn {
        values += row.unwrap();
    }
    assert!(values > 0);
    let rounds = ROUNDS as f64;
    (
        started.elapsed().as_secs_f64() / rounds,
        (cpu_seconds() - cpu) / rounds,
    )
}

fn best(mut passes: Vec<(f64, f64)>) -> (f64, f64) {
    passes.sort_by(|a, b| a.0.total_cmp(&b.0));
    passes[0]
}

fn compare(folder: &Folder, encoder: &Arc<RowEncoder>, dir: &Path, python: Option<&str>) {
    let count = folder.files.len();
    let data =
        Arc::new(JsonlDataset::open(&folder.rows, &OpenOptions::new(RowRules::sft())).unwrap());
    let plain = Arc::new(Rows::new(data.clone(), encoder.clone()));
    pass(&plain, count);
    let made = best((0..PASSES).map(|_| pass(&plain, count)).collect());
    let alone = best((0..PASSES).map(|_| pictures_alone(&folder.files)).collect());
    let mut section = SftRun::defaults(true).data;
    section.cache_dir = Some(path(&dir.join("cache")).to_owned());
    let rows = Rows::new(data, encoder.clone())
        .configured(&section)
        .unwrap();
    let cached = Arc::new(rows);
    let kept = best((0..PASSES).map(|_| pass(&cached, count)).collect());
    let rate = |(wall, cpu): (f64, f64)| {
        format!(
            "{:7.0} pictures/s {:7.0} per processor second",
            count as f64 / wall,
            count as f64 / cpu
        )
    };
    println!("{} ({count} pictures, {THREADS} threads)", folder.name);
    println!("  ours, the picture alone      {}", rate(alone));
    println!("  ours, whole rows             {}", rate(made));
    println!("  ours, rows from the cache    {}", rate(kept));
    let Some(python) = python else { return };
    let size = ImageProcessor::new(settings());
    let (w, h) = image::image_dimensions(&folder.files[0]).unwrap();
    let (to_h, to_w) = size.settings.resized(h as usize, w as usize).unwrap();
    let theirs = reference(
        python,
        &[
            "--folder",
            path(&folder.path),
            "--size",
            &format!("{to_h}x{to_w}"),
            "--workers",
            &THREADS.to_string(),
            "--batch",
            &BATCH.to_string(),
            "--passes",
            &PASSES.to_string(),
        ],
    );
    for (name, found) in theirs["rates"].as_object().unwrap() {
        let number = |key: &str| found[key].as_f64().unwrap();
        let theirs = (number("seconds"), number("cpu_seconds"));
        println!("  {name:<28} {}", rate(theirs));
        for (what, ours) in [
            ("the picture alone", alone),
            ("whole rows", made),
            ("rows from the cache", kept),
        ] {
            println!(
                "    ours, {what}: {:.2} times the rate, {:.2} per processor second",
                theirs.0 / ours.0,
                theirs.1 / ours.1
            );
        }
    }
    println!("  {}", theirs["versions"]);
}

/// What one thread spends on each part of a picture.
fn parts(folder: &Folder) {
    let options = ImageOptions::default();
    let processor = ImageProcessor::new(settings());
    let bytes: Vec<Vec<u8>> = folder
        .files
        .iter()
        .map(|f| std::fs::read(f).unwrap())
        .collect();
    let mean = bytes.iter().map(Vec::len).sum::<usize>() / bytes.len();
    let time = |name: &str, mut f: Box<dyn FnMut() + '_>| {
        let seconds = (0..PASSES).map(|_| {
            let started = thread_seconds();
            f();
            thread_seconds() - started
        });
        let best = seconds.fold(f64::INFINITY, f64::min);
        println!("  {name:<10} {:.3} ms", 1e3 * best / bytes.len() as f64);
    };
    println!("{}: parts, one thread, {mean} bytes a file", folder.name);
    let read = || {
        folder
            .files
            .iter()
            .for_each(|f| assert!(!std::fs::read(f).unwrap().is_empty()))
    };
    time("read", Box::new(read));
    let decode = || {
        bytes
            .iter()
            .for_each(|b| drop(image_io::decode(b, &options).unwrap()))
    };
    time("decode", Box::new(decode));
    let image = image_io::decode(&bytes[0], &options).unwrap();
    let (w, h) = (image.width() as usize, image.height() as usize);
    let resize = || processor.resize("bench", w, h, &image).unwrap().unwrap();
    time(
        "resize",
        Box::new(|| bytes.iter().for_each(|_| drop(resize()))),
    );
    let resized = resize();
    time(
        "patches",
        Box::new(|| {
            bytes
                .iter()
                .for_each(|_| drop(processor.patches("bench", &resized).unwrap()))
        }),
    );
}

/// How long a file of 100,000 rows takes from its name to its first batch.
fn open(dir: &Path) {
    let folder = dir.join("open");
    std::fs::create_dir_all(folder.join("pictures")).unwrap();
    let names: Vec<String> = (0..1000).map(|i| format!("pictures/{i:04}.png")).collect();
    let bytes = image_io::encode_png(&RgbImage::new(64, 64)).unwrap();
    names
        .iter()
        .for_each(|name| std::fs::write(folder.join(name), &bytes).unwrap());
    let file = folder.join("train.jsonl");
    let text: String = (0..OPEN_ROWS)
        .map(|i| row(&names[i % names.len()]) + "\n")
        .collect();
    std::fs::write(&file, &text).unwrap();
    println!("open: {OPEN_ROWS} rows, {:.1} MB", text.len() as f64 / 1e6);
    drop(text);
    for (name, check) in [
        ("background", RowCheck::Background),
        ("full", RowCheck::Full),
    ] {
        for cold in [true, false] {
            let mut options = OpenOptions::new(RowRules::sft());
            options.check = check;
            let runs = (0..3).map(|_| {
                if cold {
                    forget(&file);
                }
                let started = Instant::now();
                let data = Arc::new(JsonlDataset::open(&file, &options).unwrap());
                let opened = started.elapsed().as_secs_f64();
                let plan = BatchPlan {
                    batch: BATCH,
                    bucket: Bucket::None,
                    last: LastBatch::Wrap,
                };
                let mut sampler = BatchSampler::new(data.len(), 1, true, plan).unwrap();
                let rows = sampler.next_batch(BATCH, |_| Ok::<_, vtb_data::DataError>(Vec::new()));
                let source = data.clone();
                let load = move |i: usize| source.row(i)?.load_images(&ImageOptions::default());
                let batch = Prefetch::new(rows.unwrap().into_iter(), THREADS, BATCH, load).unwrap();
                assert_eq!(batch.map(Result::unwrap).count(), BATCH);
                let first = started.elapsed().as_secs_f64();
                while !data.is_checked() {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                (opened, first, started.elapsed().as_secs_f64())
            });
            let (opened, first, checked) = runs.min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            let how = if cold { "cold" } else { "warm" };
            println!(
                "  {name:<10} {how}  open {opened:.3} s  first batch {first:.3} s  all rows checked {checked:.3} s"
            );
        }
    }
}

/// Makes the system forget the file's content, so that it comes from the disk.
fn forget(file: &Path) {
    let of = format!("of={}", path(file));
    let done = Command::new("dd")
        .args([
            &of,
            "oflag=nocache",
            "conv=notrunc,fdatasync",
            "count=0",
            "status=none",
        ])
        .status();
    assert!(done.unwrap().success());
}

fn reference(python: &str, args: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../benches/reference/bench_loader_reference.py");
    let output = Command::new(python)
        .arg(script)
        .args(args)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Processor time of this process, threads that ended included, to a hundredth of a second; Linux only.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// Processor time of this thread, exactly.
fn thread_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split(' ').next().unwrap().parse::<f64>().unwrap() / 1e9
}
