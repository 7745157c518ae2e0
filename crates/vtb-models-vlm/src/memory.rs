//! How much memory training takes, from the configuration alone: nothing of the model's size is allocated.
//!
//! The counts follow the code: what the blocks of `model/` keep between their forward and backward passes, and what stands
//! beside it at the fullest moment. They are compared with measurements in `docs/benchmarks.md`. What programs, allocator and
//! drivers need for themselves is not in them.

use vtb_lora::{LoraConfig, MatchReport, ModuleFilter};
use vtb_nn::ops::head::chunk_rows;

use crate::VlmError;
use crate::config::{AnyVlmConfig, AttentionStyle, TextConfig, TowerConfig, VlmConfig};
use crate::model::{FullTraining, Tower, Vlm};
use crate::{qwen2_5_vl, qwen3_vl};

/// Bytes of an f32.
const F32: u64 = 4;

/// What trains.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trainable {
    /// How many numbers.
    pub parameters: u64,
    /// Layers of the decoder whose inputs are kept for the gradients of their weights or factors.
    inputs: Inputs,
    /// Something in the vision tower trains.
    vision: bool,
    /// The output head trains, and its gradient is as large as it.
    head: bool,
}

/// Inputs that linear layers of a decoder block keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Inputs {
    /// Of the projections to queries, keys and values.
    qkv: bool,
    /// Of gate and up.
    mlp: bool,
    /// Of down.
    down: bool,
}

/// One training pass: a micro-batch, packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pass {
    /// Tokens of all rows, those of pictures included.
    pub tokens: u64,
    /// Tokens whose log-probability is asked for.
    pub scored: u64,
    /// Patches of all different pictures.
    pub patches: u64,
    /// Bytes of an activation: 4, or 2 for bf16.
    pub bytes: u64,
    /// The CPU multiplies bf16 by way of copies in f32.
    pub on_cpu: bool,
    /// Blocks keep their input only.
    pub recompute: bool,
}

/// Bytes of a training pass, by what they are for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PassMemory {
    /// Patches on the host and on the device.
    pub inputs: u64,
    /// The vision tower at its fullest.
    pub vision: u64,
    /// What the decoder's blocks keep until the backward pass reaches them, and the features of pictures.
    pub kept: u64,
    /// One block at its fullest, beside what is kept.
    pub block: u64,
    /// Output head: a chunk of logits and their gradient.
    pub head: u64,
}

impl PassMemory {
    /// The fullest moment.
    pub fn peak(&self) -> u64 {
        self.inputs + self.vision.max(self.kept + self.block.max(self.head))
    }
}

impl AnyVlmConfig {
    /// The decoder's projections as targets of an adapter.
    pub fn decoder_targets(&self) -> ModuleFilter {
        match self {
            Self::Qwen3(_) => qwen3_vl::VisionTower::decoder_targets(),
            Self::Qwen2_5(_) => qwen2_5_vl::VisionTower::decoder_targets(),
        }
    }

    /// Which layers `lora` would adapt.
    ///
    /// # Errors
    /// Targets that nothing matches, or a configuration that makes no model.
    pub fn match_adapter(&self, lora: &LoraConfig) -> Result<MatchReport, VlmError> {
        match self {
            Self::Qwen3(c) => Vlm::<qwen3_vl::VisionTower>::outline(c)?.match_adapter(lora),
            Self::Qwen2_5(c) => Vlm::<qwen2_5_vl::VisionTower>::outline(c)?.match_adapter(lora),
        }
    }

    /// What an adapter trains.
    ///
    /// # Errors
    /// As [`AnyVlmConfig::match_adapter`].
    pub fn adapter_trainable(&self, lora: &LoraConfig) -> Result<Trainable, VlmError> {
        let report = self.match_adapter(lora)?;
        let paths = || {
            report
                .matches
                .iter()
                .map(|found| found.linear.path.as_str())
        };
        let decoder = |ends: &[&str]| {
            paths().any(|path| {
                path.starts_with("model.language_model.")
                    && ends.iter().any(|end| path.ends_with(end))
            })
        };
        Ok(Trainable {
            parameters: report.parameters(),
            inputs: Inputs {
                qkv: decoder(&["q_proj", "k_proj", "v_proj"]),
                mlp: decoder(&["gate_proj", "up_proj"]) || !report.stacks.is_empty(),
                down: decoder(&["down_proj"]) || !report.stacks.is_empty(),
            },
            vision: paths().any(|path| path.starts_with("model.visual.")),
            head: false,
        })
    }

    /// What full training of these parts trains.
    ///
    /// # Errors
    /// A configuration that makes no model.
    pub fn full_trainable(&self, what: FullTraining) -> Result<Trainable, VlmError> {
        let shapes = match self {
            Self::Qwen3(c) => Vlm::<qwen3_vl::VisionTower>::parameter_shapes(c)?,
            Self::Qwen2_5(c) => Vlm::<qwen2_5_vl::VisionTower>::parameter_shapes(c)?,
        };
        let sizes = shapes.iter().filter(|(path, _)| what.trains(path));
        let size = |shape: &Vec<usize>| shape.iter().map(|n| *n as u64).product::<u64>();
        Ok(Trainable {
            parameters: sizes.map(|(_, shape)| size(shape)).sum(),
            inputs: Inputs {
                qkv: what.language,
                mlp: what.language,
                down: what.language,
            },
            vision: what.vision || what.aligner,
            head: what.language,
        })
    }

    /// Bytes of keys and values of one token in all layers.
    pub fn cache_bytes(&self, bytes: u64) -> u64 {
        let text = self.text();
        2 * text.kv_width() as u64 * text.num_layers as u64 * bytes
    }

    /// What a training pass needs beside weights, gradients and optimizer.
    pub fn pass_memory(&self, pass: &Pass, trainable: &Trainable) -> PassMemory {
        match self {
            Self::Qwen3(c) => memory(c, pass, trainable),
            Self::Qwen2_5(c) => memory(c, pass, trainable),
        }
    }
}

fn memory<V: TowerConfig>(c: &VlmConfig<V>, pass: &Pass, trainable: &Trainable) -> PassMemory {
    let Pass {
        tokens,
        patches,
        bytes,
        ..
    } = *pass;
    let text = &c.text;
    let hidden = text.hidden_size as u64;
    let layers = text.num_layers as u64;
    let patch = c.vision.patch_dim() as u64;
    let merged = patches / c.vision.merge_unit() as u64;
    let widths = c.vision.widths();
    let features = merged * hidden * (1 + widths.deepstack) * bytes;
    let block = tokens * block_elements(text, trainable.inputs) * bytes;
    let kept = if pass.recompute {
        // The input of every layer, and the output of the last.
        (layers + 1) * tokens * hidden * bytes
    } else {
        layers * block
    };
    let transient = tokens * backward_elements(text) * bytes;
    let tower = tower_memory(&widths, pass, trainable.vision);
    PassMemory {
        inputs: patches * patch * (F32 + bytes),
        vision: tower.peak + features,
        kept: kept + features + tower.kept,
        block: transient
            + conversion(pass, hidden * text.intermediate_size as u64)
            + if pass.recompute { block } else { 0 },
        head: head_bytes(c, pass, trainable.head),
    }
}

/// Numbers per token that the graph of a decoder block holds: the inputs of norms, of attention, of the gate, of every layer
/// whose weight or factors train, and the output.
fn block_elements(c: &TextConfig, inputs: Inputs) -> u64 {
    let (hidden, q, kv) = (
        c.hidden_size as u64,
        c.q_width() as u64,
        c.kv_width() as u64,
    );
    let normed = match c.attention {
        AttentionStyle::Normed => q + kv,
        AttentionStyle::Biased => 0,
    };
    // Block input, what attention is added to, output; rotated queries and keys, values, what attention gives.
    let attention = 3 * hidden + normed + q + 2 * kv + q;
    let width = inner_width(c);
    let of = |kept: bool, width: u64| if kept { width } else { 0 };
    // The routed copies of a token are inputs of their own.
    let routed = c.moe.as_ref().map_or(1, |moe| moe.experts_per_token as u64);
    attention
        + 2 * width
        + of(inputs.qkv, hidden)
        + of(inputs.mlp, hidden * routed)
        + of(inputs.down, width)
}

/// Width of gate and up over all experts a token runs through.
fn inner_width(c: &TextConfig) -> u64 {
    match &c.moe {
        // Dense layers among sparse ones are rare, and never the fullest by much.
        Some(moe) => moe.intermediate_size as u64 * moe.experts_per_token as u64,
        None => c.intermediate_size as u64,
    }
}

/// Numbers per token that the backward pass of a block adds at its fullest, at the gate: gradients of its output and of its
/// two inputs, beside those by the block's output.
fn backward_elements(c: &TextConfig) -> u64 {
    3 * c.hidden_size as u64 + 3 * inner_width(c)
}

/// Copies of a weight while the CPU multiplies it in bf16: turned round, and in f32.
fn conversion(pass: &Pass, elements: u64) -> u64 {
    match pass.on_cpu && pass.bytes != F32 {
        true => elements * (pass.bytes + F32),
        false => 0,
    }
}

/// A chunk of logits and its gradient, and what the final norm keeps.
fn head_bytes<V>(c: &VlmConfig<V>, pass: &Pass, trains: bool) -> u64 {
    let (vocab, hidden) = (c.text.vocab_size as u64, c.text.hidden_size as u64);
    let rows = pass.scored.min(chunk_rows(c.text.vocab_size) as u64);
    // On a GPU, logits in bf16 are joined by a copy in f32 and its gradient.
    let logits = match pass.bytes {
        F32 => 2 * F32,
        bytes => 2 * bytes + 2 * F32,
    };
    let weight = if trains {
        vocab * hidden * (pass.bytes + F32)
    } else {
        0
    };
    let gradient = pass.tokens * hidden * pass.bytes;
    let copies = conversion(pass, vocab * hidden);
    copies + rows * vocab * logits + 4 * pass.scored * hidden * pass.bytes + gradient + weight
}

/// Sizes of a vision tower that memory follows from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TowerWidths {
    /// Residual stream.
    pub hidden: u64,
    /// MLP.
    pub inner: u64,
    /// The MLP is gated: two layers in.
    pub gated: bool,
    /// Blocks.
    pub depth: u64,
    /// Blocks whose output the decoder gets as well.
    pub deepstack: u64,
}

struct TowerMemory {
    peak: u64,
    /// Until the backward pass has come down through the decoder.
    kept: u64,
}

fn tower_memory(c: &TowerWidths, pass: &Pass, trains: bool) -> TowerMemory {
    let of = |elements: u64| pass.patches * elements * pass.bytes;
    let gates = if c.gated { 2 } else { 1 };
    // Residual, normed input, queries, keys and values together and apart, rotated, what attention gives.
    let attention = 9 * c.hidden;
    let mlp = 3 * c.hidden + (gates + 1) * c.inner;
    let forward = of(attention.max(mlp));
    if !trains {
        return TowerMemory {
            peak: forward,
            kept: 0,
        };
    }
    let block = of(8 * c.hidden + (gates + 1) * c.inner);
    let backward = of(3 * c.hidden + 2 * c.inner);
    let kept = match pass.recompute {
        true => of(c.hidden) * (c.depth + 1 + c.deepstack),
        false => block * c.depth,
    };
    let beside = if pass.recompute { block } else { 0 };
    TowerMemory {
        peak: kept + forward.max(beside + backward),
        kept,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;

    fn pass(tokens: u64) -> Pass {
        Pass {
            tokens,
            scored: tokens / 4,
            patches: 1024,
            bytes: 4,
            on_cpu: true,
            recompute: true,
        }
    }

    fn config() -> AnyVlmConfig {
        AnyVlmConfig::Qwen3(Preset::B2.config())
    }

    #[test]
    fn adapters_are_counted_without_weights() {
        let config = config();
        let lora = LoraConfig {
            r: 16,
            targets: config.decoder_targets(),
            ..LoraConfig::default()
        };
        let found = config.adapter_trainable(&lora).unwrap();
        let text = config.text();
        let (h, i) = (text.hidden_size as u64, text.intermediate_size as u64);
        let (q, kv) = (text.q_width() as u64, text.kv_width() as u64);
        let layer = 16 * ((h + q) + 2 * (h + kv) + (q + h) + 2 * (h + i) + (i + h));
        assert_eq!(found.parameters, layer * text.num_layers as u64);
        assert!(!found.vision && found.inputs.qkv && found.inputs.down);
        let nothing = LoraConfig {
            targets: ModuleFilter::names(["no_such_proj"]),
            ..lora
        };
        assert!(config.adapter_trainable(&nothing).is_err());
    }

    #[test]
    fn full_training_counts_every_parameter_once() {
        let config = config();
        let all = config.full_trainable(FullTraining::EVERYTHING).unwrap();
        assert_eq!(all.parameters, config.parameters());
        let part = |language, vision, aligner| {
            let what = FullTraining {
                language,
                vision,
                aligner,
            };
            config.full_trainable(what).unwrap().parameters
        };
        let parts = [
            (true, false, false),
            (false, true, false),
            (false, false, true),
        ];
        let sum: u64 = parts.into_iter().map(|(l, v, a)| part(l, v, a)).sum();
        assert_eq!(sum, all.parameters);
        assert!(parts.into_iter().all(|(l, v, a)| part(l, v, a) > 0));
    }

    #[test]
    fn recompute_trades_graphs_for_inputs() {
        let (config, lora) = (config(), LoraConfig::default());
        let lora = LoraConfig {
            targets: config.decoder_targets(),
            ..lora
        };
        let trainable = config.adapter_trainable(&lora).unwrap();
        let with = config.pass_memory(&pass(4096), &trainable);
        let without = Pass {
            recompute: false,
            ..pass(4096)
        };
        let without = config.pass_memory(&without, &trainable);
        assert!(without.peak() > 4 * with.peak(), "{without:?} {with:?}");
        // Twice the tokens need twice as much, but for the pictures and the chunk of logits.
        let double = config.pass_memory(&pass(8192), &trainable);
        assert!(double.peak() <= 2 * with.peak());
        assert!(double.kept > 19 * with.kept / 10);
    }

    #[test]
    fn the_cache_is_that_of_grouped_queries() {
        let text = Preset::B2.config().text;
        let bytes = 2 * text.num_kv_heads * text.head_dim * text.num_layers * 2;
        assert_eq!(config().cache_bytes(2), bytes as u64);
    }
}
