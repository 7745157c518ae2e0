//! Our files in the hands of their real readers, and theirs in ours. Needs Python with the packages of
//! `tests/parity/requirements.txt`; `VTB_PYTHON` names the interpreter. Skipped with a message where it is absent.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

#[path = "../e2e/common.rs"]
mod common;
mod python;

use std::path::{Path, PathBuf};

use burn::tensor::DType;
use common::{GRPO, INFER, SFT, path, stdout, succeed};
use python::python;
use serde_json::Value;
use vtb_models_vlm::config::MoeConfig;
use vtb_models_vlm::qwen3_vl::Qwen3Vl;
use vtb_models_vlm::tiny::TinySpec;
use vtb_nn::device::cpu_device;

fn prompt_file(dir: &Path, text: &str) -> PathBuf {
    let file = dir.join("prompt.txt");
    std::fs::write(&file, text).unwrap();
    file
}

fn infer(args: &[&str]) -> Value {
    let mut all = vec!["--json", "--temperature", "0", "--max-new-tokens", "8"];
    all.extend(args);
    serde_json::from_str(&stdout(&succeed(INFER, &all))).unwrap()
}

/// Our greedy answer must be theirs up to the first end token, where ours stops.
#[track_caller]
fn same_answer(ours: &Value, theirs: &Value) {
    assert_eq!(ours["prompt_token_ids"], theirs["input_ids"]);
    let ids = |v: &Value| -> Vec<i64> {
        v.as_array()
            .unwrap()
            .iter()
            .map(|i| i.as_i64().unwrap())
            .collect()
    };
    let (ours, theirs) = (ids(&ours["token_ids"]), ids(&theirs["greedy_ids"]));
    assert!(!ours.is_empty());
    assert_eq!(ours, theirs[..ours.len()]);
}

#[test]
fn a_saved_model_with_experts_loads_in_transformers() {
    let dir = tempfile::tempdir().unwrap();
    let spec = TinySpec {
        moe: Some(MoeConfig {
            num_experts: 8,
            experts_per_token: 2,
            intermediate_size: 48,
            sparse_step: 1,
            dense_layers: vec![1],
        }),
        tie: false,
        ..TinySpec::default()
    };
    let config = spec
        .write_files(dir.path(), &["Which colour is it?".to_owned()], 512)
        .unwrap();
    let model = Qwen3Vl::fresh(config, 3, &cpu_device(), DType::F32).unwrap();
    model.save(dir.path()).unwrap();
    let question = "Which colour is it?";
    let file = prompt_file(dir.path(), question);
    let args = [
        path(dir.path()),
        "--prompt-file",
        path(&file),
        "--max-new-tokens",
        "8",
    ];
    let Some(theirs) = python("check_model_dir.py", &args) else {
        return;
    };
    let asked = ["--model", path(dir.path()), "--prompt", question];
    same_answer(&infer(&asked), &theirs);
}

#[test]
fn a_tiny_model_and_its_adapter_load_in_transformers_and_peft() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    answers_are_those_of_transformers_and_peft(&own, dir.path());
}

#[test]
fn a_tiny_qwen2_5_and_its_adapter_load_in_transformers_and_peft() {
    let dir = tempfile::tempdir().unwrap();
    let mut own = common::own_model_and_data(dir.path(), "color_grid");
    own.model = common::tiny_qwen2_5(dir.path());
    answers_are_those_of_transformers_and_peft(&own, dir.path());
}

/// One question to the model, and one to an adapter trained on it, there and here.
fn answers_are_those_of_transformers_and_peft(own: &common::Own, dir: &Path) {
    let picture = std::fs::read_dir(dir.join("images"))
        .or_else(|_| std::fs::read_dir(dir.join("train")))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let question = "Which color is missing? Reply <answer>color</answer>.";
    let file = prompt_file(dir, question);
    let args = [
        "--prompt-file",
        path(&file),
        "--image",
        path(&picture),
        "--max-new-tokens",
        "8",
    ];
    let mut all = vec![path(&own.model)];
    all.extend(args);
    let Some(theirs) = python("check_model_dir.py", &all) else {
        return;
    };
    let asked = [
        "--model",
        path(&own.model),
        "--image",
        path(&picture),
        "--prompt",
        question,
    ];
    same_answer(&infer(&asked), &theirs);

    let out = dir.join("sft");
    succeed(
        SFT,
        &[
            "--model",
            path(&own.model),
            "--data",
            path(&own.data),
            "--output-dir",
            path(&out),
            "--max-steps",
            "6",
            "--learning-rate",
            "0.02",
            "--batch-size",
            "4",
            "--set",
            "train.schedule=constant",
        ],
    );
    let adapter = out.join("checkpoints/step-6/adapter");
    let mut all = vec![path(&own.model), path(&adapter)];
    all.extend(&args[..4]);
    let theirs = python("check_adapter.py", &all).unwrap();
    let mut asked = asked.to_vec();
    asked.extend(["--adapter", path(&adapter)]);
    first_token_agrees(&infer(&asked), &theirs);
}

/// The first greedy token and its log-probability, against the logits the reference computed with the adapter.
#[track_caller]
fn first_token_agrees(ours: &Value, theirs: &Value) {
    let logits: Vec<f64> = theirs["logits"]
        .as_array()
        .unwrap()
        .iter()
        .map(|x| x.as_f64().unwrap())
        .collect();
    let id = ours["token_ids"][0].as_u64().unwrap() as usize;
    let max = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    assert!(
        max - logits[id] < 1e-4,
        "the reference prefers another token by {}",
        max - logits[id]
    );
    let total: f64 = logits.iter().map(|l| (l - max).exp()).sum();
    let expected = logits[id] - max - total.ln();
    let found = ours["logprobs"][0].as_f64().unwrap();
    assert!(
        (found - expected).abs() < 1e-3,
        "log-probability {found}, the reference says {expected}"
    );
}

#[test]
fn a_model_and_rows_made_outside_train_here() {
    let dir = tempfile::tempdir().unwrap();
    let Some(made) = python("make_model_dir.py", &[path(dir.path())]) else {
        return;
    };
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    let (model, image, prompt) = (text("model"), text("image"), text("prompt_file"));
    let args = [
        &model,
        "--prompt-file",
        &prompt,
        "--image",
        &image,
        "--max-new-tokens",
        "8",
    ];
    let theirs = python("check_model_dir.py", &args).unwrap();
    let question = std::fs::read_to_string(&prompt).unwrap();
    same_answer(
        &infer(&["--model", &model, "--image", &image, "--prompt", &question]),
        &theirs,
    );

    let (grpo, sft) = (dir.path().join("run-grpo"), dir.path().join("run-sft"));
    let (grpo_rows, sft_rows) = (text("grpo"), text("sft"));
    succeed(
        GRPO,
        &[
            "--model",
            &model,
            "--data",
            &grpo_rows,
            "--output-dir",
            path(&grpo),
            "--max-steps",
            "2",
            "--max-completion-length",
            "6",
        ],
    );
    succeed(
        SFT,
        &[
            "--model",
            &model,
            "--data",
            &sft_rows,
            "--output-dir",
            path(&sft),
            "--max-steps",
            "2",
            "--batch-size",
            "4",
        ],
    );
    let events = python("check_tensorboard.py", &[path(&grpo)]).unwrap();
    assert!(events.to_string().contains("reward"), "{events}");

    let adapter = dir.path().join("peft");
    let args = [
        &model,
        path(&adapter),
        "--prompt-file",
        &prompt,
        "--image",
        &image,
    ];
    if python("make_adapter.py", &args).is_some() {
        let expected = std::fs::read_to_string(adapter.join("expected.json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let asked = [
            "--model",
            &model,
            "--adapter",
            path(&adapter),
            "--image",
            &image,
            "--prompt",
            &question,
        ];
        first_token_agrees(&infer(&asked), &expected);
    }
}

const GENERATE: &str = env!("CARGO_BIN_EXE_generate-dataset");
const PREPARE: &str = env!("CARGO_BIN_EXE_prepare-data");

/// What `prepare-data` writes, in the hands of `datasets`, pandas, PyAV and a reader by DiffSynth's rules.
#[cfg(feature = "parquet")]
#[test]
fn prepared_data_open_in_the_libraries_that_read_them() {
    let dir = tempfile::tempdir().unwrap();
    let place = |name: &str| dir.path().join(name);
    let [data, vlm, shards, tars] = ["data", "vlm", "shards", "tars"].map(place);
    let [images, videos] = ["images/metadata.json", "videos/train_video.csv"].map(place);
    // One task for each kind of answer, options listed and not.
    let tasks = "color_grid,maze_square,rects,mirror,midpoint,circle_count";
    let args = [
        "--output-dir",
        path(&data),
        "--count",
        "4",
        "--seed",
        "3",
        "--tasks",
        tasks,
    ];
    succeed(
        GENERATE,
        &[&args[..], &["--split", "train=0.6,test=0.4"]].concat(),
    );
    let root = ["--data-root", path(&data)];
    let prepare = |args: &[&str]| drop(succeed(PREPARE, &[args, &root[..]].concat()));
    prepare(&["parquet", "--output-dir", path(&shards)]);
    let Some(found) = python("check_prepared.py", &["parquet", path(&shards)]) else {
        return;
    };
    let manifest = vtb_data::manifest::Manifest::open(&data).unwrap();
    let entries: Vec<_> = manifest.iter().map(Result::unwrap).collect();
    let count = entries.len();
    let size = |bytes: &[u8]| -> Value {
        let picture = image::load_from_memory(bytes).unwrap().into_rgb8();
        serde_json::json!([picture.width(), picture.height(), picture.get_pixel(0, 0).0])
    };
    let listed = |split: &str| found["rows"][split].as_array().unwrap().clone();
    let rows = [listed("train"), listed("test")].concat();
    assert_eq!(rows.len(), count);
    assert_eq!(found["pandas"], count);
    assert_eq!(found["bytes"], serde_json::json!(["bytes", "path"]));
    assert_eq!(found["png"], "89504e47");
    assert!(
        found["features"]["images"]
            .as_str()
            .unwrap()
            .contains("Image("),
        "{}",
        found["features"]
    );
    for entry in &entries {
        let row = rows.iter().find(|row| row["id"] == *entry.id).unwrap();
        let record = entry.record.as_ref().unwrap();
        assert_eq!(row["record"], *entry.id);
        assert_eq!(row["split"].as_str(), entry.split.as_deref());
        assert_eq!(
            row["images"],
            serde_json::json!([size(&entry.puzzle.read(1 << 22).unwrap())])
        );
        let solution = entry.solution.as_ref().unwrap().read(1 << 22).unwrap();
        assert_eq!(row["solution_image"], size(&solution));
        assert_eq!(row["puzzle_image"], Value::Null);
        assert_eq!(row["messages"][1]["content"], record.gold_text());
        let options = row["options"].as_array().map_or(0, Vec::len);
        assert_eq!(options, record.options.len(), "{}", row["options"]);
    }
    let found = python("check_prepared.py", &["whole", path(&shards)]).unwrap();
    assert_eq!(
        found["train"].as_u64().unwrap() + found["test"].as_u64().unwrap(),
        count as u64
    );

    for schema in ["swift", "trl"] {
        prepare(&["vlm", "--output-dir", path(&vlm), "--schema", schema]);
        let [sft, grpo] = ["train_sft.jsonl", "train_grpo.jsonl"].map(|name| vlm.join(name));
        let found = python("check_prepared.py", &["jsonl", path(&sft), path(&grpo)]).unwrap();
        for name in ["train_sft.jsonl", "train_grpo.jsonl"] {
            let found = &found[name];
            assert_eq!(
                (&found["rows"], &found["pandas"]),
                (&count.into(), &count.into())
            );
            assert!(found["solution"].as_str().unwrap().contains("string"));
            assert_eq!(found["sizes"].as_array().unwrap().len(), count);
            let columns = found["columns"].to_string();
            for column in ["maze", "options", "scene_hash", "split"] {
                assert!(columns.contains(column), "{columns}");
            }
        }
    }

    prepare(&[
        "parquet",
        "--format",
        "webdataset",
        "--output-dir",
        path(&tars),
    ]);
    let found = python("check_prepared.py", &["webdataset", path(&tars)]).unwrap();
    let rows = found["rows"].as_array().unwrap();
    assert_eq!(rows.len(), count);
    for entry in &entries {
        let row = rows.iter().find(|row| row["id"] == *entry.id).unwrap();
        assert_eq!(row["picture"], size(&entry.puzzle.read(1 << 22).unwrap()));
    }

    prepare(&["image", "--output-path", path(&images)]);
    let found = python(
        "check_prepared.py",
        &["diffsynth", path(&images), path(&data)],
    )
    .unwrap();
    assert_eq!(found["rows"].as_array().unwrap().len(), count);
    let shape = [
        "--frames", "5", "--size", "256x288", "--fit", "crop", "--fps", "15",
    ];
    let to = [
        "video",
        "--output-path",
        path(&videos),
        "--path-mode",
        "output",
        "--tasks",
        "midpoint,mirror",
    ];
    prepare(&[&to[..], &shape[..]].concat());
    let base = videos.parent().unwrap();
    let found = python(
        "check_prepared.py",
        &["diffsynth", path(&videos), path(base)],
    )
    .unwrap();
    assert_eq!(found["rows"].as_array().unwrap().len(), 8);
    let found = python("check_prepared.py", &["clips", path(&videos)]).unwrap();
    for clip in found["clips"].as_array().unwrap() {
        let wanted =
            serde_json::json!({"codec": "h264", "frames": 5, "fps": 15.0, "size": [256, 288]});
        assert_eq!(*clip, wanted);
    }
}
