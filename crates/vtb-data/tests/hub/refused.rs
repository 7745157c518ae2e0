//! Hubs that refuse, are busy or silent: what is said, and that it ends.

use std::time::Duration;
use std::time::Instant;

use serde_json::json;
use vtb_data::hub::{HubError, Kind, Token};

use crate::hub_server::{Answer, HubServer, Repository};
use crate::{fetch, fetch_with, files, model, nothing_looks_whole, settings};

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
