//! Small modules whose field names are the published tensor names.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use vtb_nn::loader::Loader;
use vtb_nn::ops;

/// RMSNorm with a gain.
#[derive(Module, Debug)]
pub struct RmsNorm {
    /// `[width]`.
    pub weight: Param<Tensor<1>>,
    #[module(skip)]
    eps: f64,
}

impl RmsNorm {
    /// Loads the gain `weight` of `width` values.
    pub fn load(loader: &Loader<'_>, width: usize, eps: f64) -> Self {
        Self {
            weight: loader.param("weight", [width]),
            eps,
        }
    }

    /// Normalises the last axis of `[rows, width]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ops::rms_norm(x, self.weight.val(), self.eps as f32)
    }

    /// Normalises every head of `[rows, heads·width]`, giving `[rows, heads, width]`.
    pub fn heads(&self, x: Tensor<2>, width: usize) -> Tensor<3> {
        let [rows, total] = x.dims();
        let heads = total / width;
        self.forward(x.reshape([rows * heads, width]))
            .reshape([rows, heads, width])
    }
}

/// LayerNorm with gain and bias, epsilon 1e-6.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[width]`.
    pub weight: Param<Tensor<1>>,
    /// `[width]`.
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    /// Loads `weight` and `bias` of `width` values.
    pub fn load(loader: &Loader<'_>, width: usize) -> Self {
        Self {
            weight: loader.param("weight", [width]),
            bias: loader.param("bias", [width]),
        }
    }

    /// Normalises the last axis of `[rows, width]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        ops::layer_norm(x, self.weight.val(), self.bias.val(), 1e-6)
    }
}

/// A table of rows: token embeddings, learned positions.
#[derive(Module, Debug)]
pub struct Table {
    /// `[rows, width]`.
    pub weight: Param<Tensor<2>>,
}

impl Table {
    pub(crate) fn load(loader: &Loader<'_>, rows: usize, width: usize) -> Self {
        Self {
            weight: loader.param("weight", [rows, width]),
        }
    }
}
