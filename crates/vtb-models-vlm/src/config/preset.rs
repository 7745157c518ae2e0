//! The published sizes of the family, by name.

use std::fmt;
use std::str::FromStr;

use super::{AttentionStyle, MoeConfig, Qwen3VlConfig, TextConfig, VisionConfig, VisionIds};
use crate::VlmError;

/// A published size of Qwen3-VL. Instruct and Thinking checkpoints of a size have the same configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// 2B.
    B2,
    /// 4B.
    B4,
    /// 8B.
    B8,
    /// 32B.
    B32,
    /// 30B with experts, of which a token uses 3B.
    B30A3,
}

/// What differs between sizes.
struct Sizes {
    hidden: usize,
    intermediate: usize,
    layers: usize,
    heads: usize,
    kv_heads: usize,
    tie: bool,
    large_tower: bool,
    moe: Option<MoeConfig>,
}

impl Preset {
    /// Every size, smallest first.
    pub const ALL: [Self; 5] = [Self::B2, Self::B4, Self::B8, Self::B30A3, Self::B32];

    /// The name, as in the names of the checkpoints.
    pub fn name(self) -> &'static str {
        match self {
            Self::B2 => "2B",
            Self::B4 => "4B",
            Self::B8 => "8B",
            Self::B32 => "32B",
            Self::B30A3 => "30B-A3B",
        }
    }

    /// The published configuration.
    pub fn config(self) -> Qwen3VlConfig {
        let s = self.sizes();
        let text = TextConfig {
            vocab_size: 151_936,
            hidden_size: s.hidden,
            intermediate_size: s.intermediate,
            num_layers: s.layers,
            num_heads: s.heads,
            num_kv_heads: s.kv_heads,
            head_dim: 128,
            attention: AttentionStyle::Normed,
            rms_norm_eps: 1e-6,
            rope_theta: 5e6,
            mrope_section: [24, 20, 20],
            max_position_embeddings: 262_144,
            initializer_range: 0.02,
            moe: s.moe,
        };
        Qwen3VlConfig {
            vision: tower(s.large_tower, s.hidden),
            text,
            ids: VisionIds {
                image: 151_655,
                video: 151_656,
                vision_start: 151_652,
                vision_end: 151_653,
            },
            tie: s.tie,
            dtype: "bfloat16".to_owned(),
        }
    }

    fn sizes(self) -> Sizes {
        let dense = |hidden, intermediate, layers, heads| Sizes {
            hidden,
            intermediate,
            layers,
            heads,
            kv_heads: 8,
            tie: matches!(self, Self::B2 | Self::B4),
            large_tower: !matches!(self, Self::B2 | Self::B4),
            moe: None,
        };
        match self {
            Self::B2 => dense(2048, 6144, 28, 16),
            Self::B4 => dense(2560, 9728, 36, 32),
            Self::B8 => dense(4096, 12_288, 36, 32),
            Self::B32 => dense(5120, 25_600, 64, 64),
            Self::B30A3 => Sizes {
                kv_heads: 4,
                moe: Some(MoeConfig {
                    num_experts: 128,
                    experts_per_token: 8,
                    intermediate_size: 768,
                    sparse_step: 1,
                    dense_layers: Vec::new(),
                }),
                ..dense(2048, 6144, 48, 32)
            },
        }
    }
}

/// The two vision towers.
fn tower(large: bool, out: usize) -> VisionConfig {
    VisionConfig {
        depth: if large { 27 } else { 24 },
        hidden_size: if large { 1152 } else { 1024 },
        intermediate_size: if large { 4304 } else { 4096 },
        num_heads: 16,
        in_channels: 3,
        patch_size: 16,
        temporal_patch_size: 2,
        spatial_merge_size: 2,
        out_hidden_size: out,
        num_position_embeddings: 2304,
        deepstack_indexes: if large {
            vec![8, 16, 24]
        } else {
            vec![5, 11, 17]
        },
        rope_theta: 10_000.0,
        initializer_range: 0.02,
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = VlmError;

    /// Any capitalisation.
    fn from_str(text: &str) -> Result<Self, VlmError> {
        let found = Self::ALL
            .into_iter()
            .find(|p| p.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            VlmError::Config(format!("there is no size `{text}`; the sizes are {names}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts of the published checkpoints.
    const PUBLISHED: [(Preset, u64); 5] = [
        (Preset::B2, 2_127_532_032),
        (Preset::B4, 4_437_815_808),
        (Preset::B8, 8_767_123_696),
        (Preset::B32, 33_357_390_064),
        (Preset::B30A3, 31_070_754_032),
    ];

    #[test]
    fn every_size_is_valid_and_has_its_published_count() {
        for (preset, expected) in PUBLISHED {
            let config = preset.config();
            config.validate().unwrap();
            assert_eq!(config.parameters(), expected, "{preset}");
            assert_eq!(
                preset.name().to_lowercase().parse::<Preset>().unwrap(),
                preset
            );
        }
        let text = "3B".parse::<Preset>().unwrap_err().to_string();
        assert!(text.contains("2B, 4B, 8B, 30B-A3B, 32B"), "{text}");
    }

    #[test]
    fn the_tensors_of_a_size_add_up_to_its_count() {
        for (preset, expected) in PUBLISHED {
            let config = preset.config();
            let tensors = config.tensors().unwrap();
            let size = |shape: &Vec<usize>| shape.iter().map(|n| *n as u64).product::<u64>();
            assert_eq!(
                tensors.values().map(size).sum::<u64>(),
                expected,
                "{preset}"
            );
            assert_eq!(tensors.contains_key("lm_head.weight"), !config.tie);
        }
        let tensors = Preset::B30A3.config().tensors().unwrap();
        let layer = "model.language_model.layers.47.mlp";
        assert_eq!(tensors[&format!("{layer}.gate.weight")], [128, 2048]);
        assert_eq!(
            tensors[&format!("{layer}.experts.gate_up_proj")],
            [128, 2048, 1536]
        );
        assert_eq!(
            tensors[&format!("{layer}.experts.down_proj")],
            [128, 768, 2048]
        );
    }

    #[test]
    fn a_token_uses_three_billion_of_thirty() {
        let config = Preset::B30A3.config();
        let active = config.text.active_layers_parameters();
        assert!((2_700_000_000..2_900_000_000).contains(&active), "{active}");
        let dense = Preset::B2.config().text;
        assert_eq!(
            dense.active_layers_parameters(),
            dense.layer_parameters(0) * 28
        );
    }
}
