//! Models, adapters and data sets by name: `org/name[@revision]` on the Hugging Face Hub becomes a local folder, in
//! the cache that Python's `huggingface_hub` uses and fills alike.
//!
//! [`HubSettings`] says where and how, [`Hub::look`] finds a revision and its files, [`Hub::fetch`] brings them.
//!
//! Invariant: a name in the cache leads to content whose size and hash were checked. A download that is cut leaves an
//! `.incomplete` file that the next one goes on with; the snapshot and the ref appear when everything is there.
//! Everything a server says is bounded and checked, and the token goes to its own host alone.

mod address;
mod cache;
mod client;
mod error;
mod explain;
mod fetch;
mod listing;
mod name;
mod patience;
mod select;
mod settings;
mod snapshot;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::Deserialize;

pub use error::{HubError, Result};
pub use listing::RemoteFile;
pub use name::{Kind, Repo};
pub use settings::{HubSettings, ProxyAddress, Token};
pub use snapshot::Snapshot;

use cache::Cache;
use client::Client;
use error::printable;
use fetch::{Counter, Download, file_url};
use listing::{Entry, Listing};
use name::is_commit;
use patience::{ATTEMPTS, Failure, Patience, Trouble};

/// Files fetched at a time.
const WORKERS: usize = 4;

/// Told of a download as it goes on, and asked whether it should.
pub trait Watch: Sync {
    /// Whether to stop. Asked several times a second, but for the time a server may be silent.
    fn stopped(&self) -> bool {
        false
    }

    /// A download begins: files and bytes that are missing.
    fn begin(&self, _files: usize, _bytes: u64) {}

    /// Bytes that are there now, of those.
    fn at(&self, _bytes: u64) {}

    /// Something a person should know.
    fn note(&self, _message: &str) {}
}

/// Watches nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// Access to one hub and one cache.
pub struct Hub {
    client: Client,
    cache: Cache,
}

#[derive(Deserialize)]
struct Info {
    sha: String,
}

impl Hub {
    /// Prepares; nothing is sent or written.
    ///
    /// # Errors
    /// [`HubError::Setting`] for a proxy or certificates that cannot be used.
    pub fn new(settings: HubSettings) -> Result<Self> {
        let cache = Cache::new(settings.cache.clone());
        let client = Client::new(settings)?;
        Ok(Self { client, cache })
    }

    /// Finds the commit of a revision and the files that are wanted of it. Only the listing is downloaded.
    ///
    /// Offline, and where the hub cannot be reached, the cache answers if it has what is needed.
    ///
    /// # Errors
    /// A sentence for every way it can fail: see [`HubError`].
    pub fn look(&self, repo: &Repo, watch: &dyn Watch) -> Result<Snapshot> {
        let cached = self.cached(repo);
        if self.client.settings().offline {
            return cached;
        }
        // With something to fall back on there is less to wait for.
        let attempts = if cached.is_ok() { 2 } else { ATTEMPTS };
        match (self.list(repo, attempts, watch), cached) {
            (Err(fault @ HubError::Unreachable { .. }), Ok(cached)) => {
                tracing::warn!("{fault}; {} is taken from the cache", cached.repo);
                Ok(cached)
            }
            (found, _) => found,
        }
    }

    /// Fetches what is missing of a snapshot and returns [`Snapshot::path`].
    ///
    /// # Errors
    /// As [`Hub::look`]; [`HubError::Content`] for a file that is not the one listed; [`HubError::Io`].
    pub fn fetch(&self, snapshot: &Snapshot, watch: &dyn Watch) -> Result<PathBuf> {
        let Some(files) = &snapshot.files else {
            return Ok(snapshot.path());
        };
        let repo = &snapshot.repo;
        self.download(snapshot, watch)?;
        self.cache.link(repo, snapshot.commit(), files)?;
        let missing = select::missing(repo, &snapshot.dir);
        if !missing.is_empty() {
            let reason = format!("is not complete: {}", missing.join(", "));
            let repo = repo.to_string();
            return Err(HubError::Unusable { repo, reason });
        }
        if !snapshot.asked.is_pinned() {
            // A cache that cannot be written still serves.
            if let Err(fault) = self.cache.write_ref(&snapshot.asked, snapshot.commit()) {
                tracing::warn!("{fault}");
            }
        }
        Ok(snapshot.path())
    }

    /// Reads one small file of a snapshot, of at most `limit` bytes, from the cache or the hub. Nothing is written.
    ///
    /// # Errors
    /// As [`Hub::fetch`].
    pub fn read(
        &self,
        snapshot: &Snapshot,
        name: &str,
        limit: u64,
        watch: &dyn Watch,
    ) -> Result<Vec<u8>> {
        let listed = snapshot
            .files
            .iter()
            .flatten()
            .find(|file| file.path == name);
        let linked = snapshot.dir.join(name);
        let blob = listed.map(|file| self.cache.blob(&snapshot.repo, file));
        if let Some(path) = [Some(linked), blob]
            .into_iter()
            .flatten()
            .find(|p| p.is_file())
        {
            let mut bytes = Vec::new();
            let file = File::open(&path).map_err(|e| HubError::io(&path, "open", e))?;
            let read = file.take(limit).read_to_end(&mut bytes);
            read.map_err(|e| HubError::io(&path, "read", e))?;
            return Ok(bytes);
        }
        let file = listed.ok_or_else(|| HubError::Unusable {
            repo: snapshot.repo.to_string(),
            reason: format!("holds no {name}"),
        })?;
        let settings = self.client.settings();
        let url = file_url(&settings.endpoint, &snapshot.repo, name);
        let mut patience = Patience::new(settings.backoff, ATTEMPTS);
        loop {
            let bytes = self
                .client
                .get(&url, 0)
                .and_then(|reply| reply.ok()?.bytes(limit));
            let trouble = match bytes {
                Ok(bytes) => {
                    let mut hasher = file.hash.start(file.size);
                    hasher.update(&bytes);
                    if hasher.finish() == file.hash.name() {
                        return Ok(bytes);
                    }
                    Trouble::End(HubError::Content {
                        file: format!("{}: {name}", snapshot.repo),
                        reason: "its hash is not the one listed".into(),
                    })
                }
                Err(trouble) => trouble,
            };
            let waited = patience.wait(trouble, watch);
            waited.map_err(|failure| self.explained(&snapshot.repo, failure, watch))?;
        }
    }

    /// What the cache has of a repository, if that is all that is needed.
    fn cached(&self, repo: &Repo) -> Result<Snapshot> {
        let absent = |missing: String| HubError::NotCached {
            repo: repo.to_string(),
            cache: self.cache.root().to_owned(),
            missing,
            folder: repo.folder(),
        };
        let commit = match repo.is_pinned() {
            true => repo.revision().to_owned(),
            false => self
                .cache
                .read_ref(repo)
                .ok_or_else(|| absent(format!("no revision `{}`", repo.revision())))?,
        };
        let (dir, pinned) = (self.cache.snapshot(repo, &commit), repo.at(&commit));
        let missing = select::missing(&pinned, &dir);
        if !missing.is_empty() {
            return Err(absent(missing.join(", ")));
        }
        Ok(Snapshot {
            asked: repo.clone(),
            repo: pinned,
            dir,
            files: None,
            missing: Vec::new(),
        })
    }

    fn list(&self, repo: &Repo, attempts: u32, watch: &dyn Watch) -> Result<Snapshot> {
        let explained = |failure| self.explained(repo, failure, watch);
        let api = self.api(repo);
        let commit = match repo.is_pinned() {
            true => repo.revision().to_owned(),
            false => {
                let url = format!("{api}/revision/{}", address::part(repo.revision()));
                let (info, _) = self
                    .client
                    .json::<Info>(&url, attempts, watch)
                    .map_err(explained)?;
                if !is_commit(&info.sha) {
                    return Err(HubError::Answer {
                        address: repo.to_string(),
                        reason: format!("`{}` is no commit", printable(&info.sha)),
                    });
                }
                info.sha
            }
        };
        let mut listing = Listing::default();
        let mut page = Some(format!("{api}/tree/{commit}?recursive=true"));
        while let Some(url) = page {
            let (entries, next) = self
                .client
                .json::<Vec<Entry>>(&url, attempts, watch)
                .map_err(explained)?;
            // An empty page with a successor would never end.
            page = next.filter(|_| !entries.is_empty());
            listing.add(repo, entries)?;
        }
        let pinned = repo.at(&commit);
        let files = select::wanted(&pinned, listing.into_files())?;
        // Equal contents are one blob.
        let missing: BTreeMap<_, _> = files
            .iter()
            .filter(|file| !self.cache.holds(&pinned, &commit, file))
            .map(|file| (file.hash.clone(), file.clone()))
            .collect();
        Ok(Snapshot {
            asked: repo.clone(),
            dir: self.cache.snapshot(repo, &commit),
            repo: pinned,
            missing: missing.into_values().collect(),
            files: Some(files),
        })
    }

    /// Several files at a time; the first fault stops all.
    fn download(&self, snapshot: &Snapshot, watch: &dyn Watch) -> Result<()> {
        if snapshot.missing.is_empty() {
            return Ok(());
        }
        watch.begin(snapshot.missing.len(), snapshot.missing_bytes());
        let failed = AtomicBool::new(false);
        let until = Until {
            watch,
            failed: &failed,
        };
        let counter = Counter {
            bytes: AtomicU64::new(0),
            watch: &until,
        };
        let mut files: Vec<&RemoteFile> = snapshot.missing.iter().collect();
        // The largest first: the end is not one connection.
        files.sort_by_key(|file| std::cmp::Reverse(file.size));
        let queue = Mutex::new(files.into_iter());
        let fault: Mutex<Option<Failure>> = Mutex::new(None);
        let work = || {
            loop {
                let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some(file) = next else { return };
                let (client, cache, repo, counter) =
                    (&self.client, &self.cache, &snapshot.repo, &counter);
                let download = Download {
                    client,
                    cache,
                    repo,
                    file,
                    counter,
                };
                if let Err(found) = download.run() {
                    let mut first = fault.lock().unwrap_or_else(PoisonError::into_inner);
                    // What stopped because of the first fault is no fault of its own.
                    if first.is_none() {
                        *first = Some(found);
                    }
                    failed.store(true, Ordering::Relaxed);
                    return;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..WORKERS.min(snapshot.missing.len()) {
                scope.spawn(work);
            }
        });
        let fault = fault.into_inner().unwrap_or_else(PoisonError::into_inner);
        match fault {
            Some(failure) => Err(self.explained(&snapshot.repo, failure, watch)),
            None => Ok(()),
        }
    }

    fn api(&self, repo: &Repo) -> String {
        let endpoint = &self.client.settings().endpoint;
        format!("{endpoint}/api/{}/{}", repo.kind().plural(), repo.id())
    }
}

/// Stops when the caller says so or another file failed.
struct Until<'a> {
    watch: &'a dyn Watch,
    failed: &'a AtomicBool,
}

impl Watch for Until<'_> {
    fn stopped(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.watch.stopped()
    }

    fn at(&self, bytes: u64) {
        self.watch.at(bytes);
    }

    fn note(&self, message: &str) {
        self.watch.note(message);
    }
}
