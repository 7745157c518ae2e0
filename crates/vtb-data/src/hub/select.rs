//! Which files of a repository are fetched, and whether a folder holds what its kind needs.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::Value;

use super::error::{HubError, Result, nearest, printable};
use super::listing::RemoteFile;
use super::name::{Kind, Repo, check_path};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const PIPELINE: &str = "model_index.json";
const ADAPTER: [&str; 2] = ["adapter_config.json", "adapter_model.safetensors"];
/// Largest index of shards that is read.
const INDEX_LIMIT: u64 = 64 << 20;

/// Ends of the names of tables and lists of rows.
const TABLES: [&str; 6] = ["parquet", "jsonl", "json", "csv", "tsv", "arrow"];
/// Ends of the names of pictures and clips.
const MEDIA: [&str; 8] = ["png", "jpg", "jpeg", "webp", "bmp", "gif", "mp4", "y4m"];

/// The files to fetch.
///
/// # Errors
/// [`HubError::Unusable`] when the repository lacks what the kind needs, saying what it is instead.
pub(super) fn wanted(repo: &Repo, files: Vec<RemoteFile>) -> Result<Vec<RemoteFile>> {
    if let Some(named) = repo.file()
        && !files.iter().any(|f| f.path == named)
    {
        let hint = nearest(named, files.iter().map(|f| f.path.as_str()));
        let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        return Err(unusable(repo, format!("holds no file `{named}`{hint}")));
    }
    let names: BTreeSet<&str> = files.iter().map(|f| f.path.as_str()).collect();
    let keep: Box<dyn Fn(&str) -> bool> = match layout(repo, names.contains(PIPELINE)) {
        Kind::Model | Kind::AnyModel => {
            check_model(repo, &names)?;
            // `consolidated.safetensors` and the like hold the same weights once more.
            let usual = names
                .iter()
                .any(|n| top(n) && n.starts_with("model") && ends(n, &["safetensors"]));
            Box::new(move |name| {
                let weights = ends(name, &["safetensors"]) && (!usual || name.starts_with("model"));
                top(name) && (weights || ends(name, &["json", "jinja", "txt", "model"]))
            })
        }
        Kind::Pipeline => {
            check_pipeline(repo, &names)?;
            Box::new(|name| {
                let part = name.matches('/').count() == 1;
                let texts = ends(name, &["json", "jinja", "txt", "model"]);
                name == PIPELINE || (part && (texts || ends(name, &["safetensors"])))
            })
        }
        Kind::Adapter => {
            check_adapter(repo, &names)?;
            Box::new(|name| ADAPTER.contains(&name))
        }
        Kind::Dataset => {
            let named = repo.file().map(str::to_owned);
            Box::new(move |name| match &named {
                Some(named) => name == named || ends(name, &MEDIA),
                None => ends(name, &TABLES) || ends(name, &MEDIA),
            })
        }
    };
    let kept: Vec<RemoteFile> = files.iter().filter(|f| keep(&f.path)).cloned().collect();
    if kept.is_empty() {
        let reason = format!(
            "holds none of the files of a data set ({}, pictures, clips)",
            TABLES.join(", ")
        );
        return Err(unusable(repo, reason));
    }
    Ok(kept)
}

/// The kind, with the layout of a model that may have either.
fn layout(repo: &Repo, is_pipeline: bool) -> Kind {
    match repo.kind() {
        Kind::AnyModel if is_pipeline => Kind::Pipeline,
        Kind::AnyModel => Kind::Model,
        kind => kind,
    }
}

fn check_model(repo: &Repo, names: &BTreeSet<&str>) -> Result<()> {
    let has_weights = names.iter().any(|n| top(n) && ends(n, &["safetensors"]));
    let pickled = names
        .iter()
        .any(|n| top(n) && ends(n, &["bin", "pt", "pth"]));
    let reason = match (names.contains(CONFIG), has_weights) {
        (true, true) => return Ok(()),
        (false, _) if names.contains(ADAPTER[0]) => {
            "is an adapter; give it as --adapter, and its base as --model"
        }
        (false, _) if names.contains(PIPELINE) => {
            "is a pipeline of several models (model_index.json), not one model"
        }
        (false, _) => "holds no config.json; is it a model?",
        (true, false) if pickled => {
            "holds pickled weights only, which can run code when read and are not accepted; look for a revision with \
             .safetensors, or convert it in transformers (save_pretrained)"
        }
        (true, false) => "holds no .safetensors file",
    };
    Err(unusable(repo, reason))
}

fn check_pipeline(repo: &Repo, names: &BTreeSet<&str>) -> Result<()> {
    let weights = |n: &&str| !top(n) && ends(n, &["safetensors"]);
    let reason = match (names.contains(PIPELINE), names.iter().any(weights)) {
        (true, true) => return Ok(()),
        (true, false) => "holds no .safetensors file in the folders of its parts",
        (false, _) if names.contains(ADAPTER[0]) => {
            "is an adapter; give it as --adapter, and its base as --model"
        }
        (false, _) => "holds no model_index.json; a model in the diffusers layout is needed",
    };
    Err(unusable(repo, reason))
}

fn check_adapter(repo: &Repo, names: &BTreeSet<&str>) -> Result<()> {
    let missing = ADAPTER.iter().find(|name| !names.contains(**name));
    let Some(missing) = missing else {
        return Ok(());
    };
    let reason = if names.contains("adapter_model.bin") {
        "holds a pickled adapter_model.bin, which can run code when read and is not accepted; load it in peft and save \
         it again"
            .to_owned()
    } else if names.contains(CONFIG) {
        format!("holds no {missing}; it is a model: give it as --model")
    } else {
        format!("holds no {missing}; is it a PEFT adapter?")
    };
    Err(unusable(repo, reason))
}

fn unusable(repo: &Repo, reason: impl Into<String>) -> HubError {
    HubError::Unusable {
        repo: repo.to_string(),
        reason: reason.into(),
    }
}

fn top(name: &str) -> bool {
    !name.contains('/')
}

fn ends(name: &str, extensions: &[&str]) -> bool {
    let extension = name.rsplit_once('.').map(|(_, e)| e.to_ascii_lowercase());
    extension.is_some_and(|e| extensions.contains(&e.as_str()))
}

/// What a folder lacks of what the kind needs: names, or a sentence. Empty when it can be used.
pub(super) fn missing(repo: &Repo, dir: &Path) -> Vec<String> {
    let there = |name: &str| dir.join(name).is_file();
    let lacks = |names: &[&str]| -> Vec<String> {
        let lacking = names.iter().filter(|name| !there(name));
        lacking.map(|name| format!("no {name}")).collect()
    };
    if !dir.is_dir() {
        return vec!["nothing of this revision".to_owned()];
    }
    match layout(repo, there(PIPELINE)) {
        Kind::Model | Kind::AnyModel if there(INDEX) => {
            let mut found = lacks(&[CONFIG]);
            match shards(&dir.join(INDEX)) {
                Ok(shards) => found.extend(lacks(
                    &shards.iter().map(String::as_str).collect::<Vec<_>>(),
                )),
                Err(reason) => found.push(format!("{INDEX} {reason}")),
            }
            found
        }
        Kind::Model | Kind::AnyModel => lacks(&[CONFIG, WEIGHTS]),
        Kind::Pipeline => {
            let mut found = lacks(&[PIPELINE]);
            found.extend(missing_parts(dir));
            found
        }
        Kind::Adapter => lacks(&ADAPTER),
        Kind::Dataset => match repo.file() {
            Some(file) => lacks(&[file]),
            None => {
                let mut entries = dir.read_dir().into_iter().flatten();
                match entries.next() {
                    Some(_) => Vec::new(),
                    None => vec!["an empty folder".to_owned()],
                }
            }
        },
    }
}

/// Shards that the parts of a pipeline name and lack.
fn missing_parts(dir: &Path) -> Vec<String> {
    let mut lacking = Vec::new();
    for part in dir.read_dir().into_iter().flatten().flatten() {
        let part = part.path();
        for file in part.read_dir().into_iter().flatten().flatten() {
            let name = file.file_name();
            if !name.to_string_lossy().ends_with(".safetensors.index.json") {
                continue;
            }
            let shown = file.path().display().to_string();
            match shards(&file.path()) {
                Ok(shards) => lacking.extend(
                    shards
                        .into_iter()
                        .filter(|shard| !part.join(shard).is_file())
                        .map(|shard| format!("no {shard} of {shown}")),
                ),
                Err(reason) => lacking.push(format!("{shown} {reason}")),
            }
        }
    }
    lacking.sort();
    lacking
}

/// The files that an index of shards names.
fn shards(index: &Path) -> std::result::Result<BTreeSet<String>, String> {
    let mut text = Vec::new();
    let file = File::open(index).map_err(|e| format!("cannot be read: {e}"))?;
    let read = file.take(INDEX_LIMIT + 1).read_to_end(&mut text);
    read.map_err(|e| format!("cannot be read: {e}"))?;
    if text.len() as u64 > INDEX_LIMIT {
        return Err("is too large".to_owned());
    }
    let json: Value = serde_json::from_slice(&text).map_err(|e| format!("is not JSON: {e}"))?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or("has no `weight_map`")?;
    let mut shards = BTreeSet::new();
    for name in map.values() {
        let name = name.as_str().ok_or("names a shard that is no text")?;
        check_path(name)
            .map_err(|reason| format!("names a shard `{}`: {reason}", printable(name)))?;
        shards.insert(name.to_owned());
    }
    Ok(shards)
}
