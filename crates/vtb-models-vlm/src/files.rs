//! Which files a model directory holds, and reading them with a bound on their size.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::VlmError;

/// Model configuration.
pub const CONFIG: &str = "config.json";
/// Sampling defaults.
pub const GENERATION_CONFIG: &str = "generation_config.json";
/// Picture settings, the published form.
pub const PREPROCESSOR_CONFIG: &str = "preprocessor_config.json";
/// Picture and video settings in one file, the form newer saves use.
pub const PROCESSOR_CONFIG: &str = "processor_config.json";
/// Video settings.
pub const VIDEO_PREPROCESSOR_CONFIG: &str = "video_preprocessor_config.json";
/// Tokenizer model, pre-tokenizer and added tokens.
pub const TOKENIZER: &str = "tokenizer.json";
/// Tokenizer class and special tokens, at times the chat template.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// Chat template as plain text.
pub const CHAT_TEMPLATE_JINJA: &str = "chat_template.jinja";
/// Chat template inside JSON.
pub const CHAT_TEMPLATE_JSON: &str = "chat_template.json";
/// Weights of small models.
pub const WEIGHTS: &str = "model.safetensors";
/// Table of weight shards of large models.
pub const WEIGHTS_INDEX: &str = "model.safetensors.index.json";

/// The most bytes read of a configuration or template.
pub(crate) const CONFIG_LIMIT: u64 = 4 << 20;
/// The most bytes read of a `tokenizer.json` (the published one has 11 MB).
pub(crate) const TOKENIZER_LIMIT: u64 = 256 << 20;

/// A local model directory.
#[derive(Debug, Clone)]
pub struct ModelDir {
    root: PathBuf,
}

impl ModelDir {
    /// Opens a directory. A path that is no directory is an error that says what is expected.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, VlmError> {
        let root = root.into();
        if root.is_dir() {
            return Ok(Self { root });
        }
        let what = if root.exists() {
            "is not a directory"
        } else {
            "does not exist"
        };
        let message = format!("{what}; expected a model directory with {CONFIG}");
        Err(VlmError::file(root, message))
    }

    /// The directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Path of a file of the directory, whether it exists or not.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The first of `names` that exists.
    pub fn find(&self, names: &[&str]) -> Option<PathBuf> {
        names
            .iter()
            .map(|name| self.path(name))
            .find(|path| path.is_file())
    }

    /// The first of `names` that exists, or an error that lists them.
    pub fn require(&self, what: &'static str, names: &[&str]) -> Result<PathBuf, VlmError> {
        self.find(names).ok_or_else(|| VlmError::MissingFile {
            dir: self.root.clone(),
            what,
            looked: names.join(", "),
        })
    }
}

/// Reads a whole file of at most `limit` bytes. The bound holds for what is read, not for what the file
/// system claims, so a pipe or a growing file cannot exceed it.
pub(crate) fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, VlmError> {
    let file = File::open(path).map_err(|e| VlmError::io(path, e))?;
    let length = file.metadata().map_err(|e| VlmError::io(path, e))?.len();
    let mut bytes = Vec::new();
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| VlmError::io(path, e))?;
    if bytes.len() as u64 > limit {
        return Err(VlmError::TooLarge {
            path: path.to_path_buf(),
            bytes: length.max(bytes.len() as u64),
            limit,
        });
    }
    Ok(bytes)
}

/// Reads a bounded UTF-8 file.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, VlmError> {
    String::from_utf8(read_bytes(path, limit)?)
        .map_err(|_| VlmError::file(path, "is not UTF-8 text"))
}

/// Reads a bounded JSON file.
pub(crate) fn read_json(path: &Path, limit: u64) -> Result<Value, VlmError> {
    serde_json::from_slice(&read_bytes(path, limit)?)
        .map_err(|e| VlmError::file(path, format!("is not valid JSON: {e}")))
}

/// Writes `value` as indented JSON with a final newline.
pub(crate) fn write_json(path: &Path, value: &Value) -> Result<(), VlmError> {
    write_text(path, &format!("{value:#}\n"))
}

/// Writes a text file.
pub(crate) fn write_text(path: &Path, text: &str) -> Result<(), VlmError> {
    std::fs::write(path, text).map_err(|e| VlmError::io(path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_and_names_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        std::fs::write(&path, b"0123456789").unwrap();
        assert_eq!(read_bytes(&path, 10).unwrap().len(), 10);
        let text = read_bytes(&path, 9).unwrap_err().to_string();
        assert!(text.contains("config.json has 10 bytes"), "{text}");
    }

    #[test]
    fn hostile_json_is_an_error_not_a_crash() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        let deep = "[".repeat(100_000);
        for bad in [
            deep.as_str(),
            "{\"a\": 1e400}",
            "",
            "{\"a\"",
            "\u{0}",
            "{} {}",
        ] {
            std::fs::write(&path, bad).unwrap();
            let text = read_json(&path, CONFIG_LIMIT).unwrap_err().to_string();
            assert!(text.contains("config.json: is not valid JSON"), "{text}");
        }
    }

    #[test]
    fn missing_files_list_what_was_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        let model = ModelDir::open(dir.path()).unwrap();
        let error = model
            .require("chat template", &["a.jinja", "b.json"])
            .unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("holds no chat template; looked for a.jinja, b.json")
        );
        let error = ModelDir::open(dir.path().join("nowhere"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("nowhere: does not exist"), "{error}");
    }
}
