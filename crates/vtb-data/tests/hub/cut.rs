//! Downloads that are cut, stopped or wrong: nothing that is not whole looks it.

use std::fs;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use vtb_data::hub::{Hub, HubError, Kind, Repo, Unwatched, Watch};

use crate::hub_server::{Answer, HubServer};
use crate::{etag, fetch, files, model, nothing_looks_whole, settings, weights};

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
    type Change = fn(Answer) -> Answer;
    let cases: [(Change, &str); 3] = [
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
