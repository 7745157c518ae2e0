//! What loading a checkpoint costs in memory, and what is refused.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "helpers of tests may panic, and one test reports"
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use burn::tensor::{DType, TensorData, bf16};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use vtb_models_vlm::config::{MoeConfig, Preset, Qwen3VlConfig};
use vtb_models_vlm::qwen3_vl::Qwen3Vl;
use vtb_nn::NnError;
use vtb_nn::checkpoint::{TensorInfo, TensorSource, save_sharded};
use vtb_nn::device::cpu_device;

/// Random bf16 tensors, made when they are asked for.
struct Random(BTreeMap<String, Vec<usize>>);

impl Random {
    fn bytes(&self) -> impl Iterator<Item = u64> {
        let sizes = self.0.values();
        sizes.map(|shape| 2 * shape.iter().map(|n| *n as u64).product::<u64>())
    }
}

impl TensorSource for Random {
    fn origin(&self) -> String {
        "random numbers".into()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        let shape = self.0.get(name)?.clone();
        Some(TensorInfo {
            dtype: DType::BF16,
            shape,
        })
    }

    fn load(&self, name: &str) -> Result<TensorData, NnError> {
        let shape = &self.0[name];
        let mut rng = ChaCha8Rng::seed_from_u64(name.len() as u64);
        let mut bits = vec![0_u64; shape.iter().product::<usize>().div_ceil(4)];
        rng.fill(bits.as_mut_slice());
        // Exponents that make numbers between 2^-8 and 1.
        let value = |bits: u64| bf16::from_bits((bits as u16 & 0x83ff) | 0x3c00);
        let values: Vec<bf16> = bits
            .iter()
            .flat_map(|b| [0, 16, 32, 48].map(|shift| value(b >> shift)))
            .take(shape.iter().product())
            .collect();
        Ok(TensorData::new(values, shape.clone()))
    }

    fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }
}

/// Writes a model directory of `config`; the sizes of all tensors and of the largest.
fn write(dir: &Path, config: &Qwen3VlConfig, shard: u64) -> (u64, u64) {
    config.write(dir).unwrap();
    let weights = Random(config.tensors().unwrap());
    save_sharded(dir, &weights, shard, &BTreeMap::new()).unwrap();
    (weights.bytes().sum(), weights.bytes().max().unwrap())
}

/// Bytes the kernel says this process holds now, and held at most since [`reset_peak`].
#[cfg(target_os = "linux")]
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|l| l.starts_with(name)).unwrap();
        let number = line.split_whitespace().nth(1).unwrap();
        number.parse::<u64>().unwrap() * 1024
    };
    (field("VmRSS:"), field("VmHWM:"))
}

#[cfg(target_os = "linux")]
fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// A model of a few hundred MB whose largest tensors are the embedding and stacks of experts that are transposed on
/// the way in.
#[test]
#[cfg(target_os = "linux")]
fn loading_needs_the_model_and_at_most_twice_its_largest_tensor() {
    let mut config = Preset::B2.config();
    config.text.vocab_size = 160_000;
    config.text.hidden_size = 512;
    config.vision.out_hidden_size = 512;
    config.text.num_layers = 4;
    config.text.moe = Some(MoeConfig {
        num_experts: 32,
        experts_per_token: 2,
        intermediate_size: 640,
        sparse_step: 2,
        dense_layers: Vec::new(),
    });
    config.vision.depth = 18;
    config.vision.hidden_size = 256;
    config.vision.intermediate_size = 512;
    let dir = tempfile::tempdir().unwrap();
    let (total, largest) = write(dir.path(), &config, 100 << 20);
    assert!((300 << 20..1 << 30).contains(&total), "{total}");
    // What the allocator keeps of making the files is handed back by loading a small model first.
    reset_peak();
    let (before, _) = resident();
    let model = Qwen3Vl::load(dir.path(), &cpu_device(), DType::BF16).unwrap();
    let (after, peak) = resident();
    assert_eq!(model.parameters() * 2, total);
    let grown = after.saturating_sub(before);
    assert!(
        grown + (32 << 20) > total,
        "the model is resident: {grown} of {total}"
    );
    let limit = before + total + 2 * largest;
    assert!(
        peak <= limit,
        "peak {peak}, before {before}, model {total}, largest {largest}"
    );
}

/// The shape of the 4B model, about 9 GB on disk and in memory. Say `--ignored --nocapture` to see what it took.
#[test]
#[ignore = "writes 9 GB to the temporary directory"]
#[cfg(target_os = "linux")]
fn a_model_of_the_size_of_4b_loads() {
    let dir = tempfile::tempdir().unwrap();
    let start = Instant::now();
    let (total, largest) = write(dir.path(), &Preset::B4.config(), 5_000_000_000);
    eprintln!(
        "written: {total} bytes in {:.0} s",
        start.elapsed().as_secs_f64()
    );
    reset_peak();
    let (before, _) = resident();
    let start = Instant::now();
    let model = Qwen3Vl::load(dir.path(), &cpu_device(), DType::BF16).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let (after, peak) = resident();
    eprintln!(
        "loaded in {seconds:.1} s: resident before {before}, after {after}, peak {peak}; model {total}, largest tensor {largest}"
    );
    assert_eq!(model.parameters(), 4_437_815_808);
    assert!(peak <= before + total + 2 * largest);
}

#[test]
fn pickled_weights_are_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    Preset::B2.config().write(dir.path()).unwrap();
    for name in [
        "pytorch_model.bin",
        "pytorch_model-00001-of-00002.bin",
        "model.pth",
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, b"PK").unwrap();
        let error = Qwen3Vl::load(dir.path(), &cpu_device(), DType::F32).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("save_pretrained") && text.contains("safetensors"),
            "{name}: {text}"
        );
        std::fs::remove_file(&path).unwrap();
    }
}
