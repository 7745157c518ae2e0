//! Speed and memory of the Qwen-Image transformer.
//!
//!     cargo bench -p vtb-bins --bench diffusion                     # ours alone
//!     cargo bench -p vtb-bins --bench diffusion -- --python PYTHON  # and diffusers, with the ratios
//!     cargo bench -p vtb-bins --bench diffusion -- --only b4        # one of b1, b4, small: for a profiler
//!     cargo bench -p vtb-bins --bench diffusion -- --block          # blocks of the true size: peak memory
//!
//! Speed: 4 blocks of width 256 (8 heads of 32), n target and n reference tokens and 32 text tokens, LoRA rank 32 on the
//! twelve layers of the recipe, mean squared error on the target. Memory: width 3072, 24 heads, 4096 + 4096 picture tokens
//! and 230 text tokens, one training pass with recomputed blocks.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark"
)]

mod common;

use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::DType;
use common::{compare, median, peak_kib};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use vtb_lora::{LoraConfig, ModuleFilter};
use vtb_models_diffusion::qwen_image::{
    QwenImageTransformer, RECIPE_TARGETS, TransformerConfig, noise,
};
use vtb_nn::device::cpu_device;
use vtb_nn::lm::AdapterState;
use vtb_nn::velocity::{
    FlowBackwardOptions, FlowCondition, FlowRow, Latent, TextStates, VelocityModel,
};

fn config() -> TransformerConfig {
    TransformerConfig {
        num_layers: 4,
        attention_head_dim: 32,
        num_attention_heads: 8,
        joint_attention_dim: 256,
        axes_dims_rope: [8, 12, 12],
        zero_cond_t: false,
        ..TransformerConfig::published()
    }
}

fn model(config: TransformerConfig, adapted: bool) -> QwenImageTransformer {
    let init = |path: &str, shape: &[usize]| -> Vec<f32> {
        let len = shape.iter().product();
        if shape.len() < 2 {
            return vec![
                if path.contains("norm_") || path.contains("txt_norm") {
                    1.0
                } else {
                    0.0
                };
                len
            ];
        }
        let seed = path
            .bytes()
            .fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bound = (3.0 / shape[1] as f32).sqrt();
        (0..len).map(|_| rng.random_range(-bound..bound)).collect()
    };
    let mut model = QwenImageTransformer::fresh(config, &init, &cpu_device(), DType::F32).unwrap();
    if adapted {
        let lora = LoraConfig {
            r: 32,
            alpha: 32.0,
            targets: ModuleFilter::names(RECIPE_TARGETS),
            ..LoraConfig::default()
        };
        model.attach_adapter(&lora, 1).unwrap();
    }
    model
}

/// `batch` rows of `side`² target and as many reference tokens.
fn rows(batch: usize, side: usize, text: usize, width: usize) -> Vec<FlowRow> {
    let shape = [16, 1, 2 * side, 2 * side];
    (0..batch as u64)
        .map(|i| {
            let states = noise([1, 1, text, width], 100 + i).values;
            FlowRow {
                noisy: noise(shape, i),
                sigma: 0.5,
                condition: Arc::new(FlowCondition {
                    text: TextStates {
                        rows: text,
                        width,
                        values: states,
                    },
                    references: vec![noise(shape, 50 + i)],
                    clean_frames: 0,
                }),
            }
        })
        .collect()
}

fn step(model: &QwenImageTransformer, rows: &[FlowRow], recompute: bool) {
    let options = FlowBackwardOptions {
        dropout_seed: None,
        recompute,
    };
    let gradients = model.backward(rows, &options, &mut |velocities: &[Latent]| {
        let n: usize = velocities.iter().map(|v| v.values.len()).sum();
        let scaled = |v: &Latent| Latent {
            shape: v.shape,
            values: v.values.iter().map(|x| 2.0 * x / n as f32).collect(),
        };
        Ok(velocities.iter().map(scaled).collect())
    });
    std::hint::black_box(gradients.unwrap());
}

const CASES: [(&str, usize, usize); 3] = [("b1", 1, 16), ("b4", 4, 16), ("small", 1, 8)];

fn speed(reps: usize, only: Option<&str>) -> Value {
    let (plain, adapted) = (model(config(), false), model(config(), true));
    let mut found = serde_json::Map::new();
    for (name, batch, side) in CASES {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let rows = rows(batch, side, 32, 256);
        if only.is_none() {
            let forward = 1e3
                * median(reps, || {
                    std::hint::black_box(plain.velocity(&rows, AdapterState::On).unwrap());
                });
            found.insert(format!("{name}_forward_ms"), json!(forward));
        }
        let kept = 1e3 * median(reps, || step(&adapted, &rows, false));
        found.insert(format!("{name}_lora_fwd_bwd_ms"), json!(kept));
        if only.is_none() {
            let recomputed = 1e3 * median(reps, || step(&adapted, &rows, true));
            found.insert(format!("{name}_lora_recompute_ms"), json!(recomputed));
        }
    }
    Value::Object(found)
}

/// A pass through `blocks` blocks of the true size, in a process of its own.
fn block_of(blocks: usize, side: usize) {
    let config = TransformerConfig {
        num_layers: blocks,
        ..TransformerConfig::published()
    };
    let model = model(config, true);
    let loaded = peak_kib() / 1024;
    let rows = rows(1, side, 230, 3584);
    let started = Instant::now();
    step(&model, &rows, true);
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({"loaded": loaded, "peak": peak_kib() / 1024, "seconds": seconds})
    );
}

fn blocks() {
    let program = std::env::current_exe().unwrap();
    println!(
        "| blocks | target + reference tokens | loaded MiB | peak MiB | above the loaded model | s |"
    );
    println!("|---|---|---|---|---|---|");
    for (blocks, side) in [(1, 64), (1, 32), (2, 32), (3, 32)] {
        let run = Command::new(&program)
            .args(["--block-of", &blocks.to_string(), &side.to_string()])
            .output();
        let text = run.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        let found: Value =
            serde_json::from_str(text.unwrap_or_default().trim()).unwrap_or_default();
        let mib = |k: &str| found[k].as_u64().unwrap_or(0);
        println!(
            "| {blocks} | 2 × {} | {} | {} | {} | {:.1} |",
            side * side,
            mib("loaded"),
            mib("peak"),
            mib("peak").saturating_sub(mib("loaded")),
            found["seconds"].as_f64().unwrap_or(0.0)
        );
    }
}

fn main() {
    vtb_bins::allocator::keep_freed_pages();
    // The reference uses two threads; so do we.
    rayon::ThreadPoolBuilder::new()
        .num_threads(2)
        .build_global()
        .unwrap();
    let args: Vec<String> = std::env::args().collect();
    let place = |flag: &str| args.iter().position(|a| a == flag);
    let value = |flag: &str| args.get(place(flag)? + 1).cloned();
    if let Some(at) = place("--block-of") {
        let number = |i: usize| args[at + i].parse().unwrap();
        return block_of(number(1), number(2));
    }
    if place("--block").is_some() {
        return blocks();
    }
    let reps = value("--reps").and_then(|r| r.parse().ok()).unwrap_or(9);
    let ours = speed(reps, value("--only").as_deref());
    println!("{ours:#}");
    if let Some(python) = value("--python")
        && compare(&ours, &python, "bench_diffusion_reference.py", reps).is_none()
    {
        eprintln!("the reference did not run: {python}");
        std::process::exit(1);
    }
}
