//! Hubs that mean harm: tokens, names and answers.

use std::fs;

use serde_json::json;
use vtb_data::hub::{HubError, Kind, Token};

use crate::hub_server::{Answer, HubServer, ranged};
use crate::{SMALL, fetch, fetch_with, files, model, settings, weights};

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
