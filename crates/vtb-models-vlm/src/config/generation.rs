//! `generation_config.json`: the sampling a checkpoint's makers recommend.

use std::path::Path;

use serde_json::{Value, json};
use vtb_nn::lm::SampleOptions;

use super::decimal;
use super::section::Section;
use crate::VlmError;
use crate::files::{self, ModelDir};

/// Sampling defaults of a checkpoint. Absent keys mean: off.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationConfig {
    /// A completion ends with any of these ids; may be empty.
    pub eos: Vec<u32>,
    /// Padding id.
    pub pad: Option<u32>,
    /// Whether to sample; greedy otherwise.
    pub do_sample: bool,
    /// Logits are divided by it.
    pub temperature: f32,
    /// Keep the largest logits; 0 keeps all.
    pub top_k: usize,
    /// Nucleus mass; 1 keeps all.
    pub top_p: f32,
    /// 1 is off.
    pub repetition_penalty: f32,
    /// Bound on new tokens, if the file names one.
    pub max_new_tokens: Option<usize>,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            eos: Vec::new(),
            pad: None,
            do_sample: false,
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            repetition_penalty: 1.0,
            max_new_tokens: None,
        }
    }
}

impl GenerationConfig {
    /// Reads the file of a model directory; a directory without one gives the defaults.
    pub fn from_dir(dir: &ModelDir) -> Result<Self, VlmError> {
        match dir.find(&[files::GENERATION_CONFIG]) {
            Some(path) => Self::from_json(&path, &files::read_json(&path, files::CONFIG_LIMIT)?),
            None => Ok(Self::default()),
        }
    }

    /// The same for JSON in memory; `file` is named in errors.
    pub fn from_json(file: &Path, value: &Value) -> Result<Self, VlmError> {
        let root = Section::root(file, value)?;
        let off = Self::default();
        let ranged = |key: &str, low: f64, high: f64, default: f32| {
            let number = root.opt_number(key)?;
            match number {
                None => Ok(default),
                Some(n) if n >= low && n <= high => Ok(n as f32),
                Some(n) => Err(root.bad(key, n, format!("a number from {low} to {high}"))),
            }
        };
        let eos = match root.get("eos_token_id") {
            None => Vec::new(),
            Some(Value::Array(_)) => {
                let list = root.sizes("eos_token_id", 0..=u32::MAX as usize)?;
                list.into_iter().map(|id| id as u32).collect()
            }
            Some(_) => vec![root.id("eos_token_id")?],
        };
        Ok(Self {
            eos,
            pad: root.opt_id("pad_token_id")?,
            do_sample: root.opt_bool("do_sample")?.unwrap_or(off.do_sample),
            temperature: ranged("temperature", 0.0, 100.0, off.temperature)?,
            top_k: root
                .opt_size("top_k", 0..=u32::MAX as usize)?
                .unwrap_or(off.top_k),
            top_p: ranged("top_p", 0.0, 1.0, off.top_p)?,
            repetition_penalty: ranged("repetition_penalty", 0.01, 100.0, off.repetition_penalty)?,
            max_new_tokens: root.opt_size("max_new_tokens", 1..=u32::MAX as usize)?,
        })
    }

    /// The file as JSON.
    pub fn to_json(&self) -> Value {
        let mut value = json!({
            "eos_token_id": self.eos,
            "do_sample": self.do_sample,
        });
        if let Some(pad) = self.pad {
            value["pad_token_id"] = json!(pad);
        }
        if self.do_sample {
            value["temperature"] = json!(decimal(self.temperature));
            value["top_k"] = json!(self.top_k);
            value["top_p"] = json!(decimal(self.top_p));
        }
        if self.repetition_penalty != 1.0 {
            value["repetition_penalty"] = json!(decimal(self.repetition_penalty));
        }
        if let Some(n) = self.max_new_tokens {
            value["max_new_tokens"] = json!(n);
        }
        value
    }

    /// Writes `generation_config.json` into `dir`.
    pub fn write(&self, dir: &Path) -> Result<(), VlmError> {
        files::write_json(&dir.join(files::GENERATION_CONFIG), &self.to_json())
    }

    /// Options of a sampler: greedy (temperature 0) where the file does not ask for sampling.
    pub fn sample_options(&self) -> SampleOptions {
        let off = SampleOptions::default();
        SampleOptions {
            max_new_tokens: self.max_new_tokens.unwrap_or(off.max_new_tokens),
            temperature: if self.do_sample {
                self.temperature
            } else {
                0.0
            },
            top_k: self.top_k,
            top_p: self.top_p,
            repetition_penalty: self.repetition_penalty,
            stop_ids: self.eos.clone(),
            max_num_seqs: off.max_num_seqs,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: Value) -> Result<GenerationConfig, VlmError> {
        GenerationConfig::from_json(Path::new("generation_config.json"), &value)
    }

    #[test]
    fn lists_and_single_ids_are_read() {
        let config = read(json!({
            "eos_token_id": [151645, 151643], "pad_token_id": 151643, "do_sample": true,
            "temperature": 0.7, "top_p": 0.8, "top_k": 20, "repetition_penalty": 1.0
        }))
        .unwrap();
        assert_eq!(config.eos, [151_645, 151_643]);
        assert_eq!(
            (config.temperature, config.top_p, config.top_k),
            (0.7, 0.8, 20)
        );
        assert_eq!(read(config.to_json()).unwrap(), config);
        assert!(
            config
                .to_json()
                .to_string()
                .contains("\"temperature\":0.7,")
        );
        let greedy = read(json!({"eos_token_id": 7, "temperature": 0.7})).unwrap();
        assert_eq!(greedy.eos, [7]);
        assert_eq!(greedy.sample_options().temperature, 0.0);
    }

    #[test]
    fn senseless_values_are_named() {
        for (value, key) in [
            (json!({"top_p": 1.5}), "top_p"),
            (json!({"temperature": -1}), "temperature"),
            (json!({"eos_token_id": ["a"]}), "eos_token_id"),
            (json!({"eos_token_id": -3}), "eos_token_id"),
        ] {
            let text = read(value).unwrap_err().to_string();
            assert!(
                text.contains(&format!("generation_config.json: `{key}`")),
                "{text}"
            );
        }
    }
}
