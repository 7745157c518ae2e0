//! Writes `config.json` in the published form, the decoder's keys at the root, which every version of `transformers`
//! with this model reads.

use std::path::Path;

use serde_json::{Value, json};

use super::{Qwen2_5VlConfig, WindowVisionConfig};
use crate::VlmError;
use crate::files;

impl Qwen2_5VlConfig {
    /// The file as JSON.
    pub fn to_json(&self) -> Value {
        let text = &self.text;
        let mut value = json!({
            "architectures": ["Qwen2_5_VLForConditionalGeneration"],
            "model_type": "qwen2_5_vl",
            "image_token_id": self.ids.image,
            "video_token_id": self.ids.video,
            "vision_start_token_id": self.ids.vision_start,
            "vision_end_token_id": self.ids.vision_end,
            "tie_word_embeddings": self.tie,
            "vocab_size": text.vocab_size,
            "hidden_size": text.hidden_size,
            "intermediate_size": text.intermediate_size,
            "num_hidden_layers": text.num_layers,
            "num_attention_heads": text.num_heads,
            "num_key_value_heads": text.num_kv_heads,
            "hidden_act": "silu",
            "attention_dropout": 0.0,
            "rms_norm_eps": text.rms_norm_eps,
            "initializer_range": text.initializer_range,
            "max_position_embeddings": text.max_position_embeddings,
            "use_sliding_window": false,
            "rope_theta": text.rope_theta,
            "rope_scaling": {"type": "mrope", "mrope_section": text.mrope_section},
            "vision_config": vision(&self.vision),
        });
        // Said only where it cannot be derived, as in published files.
        if text.head_dim * text.num_heads != text.hidden_size {
            value["head_dim"] = json!(text.head_dim);
        }
        if !self.dtype.is_empty() {
            value["torch_dtype"] = json!(self.dtype);
        }
        value
    }

    /// Writes `config.json` into `dir`.
    pub fn write(&self, dir: &Path) -> Result<(), VlmError> {
        files::write_json(&dir.join(files::CONFIG), &self.to_json())
    }
}

fn vision(vision: &WindowVisionConfig) -> Value {
    json!({
        "model_type": "qwen2_5_vl",
        "depth": vision.depth,
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.intermediate_size,
        "num_heads": vision.num_heads,
        "in_chans": vision.in_channels,
        "in_channels": vision.in_channels,
        "patch_size": vision.patch_size,
        "spatial_patch_size": vision.patch_size,
        "temporal_patch_size": vision.temporal_patch_size,
        "spatial_merge_size": vision.spatial_merge_size,
        "out_hidden_size": vision.out_hidden_size,
        "window_size": vision.window_size,
        "fullatt_block_indexes": vision.full_attention_blocks,
        "tokens_per_second": vision.tokens_per_second,
        "hidden_act": "silu",
        "initializer_range": vision.initializer_range,
    })
}
