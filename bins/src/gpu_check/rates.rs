//! Rates of products, attention and copies.

use burn::tensor::{DType, Device, Tensor};
use serde::Serialize;
use vtb_nn::ops::{AttentionMask, attention, linear};

use super::lane::Lane;
use super::report::Report;
use super::timing::{Timer, wait};
use crate::guard::guard;

/// What a rate counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) enum Unit {
    /// 10¹² floating-point operations a second.
    #[serde(rename = "TFLOP/s")]
    Tflops,
    /// 10⁹ bytes a second, read and written both counted.
    #[serde(rename = "GB/s")]
    GigaBytes,
}

/// One measured rate.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Rate {
    pub(super) name: String,
    pub(super) dtype: &'static str,
    pub(super) seconds: f64,
    pub(super) fastest_seconds: f64,
    pub(super) rate: f64,
    pub(super) unit: Unit,
    /// Whether it is a product, and so may be the ceiling others are held against.
    #[serde(skip)]
    pub(super) is_product: bool,
    /// Part of the best product rate, or of the best copy rate; filled in at the end.
    pub(super) share: Option<f64>,
}

/// `x·Wᵀ` with `x` `[rows, inputs]` and `W` `[outputs, inputs]`.
#[derive(Debug, Clone)]
pub(super) struct Product {
    name: &'static str,
    rows: usize,
    inputs: usize,
    outputs: usize,
}

/// What to measure.
#[derive(Debug, Clone)]
pub(super) struct Sizes {
    products: Vec<Product>,
    /// Sequence lengths of causal attention.
    tokens: Vec<usize>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    /// Values of the tensor that is copied.
    copied: usize,
    dtypes: Vec<DType>,
}

impl Sizes {
    /// Shapes of Qwen3-VL 4B and 8B.
    pub(super) fn real(quick: bool) -> Self {
        let product = |name, rows, inputs, outputs| Product {
            name,
            rows,
            inputs,
            outputs,
        };
        let mut products = vec![
            product("square", 4096, 4096, 4096),
            product("8B gate", 2048, 4096, 12_288),
            product("4B gate", 2048, 2560, 9728),
        ];
        if !quick {
            products.extend([
                product("8B down", 2048, 12_288, 4096),
                product("8B query", 2048, 4096, 4096),
                product("4B down", 2048, 9728, 2560),
                product("4B query", 2048, 2560, 4096),
                product("8B gate, long", 8192, 4096, 12_288),
                product("8B gate, one row", 1, 4096, 12_288),
                product("8B LoRA factor A", 2048, 4096, 16),
            ]);
        }
        Self {
            products,
            tokens: if quick {
                vec![2048]
            } else {
                vec![2048, 4096, 8192]
            },
            heads: 32,
            kv_heads: 8,
            head_dim: 128,
            copied: 1 << if quick { 26 } else { 28 },
            dtypes: vec![DType::BF16, DType::F32],
        }
    }

    /// Sizes for a test on a CPU.
    #[cfg(test)]
    pub(super) fn tiny() -> Self {
        Self {
            products: vec![Product {
                name: "square",
                rows: 16,
                inputs: 16,
                outputs: 16,
            }],
            tokens: vec![16],
            heads: 4,
            kv_heads: 2,
            head_dim: 8,
            copied: 1 << 10,
            dtypes: vec![DType::F32],
        }
    }

    /// Names of the measurements.
    pub(super) fn names(&self) -> Vec<String> {
        let products = self.products.iter().map(Product::name);
        let attention = self
            .tokens
            .iter()
            .flat_map(|n| [true, false].map(|f| self.attention(*n, f)));
        products
            .chain(attention)
            .chain(COPIES.map(String::from))
            .collect()
    }

    fn attention(&self, tokens: usize, forward: bool) -> String {
        let what = if forward {
            "forward"
        } else {
            "forward and backward"
        };
        let Self {
            heads,
            kv_heads,
            head_dim,
            ..
        } = self;
        format!("attention {tokens} tokens, {heads}/{kv_heads} heads of {head_dim}, {what}")
    }
}

impl Product {
    fn name(&self) -> String {
        let Self {
            name,
            rows,
            inputs,
            outputs,
        } = self;
        format!("product {name} [{rows}, {inputs}]·[{outputs}, {inputs}]ᵀ")
    }
}

const COPIES: [&str; 3] = ["device copy", "host to device", "device to host"];

/// Measures everything, each measurement on its own.
pub(super) fn run(device: &Device, sizes: &Sizes, timer: &Timer, report: &mut Report) {
    for &dtype in &sizes.dtypes {
        let lane = Lane::new(dtype_name(dtype).into(), device.clone(), dtype);
        for product in &sizes.products {
            let rate = guard(|| product_rate(&lane, product, timer));
            report.rate(&product.name(), rate);
        }
        for &tokens in &sizes.tokens {
            for forward in [true, false] {
                let rate = guard(|| attention_rate(&lane, sizes, tokens, forward, timer));
                report.rate(&sizes.attention(tokens, forward), rate);
            }
        }
    }
    let lane = Lane::new("f32".into(), device.clone(), DType::F32);
    let copies = [device_copy, upload, download];
    for (name, copy) in COPIES.iter().zip(copies) {
        report.rate(name, guard(|| copy(&lane, sizes.copied, timer)));
    }
}

pub(super) fn dtype_name(dtype: DType) -> &'static str {
    if dtype == DType::BF16 { "bf16" } else { "f32" }
}

fn product_rate(lane: &Lane, p: &Product, timer: &Timer) -> anyhow::Result<Rate> {
    let x: Tensor<2> = lane.random([p.rows, p.inputs], 1, 1.0);
    let w: Tensor<2> = lane.random([p.outputs, p.inputs], 2, 1.0);
    let operations = 2.0 * (p.rows * p.inputs * p.outputs) as f64;
    let timing = timer.measure(&lane.device, || drop(linear(x.clone(), w.clone(), None)))?;
    Ok(Rate {
        name: p.name(),
        dtype: dtype_name(lane.dtype),
        seconds: timing.median,
        fastest_seconds: timing.fastest,
        rate: operations / timing.median / 1e12,
        unit: Unit::Tflops,
        is_product: true,
        share: None,
    })
}

/// Operations of causal attention, the hidden half not counted: two products forward, five backward (scores again).
pub(super) fn attention_operations(tokens: usize, width: usize, forward: bool) -> f64 {
    let product = (tokens * tokens * width) as f64;
    if forward {
        2.0 * product
    } else {
        7.0 * product
    }
}

fn attention_rate(
    lane: &Lane,
    sizes: &Sizes,
    tokens: usize,
    forward: bool,
    timer: &Timer,
) -> anyhow::Result<Rate> {
    let Sizes {
        heads,
        kv_heads,
        head_dim,
        ..
    } = *sizes;
    let input = |heads, seed| -> Tensor<4> {
        let x = lane.random([1, tokens, heads, head_dim], seed, 1.0);
        if forward {
            x
        } else {
            x.autodiff().require_grad()
        }
    };
    let (q, k, v) = (input(heads, 1), input(kv_heads, 2), input(kv_heads, 3));
    let g: Tensor<4> = lane.random([1, tokens, heads, head_dim], 4, 1.0);
    let mask = AttentionMask::causal(tokens, &[0], &[tokens]);
    let scale = (head_dim as f32).sqrt().recip();
    let timing = timer.measure(&lane.device, || {
        let y = attention(q.clone(), k.clone(), v.clone(), &mask, scale);
        if !forward {
            drop((y * g.clone()).sum().backward());
        }
    })?;
    Ok(Rate {
        name: sizes.attention(tokens, forward),
        dtype: dtype_name(lane.dtype),
        seconds: timing.median,
        fastest_seconds: timing.fastest,
        rate: attention_operations(tokens, heads * head_dim, forward) / timing.median / 1e12,
        unit: Unit::Tflops,
        is_product: false,
        share: None,
    })
}

fn copy_rate(name: &str, bytes: usize, seconds: f64, fastest: f64) -> Rate {
    Rate {
        name: name.to_owned(),
        dtype: "f32",
        seconds,
        fastest_seconds: fastest,
        rate: bytes as f64 / seconds / 1e9,
        unit: Unit::GigaBytes,
        is_product: false,
        share: None,
    }
}

/// A pass that reads every value and writes it elsewhere: the source stays in use, so it is never done in place.
fn device_copy(lane: &Lane, len: usize, timer: &Timer) -> anyhow::Result<Rate> {
    let x = Tensor::<1>::ones([len], (&lane.device, DType::F32));
    let timing = timer.measure(&lane.device, || drop(x.clone().mul_scalar(0.5)))?;
    Ok(copy_rate(COPIES[0], 8 * len, timing.median, timing.fastest))
}

fn upload(lane: &Lane, len: usize, timer: &Timer) -> anyhow::Result<Rate> {
    let len = len.min(1 << 26);
    let data = burn::tensor::TensorData::new(vec![1.0f32; len], [len]);
    let to = (&lane.device, DType::F32);
    let timing = timer.measure(&lane.device, || {
        drop(Tensor::<1>::from_data(data.clone(), to))
    })?;
    Ok(copy_rate(COPIES[1], 4 * len, timing.median, timing.fastest))
}

fn download(lane: &Lane, len: usize, timer: &Timer) -> anyhow::Result<Rate> {
    let len = len.min(1 << 26);
    let x = Tensor::<1>::ones([len], (&lane.device, DType::F32));
    wait(&lane.device)?;
    let timing = timer.measure(&lane.device, || drop(x.clone().into_data()))?;
    Ok(copy_rate(COPIES[2], 4 * len, timing.median, timing.fastest))
}
