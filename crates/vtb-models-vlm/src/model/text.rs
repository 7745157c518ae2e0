//! The language decoder.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Tensor;
use vtb_lora::{AdapterPass, LoraLinear};
use vtb_nn::loader::Loader;
use vtb_nn::ops::{RopeTable, RouterBalance, rope, swiglu};

use super::experts::{Experts, SparseMlp};
use super::layers::{RmsNorm, Table};
use super::packing::Packing;
use crate::config::{AttentionStyle, TextConfig};
use crate::generation::{LayerCache, StepContext};

/// Embeddings, layers and final norm.
#[derive(Module, Debug)]
pub struct LanguageModel {
    /// Token embeddings, also the output head of tied models.
    pub embed_tokens: Table,
    /// Decoder layers.
    pub layers: Vec<DecoderLayer>,
    /// Before the output head.
    pub norm: RmsNorm,
}

impl LanguageModel {
    pub(crate) fn load(loader: &Loader<'_>, c: &TextConfig) -> Self {
        Self {
            embed_tokens: Table::load(&loader.pp("embed_tokens"), c.vocab_size, c.hidden_size),
            layers: (0..c.num_layers)
                .map(|i| DecoderLayer::load(&loader.pp(format!("layers.{i}")), c, i))
                .collect(),
            norm: RmsNorm::load(&loader.pp("norm"), c.hidden_size, c.rms_norm_eps),
        }
    }

    /// Every linear layer. Routers and experts are none.
    pub fn linears_mut(&mut self) -> Vec<&mut LoraLinear> {
        let mut all = Vec::new();
        for layer in &mut self.layers {
            let (attn, mlp) = (&mut layer.self_attn, &mut layer.mlp);
            all.extend([
                &mut attn.q_proj,
                &mut attn.k_proj,
                &mut attn.v_proj,
                &mut attn.o_proj,
            ]);
            if let FeedForward::Dense(mlp) = mlp {
                all.extend([&mut mlp.gate_proj, &mut mlp.up_proj, &mut mlp.down_proj]);
            }
        }
        all
    }

    /// The experts of every layer that has any.
    pub fn experts_mut(&mut self) -> impl Iterator<Item = &mut Experts> {
        self.layers.iter_mut().filter_map(|l| match &mut l.mlp {
            FeedForward::Dense(_) => None,
            FeedForward::Sparse(sparse) => Some(&mut sparse.experts),
        })
    }
}

/// Pre-norm layer: grouped-query attention, then a SwiGLU MLP or a mixture of experts.
#[derive(Module, Debug)]
pub struct DecoderLayer {
    /// Before attention.
    pub input_layernorm: RmsNorm,
    /// Causal attention.
    pub self_attn: SelfAttention,
    /// Before the MLP.
    pub post_attention_layernorm: RmsNorm,
    /// Gated MLP, or experts.
    pub mlp: FeedForward,
}

/// What follows attention.
#[derive(Module, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one per layer, beside weights of a thousand times its size"
)]
pub enum FeedForward {
    /// One MLP for all tokens.
    Dense(Mlp),
    /// A mixture of experts.
    Sparse(SparseMlp),
}

/// Attention whose queries and keys may be normalised.
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// Queries.
    pub q_proj: LoraLinear,
    /// Keys.
    pub k_proj: LoraLinear,
    /// Values.
    pub v_proj: LoraLinear,
    /// Output.
    pub o_proj: LoraLinear,
    /// Over every query head, before the rotation.
    pub q_norm: Option<RmsNorm>,
    /// Over every key head, before the rotation.
    pub k_norm: Option<RmsNorm>,
    #[module(skip)]
    head_dim: usize,
}

/// `down(silu(gate(x)) ⊙ up(x))`.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Gate.
    pub gate_proj: LoraLinear,
    /// Value.
    pub up_proj: LoraLinear,
    /// Output.
    pub down_proj: LoraLinear,
}

/// What a pass over packed sequences shares between layers.
pub struct TextContext {
    /// Where sequences begin and end.
    pub packing: Packing,
    /// Rotations of every token.
    pub rope: RopeTable,
    /// Adapter state and dropout.
    pub pass: AdapterPass,
    /// Where routers report to, in training passes.
    pub balance: Option<Arc<RouterBalance>>,
}

impl DecoderLayer {
    fn load(loader: &Loader<'_>, c: &TextConfig, layer: usize) -> Self {
        let l = |name: &str, i, o| LoraLinear::load(&loader.pp(name), i, o, false);
        let norm = |name: &str, n| RmsNorm::load(&loader.pp(name), n, c.rms_norm_eps);
        let biased = c.attention == AttentionStyle::Biased;
        let project = |name: &str, o| LoraLinear::load(&loader.pp(name), c.hidden_size, o, biased);
        let head_norm = |name: &str| (!biased).then(|| norm(name, c.head_dim));
        let (hidden, inner) = (c.hidden_size, c.intermediate_size);
        Self {
            input_layernorm: norm("input_layernorm", hidden),
            self_attn: SelfAttention {
                q_proj: project("self_attn.q_proj", c.q_width()),
                k_proj: project("self_attn.k_proj", c.kv_width()),
                v_proj: project("self_attn.v_proj", c.kv_width()),
                o_proj: l("self_attn.o_proj", c.q_width(), hidden),
                q_norm: head_norm("self_attn.q_norm"),
                k_norm: head_norm("self_attn.k_norm"),
                head_dim: c.head_dim,
            },
            post_attention_layernorm: norm("post_attention_layernorm", hidden),
            mlp: match c.experts(layer) {
                Some(moe) => FeedForward::Sparse(SparseMlp::load(&loader.pp("mlp"), hidden, moe)),
                None => FeedForward::Dense(Mlp {
                    gate_proj: l("mlp.gate_proj", hidden, inner),
                    up_proj: l("mlp.up_proj", hidden, inner),
                    down_proj: l("mlp.down_proj", inner, hidden),
                }),
            },
        }
    }

    /// Packed `[tokens, width]` to the same shape.
    pub fn forward(&self, x: Tensor<2>, context: &TextContext) -> Tensor<2> {
        self.forward_kv(x, context, |_, _| ())
    }

    /// As [`DecoderLayer::forward`], showing `sink` the rotated keys and the values `[tokens, kv_heads, dim]`.
    pub fn forward_kv(
        &self,
        x: Tensor<2>,
        context: &TextContext,
        sink: impl FnOnce(&Tensor<3>, &Tensor<3>),
    ) -> Tensor<2> {
        let [q, k, v] = self.qkv(&x, &context.rope, context.pass);
        sink(&k, &v);
        let attended = context.packing.attend(q, k, v, self.self_attn.scale());
        let x = x + self.self_attn.o_proj.forward(attended, context.pass);
        self.feed_forward(x, context.pass, context.balance.as_ref())
    }

    /// One new token per row, `[rows, width]`, attending to a cache it is added to.
    pub fn step(&self, x: Tensor<2>, context: &StepContext, cache: &mut LayerCache) -> Tensor<2> {
        let [q, k, v] = self.qkv(&x, &context.rope, context.pass);
        let attended = cache.attend(q, k, v, context, self.self_attn.scale());
        let x = x + self.self_attn.o_proj.forward(attended, context.pass);
        self.feed_forward(x, context.pass, None)
    }

    fn qkv(&self, x: &Tensor<2>, table: &RopeTable, pass: AdapterPass) -> [Tensor<3>; 3] {
        let a = &self.self_attn;
        let h = self.input_layernorm.forward(x.clone());
        let q = a.heads(a.q_proj.forward(h.clone(), pass), a.q_norm.as_ref());
        let k = a.heads(a.k_proj.forward(h.clone(), pass), a.k_norm.as_ref());
        let v = a.heads(a.v_proj.forward(h, pass), None);
        [rope(q, table), rope(k, table), v]
    }

    fn feed_forward(
        &self,
        x: Tensor<2>,
        pass: AdapterPass,
        balance: Option<&Arc<RouterBalance>>,
    ) -> Tensor<2> {
        let h = self.post_attention_layernorm.forward(x.clone());
        x + match &self.mlp {
            FeedForward::Dense(mlp) => {
                let gate = mlp.gate_proj.forward(h.clone(), pass);
                let up = mlp.up_proj.forward(h, pass);
                mlp.down_proj.forward(swiglu(gate, up), pass)
            }
            FeedForward::Sparse(sparse) => sparse.forward(h, pass, balance),
        }
    }
}

impl SelfAttention {
    /// `[rows, heads·dim]` to `[rows, heads, dim]`, every head normalised if there is a norm.
    fn heads(&self, x: Tensor<2>, norm: Option<&RmsNorm>) -> Tensor<3> {
        let [rows, width] = x.dims();
        match norm {
            Some(norm) => norm.heads(x, self.head_dim),
            None => x.reshape([rows, width / self.head_dim, self.head_dim]),
        }
    }

    fn scale(&self) -> f32 {
        (self.head_dim as f32).sqrt().recip()
    }
}
