//! Hub access against a server on loopback: what works, and every way in which servers, networks and caches fail.

#![cfg(feature = "hub")]
#![allow(clippy::unwrap_used, reason = "a test")]

#[path = "common/hub_server.rs"]
mod hub_server;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hub_server::{Answer, COMMIT, HubServer, Repository, ranged};
use serde_json::json;
use vtb_data::hub::{Hub, HubError, HubSettings, Kind, Repo, Token, Unwatched, Watch};

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

/// Large files lie on another host, which must not see the token.
#[test]
fn the_token_goes_to_the_hub_alone() {
    let cache = tempfile::tempdir().unwrap();
    let bytes = weights();
    let elsewhere = HubServer::start(move |request, _| ranged(&bytes, request));
    let mut repository = model();
    repository.redirect = Some(elsewhere.url.clone());
    let server = HubServer::of(repository);
    let mut with_token = settings(cache.path(), &server.url);
    with_token.token = Some(Token::new("hf_secret", "HF_TOKEN").unwrap());
    let dir = fetch_with(with_token, Kind::Model, "org/tiny").unwrap();
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    let sent: Vec<_> = server
        .requests()
        .iter()
        .map(|r| r.header("authorization").map(str::to_owned))
        .collect();
    assert!(
        sent.len() >= 5
            && sent
                .iter()
                .all(|h| h.as_deref() == Some("Bearer hf_secret")),
        "{sent:?}"
    );
    let passed = elsewhere.requests();
    assert_eq!(passed.len(), 1);
    assert_eq!(passed[0].header("authorization"), None);
    assert!(passed[0].target.ends_with("?signature=secret"));
}

#[test]
fn a_relative_redirect_keeps_the_token_and_an_endless_one_ends() {
    let cache = tempfile::tempdir().unwrap();
    let server = HubServer::with(model(), |request, _, answer| {
        if request.target.contains("/resolve/") && request.target.ends_with("/config.json") {
            let moved = request
                .target
                .replace("/config.json", "/config.json?moved=1");
            return Answer::status(307).header("location", moved);
        }
        match request.target.ends_with("?moved=1") {
            true => Answer::status(200).body(SMALL.into()),
            false => answer,
        }
    });
    let mut with_token = settings(cache.path(), &server.url);
    with_token.token = Some(Token::new("hf_secret", "HF_TOKEN").unwrap());
    fetch_with(with_token, Kind::Model, "org/tiny").unwrap();
    let moved = server
        .requests()
        .into_iter()
        .find(|r| r.target.ends_with("?moved=1"))
        .unwrap();
    assert_eq!(moved.header("authorization"), Some("Bearer hf_secret"));

    let endless = HubServer::start(|request, _| {
        Answer::status(302).header("location", request.target.clone())
    });
    let text = fetch(cache.path(), &endless, "org/tiny")
        .unwrap_err()
        .to_string();
    assert!(text.contains("redirects without end"), "{text}");
    assert_eq!(endless.requests().len(), 11);
}

/// The server drops the socket in the middle, several times: what arrived is not asked for again.
#[test]
fn a_cut_download_goes_on_where_it_was() {
    let cache = tempfile::tempdir().unwrap();
    let server = HubServer::with(model(), |request, _, mut answer| {
        if request.target.ends_with("/model.safetensors") {
            answer.cut = Some(100_000);
        }
        answer
    });
    let dir = fetch(cache.path(), &server, "org/tiny").unwrap();
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    let ranges: Vec<usize> = server
        .requests()
        .iter()
        .filter(|r| r.target.ends_with("/model.safetensors"))
        .map(|r| r.from())
        .collect();
    assert_eq!(ranges, [0, 100_000, 200_000]);
}

/// A server that gives nothing more is given up; what arrived is kept, looks like nothing whole, and is gone on with.
#[test]
fn an_interrupted_download_leaves_a_begin_that_the_next_one_uses() {
    let cache = tempfile::tempdir().unwrap();
    let broken = HubServer::with(model(), |request, _, mut answer| {
        if request.target.ends_with("/model.safetensors") {
            answer.cut = Some(if request.from() == 0 { 120_000 } else { 0 });
        }
        answer
    });
    let fault = fetch(cache.path(), &broken, "org/tiny").unwrap_err();
    assert!(
        matches!(fault, HubError::Unreachable { attempts: 5, .. }),
        "{fault}"
    );
    assert!(
        fault.to_string().contains("the same command goes on"),
        "{fault}"
    );
    nothing_looks_whole(cache.path());
    let partial = cache
        .path()
        .join("models--org--tiny/blobs")
        .join(format!("{}.incomplete", etag()));
    assert_eq!(fs::read(&partial).unwrap(), weights()[..120_000]);

    let server = HubServer::of(model());
    let dir = fetch(cache.path(), &server, "org/tiny").unwrap();
    assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    let request = server
        .requests()
        .into_iter()
        .find(|r| r.target.ends_with("/model.safetensors"))
        .unwrap();
    assert_eq!(request.from(), 120_000);
    assert!(!partial.exists());
}

/// A begin that is damaged, or longer than the file, and a server that knows no ranges.
#[test]
fn a_begin_that_cannot_be_used_is_fetched_again() {
    for (begin, ranges) in [
        (vec![0; 5000], true),
        (vec![0; 400_000], true),
        (weights()[..5000].to_vec(), false),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let blobs = cache.path().join("models--org--tiny/blobs");
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join(format!("{}.incomplete", etag())), &begin).unwrap();
        let server = HubServer::with(model(), move |request, _, answer| {
            match ranges || !request.target.ends_with("/model.safetensors") {
                true => answer,
                false => Answer::status(200).body(weights()),
            }
        });
        let dir = fetch(cache.path(), &server, "org/tiny").unwrap();
        assert_eq!(fs::read(dir.join("model.safetensors")).unwrap(), weights());
    }
}

/// A kill in the middle, as a signal gives it: the watch says stop.
#[test]
fn stopping_keeps_what_arrived() {
    struct StopAfter(u64, AtomicU64);
    impl Watch for StopAfter {
        fn stopped(&self) -> bool {
            self.1.load(Ordering::Relaxed) >= self.0
        }
        fn at(&self, bytes: u64) {
            self.1.store(bytes, Ordering::Relaxed);
        }
    }
    let cache = tempfile::tempdir().unwrap();
    let server = HubServer::with(model(), |_, _, mut answer| {
        answer.drip = Some((4096, Duration::from_millis(2)));
        answer
    });
    let hub = Hub::new(settings(cache.path(), &server.url)).unwrap();
    let found = hub
        .look(&Repo::parse(Kind::Model, "org/tiny").unwrap(), &Unwatched)
        .unwrap();
    let fault = hub
        .fetch(&found, &StopAfter(50_000, AtomicU64::new(0)))
        .unwrap_err();
    assert!(matches!(fault, HubError::Stopped), "{fault}");
    nothing_looks_whole(cache.path());
    let partial = files(cache.path())
        .into_iter()
        .find(|(name, _)| name.contains(&etag()) && name.contains("blobs"));
    assert!(partial.unwrap().1 >= 40_000);
    hub.fetch(&found, &Unwatched).unwrap();
}

#[test]
fn wrong_sizes_and_hashes_are_never_kept() {
    let long = |mut answer: Answer| {
        answer.body.push(0);
        answer
    };
    let short = |mut answer: Answer| {
        answer.body.truncate(1000);
        answer
    };
    let flipped = |mut answer: Answer| {
        answer.body[2000] ^= 1;
        answer
    };
    let cases: [(fn(Answer) -> Answer, &str); 3] = [
        (long, "300001 bytes"),
        (short, "1000 bytes"),
        (flipped, "its hash is"),
    ];
    for (spoil, part) in cases {
        let cache = tempfile::tempdir().unwrap();
        let server = HubServer::with(model(), move |request, _, answer| {
            match request.target.ends_with("/model.safetensors") {
                true => spoil(answer),
                false => answer,
            }
        });
        let fault = fetch(cache.path(), &server, "org/tiny").unwrap_err();
        assert!(matches!(fault, HubError::Content { .. }), "{fault}");
        let text = fault.to_string();
        assert!(
            text.contains("model.safetensors") && text.contains(part),
            "{text}"
        );
        nothing_looks_whole(cache.path());
        // Files that stopped because of it may have begun; this one is gone.
        assert!(
            !files(cache.path())
                .iter()
                .any(|(name, _)| name.contains(&format!("blobs/{}", etag())))
        );
    }
    // Small files are checked by git's hash.
    let cache = tempfile::tempdir().unwrap();
    let server = HubServer::with(model(), |request, _, answer| {
        match request.target.ends_with("/tokenizer.json") {
            true => Answer::status(200).body(b"[]".to_vec()),
            false => answer,
        }
    });
    let text = fetch(cache.path(), &server, "org/tiny")
        .unwrap_err()
        .to_string();
    assert!(text.contains("tokenizer.json: its hash is"), "{text}");
    // A range that is not the one asked for.
    let cache = tempfile::tempdir().unwrap();
    let server = HubServer::with(model(), |request, _, mut answer| {
        if request.target.ends_with("/model.safetensors") {
            answer.cut = Some(1000);
            if request.from() > 0 {
                answer = Answer::status(206)
                    .body(weights())
                    .header("content-range", "bytes 0-299999/300000");
            }
        }
        answer
    });
    let text = fetch(cache.path(), &server, "org/tiny")
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("bytes 1000-299999/300000 was asked for"),
        "{text}"
    );
    nothing_looks_whole(cache.path());
}

#[test]
fn refusals_name_the_way_out() {
    let cache = tempfile::tempdir().unwrap();
    let say = |status: u16, code: &'static str, message: &'static str| {
        let server = HubServer::start(move |_, _| {
            let answer = Answer::status(status).header("x-error-message", message);
            if code.is_empty() {
                answer
            } else {
                answer.header("x-error-code", code)
            }
        });
        let without = fetch(cache.path(), &server, "org/tiny").unwrap_err();
        let mut with_token = settings(cache.path(), &server.url);
        with_token.token = Some(Token::new("hf_secret", "HF_TOKEN").unwrap());
        let with = fetch_with(with_token, Kind::Model, "org/tiny").unwrap_err();
        for fault in [&without, &with] {
            assert!(
                !format!("{fault} {fault:?}").contains("hf_secret"),
                "{fault}"
            );
        }
        (without.to_string(), with.to_string(), server)
    };
    for status in [401, 403] {
        let (without, with, server) = say(status, "GatedRepo", "no");
        assert!(
            without.contains("gated") && without.contains(&format!("{}/org/tiny", server.url)),
            "{without}"
        );
        assert!(
            without.contains("HF_TOKEN") && without.contains("$HF_HOME/token"),
            "{without}"
        );
        assert!(with.contains("the token of HF_TOKEN was sent"), "{with}");
    }
    let (without, with, _) = say(401, "", "Invalid credentials");
    assert!(
        without.contains("status 401: Invalid credentials; no token was sent"),
        "{without}"
    );
    assert!(with.contains("the token of HF_TOKEN was sent"), "{with}");
    let (without, _, server) = say(401, "RepoNotFound", "no");
    assert!(
        without.contains("shows no such model") && without.contains("private"),
        "{without}"
    );
    // Refusals are not repeated: the revision and the three look-ups for a hint, each once in both runs.
    assert!(
        server.requests().len() <= 8,
        "{:?}",
        server.requests().len()
    );
    let (without, ..) = say(418, "", "teapot");
    assert!(without.contains("status 418: teapot"), "{without}");
}

#[test]
fn what_does_not_exist_is_answered_with_what_does() {
    let cache = tempfile::tempdir().unwrap();
    let server = HubServer::with(model(), |request, _, answer| {
        match request.target.starts_with("/api/models?search=") {
            true => Answer::json(&json!([{"id": "org/tiny", "_id": 1}, {"id": "else/where"}])),
            false => answer,
        }
    });
    let text = fetch(cache.path(), &server, "org/tinny")
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("did you mean org/tiny?") && text.contains("HF_TOKEN"),
        "{text}"
    );
    let text = fetch(cache.path(), &server, "org/tiny@v1")
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("no revision `v1`; did you mean v1.0?"),
        "{text}"
    );
    let as_data = fetch_with(
        settings(cache.path(), &server.url),
        Kind::Dataset,
        "org/tiny",
    );
    let text = as_data.unwrap_err().to_string();
    assert!(
        text.contains("no such data set; there is a model of that name"),
        "{text}"
    );
}

#[test]
fn what_cannot_be_used_is_said_before_anything_is_fetched() {
    let cases = [
        (
            Kind::Model,
            Repository::new("models", "o/n").small("adapter_config.json", "{}"),
            "give it as --adapter",
        ),
        (
            Kind::Model,
            Repository::new("models", "o/n")
                .small("config.json", "{}")
                .large("pytorch_model.bin", b"x".to_vec()),
            "pickled",
        ),
        (
            Kind::Model,
            Repository::new("models", "o/n").small("model_index.json", "{}"),
            "pipeline",
        ),
        (Kind::Adapter, model_as("o/n"), "give it as --model"),
        (
            Kind::Adapter,
            Repository::new("models", "o/n")
                .small("adapter_config.json", "{}")
                .large("adapter_model.bin", b"x".to_vec()),
            "pickled",
        ),
        (
            Kind::Dataset,
            Repository::new("datasets", "o/n").small("README.md", "x"),
            "none of the files of a data set",
        ),
    ];
    for (kind, repository, part) in cases {
        let cache = tempfile::tempdir().unwrap();
        let server = HubServer::of(repository);
        let text = fetch_with(settings(cache.path(), &server.url), kind, "o/n")
            .unwrap_err()
            .to_string();
        assert!(text.contains(part), "{text}");
        assert_eq!(server.asked("/resolve/"), 0);
        assert_eq!(files(cache.path()), []);
    }
}

fn model_as(id: &str) -> Repository {
    Repository {
        id: id.into(),
        ..model()
    }
}

#[test]
fn busy_and_failing_servers_are_asked_again_and_not_for_ever() {
    for status in [429, 500, 502, 503, 504] {
        let cache = tempfile::tempdir().unwrap();
        let server = HubServer::with(model(), move |_, count, answer| match count < 2 {
            true => Answer::status(status).header("retry-after", 0),
            false => answer,
        });
        fetch(cache.path(), &server, "org/tiny").unwrap();
        assert_eq!(server.asked("/revision/main"), 3);
    }
    let cache = tempfile::tempdir().unwrap();
    let server = HubServer::start(|_, _| Answer::status(503));
    let fault = fetch(cache.path(), &server, "org/tiny").unwrap_err();
    assert!(
        fault.to_string().contains("status 503, 5 attempts"),
        "{fault}"
    );
    assert_eq!(server.requests().len(), 5);
    // A wait of an hour is not waited for.
    let server = HubServer::start(|_, _| Answer::status(429).header("retry-after", 3600));
    let fault = fetch(cache.path(), &server, "org/tiny").unwrap_err();
    assert!(fault.to_string().contains("asks to wait 3600 s"), "{fault}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn silence_and_dripping_end() {
    let begun = Instant::now();
    let cache = tempfile::tempdir().unwrap();
    let mut quick = settings(cache.path(), "");
    quick.timeout = Duration::from_millis(100);
    // No answer at all.
    let silent = HubServer::start(|_, _| Answer {
        pause: Duration::from_secs(5),
        ..Answer::status(200)
    });
    quick.endpoint = silent.url.clone();
    let fault = fetch_with(quick.clone(), Kind::Model, "org/tiny").unwrap_err();
    assert!(matches!(fault, HubError::Unreachable { .. }), "{fault}");
    // One byte at a time: within every time-out, and still no download.
    let dripping = HubServer::with(model(), |request, _, mut answer| {
        if request.target.ends_with("/model.safetensors") {
            answer.drip = Some((1, Duration::from_millis(20)));
        }
        answer
    });
    quick.endpoint = dripping.url.clone();
    let fault = fetch_with(quick.clone(), Kind::Model, "org/tiny").unwrap_err();
    // On a machine that is busy enough, a byte may come after its time-out instead.
    let text = fault.to_string();
    assert!(
        text.contains("bytes a second arrive") || text.contains("timeout"),
        "{text}"
    );
    nothing_looks_whole(cache.path());
    // Nobody listens.
    quick.endpoint = "http://127.0.0.1:1".into();
    let fault = fetch_with(quick, Kind::Model, "org/tiny").unwrap_err();
    assert!(matches!(fault, HubError::Unreachable { .. }), "{fault}");
    assert!(begun.elapsed() < Duration::from_secs(60));
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

#[test]
fn an_index_that_names_an_absent_shard_is_told() {
    let cache = tempfile::tempdir().unwrap();
    let index =
        r#"{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "../../../escape"}}"#;
    let repository = model().small("model.safetensors.index.json", index);
    let server = HubServer::of(repository);
    let text = fetch(cache.path(), &server, "org/tiny")
        .unwrap_err()
        .to_string();
    assert!(text.contains("leads out of its folder"), "{text}");
}

#[test]
fn hostile_listings_write_nothing_outside() {
    for name in [
        "../../escape.json",
        "/tmp/escape.json",
        "a/../../b.json",
        "a\\..\\b.json",
        "a\u{0}.json",
        "..",
    ] {
        let cache = tempfile::tempdir().unwrap();
        let hostile = HubServer::with(model(), move |request, _, answer| {
            match request.target.contains("/tree/") {
                true => Answer::json(&json!([
                    {"type": "file", "path": "config.json", "size": 2, "oid": "0".repeat(40)},
                    {"type": "file", "path": name, "size": 2, "oid": "0".repeat(40)},
                ])),
                false => answer,
            }
        });
        let fault = fetch(cache.path(), &hostile, "org/tiny").unwrap_err();
        assert!(matches!(fault, HubError::FileName { .. }), "{fault}");
        assert_eq!(files(cache.path()), []);
        assert_eq!(hostile.asked("/resolve/"), 0);
    }
}

#[test]
fn hostile_answers_are_bounded() {
    let cache = tempfile::tempdir().unwrap();
    let answered = |body: Vec<u8>| {
        let server = HubServer::start(move |_, _| Answer::status(200).body(body.clone()));
        fetch(cache.path(), &server, "org/tiny")
            .unwrap_err()
            .to_string()
    };
    assert!(answered(b"{".to_vec()).contains("is not the JSON"));
    assert!(answered("[".repeat(100_000).into_bytes()).contains("is not the JSON"));
    assert!(answered(br#"{"sha": "../../x"}"#.to_vec()).contains("is no commit"));
    assert!(answered(vec![b' '; (32 << 20) + 1]).contains("more than"));
    // A listing without end.
    let endless = HubServer::with(model(), |request, _, answer| {
        match request.target.contains("/tree/") {
            true => {
                let entries: Vec<_> = (0..20_000)
                    .map(|_| json!({"type": "directory", "path": "x", "oid": "0"}))
                    .collect();
                let next = format!("<{}>; rel=\"next\"", request.target);
                Answer::json(&json!(entries)).header("link", next)
            }
            false => answer,
        }
    });
    let text = fetch(cache.path(), &endless, "org/tiny")
        .unwrap_err()
        .to_string();
    assert!(text.contains("more than 200000 files"), "{text}");
    assert_eq!(endless.asked("/tree/"), 11);
    // A next page elsewhere.
    let elsewhere = HubServer::with(model(), |request, _, answer| {
        match request.target.contains("/tree/") {
            true => answer.header("link", "<http://127.0.0.2/x>; rel=\"next\""),
            false => answer,
        }
    });
    let text = fetch(cache.path(), &elsewhere, "org/tiny")
        .unwrap_err()
        .to_string();
    assert!(text.contains("on another host"), "{text}");
    assert_eq!(files(cache.path()), []);
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
