//! Tiny Wan2.2-TI2V models with the files of real ones.

use std::fs;
use std::path::Path;

use super::{umt5, wan_transformer, wan_vae};
use crate::DiffusionError;
use crate::scheduler::UniPcConfig;
use crate::wan::text::Umt5Config;
use crate::wan::{WanConfig, write_index};

/// Sizes of a tiny model.
#[derive(Debug, Clone, PartialEq)]
pub struct TinyVideoSpec {
    /// Sizes of the transformer; its `text_dim` is the width of the text encoder, its channels are 32.
    pub transformer: WanConfig,
    /// Sizes of the text encoder; its vocabulary is that of the tokenizer.
    pub text: Umt5Config,
    /// Pieces of the tokenizer.
    pub vocab: usize,
}

impl Default for TinyVideoSpec {
    /// A transformer of about 5 million parameters, as wide as twice the values of a token; a text encoder of 0.1 million.
    fn default() -> Self {
        let text = Umt5Config {
            vocab_size: 512,
            d_model: 64,
            d_kv: 32,
            d_ff: 128,
            num_heads: 2,
            num_layers: 2,
            ..Umt5Config::published()
        };
        Self {
            transformer: WanConfig {
                num_layers: 4,
                attention_head_dim: 32,
                num_attention_heads: 8,
                in_channels: wan_vae::CHANNELS,
                out_channels: wan_vae::CHANNELS,
                ffn_dim: 1024,
                text_dim: text.d_model,
                text_len: 64,
                ..WanConfig::published()
            },
            vocab: text.vocab_size,
            text,
        }
    }
}

impl TinyVideoSpec {
    /// Writes a whole model directory in the diffusers layout into `dir`, which is made if it is not there. The same corpus
    /// and seed give the same bytes. `corpus` holds texts whose words the tokenizer knows.
    ///
    /// # Errors
    /// Sizes do not go together, or a file cannot be written.
    pub fn write(&self, dir: &Path, corpus: &[String], seed: u64) -> Result<(), DiffusionError> {
        self.check()?;
        let folder = |name: &str| {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(|e| DiffusionError::io(&path, e))?;
            Ok::<_, DiffusionError>(path)
        };
        wan_transformer::write(&folder("transformer")?, &self.transformer, seed)?;
        wan_vae::write(&folder("vae")?)?;
        UniPcConfig::default().write(&folder("scheduler")?)?;
        umt5::write(
            &folder("text_encoder")?,
            &folder("tokenizer")?,
            &self.text,
            corpus,
            self.vocab,
            seed,
        )?;
        write_index(dir)
    }

    fn check(&self) -> Result<(), DiffusionError> {
        self.transformer.validate()?;
        if self.transformer.text_dim != self.text.d_model {
            return Err(DiffusionError::input(format!(
                "`text_dim` of the transformer is {}, the text encoder is {} wide",
                self.transformer.text_dim, self.text.d_model
            )));
        }
        if self.transformer.in_channels != wan_vae::CHANNELS {
            return Err(DiffusionError::input(format!(
                "`in_channels` of the transformer is {}, the autoencoder has {}",
                self.transformer.in_channels,
                wan_vae::CHANNELS
            )));
        }
        Ok(())
    }
}
