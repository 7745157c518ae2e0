//! Completions over HTTP, from a server on loopback that samples with the same tiny model.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;
mod rollout_server;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::{DType, Tensor};
use common::{GRPO, path, refuse, stderr, stdout};
use rollout_server::{Mischief, Server};
use serde_json::{Value, json};
use vtb_bins::data::Rows;
use vtb_bins::model::{Machine, open_model};
use vtb_data::{GeneratedDataset, PuzzleSpec, RowMode};
use vtb_lora::LoraConfig;
use vtb_models_vlm::AnyVlm;
use vtb_nn::lm::{Completion, NamedTensors, SampleOptions};
use vtb_nn::trainable::Trainable;
use vtb_trainer::TrainError;
use vtb_trainer::rollout::{ApiKey, HttpRollout, HttpSettings, InProcess, Rollout};
use vtb_trainer::train::{Prompt, PromptSource};

/// A model with an adapter that acts, prompts with pictures, and a server with the same base model.
struct Stage {
    dir: tempfile::TempDir,
    model: AnyVlm,
    prompts: Vec<Prompt>,
    options: SampleOptions,
    server: Server,
}

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let spec = PuzzleSpec {
            task: "color_grid".into(),
            params: json!({"canvas": 96, "prompt_style": "short", "list_options": false}),
            seed: 1,
            count: 8,
        };
        let data = GeneratedDataset::new(&spec, RowMode::Grpo, &BTreeSet::new()).unwrap();
        let machine = Machine {
            device: vtb_nn::device::cpu_device(),
            dtype: DType::F32,
        };
        let base = dir.path().join("model");
        vtb_bins::demo::write_tiny_model(&base, &data, 3, &machine).unwrap();
        let (mut model, encoder) = open_model(&base, None, &machine).unwrap();
        model.attach_adapter(&LoraConfig::default(), 5).unwrap();
        shake(&mut model);
        let stop_ids = encoder.tokenizer.stop_ids();
        let rows = Rows::new(Arc::new(data), Arc::new(encoder)).with_chat(true);
        let options = SampleOptions {
            max_new_tokens: 12,
            temperature: 0.9,
            top_k: 300,
            top_p: 0.98,
            stop_ids,
            ..SampleOptions::default()
        };
        Self {
            server: Server::start(&base, None),
            model,
            prompts: (0..3).map(|i| rows.prompt(i).unwrap()).collect(),
            options,
            dir,
        }
    }

    fn settings(&self) -> HttpSettings {
        HttpSettings {
            url: self.server.url.clone(),
            key: None,
            adapter_dir: self.dir.path().join("adapters"),
            server_adapter_dir: None,
            base_model: "tiny".into(),
            concurrency: 4,
            timeout: Duration::from_secs(60),
            attempts: 3,
            backoff: Duration::from_millis(2),
            canary_tolerance: 1e-3,
            banned_ids: self.model.config().ids().all().to_vec(),
        }
    }

    fn rollout(&self) -> HttpRollout {
        HttpRollout::new(self.settings()).unwrap()
    }

    /// Three prompts, four completions each.
    fn complete(&self, rollout: &mut dyn Rollout) -> Result<Vec<Completion>, TrainError> {
        let prompts: Vec<&Prompt> = (0..12).map(|i| &self.prompts[i / 4]).collect();
        let seeds: Vec<u64> = (0..12).map(|i| u64::MAX - 7 * i).collect();
        rollout.complete(&self.model, &prompts, &self.options, &seeds)
    }

    /// Completions of both must be the same tokens.
    fn same_as_in_process(&self, rollout: &mut HttpRollout) -> Vec<Vec<u32>> {
        let served = self.complete(rollout).unwrap();
        let own = self.complete(&mut InProcess { batch: 5 }).unwrap();
        assert_eq!(served.len(), own.len());
        for (served, own) in served.iter().zip(&own) {
            assert_eq!((&served.ids, served.stop), (&own.ids, own.stop));
            for (a, b) in served.logprobs.iter().zip(&own.logprobs) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
        }
        served.into_iter().map(|c| c.ids).collect()
    }

    /// The rollout fails with one line that names the address and all of `parts`.
    #[track_caller]
    fn fails(&self, rollout: &mut HttpRollout, parts: &[&str]) -> String {
        let text = self.complete(rollout).unwrap_err().to_string();
        for part in parts.iter().chain([&self.server.url.as_str()]) {
            assert!(text.contains(part), "`{part}` is not named: {text}");
        }
        assert_eq!(text.lines().count(), 1, "{text}");
        text
    }
}

/// Moves the adapter, so that it acts, and acts in another way each time.
fn shake(model: &mut AnyVlm) {
    let values: NamedTensors = model
        .trainable_values()
        .into_iter()
        .map(|(name, value)| {
            let noise: Vec<f32> = (0..value.dims()[0])
                .map(|i| 0.05 * ((i * 37 % 101) as f32 / 50.0 - 1.0))
                .collect();
            let device = value.device();
            (name, value + Tensor::from_floats(noise.as_slice(), &device))
        })
        .collect();
    model.set_trainable(values).unwrap();
}

/// Paths that were asked for, in order, without repetitions.
fn paths(seen: &[(String, Value)]) -> Vec<&str> {
    let mut paths: Vec<&str> = seen.iter().map(|(path, _)| path.as_str()).collect();
    paths.dedup();
    paths
}

const LOAD: &str = "/v1/load_lora_adapter";
const UNLOAD: &str = "/v1/unload_lora_adapter";
const CHAT: &str = "/v1/chat/completions";

#[test]
fn completions_are_those_of_this_process_whatever_the_weights() {
    let mut stage = Stage::new();
    let mut rollout = stage.rollout();
    rollout.probe().unwrap();
    let first = stage.same_as_in_process(&mut rollout);
    let lengths: BTreeSet<usize> = first.iter().map(Vec::len).collect();
    assert!(
        lengths.len() > 1 || lengths.first() > Some(&1),
        "{lengths:?}"
    );
    let seen = stage.server.seen();
    assert_eq!(paths(&seen), ["/v1/models", LOAD, CHAT]);
    // A canary on each of three prompts, then twelve completions; each names the adapter.
    let asked: Vec<&Value> = seen
        .iter()
        .filter(|(p, _)| p == CHAT)
        .map(|(_, b)| b)
        .collect();
    assert_eq!(asked.len(), 15);
    let loaded = stage.server.adapters();
    assert!(asked.iter().all(|body| body["model"] == loaded[0].as_str()));

    // The same weights are not loaded again.
    stage.complete(&mut rollout).unwrap();
    assert_eq!(paths(&stage.server.seen()), [CHAT]);

    // Other weights take their place, there and on disk.
    shake(&mut stage.model);
    let second = stage.same_as_in_process(&mut rollout);
    assert_ne!(first, second);
    assert_eq!(paths(&stage.server.seen()), [UNLOAD, LOAD, CHAT]);
    let now = stage.server.adapters();
    assert!(now.len() == 1 && now != loaded, "{now:?}");
    let dir = std::fs::read_dir(stage.dir.path().join("adapters")).unwrap();
    let kept: Vec<_> = dir.map(|e| e.unwrap().file_name()).collect();
    assert_eq!(kept, [now[0].as_str()]);

    // A run that goes on finds its weights there under the same name.
    let mut resumed = stage.rollout();
    assert_eq!(stage.same_as_in_process(&mut resumed), second);
    assert_eq!(stage.server.adapters(), now);
}

#[test]
fn a_server_that_answers_with_the_base_model_is_caught() {
    let mut stage = Stage::new();
    // An adapter that changes little: far less than the tolerance.
    let small = |(name, value): (String, Tensor<1>)| match name.ends_with("lora_B.weight") {
        true => (name, value * 0.01),
        false => (name, value),
    };
    let values = stage.model.trainable_values().into_iter().map(small);
    stage.model.set_trainable(values.collect()).unwrap();
    let mut settings = stage.settings();
    settings.canary_tolerance = 1.0;
    stage.server.set(Mischief::BaseModel);
    let mut rollout = HttpRollout::new(settings.clone()).unwrap();
    let text = stage.fails(
        &mut rollout,
        &[
            "the server answers with the base model",
            "vtb-",
            "--enable-lora",
        ],
    );
    assert!(text.contains(" 0 % of what"), "{text}");

    stage.server.set(Mischief::Nothing);
    stage.same_as_in_process(&mut HttpRollout::new(settings).unwrap());
    // Log-probabilities of another kind are found by the tolerance.
    stage.server.set(Mischief::Changed(|answer| {
        for entry in answer["choices"][0]["logprobs"]["content"]
            .as_array_mut()
            .unwrap()
        {
            entry["logprob"] = json!(1.5 * entry["logprob"].as_f64().unwrap());
        }
    }));
    let parts = ["rollout.canary_tolerance = 0.001", "--logprobs-mode"];
    stage.fails(&mut stage.rollout(), &parts);
}

#[test]
fn broken_connections_and_busy_servers_are_met_by_patience() {
    let stage = Stage::new();
    let mut rollout = stage.rollout();
    for mischief in [
        Mischief::Status(500, 2),
        Mischief::Status(429, 2),
        Mischief::Cut(2),
    ] {
        stage.server.set(mischief);
        stage.same_as_in_process(&mut rollout);
    }
    stage.server.set(Mischief::Status(503, usize::MAX));
    stage.server.seen();
    stage.fails(&mut rollout, &["status 503: busy", "the server's log"]);
    // Twelve prompts at most, three attempts each.
    assert!((3..=36).contains(&stage.server.seen().len()));
    stage.server.set(Mischief::Cut(usize::MAX));
    stage.fails(&mut rollout, &["3 attempts", "rollout.url"]);
    // No repetition mends a refusal.
    stage.server.set(Mischief::Status(400, usize::MAX));
    stage.server.seen();
    stage.fails(&mut rollout, &["status 400: busy"]);
    assert!(stage.server.seen().len() <= 12);

    let mut nowhere = stage.settings();
    nowhere.url = "http://127.0.0.1:9".into();
    let fault = HttpRollout::new(nowhere).unwrap().probe().unwrap_err();
    assert!(
        fault
            .to_string()
            .contains("http://127.0.0.1:9/v1/models cannot be reached")
    );
}

#[test]
fn a_server_that_hangs_ends_the_rollout_in_time() {
    let stage = Stage::new();
    let mut settings = stage.settings();
    let mut rollout = HttpRollout::new(settings.clone()).unwrap();
    stage.complete(&mut rollout).unwrap();
    settings.timeout = Duration::from_millis(300);
    settings.concurrency = 12;
    let mut rollout = HttpRollout::new(settings).unwrap();
    stage.server.set(Mischief::Hang(Duration::from_secs(60)));
    let started = Instant::now();
    stage.fails(&mut rollout, &["within 0.3 s", "rollout.timeout_seconds"]);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn answers_that_are_none_are_refused() {
    let stage = Stage::new();
    let mut rollout = stage.rollout();
    stage.complete(&mut rollout).unwrap();
    let huge = [b"{\"x\": \"".to_vec(), vec![b'x'; 4 << 20], b"\"}".to_vec()].concat();
    for (body, part) in [
        (b"<html>hello".to_vec(), "not that of a chat completion"),
        (b"[[[[".repeat(10_000), "not that of a chat completion"),
        (b"{\"choices\": []}".to_vec(), "return_token_ids"),
        (Vec::new(), "not that of a chat completion"),
        (huge, "has more than"),
    ] {
        stage.server.set(Mischief::Body(body));
        stage.fails(&mut rollout, &[part]);
    }
    type Change = fn(&mut Value);
    let changes: [(Change, &str); 4] = [
        (
            |a| a["prompt_token_ids"][3] = json!(0),
            "makes other tokens of the prompt",
        ),
        (|a| a["choices"][0]["token_ids"] = json!([1, 2, 3]), ""),
        (
            |a| a["choices"][0]["token_ids"] = Value::Null,
            "return_token_ids",
        ),
        (
            |a| a["choices"][0]["logprobs"] = Value::Null,
            "0 log-probabilities",
        ),
    ];
    for (change, part) in changes {
        stage.server.set(Mischief::Changed(change));
        stage.fails(&mut rollout, &[part]);
    }
}

#[test]
fn an_adapter_that_does_not_load_and_a_wrong_key() {
    let stage = Stage::new();
    stage.server.set(Mischief::NoLoad(404, "Not Found"));
    let parts = ["status 404", "VLLM_ALLOW_RUNTIME_LORA_UPDATING", "vtb-"];
    stage.fails(&mut stage.rollout(), &parts);
    stage
        .server
        .set(Mischief::NoLoad(500, "rank 16 is greater than 8"));
    let parts = [
        "rank 16 is greater",
        "--max-lora-rank",
        "rollout.server_adapter_dir",
    ];
    stage.fails(&mut stage.rollout(), &parts);
    // The server cannot see the directory.
    stage.server.set(Mischief::Nothing);
    let mut settings = stage.settings();
    settings.server_adapter_dir = Some("/nowhere".into());
    stage.fails(&mut HttpRollout::new(settings).unwrap(), &["/nowhere/vtb-"]);

    let guarded = Server::start(&stage.dir.path().join("model"), Some("sk-right"));
    let mut settings = stage.settings();
    settings.url = guarded.url.clone();
    settings.key = Some(ApiKey::new("sk-wrong", "KEY").unwrap());
    assert!(!format!("{settings:?}").contains("sk-wrong"));
    let text = HttpRollout::new(settings.clone())
        .unwrap()
        .probe()
        .unwrap_err()
        .to_string();
    // The server repeats the key it was sent.
    assert!(
        text.contains("[key] is not the key") && text.contains("rollout.api_key_env"),
        "{text}"
    );
    assert!(!text.contains("sk-wrong"), "{text}");
    settings.key = Some(ApiKey::new("sk-right", "KEY").unwrap());
    stage
        .complete(&mut HttpRollout::new(settings).unwrap())
        .unwrap();
}

fn train(own: &common::Own, out: &Path, extra: &[&str]) -> Output {
    let mut args = vec![
        "--model",
        path(&own.model),
        "--data",
        path(&own.data),
        "--output-dir",
        path(out),
        "--max-steps",
        "4",
        "--batch-size",
        "8",
        "--learning-rate",
        "0.01",
        "--num-generations",
        "4",
        "--max-completion-length",
        "6",
        "--set",
        "log.seconds=0",
        "--set",
        "save.steps=2",
        "--set",
        "train.warmup_ratio=0",
    ];
    args.extend(extra);
    let mut command = Command::new(GRPO);
    command
        .args(args)
        .env("RAYON_NUM_THREADS", "2")
        .env("RUST_LOG", "debug")
        .env("VTB_ROLLOUT_API_KEY", "sk-of-the-run");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    for text in [stdout(&output), stderr(&output)] {
        assert!(!text.contains("sk-of-the-run"), "{text}");
    }
    output
}

/// A model that has seen answers, so that some of its own are right and others wrong.
fn warm(dir: &Path) -> common::Own {
    let own = common::own_model_and_data(dir, "color_grid");
    let out = dir.join("warm");
    let args = [
        "--model",
        path(&own.model),
        "--data",
        path(&own.data),
        "--output-dir",
        path(&out),
        "--max-steps",
        "60",
        "--batch-size",
        "8",
        "--learning-rate",
        "0.002",
        "--set",
        "train.mode=full",
        "--set",
        "log.seconds=0",
    ];
    common::succeed(common::SFT, &args);
    common::Own {
        model: out.join("checkpoints/step-60/model"),
        data: own.data,
    }
}

fn metrics(out: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

#[test]
fn a_run_over_http_is_the_run_in_this_process() {
    let dir = tempfile::tempdir().unwrap();
    let own = warm(dir.path());
    let server = Server::start(&own.model, Some("sk-of-the-run"));
    let (here, there) = (dir.path().join("here"), dir.path().join("there"));
    train(&own, &here, &[]);
    let url = format!("rollout.url={}", json!(server.url));
    let http = ["--set", "rollout.backend=http", "--set", url.as_str()];
    train(&own, &there, &http);
    // Each step moves the weights, so each rollout loads its own.
    let seen = server.seen();
    assert_eq!(seen.iter().filter(|(path, _)| path == LOAD).count(), 4);
    assert_eq!(server.adapters().len(), 1);
    let (own_steps, steps) = (metrics(&here), metrics(&there));
    assert_eq!((own_steps.len(), steps.len()), (4, 4));
    for (a, b) in own_steps.iter().zip(&steps) {
        for key in [
            "reward",
            "completions/mean_length",
            "num_tokens",
            "grad_norm",
        ] {
            assert_eq!(a[key], b[key], "{key}");
        }
        let far = b["sampling/sampling_logp_difference/max"].as_f64().unwrap();
        assert!(far < 1e-4, "{far}");
    }
    let adapter = |out: &Path| {
        let file = "checkpoints/step-4/adapter/adapter_model.safetensors";
        std::fs::read(out.join(file)).unwrap()
    };
    assert_eq!(adapter(&here), adapter(&there));

    // With a correction that meets no difference, weights are 1; a resumed run may find the server elsewhere.
    let corrected = dir.path().join("corrected");
    let mode = "grpo.sampling_correction=sequence_mask";
    train(&own, &corrected, &[&http[..], &["--set", mode]].concat());
    for step in metrics(&corrected) {
        let weight = step["sampling/correction/weight_mean"].as_f64().unwrap();
        assert!((weight - 1.0).abs() < 1e-3, "{weight}");
        assert_eq!(step["sampling/correction/dropped"], 0.0);
    }
}

#[test]
fn settings_without_meaning_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    let out = dir.path().join("out");
    let base = [
        "--model",
        path(&own.model),
        "--data",
        path(&own.data),
        "--output-dir",
        path(&out),
        "--set",
        "rollout.backend=http",
    ];
    for (set, parts) in [
        (
            "rollout.backend=vllm",
            ["rollout.backend", "`in-process` or `http`"],
        ),
        (
            "rollout.url=localhost:8000",
            ["rollout.url", "http://host:port"],
        ),
        (
            "rollout.concurrency=0",
            ["rollout.concurrency = 0", "1 to 1024"],
        ),
        (
            "rollout.timeout_seconds=0",
            ["rollout.timeout_seconds", "above 0"],
        ),
        ("rollout.attempts=0", ["rollout.attempts", "1 to 20"]),
        (
            "train.mode=full",
            ["rollout.backend", "train.mode = `lora`"],
        ),
        ("lora.dropout=0.1", ["lora.dropout = 0", "without dropout"]),
        (
            "grpo.sampling_correction_cap=0.5",
            ["sampling_correction_cap", "1 or above"],
        ),
        ("rollout.url_=1", ["rollout.url_", "rollout.url"]),
    ] {
        refuse(GRPO, &[&base[..], &["--set", set]].concat(), 2, &parts);
    }
    assert!(!out.exists());
    let dead = [
        "--set",
        "rollout.url=http://127.0.0.1:9",
        "--set",
        "rollout.attempts=1",
    ];
    refuse(
        GRPO,
        &[&base[..], &dead].concat(),
        1,
        &["http://127.0.0.1:9", "rollout.url"],
    );
}
