//! The linear layer that may carry an adapter.

use burn::module::{Module, Param, ParamId};
use burn::tensor::{DType, Tensor, TensorData};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use vtb_nn::NnError;
use vtb_nn::loader::Loader;
use vtb_nn::ops::{linear, low_rank_linear};

use crate::{Factors, LinearInfo, LoraConfig, LoraError, LoraInit};

/// Whether adapters act in a pass, and the seed of their dropout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdapterPass {
    /// Adapters add their delta; the reference policy runs without.
    pub on: bool,
    /// Seed of this pass's dropout masks; `None` runs without dropout. The same seed replays the same masks.
    pub dropout_seed: Option<u64>,
}

impl AdapterPass {
    /// Adapters on, no dropout.
    pub const EVAL: Self = Self {
        on: true,
        dropout_seed: None,
    };
    /// Adapters off: the base model.
    pub const OFF: Self = Self {
        on: false,
        dropout_seed: None,
    };
}

/// One factor of an adapter; its own module so that its path is the published one, `…lora_A.weight`.
#[derive(Module, Debug)]
pub struct Factor {
    /// `[rank, in]` for A, `[out, rank]` for B, always f32.
    pub weight: Param<Tensor<2>>,
}

/// `y = x·Wᵀ + b`, plus `scaling·dropout(x)·Aᵀ·Bᵀ` where an adapter is attached.
#[derive(Module, Debug)]
pub struct LoraLinear {
    /// `[out, in]`, as checkpoints store it.
    pub weight: Param<Tensor<2>>,
    /// `[out]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// First factor.
    pub lora_A: Option<Factor>,
    /// Second factor, zero at the start of training.
    pub lora_B: Option<Factor>,
    #[module(skip)]
    scaling: f64,
    #[module(skip)]
    dropout: f64,
    #[module(skip)]
    path: String,
}

impl LoraLinear {
    /// Loads `weight` (and `bias`) below the loader's place.
    pub fn load(loader: &Loader<'_>, inputs: usize, outputs: usize, bias: bool) -> Self {
        Self {
            weight: loader.param("weight", [outputs, inputs]),
            bias: bias.then(|| loader.param("bias", [outputs])),
            lora_A: None,
            lora_B: None,
            scaling: 1.0,
            dropout: 0.0,
            path: loader.prefix().to_owned(),
        }
    }

    /// What target matching needs to know. `is_head` marks the output head.
    pub fn info(&self, is_head: bool) -> LinearInfo {
        let [outputs, inputs] = self.weight.val().dims();
        LinearInfo {
            path: self.path.clone(),
            in_features: inputs,
            out_features: outputs,
            is_head,
        }
    }

    /// Module path, without `.weight`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether an adapter is attached.
    pub fn is_adapted(&self) -> bool {
        self.lora_A.is_some()
    }

    /// Applies the layer to `[rows, in]`.
    pub fn forward(&self, x: Tensor<2>, pass: AdapterPass) -> Tensor<2> {
        let weight = self.weight.val();
        let bias = self.bias.as_ref().map(Param::val);
        let (Some(a), Some(b), true) = (&self.lora_A, &self.lora_B, pass.on) else {
            return linear(x, weight, bias);
        };
        let mask = pass.dropout_seed.and_then(|seed| self.mask(&x, seed));
        let y = low_rank_linear(
            x,
            weight,
            a.weight.val(),
            b.weight.val(),
            self.scaling as f32,
            mask,
        );
        match bias {
            Some(bias) => y + bias.unsqueeze::<2>(),
            None => y,
        }
    }

    /// Dropout mask of this layer, scaled by `1/(1-p)`: a function of the seed and the layer's path alone.
    fn mask(&self, x: &Tensor<2>, seed: u64) -> Option<Tensor<2>> {
        if self.dropout == 0.0 {
            return None;
        }
        let [rows, width] = x.dims();
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ fnv1a(&self.path));
        let keep = (1.0 / (1.0 - self.dropout)) as f32;
        let threshold = (self.dropout * f64::from(u32::MAX)) as u32;
        let draw = |_| {
            if rng.random::<u32>() < threshold {
                0.0
            } else {
                keep
            }
        };
        let values: Vec<f32> = (0..rows * width).map(draw).collect();
        let device = x.device();
        let mask = Tensor::from_data(
            TensorData::new(values, [rows, width]),
            (&device, DType::F32),
        );
        Some(mask.inner())
    }

    /// Attaches a fresh adapter: A drawn by the config's rule, B zero.
    pub fn attach_fresh(&mut self, config: &LoraConfig, seed: u64) -> Result<(), LoraError> {
        let rank = config.rules("lora")?.rank(&self.path)?;
        let [outputs, inputs] = self.weight.val().dims();
        let mut rng = stream(seed, &self.path);
        let a = (0..rank * inputs)
            .map(|_| draw(config.init, rank, inputs, &mut rng))
            .collect();
        let factors = Factors {
            a: TensorData::new::<f32, _>(a, [rank, inputs]),
            b: TensorData::new(vec![0.0f32; outputs * rank], [outputs, rank]),
        };
        self.attach(config, factors)
    }

    /// Attaches given factors. Their shapes must fit the layer.
    pub fn attach(&mut self, config: &LoraConfig, factors: Factors) -> Result<(), LoraError> {
        let [outputs, inputs] = self.weight.val().dims();
        let (a, b) = (factors.a.shape().to_vec(), factors.b.shape().to_vec());
        if a.len() != 2 || b.len() != 2 || a[1] != inputs || b[0] != outputs || a[0] != b[1] {
            return Err(NnError::input(format!(
                "adapter factors of `{}` have shapes {a:?} and {b:?}, the layer is [{outputs}, {inputs}]",
                self.path
            ))
            .into());
        }
        let device = self.weight.val().device();
        let factor = |data: TensorData| {
            let value = Tensor::from_data(data, (&device, DType::F32));
            Some(Factor {
                weight: Param::initialized(ParamId::new(), value),
            })
        };
        self.scaling = config.scaling(&self.path)?;
        self.dropout = config.dropout;
        self.lora_A = factor(factors.a);
        self.lora_B = factor(factors.b);
        Ok(())
    }

    /// The adapter's factors, if one is attached.
    pub fn factors(&self) -> Option<Factors> {
        let data = |f: &Factor| f.weight.val().into_data();
        Some(Factors {
            a: data(self.lora_A.as_ref()?),
            b: data(self.lora_B.as_ref()?),
        })
    }

    /// Adds `scaling·B·A`, computed in f32 and rounded once, into the weight and drops the adapter.
    pub fn merge(&mut self) {
        let (Some(a), Some(b)) = (self.lora_A.take(), self.lora_B.take()) else {
            return;
        };
        let (id, weight, _) = self.weight.clone().consume();
        let delta = b
            .weight
            .val()
            .matmul(a.weight.val())
            .mul_scalar(self.scaling);
        let dtype = weight.dtype();
        let merged = (weight.cast(DType::F32) + delta).cast(dtype);
        self.weight = Param::initialized(id, merged);
    }
}

/// The generator of the fresh factors at `path`.
pub(crate) fn stream(seed: u64, path: &str) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed ^ fnv1a(path))
}

/// One entry of a fresh A: uniform in ±1/√in (Kaiming-uniform with a = √5) or normal with deviation 1/rank.
pub(crate) fn draw(init: LoraInit, rank: usize, inputs: usize, rng: &mut ChaCha8Rng) -> f32 {
    match init {
        LoraInit::Kaiming => {
            let bound = 1.0 / (inputs as f32).sqrt();
            rng.random_range(-bound..bound)
        }
        LoraInit::Gaussian => (vtb_nn::random::pair(rng)[0] / rank as f64) as f32,
    }
}

/// FNV-1a hash: names a layer in seeds.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    })
}
