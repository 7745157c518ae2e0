//! A hub on loopback: the part of its API that is used, and the ways in which servers and networks fail.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest, Sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, as sent.
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The first byte of `Range: bytes=N-`.
    pub(crate) fn from(&self) -> usize {
        let range = self.header("range").and_then(|r| r.strip_prefix("bytes="));
        range
            .and_then(|r| r.strip_suffix('-'))
            .map_or(0, |n| n.parse().unwrap())
    }
}

/// What is answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// The socket is dropped after so many bytes of the body.
    pub(crate) cut: Option<usize>,
    /// Bytes of the body at a time, and the pause after them.
    pub(crate) drip: Option<(usize, Duration)>,
    /// The pause before the first byte.
    pub(crate) pause: Duration,
}

impl Answer {
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    pub(crate) fn json(value: &Value) -> Self {
        Self::status(200).body(value.to_string().into_bytes())
    }

    pub(crate) fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.into(), value.to_string()));
        self
    }
}

/// A file of a repository.
#[derive(Debug, Clone)]
pub(crate) struct Served {
    pub(crate) bytes: Vec<u8>,
    pub(crate) large: bool,
}

impl Served {
    pub(crate) fn etag(&self) -> String {
        let shown = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        if self.large {
            return shown(&Sha256::digest(&self.bytes));
        }
        let mut hash = Sha1::new();
        hash.update(format!("blob {}\0", self.bytes.len()));
        hash.update(&self.bytes);
        shown(&hash.finalize())
    }
}

/// A repository: its kind is `models` or `datasets`.
#[derive(Debug, Clone)]
pub(crate) struct Repository {
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) files: BTreeMap<String, Served>,
    /// Where large files are redirected to.
    pub(crate) redirect: Option<String>,
    /// Entries of a page of the listing.
    pub(crate) page: usize,
}

impl Repository {
    pub(crate) fn new(kind: &'static str, id: &str) -> Self {
        Self {
            kind,
            id: id.into(),
            files: BTreeMap::new(),
            redirect: None,
            page: 1000,
        }
    }

    pub(crate) fn small(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let (bytes, large) = (bytes.into(), false);
        self.files.insert(name.into(), Served { bytes, large });
        self
    }

    pub(crate) fn large(mut self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let (bytes, large) = (bytes.into(), true);
        self.files.insert(name.into(), Served { bytes, large });
        self
    }

    fn prefix(&self) -> &'static str {
        if self.kind == "datasets" {
            "datasets/"
        } else {
            ""
        }
    }

    fn entry(&self, name: &str) -> Value {
        let file = &self.files[name];
        let mut entry =
            json!({"type": "file", "path": name, "size": file.bytes.len(), "oid": file.etag()});
        if file.large {
            entry["oid"] = json!("f".repeat(40));
            entry["lfs"] =
                json!({"oid": file.etag(), "size": file.bytes.len(), "pointerSize": 134});
        }
        entry
    }

    /// The answer of a hub that works.
    pub(crate) fn answer(&self, request: &Request, host: &str) -> Answer {
        let api = format!("/api/{}/{}", self.kind, self.id);
        let (path, query) = request
            .target
            .split_once('?')
            .unwrap_or((&request.target, ""));
        if let Some(rest) = path.strip_prefix(&api) {
            let info = json!({"id": self.id, "sha": COMMIT, "siblings": [], "private": false});
            return match rest {
                "" | "/revision/main" => Answer::json(&info),
                _ if rest == format!("/revision/{COMMIT}") => Answer::json(&info),
                "/refs" => Answer::json(
                    &json!({"branches": [{"name": "main", "ref": "refs/heads/main"}],
                    "tags": [{"name": "v1.0", "ref": "refs/tags/v1.0"}]}),
                ),
                _ if rest == format!("/tree/{COMMIT}") => self.tree(path, query, host),
                _ => Answer::status(404).header("x-error-code", "RevisionNotFound"),
            };
        }
        let files = format!("/{}{}/resolve/", self.prefix(), self.id);
        let Some((revision, name)) = path
            .strip_prefix(&files)
            .and_then(|rest| rest.split_once('/'))
        else {
            return Answer::status(404).header("x-error-code", "RepoNotFound");
        };
        let name = name.replace("%20", " ");
        let Some(file) = self
            .files
            .get(&name)
            .filter(|_| [COMMIT, "main"].contains(&revision))
        else {
            return Answer::status(404).header("x-error-code", "EntryNotFound");
        };
        let commit = ("x-repo-commit".to_owned(), COMMIT.to_owned());
        let mut answer = match &self.redirect {
            Some(to) if file.large => Answer::status(302)
                .header("location", format!("{to}/{}?signature=secret", file.etag()))
                .header("x-linked-etag", format!("\"{}\"", file.etag()))
                .header("x-linked-size", file.bytes.len()),
            _ => ranged(&file.bytes, request).header("etag", format!("\"{}\"", file.etag())),
        };
        answer.headers.push(commit);
        answer
    }

    fn tree(&self, path: &str, query: &str, host: &str) -> Answer {
        let cursor = query.split('&').find_map(|q| q.strip_prefix("cursor="));
        let from: usize = cursor.map_or(0, |c| c.parse().unwrap());
        let page: Vec<Value> = self
            .files
            .keys()
            .skip(from)
            .take(self.page)
            .map(|n| self.entry(n))
            .collect();
        let answer = Answer::json(&json!(page));
        match from + self.page < self.files.len() {
            true => {
                let next = format!(
                    "<http://{host}{path}?recursive=true&cursor={}>; rel=\"next\"",
                    from + self.page
                );
                answer.header("link", next)
            }
            false => answer,
        }
    }
}

/// The bytes from the asked one on.
pub(crate) fn ranged(bytes: &[u8], request: &Request) -> Answer {
    let (from, size) = (request.from(), bytes.len());
    if from == 0 {
        return Answer::status(200).body(bytes.to_vec());
    }
    if from >= size {
        return Answer::status(416).header("content-range", format!("bytes */{size}"));
    }
    Answer::status(206)
        .body(bytes[from..].to_vec())
        .header("content-range", format!("bytes {from}-{}/{size}", size - 1))
}

type Handler = dyn Fn(&Request, usize) -> Answer + Send + Sync;

/// A server that runs until the test ends.
pub(crate) struct HubServer {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl HubServer {
    /// Serves a repository that works.
    pub(crate) fn of(repository: Repository) -> Self {
        Self::with(repository, |_, _, answer| answer)
    }

    /// Serves a repository; `change` may spoil answers. It gets how often this target was asked before.
    pub(crate) fn with(
        repository: Repository,
        change: impl Fn(&Request, usize, Answer) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::start(move |request, count| {
            let host = request.header("host").unwrap_or_default().to_owned();
            change(request, count, repository.answer(request, &host))
        })
    }

    pub(crate) fn start(
        handler: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (handler, seen): (Arc<Handler>, _) = (Arc::new(handler), Arc::clone(&requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, seen) = (Arc::clone(&handler), Arc::clone(&seen));
                // A client that goes away in the middle is part of the tests.
                std::thread::spawn(move || drop(serve(stream, &*handler, &seen)));
            }
        });
        Self { url, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// How many requests had `part` in their target.
    pub(crate) fn asked(&self, part: &str) -> usize {
        self.requests()
            .iter()
            .filter(|r| r.target.contains(part))
            .count()
    }
}

fn serve(
    mut stream: TcpStream,
    handler: &Handler,
    seen: &Mutex<Vec<Request>>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = first.split(' ');
    let mut request = Request {
        method: words.next().unwrap_or_default().into(),
        target: words.next().unwrap_or_default().into(),
        headers: BTreeMap::new(),
    };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        request
            .headers
            .insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let count = {
        let mut seen = seen.lock().unwrap();
        let count = seen.iter().filter(|r| r.target == request.target).count();
        seen.push(request.clone());
        count
    };
    let answer = handler(&request, count);
    std::thread::sleep(answer.pause);
    let mut head = format!("HTTP/1.1 {} X\r\nconnection: close\r\n", answer.status);
    if !answer
        .headers
        .iter()
        .any(|(name, _)| name == "content-length")
    {
        head += &format!("content-length: {}\r\n", answer.body.len());
    }
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    let body = &answer.body[..answer
        .cut
        .unwrap_or(answer.body.len())
        .min(answer.body.len())];
    let (part, pause) = answer.drip.unwrap_or((1 << 16, Duration::ZERO));
    for part in body.chunks(part) {
        stream.write_all(part)?;
        std::thread::sleep(pause);
    }
    Ok(())
}
