//! Our videos in the hands of other programs, and theirs in ours.
//!
//! Needs Python with `av`, `opencv-python-headless`, `numpy` and `pillow`; `VTB_PYTHON` names the
//! interpreter. Skipped with a message where it is absent.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may fail by panicking, and says when it is skipped"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use image::RgbImage;
use serde_json::{Value, json};
use vtb_data::generate::ParamLayers;
use vtb_data::video::{VideoReader, VideoSettings, write_frames, write_mp4};
use vtb_puzzle::{Instance, find, registry};

/// Frames of a puzzle that is solved before one's eyes.
fn solving(task: &str, params: &Value, count: usize) -> Vec<RgbImage> {
    let puzzle = Instance::generate(find(task).unwrap(), params, 7).unwrap();
    puzzle.frames(count).unwrap()
}

fn psnr(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let squares = a.as_raw().iter().zip(b.as_raw());
    let sum: f64 = squares
        .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
        .sum();
    let mean = sum / a.as_raw().len() as f64;
    10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()
}

/// Exit code of the script where a package is missing.
const SKIPPED: i32 = 77;

/// Runs the script; `None`, with a message, where Python or a package is missing.
fn python(args: &[&Path]) -> Option<Value> {
    let program = std::env::var("VTB_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../tests/interop/video_check.py"
    );
    let Ok(output) = Command::new(&program).arg(script).args(args).output() else {
        eprintln!("skipped: there is no `{program}`; set VTB_PYTHON");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(SKIPPED) {
        eprintln!("skipped: {text}");
        return None;
    }
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {log}");
    Some(serde_json::from_str(&text[text.find('{').unwrap()..]).unwrap())
}

/// Clips of every task in odd sizes, and some at other rates and lengths: name, frames, rate.
fn clips() -> Vec<(String, Vec<RgbImage>, f64)> {
    let mut clips: Vec<_> = [
        (
            "maze_square",
            json!({"width": 512, "height": 512}),
            81,
            16.0,
        ),
        ("midpoint", json!({}), 49, 15.0),
        ("midpoint", json!({"width": 481, "height": 513}), 25, 29.97),
        ("maze_square", json!({}), 2, 24.0),
    ]
    .into_iter()
    .map(|(task, params, count, fps)| {
        let name = format!("{task}_{count}");
        (name, solving(task, &params, count), fps)
    })
    .collect();
    for (at, task) in registry().iter().enumerate() {
        let mut params = ParamLayers::new(&[*task]);
        let height = if at % 2 == 0 { 873 } else { 875 };
        if params
            .canvas(Some(480 + at as u32 % 2), Some(height))
            .is_err()
        {
            // Square pictures alone.
            params.canvas(Some(481), None).unwrap();
        }
        let name = task.info().name;
        let params = params.finish().remove(name).unwrap();
        clips.push((name.to_owned(), solving(name, &params, 5), 16.0));
    }
    clips
}

#[test]
fn python_reads_what_is_written() {
    let dir = tempfile::tempdir().unwrap();
    // Before the work: whether there is Python.
    if python(&[Path::new("check"), dir.path()]).is_none() {
        return;
    }
    let clips = clips();
    for (name, frames, fps) in &clips {
        let folder = dir.path().join(name);
        write_mp4(
            &folder.with_extension("mp4"),
            frames,
            VideoSettings::at(*fps),
        )
        .unwrap();
        write_frames(&folder, frames, *fps).unwrap();
    }
    let found = python(&[Path::new("check"), dir.path()]).unwrap();
    let found = found["clips"].as_object().unwrap();
    assert_eq!(found.len(), clips.len());
    let wrong: Vec<_> = clips
        .iter()
        .filter_map(|(name, frames, fps)| {
            eprint!("{name} ");
            let fault = fault(&found[name], frames, *fps)?;
            Some(format!("{name}: {fault}"))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What two programs say of a clip must be what was promised.
fn fault(found: &Value, frames: &[RgbImage], fps: f64) -> Option<String> {
    let (width, height) = frames[0].dimensions();
    let size = [width, height].map(|side| side.next_multiple_of(2));
    let number = |report: &Value, key: &str| report[key].as_f64().unwrap();
    // Where strong colours meet, 4:2:0 itself leaves less than 38 dB; coding must cost nothing more.
    let least = number(&found["av"], "plain_psnr").min(38.0);
    for reader in ["av", "cv"] {
        let report = &found[reader];
        let right = report["frames"] == frames.len()
            && report["width"] == size[0]
            && report["height"] == size[1]
            && (number(report, "fps") - fps).abs() < 1e-3;
        // Plain colours come back within two steps; another matrix would move them by far more.
        if !right || number(report, "worst_psnr") < least || number(report, "colors") > 3.0 {
            return Some(format!("{reader} {report}"));
        }
    }
    let av = &found["av"];
    // BT.601 matrix, limited range, sRGB primaries and transfer.
    let tags = ["matrix", "range", "primaries", "transfer"].map(|key| av[key].as_i64());
    let seconds = number(av, "seconds") - frames.len() as f64 / fps;
    let keys: Vec<usize> = serde_json::from_value(av["keys"].clone()).unwrap();
    let right = tags == [6, 1, 1, 13].map(Some)
        && av["codec"] == "h264"
        && av["said_frames"] == frames.len()
        && seconds.abs() < 1e-9
        && keys[0] == 0
        && keys
            .windows(2)
            .all(|pair| pair[1] - pair[0] <= fps as usize);
    eprintln!(
        "{}x{}: {:.1} and {:.1} dB, {:.1} dB without coding, colours off by {:.1} and {:.1}",
        size[0],
        size[1],
        number(av, "worst_psnr"),
        number(&found["cv"], "worst_psnr"),
        number(av, "plain_psnr"),
        number(av, "colors"),
        number(&found["cv"], "colors")
    );
    (!right).then(|| av.to_string())
}

#[test]
fn python_writes_what_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let Some(made) = python(&[Path::new("make"), dir.path()]) else {
        return;
    };
    let mut wrong = Vec::new();
    for clip in made["clips"].as_array().unwrap() {
        if let Err(text) = check_clip(clip) {
            wrong.push(format!("{}: {text}", clip["file"]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A clip must read as the other program reads it, or be refused with the word that it names.
fn check_clip(clip: &Value) -> Result<(), String> {
    let file = PathBuf::from(clip["file"].as_str().unwrap());
    let read = VideoReader::open(&file).and_then(|r| {
        let info = r.info().clone();
        Ok((info, r.collect_frames()?))
    });
    if let Some(word) = clip["error"].as_str() {
        let text = read.err().ok_or("it is read")?.to_string();
        return match text.contains(word) {
            true => Ok(()),
            false => Err(text),
        };
    }
    let Some(folder) = clip["frames"].as_str() else {
        return Ok(());
    };
    let wanted = VideoReader::open(Path::new(folder)).unwrap();
    let fps = wanted.info().fps;
    let wanted = wanted.collect_frames().unwrap();
    let (info, found) = read.map_err(|e| e.to_string())?;
    // GIF counts in hundredths of a second, of which 16 fps make no whole number.
    if found.len() != wanted.len() || (info.fps / fps - 1.0).abs() > 0.05 {
        return Err(format!("{} frames at {} fps", found.len(), info.fps));
    }
    let last = VideoReader::open(&file).and_then(|r| r.last_frames(3));
    if last.unwrap() != found[found.len().saturating_sub(3)..] {
        return Err("the last frames are others when they are asked for alone".into());
    }
    let worst = found.iter().zip(&wanted).map(|(a, b)| psnr(a, b));
    let (at, worst) = (0..).zip(worst).min_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
    eprintln!("{}: {worst:.1} dB at frame {at}", file.display());
    match worst >= 38.0 {
        true => Ok(()),
        false => Err(format!("frame {at} differs, {worst:.1} dB")),
    }
}
