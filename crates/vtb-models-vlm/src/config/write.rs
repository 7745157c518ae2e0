//! Writes `config.json` in the published spelling, which every version of `transformers` with this model reads.

use std::path::Path;

use serde_json::{Value, json};

use super::Qwen3VlConfig;
use crate::VlmError;
use crate::files;

impl Qwen3VlConfig {
    /// The file as JSON.
    pub fn to_json(&self) -> Value {
        let (class, kind) = match self.text.moe {
            None => ("Qwen3VLForConditionalGeneration", "qwen3_vl"),
            Some(_) => ("Qwen3VLMoeForConditionalGeneration", "qwen3_vl_moe"),
        };
        let mut value = json!({
            "architectures": [class],
            "model_type": kind,
            "image_token_id": self.ids.image,
            "video_token_id": self.ids.video,
            "vision_start_token_id": self.ids.vision_start,
            "vision_end_token_id": self.ids.vision_end,
            "tie_word_embeddings": self.tie,
            "text_config": self.text_json(),
            "vision_config": self.vision_json(),
        });
        if !self.dtype.is_empty() {
            value["torch_dtype"] = json!(self.dtype);
        }
        value
    }

    /// Writes `config.json` into `dir`.
    pub fn write(&self, dir: &Path) -> Result<(), VlmError> {
        files::write_json(&dir.join(files::CONFIG), &self.to_json())
    }

    fn text_json(&self) -> Value {
        let text = &self.text;
        let mut value = json!({
            "model_type": if text.moe.is_some() { "qwen3_vl_moe_text" } else { "qwen3_vl_text" },
            "vocab_size": text.vocab_size,
            "hidden_size": text.hidden_size,
            "intermediate_size": text.intermediate_size,
            "num_hidden_layers": text.num_layers,
            "num_attention_heads": text.num_heads,
            "num_key_value_heads": text.num_kv_heads,
            "head_dim": text.head_dim,
            "hidden_act": "silu",
            "attention_bias": false,
            "attention_dropout": 0.0,
            "rms_norm_eps": text.rms_norm_eps,
            "initializer_range": text.initializer_range,
            "max_position_embeddings": text.max_position_embeddings,
            "tie_word_embeddings": self.tie,
            "rope_theta": text.rope_theta,
            "rope_scaling": {
                "rope_type": "default",
                "mrope_interleaved": true,
                "mrope_section": text.mrope_section,
            },
        });
        if let Some(moe) = &text.moe {
            value["num_experts"] = json!(moe.num_experts);
            value["num_experts_per_tok"] = json!(moe.experts_per_token);
            value["moe_intermediate_size"] = json!(moe.intermediate_size);
            value["decoder_sparse_step"] = json!(moe.sparse_step);
            value["mlp_only_layers"] = json!(moe.dense_layers);
            value["norm_topk_prob"] = json!(true);
        }
        value
    }

    fn vision_json(&self) -> Value {
        let vision = &self.vision;
        json!({
            "model_type": if self.text.moe.is_some() { "qwen3_vl_moe" } else { "qwen3_vl" },
            "depth": vision.depth,
            "hidden_size": vision.hidden_size,
            "intermediate_size": vision.intermediate_size,
            "num_heads": vision.num_heads,
            "in_channels": vision.in_channels,
            "patch_size": vision.patch_size,
            "temporal_patch_size": vision.temporal_patch_size,
            "spatial_merge_size": vision.spatial_merge_size,
            "out_hidden_size": vision.out_hidden_size,
            "num_position_embeddings": vision.num_position_embeddings,
            "deepstack_visual_indexes": vision.deepstack_indexes,
            "hidden_act": "gelu_pytorch_tanh",
            "initializer_range": vision.initializer_range,
        })
    }
}
