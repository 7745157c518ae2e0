//! One dual-stream block: text and pictures keep weights of their own and meet in attention.

use burn::module::Module;
use burn::tensor::Tensor;
use vtb_lora::LoraLinear;
use vtb_models_vlm::model::RmsNorm;
use vtb_nn::loader::Loader;
use vtb_nn::ops::{Gelu, attention, gated_add, gelu, modulated_norm, rope_adjacent};

use super::TransformerConfig;
use super::layout::Layout;
use crate::transformer::{Nothing, Pass, silu};

/// Epsilon of every norm.
pub(super) const EPS: f32 = 1e-6;

/// Which GELU the MLPs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Activation {
    /// The tanh form, as published.
    #[default]
    GeluTanh,
    /// `x·sigmoid(1.702x)`, for adapters trained with DiffSynth-Studio, which computes it so.
    QuickGelu,
}

impl Activation {
    fn apply(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::GeluTanh => gelu(x, Gelu::Tanh),
            Self::QuickGelu => {
                let gate = burn::tensor::activation::sigmoid(x.clone() * 1.702);
                x * gate
            }
        }
    }
}

/// What every block of a pass sees.
pub(super) struct Context<'a> {
    pub(super) layout: &'a Layout,
    pub(super) pass: &'a Pass<Activation>,
}

/// The first layer of an MLP, under its published name.
#[derive(Module, Debug)]
pub struct Up {
    /// `[4·width, width]`.
    pub proj: LoraLinear,
}

/// `net.2(gelu(net.0.proj(x)))`.
#[derive(Module, Debug)]
pub struct Mlp {
    /// Up, dropout, down.
    pub net: (Up, Nothing, LoraLinear),
}

impl Mlp {
    fn load(loader: &Loader<'_>, width: usize) -> Self {
        let up = LoraLinear::load(&loader.pp("net.0.proj"), width, 4 * width, true);
        let down = LoraLinear::load(&loader.pp("net.2"), 4 * width, width, true);
        Self {
            net: (Up { proj: up }, Nothing {}, down),
        }
    }

    fn forward(&self, x: Tensor<2>, context: &Context<'_>) -> Tensor<2> {
        let x = self.net.0.proj.forward(x, context.pass.adapter);
        self.net
            .2
            .forward(context.pass.options.apply(x), context.pass.adapter)
    }
}

/// Joint attention.
#[derive(Module, Debug)]
pub struct JointAttention {
    /// Queries of pictures.
    pub to_q: LoraLinear,
    /// Keys of pictures.
    pub to_k: LoraLinear,
    /// Values of pictures.
    pub to_v: LoraLinear,
    /// Queries of text.
    pub add_q_proj: LoraLinear,
    /// Keys of text.
    pub add_k_proj: LoraLinear,
    /// Values of text.
    pub add_v_proj: LoraLinear,
    /// Output of pictures, a list of one.
    pub to_out: Vec<LoraLinear>,
    /// Output of text.
    pub to_add_out: LoraLinear,
    /// Norm of a picture head's query.
    pub norm_q: RmsNorm,
    /// Norm of a picture head's key.
    pub norm_k: RmsNorm,
    /// Norm of a text head's query.
    pub norm_added_q: RmsNorm,
    /// Norm of a text head's key.
    pub norm_added_k: RmsNorm,
    #[module(skip)]
    head_dim: usize,
}

impl JointAttention {
    fn load(loader: &Loader<'_>, c: &TransformerConfig) -> Self {
        let width = c.width();
        let square = |name: &str| LoraLinear::load(&loader.pp(name), width, width, true);
        let eps = f64::from(EPS);
        let norm = |name: &str| RmsNorm::load(&loader.pp(name), c.attention_head_dim, eps);
        Self {
            to_q: square("to_q"),
            to_k: square("to_k"),
            to_v: square("to_v"),
            add_q_proj: square("add_q_proj"),
            add_k_proj: square("add_k_proj"),
            add_v_proj: square("add_v_proj"),
            to_out: vec![square("to_out.0")],
            to_add_out: square("to_add_out"),
            norm_q: norm("norm_q"),
            norm_k: norm("norm_k"),
            norm_added_q: norm("norm_added_q"),
            norm_added_k: norm("norm_added_k"),
            head_dim: c.attention_head_dim,
        }
    }

    /// Attention of text and pictures, joined: `[text | pictures]` of each sample, before the output projections.
    fn forward(&self, texts: Tensor<2>, pictures: Tensor<2>, context: &Context<'_>) -> Tensor<2> {
        let (layout, pass, dim) = (context.layout, context.pass.adapter, self.head_dim);
        let heads = |x: Tensor<2>| {
            let [rows, width] = x.dims();
            x.reshape([rows, width / dim, dim])
        };
        let turned = |x: Tensor<2>, norm: &RmsNorm, table| rope_adjacent(norm.heads(x, dim), table);
        let q = layout.join(
            turned(
                self.add_q_proj.forward(texts.clone(), pass),
                &self.norm_added_q,
                &layout.text_rope,
            ),
            turned(
                self.to_q.forward(pictures.clone(), pass),
                &self.norm_q,
                &layout.picture_rope,
            ),
        );
        let k = layout.join(
            turned(
                self.add_k_proj.forward(texts.clone(), pass),
                &self.norm_added_k,
                &layout.text_rope,
            ),
            turned(
                self.to_k.forward(pictures.clone(), pass),
                &self.norm_k,
                &layout.picture_rope,
            ),
        );
        let v = layout.join(
            heads(self.add_v_proj.forward(texts, pass)),
            heads(self.to_v.forward(pictures, pass)),
        );
        let [rows, heads, _] = q.dims();
        let out = attention(
            q.unsqueeze::<4>(),
            k.unsqueeze::<4>(),
            v.unsqueeze::<4>(),
            &layout.mask,
            1.0 / (dim as f32).sqrt(),
        );
        out.reshape([rows, heads * dim])
    }
}

/// A block. A modulation is an activation and a linear layer to shift, scale and gate of attention and MLP.
#[derive(Module, Debug)]
pub struct Block {
    /// Modulation of pictures.
    pub img_mod: (Nothing, LoraLinear),
    /// Modulation of text.
    pub txt_mod: (Nothing, LoraLinear),
    /// Joint attention.
    pub attn: JointAttention,
    /// MLP of pictures.
    pub img_mlp: Mlp,
    /// MLP of text.
    pub txt_mlp: Mlp,
}

impl Block {
    pub(super) fn load(loader: &Loader<'_>, c: &TransformerConfig) -> Self {
        let width = c.width();
        let modulation = |name: &str| {
            (
                Nothing {},
                LoraLinear::load(&loader.pp(name), width, 6 * width, true),
            )
        };
        Self {
            img_mod: modulation("img_mod.1"),
            txt_mod: modulation("txt_mod.1"),
            attn: JointAttention::load(&loader.pp("attn"), c),
            img_mlp: Mlp::load(&loader.pp("img_mlp"), width),
            txt_mlp: Mlp::load(&loader.pp("txt_mlp"), width),
        }
    }

    /// `[levels | texts | pictures]` to the same; of the last block, whose text nobody reads, `[levels | pictures]`.
    pub(super) fn forward(&self, x: Tensor<2>, context: &Context<'_>, last: bool) -> Tensor<2> {
        let layout = context.layout;
        let [levels, texts, pictures] = [layout.levels, layout.text_rows, layout.picture_rows];
        let (text_runs, picture_runs) = (&layout.text_runs, &layout.picture_runs);
        let times = context.pass.condition(x.clone().narrow(0, 0, levels));
        let text = x.clone().narrow(0, levels, texts);
        let picture = x.narrow(0, levels + texts, pictures);
        let act = silu(times.clone());
        let m_picture = self.img_mod.1.forward(act.clone(), context.pass.adapter);
        let m_text = self.txt_mod.1.forward(act, context.pass.adapter);

        let joined = self.attn.forward(
            modulated_norm(text.clone(), m_text.clone(), [0, 1], text_runs, EPS),
            modulated_norm(
                picture.clone(),
                m_picture.clone(),
                [0, 1],
                picture_runs,
                EPS,
            ),
            context,
        );
        let out = self.attn.to_out[0].forward(layout.pictures_of(&joined), context.pass.adapter);
        let picture = gated_add(picture, out, m_picture.clone(), 2, picture_runs);
        let normed = modulated_norm(
            picture.clone(),
            m_picture.clone(),
            [3, 4],
            picture_runs,
            EPS,
        );
        let out = self.img_mlp.forward(normed, context);
        let picture = gated_add(picture, out, m_picture, 5, picture_runs);
        if last {
            return Tensor::cat(vec![times, picture], 0);
        }
        let out = self
            .attn
            .to_add_out
            .forward(layout.texts_of(&joined), context.pass.adapter);
        let text = gated_add(text, out, m_text.clone(), 2, text_runs);
        let normed = modulated_norm(text.clone(), m_text.clone(), [3, 4], text_runs, EPS);
        let out = self.txt_mlp.forward(normed, context);
        let text = gated_add(text, out, m_text, 5, text_runs);
        Tensor::cat(vec![times, text, picture], 0)
    }

    pub(super) fn linears_mut(&mut self) -> Vec<&mut LoraLinear> {
        let attn = &mut self.attn;
        let mut all = vec![
            &mut self.img_mod.1,
            &mut self.txt_mod.1,
            &mut attn.to_q,
            &mut attn.to_k,
            &mut attn.to_v,
            &mut attn.add_q_proj,
            &mut attn.add_k_proj,
            &mut attn.add_v_proj,
        ];
        all.extend(attn.to_out.iter_mut());
        all.push(&mut attn.to_add_out);
        for mlp in [&mut self.img_mlp, &mut self.txt_mlp] {
            all.push(&mut mlp.net.0.proj);
            all.push(&mut mlp.net.2);
        }
        all
    }
}
