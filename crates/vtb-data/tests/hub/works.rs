//! What works: models, data sets, look-ups, the cache, proxies.

use std::fs;
use std::path::Path;
use std::time::Duration;

use vtb_data::hub::{Hub, HubError, HubSettings, Kind, Repo, Unwatched};

use crate::hub_server::{Answer, COMMIT, HubServer, Repository};
use crate::{SMALL, etag, fetch, fetch_with, files, model, settings, weights};

#[test]
fn a_model_is_fetched_into_the_standard_layout() {
    let cache = tempfile::tempdir().unwrap();
    let server = HubServer::of(model());
    let dir = fetch(cache.path(), &server, "org/tiny").unwrap();
    let root = cache.path().join("models--org--tiny");
    assert_eq!(dir, root.join("snapshots").join(COMMIT));
    let names: Vec<String> = files(&dir).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["config.json", "model.safetensors", "tokenizer.json"]
    );
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    assert_eq!(fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    let link = fs::read_link(dir.join("model.safetensors")).unwrap();
    assert_eq!(link, Path::new("../../blobs").join(etag()));
    let left = files(&root)
        .into_iter()
        .filter(|(name, _)| name.contains("incomplete") || name.contains("tmp"));
    assert_eq!(left.count(), 0);

    // Again: looked up, not fetched.
    let before = server.asked("/resolve/");
    assert_eq!(before, 3);
    assert_eq!(fetch(cache.path(), &server, "org/tiny@main").unwrap(), dir);
    let own = settings(cache.path(), &server.url);
    assert_eq!(fetch_with(own, Kind::AnyModel, "org/tiny").unwrap(), dir);
    assert_eq!(server.asked("/resolve/"), before);
    // At its commit, the revision needs no look-up.
    let asked = server.asked("/revision/");
    assert_eq!(
        fetch(cache.path(), &server, &format!("org/tiny@{COMMIT}")).unwrap(),
        dir
    );
    assert_eq!(server.asked("/revision/"), asked);
}

#[test]
fn a_pipeline_comes_with_the_folders_of_its_parts() {
    let cache = tempfile::tempdir().unwrap();
    let index = r#"{"metadata": {}, "weight_map": {"w": "diffusion_pytorch_model-00001-of-00001.safetensors"}}"#;
    let repository = Repository::new("models", "org/edit")
        .small("model_index.json", "{}")
        .small("transformer/config.json", SMALL)
        .small(
            "transformer/diffusion_pytorch_model.safetensors.index.json",
            index,
        )
        .large(
            "transformer/diffusion_pytorch_model-00001-of-00001.safetensors",
            weights(),
        )
        .small("tokenizer/merges.txt", "a b")
        .small("README.md", "# not wanted")
        .large("whole.safetensors", b"twice".to_vec())
        .large("assets/more/example.png", b"picture".to_vec());
    let server = HubServer::of(repository);
    let get = |kind| fetch_with(settings(cache.path(), &server.url), kind, "org/edit");
    let dir = get(Kind::Pipeline).unwrap();
    let names: Vec<String> = files(&dir).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "model_index.json",
            "tokenizer/merges.txt",
            "transformer/config.json",
            "transformer/diffusion_pytorch_model-00001-of-00001.safetensors",
            "transformer/diffusion_pytorch_model.safetensors.index.json",
        ]
    );
    let error = get(Kind::Model).unwrap_err().to_string();
    assert!(error.contains("pipeline of several models"), "{error}");
    assert_eq!(get(Kind::AnyModel).unwrap(), dir);

    // Offline it is found whole, and what it lacks is named.
    let offline = || HubSettings {
        offline: true,
        ..settings(cache.path(), &server.url)
    };
    assert_eq!(
        fetch_with(offline(), Kind::Pipeline, "org/edit").unwrap(),
        dir
    );
    let shard = "transformer/diffusion_pytorch_model-00001-of-00001.safetensors";
    fs::remove_file(dir.join(shard)).unwrap();
    for kind in [Kind::Pipeline, Kind::AnyModel] {
        let error = fetch_with(offline(), kind, "org/edit").unwrap_err();
        assert!(error.to_string().contains("00001-of-00001"), "{error}");
    }
}

#[test]
fn a_data_set_comes_with_folders_pages_and_pictures() {
    let cache = tempfile::tempdir().unwrap();
    let mut repository = Repository::new("datasets", "org/rows")
        .large("data/train.jsonl", b"{}\n".to_vec())
        .small("eval.jsonl", "{}\n\n")
        .small("README.md", "no")
        .small("load.py", "no");
    for i in 0..25 {
        repository = repository.large(&format!("data/pictures/a {i}.png"), vec![i; 50]);
    }
    // Equal contents are one blob.
    repository = repository.large("data/pictures/again.png", vec![7; 50]);
    repository.page = 10;
    let server = HubServer::of(repository);
    let of = |name: &str| fetch_with(settings(cache.path(), &server.url), Kind::Dataset, name);
    let dir = of("org/rows").unwrap();
    assert_eq!(files(&dir).len(), 28);
    assert_eq!(
        fs::read(dir.join("data/pictures/a 24.png")).unwrap(),
        vec![24; 50]
    );
    assert_eq!(server.asked("/tree/"), 3);
    assert_eq!(server.asked("/resolve/"), 27);
    assert!(cache.path().join("datasets--org--rows/refs/main").exists());

    // One file of it, with its pictures.
    let other = tempfile::tempdir().unwrap();
    let one = fetch_with(
        settings(other.path(), &server.url),
        Kind::Dataset,
        "org/rows:data/train.jsonl",
    )
    .unwrap();
    assert_eq!(fs::read_to_string(&one).unwrap(), "{}\n");
    let dir = one.ancestors().nth(2).unwrap();
    assert!(!dir.join("eval.jsonl").exists() && dir.join("data/pictures/again.png").exists());
    let text = of("org/rows:data/trian.jsonl").unwrap_err().to_string();
    assert!(text.contains("did you mean data/train.jsonl"), "{text}");
}

#[test]
fn look_says_what_would_be_fetched_and_fetches_nothing() {
    let cache = tempfile::tempdir().unwrap();
    let server = HubServer::of(model());
    let hub = Hub::new(settings(cache.path(), &server.url)).unwrap();
    let repo = Repo::parse(Kind::Model, "org/tiny").unwrap();
    let found = hub.look(&repo, &Unwatched).unwrap();
    assert_eq!(found.commit(), COMMIT);
    assert_eq!(found.repo().to_string(), format!("org/tiny@{COMMIT}"));
    assert_eq!(
        (found.missing_files(), found.files().unwrap().len()),
        (3, 3)
    );
    assert_eq!(found.missing_bytes(), 300_000 + SMALL.len() as u64 + 2);
    let config = hub
        .read(&found, "config.json", 1 << 20, &Unwatched)
        .unwrap();
    assert_eq!(config, SMALL.as_bytes());
    assert!(hub.read(&found, "config.json", 3, &Unwatched).is_err());
    assert_eq!(files(cache.path()), []);
    hub.fetch(&found, &Unwatched).unwrap();
    let again = hub.look(&repo, &Unwatched).unwrap();
    assert_eq!((again.missing_files(), again.missing_bytes()), (0, 0));
}

#[test]
fn offline_the_cache_answers_or_says_what_is_missing() {
    let cache = tempfile::tempdir().unwrap();
    let mut offline = settings(cache.path(), "http://127.0.0.1:1");
    offline.offline = true;
    let of = |name: &str| fetch_with(offline.clone(), Kind::Model, name);
    let text = of("org/tiny").unwrap_err().to_string();
    for part in [
        "org/tiny",
        "no revision `main`",
        "HF_HUB_OFFLINE",
        "models--org--tiny",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let server = HubServer::of(model());
    let dir = fetch(cache.path(), &server, "org/tiny").unwrap();
    assert_eq!(of("org/tiny").unwrap(), dir);
    assert_eq!(of(&format!("org/tiny@{COMMIT}")).unwrap(), dir);
    assert!(of("org/tiny@v1.0").is_err());
    // A hub that cannot be reached is the same, with a warning.
    let gone = fetch_with(
        settings(cache.path(), "http://127.0.0.1:1"),
        Kind::Model,
        "org/tiny",
    );
    assert_eq!(gone.unwrap(), dir);
    // A link to nothing is missing.
    fs::remove_file(cache.path().join("models--org--tiny/blobs").join(etag())).unwrap();
    let text = of("org/tiny").unwrap_err().to_string();
    assert!(text.contains("no model.safetensors"), "{text}");
    // Online, it is fetched again.
    assert_eq!(fetch(cache.path(), &server, "org/tiny").unwrap(), dir);
    assert_eq!(of("org/tiny").unwrap(), dir);
    // A shard that only the index knows.
    fs::write(
        dir.join("model.safetensors.index.json"),
        r#"{"weight_map": {"a": "model-00001-of-00002.safetensors"}}"#,
    )
    .unwrap();
    let text = of("org/tiny").unwrap_err().to_string();
    assert!(
        text.contains("no model-00001-of-00002.safetensors"),
        "{text}"
    );
}

/// Several processes want the same: it is fetched once, and all get it.
#[test]
fn concurrent_downloads_share_the_work() {
    let cache = tempfile::tempdir().unwrap();
    let server = HubServer::with(model(), |_, _, mut answer| {
        answer.drip = Some((16 << 10, Duration::from_millis(2)));
        answer
    });
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| fetch(cache.path(), &server, "org/tiny").unwrap()))
            .collect();
        for one in all {
            let dir = one.join().unwrap();
            assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
        }
    });
    assert_eq!(server.asked("/model.safetensors"), 1);
}

#[test]
fn a_proxy_is_used_unless_the_host_is_excepted() {
    let cache = tempfile::tempdir().unwrap();
    let server = HubServer::of(model());
    let proxy = HubServer::start(|_, _| Answer::status(502));
    let lookup = |name: &str| {
        let value = match name {
            "HTTP_PROXY" => &proxy.url,
            "HF_ENDPOINT" => &server.url,
            "HF_HUB_CACHE" => return Some(cache.path().into()),
            _ => return None,
        };
        Some(value.into())
    };
    let mut through = HubSettings::from_lookup(&lookup).unwrap();
    through.backoff = Duration::from_millis(1);
    let fault = fetch_with(through.clone(), Kind::Model, "org/tiny").unwrap_err();
    assert!(matches!(fault, HubError::Unreachable { .. }), "{fault}");
    assert!(proxy.requests().iter().all(|r| r.method == "CONNECT") && !proxy.requests().is_empty());
    assert!(server.requests().is_empty());
    through.no_proxy = vec!["127.0.0.1".into()];
    fetch_with(through, Kind::Model, "org/tiny").unwrap();
}
