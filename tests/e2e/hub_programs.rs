//! Programs that are given names on the hub: a hub on loopback serves a tiny model, its adapter and its data.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;
#[path = "../../crates/vtb-data/tests/common/hub_server.rs"]
mod hub_server;
mod lora_files;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use burn::tensor::DType;
use common::{INFER, SFT, path, stderr, stdout};
use hub_server::{COMMIT, HubServer, Repository};
use vtb_lora::{AdapterFormat, AdapterHeader, LinearInfo, write_as};
use vtb_nn::checkpoint::Checkpoint;

const EVALUATE: &str = env!("CARGO_BIN_EXE_evaluate");

/// Every file of a folder, as a repository.
fn upload(kind: &'static str, id: &str, dir: &Path) -> Repository {
    fn add(mut repository: Repository, root: &Path, dir: &Path) -> Repository {
        for entry in fs::read_dir(dir).unwrap() {
            let file = entry.unwrap().path();
            if file.is_dir() {
                repository = add(repository, root, &file);
                continue;
            }
            let name = file.strip_prefix(root).unwrap().display().to_string();
            let bytes = fs::read(&file).unwrap();
            repository = match name.ends_with(".json") {
                true => repository.small(&name, bytes),
                false => repository.large(&name, bytes),
            };
        }
        repository
    }
    add(Repository::new(kind, id), dir, dir)
}

/// One server for several repositories: each answers for its own names.
fn serve(repositories: Vec<Repository>) -> HubServer {
    HubServer::start(move |request, _| {
        let host = request.header("host").unwrap_or_default();
        let own = repositories
            .iter()
            .find(|r| request.target.contains(&format!("/{}", r.id)));
        match own {
            Some(repository) => repository.answer(request, host),
            None => hub_server::Answer::status(404).header("x-error-code", "RepoNotFound"),
        }
    })
}

struct Machine<'a> {
    dir: &'a Path,
    endpoint: String,
    offline: bool,
}

impl Machine<'_> {
    fn run(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new(program);
        command
            .args(args)
            .current_dir(self.dir)
            .env_remove("RUST_LOG")
            .env("RAYON_NUM_THREADS", "2")
            .env("HF_HOME", self.dir.join("hf"))
            .env("HF_ENDPOINT", &self.endpoint)
            .env("HF_TOKEN", "hf_secret")
            .env("NO_PROXY", "*");
        for name in [
            "HF_HUB_CACHE",
            "HF_HUB_OFFLINE",
            "TRANSFORMERS_OFFLINE",
            "HUGGINGFACE_HUB_CACHE",
        ] {
            command.env_remove(name);
        }
        if self.offline {
            command.env("HF_HUB_OFFLINE", "1");
        }
        let output = command.output().unwrap();
        for text in [stdout(&output), stderr(&output)] {
            assert!(
                !text.contains("hf_secret") && !text.contains("panicked"),
                "{text}"
            );
        }
        output
    }

    #[track_caller]
    fn succeed(&self, program: &str, args: &[&str]) -> Output {
        let output = self.run(program, args);
        assert!(output.status.success(), "{args:?}\n{}", stderr(&output));
        output
    }
}

#[test]
fn models_data_and_adapters_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(&dir.path().join("made"), "color_grid");
    let data = own.data.parent().unwrap().to_owned();
    // The folder of the rows holds the model too; only the rows and pictures are a data set.
    fs::rename(&own.model, dir.path().join("model")).unwrap();
    let model = upload("models", "org/tiny", &dir.path().join("model"));
    let server = serve(vec![model.clone(), upload("datasets", "org/rows", &data)]);
    let machine = |offline| Machine {
        dir: dir.path(),
        endpoint: server.url.clone(),
        offline,
    };
    let online = machine(false);

    // A question, from the hub and from the disk: the same answer.
    let ask = [
        "--prompt",
        "Which color?",
        "--json",
        "--max-new-tokens",
        "4",
    ];
    let by_name = online.succeed(INFER, &[&["--model", "org/tiny"], &ask[..]].concat());
    assert!(
        stderr(&by_name).contains(&format!("downloading org/tiny@{COMMIT}")),
        "{}",
        stderr(&by_name)
    );
    let local = dir.path().join("model");
    let by_path = online.succeed(INFER, &[&["--model", path(&local)], &ask[..]].concat());
    assert_eq!(stdout(&by_name), stdout(&by_path));
    let again = machine(true).succeed(INFER, &[&["--model", "org/tiny"], &ask[..]].concat());
    assert_eq!(
        (stdout(&again), stderr(&again)),
        (stdout(&by_path), String::new())
    );

    // A plan says which commit it is and what is missing, and downloads nothing of it.
    let plan = [
        "--model",
        "org/tiny",
        "--data",
        "org/rows",
        "--max-steps",
        "2",
        "--dry-run",
    ];
    let told = stdout(&online.succeed(SFT, &plan));
    assert!(
        told.contains(&format!("org/tiny@{COMMIT} (in the cache)")),
        "{told}"
    );
    assert!(
        told.contains(&format!("org/rows@{COMMIT} (")) && told.contains("to download"),
        "{told}"
    );
    assert_eq!(server.asked("/datasets/org/rows/resolve/"), 0);

    // A run records the commit, names the base of its adapter, and goes on with the same commit.
    let mut train = vec![
        "--model",
        "org/tiny",
        "--data",
        "org/rows",
        "--output-dir",
        "run",
    ];
    train.extend(["--batch-size", "2", "--set", "save.steps=1", "--max-steps"]);
    let first = [&train[..], &["1"]].concat();
    online.succeed(SFT, &first);
    let config = fs::read_to_string(dir.path().join("run/config.resolved.toml")).unwrap();
    for name in ["org/tiny", "org/rows"] {
        assert!(config.contains(&format!("\"{name}@{COMMIT}\"")), "{config}");
    }
    let adapter = dir.path().join("run/checkpoints/step-1/adapter");
    let json = fs::read_to_string(adapter.join("adapter_config.json")).unwrap();
    assert!(
        json.contains("\"base_model_name_or_path\": \"org/tiny\""),
        "{json}"
    );
    // The branch moved meanwhile, and the hub no longer has it.
    fs::write(
        dir.path().join("hf/hub/models--org--tiny/refs/main"),
        "f".repeat(40),
    )
    .unwrap();
    let mut resumed = [&first[..], &["--resume"]].concat();
    machine(true).succeed(SFT, &resumed);
    let moved = format!("org/tiny@{}", "f".repeat(40));
    resumed[1] = &moved;
    assert_eq!(machine(true).run(SFT, &resumed).status.code(), Some(1));

    // The adapter goes to the hub and comes back.
    let server = serve(vec![model, upload("models", "org/adapter", &adapter)]);
    let machine = Machine {
        dir: dir.path(),
        endpoint: server.url.clone(),
        offline: false,
    };
    let with = |adapter: &str| {
        let args = [&["--model", "org/tiny", "--adapter", adapter], &ask[..]].concat();
        stdout(&machine.succeed(INFER, &args))
    };
    assert_eq!(with("org/adapter"), with(path(&adapter)));
    assert_eq!(server.asked("/org/adapter/resolve/"), 2);
}

#[test]
fn an_adapter_is_merged_into_a_model_of_several_parts_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let model = lora_files::fixture("pipeline");
    let weights = Checkpoint::open(model.join("transformer")).unwrap();
    let made = lora_files::made(&LinearInfo::of_checkpoint(&weights), false);
    let (adapter, header) = (dir.path().join("made"), AdapterHeader::default());
    let (config, factors) = (&made.config, &made.factors);
    let peft = AdapterFormat::Peft;
    write_as(peft, &adapter, config, factors, &header, DType::F32).unwrap();
    let server = serve(vec![
        upload("models", "org/edit", &model),
        upload("models", "org/adapter", &adapter),
    ]);
    let machine = Machine {
        dir: dir.path(),
        endpoint: server.url.clone(),
        offline: false,
    };
    let program = env!("CARGO_BIN_EXE_adapter");
    let merged = |model: &str, adapter: &str, to: &str| {
        let args = ["merge", "--model", model, "--adapter", adapter];
        machine.succeed(program, &[&args[..], &["--output-dir", to]].concat());
        let file = "transformer/diffusion_pytorch_model.safetensors";
        fs::read(dir.path().join(to).join(file)).unwrap()
    };
    let by_name = merged("org/edit", "org/adapter", "by-name");
    assert!(by_name == merged(path(&model), path(&adapter), "by-path"));
    assert!(dir.path().join("by-name/vae/config.json").is_file());
    // Of language models only; the name is that of another kind.
    let args = ["verify", "--model", "org/edit", "--adapter", "org/adapter"];
    let refused = machine.run(program, &args);
    assert_eq!(refused.status.code(), Some(1));
    let told = stderr(&refused);
    assert!(told.contains("pipeline of several models"), "{told}");
}

#[test]
fn a_data_set_of_puzzles_is_judged_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let made = dir.path().join("made");
    let generate = env!("CARGO_BIN_EXE_generate-dataset");
    let args = [
        "--output-dir",
        path(&made),
        "--tasks",
        "maze_square",
        "--count",
        "3",
    ];
    common::succeed(generate, &args);
    let manifest = fs::read_to_string(made.join("manifest.jsonl")).unwrap();
    let first: serde_json::Value = serde_json::from_str(manifest.lines().next().unwrap()).unwrap();
    let answer = serde_json::json!({"id": first["id"], "text": "<answer>[1]</answer>"});
    let server = serve(vec![upload("datasets", "org/mazes", &made)]);
    let machine = Machine {
        dir: dir.path(),
        endpoint: server.url.clone(),
        offline: false,
    };
    fs::write(dir.path().join("answers.jsonl"), answer.to_string()).unwrap();
    let judged = machine.succeed(
        EVALUATE,
        &[
            "text",
            "--dataset",
            "org/mazes",
            "--predictions",
            "answers.jsonl",
            "--output",
            "out",
        ],
    );
    assert!(
        stderr(&judged).contains("2 records have no prediction"),
        "{}",
        stderr(&judged)
    );
}

#[test]
fn what_is_neither_path_nor_name_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let server = serve(Vec::new());
    let machine = Machine {
        dir: dir.path(),
        endpoint: server.url.clone(),
        offline: false,
    };
    let fail = |name: &str, code: i32, part: &str| {
        let output = machine.run(INFER, &["--model", name, "--prompt", "x"]);
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(part), "{}", stderr(&output));
    };
    fail("nowhere", 2, "no such file or folder");
    fail("a/b/c", 2, "org/name");
    fail("org/nothing", 1, "shows no such model");
    fail("./org/nothing", 1, "does not exist");
    assert_eq!(server.asked("./"), 0);
    let offline = Machine {
        offline: true,
        ..machine
    };
    let output = offline.run(INFER, &["--model", "org/nothing", "--prompt", "x"]);
    assert!(
        stderr(&output).contains("HF_HUB_OFFLINE is set"),
        "{}",
        stderr(&output)
    );
}

/// Ctrl-C in the middle of a download: an exit code of its own, and a begin that the next one uses.
#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_arrived() {
    use std::time::{Duration, Instant};
    let dir = tempfile::tempdir().unwrap();
    let repository = Repository::new("models", "org/big")
        .small("config.json", "{}")
        .large("model.safetensors", vec![7; 4 << 20]);
    let server = HubServer::with(repository, |_, _, mut answer| {
        answer.drip = Some((8 << 10, Duration::from_millis(10)));
        answer
    });
    let mut child = Command::new(INFER)
        .args(["--model", "org/big", "--prompt", "x"])
        .env("HF_HOME", dir.path())
        .env("HF_ENDPOINT", &server.url)
        .env("NO_PROXY", "*")
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_HUB_OFFLINE")
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let blobs = dir.path().join("hub/models--org--big/blobs");
    let partial = || {
        let mut entries = fs::read_dir(&blobs).into_iter().flatten().flatten();
        let found = entries.find(|e| e.file_name().to_string_lossy().ends_with(".incomplete"));
        found.map_or(0, |e| e.metadata().map_or(0, |m| m.len()))
    };
    let begun = Instant::now();
    while partial() < 64 << 10 {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing arrived");
        std::thread::sleep(Duration::from_millis(20));
    }
    let kill = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(kill.unwrap().success());
    let output = child.wait().map(|status| (status, child.stderr.take()));
    let (status, _) = output.unwrap();
    assert_eq!(status.code(), Some(130));
    let left = partial();
    assert!((64 << 10..4 << 20).contains(&left), "{left}");
    assert!(!dir.path().join("hub/models--org--big/snapshots").exists());
}
