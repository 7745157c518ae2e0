//! `adapter_config.json`, peft's file of settings.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::{LoraConfig, LoraError, LoraInit, ModuleFilter};

/// The peft release whose fields and meaning are written.
const PEFT_VERSION: &str = "0.18.0";

/// Features that change what an adapter computes or which tensors it has. Unless they are off, the adapter would be
/// applied wrongly, so it is refused.
const UNSUPPORTED: [(&str, &str); 13] = [
    ("alora_invocation_tokens", "activated LoRA"),
    ("arrow_config", "Arrow routing"),
    ("fan_in_fan_out", "transposed weights"),
    ("kasa_config", "KaSA"),
    ("layer_replication", "layer replication"),
    ("lora_bias", "biases on factor B"),
    ("modules_to_save", "fully trained modules"),
    ("monteclora_config", "Monte Carlo LoRA"),
    ("trainable_token_indices", "trainable tokens"),
    ("use_bdlora", "block-diagonal factors"),
    ("use_dora", "DoRA"),
    ("use_qalora", "quantisation-aware LoRA"),
    ("velora_config", "VeLoRA"),
];

/// A JSON object whose order counts: the first pattern that matches decides.
#[derive(Debug, Default)]
pub(crate) struct Ordered<V>(pub(crate) Vec<(String, V)>);

impl<V: Serialize> Serialize for Ordered<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Ordered<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Pairs<V> {
            type Value = Ordered<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of module patterns")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Ordered(pairs))
            }
        }
        deserializer.deserialize_map(Pairs(PhantomData))
    }
}

/// One value or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T> OneOrMany<T> {
    fn many(value: Option<Self>) -> Vec<T> {
        match value {
            None => Vec::new(),
            Some(Self::One(one)) => vec![one],
            Some(Self::Many(many)) => many,
        }
    }
}

/// The fields that are understood; peft writes null for many.
#[derive(Debug, Deserialize)]
struct FileIn {
    peft_type: Option<String>,
    base_model_name_or_path: Option<String>,
    r: Option<usize>,
    lora_alpha: Option<f64>,
    lora_dropout: Option<f64>,
    bias: Option<String>,
    use_rslora: Option<bool>,
    init_lora_weights: Option<Value>,
    target_modules: Option<ModuleFilter>,
    exclude_modules: Option<ModuleFilter>,
    target_parameters: Option<Vec<String>>,
    layers_to_transform: Option<OneOrMany<usize>>,
    layers_pattern: Option<OneOrMany<String>>,
    rank_pattern: Option<Ordered<usize>>,
    alpha_pattern: Option<Ordered<f64>>,
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

/// In alphabetical order, as peft writes them.
#[derive(Debug, Serialize)]
struct FileOut<'a> {
    alpha_pattern: Ordered<Value>,
    auto_mapping: Option<()>,
    base_model_name_or_path: &'a str,
    bias: &'a str,
    exclude_modules: Option<&'a ModuleFilter>,
    fan_in_fan_out: bool,
    inference_mode: bool,
    init_lora_weights: Value,
    layers_pattern: Option<&'a [String]>,
    layers_to_transform: Option<&'a [usize]>,
    lora_alpha: Value,
    lora_dropout: f64,
    modules_to_save: Option<()>,
    peft_type: &'a str,
    peft_version: &'a str,
    r: usize,
    rank_pattern: Ordered<usize>,
    revision: Option<()>,
    target_modules: &'a ModuleFilter,
    target_parameters: Option<&'a [String]>,
    task_type: Option<&'a str>,
    use_dora: bool,
    use_rslora: bool,
}

impl LoraConfig {
    /// The text of `adapter_config.json` for an adapter of `base_model` (a directory or a name on the hub).
    pub fn to_adapter_config_json(&self, base_model: &str) -> String {
        self.adapter_config_json(base_model, Some("CAUSAL_LM"))
    }

    /// The same for a model that is used for `task`, in peft's words; none for other models than those of languages,
    /// which peft would wrap as one.
    pub(crate) fn adapter_config_json(&self, base_model: &str, task: Option<&str>) -> String {
        let some = |list: &'_ [String]| !list.is_empty();
        let file = FileOut {
            alpha_pattern: Ordered(
                self.alpha_pattern
                    .iter()
                    .map(|(k, a)| (k.clone(), number(*a)))
                    .collect(),
            ),
            auto_mapping: None,
            base_model_name_or_path: base_model,
            bias: "none",
            exclude_modules: self.exclude.as_ref(),
            fan_in_fan_out: false,
            inference_mode: true,
            init_lora_weights: match self.init {
                LoraInit::Kaiming => Value::Bool(true),
                LoraInit::Gaussian => Value::String("gaussian".into()),
            },
            layers_pattern: some(&self.layers_pattern).then_some(&self.layers_pattern),
            layers_to_transform: (!self.layers_to_transform.is_empty())
                .then_some(&self.layers_to_transform),
            lora_alpha: number(self.alpha),
            lora_dropout: self.dropout,
            modules_to_save: None,
            peft_type: "LORA",
            peft_version: PEFT_VERSION,
            r: self.r,
            rank_pattern: Ordered(self.rank_pattern.clone()),
            revision: None,
            target_modules: &self.targets,
            target_parameters: some(&self.target_parameters).then_some(&self.target_parameters),
            task_type: task,
            use_dora: false,
            use_rslora: self.use_rslora,
        };
        // Strings, numbers and lists of them have no way to fail.
        serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
    }

    /// Reads the text of an `adapter_config.json`: the settings, and the base model it names. Fields that are not
    /// known are ignored. `origin` names the file in messages.
    ///
    /// # Errors
    /// [`LoraError::Config`] if it is no JSON object of that kind, if the adapter is of another kind than LoRA, or
    /// uses a feature that is not supported; the message names the field.
    pub fn from_adapter_config_json(
        text: &[u8],
        origin: &str,
    ) -> Result<(Self, Option<String>), LoraError> {
        let fail = |message: String| LoraError::config(origin, message);
        let file: FileIn = serde_json::from_slice(text)
            .map_err(|e| fail(format!("is not an adapter configuration of peft: {e}")))?;
        match file.peft_type.as_deref() {
            Some("LORA") => {}
            Some(other) => {
                return Err(fail(format!(
                    "peft_type is {other}, only LORA adapters are supported"
                )));
            }
            None => return Err(fail("has no peft_type; is this an adapter of peft?".into())),
        }
        check_supported(&file).map_err(fail)?;
        let default = Self::default();
        let config = Self {
            r: file.r.unwrap_or(default.r),
            alpha: file.lora_alpha.unwrap_or(default.alpha),
            dropout: file.lora_dropout.unwrap_or(default.dropout),
            use_rslora: file.use_rslora.unwrap_or(false),
            init: init(file.init_lora_weights.as_ref()).map_err(fail)?,
            targets: file
                .target_modules
                .unwrap_or(ModuleFilter::Names(Vec::new())),
            exclude: file.exclude_modules,
            target_parameters: file.target_parameters.unwrap_or_default(),
            layers_to_transform: OneOrMany::many(file.layers_to_transform),
            layers_pattern: OneOrMany::many(file.layers_pattern),
            rank_pattern: file.rank_pattern.unwrap_or_default().0,
            alpha_pattern: file.alpha_pattern.unwrap_or_default().0,
        };
        config.rules(origin)?;
        // An empty name says that none is known.
        let base = file.base_model_name_or_path.filter(|b| !b.is_empty());
        Ok((config, base))
    }
}

fn check_supported(file: &FileIn) -> Result<(), String> {
    if let Some(bias) = file.bias.as_deref().filter(|b| *b != "none") {
        return Err(format!(
            "bias is {bias}, only adapters without trained biases are supported"
        ));
    }
    for (key, feature) in UNSUPPORTED {
        if file.rest.get(key).is_some_and(|value| !is_off(value)) {
            return Err(format!(
                "{key} is set, but {feature} is not supported; merge the adapter into its base model with peft and load that"
            ));
        }
    }
    Ok(())
}

fn is_off(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// Ways to start that keep the base weights as they are only matter before training.
fn init(value: Option<&Value>) -> Result<LoraInit, String> {
    match value {
        None | Some(Value::Null | Value::Bool(_)) => Ok(LoraInit::Kaiming),
        Some(Value::String(s)) if s == "gaussian" => Ok(LoraInit::Gaussian),
        Some(Value::String(s)) if s == "eva" || s == "orthogonal" => Ok(LoraInit::Kaiming),
        Some(other) => Err(format!(
            "init_lora_weights is {other}, which changes the base weights; convert the adapter with peft's `save_pretrained(..., path_initial_model_for_weight_conversion=...)`"
        )),
    }
}

/// Whole numbers without a fraction: peft and vLLM expect an integer alpha.
pub(crate) fn number(value: f64) -> Value {
    if value.fract() == 0.0 && value.abs() < 1e15 {
        Value::from(value as i64)
    } else {
        Value::from(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(LoraConfig, Option<String>), LoraError> {
        LoraConfig::from_adapter_config_json(text.as_bytes(), "adapter_config.json")
    }

    #[test]
    fn settings_come_back_with_their_order() {
        let config = LoraConfig {
            r: 16,
            alpha: 32.0,
            dropout: 0.0,
            use_rslora: true,
            init: LoraInit::Gaussian,
            targets: ModuleFilter::names(["q_proj", "v_proj"]),
            exclude: Some(ModuleFilter::Expression(r"model\.visual.*".into())),
            target_parameters: vec!["mlp.experts.down_proj".into()],
            layers_to_transform: vec![0, 2],
            layers_pattern: vec!["layers".into()],
            rank_pattern: vec![("z".into(), 4), ("a".into(), 2)],
            alpha_pattern: vec![("z".into(), 2.5), ("a".into(), 4.0)],
        };
        let text = config.to_adapter_config_json("some/model");
        assert!(text.contains("\"lora_alpha\": 32,"), "{text}");
        assert_eq!(
            read(&text).expect("reads"),
            (config, Some("some/model".into()))
        );
        let plain = LoraConfig::default();
        assert_eq!(
            read(&plain.to_adapter_config_json("m")).expect("reads").0,
            plain
        );
    }

    #[test]
    fn unknown_and_absent_fields_are_tolerated() {
        let text = r#"{"peft_type":"LORA","corda_config":null,"new_thing":{"a":[1]},"use_dora":false,
            "target_modules":["q_proj"],"layers_to_transform":3,"modules_to_save":[],"lora_alpha":16}"#;
        let (config, base) = read(text).expect("reads");
        assert_eq!((config.r, config.alpha, base), (8, 16.0, None));
        let unnamed = r#"{"peft_type":"LORA","base_model_name_or_path":""}"#;
        assert_eq!(read(unnamed).expect("reads").1, None);
        assert_eq!(config.layers_to_transform, [3]);
    }

    #[test]
    fn what_would_be_applied_wrongly_is_refused() {
        let cases = [
            (r#"{"peft_type":"IA3"}"#, "IA3"),
            (r#"{"r":8}"#, "peft_type"),
            (r#"{"peft_type":"LORA","use_dora":true}"#, "use_dora"),
            (r#"{"peft_type":"LORA","bias":"all"}"#, "bias"),
            (
                r#"{"peft_type":"LORA","modules_to_save":["lm_head"]}"#,
                "modules_to_save",
            ),
            (
                r#"{"peft_type":"LORA","target_parameters":["x"],"lora_dropout":0.1}"#,
                "target_parameters",
            ),
            (
                r#"{"peft_type":"LORA","init_lora_weights":"pissa"}"#,
                "pissa",
            ),
            (r#"{"peft_type":"LORA","r":0}"#, "rank"),
            (
                r#"{"peft_type":"LORA","r":-1}"#,
                "not an adapter configuration",
            ),
            (
                r#"{"peft_type":"LORA","lora_alpha":1e400}"#,
                "not an adapter configuration",
            ),
            ("[]", "not an adapter configuration"),
            ("", "not an adapter configuration"),
        ];
        for (text, word) in cases {
            let error = read(text).expect_err(text).to_string();
            assert!(
                error.starts_with("adapter_config.json: ") && error.contains(word),
                "{error}"
            );
        }
        let deep = "[".repeat(100_000);
        assert!(read(&format!(r#"{{"peft_type":"LORA","x":{deep}"#)).is_err());
    }
}
