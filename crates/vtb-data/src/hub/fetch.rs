//! One file: locked, resumed, checked, and named only when it is whole.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Watch;
use super::address;
use super::cache::{Cache, make_parent};
use super::client::{Client, Reply};
use super::error::{HubError, Result, printable};
use super::listing::{Hasher, RemoteFile};
use super::name::Repo;
use super::patience::{ATTEMPTS, Failure, Patience, Trouble};

/// Bytes read at a time.
const PART: usize = 256 << 10;
/// Bytes that count as progress: a server that drops every connection after less is given up.
const PROGRESS: u64 = 64 << 10;
/// Time-outs over which the pace is measured.
const PACE_WINDOW: u32 = 6;
/// Slowest pace in bytes a second.
const SLOWEST: f64 = 1024.0;

/// Bytes that are there, of all files of a snapshot.
pub(super) struct Counter<'a> {
    pub(super) bytes: AtomicU64,
    pub(super) watch: &'a dyn Watch,
}

impl Counter<'_> {
    fn add(&self, bytes: u64) {
        let before = self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.watch.at(before + bytes);
    }

    fn take_back(&self, bytes: u64) {
        let before = self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.watch.at(before - bytes);
    }
}

/// Fetches one file into the cache. `repo` is at a commit.
pub(super) struct Download<'a> {
    pub(super) client: &'a Client,
    pub(super) cache: &'a Cache,
    pub(super) repo: &'a Repo,
    pub(super) file: &'a RemoteFile,
    pub(super) counter: &'a Counter<'a>,
}

/// What is there of a file. Bytes are written at their place rather than appended, so that two processes on a file
/// system whose locks do not work write the same.
struct Partial {
    path: PathBuf,
    out: File,
    have: u64,
    hasher: Hasher,
    /// Whether more than one request contributed.
    pieced: bool,
}

/// Address of a file of a repository at a commit.
pub(super) fn file_url(endpoint: &str, repo: &Repo, file: &str) -> String {
    let (prefix, id, revision) = (
        repo.kind().prefix(),
        repo.id(),
        address::part(repo.revision()),
    );
    format!(
        "{endpoint}/{prefix}{id}/resolve/{revision}/{}",
        address::path(file)
    )
}

impl Download<'_> {
    /// Returns when the blob is there, whole.
    pub(super) fn run(&self) -> std::result::Result<(), Failure> {
        let blob = self.cache.blob(self.repo, self.file);
        make_parent(&blob)?;
        let _lock = self.cache.lock(self.repo, self.file, self.counter.watch)?;
        if self.is_whole(&blob) {
            // Another process fetched it meanwhile.
            self.counter.add(self.file.size);
            return Ok(());
        }
        let mut partial = Partial::open(&blob, self.file)?;
        self.counter.add(partial.have);
        loop {
            if let Err(failure) = self.transfer(&mut partial) {
                if matches!(failure, Failure::Hub(HubError::Content { .. })) {
                    // Whatever is there cannot be trusted.
                    let _ = fs::remove_file(&partial.path);
                }
                return Err(failure);
            }
            let found = partial.digest(self.file);
            if found == self.file.hash.name() {
                break;
            }
            if !partial.pieced {
                let _ = fs::remove_file(&partial.path);
                let expected = self.file.hash.name();
                return Err(self
                    .content(format!("its hash is {found} and {expected} is listed"))
                    .into());
            }
            // A begin left by something else may be at fault: once more, whole.
            tracing::warn!(
                "{}: the resumed file is damaged and is fetched again",
                self.file.path
            );
            self.restart(&mut partial)?;
            partial.pieced = false;
        }
        self.keep(&partial, &blob)?;
        Ok(())
    }

    fn is_whole(&self, blob: &Path) -> bool {
        blob.metadata()
            .is_ok_and(|m| m.is_file() && m.len() == self.file.size)
    }

    fn keep(&self, partial: &Partial, blob: &Path) -> Result<()> {
        let synced = partial.out.sync_all();
        synced.map_err(|e| HubError::io(&partial.path, "write", e))?;
        match fs::rename(&partial.path, blob) {
            Err(fault) if !self.is_whole(blob) => Err(HubError::io(blob, "name", fault)),
            _ => Ok(()),
        }
    }

    /// Requests until all bytes are there.
    fn transfer(&self, partial: &mut Partial) -> std::result::Result<(), Failure> {
        let mut patience = Patience::new(self.client.settings().backoff, ATTEMPTS);
        while partial.have < self.file.size {
            let before = partial.have;
            if let Err(trouble) = self.attempt(partial) {
                if partial.have >= before + PROGRESS {
                    patience.refresh();
                }
                patience.wait(trouble, self.counter.watch)?;
            }
        }
        Ok(())
    }

    /// One request for what is missing.
    fn attempt(&self, partial: &mut Partial) -> std::result::Result<(), Trouble> {
        if self.counter.watch.stopped() {
            return Err(Trouble::End(HubError::Stopped));
        }
        let url = file_url(&self.client.settings().endpoint, self.repo, &self.file.path);
        partial.pieced |= partial.have > 0;
        let reply = self.client.get(&url, partial.have)?;
        if reply.status == 416 {
            self.restart(partial).map_err(Trouble::End)?;
            return Err(again(
                &reply,
                "the server has no such part of the file".into(),
            ));
        }
        let reply = reply.ok()?;
        if reply.status != 206 && partial.have > 0 {
            // The server sends the file from its begin.
            self.restart(partial).map_err(Trouble::End)?;
        }
        self.check_head(&reply, partial.have)
            .map_err(Trouble::End)?;
        self.receive(reply, partial)
    }

    /// What the server announces must be what was listed.
    fn check_head(&self, reply: &Reply, have: u64) -> Result<()> {
        let size = self.file.size;
        if reply.status == 206 {
            let range = reply.header("content-range").unwrap_or_default();
            let expected = format!("bytes {have}-{}/{size}", size - 1);
            if range != expected {
                let range = printable(range);
                return Err(self.content(format!(
                    "the server sends `{range}` and {expected} was asked for"
                )));
            }
        }
        let length = reply
            .header("content-length")
            .and_then(|text| text.parse::<u64>().ok());
        match length {
            Some(length) if have.checked_add(length) != Some(size) => {
                let sent = have.saturating_add(length);
                Err(self.content(format!(
                    "the server sends {sent} bytes and {size} are listed"
                )))
            }
            _ => Ok(()),
        }
    }

    fn receive(&self, reply: Reply, partial: &mut Partial) -> std::result::Result<(), Trouble> {
        let address = reply.address.clone();
        let again = |reason: String| Trouble::Again {
            address: address.clone(),
            reason,
            after: None,
        };
        let mut body = reply.body.into_with_config().limit(u64::MAX).reader();
        let mut pace = Pace::new(self.client.settings().timeout);
        let mut part = vec![0; PART];
        loop {
            if self.counter.watch.stopped() {
                return Err(Trouble::End(HubError::Stopped));
            }
            let read = body
                .read(&mut part)
                .map_err(|fault| again(printable(&fault.to_string())))?;
            if read == 0 {
                let (have, size) = (partial.have, self.file.size);
                return match have < size {
                    true => Err(again(format!(
                        "the connection ended after {have} of {size} bytes"
                    ))),
                    false => Ok(()),
                };
            }
            if partial.have + read as u64 > self.file.size {
                let fault = self.content(format!(
                    "the server sends more than the {} bytes listed",
                    self.file.size
                ));
                return Err(Trouble::End(fault));
            }
            partial.write(&part[..read]).map_err(Trouble::End)?;
            self.counter.add(read as u64);
            if pace.too_slow(read) {
                return Err(again(format!("fewer than {SLOWEST} bytes a second arrive")));
            }
        }
    }

    fn restart(&self, partial: &mut Partial) -> Result<()> {
        self.counter.take_back(partial.have);
        partial
            .out
            .set_len(0)
            .map_err(|e| HubError::io(&partial.path, "empty", e))?;
        partial.have = 0;
        partial.hasher = self.file.hash.start(self.file.size);
        Ok(())
    }

    fn content(&self, reason: String) -> HubError {
        HubError::Content {
            file: format!("{}: {}", self.repo, self.file.path),
            reason,
        }
    }
}

fn again(reply: &Reply, reason: String) -> Trouble {
    Trouble::Again {
        address: reply.address.clone(),
        reason,
        after: None,
    }
}

impl Partial {
    /// Opens `<blob>.incomplete` and hashes what is in it.
    fn open(blob: &Path, file: &RemoteFile) -> Result<Self> {
        let mut name = blob.as_os_str().to_owned();
        name.push(".incomplete");
        let path = PathBuf::from(name);
        let open = || -> io::Result<(File, u64, Hasher)> {
            let mut options = File::options();
            let mut out = options
                .create(true)
                .truncate(false)
                .read(true)
                .write(true)
                .open(&path)?;
            if out.metadata()?.len() > file.size {
                out.set_len(0)?;
            }
            let mut hasher = file.hash.start(file.size);
            let (mut have, mut part) = (0, vec![0; PART]);
            loop {
                match out.read(&mut part)? {
                    0 => return Ok((out, have, hasher)),
                    read => {
                        hasher.update(&part[..read]);
                        have += read as u64;
                    }
                }
            }
        };
        let (out, have, hasher) = open().map_err(|e| HubError::io(&path, "open", e))?;
        Ok(Self {
            path,
            out,
            have,
            hasher,
            pieced: have > 0,
        })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self
            .out
            .seek(SeekFrom::Start(self.have))
            .and_then(|_| self.out.write_all(bytes));
        written.map_err(|e| HubError::io(&self.path, "write", e))?;
        self.hasher.update(bytes);
        self.have += bytes.len() as u64;
        Ok(())
    }

    fn digest(&mut self, file: &RemoteFile) -> String {
        let fresh = file.hash.start(file.size);
        std::mem::replace(&mut self.hasher, fresh).finish()
    }
}

/// Tells a connection that drips from one that flows: a time-out alone waits for ever on one byte at a time.
struct Pace {
    window: Duration,
    begun: Instant,
    bytes: u64,
}

impl Pace {
    fn new(timeout: Duration) -> Self {
        Self {
            window: timeout * PACE_WINDOW,
            begun: Instant::now(),
            bytes: 0,
        }
    }

    fn too_slow(&mut self, read: usize) -> bool {
        self.bytes += read as u64;
        let passed = self.begun.elapsed();
        if passed < self.window {
            return false;
        }
        let slow = (self.bytes as f64) < SLOWEST * passed.as_secs_f64();
        (self.begun, self.bytes) = (Instant::now(), 0);
        slow
    }
}
