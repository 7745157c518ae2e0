//! What is measured on held-out rows while training, and answers to whole files.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;
use std::path::Path;

use common::{
    GRPO, INFER, SFT, own_model_and_data, path, refuse, stdout, succeed, training, words,
};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{ListAccessor, RowAccessor};
use serde_json::Value;

fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let row = |line: &str| serde_json::from_str(line).unwrap();
    text.lines().map(row).collect()
}

#[test]
fn a_split_is_measured_by_answers_samples_and_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let own = own_model_and_data(dir.path(), "color_grid");
    let out = dir.path().join("run");
    let args = training(
        &own,
        &out,
        &[
            "train.max_steps=4",
            "batch.batch_size=2",
            "train.eval_steps=2",
            "train.learning_rate=0.01",
            "data.eval_split=0.25",
            "eval.num_samples=3",
            "eval.max_new_tokens=4",
            "eval.batch_size=5",
        ],
    );
    let args = words(&args);
    let printed = stdout(&succeed(SFT, &args));
    assert!(printed.contains("6 puzzles"), "a quarter of 24: {printed}");
    let rows = metrics(&out);
    for (step, row) in rows.iter().enumerate() {
        assert_eq!(row.get("eval/accuracy").is_some(), step % 2 == 1, "{row}");
    }
    for key in [
        "eval/pass@1",
        "eval/pass@2",
        "eval/pass@3",
        "eval/token_accuracy",
    ] {
        let share = rows[3][key].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&share), "{key} {share}");
    }
    let pass = |k: usize| rows[3][format!("eval/pass@{k}")].as_f64().unwrap();
    assert!(pass(1) <= pass(2) && pass(2) <= pass(3));
    let loss = |step: usize| rows[step]["eval/loss"].as_f64().unwrap();
    assert!(
        loss(3) < loss(1),
        "held-out loss {} then {}",
        loss(1),
        loss(3)
    );
    let summary: Value =
        serde_json::from_slice(&fs::read(out.join("summary.json")).unwrap()).unwrap();
    assert_eq!(summary["after"]["n"], 6);
    assert_eq!(summary["after"]["loss"].as_f64().unwrap(), loss(3));
}

/// A step over all rows and an evaluation of all rows are of the same model, where nothing moves it.
#[test]
fn held_out_loss_is_that_of_a_training_step() {
    let dir = tempfile::tempdir().unwrap();
    let own = own_model_and_data(dir.path(), "color_grid");
    let out = dir.path().join("run");
    let mut args = training(
        &own,
        &out,
        &[
            "train.max_steps=1",
            "batch.batch_size=24",
            "train.eval_steps=1",
            "train.learning_rate=0.0",
            "eval.batch_size=40",
        ],
    );
    args.extend(["--eval-data", path(&own.data)].map(str::to_owned));
    let args = words(&args);
    succeed(SFT, &args);
    let row = &metrics(&out)[0];
    for (held_out, trained) in [
        ("eval/loss", "loss"),
        ("eval/token_accuracy", "token_accuracy"),
    ] {
        let [held_out, trained] = [held_out, trained].map(|key| row[key].as_f64().unwrap());
        assert!((held_out - trained).abs() < 1e-4, "{row}");
    }
    assert!(row["loss"].as_f64().unwrap() > 0.1);
}

#[test]
fn rows_without_solutions_rank_checkpoints_by_their_loss() {
    let dir = tempfile::tempdir().unwrap();
    let own = own_model_and_data(dir.path(), "color_grid");
    // The same rows as chats of which nothing is known but the answer.
    let text = fs::read_to_string(&own.data).unwrap();
    let bare = text.lines().map(|line| {
        let row: Value = serde_json::from_str(line).unwrap();
        let kept = ["messages", "images"].map(|key| (key.to_owned(), row[key].clone()));
        Value::Object(kept.into_iter().collect()).to_string() + "\n"
    });
    fs::write(&own.data, bare.collect::<String>()).unwrap();
    let out = dir.path().join("run");
    let mut args = training(
        &own,
        &out,
        &[
            "train.max_steps=4",
            "batch.batch_size=2",
            "train.eval_steps=1",
            "train.schedule=constant",
            "train.warmup_ratio=0",
            // So far that the first step is the best and the others ruin the model.
            "train.learning_rate=0.5",
            "save.steps=1",
            "save.keep_last=1",
            "eval.max_rows=8",
        ],
    );
    args.extend(["--eval-data", path(&own.data)].map(str::to_owned));
    let args = words(&args);
    succeed(SFT, &args);
    let losses: Vec<f64> = metrics(&out)
        .iter()
        .map(|row| row["eval/loss"].as_f64().unwrap())
        .collect();
    let best = (0..4)
        .min_by(|a, b| losses[*a].total_cmp(&losses[*b]))
        .unwrap()
        + 1;
    assert_ne!(best, 4, "{losses:?}");
    let mut kept: Vec<String> = fs::read_dir(out.join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("step-"))
        .collect();
    kept.sort();
    assert_eq!(
        kept,
        [format!("step-{best}"), "step-4".to_owned()],
        "{losses:?}"
    );

    // Nothing to compare with at all.
    let none = fs::read_to_string(&own.data)
        .unwrap()
        .lines()
        .next()
        .map(|line| {
            let mut row: Value = serde_json::from_str(line).unwrap();
            row["messages"].as_array_mut().unwrap().pop();
            row.to_string()
        });
    let empty = dir.path().join("questions.jsonl");
    fs::write(&empty, none.unwrap()).unwrap();
    let other = dir.path().join("other");
    let mut args = training(&own, &other, &[]);
    args.extend(["--eval-data", path(&empty)].map(str::to_owned));
    let args = words(&args);
    refuse(SFT, &args, 1, &["no held-out row has a `solution`"]);
}

#[test]
fn settings_of_evaluation_that_make_no_sense_are_refused() {
    for (set, part) in [
        ("data.eval_split=1.5", "data.eval_split"),
        ("data.eval_split=0.1", "no data is named"),
        ("eval.batch_size=0", "eval.batch_size"),
        ("train.vit_lr=-1.0", "train.vit_lr"),
    ] {
        refuse(SFT, &["--set", set, "--dry-run"], 2, &[part]);
    }
    let args = [
        "--dry-run",
        "--set",
        "eval.num_samples=4",
        "--set",
        "eval.temperature=0.0",
    ];
    refuse(GRPO, &args, 2, &["eval.temperature"]);
}

#[test]
fn answers_to_a_file_go_on_where_they_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let own = own_model_and_data(dir.path(), "color_grid");
    let out = dir.path().join("answers.jsonl");
    let args = [
        "--model",
        path(&own.model),
        "--data",
        path(&own.data),
        "--output",
        path(&out),
        "--num-samples",
        "2",
        "--temperature",
        "1",
        "--max-new-tokens",
        "5",
        "--max-num-seqs",
        "3",
    ];
    let printed = stdout(&succeed(INFER, &args));
    assert!(printed.contains("48 answers"), "{printed}");
    let whole = fs::read(&out).unwrap();
    let lines: Vec<Value> = String::from_utf8(whole.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 48);
    assert!(lines.iter().all(|line| line["text"].is_string()));
    assert!(
        lines
            .chunks(2)
            .any(|pair| pair[0]["text"] != pair[1]["text"]),
        "samples differ"
    );
    // A kill within a line, one between the answers of a row, one after a row, and none.
    for kept in [whole.len() / 2, 0, whole.len()] {
        fs::write(&out, &whole[..kept]).unwrap();
        succeed(INFER, &args);
        assert!(fs::read(&out).unwrap() == whole, "cut at {kept}");
    }
    // Another file's answers.
    let text = String::from_utf8(whole).unwrap();
    fs::write(
        &out,
        text.replacen(lines[0]["id"].as_str().unwrap(), "another", 2),
    )
    .unwrap();
    refuse(INFER, &args, 1, &["line 1", "another", "name another file"]);
    fs::write(&out, "{}\n").unwrap();
    refuse(INFER, &args, 1, &["line 1", "not an answer"]);
    let greedy = [&args[..6], &["--num-samples", "2"]].concat();
    refuse(INFER, &greedy, 2, &["--temperature"]);
}

#[test]
fn completions_are_kept_with_their_pictures_and_the_longest_batch_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let own = own_model_and_data(dir.path(), "color_grid");
    let out = dir.path().join("run");
    let args = training(
        &own,
        &out,
        &[
            "train.max_steps=2",
            "batch.batch_size=16",
            "grpo.max_completion_length=6",
            "grpo.overlong_buffer=6",
            "log.completion_steps=1",
            "log.completion_pictures=true",
        ],
    );
    let args = words(&args);
    let output = succeed(GRPO, &args);
    let told = common::stderr(&output);
    assert!(told.contains("probe: the longest batch (16 rows"), "{told}");
    for step in 0..2 {
        let place = out.join(format!("completions/step-{step:06}"));
        let jsonl = fs::read_to_string(place.with_extension("jsonl")).unwrap();
        assert_eq!(jsonl.lines().count(), 16);
        let file = fs::File::open(place.with_extension("parquet")).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let rows: Vec<_> = reader
            .get_row_iter(None)
            .unwrap()
            .map(|row| row.unwrap())
            .collect();
        for (row, line) in rows.iter().zip(jsonl.lines()) {
            let line: Value = serde_json::from_str(line).unwrap();
            assert_eq!(
                row.get_string(3).unwrap(),
                line["completion"].as_str().unwrap()
            );
            assert_eq!(row.get_double(4).unwrap(), line["reward"].as_f64().unwrap());
            let pictures = row.get_list(9).unwrap();
            let bytes = pictures.get_group(0).unwrap().get_bytes(0).unwrap();
            let id = line["id"].as_str().unwrap();
            let file = fs::read(dir.path().join(format!("images/{id}.png"))).unwrap();
            assert!(bytes.data() == file, "the picture of {id}");
        }
    }
    // Completions of up to the limit are charged for every token of the buffer.
    let charged = metrics(&out)[0]["completions/overlong_penalty"]
        .as_f64()
        .unwrap();
    assert!(charged > 0.0 && charged <= 1.0, "{charged}");
}

#[test]
fn what_is_learned_and_how_long_rows_may_be_are_settings() {
    let dir = tempfile::tempdir().unwrap();
    let own = own_model_and_data(dir.path(), "color_grid");
    let step = |name: &str, sets: &[&str]| {
        let out = dir.path().join(name);
        let mut args = vec!["--model", path(&own.model), "--data", path(&own.data)];
        args.extend([
            "--output-dir",
            path(&out),
            "--max-steps",
            "1",
            "--batch-size",
            "24",
        ]);
        args.extend(sets.iter().flat_map(|set| ["--set", *set]));
        succeed(SFT, &args);
        let row = metrics(&out).remove(0);
        ["scored_tokens", "num_tokens"].map(|key| row[key].as_f64().unwrap() as u64)
    };
    let [answers, tokens] = step("default", &[]);
    let [all, same] = step("all", &["data.loss_scale=all"]);
    assert!(
        all > 2 * answers && all < tokens,
        "{answers} {all} {tokens}"
    );
    assert_eq!(same, tokens);
    assert_eq!(
        step("last", &["data.loss_scale=last_round"]),
        [answers, tokens]
    );
    // All rows are about as long; a few tokens less than the mean is too short for them.
    let limit = tokens / 24 - 3;
    let limit = format!("model.max_length={limit}");
    let [still, fewer] = step("left", &[&limit, "model.truncation_strategy=left"]);
    assert!(fewer < tokens, "{fewer} of {tokens}");
    assert_eq!(still, answers, "text is taken from the beginning");
    let args = [
        "--model",
        path(&own.model),
        "--data",
        path(&own.data),
        "--set",
        &limit,
    ];
    let out = dir.path().join("raise");
    let args = [&args[..], &["--output-dir", path(&out)]].concat();
    refuse(SFT, &args, 1, &["train.jsonl", "tokens"]);
    for (set, part) in [
        ("data.loss_scale=some", "data.loss_scale"),
        ("model.truncation_strategy=cut", "model.truncation_strategy"),
    ] {
        refuse(SFT, &["--dry-run", "--set", set], 2, &[part]);
    }
}

#[test]
fn a_dry_run_tells_the_memory() {
    let dir = tempfile::tempdir().unwrap();
    let own = own_model_and_data(dir.path(), "color_grid");
    let plan = |program: &str, memory: &str, further: &[&str]| {
        let mut args = vec!["--model", path(&own.model), "--data", path(&own.data)];
        args.extend(["--dry-run", "--device-memory", memory]);
        args.extend(further);
        stdout(&succeed(program, &args))
    };
    let line = |text: &str, name: &str| {
        let found = text
            .lines()
            .find(|line| line.trim_start().starts_with(name));
        found.unwrap_or_else(|| panic!("{name}\n{text}")).to_owned()
    };
    let most = |text: &str| -> u64 {
        let told = text.rsplit_once("batch.batch_size = ").unwrap().1;
        told.lines().next().unwrap().parse().unwrap()
    };
    let small = plan(SFT, "0.25", &[]);
    for name in ["trainable", "rows", "activations", "peak"] {
        line(&small, name);
    }
    assert!(!small.contains("keys and values"), "{small}");
    let large = plan(SFT, "1", &[]);
    assert!(most(&large) > 3 * most(&small), "{small}{large}");
    let kept = plan(SFT, "1", &["--set", "batch.recompute=false"]);
    assert!(most(&kept) < most(&large), "{kept}{large}");
    let none = plan(SFT, "0.05", &[]);
    assert!(
        none.contains("no batch fits") && none.contains("warning"),
        "{none}"
    );
    let sampled = plan(GRPO, "1", &[]);
    line(&sampled, "keys and values");
    // Nothing was written beside the model and the data.
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 3);
}

/// Small steps in bf16: each is lost in the stored weights, all of them together are not.
#[test]
fn full_training_in_bf16_keeps_small_updates() {
    let dir = tempfile::tempdir().unwrap();
    let own = own_model_and_data(dir.path(), "color_grid");
    let out = dir.path().join("run");
    let args = training(
        &own,
        &out,
        &[
            "model.precision=bf16",
            "batch.batch_size=2",
            "train.max_steps=12",
            "train.mode=full",
            "train.schedule=constant",
            "train.warmup_ratio=0",
            "train.learning_rate=2e-6",
            "train.freeze_vit=false",
            "train.vit_lr=0.0",
            "train.freeze_aligner=false",
            "save.steps=6",
            "save.keep_last=0",
        ],
    );
    let args = words(&args);
    succeed(SFT, &args);
    let read = |step: usize| {
        let place = format!("checkpoints/step-{step}/trainable.safetensors");
        fs::read(out.join(place)).unwrap()
    };
    let (half, whole) = (read(6), read(12));
    let [half, whole] =
        [&half, &whole].map(|bytes| safetensors::SafeTensors::deserialize(bytes).unwrap());
    let values = |tensors: &safetensors::SafeTensors<'_>, name: &str| -> Vec<f32> {
        let data = tensors.tensor(name).unwrap().data().to_vec();
        data.as_chunks::<4>()
            .0
            .iter()
            .map(|b| f32::from_le_bytes(*b))
            .collect()
    };
    let (mut moved, mut kept) = (0, 0);
    for name in half.names() {
        let (before, after) = (values(&half, name), values(&whole, name));
        let merger = name.contains("merger");
        if name.starts_with("model.visual.") && !merger {
            assert_eq!(before, after, "{name} has a rate of 0");
            kept += 1;
            continue;
        }
        // Six steps of AdamW move by at most 6 rates, far below the resolution of bf16 at the size of most weights.
        let most = before
            .iter()
            .zip(&after)
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(most < 2e-5, "{name} moved by {most}");
        moved += usize::from(most > 1e-6);
    }
    assert!(moved > 10 && kept > 10, "{moved} moved, {kept} kept");
}
