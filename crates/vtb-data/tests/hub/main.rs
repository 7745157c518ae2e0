//! Hub access against a server on loopback: what works, and every way in which servers, networks and caches fail.

#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test")]

mod cut;
mod hostile;
#[path = "../common/hub_server.rs"]
mod hub_server;
mod python;
mod refused;
mod works;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vtb_data::hub::{Hub, HubError, HubSettings, Kind, Repo, Unwatched};

use hub_server::{HubServer, Repository};

const SMALL: &str = r#"{"model_type": "tiny"}"#;

/// 300 kB that no compression or repetition makes equal anywhere.
fn weights() -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..300_000).map(|_| next()).collect()
}

fn model() -> Repository {
    Repository::new("models", "org/tiny")
        .small("config.json", SMALL)
        .small("tokenizer.json", "{}")
        .small("README.md", "# not wanted")
        .small("run.py", "print()")
        .large("model.safetensors", weights())
        .large("consolidated.safetensors", b"twice".to_vec())
        .large("onnx/model.onnx", b"other".to_vec())
}

fn settings(cache: &Path, url: &str) -> HubSettings {
    HubSettings {
        cache: cache.to_owned(),
        endpoint: url.to_owned(),
        token: None,
        offline: false,
        timeout: Duration::from_secs(20),
        backoff: Duration::from_millis(1),
        http_proxy: None,
        https_proxy: None,
        no_proxy: Vec::new(),
        authorities: None,
    }
}

fn fetch_with(settings: HubSettings, kind: Kind, name: &str) -> Result<PathBuf, HubError> {
    let hub = Hub::new(settings)?;
    let found = hub.look(&Repo::parse(kind, name)?, &Unwatched)?;
    hub.fetch(&found, &Unwatched)
}

fn fetch(cache: &Path, server: &HubServer, name: &str) -> Result<PathBuf, HubError> {
    fetch_with(settings(cache, &server.url), Kind::Model, name)
}

/// All files below a folder, with their sizes.
fn files(dir: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let size = path.symlink_metadata().unwrap().len();
                found.push((path.strip_prefix(dir).unwrap().display().to_string(), size));
            }
        }
    }
    found.sort();
    found
}

/// Nothing in the cache may look whole that is not.
#[track_caller]
fn nothing_looks_whole(cache: &Path) {
    for (name, _) in files(cache) {
        assert!(
            !name.contains("/snapshots/") && !name.contains("/refs/"),
            "{name}"
        );
        let blob = name.contains("/blobs/") && !name.ends_with(".incomplete");
        assert!(!blob || !name.contains(&etag()), "{name}");
    }
}

fn etag() -> String {
    model().files["model.safetensors"].etag()
}
