//! Which file of a folder holds the rows.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::ending::Usage;

/// Names of supervised rows, the first that exists is taken.
pub const SFT_ROWS: [&str; 2] = ["train_sft.jsonl", "train.jsonl"];
/// Names of rows for reinforcement learning.
pub const GRPO_ROWS: [&str; 2] = ["train_grpo.jsonl", "train.jsonl"];
/// Names of held-out rows.
pub const EVAL_ROWS: [&str; 5] = [
    "eval_grpo.jsonl",
    "eval.jsonl",
    "validation.jsonl",
    "test.jsonl",
    "eval_sft.jsonl",
];

/// Names of rows of pictures to draw.
pub const IMAGE_ROWS: [&str; 4] = [
    "metadata.json",
    "metadata.jsonl",
    "metadata.csv",
    "train.json",
];
/// Names of held-out ones.
pub const IMAGE_EVAL_ROWS: [&str; 3] = ["eval.json", "validation.json", "test.json"];

/// Names of rows of clips to draw.
pub const VIDEO_ROWS: [&str; 4] = [
    "train_video.csv",
    "metadata.csv",
    "metadata.json",
    "metadata.jsonl",
];
/// Names of held-out ones.
pub const VIDEO_EVAL_ROWS: [&str; 4] = ["eval.csv", "validation.csv", "test.csv", "eval.json"];

/// The file of rows that `path` is, or that the folder holds: by name, also in its folder `data`, or the only one.
///
/// # Errors
/// [`Usage`] where it is not clear which, naming those there are.
pub fn rows_file(path: &Path, names: &[&str]) -> anyhow::Result<PathBuf> {
    if !path.is_dir() {
        return Ok(path.to_owned());
    }
    let folders = [path.to_owned(), path.join("data")];
    let by_name = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|file| file.is_file());
    if let Some(file) = by_name {
        return Ok(file);
    }
    let kinds: BTreeSet<&str> = names.iter().filter_map(|n| n.rsplit('.').next()).collect();
    let mut found = Vec::new();
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        let entries = folder
            .read_dir()
            .with_context(|| format!("cannot list {}", folder.display()))?;
        for entry in entries {
            let file = entry?.path();
            let kind = file.extension().and_then(|e| e.to_str());
            if kind.is_some_and(|kind| kinds.contains(kind)) && file.is_file() {
                found.push(file);
            }
        }
    }
    found.sort();
    if let [only] = found.as_slice() {
        return Ok(only.clone());
    }
    let shown = |file: &PathBuf| {
        file.strip_prefix(path)
            .unwrap_or(file)
            .display()
            .to_string()
    };
    let listed: Vec<String> = found.iter().take(10).map(shown).collect();
    let there = match listed.is_empty() {
        true => {
            let kinds: Vec<&str> = kinds.into_iter().collect();
            format!("holds no .{} file", kinds.join(" or ."))
        }
        false => format!("holds {}", listed.join(", ")),
    };
    Err(Usage(format!(
        "{}: which file has the rows? The folder {there}, and none is named {}; name the file (on the hub: \
         org/name:FILE)",
        path.display(),
        names.join(" or ")
    ))
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_found_by_name_or_alone() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str| {
            let file = dir.path().join(name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            file
        };
        let fault = rows_file(dir.path(), &SFT_ROWS).unwrap_err();
        assert!(
            fault.is::<Usage>() && fault.to_string().contains("holds no .jsonl"),
            "{fault}"
        );
        let only = put("data/rows.jsonl");
        assert_eq!(rows_file(dir.path(), &SFT_ROWS).unwrap(), only);
        assert_eq!(rows_file(&only, &SFT_ROWS).unwrap(), only);
        put("other.jsonl");
        let fault = rows_file(dir.path(), &SFT_ROWS).unwrap_err().to_string();
        assert!(fault.contains("data/rows.jsonl, other.jsonl"), "{fault}");
        let plain = put("data/train.jsonl");
        assert_eq!(rows_file(dir.path(), &SFT_ROWS).unwrap(), plain);
        let named = put("train_sft.jsonl");
        assert_eq!(rows_file(dir.path(), &SFT_ROWS).unwrap(), named);
        assert_eq!(rows_file(dir.path(), &GRPO_ROWS).unwrap(), plain);
    }
}
