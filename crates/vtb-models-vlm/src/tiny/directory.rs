//! The files that tiny models of every family have.

use std::path::Path;

use serde_json::Value;

use super::vocab;
use crate::VlmError;
use crate::config::GenerationConfig;
use crate::files;

/// What differs between the directories of two families.
pub(super) struct Directory {
    /// Chat template.
    pub(super) template: &'static str,
    /// Picture settings.
    pub(super) preprocessor: Value,
    /// Video settings, where they have a file of their own.
    pub(super) video_preprocessor: Option<Value>,
    /// Longest sequence.
    pub(super) max_positions: usize,
}

impl Directory {
    /// Writes tokenizer, template, processors and sampling defaults; returns the number of ids before the added tokens.
    pub(super) fn write(
        &self,
        dir: &Path,
        corpus: &[String],
        vocab_size: usize,
    ) -> Result<usize, VlmError> {
        std::fs::create_dir_all(dir).map_err(|e| VlmError::io(dir, e))?;
        let base = vocab::write_tokenizer(dir, corpus, vocab_size, self.max_positions)?;
        files::write_text(&dir.join(files::CHAT_TEMPLATE_JINJA), self.template)?;
        files::write_json(&dir.join(files::PREPROCESSOR_CONFIG), &self.preprocessor)?;
        if let Some(video) = &self.video_preprocessor {
            files::write_json(&dir.join(files::VIDEO_PREPROCESSOR_CONFIG), video)?;
        }
        let [im_end, end_of_text] = vocab::end_ids(base);
        let generation = GenerationConfig {
            eos: vec![im_end, end_of_text],
            pad: Some(end_of_text),
            do_sample: true,
            temperature: 0.7,
            top_k: 20,
            top_p: 0.8,
            ..GenerationConfig::default()
        };
        generation.write(dir)?;
        Ok(base)
    }
}
