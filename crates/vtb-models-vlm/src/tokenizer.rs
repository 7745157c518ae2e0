//! Text to token ids and back.

use std::path::Path;

use crate::VlmError;
use crate::config::VlmConfig;
use crate::files::{self, ModelDir};

/// Ends a turn; the model's stop token.
pub const IM_END: &str = "<|im_end|>";
/// Ends a text; also the padding token.
pub const END_OF_TEXT: &str = "<|endoftext|>";
/// Placeholder of a picture.
pub const IMAGE_PAD: &str = "<|image_pad|>";

/// A byte-level BPE tokenizer with the added tokens of its checkpoint.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    origin: String,
    size: usize,
    im_end: u32,
    end_of_text: u32,
}

impl Tokenizer {
    /// Reads the `tokenizer.json` of a model directory.
    pub fn from_dir(dir: &ModelDir) -> Result<Self, VlmError> {
        Self::from_file(&dir.require("tokenizer", &[files::TOKENIZER])?)
    }

    /// Reads a `tokenizer.json`. Truncation and padding that the file may carry are removed: they would cut
    /// prompts through a picture without a word.
    pub fn from_file(path: &Path) -> Result<Self, VlmError> {
        let bytes = files::read_bytes(path, files::TOKENIZER_LIMIT)?;
        let origin = path.display().to_string();
        let fail = |message: String| VlmError::Tokenizer {
            origin: origin.clone(),
            message,
        };
        let mut inner = tokenizers::Tokenizer::from_bytes(&bytes)
            .map_err(|e| fail(format!("cannot be read: {e}").replace('\n', " ")))?;
        inner
            .with_truncation(None)
            .map_err(|e| fail(e.to_string()))?;
        inner.with_padding(None);
        let id = |token: &str| {
            inner.token_to_id(token).ok_or_else(|| {
                fail(format!(
                    "has no token {token}; is it the tokenizer of a Qwen model?"
                ))
            })
        };
        let (im_end, end_of_text) = (id(IM_END)?, id(END_OF_TEXT)?);
        let size = inner
            .get_vocab(true)
            .into_values()
            .max()
            .map_or(0, |id| id as usize + 1);
        Ok(Self {
            inner,
            origin,
            size,
            im_end,
            end_of_text,
        })
    }

    /// Ids of a text. Special tokens spelled in it are recognised; none are added.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, VlmError> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|e| self.fail(&e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Text of ids; ids without a token are left out. With `skip_special`, so are special tokens (`<think>` and
    /// the tool tokens are not special and stay).
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, VlmError> {
        self.inner
            .decode(ids, skip_special)
            .map_err(|e| self.fail(&e))
    }

    /// The id of a token, if there is one of this spelling.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The spelling of an id, if it has one.
    pub fn token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// One more than the largest id.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Id of `<|im_end|>`, which ends a turn.
    pub fn im_end(&self) -> u32 {
        self.im_end
    }

    /// Id of `<|endoftext|>`, which pads.
    pub fn end_of_text(&self) -> u32 {
        self.end_of_text
    }

    /// The ids a completion ends with where no `generation_config.json` names others.
    pub fn stop_ids(&self) -> Vec<u32> {
        vec![self.im_end, self.end_of_text]
    }

    /// Checks that tokenizer and model belong together.
    ///
    /// # Errors
    /// The tokenizer has ids the embedding lacks, or another id for the picture placeholder.
    pub fn check<V>(&self, config: &VlmConfig<V>) -> Result<(), VlmError> {
        let fail = |message| {
            Err(VlmError::Tokenizer {
                origin: self.origin.clone(),
                message,
            })
        };
        if self.size > config.text.vocab_size {
            return fail(format!(
                "has {} ids, the model's vocab_size is {}; the files do not belong together",
                self.size, config.text.vocab_size
            ));
        }
        match self.token_id(IMAGE_PAD) {
            Some(id) if id == config.ids.image => Ok(()),
            found => fail(format!(
                "has id {found:?} for {IMAGE_PAD}, config.json says {}; the files do not belong together",
                config.ids.image
            )),
        }
    }

    fn fail(&self, error: &tokenizers::Error) -> VlmError {
        VlmError::Tokenizer {
            origin: self.origin.clone(),
            message: error.to_string().replace('\n', " "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_files_are_errors_that_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        let plain = r#"{"version": "1.0", "added_tokens": [], "model":
            {"type": "BPE", "vocab": {"a": 0}, "merges": []}}"#;
        let unknown_merge = plain.replace("\"merges\": []", "\"merges\": [[\"x\", \"y\"]]");
        for text in [
            "",
            "{}",
            "[1, 2",
            plain,
            &unknown_merge,
            &"{\"a\":".repeat(50_000),
        ] {
            std::fs::write(&path, text).unwrap();
            let error = Tokenizer::from_file(&path).unwrap_err().to_string();
            assert!(error.contains("tokenizer.json: tokenizer: "), "{error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
