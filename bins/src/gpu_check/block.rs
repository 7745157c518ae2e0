//! One decoder layer of true size with a LoRA, forward and backward, block by block as training runs it.

use burn::tensor::{DType, Device, Tensor};
use serde::Serialize;
use vtb_lora::{AdapterPass, LoraConfig, ModuleFilter};
use vtb_models_vlm::qwen3_vl::{DecoderLayer, Packing, Qwen3Vl, TextContext};
use vtb_models_vlm::tiny::TinySpec;
use vtb_nn::lm::NamedTensors;
use vtb_nn::ops::RopeTable;
use vtb_nn::ops::rope::MRope;
use vtb_nn::recompute::{Keep, Role, Segment};

use super::lane::Lane;
use super::memory::{Memory, watch};
use super::rates::attention_operations;
use super::report::Report;
use super::timing::Timer;
use crate::guard::guard;

const LINEARS: [&str; 7] = [
    "q_proj",
    "k_proj",
    "v_proj",
    "o_proj",
    "gate_proj",
    "up_proj",
    "down_proj",
];

const THETA: f64 = 5_000_000.0;

/// Sizes of a decoder layer and of the sequences it is run on.
#[derive(Debug, Clone)]
pub(super) struct BlockSize {
    model: &'static str,
    hidden: usize,
    intermediate: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    mrope_section: [usize; 3],
    rank: usize,
    tokens: Vec<usize>,
}

/// What one layer took.
#[derive(Debug, Clone, Serialize)]
pub(super) struct BlockResult {
    pub(super) model: &'static str,
    pub(super) tokens: usize,
    /// `recompute` keeps the layer's input alone, `graph` its activations.
    pub(super) keep: &'static str,
    pub(super) forward_seconds: f64,
    /// Forward and backward.
    pub(super) step_seconds: f64,
    pub(super) forward_tflops: f64,
    /// Over forward and backward, recomputation counted.
    pub(super) step_tflops: f64,
    /// `step_tflops` as a part of the best product rate; filled in at the end.
    pub(super) share: Option<f64>,
    /// Of one forward and backward pass.
    pub(super) memory: Option<Memory>,
}

/// Decoder layers of Qwen3-VL 4B and 8B.
pub(super) fn sizes(quick: bool) -> Vec<BlockSize> {
    let size = |model, hidden, intermediate| BlockSize {
        model,
        hidden,
        intermediate,
        heads: 32,
        kv_heads: 8,
        head_dim: 128,
        mrope_section: [24, 20, 20],
        rank: 16,
        tokens: if quick { vec![2048] } else { vec![2048, 8192] },
    };
    let mut sizes = vec![size("4B", 2560, 9728), size("8B", 4096, 12_288)];
    sizes.truncate(if quick { 1 } else { 2 });
    sizes
}

impl BlockSize {
    /// A layer for a test on a CPU.
    #[cfg(test)]
    pub(super) fn tiny() -> Self {
        Self {
            model: "tiny",
            hidden: 32,
            intermediate: 48,
            heads: 4,
            kv_heads: 2,
            head_dim: 16,
            mrope_section: [4, 2, 2],
            rank: 4,
            tokens: vec![24],
        }
    }

    /// For lists.
    pub(super) fn name(&self) -> String {
        format!("decoder layer {}, {:?} tokens", self.model, self.tokens)
    }

    /// A model of one such layer; the vision tower and the vocabulary are kept small.
    fn build(&self, device: &Device, dtype: DType) -> anyhow::Result<Qwen3Vl> {
        let spec = TinySpec {
            hidden: self.hidden,
            intermediate: self.intermediate,
            heads: self.heads,
            kv_heads: self.kv_heads,
            head_dim: self.head_dim,
            mrope_section: self.mrope_section,
            rope_theta: THETA,
            layers: 1,
            vision_depth: 1,
            deepstack: vec![0],
            ..TinySpec::default()
        };
        let mut model = Qwen3Vl::fresh(spec.config(512)?, 3, device, dtype)?;
        let lora = LoraConfig {
            r: self.rank,
            alpha: 2.0 * self.rank as f64,
            targets: ModuleFilter::names(LINEARS),
            ..LoraConfig::default()
        };
        model.attach_adapter(&lora, 3)?;
        Ok(model)
    }

    /// Operations forward, and forward and backward with frozen weights: products by weights once each way, no
    /// gradient by weights. The thin products of the LoRA are left out.
    fn operations(&self, tokens: usize, keep: Keep) -> (f64, f64) {
        let width = self.heads * self.head_dim;
        let kv = self.kv_heads * self.head_dim;
        let weights = self.hidden * (2 * width + 2 * kv + 3 * self.intermediate);
        let products = 2.0 * (weights * tokens) as f64;
        let forward = products + attention_operations(tokens, width, true);
        let step = 2.0 * products + attention_operations(tokens, width, false);
        (
            forward,
            if keep == Keep::Input {
                step + forward
            } else {
                step
            },
        )
    }
}

/// Measures every size at every length.
pub(super) fn run(
    device: &Device,
    dtype: DType,
    sizes: &[BlockSize],
    timer: &Timer,
    report: &mut Report,
) {
    let lane = Lane::new("block".into(), device.clone(), dtype);
    for size in sizes {
        let model = match guard(|| size.build(device, dtype)) {
            Ok(model) => model,
            Err(why) => {
                report.block(&size.name(), Err(why));
                continue;
            }
        };
        for &tokens in &size.tokens {
            for keep in [Keep::Input, Keep::Graph] {
                let name = format!("decoder layer {}, {tokens} tokens, {keep:?}", size.model);
                let layer = &model.network().model.language_model.layers[0];
                let bench = Bench::new(&lane, size, layer, tokens, keep);
                report.block(&name, guard(|| bench.run(timer)));
            }
        }
        drop(model);
        device.memory_cleanup();
    }
}

/// One layer on one sequence.
struct Bench<'a> {
    size: &'a BlockSize,
    layer: &'a DecoderLayer,
    device: &'a Device,
    context: TextContext,
    input: Tensor<2>,
    gradient: Tensor<2>,
    keep: Keep,
}

impl<'a> Bench<'a> {
    fn new(
        lane: &'a Lane,
        size: &'a BlockSize,
        layer: &'a DecoderLayer,
        tokens: usize,
        keep: Keep,
    ) -> Self {
        let positions: Vec<[i32; 3]> = (0..tokens as i32).map(|i| [i; 3]).collect();
        let mrope = MRope::Interleaved(size.mrope_section);
        let angles = mrope.angles(&positions, size.head_dim, THETA);
        let context = TextContext {
            packing: Packing::new(&[tokens], true),
            rope: RopeTable::from_angles(&angles, size.head_dim / 2, &lane.device),
            pass: AdapterPass::EVAL,
            balance: None,
        };
        let random = |seed| lane.random([tokens, size.hidden], seed, 1.0);
        let (input, gradient) = (random(1), random(2));
        Self {
            size,
            layer,
            device: &lane.device,
            context,
            input,
            gradient,
            keep,
        }
    }

    fn forward(&self, role: &Role<'_>) -> Segment<DecoderLayer> {
        let run = |layer: &DecoderLayer, x| layer.forward(x, &self.context);
        Segment::forward(self.layer, self.input.clone(), self.keep, role, run).1
    }

    /// Gradients by the adapter and by the input.
    fn step(&self, role: &Role<'_>) -> (NamedTensors, Option<Tensor<2>>) {
        let run = |layer: &DecoderLayer, x| layer.forward(x, &self.context);
        let mut gradients = NamedTensors::new();
        let segment = self.forward(role);
        let by_input =
            segment.backward(self.layer, self.gradient.clone(), role, run, &mut gradients);
        (gradients, by_input)
    }

    fn run(&self, timer: &Timer) -> anyhow::Result<BlockResult> {
        let role = Role {
            prefix: "layer".into(),
            trainable: &|path| path.contains(".lora_"),
            input_gradient: true,
        };
        let (gradients, by_input) = self.step(&role);
        let expected = 2 * LINEARS.len();
        anyhow::ensure!(
            gradients.len() == expected && by_input.is_some(),
            "{} gradients came back of {expected} and one by the input",
            gradients.len()
        );
        drop((gradients, by_input));
        let forward = timer
            .measure(self.device, || drop(self.forward(&role)))?
            .median;
        let step = timer
            .measure(self.device, || drop(self.step(&role)))?
            .median;
        let memory = watch(self.device, || drop(self.step(&role))).map_err(anyhow::Error::msg)?;
        let tokens = self.input.dims()[0];
        let operations = self.size.operations(tokens, self.keep);
        Ok(BlockResult {
            model: self.size.model,
            tokens,
            keep: if self.keep == Keep::Input {
                "recompute"
            } else {
                "graph"
            },
            forward_seconds: forward,
            step_seconds: step,
            forward_tflops: operations.0 / forward / 1e12,
            step_tflops: operations.1 / step / 1e12,
            share: None,
            memory,
        })
    }
}
