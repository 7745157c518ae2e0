//! Prompts to token ids.

use std::path::{Path, PathBuf};

use vtb_nn::checkpoint::read_bounded;

use crate::DiffusionError;

/// Vocabulary and rules, as transformers saves them.
pub const TOKENIZER: &str = "tokenizer.json";
/// Ends every text.
pub const EOS: &str = "</s>";

/// The most bytes read of a `tokenizer.json`; the published one has 17 MB.
const LIMIT: u64 = 256 << 20;

/// The tokenizer of a T5: pieces with probabilities, of which the likeliest sequence is taken.
#[derive(Debug, Clone)]
pub struct T5Tokenizer {
    inner: tokenizers::Tokenizer,
    path: PathBuf,
    eos: u32,
    size: usize,
}

impl T5Tokenizer {
    /// Reads the `tokenizer.json` of a folder. Truncation and padding that the file may carry are not used.
    ///
    /// # Errors
    /// The file is missing or damaged, or has no `</s>`.
    pub fn load(dir: impl AsRef<Path>) -> Result<Self, DiffusionError> {
        let path = dir.as_ref().join(TOKENIZER);
        let bytes = read_bounded(&path, LIMIT)?;
        let fail = |message: String| DiffusionError::file(&path, message.replace('\n', " "));
        let mut inner = tokenizers::Tokenizer::from_bytes(&bytes)
            .map_err(|e| fail(format!("cannot be read as a tokenizer: {e}")))?;
        inner
            .with_truncation(None)
            .map_err(|e| fail(e.to_string()))?;
        inner.with_padding(None);
        let eos = inner
            .token_to_id(EOS)
            .ok_or_else(|| fail(format!("has no token {EOS}; is it the tokenizer of a T5?")))?;
        let last = inner.get_vocab(true).into_values().max();
        Ok(Self {
            inner,
            path,
            eos,
            size: last.map_or(0, |id| id as usize + 1),
        })
    }

    /// Ids of a text and its end, at most `limit` of them: a longer text loses its last ids, never its end. Special tokens
    /// spelled in the text are recognised. There is no padding.
    ///
    /// # Errors
    /// The rules of the file do not apply to the text.
    pub fn encode(&self, text: &str, limit: usize) -> Result<Vec<u32>, DiffusionError> {
        let encoding = self
            .inner
            .encode_fast(text, false)
            .map_err(|e| DiffusionError::file(&self.path, e.to_string().replace('\n', " ")))?;
        let kept = encoding.get_ids().iter().take(limit.saturating_sub(1));
        Ok(kept.copied().chain([self.eos]).collect())
    }

    /// One more than the largest id.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The file it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn broken_files_are_errors_that_name_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let error = T5Tokenizer::load(dir.path()).unwrap_err().to_string();
        assert!(error.contains(TOKENIZER), "{error}");
        let plain = r#"{"version": "1.0", "added_tokens": [], "model":
            {"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]}}"#;
        let wrong_unknown = plain.replace("\"unk_id\": 0", "\"unk_id\": 7");
        for text in [
            "",
            "{}",
            "[1, 2",
            plain,
            &wrong_unknown,
            &"[".repeat(50_000),
        ] {
            std::fs::write(dir.path().join(TOKENIZER), text).unwrap();
            let error = T5Tokenizer::load(dir.path()).unwrap_err().to_string();
            assert!(
                error.contains(TOKENIZER) && !error.contains('\n'),
                "{error}"
            );
        }
    }
}
