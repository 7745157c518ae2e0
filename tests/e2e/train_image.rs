//! `train-image` as a user runs it: the default run made small, exact resume, the cache, bad input.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;
mod runs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use common::{IMAGE, path, refuse, stdout, succeed};
use runs::{kill_after, metrics, summary, tree};
use serde_json::{Value, json};

const ADAPTER: &str = env!("CARGO_BIN_EXE_adapter");
const INFER_IMAGE: &str = env!("CARGO_BIN_EXE_infer-image");

/// Settings that make a default run small.
const SMALL: &[&str] = &[
    "--set",
    "demo.train_puzzles=12",
    "--set",
    "demo.eval_puzzles=3",
    "--set",
    "samples.count=2",
    "--set",
    "samples.steps=3",
    "--set",
    "eval.levels=4",
    "--set",
    "batch.batch_size=3",
    "--set",
    "log.seconds=0",
    "--set",
    "lora.rank=4",
];

/// Model and data that a small default run leaves behind.
struct Own {
    _dir: tempfile::TempDir,
    root: PathBuf,
    model: PathBuf,
    data: PathBuf,
    eval: PathBuf,
}

fn own() -> Own {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("first");
    let mut args = vec![
        "--output-dir",
        path(&out),
        "--max-steps",
        "1",
        "--seed",
        "3",
    ];
    args.extend(SMALL);
    succeed(IMAGE, &args);
    Own {
        root: dir.path().to_owned(),
        model: out.join("model"),
        data: out.join("data/train/metadata.json"),
        eval: out.join("data/eval/metadata.json"),
        _dir: dir,
    }
}

impl Own {
    fn args<'a>(&'a self, out: &'a Path, extra: &[&'a str]) -> Vec<&'a str> {
        let mut args = vec!["--model", path(&self.model), "--data", path(&self.data)];
        args.extend(["--eval-data", path(&self.eval), "--output-dir", path(out)]);
        args.extend(["--set", "data.reference_area=12544"]);
        args.extend(["--set", "data.condition_area=12544"]);
        args.extend(["--set", "samples.cfg=1", "--seed", "5"]);
        args.extend(SMALL);
        args.extend(extra);
        args
    }
}

#[test]
fn the_default_run_measures_draws_and_exports() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("run");
    let mut args = vec![
        "--output-dir",
        path(&out),
        "--max-steps",
        "30",
        "--seed",
        "3",
    ];
    args.extend(SMALL);
    args.extend([
        "--set",
        "export.formats=[\"peft\", \"diffusers\", \"comfyui\", \"kohya\", \"diffsynth\"]",
    ]);
    args.extend(["--set", "samples.every=15", "--set", "train.eval_steps=15"]);
    let text = stdout(&succeed(IMAGE, &args));
    assert!(
        text.contains("held-out loss") && text.contains("before"),
        "{text}"
    );
    let found = summary(&out);
    let loss = |when: &str| found[when]["loss"].as_f64().unwrap();
    assert!(loss("after") < 0.8 * loss("before"), "{found}");
    for step in ["step-000000", "step-000015", "step-000030"] {
        let sheet = out.join("samples").join(step).join("sheet.png");
        assert!(image::open(&sheet).unwrap().width() > 600);
        assert_eq!(
            std::fs::read_dir(sheet.parent().unwrap()).unwrap().count(),
            3
        );
    }
    let log = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    for name in [
        "sample/score",
        "sample/psnr",
        "eval/mse_level_4",
        "\"sigma\"",
    ] {
        assert!(log.contains(name), "{name} is not logged");
    }
    let checkpoint = out.join("checkpoints/step-30");
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
        data: out.join("data/train/metadata.json"),
        eval: out.join("data/eval/metadata.json"),
        _dir: tempfile::tempdir().unwrap(),
    };
    for form in ["adapter", "adapter-kohya", "adapter-diffsynth"] {
        let (next, adapter) = (dir.path().join(form), checkpoint.join(form));
        let extra = [
            "--adapter",
            path(&adapter),
            "--max-steps",
            "1",
            "--set",
            "samples.count=0",
        ];
        succeed(IMAGE, &own.args(&next, &extra));
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
fn a_merged_model_is_the_model_with_its_adapter() {
    let own = own();
    let out = own.root.join("run");
    succeed(
        IMAGE,
        &own.args(&out, &["--max-steps", "3", "--learning-rate", "0.01"]),
    );
    let adapter = out.join("checkpoints/step-3/adapter-comfyui/adapter.safetensors");
    let merged = own.root.join("merged");
    let args = [
        "merge",
        "--model",
        path(&own.model),
        "--adapter",
        path(&adapter),
        "--output-dir",
        path(&merged),
        "--max-shard-size",
        "2MB",
    ];
    succeed(ADAPTER, &args);
    let shards = std::fs::read_dir(merged.join("transformer")).unwrap();
    assert!(shards.count() > 3, "shards, their index, a configuration");
    let edit = |model: &Path, extra: &[&str]| {
        let picture = own.data.with_file_name("in.png");
        image::RgbImage::from_fn(64, 64, |x, y| image::Rgb([x as u8, y as u8, 200]))
            .save(&picture)
            .unwrap();
        let file = own.root.join("out.png");
        let mut args = vec![
            "--model",
            path(model),
            "--image",
            path(&picture),
            "--prompt",
            "Draw",
        ];
        args.extend([
            "--steps",
            "3",
            "--cfg",
            "1",
            "--size",
            "64x64",
            "--out",
            path(&file),
        ]);
        args.extend(["--reference-area", "12544", "--condition-area", "12544"]);
        args.extend(extra);
        succeed(INFER_IMAGE, &args);
        image::open(&file).unwrap().to_rgb8().into_raw()
    };
    let adapted = edit(&own.model, &["--adapter", path(&adapter)]);
    let plain = edit(&own.model, &[]);
    let whole = edit(&merged, &[]);
    let furthest = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(furthest(&adapted, &whole) <= Some(1));
    assert!(furthest(&adapted, &plain) > Some(8));
}

#[test]
fn a_killed_run_goes_on_as_if_nothing_had_been() {
    let own = own();
    let (straight, killed) = (own.root.join("straight"), own.root.join("killed"));
    let cache = own.root.join("cache");
    let set = format!("data.cache_dir={}", json!(path(&cache)));
    let extra = [
        "--max-steps",
        "9",
        "--gradient-accumulation",
        "2",
        "--set",
        "lora.dropout=0.1",
        "--set",
        "save.steps=4",
        "--set",
        "train.ema_decay=0.9",
        "--set",
        "samples.every=4",
        "--set",
        "train.eval_steps=3",
        "--set",
        &set,
    ];
    succeed(IMAGE, &own.args(&straight, &extra));
    kill_after(IMAGE, &own.args(&killed, &extra), &killed, 7);
    let mut resume = own.args(&killed, &extra);
    resume.push("--resume");
    succeed(IMAGE, &resume);
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
    // Other data is refused by name.
    let text = std::fs::read_to_string(&own.data).unwrap();
    std::fs::write(&own.data, text.replacen("red line", "blue line", 1)).unwrap();
    let mut changed = own.args(&killed, &extra);
    changed.push("--resume");
    let told = refuse(IMAGE, &changed, 1, &["dataset:", "metadata.json"]);
    assert!(told.contains("killed"), "{told}");
    std::fs::write(&own.data, text).unwrap();
    let mut changed = own.args(&killed, &extra);
    changed.extend(["--resume", "--learning-rate", "0.5"]);
    refuse(IMAGE, &changed, 1, &["train.learning_rate", "0.5"]);
}

/// Times at which the entries of a cache were written.
fn entries(cache: &Path) -> BTreeMap<String, SystemTime> {
    let mut found = BTreeMap::new();
    for fan in std::fs::read_dir(cache).unwrap() {
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
    let mut go = |extra: &[&str]| -> usize {
        count += 1;
        let out = own.root.join(format!("run-{count}"));
        let before = if cache.is_dir() {
            entries(&cache)
        } else {
            BTreeMap::new()
        };
        let mut all = vec![
            "--max-steps",
            "1",
            "--set",
            set.as_str(),
            "--set",
            "samples.count=0",
        ];
        all.extend(extra);
        succeed(IMAGE, &own.args(&out, &all));
        let after = entries(&cache);
        for (name, time) in &before {
            assert_eq!(after.get(name), Some(time), "{name} was written again");
        }
        after.len() - before.len()
    };
    // 15 rows: a prompt, a target and a reference each.
    assert_eq!(go(&[]), 45);
    assert_eq!(go(&[]), 0, "nothing changed");
    assert_eq!(
        go(&["--set", "data.reference_area=40000"]),
        15,
        "references at another size"
    );
    assert_eq!(
        go(&["--set", "data.condition_area=40000"]),
        15,
        "prompts see pictures at another size"
    );
    assert_eq!(
        go(&["--set", "data.max_pixels=8000"]),
        15,
        "targets at another size"
    );
    assert_eq!(
        go(&["--set", "model.template=single"]),
        15,
        "prompts in another frame"
    );
    assert_eq!(
        go(&["--precision", "bf16"]),
        15,
        "the text encoder in another precision; the autoencoder stays in f32"
    );

    // One prompt, one picture, then the files of the encoders.
    let text = std::fs::read_to_string(&own.data).unwrap();
    std::fs::write(&own.data, text.replacen("red line", "thin red line", 1)).unwrap();
    assert_eq!(go(&[]), 1, "one prompt");
    let rows: Value = serde_json::from_str(&text).unwrap();
    let place = |key: &str| own.data.with_file_name(rows[0][key].as_str().unwrap());
    let mut picture = image::open(place("image")).unwrap().to_rgb8();
    picture.put_pixel(1, 1, image::Rgb([9, 9, 9]));
    picture.save(place("image")).unwrap();
    assert_eq!(go(&[]), 1, "one target");
    let mut picture = image::open(place("edit_image")).unwrap().to_rgb8();
    picture.put_pixel(1, 1, image::Rgb([9, 9, 9]));
    picture.save(place("edit_image")).unwrap();
    assert_eq!(go(&[]), 2, "one reference, which the prompt sees too");
    let vae = own.model.join("vae/config.json");
    let said = std::fs::read_to_string(&vae).unwrap();
    std::fs::write(&vae, said + "\n").unwrap();
    assert_eq!(go(&[]), 30, "another autoencoder");
    for part in ["text_encoder", "tokenizer", "processor"] {
        let file = own.model.join(part);
        let mut files = std::fs::read_dir(&file).unwrap().map(|f| f.unwrap().path());
        let file = files
            .find(|f| f.extension().is_some_and(|e| e == "json"))
            .unwrap();
        let said = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, said + "\n").unwrap();
        assert_eq!(go(&[]), 15, "another {part}");
    }
    let swapped = text.replacen("red line", "thin red line", 1);
    let mut rows: Vec<Value> = serde_json::from_str(&swapped).unwrap();
    let pair = json!([rows[0]["edit_image"], rows[1]["edit_image"]]);
    rows[0]["edit_image"] = pair;
    std::fs::write(&own.data, serde_json::to_vec(&rows).unwrap()).unwrap();
    assert_eq!(go(&[]), 1, "a prompt about two pictures");
    rows[0]["edit_image"].as_array_mut().unwrap().reverse();
    std::fs::write(&own.data, serde_json::to_vec(&rows).unwrap()).unwrap();
    assert_eq!(go(&[]), 1, "the same pictures in another order");

    // What is damaged is made again.
    let victim = entries(&cache).into_keys().next().unwrap();
    let victim = cache.join(&victim[..2]).join(&victim);
    let good = std::fs::read(&victim).unwrap();
    for bad in [&good[..good.len() / 2], &[]] {
        std::fs::write(&victim, bad).unwrap();
        let out = own.root.join(format!("damaged-{}", bad.len()));
        let all = [
            "--max-steps",
            "1",
            "--set",
            set.as_str(),
            "--set",
            "samples.count=0",
        ];
        succeed(IMAGE, &own.args(&out, &all));
    }
}

#[test]
fn bad_input_is_one_clear_sentence() {
    let own = own();
    let out = own.root.join("bad");
    let bad = |code: i32, extra: &[&str], parts: &[&str]| {
        refuse(IMAGE, &own.args(&out, extra), code, parts);
    };
    bad(
        2,
        &["--set", "model.activation=relu"],
        &["relu", "gelu_tanh"],
    );
    bad(2, &["--set", "export.formats=[\"zip\"]"], &["zip", "kohya"]);
    bad(
        2,
        &["--set", "flow.shift=1e9", "--set", "samples.steps=1"],
        &["2 faults", "shift", "samples.steps"],
    );
    bad(
        2,
        &[
            "--set",
            "train.ema_decay=1.5",
            "--set",
            "train.warmup_ratio=3",
        ],
        &["2 faults", "ema_decay", "warmup_ratio"],
    );
    bad(
        2,
        &["--device-memory", "80", "--dry-run"],
        &["--device-memory"],
    );
    refuse(
        IMAGE,
        &["--eval-data", path(&own.eval), "--output-dir", path(&out)],
        2,
        &["no training data"],
    );
    let judge = format!("samples.judge={}", json!(path(own.data.parent().unwrap())));
    bad(1, &["--set", &judge], &["samples.judge", "no record"]);
    bad(
        2,
        &["--set", "samples.judge=nowhere"],
        &["samples.judge", "nowhere"],
    );
    refuse(
        IMAGE,
        &["--data", path(&own.data), "--output-dir", path(&out)],
        2,
        &["no model"],
    );

    let rows: Vec<Value> = serde_json::from_slice(&std::fs::read(&own.data).unwrap()).unwrap();
    let file = own.data.with_file_name("bad.json");
    let with = |change: &dyn Fn(&mut Vec<Value>), extra: &[&str], parts: &[&str]| {
        let mut rows = rows.clone();
        change(&mut rows);
        std::fs::write(&file, serde_json::to_vec(&rows).unwrap()).unwrap();
        let mut args = own.args(&out, extra);
        let at = args.iter().position(|a| *a == path(&own.data)).unwrap();
        args[at] = path(&file);
        refuse(IMAGE, &args, 1, parts);
    };
    with(
        &|rows| rows[1]["image"] = json!("nowhere.png"),
        &[],
        &["nowhere.png"],
    );
    with(
        &|rows| {
            rows[2].as_object_mut().unwrap().remove("edit_image");
        },
        &[],
        &["edit_image"],
    );
    with(
        &|rows| rows[0]["image"] = rows[0]["edit_image"].clone(),
        &[],
        &["nothing to learn"],
    );
    with(
        &|rows| {
            // Two rows about one picture, swapped in the second.
            let (start, target) = (rows[0]["edit_image"].clone(), rows[0]["image"].clone());
            rows[1]["edit_image"] = target;
            rows[1]["image"] = start;
        },
        &[],
        &["swapped"],
    );
    with(
        &|rows| rows[0]["edit_image"] = json!([rows[0]["edit_image"], rows[1]["edit_image"]]),
        &["--set", "model.template=single"],
        &["2 pictures", "single"],
    );
    with(&|rows| rows.clear(), &[], &["bad.json"]);

    // Swapped across training and held-out rows.
    let mut held_out: Vec<Value> =
        serde_json::from_slice(&std::fs::read(&own.eval).unwrap()).unwrap();
    let from = |key: &str| json!(own.data.with_file_name(rows[0][key].as_str().unwrap()));
    (held_out[0]["image"], held_out[0]["edit_image"]) = (from("edit_image"), from("image"));
    let other = own.eval.with_file_name("swapped.json");
    std::fs::write(&other, serde_json::to_vec(&held_out).unwrap()).unwrap();
    let mut args = own.args(&out, &[]);
    let at = args.iter().position(|a| *a == path(&own.eval)).unwrap();
    args[at] = path(&other);
    refuse(IMAGE, &args, 1, &["swapped"]);

    let hide = |part: &str, word: &str| {
        let (from, to) = (own.model.join(part), own.root.join("hidden"));
        std::fs::rename(&from, &to).unwrap();
        bad(1, &[], &[word]);
        std::fs::rename(&to, &from).unwrap();
    };
    hide("vae", "vae");
    hide("scheduler", "scheduler");
    hide("transformer/config.json", "config.json");
    let config = own.model.join("vae/config.json");
    let said = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, said.replace("\"z_dim\": 16", "\"z_dim\": 8")).unwrap();
    bad(1, &[], &["vae"]);
    std::fs::write(&config, said).unwrap();
    let foreign =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/qwen_image/edit/lora");
    bad(1, &["--adapter", path(&foreign)], &["transformer_blocks"]);
}
