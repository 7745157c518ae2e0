//! Peak memory of two training steps against the plan that `--dry-run` prints.
//!
//!     cargo bench -p vtb-bins --bench memory                # all configurations, each in a process of its own
//!     cargo bench -p vtb-bins --bench memory -- --only 3    # one of them
//!
//! Measured is the resident memory of the process at its fullest (VmHWM), from loading on: two whole steps, so that the
//! optimizer's moments are there in the second. Linux only.

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
use serde_json::{Value, json};
use vtb_bins::memory::{PROGRAM, States};
use vtb_bins::settings::{LoraSection, SftRun, TrainSection};
use vtb_lora::ModuleFilter;
use vtb_models_vlm::config::{AnyVlmConfig, Preset, Qwen3VlConfig};
use vtb_models_vlm::memory::Pass;
use vtb_models_vlm::qwen3_vl::Qwen3Vl;
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{BackwardOptions, CausalLm, ImagePatches, LmRow};
use vtb_nn::trainable::Trainable;
use vtb_trainer::optim::{AdamW, AdamWConfig, clip, global_norm};

/// What is trained, and on what.
struct Case {
    name: &'static str,
    config: fn() -> Qwen3VlConfig,
    mode: &'static str,
    targets: fn(&AnyVlmConfig) -> ModuleFilter,
    bf16: bool,
    recompute: bool,
    rows: usize,
    /// Tokens of a row beside those of its picture.
    text: usize,
    /// Patches along a side of its picture.
    side: usize,
}

/// A few layers of the shape of the 2B model, so that steps take seconds.
fn some_layers(layers: usize) -> Qwen3VlConfig {
    let mut config = Preset::B2.config();
    config.text.num_layers = layers;
    config.vision.depth = 6;
    config.vision.deepstack_indexes = vec![1, 2, 3];
    config
}

const CASES: [Case; 6] = [
    Case {
        name: "4 layers of 2B, adapter, recompute, f32",
        config: || some_layers(4),
        mode: "lora",
        targets: AnyVlmConfig::decoder_targets,
        bf16: false,
        recompute: true,
        rows: 4,
        text: 768,
        side: 32,
    },
    Case {
        name: "4 layers of 2B, adapter, graphs kept, f32",
        config: || some_layers(4),
        mode: "lora",
        targets: AnyVlmConfig::decoder_targets,
        bf16: false,
        recompute: false,
        rows: 4,
        text: 768,
        side: 32,
    },
    Case {
        name: "4 layers of 2B, adapter on every layer, recompute, f32",
        config: || some_layers(4),
        mode: "lora",
        targets: |_| ModuleFilter::all_linear(),
        bf16: false,
        recompute: true,
        rows: 2,
        text: 256,
        side: 64,
    },
    Case {
        name: "3 layers of 2B, full training, recompute, f32",
        config: || some_layers(3),
        mode: "full",
        targets: AnyVlmConfig::decoder_targets,
        bf16: false,
        recompute: true,
        rows: 2,
        text: 512,
        side: 16,
    },
    Case {
        name: "2B, adapter, recompute, bf16",
        config: || Preset::B2.config(),
        mode: "lora",
        targets: AnyVlmConfig::decoder_targets,
        bf16: true,
        recompute: true,
        rows: 1,
        text: 256,
        side: 32,
    },
    Case {
        name: "2B, adapter, recompute, f32",
        config: || Preset::B2.config(),
        mode: "lora",
        targets: AnyVlmConfig::decoder_targets,
        bf16: false,
        recompute: true,
        rows: 1,
        text: 768,
        side: 32,
    },
];

impl Case {
    fn train(&self) -> TrainSection {
        TrainSection {
            mode: self.mode.into(),
            freeze_vit: false,
            freeze_aligner: false,
            ..SftRun::defaults(false).train
        }
    }

    fn lora(&self, config: &AnyVlmConfig) -> LoraSection {
        LoraSection {
            targets: (self.targets)(config),
            ..LoraSection::default()
        }
    }

    fn bytes(&self) -> u64 {
        if self.bf16 { 2 } else { 4 }
    }

    fn rows(&self, config: &Qwen3VlConfig) -> Vec<LmRow> {
        let dim = config.vision.patch_dim();
        let ids = config.ids;
        let word = |i: usize| 1000 + (i * 7919 % 50_000) as u32;
        let row = |key: usize| {
            let patches = self.side * self.side;
            let value = |i: usize| ((i * 31 + key) % 255) as f32 / 127.0 - 1.0;
            let image = ImagePatches {
                values: (0..patches * dim).map(value).collect(),
                grid: [1, self.side, self.side],
                key: key as u64,
            };
            let mut tokens = vec![word(key), ids.vision_start];
            tokens.extend(std::iter::repeat_n(
                ids.image,
                patches / config.vision.merge_unit(),
            ));
            tokens.push(ids.vision_end);
            tokens.extend((3..self.text).map(|i| word(i + 13 * key)));
            let text_from = tokens.len() + 3 - self.text;
            LmRow {
                scored: (0..tokens.len()).map(|i| i >= text_from).collect(),
                ids: tokens,
                images: vec![Arc::new(image)],
            }
        };
        (0..self.rows).map(row).collect()
    }

    /// Two steps; prints what they took and what was foretold.
    fn measure(&self) {
        let config = (self.config)();
        let any = AnyVlmConfig::Qwen3(config.clone());
        let states = States::new(
            any.clone(),
            &self.train(),
            &self.lora(&any),
            self.bytes(),
            true,
            false,
        )
        .unwrap();
        let dtype = if self.bf16 { DType::BF16 } else { DType::F32 };
        let mut model = Qwen3Vl::fresh(config.clone(), 1, &cpu_device(), dtype).unwrap();
        if self.mode == "full" {
            model.train_full(self.train().full());
        } else {
            model
                .attach_adapter(&self.lora(&any).config(), 2)
                .expect("targets that exist");
        }
        let rows = self.rows(&config);
        let settings = AdamWConfig::default();
        let mut optimizer = AdamW::new(settings, &model.trainable()).unwrap();
        let mut values = model.trainable_values();
        let options = BackwardOptions {
            recompute: self.recompute,
            ..BackwardOptions::default()
        };
        // What making the weights took is over.
        // SAFETY: mimalloc's own function, without arguments that could be wrong.
        unsafe { libmimalloc_sys::mi_collect(true) };
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let began = Instant::now();
        for _ in 0..2 {
            let gradients = model.backward(&rows, &options, &mut |scores| {
                Ok(scores.iter().map(|s| vec![-1e-3; s.logp.len()]).collect())
            });
            let gradients = gradients.unwrap();
            let norm = global_norm(&gradients).unwrap();
            let gradients = clip(gradients, &norm, 1.0);
            values = optimizer.step(values, gradients, 1e-4).unwrap();
            model.set_trainable(values.clone()).unwrap();
        }
        let seconds = began.elapsed().as_secs_f64() / 2.0;
        let pass = Pass {
            tokens: rows.iter().map(|row| row.ids.len() as u64).sum(),
            scored: rows.iter().map(|row| row.scored_count() as u64).sum(),
            patches: (self.rows * self.side * self.side) as u64,
            bytes: self.bytes(),
            on_cpu: true,
            recompute: self.recompute,
        };
        let parts = states.pass(&pass);
        println!(
            "{}",
            json!({
                "predicted": states.peak(&pass),
                "measured": 1024 * common::peak_kib(),
                "weights": states.weights(),
                "training": states.training(),
                "program": PROGRAM,
                "inputs": parts.inputs,
                "vision": parts.vision,
                "kept": parts.kept,
                "block": parts.block,
                "head": parts.head,
                "tokens": pass.tokens,
                "seconds": seconds,
            })
        );
    }
}

fn main() {
    vtb_bins::allocator::keep_freed_pages();
    let args: Vec<String> = std::env::args().collect();
    let value = |flag: &str| -> Option<usize> {
        let at = args.iter().position(|a| a == flag)?;
        args.get(at + 1)?.parse().ok()
    };
    if let Some(case) = value("--case") {
        return CASES[case].measure();
    }
    let only = value("--only");
    let program = std::env::current_exe().unwrap();
    println!(
        "| configuration | tokens | predicted GiB | measured GiB | predicted / measured | s per step |"
    );
    println!("|---|---|---|---|---|---|");
    for (i, case) in CASES.iter().enumerate() {
        if only.is_some_and(|only| only != i) {
            continue;
        }
        let run = Command::new(&program)
            .args(["--case", &i.to_string()])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&run.stdout);
        let Ok(found) = serde_json::from_str::<Value>(text.trim()) else {
            println!("| {} | failed: {} |", case.name, run.status);
            eprintln!("{}", String::from_utf8_lossy(&run.stderr));
            continue;
        };
        let gib = |key: &str| found[key].as_f64().unwrap() / f64::from(1 << 30);
        println!(
            "| {} | {} | {:.2} | {:.2} | {:.2} | {:.0} |",
            case.name,
            found["tokens"],
            gib("predicted"),
            gib("measured"),
            gib("predicted") / gib("measured"),
            found["seconds"].as_f64().unwrap()
        );
        eprintln!("{found}");
    }
}
