//! The guides, executed from their own text: every command as it stands there, with fewer steps and puzzles, in a
//! directory that holds a tiny model where the guide names a large one.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{stderr, stdout};

/// Numbers of the guides and those that the test puts in their place.
const SMALLER: [(&str, &str); 5] = [
    ("--count 500 ", "--count 12 "),
    ("--max-steps 200 ", "--max-steps 2 "),
    ("step-200", "step-2"),
    ("train.eval_steps=50", "train.eval_steps=1"),
    ("--max-new-tokens 1024", "--max-new-tokens 8"),
];

struct Guide {
    text: String,
    dir: tempfile::TempDir,
}

impl Guide {
    fn open(name: &str) -> Self {
        let mut text = fs::read_to_string(docs().join("guides").join(name)).unwrap();
        for (large, small) in SMALLER {
            text = text.replace(large, small);
        }
        let dir = tempfile::tempdir().unwrap();
        Self { text, dir }
    }

    /// The same, with a tiny model where the guide has one of the published ones.
    fn with_model(name: &str) -> Self {
        let guide = Self::open(name);
        let own = common::own_model_and_data(&guide.dir.path().join("made"), "color_grid");
        let model = guide.dir.path().join("models/Qwen3-VL-4B-Instruct");
        fs::create_dir_all(model.parent().unwrap()).unwrap();
        fs::rename(&own.model, &model).unwrap();
        guide
    }

    /// Its commands, in order; not those for a GPU, which need one and may need a server beside it.
    fn commands(&self) -> Vec<String> {
        let joined = self.text.replace("\\\n", " ");
        let lines = joined.lines().map(str::trim);
        let commands = lines
            .filter(|line| line.starts_with("cargo run ") && !line.contains("--features cuda"));
        commands.map(str::to_owned).collect()
    }

    /// The program of a command with its arguments, not begun.
    fn prepare(&self, line: &str, further: &[&str]) -> Command {
        let (cargo, args) = line.split_once(" -- ").unwrap_or((line, ""));
        let words: Vec<&str> = cargo.split_whitespace().collect();
        let name = words.last().unwrap();
        let bins = Path::new(common::SFT).parent().unwrap();
        let program: PathBuf = if words.contains(&"--example") {
            bins.join("examples").join(name)
        } else {
            bins.join(name)
        };
        assert!(
            program.is_file(),
            "{} is not built; `cargo test --workspace` builds it",
            program.display()
        );
        let mut command = Command::new(program);
        command
            .args(words_of(args))
            .args(further)
            .current_dir(self.dir.path())
            .env_remove("RUST_LOG")
            .env("RAYON_NUM_THREADS", "2")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    #[track_caller]
    fn run(&self, line: &str, further: &[&str]) -> Output {
        let output = self.prepare(line, further).output().unwrap();
        let (out, err) = (stdout(&output), stderr(&output));
        assert!(output.status.success(), "{line}\n{out}\n{err}");
        output
    }

    #[track_caller]
    fn run_all(&self, further: impl Fn(&str) -> &'static [&'static str]) -> Vec<(String, String)> {
        let ran = self.commands().into_iter().map(|line| {
            let output = self.run(&line, further(&line));
            (line, stdout(&output))
        });
        ran.collect()
    }

    fn file(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}

/// Words of a command line; quotes hold words together.
fn words_of(args: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quote = None;
    for letter in args.chars() {
        match (quote, letter) {
            (Some(open), letter) if letter == open => quote = None,
            (None, '\'' | '"') => quote = Some(letter),
            (None, ' ') => words.push(String::new()),
            (_, letter) => words.last_mut().unwrap().push(letter),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

#[track_caller]
fn names(ran: &[(String, String)], programs: &[&str]) {
    for program in programs {
        assert!(
            ran.iter().any(|(line, _)| line.contains(program)),
            "the guide runs no `{program}`"
        );
    }
}

/// Every Rust block of a guide stands in the program it speaks of, word for word.
#[track_caller]
fn shows(guide: &Guide, program: &str) {
    let source = fs::read_to_string(docs().join("../examples").join(program)).unwrap();
    let blocks: Vec<&str> = guide.text.split("```rust\n").skip(1).collect();
    assert!(blocks.len() > 1, "{program} is not shown");
    for block in blocks {
        let code = block.split("```").next().unwrap();
        assert!(source.contains(code), "not in {program}:\n{code}");
    }
}

#[test]
fn supervised_fine_tuning() {
    let guide = Guide::with_model("train-sft.md");
    let ran = guide.run_all(|_| &[]);
    names(
        &ran,
        &[
            "generate-dataset",
            "prepare-data",
            "train-sft",
            "infer-vlm",
            "--dry-run",
        ],
    );
    let metrics = fs::read_to_string(guide.file("runs/sft/metrics.jsonl")).unwrap();
    assert!(metrics.contains("eval/accuracy"), "{metrics}");
}

#[test]
fn reinforcement_learning() {
    let guide = Guide::with_model("train-grpo.md");
    let ran = guide.run_all(|line| match line {
        line if line.contains("train-grpo") && !line.contains("--dry-run") => {
            &["--set", "grpo.max_completion_length=6"]
        }
        _ => &[],
    });
    let answers = fs::read_to_string(guide.file("runs/mazes/answers.jsonl")).unwrap();
    let held_out = fs::read_to_string(guide.file("data/test/train_grpo.jsonl")).unwrap();
    assert_eq!(answers.lines().count(), held_out.lines().count());
    names(
        &ran,
        &[
            "prepare-data",
            "reward",
            "train-grpo",
            "infer-vlm",
            "evaluate",
        ],
    );
    assert!(guide.file("runs/mazes/summary.json").is_file());
}

#[test]
fn a_reward_of_ones_own() {
    let guide = Guide::open("custom-reward.md");
    shows(&guide, "train_custom_reward.rs");
    let mut small = vec!["--set", "rewards.2.weight=0.25"];
    small.extend(common::SMALL);
    let lines = guide.commands();
    assert_eq!(lines.len(), 2);
    let checked = stdout(&guide.run(&lines[0], &[]));
    assert!(checked.contains("short_reasoning"), "{checked}");
    // The configuration of the guide, in the file it names.
    let toml = guide.text.split("```toml\n").nth(1).unwrap();
    let toml = toml.split("```").next().unwrap();
    fs::write(guide.file("own-reward.toml"), toml).unwrap();
    guide.run(&lines[1], &small);
    let metrics = fs::read_to_string(guide.file("runs/own-reward/metrics.jsonl")).unwrap();
    assert!(
        metrics.contains("rewards/short_reasoning/mean"),
        "{metrics}"
    );
}

#[test]
fn a_puzzle_of_ones_own() {
    let guide = Guide::with_model("custom-puzzle.md");
    shows(&guide, "custom_puzzle.rs");
    let ran = guide.run_all(|line| match line {
        line if line.contains("train-grpo") => &["--set", "grpo.max_completion_length=6"],
        _ => &[],
    });
    names(
        &ran,
        &[
            "custom_puzzle",
            "prepare-data -- check",
            "reward -- check",
            "train-grpo",
        ],
    );
    assert!(guide.file("data/tallest_bar/solution.png").is_file());
}

/// Waits until a run has logged `steps` steps.
#[track_caller]
fn wait_for_steps(child: &mut Child, metrics: &Path, steps: usize) {
    let begun = Instant::now();
    let logged = || fs::read_to_string(metrics).map_or(0, |text| text.lines().count());
    while logged() < steps {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(
            begun.elapsed() < Duration::from_secs(240),
            "it does not begin"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(unix)]
#[test]
fn stopping_and_going_on() {
    let mut guide = Guide::with_model("resume.md");
    guide.text = guide.text.replace("--batch-size 8", "--batch-size 1");
    let lines = guide.commands();
    let [make, rows, whole, first, again] = &lines[..] else {
        panic!("{lines:?}")
    };
    guide.run(make, &[]);
    guide.run(rows, &[]);
    guide.run(whole, &[]);
    let mut child = guide.prepare(first, &[]).spawn().unwrap();
    let metrics = guide.file("runs/stopped/metrics.jsonl");
    wait_for_steps(&mut child, &metrics, 3);
    let status = Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    guide.run(again, &[]);
    let adapter = |run: &str| {
        let place = format!("runs/{run}/checkpoints/step-40/adapter/adapter_model.safetensors");
        fs::read(guide.file(&place)).unwrap()
    };
    assert!(
        adapter("whole") == adapter("stopped"),
        "the adapters differ"
    );
}
