//! `train-video` as a user runs it: the default run made small, exact resume, the cache, bad input.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
mod runs;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use common::{VIDEO, path, refuse, stdout, succeed};
use runs::{kill_after, metrics, summary, tree};
use serde_json::{Value, json};
use vtb_data::media::read_clip_rows;
use vtb_data::video::{VideoReader, VideoSettings, write_mp4};

/// Settings that make a run small.
const SMALL: [&str; 12] = [
    "demo.train_puzzles=6",
    "demo.eval_puzzles=2",
    "data.frames=9",
    "data.width=64",
    "data.height=64",
    "samples.count=2",
    "samples.steps=3",
    "samples.cfg=1",
    "eval.levels=4",
    "batch.batch_size=3",
    "log.seconds=0",
    "lora.rank=4",
];

/// Arguments with settings.
fn with<'a>(args: &[&'a str], sets: &[&'a str]) -> Vec<&'a str> {
    let sets = SMALL.iter().chain(sets).flat_map(|set| ["--set", *set]);
    args.iter().copied().chain(sets).collect()
}

/// Model and data that a small default run leaves behind.
struct Own {
    root: PathBuf,
    model: PathBuf,
    data: PathBuf,
    eval: PathBuf,
    _dir: tempfile::TempDir,
}

fn own() -> Own {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("first");
    let args = [
        "--output-dir",
        path(&out),
        "--max-steps",
        "1",
        "--seed",
        "3",
    ];
    succeed(VIDEO, &with(&args, &["samples.count=0"]));
    Own {
        root: dir.path().to_owned(),
        model: out.join("model"),
        data: out.join("data/train/train_video.csv"),
        eval: out.join("data/eval/train_video.csv"),
        _dir: dir,
    }
}

impl Own {
    fn args<'a>(&'a self, out: &'a Path, extra: &[&'a str], sets: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec!["--model", path(&self.model), "--data", path(&self.data)];
        args.extend(["--eval-data", path(&self.eval), "--output-dir", path(out)]);
        args.extend(["--seed", "5"]);
        args.extend(extra);
        with(&args, sets)
    }
}

/// Rows of a file, their paths absolute.
fn rows(file: &Path) -> Vec<Value> {
    let rows = read_clip_rows(file, None).unwrap();
    rows.into_iter()
        .map(|row| json!({"video": row.video, "prompt": row.prompt, "id": row.extra["id"]}))
        .collect()
}

#[test]
fn the_default_run_measures_draws_and_exports() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let args = [
        "--output-dir",
        path(&out),
        "--max-steps",
        "40",
        "--seed",
        "3",
    ];
    let sets = [
        "export.formats=[\"peft\", \"diffusers\", \"comfyui\", \"kohya\", \"diffsynth\"]",
        "samples.every=20",
        "train.eval_steps=20",
    ];
    let text = stdout(&succeed(VIDEO, &with(&args, &sets)));
    assert!(
        text.contains("held-out loss") && text.contains("before"),
        "{text}"
    );
    let found = summary(&out);
    let loss = |when: &str| found[when]["loss"].as_f64().unwrap();
    assert!(loss("after") < 0.95 * loss("before"), "{found}");
    for step in ["step-000000", "step-000020", "step-000040"] {
        let folder = out.join("samples").join(step);
        let sheet = image::open(folder.join("sheet.png")).unwrap();
        assert!(sheet.width() > 6 * 224, "three frames of both");
        let clips = std::fs::read_dir(&folder)
            .unwrap()
            .map(|f| f.unwrap().path());
        let clips: Vec<PathBuf> = clips
            .filter(|f| f.extension().is_some_and(|e| e == "mp4"))
            .collect();
        assert_eq!(clips.len(), 2);
        let info = VideoReader::open(&clips[0]).unwrap().info().clone();
        assert_eq!((info.width, info.height, info.frame_count), (64, 64, 9));
    }
    let log = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    for name in [
        "sample/score",
        "sample/correct",
        "sample/psnr",
        "eval/mse_level_4",
        "\"sigma\"",
    ] {
        assert!(log.contains(name), "{name} is not logged");
    }
    let checkpoint = out.join("checkpoints/step-40");
    for file in [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "adapter-diffusers/adapter.safetensors",
        "adapter-comfyui/adapter.safetensors",
        "adapter-kohya/adapter.safetensors",
        "adapter-diffsynth/adapter.safetensors",
    ] {
        assert!(checkpoint.join(file).is_file(), "{file}");
    }
    // Every form goes on from where it stands: the loss before is the loss after.
    let own = Own {
        root: out.clone(),
        model: out.join("model"),
        data: out.join("data/train/train_video.csv"),
        eval: out.join("data/eval/train_video.csv"),
        _dir: tempfile::tempdir().unwrap(),
    };
    for form in ["adapter", "adapter-kohya", "adapter-diffsynth"] {
        let (next, adapter) = (dir.path().join(form), checkpoint.join(form));
        let extra = ["--adapter", path(&adapter), "--max-steps", "1"];
        succeed(VIDEO, &own.args(&next, &extra, &["samples.count=0"]));
        let again = summary(&next)["before"]["loss"].as_f64().unwrap();
        let after = loss("after");
        // Another seed draws other held-out noise.
        assert!(
            (again - after).abs() < 0.25 * after,
            "{form}: {again} {after}"
        );
    }
}

#[test]
fn clips_from_words_alone() {
    let own = own();
    let out = own.root.join("words");
    let sets = ["data.first_frame=false", "samples.count=1"];
    succeed(VIDEO, &own.args(&out, &["--max-steps", "2"], &sets));
    assert!(out.join("samples/step-000002/sheet.png").is_file());
}

#[test]
fn guidance_needs_another_prompt() {
    let own = own();
    let out = own.root.join("guided");
    let sets = [
        "samples.cfg=3",
        "samples.negative_prompt=\"blurred\"",
        "sampler.solver=\"euler\"",
        "samples.count=1",
    ];
    succeed(VIDEO, &own.args(&out, &["--max-steps", "1"], &sets));
    assert!(out.join("samples/step-000001/sheet.png").is_file());
}

#[test]
fn a_killed_run_goes_on_as_if_nothing_had_been() {
    let own = own();
    let (straight, killed) = (own.root.join("straight"), own.root.join("killed"));
    let cache = own.root.join("cache");
    let set = format!("data.cache_dir={}", json!(path(&cache)));
    let extra = ["--max-steps", "9", "--gradient-accumulation", "2"];
    let sets = [
        "lora.dropout=0.1",
        "save.steps=4",
        "train.ema_decay=0.9",
        "samples.every=4",
        "train.eval_steps=3",
        &set,
    ];
    succeed(VIDEO, &own.args(&straight, &extra, &sets));
    kill_after(VIDEO, &own.args(&killed, &extra, &sets), &killed, 7);
    let mut resume = own.args(&killed, &extra, &sets);
    resume.push("--resume");
    succeed(VIDEO, &resume);
    assert_eq!(metrics(&straight), metrics(&killed));
    let files = |out: &Path| {
        let mut files = BTreeMap::new();
        for part in ["checkpoints/step-9", "samples"] {
            tree(&out.join(part), &out.join(part), &mut files);
        }
        files.remove("manifest.json");
        files
    };
    let (a, b) = (files(&straight), files(&killed));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    assert!(a.contains_key("ema.safetensors") && a.contains_key("trainable.safetensors"));
    for (name, bytes) in &a {
        assert!(bytes == &b[name], "{name} differs");
    }
    // Other data, and other settings, are refused by name.
    let text = std::fs::read_to_string(&own.data).unwrap();
    std::fs::write(&own.data, text.replacen("red", "blue", 1)).unwrap();
    let told = refuse(VIDEO, &resume, 1, &["dataset:", "train_video.csv"]);
    assert!(told.contains("killed"), "{told}");
    std::fs::write(&own.data, text).unwrap();
    let mut changed = resume.clone();
    changed.extend(["--set", "data.sampling=\"uniform\""]);
    refuse(VIDEO, &changed, 1, &["data.sampling", "uniform"]);
}

/// Times at which the entries of a cache were written.
fn entries(cache: &Path) -> BTreeMap<String, SystemTime> {
    let mut found = BTreeMap::new();
    let fans = std::fs::read_dir(cache).into_iter().flatten();
    for fan in fans {
        for item in std::fs::read_dir(fan.unwrap().path()).unwrap() {
            let item = item.unwrap();
            let time = item.metadata().unwrap().modified().unwrap();
            found.insert(item.file_name().to_string_lossy().into_owned(), time);
        }
    }
    found
}

#[test]
fn the_cache_is_used_again_only_for_the_same_inputs() {
    let own = own();
    let cache = own.root.join("cache");
    let set = format!("data.cache_dir={}", json!(path(&cache)));
    let mut count = 0;
    // Runs one step; answers how many entries are new, and checks that no old one was touched.
    let mut go = |extra: &[&str], sets: &[&str]| -> usize {
        count += 1;
        let out = own.root.join(format!("run-{count}"));
        let before = entries(&cache);
        let mut all = vec![set.as_str(), "samples.count=0"];
        all.extend(sets);
        let extra: Vec<&str> = ["--max-steps", "1"].iter().chain(extra).copied().collect();
        succeed(VIDEO, &own.args(&out, &extra, &all));
        let after = entries(&cache);
        for (name, time) in &before {
            assert_eq!(after.get(name), Some(time), "{name} was written again");
        }
        after.len() - before.len()
    };
    let all: Vec<Value> = [&own.data, &own.eval]
        .into_iter()
        .flat_map(|f| rows(f))
        .collect();
    let prompts: BTreeSet<&str> = all.iter().map(|r| r["prompt"].as_str().unwrap()).collect();
    let (prompts, clips) = (prompts.len(), all.len());
    assert_eq!(go(&[], &[]), prompts + clips);
    assert_eq!(go(&[], &[]), 0, "nothing changed");
    assert_eq!(
        go(&[], &["data.sampling=\"uniform\""]),
        0,
        "all frames of a clip are the same frames, however they are taken"
    );
    assert_eq!(go(&[], &["data.frames=5"]), clips, "fewer frames");
    assert_eq!(
        go(&[], &["data.frames=5", "data.sampling=\"uniform\""]),
        clips,
        "other frames"
    );
    assert_eq!(go(&[], &["data.width=96"]), clips, "another size");
    assert_eq!(
        go(&["--precision", "bf16"], &[]),
        prompts,
        "the text encoder in another precision; the autoencoder stays in f32"
    );
    // One prompt, one clip, then the files of the encoders.
    let text = std::fs::read_to_string(&own.data).unwrap();
    std::fs::write(&own.data, text.replacen("red", "thin red", 1)).unwrap();
    assert_eq!(go(&[], &[]), 1, "one prompt");
    std::fs::write(&own.data, text).unwrap();
    let clip = PathBuf::from(rows(&own.data)[0]["video"].as_str().unwrap());
    let mut frames = VideoReader::open(&clip).unwrap().collect_frames().unwrap();
    frames.swap(3, 4);
    write_mp4(&clip, &frames, VideoSettings::default()).unwrap();
    assert_eq!(go(&[], &[]), 1, "one clip");
    for (part, new) in [
        ("vae", clips),
        ("text_encoder", prompts),
        ("tokenizer", prompts),
    ] {
        let folder = own.model.join(part);
        let mut files = std::fs::read_dir(&folder)
            .unwrap()
            .map(|f| f.unwrap().path());
        let file = files
            .find(|f| f.extension().is_some_and(|e| e == "json"))
            .unwrap();
        let said = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, said + "\n").unwrap();
        assert_eq!(go(&[], &[]), new, "another {part}");
    }
    // What is damaged is made again.
    let victim = entries(&cache).into_keys().next().unwrap();
    let victim = cache.join(&victim[..2]).join(&victim);
    let good = std::fs::read(&victim).unwrap();
    std::fs::write(&victim, &good[..good.len() / 2]).unwrap();
    let out = own.root.join("damaged");
    let sets = [set.as_str(), "samples.count=0"];
    succeed(VIDEO, &own.args(&out, &["--max-steps", "1"], &sets));
}

#[test]
fn frames_are_taken_as_the_plan_says() {
    let own = own();
    let out = own.root.join("planned");
    let plan = |sets: &[&str]| stdout(&succeed(VIDEO, &own.args(&out, &["--dry-run"], sets)));
    let text = plan(&["data.frames=5"]);
    assert!(
        text.contains("12 clips of 9 frames; 12 samples, 60 frames taken, 48 dropped"),
        "{text}"
    );
    let long = own.root.join("long.mp4");
    let clip = PathBuf::from(rows(&own.data)[0]["video"].as_str().unwrap());
    let frames = VideoReader::open(&clip).unwrap().collect_frames().unwrap();
    let twice = frames.iter().chain(&frames).chain(&frames[..3]);
    write_mp4(&long, twice, VideoSettings::default()).unwrap();
    let mut all = rows(&own.data);
    all.truncate(2);
    all[0]["video"] = json!(path(&long));
    let file = own.root.join("mixed.json");
    std::fs::write(&file, serde_json::to_vec(&all).unwrap()).unwrap();
    let mut args = own.args(&out, &["--max-steps", "2"], &["data.sampling=\"chunk\""]);
    let at = args.iter().position(|a| *a == path(&own.data)).unwrap();
    args[at] = path(&file);
    args.push("--dry-run");
    let text = stdout(&succeed(VIDEO, &args));
    assert!(
        text.contains("2 clips of 9 to 21 frames; 3 samples, 27 frames taken, 3 dropped"),
        "{text}"
    );
    args.pop();
    // Pieces of a clip are trained on, and stay on one side of a split.
    succeed(VIDEO, &args);
    let at = args.iter().position(|a| *a == "--eval-data").unwrap();
    args.drain(at..at + 2);
    let split = own.root.join("split");
    let at = args.iter().position(|a| *a == path(&out)).unwrap();
    args[at] = path(&split);
    args.extend([
        "--set",
        "data.eval_split=0.5",
        "--set",
        "batch.last=\"wrap\"",
    ]);
    succeed(VIDEO, &args);
    let measured = summary(&split)["after"]["rows"].as_u64().unwrap();
    assert!(measured == 1 || measured == 2, "{measured}");
}

#[test]
fn bad_input_is_one_clear_sentence() {
    let own = own();
    let out = own.root.join("bad");
    let bad = |code: i32, extra: &[&str], sets: &[&str], parts: &[&str]| {
        refuse(VIDEO, &own.args(&out, extra, sets), code, parts);
    };
    bad(2, &[], &["data.frames=80"], &["data.frames", "77 or 81"]);
    bad(2, &[], &["data.frames=1"], &["data.frames", "at least 5"]);
    bad(
        2,
        &[],
        &["data.width=100"],
        &["data.width", "96 or 128 wide", "32"],
    );
    bad(
        2,
        &[],
        &["sampler.shift=0", "sampler.fps=-1"],
        &["2 faults", "shift", "fps"],
    );
    bad(2, &[], &["export.formats=[\"zip\"]"], &["zip", "kohya"]);
    bad(
        2,
        &[],
        &["data.sampling=\"tail\""],
        &["data.sampling", "tail"],
    );
    bad(2, &[], &["model.template=\"list\""], &["template"]);
    bad(
        2,
        &["--device-memory", "80", "--dry-run"],
        &[],
        &["train-video"],
    );
    bad(
        2,
        &[],
        &["data.video_root=\"/nowhere\""],
        &["data.video_root", "/nowhere"],
    );
    // A row, whatever the others are.
    let all = rows(&own.data);
    let file = own.root.join("bad.json");
    let row = |change: &dyn Fn(&mut Value), sets: &[&str], parts: &[&str]| {
        let mut rows = all.clone();
        change(&mut rows[1]);
        std::fs::write(&file, serde_json::to_vec(&rows).unwrap()).unwrap();
        for dry in [false, true] {
            let mut args = own.args(&out, &[], sets);
            let at = args.iter().position(|a| *a == path(&own.data)).unwrap();
            args[at] = path(&file);
            args.extend(dry.then_some("--dry-run"));
            let line = refuse(VIDEO, &args, 1, parts);
            assert!(line.contains("bad.json:2"), "{line}");
        }
    };
    row(
        &|row| row["video"] = json!("nowhere.mp4"),
        &[],
        &["nowhere.mp4"],
    );
    row(
        &|row| row["input_image"] = json!("first.png"),
        &[],
        &["input_image"],
    );
    let strange = own.root.join("strange.mp4");
    std::fs::write(&strange, [&[0x1a, 0x45, 0xdf, 0xa3][..], &[0; 64]].concat()).unwrap();
    row(
        &|row| row["video"] = json!(path(&strange)),
        &[],
        &["strange.mp4", "WebM", "H.264"],
    );
    let short = own.root.join("short.mp4");
    let clip = PathBuf::from(all[0]["video"].as_str().unwrap());
    let frames = VideoReader::open(&clip).unwrap().collect_frames().unwrap();
    write_mp4(&short, &frames[..7], VideoSettings::default()).unwrap();
    row(
        &|row| row["video"] = json!(path(&short)),
        &[],
        &["7 frames", "data.frames = 9", "shorten", "data.frames=5"],
    );
    let shorter = own.root.join("shorter.mp4");
    write_mp4(&shorter, &frames[..3], VideoSettings::default()).unwrap();
    row(
        &|row| row["video"] = json!(path(&shorter)),
        &["data.short=\"shorten\""],
        &["3 frames", "leave the row out"],
    );
    // Parts of a model that are missing are told before anything is encoded.
    let hide = |part: &str, word: &str| {
        let (from, to) = (own.model.join(part), own.root.join("hidden"));
        std::fs::rename(&from, &to).unwrap();
        bad(1, &[], &[], &[word]);
        std::fs::rename(&to, &from).unwrap();
    };
    hide("vae", "vae");
    hide("tokenizer", "tokenizer");
    hide("text_encoder", "text_encoder");
    hide("transformer/config.json", "config.json");
    let foreign =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/qwen_image/edit/lora");
    bad(
        1,
        &["--adapter", path(&foreign)],
        &[],
        &["transformer_blocks"],
    );
}
