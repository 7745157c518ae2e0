//! One block: self-attention and MLP, modulated by the noise level of every token, and attention to the text.

use burn::module::{Module, Param};
use burn::tensor::{DType, Tensor};
use vtb_lora::{AdapterPass, LoraLinear};
use vtb_models_vlm::model::{LayerNorm, RmsNorm};
use vtb_nn::loader::Loader;
use vtb_nn::ops::{
    AttentionMask, Gelu, RopeTable, attention, gated_add, gelu, modulated_norm, rope_adjacent,
};

use super::WanConfig;
use super::layout::{MODULATIONS, WanBatch};
use crate::transformer::{Linears, Nothing, Pass};

/// Attention with a norm over all heads at once.
#[derive(Module, Debug)]
pub struct Attention {
    /// Queries.
    pub to_q: LoraLinear,
    /// Keys.
    pub to_k: LoraLinear,
    /// Values.
    pub to_v: LoraLinear,
    /// Output, a list of one.
    pub to_out: Vec<LoraLinear>,
    /// Norm of queries.
    pub norm_q: RmsNorm,
    /// Norm of keys.
    pub norm_k: RmsNorm,
    #[module(skip)]
    head_dim: usize,
}

impl Attention {
    fn load(loader: &Loader<'_>, c: &WanConfig) -> Self {
        let width = c.width();
        let square = |name: &str| LoraLinear::load(&loader.pp(name), width, width, true);
        let norm = |name: &str| RmsNorm::load(&loader.pp(name), width, c.eps);
        Self {
            to_q: square("to_q"),
            to_k: square("to_k"),
            to_v: square("to_v"),
            to_out: vec![square("to_out.0")],
            norm_q: norm("norm_q"),
            norm_k: norm("norm_k"),
            head_dim: c.attention_head_dim,
        }
    }

    /// `[rows, width]` looking at `[others, width]` through `mask`; queries and keys are turned where there is a table.
    fn forward(
        &self,
        x: Tensor<2>,
        others: Tensor<2>,
        rope: Option<&RopeTable>,
        mask: &AttentionMask,
        pass: AdapterPass,
    ) -> Tensor<2> {
        let heads = |x: Tensor<2>| {
            let [rows, width] = x.dims();
            x.reshape([rows, width / self.head_dim, self.head_dim])
        };
        let turned = |x: Tensor<2>| match rope {
            Some(table) => rope_adjacent(heads(x), table),
            None => heads(x),
        };
        let [rows, width] = x.dims();
        let q = turned(self.norm_q.forward(self.to_q.forward(x, pass)));
        let k = turned(self.norm_k.forward(self.to_k.forward(others.clone(), pass)));
        let v = heads(self.to_v.forward(others, pass));
        let out = attention(
            q.unsqueeze::<4>(),
            k.unsqueeze::<4>(),
            v.unsqueeze::<4>(),
            mask,
            1.0 / (self.head_dim as f32).sqrt(),
        );
        self.to_out[0].forward(out.reshape([rows, width]), pass)
    }

    fn linears_mut(&mut self) -> Linears<'_> {
        let mut all = vec![&mut self.to_q, &mut self.to_k, &mut self.to_v];
        all.extend(self.to_out.iter_mut());
        all
    }
}

/// The first layer of the MLP, under its published name.
#[derive(Module, Debug)]
pub struct Up {
    /// `[inner, width]`.
    pub proj: LoraLinear,
}

/// `net.2(gelu(net.0.proj(x)))`, GELU in its tanh form.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Up, dropout, down.
    pub net: (Up, Nothing, LoraLinear),
}

impl Mlp {
    fn load(loader: &Loader<'_>, width: usize, inner: usize) -> Self {
        let up = LoraLinear::load(&loader.pp("net.0.proj"), width, inner, true);
        let down = LoraLinear::load(&loader.pp("net.2"), inner, width, true);
        Self {
            net: (Up { proj: up }, Nothing {}, down),
        }
    }

    fn forward(&self, x: Tensor<2>, pass: AdapterPass) -> Tensor<2> {
        let x = self.net.0.proj.forward(x, pass);
        self.net.2.forward(gelu(x, Gelu::Tanh), pass)
    }
}

/// A block. Norm and modulation are kept in f32 whatever the rest is, as diffusers keeps them.
#[derive(Module, Debug)]
pub struct Block {
    /// Self-attention.
    pub attn1: Attention,
    /// Attention to the text.
    pub attn2: Attention,
    /// Norm before the attention to the text.
    pub norm2: LayerNorm,
    /// MLP.
    pub ffn: Mlp,
    /// `[1, 6, width]`, added to the modulation of every noise level: shift, scale, gate of self-attention, then of the MLP.
    pub scale_shift_table: Param<Tensor<3>>,
    #[module(skip)]
    eps: f64,
}

impl Block {
    pub(super) fn load(loader: &Loader<'_>, c: &WanConfig) -> Self {
        let width = c.width();
        Self {
            attn1: Attention::load(&loader.pp("attn1"), c),
            attn2: Attention::load(&loader.pp("attn2"), c),
            norm2: LayerNorm::load(&loader.pp("norm2").at(DType::F32), width),
            ffn: Mlp::load(&loader.pp("ffn"), width, c.ffn_dim),
            scale_shift_table: loader
                .at(DType::F32)
                .param("scale_shift_table", [1, MODULATIONS, width]),
            eps: c.eps,
        }
    }

    /// `[levels | modulations | texts | tokens]` to the same; of the last block, after which nobody reads the text,
    /// `[levels | tokens]`.
    pub(super) fn forward(
        &self,
        x: Tensor<2>,
        batch: &WanBatch,
        pass: &Pass<()>,
        last: bool,
    ) -> Tensor<2> {
        let width = x.dims()[1];
        let (before, texts) = (batch.condition_rows(), batch.text_rows);
        let conditions = pass.condition(x.clone().narrow(0, 0, before + texts));
        let tokens = x.narrow(0, before + texts, batch.tokens);
        let text = conditions.clone().narrow(0, before, texts);
        let modulations = conditions
            .clone()
            .narrow(0, batch.levels, MODULATIONS * batch.levels);
        let own = self.scale_shift_table.val();
        let own = own.reshape([1, MODULATIONS * width]);
        let table = modulations.reshape([batch.levels, MODULATIONS * width]);
        let table = table.cast(DType::F32) + own;

        let (adapter, runs, eps) = (pass.adapter, &batch.runs, self.eps as f32);
        let normed = modulated_norm(tokens.clone(), table.clone(), [0, 1], runs, eps);
        let out = self.attn1.forward(
            normed.clone(),
            normed,
            Some(&batch.rope),
            &batch.mask,
            adapter,
        );
        let tokens = gated_add(tokens, out, table.clone(), 2, runs);
        let normed = self.norm2.forward(tokens.clone());
        let seen = self
            .attn2
            .forward(normed, text, None, &batch.text_mask, adapter);
        let tokens = tokens + seen;
        let normed = modulated_norm(tokens.clone(), table.clone(), [3, 4], runs, eps);
        let tokens = gated_add(tokens, self.ffn.forward(normed, adapter), table, 5, runs);
        let kept = match last {
            true => conditions.narrow(0, 0, batch.levels),
            false => conditions,
        };
        Tensor::cat(vec![kept, tokens], 0)
    }

    pub(super) fn linears_mut(&mut self) -> Linears<'_> {
        let mut all = self.attn1.linears_mut();
        all.extend(self.attn2.linears_mut());
        all.push(&mut self.ffn.net.0.proj);
        all.push(&mut self.ffn.net.2);
        all
    }
}
