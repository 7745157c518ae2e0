//! Reads `config.json` of Qwen2.5-VL: the published flat form, with the decoder's keys at the root, and the nested one
//! of newer saves, with `text_config`.

use std::path::Path;

use serde_json::Value;

use super::{Qwen2_5VlConfig, WindowVisionConfig};
use crate::VlmError;
use crate::config::parse::{Rope, axial_theta, decoder, dtype, expect, vision_ids};
use crate::config::section::Section;
use crate::config::validate::{MAX_LAYERS, MAX_WIDTH};
use crate::config::{AttentionStyle, TextConfig};
use crate::files::{self, ModelDir};

const SUPPORTED: &str = "Qwen2.5-VL (model_type qwen2_5_vl)";

impl Qwen2_5VlConfig {
    /// Reads and checks the `config.json` of a model directory.
    ///
    /// # Errors
    /// Names file and key for everything that is absent, out of bounds, contradictory or not supported.
    pub fn from_dir(dir: &ModelDir) -> Result<Self, VlmError> {
        let path = dir.require("model configuration", &[files::CONFIG])?;
        Self::from_json(&path, &files::read_json(&path, files::CONFIG_LIMIT)?)
    }

    /// The same for JSON that is already in memory; `file` is named in errors.
    pub fn from_json(file: &Path, value: &Value) -> Result<Self, VlmError> {
        let root = Section::root(file, value)?;
        let model_type = root.str("model_type")?;
        if model_type != "qwen2_5_vl" {
            return Err(root.unsupported("model_type", model_type, SUPPORTED));
        }
        let inner = root.child("text_config", "text_config")?.unwrap_or(root);
        let outer = root
            .child("vision_config", "vision_config")?
            .ok_or_else(|| root.missing("vision_config"))?;
        let tie = |section: &Section<'_>| section.opt_bool("tie_word_embeddings");
        let config = Self {
            text: text(&inner)?,
            vision: vision(&outer)?,
            ids: vision_ids(&root)?,
            tie: tie(&root)?.unwrap_or(false) || tie(&inner)?.unwrap_or(false),
            dtype: dtype(&root, &inner)?,
        };
        config
            .check()
            .map_err(|message| VlmError::file(file, message))?;
        Ok(config)
    }
}

fn text(section: &Section<'_>) -> Result<TextConfig, VlmError> {
    if let Some(kind) = section.opt_str("model_type")?
        && !["qwen2_5_vl_text", "qwen2_5_vl"].contains(&kind)
    {
        return Err(section.unsupported("model_type", kind, SUPPORTED));
    }
    expect(section, "hidden_act", "silu")?;
    // `sliding_window` stands in every published file and means nothing unless this says so.
    if section.opt_bool("use_sliding_window")? == Some(true) {
        return Err(section.unsupported("use_sliding_window", true, "attention without a window"));
    }
    let rope = Rope::read(section, false)?;
    let head_dim = match section.opt_size("head_dim", 2..=MAX_WIDTH)? {
        Some(dim) => dim,
        None => divided_head(section)?,
    };
    decoder(section, rope, head_dim, AttentionStyle::Biased, None)
}

/// Published files do not name the width of a head: it is the width of the decoder shared by the heads.
fn divided_head(section: &Section<'_>) -> Result<usize, VlmError> {
    let hidden = section.size("hidden_size", 1..=MAX_WIDTH)?;
    let heads = section.size("num_attention_heads", 1..=MAX_WIDTH)?;
    if hidden.is_multiple_of(heads) {
        return Ok(hidden / heads);
    }
    let expected = format!("a divisor of hidden_size {hidden}, or `head_dim` beside it");
    Err(section.bad("num_attention_heads", heads, expected))
}

fn vision(section: &Section<'_>) -> Result<WindowVisionConfig, VlmError> {
    if let Some(kind) = section.opt_str("model_type")?
        && !["qwen2_5_vl", "qwen2_5_vl_vision"].contains(&kind)
    {
        return Err(section.unsupported("model_type", kind, "the Qwen2.5-VL vision tower"));
    }
    expect(section, "hidden_act", "silu")?;
    // Published files say `in_chans`, saves of newer transformers `in_channels`.
    let in_channels = match section.opt_size("in_channels", 1..=16)? {
        Some(n) => n,
        None => section.opt_size("in_chans", 1..=16)?.unwrap_or(3),
    };
    Ok(WindowVisionConfig {
        depth: section.size("depth", 1..=MAX_LAYERS)?,
        hidden_size: section.size("hidden_size", 1..=MAX_WIDTH)?,
        intermediate_size: section.size("intermediate_size", 1..=MAX_WIDTH)?,
        num_heads: section.size("num_heads", 1..=MAX_WIDTH)?,
        in_channels,
        patch_size: section.size("patch_size", 1..=256)?,
        temporal_patch_size: section.size("temporal_patch_size", 1..=16)?,
        spatial_merge_size: section.size("spatial_merge_size", 1..=16)?,
        out_hidden_size: section.size("out_hidden_size", 1..=MAX_WIDTH)?,
        window_size: section.size("window_size", 1..=MAX_WIDTH)?,
        full_attention_blocks: section.sizes("fullatt_block_indexes", 0..=MAX_LAYERS)?,
        tokens_per_second: section.size("tokens_per_second", 1..=MAX_WIDTH)?,
        rope_theta: axial_theta(section)?,
        initializer_range: section.opt_number("initializer_range")?.unwrap_or(0.02),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// A file in the published form, with the sizes of the 7B model.
    fn published() -> Value {
        json!({
            "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl",
            "image_token_id": 151655, "video_token_id": 151656,
            "vision_start_token_id": 151652, "vision_end_token_id": 151653,
            "tie_word_embeddings": false, "torch_dtype": "bfloat16",
            "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944,
            "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
            "rms_norm_eps": 1e-6, "hidden_act": "silu", "max_position_embeddings": 128000,
            "rope_theta": 1000000.0, "sliding_window": 32768, "use_sliding_window": false,
            "rope_scaling": {"type": "mrope", "mrope_section": [16, 24, 24]},
            "vision_config": {
                "depth": 32, "hidden_act": "silu", "hidden_size": 1280, "intermediate_size": 3420,
                "num_heads": 16, "in_chans": 3, "out_hidden_size": 3584, "patch_size": 14,
                "spatial_merge_size": 2, "window_size": 112, "fullatt_block_indexes": [7, 15, 23, 31],
                "tokens_per_second": 2, "temporal_patch_size": 2
            }
        })
    }

    fn read(value: &Value) -> Result<Qwen2_5VlConfig, VlmError> {
        Qwen2_5VlConfig::from_json(Path::new("config.json"), value)
    }

    /// The same settings as newer saves spell them.
    fn nested() -> Value {
        let mut value = published();
        let root = value.as_object_mut().unwrap();
        let mut text = serde_json::Map::new();
        for key in [
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "rms_norm_eps",
            "hidden_act",
            "max_position_embeddings",
            "use_sliding_window",
        ] {
            text.insert(key.to_owned(), root.remove(key).unwrap());
        }
        root.remove("rope_scaling");
        root.remove("rope_theta");
        text.insert("model_type".to_owned(), json!("qwen2_5_vl_text"));
        text.insert(
            "rope_parameters".to_owned(),
            json!({"rope_type": "default", "rope_theta": 1e6, "mrope_section": [16, 24, 24]}),
        );
        root.insert("text_config".to_owned(), text.into());
        value["vision_config"]["model_type"] = json!("qwen2_5_vl_vision");
        value["vision_config"]["rope_parameters"] =
            json!({"rope_type": "axial", "rope_theta": 10000.0});
        value
    }

    #[test]
    fn both_forms_mean_the_same() {
        let flat = read(&published()).unwrap();
        assert_eq!((flat.text.head_dim, flat.vision.window_side()), (128, 4));
        assert_eq!(flat.text.attention, AttentionStyle::Biased);
        assert_eq!(read(&nested()).unwrap(), flat);
        assert_eq!(read(&flat.to_json()).unwrap(), flat);
    }

    #[test]
    fn published_models_have_their_published_size() {
        let mut config = read(&published()).unwrap();
        assert_eq!(config.parameters(), 8_292_166_656);
        config.tie = true;
        config.text.vocab_size = 151_936;
        config.text.hidden_size = 2048;
        config.text.intermediate_size = 11_008;
        config.text.num_layers = 36;
        (config.text.num_heads, config.text.num_kv_heads) = (16, 2);
        config.vision.out_hidden_size = 2048;
        config.validate().unwrap();
        assert_eq!(config.parameters(), 3_754_622_976);
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        for (pointer, with, needle) in [
            ("/model_type", json!("qwen2_vl"), "`model_type` = qwen2_vl"),
            ("/use_sliding_window", json!(true), "`use_sliding_window`"),
            (
                "/rope_scaling/type",
                json!("yarn"),
                "`rope_scaling.type` = yarn",
            ),
            (
                "/rope_scaling/mrope_section",
                json!([16, 24, 23]),
                "sums to 63",
            ),
            (
                "/num_attention_heads",
                json!(27),
                "a divisor of hidden_size",
            ),
            (
                "/num_key_value_heads",
                json!(null),
                "`num_key_value_heads` is missing",
            ),
            (
                "/vision_config/window_size",
                json!(27),
                "one merged unit of 28",
            ),
            ("/vision_config/window_size", json!(null), "is missing"),
            ("/vision_config/hidden_act", json!("gelu"), "hidden_act"),
            (
                "/vision_config/fullatt_block_indexes",
                json!([7, 32]),
                "names block 32",
            ),
            (
                "/vision_config/fullatt_block_indexes",
                json!([7, 7]),
                "ascending",
            ),
            ("/vision_config/num_heads", json!(7), "does not divide"),
            ("/vision_config/out_hidden_size", json!(64), "must equal"),
            ("/vision_config/tokens_per_second", json!(0), "from 1 to"),
            ("/image_token_id", json!(151_656), "more than one"),
        ] {
            let mut value = published();
            *value.pointer_mut(pointer).unwrap() = with;
            let text = read(&value).unwrap_err().to_string();
            assert!(
                text.starts_with("config.json: ") && text.contains(needle),
                "{text}"
            );
        }
        let mut value = nested();
        value["text_config"]["rope_parameters"]["mrope_interleaved"] = json!(true);
        let text = read(&value).unwrap_err().to_string();
        assert!(text.contains("chunked M-RoPE"), "{text}");
    }

    proptest! {
        #[test]
        fn no_number_panics(n in any::<u64>(), scale in 0_u32..64, which in 0_usize..40, nest: bool) {
            let mut value = if nest { nested() } else { published() };
            let sections = ["", "/text_config", "/vision_config"];
            let keys: Vec<String> = sections
                .iter()
                .filter_map(|s| Some((s, value.pointer(s)?.as_object()?)))
                .flat_map(|(s, map)| map.keys().map(move |k| format!("{s}/{k}")))
                .collect();
            *value.pointer_mut(&keys[which % keys.len()]).unwrap() = json!(n >> scale);
            if let Ok(config) = read(&value) {
                prop_assert!(config.parameters() > 0);
            }
        }
    }
}
