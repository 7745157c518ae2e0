//! Speed of making and judging puzzles, beside the Python projects that people use today.
//!
//!     cargo bench -p vtb-data --bench generate                    # the tables of docs/benchmarks.md
//!     cargo bench -p vtb-data --bench generate -- 500             # records of each task, instead of 200
//!     cargo bench -p vtb-data --bench generate -- judge           # or pictures, clips, workers, parts
//!     cargo bench -p vtb-data --bench generate -- parts parallel  # these tasks only
//!     cargo bench -p vtb-data --bench generate -- --python PYTHON --checkout VTB-TRAINING
//!
//! Pictures as large as those the Python projects make. The numbers of those projects are puzzles
//! per second of processor time, measured once on a machine with two cores (EPYC, AVX-512); the
//! last form measures them again in the same run. Ours are per second of processor time as well,
//! of user and system, in the best of several runs; but for the gain by a second worker, which
//! takes a clock and an idle machine.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark")]

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::io::Cursor;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use image::imageops::{FilterType, resize};
use rustix::time::{ClockId, clock_gettime};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use vtb_data::generate::{ClipSettings, Plan, Request, generate};
use vtb_puzzle::{
    Layer, PictureJudge, Puzzle, Record, TaskGroup, encode_png, find, record_seed, registry,
};

/// That of the programs.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Prints one table, of so many records of each task.
type Table = fn(u64);

/// Each measurement is the best of this many.
const REPEATS: usize = 5;
/// Mixture for the comparison of one worker with two: one task of each kind of drawing.
const MIX: [&str; 6] = [
    "midpoint",
    "orthocenter",
    "maze_square",
    "maze_labyrinth",
    "sudoku",
    "color_grid",
];

/// Freed pages are kept for as long as the programs keep them (`bins/src/allocator.rs`).
fn keep_freed_pages() {
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: the call takes two numbers, may be made at any time, and ignores options it does not know.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, 5_000) };
}

fn main() {
    keep_freed_pages();
    let count = std::env::args().filter_map(|arg| arg.parse().ok()).next();
    let count: u64 = count.unwrap_or(200);
    let named = |part: &str| std::env::args().any(|arg| arg == part);
    let parts: [(&str, Table); 5] = [
        ("pictures", pictures),
        ("clips", clips),
        ("judge", judge),
        ("workers", workers),
        ("parts", parts),
    ];
    let all = !parts.iter().any(|(name, _)| named(name));
    for (name, table) in parts {
        if all || named(name) {
            table(count);
        }
    }
}

/// The tasks named on the command line; all where none is.
fn chosen() -> Vec<&'static dyn Puzzle> {
    let named = |task: &&'static dyn Puzzle| std::env::args().any(|arg| arg == task.info().name);
    let some: Vec<_> = registry().iter().copied().filter(named).collect();
    match some.is_empty() {
        true => registry().to_vec(),
        false => some,
    }
}

/// Parameters that give pictures like upstream's: its sizes of pictures, mazes and walls.
fn params(task: &str) -> Value {
    match task {
        "color_grid" => json!({"canvas": 480}),
        // Upstream prints no numbers into cells.
        "maze_square" => json!({"print_ids": false}),
        "maze_hexagon" => json!({
            "width": 480, "height": 543, "cell": 24, "wall": 6, "print_ids": false,
        }),
        "mirror" => json!({"width": 384, "height": 288}),
        "rects" => json!({"width": 384, "height": 384}),
        "sudoku" => json!({"width": 360, "height": 360}),
        // 18 and 6 there; ours leaves the innermost ring more room.
        "maze_labyrinth" => json!({
            "width": 480, "height": 480, "rings": 6, "segments": 18, "ring_width": 20, "wall": 4,
            "print_ids": false,
        }),
        _ => json!({"width": 480, "height": 480}),
    }
}

/// Puzzle and solution as PNG, puzzles per second; where only a range is known, its middle.
fn upstream_pictures(task: &dyn Puzzle) -> Option<f64> {
    Some(match task.info().name {
        "ray" => 85.0,
        "parallelogram" => 82.0,
        "triangle_center" => 78.0,
        "arc_connect" => 71.0,
        "parallel" => 30.0,
        "maze_square" => 363.0,
        "maze_hexagon" | "maze_labyrinth" => 71.0,
        "mirror" => 288.0,
        "rects" => 242.0,
        "sudoku" => 121.0,
        "circle_count" => 89.0,
        "arcagi" => 43.0,
        _ if task.info().group == TaskGroup::Eyeballing => 107.0,
        _ => return None,
    })
}

/// With a clip: task, upstream's frames, puzzles per second.
const UPSTREAM_CLIPS: [(&str, usize, f64); 8] = [
    ("maze_square", 223, 0.88),
    ("maze_hexagon", 223, 0.19),
    ("maze_labyrinth", 223, 0.16),
    ("circle_center", 70, 2.3),
    ("midpoint", 70, 1.8),
    ("parallel", 70, 1.5),
    ("angle_bisector", 70, 1.35),
    ("ray_reflect", 100, 1.1),
];

/// Solution pictures judged, per second.
fn upstream_judge(task: &dyn Puzzle) -> Option<f64> {
    match (task.info().name, task.info().group) {
        ("maze_square", _) => Some(104.0),
        ("maze_hexagon", _) => Some(55.0),
        ("maze_labyrinth", _) => Some(73.0),
        // Only finds the middle of what is red.
        (_, TaskGroup::Eyeballing) => Some(339.0),
        _ => None,
    }
}

/// Puzzles and judged pictures of a task per second, as the Python programs make them in this run.
#[derive(Default, Deserialize)]
struct Reference {
    pictures: Option<f64>,
    judge: Option<f64>,
    judge_jpeg: Option<f64>,
}

/// By task; nothing unless a checkout is named.
fn references() -> &'static BTreeMap<String, Reference> {
    static KNOWN: OnceLock<BTreeMap<String, Reference>> = OnceLock::new();
    KNOWN.get_or_init(|| {
        let named = |option: &str| {
            let found = std::env::args().skip_while(|arg| arg != option).nth(1);
            found.map(PathBuf::from)
        };
        let Some(checkout) = named("--checkout") else {
            return BTreeMap::new();
        };
        let script = "../../benches/reference/bench_generate_reference.py";
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        let python = named("--python").unwrap_or_else(|| "python3".into());
        let mut command = Command::new(python);
        command.arg(script).arg("--checkout").arg(checkout);
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "{command:?} failed");
        serde_json::from_slice(&output.stdout).unwrap()
    })
}

/// Smallest ratio of each group, with the task that has it.
#[derive(Default)]
struct Least(BTreeMap<&'static str, (f64, &'static str)>);

impl Least {
    /// Cells for upstream's rate and the ratio, empty where there is none to compare with; the
    /// same for its rate in this run.
    fn cells(&mut self, task: &dyn Puzzle, ours: f64, [upstream, now]: [Option<f64>; 2]) -> String {
        let known = self.cell(task, ours, upstream);
        match now {
            Some(now) => format!("{known} | {now:.0} | {:.1}×", ours / now),
            None => format!("{known} | | "),
        }
    }

    fn cell(&mut self, task: &dyn Puzzle, ours: f64, upstream: Option<f64>) -> String {
        let Some(theirs) = upstream else {
            return "| ".to_owned();
        };
        let (info, ratio) = (task.info(), ours / theirs);
        let least = self.0.entry(info.group.as_str());
        let least = least.or_insert((f64::INFINITY, info.name));
        if ratio < least.0 {
            *least = (ratio, info.name);
        }
        format!("{theirs:.2} | {ratio:.1}×")
    }

    fn print(&self) {
        let told =
            |(group, (ratio, task)): (_, &(f64, _))| format!("{group} {ratio:.1}× (`{task}`)");
        let all: Vec<_> = self.0.iter().map(|(g, least)| told((g, least))).collect();
        println!("\nSmallest ratio: {}.", all.join(", "));
    }
}

fn pictures(count: u64) {
    println!("\nPuzzle and solution as PNG files, puzzles per second, one worker, {count} each:\n");
    println!("| task | ours | upstream | ratio | in this run | ratio |\n|---|---|---|---|---|---|");
    let mut least = Least::default();
    for task in chosen() {
        let rate = rate(&[task.info().name], count, 1, None).cpu;
        let now = references().get(task.info().name);
        let now = now.and_then(|rates| rates.pictures);
        let cells = least.cells(task, rate, [upstream_pictures(task), now]);
        println!("| `{}` | {rate:.0} | {cells} |", task.info().name);
    }
    least.print();
}

fn clips(count: u64) {
    let count = count.div_ceil(10);
    println!("\nThe same with a clip, puzzles per second, one worker, {count} each:\n");
    println!("| task | ours, 81 frames | frames | ours | upstream | ratio |");
    println!("|---|---|---|---|---|---|");
    let mut least = Least::default();
    for task in chosen() {
        let name = task.info().name;
        let usual = ClipSettings::default();
        let ours = rate(&[name], count, 1, Some(usual)).cpu;
        let known = UPSTREAM_CLIPS.iter().find(|clip| clip.0 == name);
        let same = known.map(|&(_, frames, theirs)| {
            let clip = ClipSettings {
                frames,
                fps: 30.0,
                ..usual
            };
            let rate = rate(&[name], count, 1, Some(clip)).cpu;
            let cells = least.cell(task, rate, Some(theirs));
            format!("{frames} | {rate:.1} | {cells}")
        });
        let same = same.unwrap_or_else(|| "| | | ".to_owned());
        println!("| `{name}` | {ours:.1} | {same} |");
    }
    least.print();
}

/// Puzzles per second.
#[derive(Clone, Copy)]
struct Rate {
    /// By the clock.
    clock: f64,
    /// Of processor time, of all threads together.
    cpu: f64,
}

/// A whole run: files, hashes, manifest and all.
fn rate(names: &[&str], count: u64, workers: usize, video: Option<ClipSettings>) -> Rate {
    let plan = Plan::new(Request {
        tasks: names.iter().map(|name| find(name).unwrap()).collect(),
        params: names.iter().map(|&n| (n.to_owned(), params(n))).collect(),
        count,
        seed: 1,
        video,
        splits: None,
        held_out: BTreeSet::new(),
    });
    let plan = plan.unwrap();
    // Some file systems make files slowly for seconds after others were deleted.
    let memory = Path::new("/dev/shm");
    let memory = if memory.is_dir() {
        memory.to_owned()
    } else {
        std::env::temp_dir()
    };
    let (mut clock, mut cpu) = (f64::MAX, f64::MAX);
    for _ in 0..REPEATS {
        let dir = tempfile::tempdir_in(&memory).unwrap();
        let (begun, spent) = (Instant::now(), cpu_time());
        generate(&plan, dir.path(), workers, &mut |_| {
            ControlFlow::Continue(())
        })
        .unwrap();
        cpu = cpu.min((cpu_time() - spent).as_secs_f64());
        clock = clock.min(begun.elapsed().as_secs_f64());
    }
    let [clock, cpu] = [clock, cpu].map(|seconds| plan.records() as f64 / seconds);
    Rate { clock, cpu }
}

/// Processor time of this process so far.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn best(mut measure: impl FnMut()) -> f64 {
    let once = |()| {
        let spent = cpu_time();
        measure();
        (cpu_time() - spent).as_secs_f64()
    };
    [(); REPEATS].map(once).into_iter().fold(f64::MAX, f64::min)
}

/// The bytes of PNG files are decoded and judged: one picture of each puzzle, by a judge made for it
/// (which reads the record and draws the puzzle first), and several of one puzzle by one judge, as
/// for several answers to it. Processor time is
/// counted, so that neighbours do not matter.
fn judge(count: u64) {
    println!(
        "\nPNG files of solutions judged, pictures per second of processor time, {count} puzzles: \
          one of each, and {} further ones:\n",
        PICTURES - 1
    );
    println!("| task | pictures | further | one | upstream | ratio | in this run | ratio |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut least = Least::default();
    for task in chosen() {
        let name = task.info().name;
        for kind in [Kind::Clean, Kind::Jpeg, Kind::Rescaled] {
            let cases: Vec<_> = (0..count).map(|at| solutions(task, at, kind)).collect();
            let one = best(|| {
                for (record, files) in &cases {
                    let verdict = task.judge_image_bytes(record, &files[0]);
                    assert!(verdict.correct, "{name}, {kind:?}: {verdict:?}");
                }
            });
            let kept: Vec<_> = cases
                .iter()
                .map(|(record, files)| {
                    let judge = PictureJudge::new(task, record).unwrap();
                    black_box(judge.judge_bytes(&files[0]));
                    (judge, &files[1..])
                })
                .collect();
            let further = best(|| {
                for (judge, files) in &kept {
                    for bytes in *files {
                        black_box(judge.judge_bytes(bytes));
                    }
                }
            });
            let one = count as f64 / one;
            let further = (count as usize * (PICTURES - 1)) as f64 / further;
            let now = references().get(name);
            let cells = match kind {
                Kind::Clean => {
                    let now = now.and_then(|rates| rates.judge);
                    least.cells(task, one, [upstream_judge(task), now])
                }
                Kind::Jpeg => {
                    let now = now.and_then(|rates| rates.judge_jpeg);
                    least.cells(task, one, [None, now])
                }
                Kind::Rescaled => " | | | ".to_owned(),
            };
            println!("| `{name}` | {kind:?} | {further:.0} | {one:.0} | {cells} |");
        }
    }
    least.print();
}

/// Pictures of one puzzle.
const PICTURES: usize = 8;

/// What became of a picture before it is judged.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Nothing.
    Clean,
    /// Stored as JPEG of quality 75.
    Jpeg,
    /// Made smaller by a quarter.
    Rescaled,
}

/// A puzzle, and the files of [`PICTURES`] different pictures of its solution: all but the first have
/// a small blot somewhere.
fn solutions(task: &dyn Puzzle, index: u64, kind: Kind) -> (Record, Vec<Vec<u8>>) {
    let name = task.info().name;
    let record = task.generate(&params(name), record_seed(1, name, index));
    let record = record.unwrap();
    let solution = task.draw(&record, Layer::Solution).unwrap();
    let file = |at: usize| {
        let mut picture = solution.clone();
        if at > 0 {
            let [x, y] = [0x9e37u32, 0x79b9].map(|by| by.wrapping_mul(at as u32 + 7) >> 4);
            let [x, y] = [
                x % (picture.width() - 12) + 4,
                y % (picture.height() - 12) + 4,
            ];
            for (x, y) in (y..y + 3).flat_map(|y| (x..x + 4).map(move |x| (x, y))) {
                picture.put_pixel(x, y, image::Rgb([90, 90, 110]));
            }
        }
        match kind {
            Kind::Clean => encode_png(&picture).unwrap(),
            Kind::Jpeg => {
                let mut bytes = Vec::new();
                JpegEncoder::new_with_quality(&mut bytes, 75)
                    .encode_image(&picture)
                    .unwrap();
                png(&image::load_from_memory(&bytes).unwrap().into_rgb8())
            }
            Kind::Rescaled => {
                let [width, height] = [picture.width(), picture.height()].map(|side| side * 3 / 4);
                png(&resize(&picture, width, height, FilterType::Triangle))
            }
        }
    };
    (record, (0..PICTURES).map(file).collect())
}

/// As another program would write it, with the filter that suits each row.
fn png(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    picture
        .write_to(&mut bytes, image::ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}

fn workers(count: u64) {
    println!(
        "\nWorkers, puzzles per second by the clock, {} in turn; and of processor time:\n",
        MIX.join(", ")
    );
    println!("| | 1 worker | 2 workers | ratio | 1 worker, cpu | 2 workers, cpu |");
    println!("|---|---|---|---|---|---|");
    let clip = Some(ClipSettings::default());
    for (what, count, video) in [
        ("pictures", count * 5, None),
        ("with a clip of 81 frames", count.div_ceil(5), clip),
    ] {
        let [one, two] = [1, 2].map(|workers| rate(&MIX, count, workers, video));
        println!(
            "| {what} | {:.1} | {:.1} | {:.2} | {:.1} | {:.1} |",
            one.clock,
            two.clock,
            two.clock / one.clock,
            one.cpu,
            two.cpu
        );
    }
}

fn parts(count: u64) {
    println!("\nMilliseconds per puzzle, both pictures; bytes of both files:\n");
    println!("| task | make | draw | encode | hash | bytes |\n|---|---|---|---|---|---|");
    for task in chosen() {
        let name = task.info().name;
        let mut spent = [0.0; 4];
        let mut bytes = 0;
        for index in 0..count {
            let params = params(name);
            let (record, seconds) =
                timed(|| task.generate(&params, record_seed(1, name, index)).unwrap());
            spent[0] += seconds;
            for layer in [Layer::Puzzle, Layer::Solution] {
                let (picture, seconds) = timed(|| task.draw(&record, layer).unwrap());
                spent[1] += seconds;
                let (png, seconds) = timed(|| encode_png(&picture).unwrap());
                spent[2] += seconds;
                spent[3] += timed(|| black_box(Sha256::digest(&png))).1;
                bytes += png.len();
            }
        }
        let spent = spent.map(|seconds| format!("{:.3}", seconds * 1e3 / count as f64));
        println!(
            "| `{name}` | {} | {} |",
            spent.join(" | "),
            bytes as u64 / count
        );
    }
}

/// What is made, and the least time that it took.
fn timed<T>(make: impl Fn() -> T) -> (T, f64) {
    let once = || {
        let begun = cpu_time();
        let made = make();
        (made, (cpu_time() - begun).as_secs_f64())
    };
    let (made, first) = once();
    let least = (1..REPEATS).map(|_| once().1).fold(first, f64::min);
    (made, least)
}
