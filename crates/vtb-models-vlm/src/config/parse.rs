//! Reads `config.json` in every spelling that published and re-saved checkpoints use.

use std::path::Path;

use serde_json::Value;

use super::section::Section;
use super::validate::{MAX_LAYERS, MAX_POSITIONS, MAX_VOCAB, MAX_WIDTH};
use super::{AttentionStyle, MoeConfig, Qwen3VlConfig, TextConfig, VisionConfig, VisionIds};
use crate::VlmError;
use crate::files::{self, ModelDir};

const SUPPORTED: &str = "Qwen3-VL (model_type qwen3_vl or qwen3_vl_moe)";
/// More experts than any published model by a factor of ten.
const MAX_EXPERTS: usize = 4096;
const VISION_TYPES: [&str; 4] = [
    "qwen3_vl",
    "qwen3_vl_vision",
    "qwen3_vl_moe",
    "qwen3_vl_moe_vision",
];

impl Qwen3VlConfig {
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
        let moe = match model_type {
            "qwen3_vl" => false,
            "qwen3_vl_moe" => true,
            other => return Err(root.unsupported("model_type", other, SUPPORTED)),
        };
        let need = |key| root.child(key, key)?.ok_or_else(|| root.missing(key));
        let text_section = need("text_config")?;
        let config = Self {
            text: text(&text_section, moe)?,
            vision: vision(&need("vision_config")?)?,
            ids: vision_ids(&root)?,
            tie: tied(&root, &text_section)?,
            dtype: dtype(&root, &text_section)?,
        };
        config
            .check()
            .map_err(|message| VlmError::file(file, message))?;
        Ok(config)
    }
}

pub(super) fn vision_ids(root: &Section<'_>) -> Result<VisionIds, VlmError> {
    Ok(VisionIds {
        image: root.id("image_token_id")?,
        video: root.id("video_token_id")?,
        vision_start: root.id("vision_start_token_id")?,
        vision_end: root.id("vision_end_token_id")?,
    })
}

/// `dtype` is the newer spelling of `torch_dtype`; older saves put it into `text_config` alone.
pub(super) fn dtype(root: &Section<'_>, text: &Section<'_>) -> Result<String, VlmError> {
    for section in [root, text] {
        for key in ["dtype", "torch_dtype"] {
            if let Some(name) = section.opt_str(key)? {
                return Ok(name.to_owned());
            }
        }
    }
    Ok(String::new())
}

/// The reference goes by the root alone. Its saves of expert models say true in `text_config`, where it means nothing, so
/// that is asked only where the root is silent.
fn tied(root: &Section<'_>, text: &Section<'_>) -> Result<bool, VlmError> {
    let inner = text.opt_bool("tie_word_embeddings")?;
    Ok(root
        .opt_bool("tie_word_embeddings")?
        .or(inner)
        .unwrap_or(false))
}

fn text(section: &Section<'_>, moe: bool) -> Result<TextConfig, VlmError> {
    check_kind(section, moe)?;
    expect(section, "hidden_act", "silu")?;
    if section.opt_bool("attention_bias")? == Some(true) {
        return Err(section.unsupported("attention_bias", true, "attention without biases"));
    }
    let rope = Rope::read(section, true)?;
    let head_dim = section.size("head_dim", 2..=MAX_WIDTH)?;
    let moe = moe.then(|| experts(section)).transpose()?;
    decoder(section, rope, head_dim, AttentionStyle::Normed, moe)
}

/// The keys whose spelling all decoders share.
pub(super) fn decoder(
    section: &Section<'_>,
    rope: Rope,
    head_dim: usize,
    attention: AttentionStyle,
    moe: Option<MoeConfig>,
) -> Result<TextConfig, VlmError> {
    Ok(TextConfig {
        vocab_size: section.size("vocab_size", 1..=MAX_VOCAB)?,
        hidden_size: section.size("hidden_size", 1..=MAX_WIDTH)?,
        intermediate_size: section.size("intermediate_size", 1..=MAX_WIDTH)?,
        num_layers: section.size("num_hidden_layers", 1..=MAX_LAYERS)?,
        num_heads: section.size("num_attention_heads", 1..=MAX_WIDTH)?,
        num_kv_heads: section.size("num_key_value_heads", 1..=MAX_WIDTH)?,
        head_dim,
        attention,
        rms_norm_eps: section.positive("rms_norm_eps")?,
        rope_theta: rope.theta,
        mrope_section: rope.section,
        max_position_embeddings: section.size("max_position_embeddings", 1..=MAX_POSITIONS)?,
        initializer_range: section.opt_number("initializer_range")?.unwrap_or(0.02),
        moe,
    })
}

/// Expert models have the same keys and more: running one as dense would load half of it.
fn check_kind(section: &Section<'_>, moe: bool) -> Result<(), VlmError> {
    for key in ["num_experts", "num_local_experts"] {
        if let Some(n) = section.opt_size(key, 0..=MAX_WIDTH)?
            && n > 0
            && !moe
        {
            return Err(section.unsupported(key, n, "a dense decoder under model_type qwen3_vl"));
        }
    }
    let kinds = match moe {
        false => ["qwen3_vl_text", "qwen3_vl"],
        true => ["qwen3_vl_moe_text", "qwen3_vl_moe"],
    };
    if let Some(kind) = section.opt_str("model_type")?
        && !kinds.contains(&kind)
    {
        return Err(section.unsupported("model_type", kind, SUPPORTED));
    }
    Ok(())
}

/// `num_local_experts` is what transformers 5 writes for `num_experts`.
fn experts(section: &Section<'_>) -> Result<MoeConfig, VlmError> {
    // The reference divides by the sum whatever the file says; a file that denies it would run differently there
    // and in programs that read the key.
    if section.opt_bool("norm_topk_prob")? == Some(false) {
        let only =
            "true: transformers renormalises the weights of this model's experts in any case";
        return Err(section.unsupported("norm_topk_prob", false, only));
    }
    let local = section.opt_size("num_local_experts", 1..=MAX_EXPERTS)?;
    let dense_layers = match section.get("mlp_only_layers") {
        Some(_) => section.sizes("mlp_only_layers", 0..=MAX_LAYERS)?,
        None => Vec::new(),
    };
    Ok(MoeConfig {
        num_experts: match section.opt_size("num_experts", 1..=MAX_EXPERTS)? {
            Some(n) => n,
            None => local.ok_or_else(|| section.missing("num_experts"))?,
        },
        experts_per_token: section.size("num_experts_per_tok", 1..=MAX_EXPERTS)?,
        intermediate_size: section.size("moe_intermediate_size", 1..=MAX_WIDTH)?,
        sparse_step: section
            .opt_size("decoder_sparse_step", 1..=MAX_LAYERS)?
            .unwrap_or(1),
        dense_layers,
    })
}

/// A key that may be absent but must not say anything else.
pub(super) fn expect(section: &Section<'_>, key: &str, only: &'static str) -> Result<(), VlmError> {
    match section.opt_str(key)? {
        Some(value) if value != only => Err(section.unsupported(key, value, only)),
        _ => Ok(()),
    }
}

/// Rotary settings, gathered from `rope_parameters`, or from `rope_theta` and `rope_scaling`.
pub(super) struct Rope {
    theta: f64,
    section: [usize; 3],
}

impl Rope {
    /// `interleaved` is the order of frequencies the model type has; a file that names the other one is refused.
    pub(super) fn read(text: &Section<'_>, interleaved: bool) -> Result<Self, VlmError> {
        // Full paths for messages: the text settings may stand at the root.
        let (parameters, scaling) = if text.is_root() {
            ("rope_parameters", "rope_scaling")
        } else {
            ("text_config.rope_parameters", "text_config.rope_scaling")
        };
        let parameters = text.child("rope_parameters", parameters)?;
        let scaling = text.child("rope_scaling", scaling)?;
        let inner = parameters.or(scaling);
        let theta = match &inner {
            Some(inner) if inner.get("rope_theta").is_some() => inner.positive("rope_theta")?,
            _ => text.positive("rope_theta")?,
        };
        let inner = inner.ok_or_else(|| text.missing("rope_scaling.mrope_section"))?;
        for key in ["rope_type", "type"] {
            // Early saves say "mrope" for the same thing.
            match inner.opt_str(key)? {
                None | Some("default" | "mrope") => {}
                Some(other) => {
                    return Err(inner.unsupported(key, other, "rope_type default"));
                }
            }
        }
        if inner.opt_bool("mrope_interleaved")? == Some(!interleaved) {
            let supported = if interleaved {
                "interleaved M-RoPE, which is all Qwen3-VL uses"
            } else {
                "chunked M-RoPE, which is all Qwen2.5-VL uses"
            };
            return Err(inner.unsupported("mrope_interleaved", !interleaved, supported));
        }
        let list = inner.sizes("mrope_section", 0..=MAX_WIDTH)?;
        let section = <[usize; 3]>::try_from(list).map_err(|list| {
            inner.bad("mrope_section", format!("{list:?}"), "three whole numbers")
        })?;
        Ok(Self { theta, section })
    }
}

fn vision(section: &Section<'_>) -> Result<VisionConfig, VlmError> {
    if let Some(kind) = section.opt_str("model_type")?
        && !VISION_TYPES.contains(&kind)
    {
        return Err(section.unsupported("model_type", kind, "the Qwen3-VL vision tower"));
    }
    expect(section, "hidden_act", "gelu_pytorch_tanh")?;
    Ok(VisionConfig {
        depth: section.size("depth", 1..=MAX_LAYERS)?,
        hidden_size: section.size("hidden_size", 1..=MAX_WIDTH)?,
        intermediate_size: section.size("intermediate_size", 1..=MAX_WIDTH)?,
        num_heads: section.size("num_heads", 1..=MAX_WIDTH)?,
        in_channels: section.size("in_channels", 1..=16)?,
        patch_size: section.size("patch_size", 1..=256)?,
        temporal_patch_size: section.size("temporal_patch_size", 1..=16)?,
        spatial_merge_size: section.size("spatial_merge_size", 1..=16)?,
        out_hidden_size: section.size("out_hidden_size", 1..=MAX_WIDTH)?,
        num_position_embeddings: section.size("num_position_embeddings", 1..=MAX_POSITIONS)?,
        deepstack_indexes: section.sizes("deepstack_visual_indexes", 0..=MAX_LAYERS)?,
        rope_theta: axial_theta(section)?,
        initializer_range: section.opt_number("initializer_range")?.unwrap_or(0.02),
    })
}

/// Base of the two-dimensional frequencies, which only newer saves name.
pub(super) fn axial_theta(vision: &Section<'_>) -> Result<f64, VlmError> {
    match vision.child("rope_parameters", "vision_config.rope_parameters")? {
        Some(rope) => {
            expect(&rope, "rope_type", "axial")?;
            Ok(rope.opt_number("rope_theta")?.unwrap_or(10_000.0))
        }
        None => Ok(10_000.0),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The published 4B file, in the spelling of the hub.
    fn published() -> Value {
        json!({
            "architectures": ["Qwen3VLForConditionalGeneration"],
            "model_type": "qwen3_vl",
            "image_token_id": 151655, "video_token_id": 151656,
            "vision_start_token_id": 151652, "vision_end_token_id": 151653,
            "tie_word_embeddings": true,
            "text_config": {
                "model_type": "qwen3_vl_text", "dtype": "bfloat16",
                "vocab_size": 151936, "hidden_size": 2560, "intermediate_size": 9728,
                "num_hidden_layers": 36, "num_attention_heads": 32, "num_key_value_heads": 8,
                "head_dim": 128, "rms_norm_eps": 1e-6, "hidden_act": "silu",
                "attention_bias": false, "max_position_embeddings": 262144,
                "rope_theta": 5000000,
                "rope_scaling": {"rope_type": "default", "mrope_interleaved": true,
                                 "mrope_section": [24, 20, 20]}
            },
            "vision_config": {
                "model_type": "qwen3_vl", "depth": 24, "hidden_size": 1024,
                "intermediate_size": 4096, "num_heads": 16, "in_channels": 3, "patch_size": 16,
                "temporal_patch_size": 2, "spatial_merge_size": 2, "out_hidden_size": 2560,
                "num_position_embeddings": 2304, "deepstack_visual_indexes": [5, 11, 17],
                "hidden_act": "gelu_pytorch_tanh"
            }
        })
    }

    fn read(value: &Value) -> Result<Qwen3VlConfig, VlmError> {
        Qwen3VlConfig::from_json(Path::new("config.json"), value)
    }

    fn fails(pointer: &str, with: Value, needle: &str) {
        let mut value = published();
        *value.pointer_mut(pointer).unwrap() = with;
        let text = read(&value).unwrap_err().to_string();
        assert!(
            text.starts_with("config.json: ") && text.contains(needle),
            "{text}"
        );
    }

    #[test]
    fn both_spellings_of_the_rotary_settings_mean_the_same() {
        let hub = read(&published()).unwrap();
        assert_eq!(hub.text.rope_theta, 5e6);
        assert_eq!(hub.text.mrope_section, [24, 20, 20]);
        assert_eq!(hub.dtype, "bfloat16");
        let mut value = published();
        let text = value["text_config"].as_object_mut().unwrap();
        text.remove("rope_theta");
        let mut rope = text.remove("rope_scaling").unwrap();
        rope["rope_theta"] = json!(5_000_000.0);
        text.insert("rope_parameters".to_owned(), rope);
        text.remove("dtype");
        value["torch_dtype"] = json!("bfloat16");
        value["vision_config"]["model_type"] = json!("qwen3_vl_vision");
        value["vision_config"]["rope_parameters"] =
            json!({"rope_type": "axial", "rope_theta": 10000.0});
        assert_eq!(read(&value).unwrap(), hub);
    }

    #[test]
    fn the_root_says_whether_the_head_is_tied_and_the_decoder_where_it_is_silent() {
        let mut value = published();
        assert!(read(&value).unwrap().tie);
        value["tie_word_embeddings"] = json!(false);
        value["text_config"]["tie_word_embeddings"] = json!(true);
        assert!(!read(&value).unwrap().tie);
        value.as_object_mut().unwrap().remove("tie_word_embeddings");
        assert!(read(&value).unwrap().tie);
    }

    #[test]
    fn no_required_key_has_a_silent_default() {
        for (section, key) in [
            ("text_config", "rope_theta"),
            ("text_config", "head_dim"),
            ("text_config", "num_key_value_heads"),
            ("text_config", "vocab_size"),
            ("text_config", "rms_norm_eps"),
            ("vision_config", "depth"),
            ("vision_config", "deepstack_visual_indexes"),
            ("vision_config", "num_position_embeddings"),
        ] {
            let mut value = published();
            value[section].as_object_mut().unwrap().remove(key);
            let text = read(&value).unwrap_err().to_string();
            assert!(
                text.contains(&format!("`{section}.{key}` is missing")),
                "{text}"
            );
        }
        let mut value = published();
        value.as_object_mut().unwrap().remove("image_token_id");
        assert!(
            read(&value)
                .unwrap_err()
                .to_string()
                .contains("`image_token_id` is missing")
        );
    }

    #[test]
    fn other_architectures_are_named() {
        fails(
            "/model_type",
            json!("llava"),
            "`model_type` = llava is not supported yet",
        );
        let mut value = published();
        value["text_config"]["num_local_experts"] = json!(128);
        let text = read(&value).unwrap_err().to_string();
        assert!(
            text.contains("num_local_experts` = 128 is not supported"),
            "{text}"
        );
        fails(
            "/text_config/rope_scaling/rope_type",
            json!("yarn"),
            "rope_type` = yarn",
        );
    }

    /// The published file of the model with experts, as far as it differs.
    fn with_experts() -> Value {
        let mut value = published();
        value["model_type"] = json!("qwen3_vl_moe");
        value["text_config"]["model_type"] = json!("qwen3_vl_moe_text");
        let text = value["text_config"].as_object_mut().unwrap();
        for (key, number) in [
            ("num_experts", json!(128)),
            ("num_experts_per_tok", json!(8)),
            ("moe_intermediate_size", json!(768)),
            ("decoder_sparse_step", json!(1)),
            ("mlp_only_layers", json!([])),
            ("norm_topk_prob", json!(true)),
        ] {
            text.insert(key.to_owned(), number);
        }
        value
    }

    #[test]
    fn experts_are_read_in_both_spellings() {
        let hub = read(&with_experts()).unwrap();
        let moe = hub.text.moe.clone().unwrap();
        assert_eq!((moe.num_experts, moe.experts_per_token), (128, 8));
        assert!((0..36).all(|i| hub.text.experts(i).is_some()));
        let mut value = with_experts();
        let text = value["text_config"].as_object_mut().unwrap();
        let n = text.remove("num_experts").unwrap();
        text.insert("num_local_experts".to_owned(), n);
        text.remove("norm_topk_prob");
        text.remove("mlp_only_layers");
        assert_eq!(read(&value).unwrap(), hub);
        value["text_config"]["decoder_sparse_step"] = json!(2);
        value["text_config"]["mlp_only_layers"] = json!([3]);
        let text = read(&value).unwrap().text;
        let sparse: Vec<usize> = (0..8).filter(|i| text.experts(*i).is_some()).collect();
        assert_eq!(sparse, [1, 5, 7]);
        assert_eq!(read(&read(&value).unwrap().to_json()).unwrap().text, text);
    }

    #[test]
    fn contradictory_experts_are_refused() {
        for (key, number, needle) in [
            ("num_experts_per_tok", json!(129), "num_experts_per_tok"),
            ("num_experts_per_tok", json!(0), "from 1 to"),
            ("norm_topk_prob", json!(false), "norm_topk_prob"),
            ("decoder_sparse_step", json!(0), "from 1 to"),
            ("mlp_only_layers", json!([36]), "mlp_only_layers"),
            (
                "num_experts",
                json!(null),
                "`text_config.num_experts` is missing",
            ),
            ("model_type", json!("qwen3_vl_text"), "model_type"),
        ] {
            let mut value = with_experts();
            value["text_config"][key] = number;
            let text = read(&value).unwrap_err().to_string();
            assert!(text.contains(needle), "{key}: {text}");
        }
    }

    #[test]
    fn hostile_numbers_are_refused() {
        fails(
            "/text_config/num_hidden_layers",
            json!(4_000_000_000_u64),
            "from 1 to",
        );
        fails("/text_config/num_hidden_layers", json!(0), "from 1 to");
        fails("/text_config/hidden_size", json!(-1), "whole number");
        fails("/text_config/hidden_size", json!(1.5), "whole number");
        fails("/text_config/hidden_size", json!("2560"), "whole number");
        fails("/text_config/vocab_size", json!(u64::MAX), "whole number");
        fails(
            "/text_config/num_key_value_heads",
            json!(5),
            "does not divide",
        );
        fails(
            "/text_config/rope_scaling/mrope_section",
            json!([24, 20, 19]),
            "sums to 63",
        );
        fails(
            "/text_config/rope_scaling/mrope_section",
            json!([24, 40]),
            "three whole numbers",
        );
        fails("/text_config/rope_theta", json!(0), "above 0");
        fails("/vision_config/num_heads", json!(7), "does not divide");
        fails(
            "/vision_config/out_hidden_size",
            json!(1024),
            "out_hidden_size",
        );
        fails(
            "/vision_config/deepstack_visual_indexes",
            json!([5, 24]),
            "deepstack",
        );
        fails(
            "/vision_config/deepstack_visual_indexes",
            json!([11, 5]),
            "ascending",
        );
        fails(
            "/vision_config/num_position_embeddings",
            json!(2305),
            "square",
        );
        fails("/image_token_id", json!(151_936), "vocab_size");
        fails("/image_token_id", json!(151_656), "more than one");
        fails("/vision_config", json!([]), "an object");
    }

    proptest! {
        #[test]
        fn no_number_panics(n in any::<u64>(), scale in 0_u32..64, which in 0_usize..24) {
            let mut value = published();
            let keys: Vec<String> = ["text_config", "vision_config"]
                .iter()
                .flat_map(|s| value[s].as_object().unwrap().keys().map(move |k| format!("/{s}/{k}")))
                .collect();
            *value.pointer_mut(&keys[which % keys.len()]).unwrap() = json!(n >> scale);
            if let Ok(config) = read(&value) {
                prop_assert!(config.parameters() > 0);
            }
        }
    }
}
