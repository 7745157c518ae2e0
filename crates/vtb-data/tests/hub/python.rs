//! Python's `huggingface_hub` beside ours.

use std::fs;
use std::path::Path;

use serde_json::json;
use vtb_data::hub::Kind;

use crate::hub_server::{HubServer, Repository};
use crate::{etag, fetch, fetch_with, model, settings, weights};

/// Runs `tests/interop/hub_cache.py`; `None`, with a message, where Python or the package is missing.
fn python(endpoint: &str, args: &[&str]) -> Option<serde_json::Value> {
    let program = std::env::var("VTB_PYTHON").unwrap_or_else(|_| "python3".into());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/interop/hub_cache.py");
    let mut command = std::process::Command::new(&program);
    command.arg(script).args(args).env("HF_ENDPOINT", endpoint);
    command.env("NO_PROXY", "*").env_remove("HF_HUB_OFFLINE");
    let Ok(output) = command.output() else {
        eprintln!("skipped: there is no `{program}`; set VTB_PYTHON");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.code() == Some(77) {
        eprintln!("skipped: {text}");
        return None;
    }
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    Some(serde_json::from_str(&text).unwrap())
}

/// Our cache in the hands of `huggingface_hub`, and its cache in ours.
#[test]
fn python_reads_our_cache_and_we_read_its() {
    let ours = tempfile::tempdir().unwrap();
    let rows = || {
        Repository::new("datasets", "org/rows")
            .small("data/train.jsonl", "{}\n")
            .large("data/pictures/a b.png", vec![1; 3000])
    };
    let (models, datasets) = (HubServer::of(model()), HubServer::of(rows()));
    let dir = fetch(ours.path(), &models, "org/tiny").unwrap();
    fetch_with(
        settings(ours.path(), &datasets.url),
        Kind::Dataset,
        "org/rows",
    )
    .unwrap();
    let nowhere = "http://127.0.0.1:1";
    let cache = ours.path().to_str().unwrap();
    let Some(found) = python(nowhere, &["read", cache, "model", "org/tiny"]) else {
        return;
    };
    assert_eq!(found["folder"], dir.to_str().unwrap());
    assert_eq!(found["files"]["model.safetensors"], etag());
    assert_eq!(found["files"].as_object().unwrap().len(), 3);
    assert_eq!(found["warnings"], json!([]));
    assert_eq!(
        found["repos"],
        json!(["dataset org/rows", "model org/tiny"])
    );
    let found = python(nowhere, &["read", cache, "dataset", "org/rows"]).unwrap();
    assert_eq!(
        found["files"]["data/pictures/a b.png"],
        rows().files["data/pictures/a b.png"].etag()
    );

    let theirs = tempfile::tempdir().unwrap();
    let cache = theirs.path().to_str().unwrap();
    for (server, kind, name) in [
        (&models, "model", "org/tiny"),
        (&datasets, "dataset", "org/rows"),
    ] {
        let found = python(&server.url, &["fill", cache, kind, name]).unwrap();
        let wanted = if kind == "model" {
            Kind::Model
        } else {
            Kind::Dataset
        };
        let before = server.asked("/resolve/");
        let mut own = settings(theirs.path(), &server.url);
        // What it fetched is not fetched again, and offline it is enough.
        let online = fetch_with(own.clone(), wanted, name).unwrap();
        assert_eq!(server.asked("/resolve/"), before);
        assert_eq!(found["folder"], online.to_str().unwrap());
        own.offline = true;
        assert_eq!(fetch_with(own, wanted, name).unwrap(), online);
    }
    assert_eq!(
        fs::read(
            theirs
                .path()
                .join(format!("models--org--tiny/blobs/{}", etag()))
        )
        .unwrap(),
        weights()
    );
}
