//! The files of a repository as the hub lists them. Nothing in a listing is trusted.

use std::collections::BTreeMap;

use serde::Deserialize;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::error::{HubError, Result, printable};
use super::name::{Repo, check_path, is_hex};
use crate::lines::hex;

/// Most entries of a listing.
pub(super) const MOST_ENTRIES: usize = 200_000;

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Path in the repository, `/` between its parts. It stays below the repository.
    pub path: String,
    /// Bytes.
    pub size: u64,
    pub(super) hash: ContentHash,
}

/// What the content of a file must hash to. The hub sends the same text as the file's ETag, and the cache names the
/// file's blob by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum ContentHash {
    /// SHA-256 of the content: large files.
    Sha256(String),
    /// SHA-1 of the content behind git's header: small files.
    Git(String),
}

impl ContentHash {
    /// Name of the blob.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Sha256(text) | Self::Git(text) => text,
        }
    }

    /// The function that computes it for a file of `size` bytes.
    pub(super) fn start(&self, size: u64) -> Hasher {
        match self {
            Self::Sha256(_) => Hasher::Sha256(Sha256::new()),
            Self::Git(_) => {
                let mut hash = Sha1::new();
                hash.update(format!("blob {size}\0"));
                Hasher::Git(hash)
            }
        }
    }
}

/// A hash in the making.
pub(super) enum Hasher {
    Sha256(Sha256),
    Git(Sha1),
}

impl Hasher {
    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Git(hash) => hash.update(bytes),
        }
    }

    pub(super) fn finish(self) -> String {
        match self {
            Self::Sha256(hash) => hex(&hash.finalize()),
            Self::Git(hash) => hex(&hash.finalize()),
        }
    }
}

/// An entry as the server writes it.
#[derive(Debug, Deserialize)]
pub(super) struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    oid: String,
    #[serde(default)]
    lfs: Option<Large>,
}

#[derive(Debug, Deserialize)]
struct Large {
    oid: String,
    size: u64,
}

/// Files collected page by page, by path.
#[derive(Debug, Default)]
pub(super) struct Listing {
    files: BTreeMap<String, RemoteFile>,
    entries: usize,
}

impl Listing {
    /// Adds a page.
    ///
    /// # Errors
    /// [`HubError::FileName`] for a name that leads out of its folder; [`HubError::Unusable`] for a file without a
    /// usable hash, or too many entries.
    pub(super) fn add(&mut self, repo: &Repo, page: Vec<Entry>) -> Result<()> {
        self.entries += page.len();
        if self.entries > MOST_ENTRIES {
            return Err(HubError::Unusable {
                repo: repo.to_string(),
                reason: format!(
                    "lists more than {MOST_ENTRIES} files; download it with another program and give the path"
                ),
            });
        }
        for entry in page {
            if entry.kind != "file" {
                continue;
            }
            check_path(&entry.path).map_err(|reason| HubError::FileName {
                repo: repo.to_string(),
                name: printable(&entry.path),
                reason,
            })?;
            let file = read_entry(entry).map_err(|path| HubError::Unusable {
                repo: repo.to_string(),
                reason: format!(
                    "lists `{}` without a hash that its content could be checked by",
                    printable(&path)
                ),
            })?;
            self.files.insert(file.path.clone(), file);
        }
        Ok(())
    }

    /// The files, by path.
    pub(super) fn into_files(self) -> Vec<RemoteFile> {
        self.files.into_values().collect()
    }
}

fn read_entry(entry: Entry) -> std::result::Result<RemoteFile, String> {
    let (size, hash) = match entry.lfs {
        Some(large) => {
            let oid = large
                .oid
                .strip_prefix("sha256:")
                .unwrap_or(&large.oid)
                .to_owned();
            (large.size, ContentHash::Sha256(oid))
        }
        None => (entry.size, ContentHash::Git(entry.oid)),
    };
    let digits = match hash {
        ContentHash::Sha256(_) => 64,
        ContentHash::Git(_) => 40,
    };
    match hash.name().len() == digits && is_hex(hash.name()) {
        true => Ok(RemoteFile {
            path: entry.path,
            size,
            hash,
        }),
        false => Err(entry.path),
    }
}

#[cfg(test)]
mod tests {
    use super::super::name::Kind;
    use super::*;

    fn add(json: &str) -> Result<Vec<RemoteFile>> {
        let repo = Repo::parse(Kind::Model, "a/b").unwrap();
        let mut listing = Listing::default();
        listing.add(&repo, serde_json::from_str(json).unwrap())?;
        Ok(listing.into_files())
    }

    #[test]
    fn hashes_are_those_of_git() {
        // `printf hello | git hash-object --stdin`, and `sha256sum`.
        let git = ContentHash::Git("b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0".into());
        let mut hasher = git.start(5);
        hasher.update(b"hel");
        hasher.update(b"lo");
        assert_eq!(hasher.finish(), git.name());
        let large = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        let mut hasher = ContentHash::Sha256(large.into()).start(5);
        hasher.update(b"hello");
        assert_eq!(hasher.finish(), large);
    }

    #[test]
    fn entries_are_read_and_folders_left_out() {
        let (git, large) = ("0".repeat(40), "a".repeat(64));
        let json = format!(
            r#"[{{"type":"directory","path":"x","oid":"{git}"}},
                {{"type":"file","path":"x/w.safetensors","size":130,"oid":"{git}","lfs":{{"oid":"{large}","size":9,"pointerSize":130}}}},
                {{"type":"file","path":"config.json","size":5,"oid":"{git}","later":[1]}}]"#
        );
        let files = add(&json).unwrap();
        let shown: Vec<_> = files
            .iter()
            .map(|f| (f.path.as_str(), f.size, f.hash.name()))
            .collect();
        assert_eq!(
            shown,
            [
                ("config.json", 5, git.as_str()),
                ("x/w.safetensors", 9, large.as_str())
            ]
        );
    }

    #[test]
    fn what_cannot_be_trusted_is_refused() {
        let git = "0".repeat(40);
        for path in [
            "../x",
            "/etc/passwd",
            "a/../../x",
            "a\\\\b",
            "a\\u0000b",
            "",
        ] {
            let json = format!(r#"[{{"type":"file","path":"{path}","size":1,"oid":"{git}"}}]"#);
            assert!(
                matches!(add(&json), Err(HubError::FileName { .. })),
                "{path}"
            );
        }
        for oid in ["", "../../x", "ABCDEF", &"g".repeat(40), &"0".repeat(64)] {
            let json = format!(r#"[{{"type":"file","path":"a","size":1,"oid":"{oid}"}}]"#);
            assert!(
                matches!(add(&json), Err(HubError::Unusable { .. })),
                "{oid}"
            );
        }
    }
}
