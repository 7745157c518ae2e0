//! The vision tower: patches to merged tokens, most blocks attending inside windows.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use vtb_lora::{AdapterPass, LoraLinear, ModuleFilter};
use vtb_nn::loader::Loader;
use vtb_nn::ops::rope::vision_angles;
use vtb_nn::ops::{Gelu, RopeTable, gelu, swiglu};

use super::window::window_order;
use crate::config::{TowerConfig, WindowVisionConfig};
use crate::model::{
    DECODER_PROJECTIONS, Packing, PatchEmbed, RmsNorm, Tower, VisionAttention, block_order, indices,
};

/// Epsilon of every norm of the tower; `config.json` does not name it.
const EPS: f64 = 1e-6;

/// The whole tower. Between stem and merger, patches stand window by window.
#[derive(Module, Debug)]
pub struct VisionTower {
    /// Patches to hidden states.
    pub patch_embed: PatchEmbed,
    /// Transformer blocks.
    pub blocks: Vec<VisionBlock>,
    /// Final states to decoder tokens.
    pub merger: Merger,
}

impl Tower for VisionTower {
    type Config = WindowVisionConfig;
    type Context = VisionContext;
    type Stem = Stem;
    type Block = VisionBlock;
    type Merger = Merger;

    fn load(loader: &Loader<'_>, config: &WindowVisionConfig) -> Self {
        let stem = loader.pp("patch_embed");
        Self {
            patch_embed: PatchEmbed::load(&stem, config.hidden_size, config.shape(), false),
            blocks: (0..config.depth)
                .map(|i| VisionBlock::load(&loader.pp(format!("blocks.{i}")), config))
                .collect(),
            merger: Merger::load(&loader.pp("merger"), config),
        }
    }

    fn linears_mut(&mut self) -> Vec<&mut LoraLinear> {
        let mut all = Vec::new();
        for block in &mut self.blocks {
            let (attn, mlp) = (&mut block.attn, &mut block.mlp);
            all.extend([&mut attn.qkv, &mut attn.proj]);
            all.extend([&mut mlp.gate_proj, &mut mlp.up_proj, &mut mlp.down_proj]);
        }
        let (first, _, second) = &mut self.merger.mlp;
        all.extend([first, second]);
        all
    }

    /// Published files name the tower `visual` and the decoder `model`; newer ones use the paths as they are.
    fn path_of(name: &str) -> String {
        if name.starts_with("visual.") {
            return format!("model.{name}");
        }
        match name.strip_prefix("model.") {
            Some(rest) if !rest.starts_with("visual.") && !rest.starts_with("language_model.") => {
                format!("model.language_model.{rest}")
            }
            _ => name.to_owned(),
        }
    }

    fn stored_name(path: &str) -> String {
        let rest = path.strip_prefix("model.");
        if let Some(visual) = rest.filter(|rest| rest.starts_with("visual.")) {
            return visual.to_owned();
        }
        match rest.and_then(|rest| rest.strip_prefix("language_model.")) {
            Some(text) => format!("model.{text}"),
            None => path.to_owned(),
        }
    }

    /// By whole paths: three of the names alone would take layers of this tower's MLPs as well.
    fn decoder_targets() -> ModuleFilter {
        let names = DECODER_PROJECTIONS.join("|");
        ModuleFilter::Expression(format!(r"model\.language_model\..*\.({names})"))
    }

    fn context(
        grids: &[[usize; 3]],
        config: &WindowVisionConfig,
        pass: AdapterPass,
        device: &Device,
    ) -> VisionContext {
        VisionContext::new(grids, config, pass, device)
    }

    fn stem(&self) -> Stem {
        Stem {
            patch_embed: self.patch_embed.clone(),
        }
    }

    fn blocks(&self) -> &[VisionBlock] {
        &self.blocks
    }

    fn merger(&self) -> &Merger {
        &self.merger
    }

    fn run_stem(stem: &Stem, patches: Tensor<2>, context: &VisionContext) -> Tensor<2> {
        stem.forward(patches, context)
    }

    fn run_block(
        index: usize,
        block: &VisionBlock,
        x: Tensor<2>,
        context: &VisionContext,
    ) -> Tensor<2> {
        block.forward(x, context, context.packing(index))
    }

    fn run_merger(merger: &Merger, x: Tensor<2>, context: &VisionContext) -> Tensor<2> {
        merger.forward(x, context)
    }
}

/// The patch embedding as a module of its own.
#[derive(Module, Debug)]
pub struct Stem {
    /// Patches to hidden states.
    pub patch_embed: PatchEmbed,
}

impl Stem {
    /// Hidden states `[patches, width]`, window by window, of patch rows `[patches, patch_dim]` as the processor
    /// emits them.
    pub fn forward(&self, patches: Tensor<2>, context: &VisionContext) -> Tensor<2> {
        let ordered = patches.select(0, indices(&context.order, &context.device));
        self.patch_embed.proj.forward(ordered)
    }
}

/// Pre-norm block: attention, then a SwiGLU MLP.
#[derive(Module, Debug)]
pub struct VisionBlock {
    /// Before attention.
    pub norm1: RmsNorm,
    /// Before the MLP.
    pub norm2: RmsNorm,
    /// Bidirectional attention inside a window or a frame.
    pub attn: VisionAttention,
    /// Gated MLP with biases.
    pub mlp: VisionMlp,
}

/// `down(silu(gate(x)) ⊙ up(x))`.
#[derive(Module, Debug)]
pub struct VisionMlp {
    /// Gate.
    pub gate_proj: LoraLinear,
    /// Value.
    pub up_proj: LoraLinear,
    /// Output.
    pub down_proj: LoraLinear,
}

impl VisionBlock {
    fn load(loader: &Loader<'_>, c: &WindowVisionConfig) -> Self {
        let (width, inner) = (c.hidden_size, c.intermediate_size);
        let l = |name: &str, i, o| LoraLinear::load(&loader.pp(name), i, o, true);
        Self {
            norm1: RmsNorm::load(&loader.pp("norm1"), width, EPS),
            norm2: RmsNorm::load(&loader.pp("norm2"), width, EPS),
            attn: VisionAttention::load(&loader.pp("attn"), width),
            mlp: VisionMlp {
                gate_proj: l("mlp.gate_proj", width, inner),
                up_proj: l("mlp.up_proj", width, inner),
                down_proj: l("mlp.down_proj", inner, width),
            },
        }
    }

    /// `[patches, width]` to the same shape, attending inside the runs of `packing`.
    pub fn forward(&self, x: Tensor<2>, context: &VisionContext, packing: &Packing) -> Tensor<2> {
        let pass = context.pass;
        let h = self.norm1.forward(x.clone());
        let attended = self
            .attn
            .forward(h, packing, &context.rope, context.heads, pass);
        let x = x + attended;
        let h = self.norm2.forward(x.clone());
        let gate = self.mlp.gate_proj.forward(h.clone(), pass);
        let up = self.mlp.up_proj.forward(h, pass);
        x + self.mlp.down_proj.forward(swiglu(gate, up), pass)
    }
}

/// Groups neighbouring patches into one decoder token.
#[derive(Module, Debug)]
pub struct Merger {
    /// Over one patch.
    pub ln_q: RmsNorm,
    /// `4·width` to itself, the exact GELU, to the decoder's width: paths `mlp.0` and `mlp.2`.
    pub mlp: (LoraLinear, ExactGelu, LoraLinear),
    #[module(skip)]
    group: usize,
}

/// The GELU by the error function; no parameters, but a place among the numbered parts of a merger.
#[derive(Module, Debug)]
pub struct ExactGelu {}

impl Merger {
    fn load(loader: &Loader<'_>, c: &WindowVisionConfig) -> Self {
        let grouped = c.hidden_size * c.merge_unit();
        let l = |name: &str, o| LoraLinear::load(&loader.pp(name), grouped, o, true);
        Self {
            ln_q: RmsNorm::load(&loader.pp("ln_q"), c.hidden_size, EPS),
            mlp: (
                l("mlp.0", grouped),
                ExactGelu {},
                l("mlp.2", c.out_hidden_size),
            ),
            group: c.merge_unit(),
        }
    }

    /// `[patches, width]`, window by window, to `[patches/group, decoder width]` in reading order.
    pub fn forward(&self, x: Tensor<2>, context: &VisionContext) -> Tensor<2> {
        let [rows, width] = x.dims();
        let (first, _, second) = &self.mlp;
        let normed = self.ln_q.forward(x);
        let grouped = normed.reshape([rows / self.group, width * self.group]);
        let h = gelu(first.forward(grouped, context.pass), Gelu::Exact);
        let merged = second.forward(h, context.pass);
        merged.select(0, indices(&context.back, &context.device))
    }
}

/// What a pass over a set of pictures shares between blocks.
pub struct VisionContext {
    windows: Packing,
    frames: Packing,
    /// Blocks that attend to whole frames.
    full: Vec<usize>,
    rope: RopeTable,
    heads: usize,
    /// Adapter state and dropout.
    pub pass: AdapterPass,
    /// The patch (as the processor emits them) at each place of the window order.
    order: Vec<usize>,
    /// The place in window order of each merged unit in reading order.
    back: Vec<usize>,
    device: Device,
}

impl VisionContext {
    /// For pictures with the given patch grids, in order.
    pub fn new(
        grids: &[[usize; 3]],
        c: &WindowVisionConfig,
        pass: AdapterPass,
        device: &Device,
    ) -> Self {
        let (merge, unit) = (c.spatial_merge_size, c.merge_unit());
        let mut units = Vec::new();
        let mut windows = Vec::new();
        let mut frames = Vec::new();
        let mut emitted = Vec::new();
        for &[t, rows, cols] in grids {
            let before = units.len();
            let found = window_order(t, rows / merge, cols / merge, c.window_side());
            units.extend(found.order.into_iter().map(|u| before + u));
            windows.extend(found.sizes.into_iter().map(|n| n * unit));
            let frame = block_order(rows, cols, merge);
            for _ in 0..t {
                frames.push(rows * cols);
                emitted.extend_from_slice(&frame);
            }
        }
        // The patches of a merged unit are emitted side by side.
        let order: Vec<usize> = units
            .iter()
            .flat_map(|u| u * unit..(u + 1) * unit)
            .collect();
        let mut back = vec![0; units.len()];
        for (place, &u) in units.iter().enumerate() {
            back[u] = place;
        }
        let positions: Vec<[i32; 2]> = order.iter().map(|i| emitted[*i]).collect();
        let dim = c.head_dim();
        let angles = vision_angles(&positions, dim, c.rope_theta);
        Self {
            windows: Packing::new(&windows, false),
            frames: Packing::new(&frames, false),
            full: c.full_attention_blocks.clone(),
            rope: RopeTable::from_angles(&angles, dim / 2, device),
            heads: c.num_heads,
            pass,
            order,
            back,
            device: device.clone(),
        }
    }

    /// The rotary tables of the patches, window by window.
    pub fn rope(&self) -> &RopeTable {
        &self.rope
    }

    /// The place in window order of each merged unit in reading order.
    pub fn back(&self) -> &[usize] {
        &self.back
    }

    /// Where block `index` attends.
    pub fn packing(&self, index: usize) -> &Packing {
        if self.full.contains(&index) {
            &self.frames
        } else {
            &self.windows
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sets_of_names_lead_to_one_tree() {
        for (stored, path) in [
            (
                "visual.merger.mlp.0.weight",
                "model.visual.merger.mlp.0.weight",
            ),
            (
                "model.embed_tokens.weight",
                "model.language_model.embed_tokens.weight",
            ),
            (
                "model.layers.3.mlp.up_proj.weight",
                "model.language_model.layers.3.mlp.up_proj.weight",
            ),
            ("lm_head.weight", "lm_head.weight"),
        ] {
            assert_eq!(VisionTower::path_of(stored), path);
            assert_eq!(VisionTower::path_of(path), path);
            assert_eq!(VisionTower::stored_name(path), stored);
        }
    }
}
