//! Model configuration: checked numbers that everything else trusts.

mod any;
mod count;
mod generation;
mod parse;
mod preset;
mod qwen2_5_vl;
pub(crate) mod section;
mod tower;
mod validate;
mod write;

use vtb_nn::ops::rope::MRope;

pub use any::AnyVlmConfig;
pub use generation::GenerationConfig;
pub use preset::Preset;
pub use qwen2_5_vl::{Qwen2_5VlConfig, WindowVisionConfig};
pub use tower::{PatchShape, TowerConfig};

/// Sizes and ids of a Qwen3-VL model, dense or with experts.
///
/// Read it with [`Qwen3VlConfig::from_dir`], or build one and call [`Qwen3VlConfig::validate`].
pub type Qwen3VlConfig = VlmConfig<VisionConfig>;

/// Sizes and ids of a model whose vision tower is configured by `V`.
#[derive(Debug, Clone, PartialEq)]
pub struct VlmConfig<V> {
    /// The language decoder.
    pub text: TextConfig,
    /// The vision tower.
    pub vision: V,
    /// Ids of the vision tokens.
    pub ids: VisionIds,
    /// Whether the output head is the embedding matrix. A checkpoint without `lm_head.weight` is tied too.
    pub tie: bool,
    /// Type the published weights are stored in, such as `bfloat16`; empty if the file does not say.
    pub dtype: String,
}

/// The language decoder.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    /// Rows of the embedding matrix; at least the size of the tokenizer.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the gated MLP of dense layers.
    pub intermediate_size: usize,
    /// Number of layers.
    pub num_layers: usize,
    /// Query heads.
    pub num_heads: usize,
    /// Key and value heads; divides `num_heads`.
    pub num_kv_heads: usize,
    /// Width of a head; need not be `hidden_size / num_heads`.
    pub head_dim: usize,
    /// What stands between the projections of attention and the rotation.
    pub attention: AttentionStyle,
    /// Epsilon of every RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Frequencies owned by time, height and width; they sum to `head_dim / 2`.
    pub mrope_section: [usize; 3],
    /// Longest sequence the model was made for.
    pub max_position_embeddings: usize,
    /// Standard deviation of fresh weights; 0.02 where the file does not say.
    pub initializer_range: f64,
    /// Experts in place of the MLP of some layers.
    pub moe: Option<MoeConfig>,
}

/// Layers whose MLP is a mixture of experts. The weights of the chosen experts always sum to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoeConfig {
    /// Experts of a layer.
    pub num_experts: usize,
    /// Experts every token uses.
    pub experts_per_token: usize,
    /// Width of an expert.
    pub intermediate_size: usize,
    /// Every how many layers experts stand; 1 is every layer.
    pub sparse_step: usize,
    /// Layers that are dense all the same.
    pub dense_layers: Vec<usize>,
}

/// How the two families of decoders make queries and keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AttentionStyle {
    /// No biases, an RMSNorm over every query and key head, frequencies of time, height and width interleaved
    /// (Qwen3-VL).
    #[default]
    Normed,
    /// Biases on queries, keys and values, no norm, frequencies in three chunks (Qwen2.5-VL).
    Biased,
}

/// The vision tower.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// Number of blocks.
    pub depth: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Attention heads.
    pub num_heads: usize,
    /// Colour channels.
    pub in_channels: usize,
    /// Side of a patch in pixels.
    pub patch_size: usize,
    /// Frames per patch.
    pub temporal_patch_size: usize,
    /// Side of the square of patches merged into one token.
    pub spatial_merge_size: usize,
    /// Width of the merged tokens: the decoder's `hidden_size`.
    pub out_hidden_size: usize,
    /// Rows of the learned position table, a square number.
    pub num_position_embeddings: usize,
    /// Blocks after which deepstack features are taken, ascending.
    pub deepstack_indexes: Vec<usize>,
    /// Base of the two-dimensional rotary frequencies.
    pub rope_theta: f64,
    /// Standard deviation of fresh weights; 0.02 where the file does not say.
    pub initializer_range: f64,
}

/// Ids of the vision tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VisionIds {
    /// Placeholder of one merged image token.
    pub image: u32,
    /// Placeholder of one merged video token.
    pub video: u32,
    /// Opens a picture.
    pub vision_start: u32,
    /// Closes a picture.
    pub vision_end: u32,
}

/// A 32-bit number as files should spell it: 0.7, not 0.699999988079071.
pub(crate) fn decimal(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

impl TextConfig {
    /// The experts of layer `layer`, or `None` where it is dense.
    pub fn experts(&self, layer: usize) -> Option<&MoeConfig> {
        let moe = self.moe.as_ref()?;
        let sparse = (layer + 1).is_multiple_of(moe.sparse_step);
        (sparse && !moe.dense_layers.contains(&layer)).then_some(moe)
    }

    /// How the rotary frequencies share the axes of a position.
    pub fn mrope(&self) -> MRope {
        match self.attention {
            AttentionStyle::Normed => MRope::Interleaved(self.mrope_section),
            AttentionStyle::Biased => MRope::Chunked(self.mrope_section),
        }
    }

    /// Width of the query projection, `num_heads · head_dim`.
    pub fn q_width(&self) -> usize {
        self.num_heads * self.head_dim
    }

    /// Width of the key and of the value projection, `num_kv_heads · head_dim`.
    pub fn kv_width(&self) -> usize {
        self.num_kv_heads * self.head_dim
    }
}

impl VisionConfig {
    /// Width of an attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_heads
    }

    /// Values of one patch row, in the order channel, frame, y, x.
    pub fn patch_dim(&self) -> usize {
        self.in_channels * self.temporal_patch_size * self.patch_size * self.patch_size
    }

    /// Patches merged into one token.
    pub fn merge_unit(&self) -> usize {
        self.spatial_merge_size * self.spatial_merge_size
    }

    /// Side of the square position table.
    pub fn position_side(&self) -> usize {
        self.num_position_embeddings.isqrt()
    }

    /// Pixels a picture's sides must be multiples of.
    pub fn pixel_factor(&self) -> usize {
        self.patch_size * self.spatial_merge_size
    }
}

impl VisionIds {
    /// Whether `id` stands for a merged token of a picture or a video.
    pub fn is_pad(&self, id: u32) -> bool {
        id == self.image || id == self.video
    }

    /// The ids a policy must never produce: with one of them, placeholders and pictures no longer match.
    pub fn all(&self) -> [u32; 4] {
        [self.image, self.video, self.vision_start, self.vision_end]
    }
}
