//! Speed and memory of a small Qwen3-VL against PyTorch, measured in the same run.
//!
//!     cargo bench -p vtb-bins --bench vlm                     # ours alone
//!     cargo bench -p vtb-bins --bench vlm -- --python PYTHON  # and the reference, with the ratios
//!     cargo bench -p vtb-bins --bench vlm -- --only step      # one of step, generate, generate16, mixed: for a profiler
//!     cargo bench -p vtb-bins --bench vlm -- --memory         # peak memory against sequence length
//!
//! Model and batch: 7.6 million parameters, batch 8 of one 256×256 picture (64 merged tokens) and 128 other tokens;
//! LoRA rank 16 on the seven projections of the decoder, the vision tower frozen, loss on the other tokens.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

mod common;

use std::process::Command;
use std::sync::Arc;

use burn::tensor::DType;
use common::{median, peak_kib};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use vtb_lora::{LoraConfig, ModuleFilter};
use vtb_models_vlm::config::{AttentionStyle, Qwen3VlConfig, TextConfig, VisionConfig, VisionIds};
use vtb_models_vlm::qwen3_vl::Qwen3Vl;
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{BackwardOptions, CausalLm, ImagePatches, LmRow, SampleOptions};

const BATCH: usize = 8;
const TEXT: usize = 128;
const NEW: usize = 128;

fn config() -> Qwen3VlConfig {
    Qwen3VlConfig {
        text: TextConfig {
            vocab_size: 4096,
            hidden_size: 256,
            intermediate_size: 768,
            num_layers: 4,
            num_heads: 8,
            num_kv_heads: 2,
            head_dim: 32,
            attention: AttentionStyle::Normed,
            rms_norm_eps: 1e-6,
            rope_theta: 5e6,
            mrope_section: [6, 5, 5],
            max_position_embeddings: 8192,
            initializer_range: 0.02,
            moe: None,
        },
        vision: VisionConfig {
            depth: 4,
            hidden_size: 128,
            intermediate_size: 512,
            num_heads: 4,
            in_channels: 3,
            patch_size: 16,
            temporal_patch_size: 2,
            spatial_merge_size: 2,
            out_hidden_size: 256,
            num_position_embeddings: 2304,
            deepstack_indexes: vec![1, 2],
            rope_theta: 10_000.0,
            initializer_range: 0.02,
        },
        ids: VisionIds {
            image: 4000,
            video: 4001,
            vision_start: 4002,
            vision_end: 4003,
        },
        tie: false,
        dtype: "float32".into(),
    }
}

fn lora() -> LoraConfig {
    let names = [
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    ];
    LoraConfig {
        r: 16,
        alpha: 32.0,
        targets: ModuleFilter::names(names),
        ..LoraConfig::default()
    }
}

fn model(adapted: bool) -> Qwen3Vl {
    let mut model = Qwen3Vl::fresh(config(), 1, &cpu_device(), DType::F32).expect("a valid model");
    if adapted {
        model
            .attach_adapter(&lora(), 2)
            .expect("targets that exist");
    }
    model
}

/// `count` rows of one picture and `text` other tokens.
fn rows(count: usize, text: usize, seed: u64) -> Vec<LmRow> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut row = |key: u64| {
        let values = (0..256 * 1536)
            .map(|_| rng.random_range(-1.0f32..1.0))
            .collect();
        let image = ImagePatches {
            values,
            grid: [1, 16, 16],
            key,
        };
        let mut word = || rng.random_range(10..3900u32);
        let mut ids: Vec<u32> = (0..3).map(|_| word()).collect();
        ids.push(4002);
        ids.extend([4000; 64]);
        ids.push(4003);
        ids.extend((5..text).map(|_| word()));
        let scored = ids
            .iter()
            .enumerate()
            .map(|(i, id)| i > 0 && *id != 4000)
            .collect();
        LmRow {
            ids,
            images: vec![Arc::new(image)],
            scored,
        }
    };
    (0..count as u64).map(&mut row).collect()
}

fn step(model: &Qwen3Vl, rows: &[LmRow], recompute: bool) {
    let options = BackwardOptions {
        recompute,
        ..BackwardOptions::default()
    };
    let gradients = model
        .backward(rows, &options, &mut |scores| {
            let n: usize = scores.iter().map(|s| s.logp.len()).sum();
            Ok(scores
                .iter()
                .map(|s| vec![-1.0 / n as f32; s.logp.len()])
                .collect())
        })
        .expect("a training pass");
    std::hint::black_box(gradients);
}

fn speed(reps: usize, only: Option<&str>) -> Value {
    let rows = rows(BATCH, TEXT, 3);
    let adapted = model(true);
    let mut found = serde_json::Map::new();
    if only.is_none_or(|only| only == "step") {
        let kept = median(reps, || step(&adapted, &rows, false));
        found.insert("lora_fwd_bwd_s".into(), json!(kept));
    }
    if only.is_none() {
        let recomputed = median(reps, || step(&adapted, &rows, true));
        found.insert("lora_fwd_bwd_recompute_s".into(), json!(recomputed));
    }
    if only.is_none_or(|only| only == "generate") {
        let rate = generate(&model(false), &rows, reps);
        found.insert("generate_tokens_per_s".into(), json!(rate));
    }
    if only.is_none() {
        let rate = generate(&adapted, &rows, reps);
        found.insert("generate_lora_tokens_per_s".into(), json!(rate));
    }
    if only.is_none_or(|only| only == "generate16") {
        let rate = generate(&adapted, &self::rows(16, TEXT, 3), reps);
        found.insert("generate_lora_16_tokens_per_s".into(), json!(rate));
    }
    if only.is_none_or(|only| only == "mixed") {
        let [whole, dropping, continuous] = mixed(&adapted, reps);
        found.insert("mixed_whole_batches_tokens_per_s".into(), json!(whole));
        found.insert("mixed_batches_tokens_per_s".into(), json!(dropping));
        found.insert("mixed_continuous_tokens_per_s".into(), json!(continuous));
    }
    Value::Object(found)
}

/// Tokens per second of greedy decoding, prefill included.
fn generate(model: &Qwen3Vl, rows: &[LmRow], reps: usize) -> f64 {
    let options = SampleOptions {
        max_new_tokens: NEW,
        temperature: 0.0,
        ..SampleOptions::default()
    };
    let seeds = vec![0; rows.len()];
    let seconds = median(reps, || {
        let completions = model.generate(rows, &options, &seeds);
        std::hint::black_box(completions.expect("completions"));
    });
    (rows.len() * NEW) as f64 / seconds
}

/// Tokens per second of 64 sampled completions of mixed lengths, 16 at a time: in batches that run whole until their
/// longest row ends, in batches that drop rows as they end, and with rows that enter as others end. A token in 256 ends
/// a completion, at the latest the 1024th.
fn mixed(model: &Qwen3Vl, reps: usize) -> [f64; 3] {
    const LANES: usize = 16;
    let rows = rows(4 * LANES, TEXT, 5);
    let seeds: Vec<u64> = (0..rows.len() as u64).collect();
    let lengths = |rows: &[LmRow], seeds: &[u64], options: &SampleOptions| -> Vec<usize> {
        let completions = model.generate(rows, options, seeds).expect("completions");
        completions.iter().map(|one| one.ids.len()).collect()
    };
    let mut options = SampleOptions {
        max_new_tokens: 8 * NEW,
        stop_ids: (0..4096).step_by(256).collect(),
        ..SampleOptions::default()
    };
    let mut found = Vec::new();
    let batches = || rows.chunks(LANES).zip(seeds.chunks(LANES));
    let dropping = median(reps, || {
        let each = batches().flat_map(|(rows, seeds)| lengths(rows, seeds, &options));
        found = each.collect();
    });
    let whole = median(reps, || {
        for ((rows, seeds), found) in batches().zip(found.chunks(LANES)) {
            let until_the_longest = SampleOptions {
                max_new_tokens: found.iter().copied().max().unwrap_or(1),
                ..SampleOptions::default()
            };
            lengths(rows, seeds, &until_the_longest);
        }
    });
    options.max_num_seqs = LANES;
    let continuous = median(reps, || {
        assert_eq!(lengths(&rows, &seeds, &options), found);
    });
    let tokens = found.iter().sum::<usize>() as f64;
    [whole, dropping, continuous].map(|seconds| tokens / seconds)
}

fn reference(python: &str, reps: usize) -> Option<Value> {
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../benches/reference/bench_vlm_reference.py"
    );
    let args = [script, "--threads", "2", "--reps", &reps.to_string()];
    let output = Command::new(python).args(args).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(text.get(text.find('{')?..)?).ok()
}

/// One LoRA step on one row of `tokens`, in a process of its own.
fn memory_of(tokens: usize) {
    let model = model(true);
    let base = peak_kib();
    let rows = rows(1, tokens - 64, 4);
    step(&model, &rows, true);
    println!(
        "{}",
        json!({"tokens": tokens, "base_kib": base, "peak_kib": peak_kib()})
    );
}

fn memory() {
    let program = std::env::current_exe().expect("the path of this program");
    println!("| tokens | peak RSS MiB | above the loaded model MiB | per token KiB |");
    println!("|---|---|---|---|");
    for tokens in [512, 1024, 2048, 4096] {
        let run = Command::new(&program)
            .args(["--memory-of", &tokens.to_string()])
            .output();
        let text = run
            .map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
            .unwrap_or_default();
        let found: Value = serde_json::from_str(text.trim()).unwrap_or_default();
        let value = |k: &str| found[k].as_u64().unwrap_or(0) as f64;
        let above = value("peak_kib") - value("base_kib");
        println!(
            "| {tokens} | {:.0} | {:.0} | {:.0} |",
            value("peak_kib") / 1024.0,
            above / 1024.0,
            above / tokens as f64
        );
    }
}

fn main() {
    vtb_bins::allocator::keep_freed_pages();
    // The reference uses two threads; so do we.
    rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build_global()
        .expect("a thread pool");
    let args: Vec<String> = std::env::args().collect();
    let value = |flag: &str| {
        let at = args.iter().position(|a| a == flag)?;
        args.get(at + 1).cloned()
    };
    if let Some(tokens) = value("--memory-of") {
        return memory_of(tokens.parse().unwrap_or(512));
    }
    if args.iter().any(|a| a == "--memory") {
        return memory();
    }
    let reps = value("--reps").and_then(|r| r.parse().ok()).unwrap_or(9);
    let only = value("--only");
    let ours = speed(reps, only.as_deref());
    println!("{ours:#}");
    if let Some(theirs) = value("--python").and_then(|python| reference(&python, reps)) {
        println!("{theirs:#}");
        println!("{:#}", ratios(&ours, &theirs));
    }
}

/// Our time over theirs, and our tokens per second over theirs.
fn ratios(ours: &Value, theirs: &Value) -> Value {
    let ratio = |ours: &Value, theirs: &Value| Some(ours.as_f64()? / theirs.as_f64()?);
    let (step, generate) = (&theirs["lora_forward_backward"], &theirs["generate_greedy"]);
    json!({
        "step time, ours / PyTorch": ratio(&ours["lora_fwd_bwd_s"], &step["median_s"]),
        "tokens per second, ours / transformers":
            ratio(&ours["generate_tokens_per_s"], &generate["tokens_per_s"]),
        "the same at batch 16, adapter on":
            ratio(&ours["generate_lora_16_tokens_per_s"], &theirs["generate_adapter_16"]["tokens_per_s"]),
    })
}
