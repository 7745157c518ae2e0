//! The settings in the header of diffusers' files: those of PEFT, each key with the name of the pipeline's part.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::adapter_config::{Ordered, number};
use crate::{LoraConfig, LoraError, ModuleFilter};

/// What stands before each key.
const PREFIX: &str = "transformer.";

/// In alphabetical order, as diffusers writes them. Fields that only some releases of PEFT know are left out: a release
/// that does not know one refuses the file.
#[derive(Debug, Serialize)]
struct Settings<'a> {
    #[serde(rename = "transformer.alpha_pattern")]
    alpha_pattern: Ordered<Value>,
    #[serde(rename = "transformer.base_model_name_or_path")]
    base_model: Option<&'a str>,
    #[serde(rename = "transformer.bias")]
    bias: &'a str,
    #[serde(
        rename = "transformer.exclude_modules",
        skip_serializing_if = "Option::is_none"
    )]
    exclude: Option<&'a ModuleFilter>,
    #[serde(
        rename = "transformer.layers_pattern",
        skip_serializing_if = "<[String]>::is_empty"
    )]
    layers_pattern: &'a [String],
    #[serde(
        rename = "transformer.layers_to_transform",
        skip_serializing_if = "<[usize]>::is_empty"
    )]
    layers_to_transform: &'a [usize],
    #[serde(rename = "transformer.lora_alpha")]
    lora_alpha: Value,
    #[serde(rename = "transformer.lora_dropout")]
    lora_dropout: f64,
    #[serde(rename = "transformer.peft_type")]
    peft_type: &'a str,
    #[serde(rename = "transformer.r")]
    r: usize,
    #[serde(rename = "transformer.rank_pattern")]
    rank_pattern: Ordered<usize>,
    #[serde(rename = "transformer.target_modules")]
    targets: &'a ModuleFilter,
    #[serde(rename = "transformer.use_dora")]
    use_dora: bool,
    #[serde(rename = "transformer.use_rslora")]
    use_rslora: bool,
}

/// The entry of the header.
pub(super) fn to_text(config: &LoraConfig, base_model: Option<&str>) -> String {
    let alphas = config.alpha_pattern.iter();
    let settings = Settings {
        alpha_pattern: Ordered(alphas.map(|(key, a)| (key.clone(), number(*a))).collect()),
        base_model,
        bias: "none",
        exclude: config.exclude.as_ref(),
        layers_pattern: &config.layers_pattern,
        layers_to_transform: &config.layers_to_transform,
        lora_alpha: number(config.alpha),
        lora_dropout: config.dropout,
        peft_type: "LORA",
        r: config.r,
        rank_pattern: Ordered(config.rank_pattern.clone()),
        targets: &config.targets,
        use_dora: false,
        use_rslora: config.use_rslora,
    };
    // Strings, numbers and lists of them have no way to fail.
    serde_json::to_string_pretty(&settings).unwrap_or_default()
}

/// The settings in the entry, and the base model it names. `origin` names the file in messages.
///
/// # Errors
/// [`LoraError::Config`] for what is no such entry or of another part than the transformer; as
/// [`LoraConfig::from_adapter_config_json`].
pub(super) fn from_text(
    text: &str,
    origin: &str,
) -> Result<(LoraConfig, Option<String>), LoraError> {
    let fail = |message: String| LoraError::config(origin, message);
    // Values stay text: the order of patterns counts.
    let entries: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(text).map_err(|e| fail(format!("is no JSON object: {e}")))?;
    let mut fields = BTreeMap::new();
    for (key, value) in &entries {
        let Some(field) = key.strip_prefix(PREFIX) else {
            return Err(fail(format!(
                "has settings of another part than the transformer (`{key}`), which is not supported; save the adapter \
                 of the transformer alone"
            )));
        };
        fields.insert(field, value.get());
    }
    fields.entry("peft_type").or_insert("\"LORA\"");
    let fields: Vec<String> = fields
        .iter()
        .map(|(field, value)| format!("{}:{value}", Value::from(*field)))
        .collect();
    let text = format!("{{{}}}", fields.join(","));
    LoraConfig::from_adapter_config_json(text.as_bytes(), origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_back_with_their_order() {
        let config = LoraConfig {
            r: 4,
            alpha: 6.0,
            dropout: 0.1,
            use_rslora: true,
            targets: ModuleFilter::names(["to_q", "img_mod.1"]),
            exclude: Some(ModuleFilter::names(["transformer_blocks.0.attn.to_q"])),
            rank_pattern: vec![("to_q".into(), 2), ("attn.to_q".into(), 3)],
            alpha_pattern: vec![("z".into(), 2.5), ("a".into(), 1.0)],
            layers_to_transform: vec![1],
            layers_pattern: vec!["transformer_blocks".into()],
            ..LoraConfig::default()
        };
        let text = to_text(&config, Some("org/base"));
        assert!(text.contains("\"transformer.lora_alpha\": 6,"), "{text}");
        let expected = (config, Some("org/base".to_owned()));
        assert_eq!(from_text(&text, "file").expect("reads"), expected);
        let plain = from_text(
            r#"{"transformer.r":3,"transformer.lora_alpha":1.5}"#,
            "file",
        );
        let (plain, base) = plain.expect("reads");
        assert_eq!((plain.r, plain.alpha, base), (3, 1.5, None));
    }

    #[test]
    fn other_entries_are_refused() {
        let cases = [
            ("[]", "no JSON object"),
            ("", "no JSON object"),
            (r#"{"transformer_2.r":4}"#, "`transformer_2.r`"),
            (r#"{"text_encoder.r":4}"#, "`text_encoder.r`"),
            (r#"{"transformer.peft_type":"LOKR"}"#, "LOKR"),
            (r#"{"transformer.use_dora":true}"#, "use_dora"),
            (r#"{"transformer.r":0}"#, "rank"),
            (
                r#"{"transformer.r":"\"},{"}"#,
                "not an adapter configuration",
            ),
        ];
        for (text, word) in cases {
            let error = from_text(text, "file").expect_err(text).to_string();
            assert!(
                error.starts_with("file: ") && error.contains(word),
                "{error}"
            );
        }
    }
}
