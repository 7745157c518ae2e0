//! The memory of a run, told before a device is opened.

use std::path::Path;
use std::sync::Arc;

use vtb_data::{RowRules, RowSource};
use vtb_models_vlm::config::AnyVlmConfig;
use vtb_models_vlm::files::ModelDir;
use vtb_models_vlm::memory::{Pass, PassMemory, Trainable};

use crate::data::{Rows, open_jsonl, spread};
use crate::plan::{Plan, gib};
use crate::settings::{DataSection, LoraSection, ModelSection, TrainSection};

/// What program, allocator and the rows prepared ahead take at the least.
pub const PROGRAM: u64 = 48 << 20;
/// Rows of a file whose size is looked at.
pub const LOOKED_AT: usize = 2048;
/// Batches looked at in the search for the largest that fits.
const MOST_ROWS: u64 = 4096;

/// What stays in memory as long as a run trains.
#[derive(Debug, Clone)]
pub struct States {
    /// The model.
    pub config: AnyVlmConfig,
    /// Bytes of a weight and of an activation.
    pub bytes: u64,
    /// The CPU computes, which multiplies bf16 by way of copies in f32.
    pub on_cpu: bool,
    /// What trains.
    pub trainable: Trainable,
    full: bool,
    accumulates: bool,
}

impl States {
    /// From the settings; `accumulates` says whether a step has several passes.
    ///
    /// # Errors
    /// Targets of the adapter that nothing matches.
    pub fn new(
        config: AnyVlmConfig,
        train: &TrainSection,
        lora: &LoraSection,
        bytes: u64,
        on_cpu: bool,
        accumulates: bool,
    ) -> anyhow::Result<Self> {
        let full = train.mode == "full";
        let trainable = if full {
            config.full_trainable(train.full())?
        } else {
            let mut lora = lora.config();
            if lora.targets == LoraSection::default().targets {
                lora.targets = config.decoder_targets();
            }
            config.adapter_trainable(&lora)?
        };
        Ok(Self {
            config,
            bytes,
            on_cpu,
            trainable,
            full,
            accumulates,
        })
    }

    /// Bytes of the model's weights.
    pub fn weights(&self) -> u64 {
        self.config.parameters() * self.bytes
    }

    /// Bytes of everything else that stays: factors or master weights, gradients and both moments, in f32.
    pub fn training(&self) -> u64 {
        // In f32, what trains in full mode is the model itself.
        let values = if self.full && self.bytes == 4 { 0 } else { 4 };
        let gradients = if self.accumulates { 8 } else { 4 };
        self.trainable.parameters * (values + gradients + 8)
    }

    /// The fullest moment of training by this pass.
    pub fn peak(&self, pass: &Pass) -> u64 {
        PROGRAM + self.weights() + self.training() + self.pass(pass).peak()
    }

    /// What a pass takes beside what stays.
    pub fn pass(&self, pass: &Pass) -> PassMemory {
        self.config.pass_memory(pass, &self.trainable)
    }
}

/// Sizes of the rows of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RowSizes {
    /// Rows looked at.
    pub rows: usize,
    /// Tokens of the longest.
    pub longest: u64,
    /// Patches of the row with most.
    pub patches: u64,
    /// Tokens on average.
    pub mean: f64,
}

/// Looks at the sizes of up to 2,048 rows of a file, evenly spread, without decoding a picture.
///
/// # Errors
/// A row, or tokenizer and settings of the model, cannot be read.
pub fn row_sizes(
    model: &Path,
    config: &AnyVlmConfig,
    file: &Path,
    rules: RowRules,
    data: &DataSection,
) -> anyhow::Result<RowSizes> {
    let encoder = config.encoder(&ModelDir::open(model)?)?;
    let source = open_jsonl(file, rules, data)?;
    let count = source.len();
    let rows = Rows::new(Arc::new(source), Arc::new(encoder)).configured(data)?;
    let mut sizes = RowSizes::default();
    for index in spread(count, LOOKED_AT) {
        let extent = rows.extent(index)?;
        sizes.rows += 1;
        sizes.longest = sizes.longest.max(extent.tokens as u64);
        sizes.patches = sizes.patches.max(extent.patches as u64);
        sizes.mean += extent.tokens as f64;
    }
    sizes.mean /= sizes.rows.max(1) as f64;
    Ok(sizes)
}

/// How rows make up a pass.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    /// Rows.
    pub rows: u64,
    /// Sizes of prompts, or of whole rows in supervised training.
    pub sizes: RowSizes,
    /// Tokens that are sampled after each prompt; 0 in supervised training.
    pub completion: u64,
    /// Rows that share a prompt and its pictures.
    pub generations: u64,
    /// Blocks keep their input only.
    pub recompute: bool,
}

impl Batch {
    /// The pass in which every row is as long as the longest.
    pub fn pass(&self, states: &States) -> Pass {
        let tokens = self.rows * (self.sizes.longest + self.completion);
        Pass {
            tokens,
            // Of a supervised row nearly everything but the question may be scored.
            scored: match self.completion {
                0 => tokens,
                completion => self.rows * completion,
            },
            patches: self.sizes.patches * self.rows.div_ceil(self.generations.max(1)),
            bytes: states.bytes,
            on_cpu: states.on_cpu,
            recompute: self.recompute,
        }
    }
}

/// Keys and values of completions that decode together.
#[derive(Debug, Clone, Copy)]
pub struct Lanes {
    /// Completions at a time.
    pub lanes: u64,
    /// Completions in all, of which others wait.
    pub all: u64,
}

impl Lanes {
    /// Bytes, where a prompt has `prompt` tokens and a completion `completion`.
    pub fn bytes(&self, states: &States, prompt: u64, completion: u64) -> u64 {
        let window = prompt + completion;
        let room = match self.all > self.lanes {
            true => window + window / 2,
            false => window,
        };
        self.lanes * room * states.config.cache_bytes(states.bytes)
    }
}

/// Writes what a run takes into its plan: what stays, one pass, decoding, and the largest batch that fits `capacity`.
pub fn tell(
    plan: &mut Plan,
    states: &States,
    batch: &Batch,
    lanes: Option<Lanes>,
    capacity: Option<u64>,
) {
    let sizes = &batch.sizes;
    plan.line(
        "rows",
        format!(
            "{} looked at: {:.0} tokens on average, {} at most, {} patches at most",
            sizes.rows, sizes.mean, sizes.longest, sizes.patches
        ),
    );
    let pass = batch.pass(states);
    let other = Pass {
        recompute: !pass.recompute,
        ..pass
    };
    let (with, without) = match pass.recompute {
        true => (pass, other),
        false => (other, pass),
    };
    plan.line(
        "activations",
        format!(
            "{} with recompute, {} without: {} rows of the longest, {} tokens",
            gib(states.pass(&with).peak()),
            gib(states.pass(&without).peak()),
            batch.rows,
            pass.tokens
        ),
    );
    let mut peak = states.peak(&pass);
    if let Some(lanes) = lanes {
        let cache = lanes.bytes(states, sizes.longest, batch.completion);
        plan.line(
            "keys and values",
            format!("{}: {} completions at a time", gib(cache), lanes.lanes),
        );
        peak = peak.max(PROGRAM + states.weights() + states.training() + cache);
    }
    plan.line("peak", format!("about {}", gib(peak)));
    let Some(capacity) = capacity else { return };
    let fits = |rows: u64| {
        let batch = Batch { rows, ..*batch };
        states.peak(&batch.pass(states)) <= capacity
    };
    let largest = largest(MOST_ROWS, fits);
    let told = match largest {
        0 => "no batch fits; shorten rows, take a smaller model, or switch recompute on".to_owned(),
        rows => format!("up to batch.batch_size = {rows}"),
    };
    plan.line(&format!("in {}", gib(capacity)), told);
    if peak > capacity {
        plan.line("warning", "this run needs more memory than there is");
    }
}

/// The largest number up to `most` for which `fits` holds, where it holds for all below one that it holds for.
fn largest(most: u64, fits: impl Fn(u64) -> bool) -> u64 {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    low
}

/// Whether a run with this `model.device` computes on a GPU. No device is opened: `auto` goes by what the driver counts.
pub fn on_gpu(device: &str) -> bool {
    let there = || {
        let nvml = nvml_wrapper::Nvml::init();
        nvml.is_ok_and(|nvml| nvml.device_count().is_ok_and(|count| count > 0))
    };
    match device {
        "auto" => cfg!(feature = "cuda") && there(),
        device => device.starts_with("cuda"),
    }
}

/// Memory to plan for: what was asked for, that of the first GPU, or what is free on this machine. `None` where nobody can
/// tell.
pub fn capacity(given: Option<f64>, model: &ModelSection) -> Option<u64> {
    if let Some(gib) = given {
        return Some((gib * f64::from(1 << 30)) as u64);
    }
    if on_gpu(&model.device) {
        let nvml = nvml_wrapper::Nvml::init().ok()?;
        let number = model.device.strip_prefix("cuda:").unwrap_or("0");
        let device = nvml.device_by_index(number.parse().ok()?).ok()?;
        return Some(device.memory_info().ok()?.free);
    }
    main_memory().map(|found| found.free)
}

/// Main memory, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct MainMemory {
    /// All there is.
    pub total: u64,
    /// Free, or held by caches that give way.
    pub free: u64,
    /// These are the limits of a container, which holds less than its machine.
    pub contained: bool,
}

/// Main memory of this machine or container; `None` where the system does not tell.
pub fn main_memory() -> Option<MainMemory> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let (total, free) = (system.total_memory(), system.available_memory());
    let limits = system.cgroup_limits().filter(|l| l.total_memory < total);
    let found = match limits {
        Some(limits) => MainMemory {
            total: limits.total_memory,
            free: limits.free_memory.min(free),
            contained: true,
        },
        None => MainMemory {
            total,
            free,
            contained: false,
        },
    };
    (found.total > 0).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_batch_is_found() {
        for most in 0..20 {
            assert_eq!(largest(32, |rows| rows <= most), most);
        }
        assert_eq!(largest(4, |_| true), 4);
    }

    #[test]
    fn rows_are_looked_at_from_end_to_end() {
        let looked = |count, most| spread(count, most).collect::<Vec<_>>();
        assert_eq!(looked(10, 4), [0, 2, 5, 7]);
        assert_eq!(looked(3, 4), [0, 1, 2]);
        assert!(looked(0, 4).is_empty() && looked(4, 0).is_empty());
    }

    #[test]
    fn a_group_shares_its_pictures() {
        let config = AnyVlmConfig::Qwen3(vtb_models_vlm::config::Preset::B2.config());
        let (train, lora) = (
            crate::settings::SftRun::defaults(false).train,
            LoraSection::default(),
        );
        let states = States::new(config, &train, &lora, 2, false, false).unwrap();
        let batch = Batch {
            rows: 16,
            sizes: RowSizes {
                rows: 1,
                longest: 100,
                patches: 64,
                mean: 100.0,
            },
            completion: 50,
            generations: 8,
            recompute: true,
        };
        let pass = batch.pass(&states);
        assert_eq!((pass.tokens, pass.scored, pass.patches), (2400, 800, 128));
        assert!(states.peak(&pass) > states.weights() + states.training());
        // Completions that enter later need room to move in.
        let lanes = |all| Lanes { lanes: 4, all }.bytes(&states, 60, 40);
        assert_eq!(2 * lanes(5), 3 * lanes(4));
    }
}
