//! Everything that can go wrong between a name and its files, each a sentence with the way out.

use std::io;
use std::path::{Path, PathBuf};

/// Shorthand for this module's results.
pub type Result<T> = std::result::Result<T, HubError>;

/// An error of hub access. Texts that a server sent are cut and stripped of control characters; addresses are shown
/// without their query, which may hold a signature; a token is shown nowhere.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A text is no name of a repository.
    #[error("`{text}` is no name on the hub: {reason}; write org/name or org/name@revision")]
    Name {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An environment variable cannot be used.
    #[error("{name}: {reason}")]
    Setting {
        /// The variable.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The hub has no such repository, or does not show it.
    #[error("{repo}: {endpoint} shows no such {what}; {hint}")]
    NoRepository {
        /// The name.
        repo: String,
        /// The hub.
        endpoint: String,
        /// `model` or `data set`.
        what: &'static str,
        /// What it may be instead.
        hint: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repo} has no revision `{revision}`; {hint}")]
    NoRevision {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
        /// Which there are.
        hint: String,
    },
    /// The repository lacks what is wanted of it.
    #[error("{repo} {reason}")]
    Unusable {
        /// The repository and its revision.
        repo: String,
        /// What is missing, and what to do.
        reason: String,
    },
    /// The repository has terms that must be accepted first.
    #[error(
        "{repo} is gated: accept its terms at {page} with your account, then give the account's token ({token})"
    )]
    Gated {
        /// The repository.
        repo: String,
        /// Its page.
        page: String,
        /// Which token was used, and where one is looked for.
        token: String,
    },
    /// The hub refuses.
    #[error("{repo}: the hub refuses with status {status}{message}; {token}")]
    Denied {
        /// The repository.
        repo: String,
        /// HTTP status.
        status: u16,
        /// What the server says, with a colon before it.
        message: String,
        /// Which token was used, and where one is looked for.
        token: String,
    },
    /// Nothing may be downloaded and the cache does not hold it.
    #[error(
        "{repo} is not complete in the cache {} ({missing}) and HF_HUB_OFFLINE is set; run the same command once \
         without HF_HUB_OFFLINE on a machine with access, or copy {} from one",
        cache.display(), folder
    )]
    NotCached {
        /// The repository and its revision.
        repo: String,
        /// The cache.
        cache: PathBuf,
        /// What is missing.
        missing: String,
        /// The folder of the cache that would hold it.
        folder: String,
    },
    /// The server cannot be reached, or failed every time.
    #[error(
        "{address}: {reason}, {attempts} attempts; what was downloaded is kept, the same command goes on"
    )]
    Unreachable {
        /// Host and path.
        address: String,
        /// The last failure.
        reason: String,
        /// Requests made without progress.
        attempts: u32,
    },
    /// The server's answer cannot be used.
    #[error("{address}: {reason}")]
    Answer {
        /// Host and path.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The name of a file in a listing leads somewhere else.
    #[error("{repo} lists a file named `{name}`: {reason}; nothing of it was downloaded")]
    FileName {
        /// The repository.
        repo: String,
        /// The name, made printable.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A file is not the one that was listed.
    #[error("{file}: {reason}; the file was not kept, run the command again")]
    Content {
        /// Repository and file.
        file: String,
        /// What differs.
        reason: String,
    },
    /// A file of the cache could not be read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was being done to it.
        action: &'static str,
        /// The system's answer.
        source: io::Error,
    },
    /// The caller asked to stop.
    #[error("interrupted; what was downloaded is kept, the same command goes on")]
    Stopped,
}

impl HubError {
    pub(super) fn io(path: &Path, action: &'static str, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            action,
            source,
        }
    }
}

/// Foreign text for a message: printable, at most 200 characters.
pub(super) fn printable(text: &str) -> String {
    const MOST: usize = 200;
    let mut shown: String = text
        .chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .take(MOST)
        .collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    shown
}

/// The two or three of `known` that `wanted` is most like, as `did you mean a or b?`.
pub(super) fn nearest<'a>(wanted: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    const ALIKE: f64 = 0.75;
    let mut scored: Vec<(f64, &str)> = known
        .map(|name| (strsim::jaro_winkler(wanted, name), name))
        .filter(|(score, _)| *score >= ALIKE)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    scored.truncate(3);
    let names: Vec<String> = scored.iter().map(|(_, name)| printable(name)).collect();
    (!names.is_empty()).then(|| format!("did you mean {}?", names.join(" or ")))
}
