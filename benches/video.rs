//! Speed and memory of Wan: transformer and autoencoder.
//!
//!     cargo bench -p vtb-bins --bench video                     # ours alone
//!     cargo bench -p vtb-bins --bench video -- --python PYTHON  # and diffusers, with the ratios
//!     cargo bench -p vtb-bins --bench video -- --only t64       # one of t64, t512, b2, encode, decode: for a profiler
//!     cargo bench -p vtb-bins --bench video -- --block          # a block of the true size, true autoencoder: peak memory
//!
//! Speed: 4 blocks of width 256 (8 heads of 32), MLPs of 1024, a clean first frame, a latent of 48×5×28×16, LoRA rank 32 on
//! attention and MLP, mean squared error on the other frames; an autoencoder with bases of 16 on a clip of 17×448×256.
//! Memory: a block of width 3072 and 24 heads on 8,820 tokens (81 frames of 480×896) with 512 rows of text, one training pass
//! with recomputed blocks; the autoencoder with its true widths on 17 frames of 480×896.

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

use burn::tensor::{DType, TensorData};
use common::{compare, median, peak_kib};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use serde_json::{Value, json};
use vtb_lora::{LoraConfig, ModuleFilter};
use vtb_models_diffusion::wan::vae::{Clip, VaeConfig, WanVae, tensors};
use vtb_models_diffusion::wan::{RECIPE_TARGETS, WanConfig, WanTransformer, noise};
use vtb_nn::checkpoint::MemorySource;
use vtb_nn::device::cpu_device;
use vtb_nn::lm::AdapterState;
use vtb_nn::velocity::{
    FlowBackwardOptions, FlowCondition, FlowRow, Latent, TextStates, VelocityModel,
};

fn config(text_len: usize) -> WanConfig {
    WanConfig {
        num_layers: 4,
        attention_head_dim: 32,
        num_attention_heads: 8,
        ffn_dim: 1024,
        text_dim: 256,
        text_len,
        ..WanConfig::published()
    }
}

/// Values of a tensor: ones for gains, zeros for biases, else uniform with a deviation of one over the root of the inputs.
fn values(path: &str, shape: &[usize]) -> Vec<f32> {
    let len = shape.iter().product();
    let gain = path.contains("norm") && !path.ends_with("bias") || path.ends_with("gamma");
    if gain || shape.len() < 2 {
        return vec![f32::from(u8::from(gain)); len];
    }
    let seed = path
        .bytes()
        .fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let bound = (3.0 / shape[1..].iter().product::<usize>() as f32).sqrt();
    (0..len).map(|_| rng.random_range(-bound..bound)).collect()
}

fn model(config: WanConfig, adapted: bool) -> WanTransformer {
    let mut model = WanTransformer::fresh(config, &values, &cpu_device(), DType::F32).unwrap();
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

fn rows(batch: usize, shape: [usize; 4], text: usize, width: usize) -> Vec<FlowRow> {
    (0..batch as u64)
        .map(|i| FlowRow {
            noisy: noise(shape, i),
            sigma: 0.5,
            condition: Arc::new(FlowCondition {
                text: TextStates {
                    rows: text,
                    width,
                    values: noise([1, 1, text, width], 100 + i).values,
                },
                references: Vec::new(),
                clean_frames: 1,
            }),
        })
        .collect()
}

/// Mean squared error from zero after the first frame.
fn step(model: &WanTransformer, rows: &[FlowRow], recompute: bool) {
    let options = FlowBackwardOptions {
        dropout_seed: None,
        recompute,
    };
    let gradients = model.backward(rows, &options, &mut |velocities: &[Latent]| {
        let n: usize = velocities.iter().map(|v| v.values.len()).sum();
        let scaled = |v: &Latent| {
            let (frames, frame) = (v.shape[1], v.frame_len());
            let value = |(i, x): (usize, &f32)| match i / frame % frames {
                0 => 0.0,
                _ => 2.0 * x / n as f32,
            };
            Latent {
                shape: v.shape,
                values: v.values.iter().enumerate().map(value).collect(),
            }
        };
        Ok(velocities.iter().map(scaled).collect())
    });
    std::hint::black_box(gradients.unwrap());
}

fn vae(config: VaeConfig) -> WanVae {
    let tensor = |(name, shape): (String, Vec<usize>)| {
        let values = values(&name, &shape);
        (name, TensorData::new(values, shape))
    };
    let all = tensors(&config).unwrap().into_iter().map(tensor).collect();
    let source = MemorySource::new("made for the benchmark", all);
    WanVae::from_source(&source, config, &cpu_device(), DType::F32).unwrap()
}

fn small_vae() -> VaeConfig {
    VaeConfig {
        base_dim: 16,
        decoder_base_dim: Some(16),
        ..VaeConfig::published()
    }
}

fn clip(frames: usize, height: usize, width: usize) -> Clip {
    let shape = [3, frames, height, width];
    let values = noise(shape, 3).values;
    Clip {
        shape,
        values: values
            .into_iter()
            .map(|x| (x / 3.0).clamp(-1.0, 1.0))
            .collect(),
    }
}

/// Name, rows of the batch, rows of text.
const CASES: [(&str, usize, usize); 3] = [("t64", 1, 64), ("t512", 1, 512), ("b2", 2, 64)];

fn speed(reps: usize, only: Option<&str>) -> Value {
    let mut found = serde_json::Map::new();
    let wanted = |name: &str| only.is_none_or(|only| only == name);
    for (name, batch, text) in CASES.into_iter().filter(|c| wanted(c.0)) {
        let adapted = model(config(text), true);
        let rows = rows(batch, [48, 5, 28, 16], text, 256);
        if only.is_none() {
            let plain = model(config(text), false);
            let forward = median(reps, || {
                std::hint::black_box(plain.velocity(&rows, AdapterState::On).unwrap());
            });
            found.insert(format!("{name}_forward_ms"), json!(1e3 * forward));
        }
        let kept = median(reps, || step(&adapted, &rows, false));
        found.insert(format!("{name}_lora_fwd_bwd_ms"), json!(1e3 * kept));
        if only.is_none() {
            let recomputed = median(reps, || step(&adapted, &rows, true));
            found.insert(format!("{name}_lora_recompute_ms"), json!(1e3 * recomputed));
        }
    }
    let vae = vae(small_vae());
    let few = reps.div_ceil(3);
    if wanted("encode") {
        let (whole, first) = (clip(17, 448, 256), clip(1, 448, 256));
        let encode = |clip: &Clip| {
            std::hint::black_box(vae.encode(clip).unwrap());
        };
        found.insert(
            "encode_ms".into(),
            json!(1e3 * median(few, || encode(&whole))),
        );
        found.insert(
            "encode_first_ms".into(),
            json!(1e3 * median(few, || encode(&first))),
        );
    }
    if wanted("decode") {
        let latent = noise([48, 5, 28, 16], 4);
        let decode = median(few, || {
            std::hint::black_box(vae.decode(&latent).unwrap());
        });
        found.insert("decode_ms".into(), json!(1e3 * decode));
    }
    Value::Object(found)
}

/// One piece of work of the true size, in a process of its own.
fn one(work: &str) {
    let started;
    let loaded;
    if let Some(blocks) = work.strip_prefix("block") {
        let model = model(
            WanConfig {
                num_layers: blocks.parse().unwrap(),
                ..WanConfig::published()
            },
            true,
        );
        loaded = peak_kib() / 1024;
        let frames = if blocks == "1" { 21 } else { 5 };
        let rows = rows(1, [48, frames, 56, 30], 200, 4096);
        started = Instant::now();
        step(&model, &rows, true);
    } else {
        let vae = vae(VaeConfig::published());
        loaded = peak_kib() / 1024;
        started = Instant::now();
        match work {
            "encode" => drop(vae.encode(&clip(17, 896, 480)).unwrap()),
            _ => drop(vae.decode(&noise([48, 2, 56, 30], 1)).unwrap()),
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({"loaded": loaded, "peak": peak_kib() / 1024, "seconds": seconds})
    );
}

fn memory() {
    let program = std::env::current_exe().unwrap();
    println!("| work | loaded MiB | peak MiB | above what was loaded | s |");
    println!("|---|---|---|---|---|");
    for (work, what) in [
        ("block1", "1 block, 8,820 tokens"),
        ("block2", "2 blocks, 2,100 tokens"),
        ("block3", "3 blocks, 2,100 tokens"),
        ("encode", "encode 480×896×17"),
        ("decode", "decode 480×896×5"),
    ] {
        let run = Command::new(&program).args(["--one", work]).output();
        let text = run.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
        let found: Value =
            serde_json::from_str(text.unwrap_or_default().trim()).unwrap_or_default();
        let mib = |k: &str| found[k].as_u64().unwrap_or(0);
        println!(
            "| {what} | {} | {} | {} | {:.1} |",
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
    if let Some(work) = value("--one") {
        return one(&work);
    }
    if place("--block").is_some() {
        return memory();
    }
    let reps = value("--reps").and_then(|r| r.parse().ok()).unwrap_or(9);
    let ours = speed(reps, value("--only").as_deref());
    println!("{ours:#}");
    if let Some(python) = value("--python")
        && compare(&ours, &python, "bench_video_reference.py", reps).is_none()
    {
        eprintln!("the reference did not run: {python}");
        std::process::exit(1);
    }
}
