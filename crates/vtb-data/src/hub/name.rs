//! Names of repositories: `org/name`, `org/name@revision`, `org/name@revision:file`.

use std::fmt;

use super::error::{HubError, Result, printable};

/// What is wanted of a repository. It decides where the hub looks and which files are fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Weights, configuration, tokenizer and processor of a model.
    Model,
    /// A model in the diffusers layout: a folder for each part.
    Pipeline,
    /// A model in either layout: what the repository holds decides.
    AnyModel,
    /// A PEFT adapter.
    Adapter,
    /// Rows, pictures and clips.
    Dataset,
}

impl Kind {
    /// `models` or `datasets`: in addresses and in the names of cache folders.
    pub(super) fn plural(self) -> &'static str {
        match self {
            Self::Model | Self::Pipeline | Self::AnyModel | Self::Adapter => "models",
            Self::Dataset => "datasets",
        }
    }

    /// What stands before `org/name` in the addresses of pages and files.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::Model | Self::Pipeline | Self::AnyModel | Self::Adapter => "",
            Self::Dataset => "datasets/",
        }
    }

    /// For messages.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Model | Self::Pipeline | Self::AnyModel => "model",
            Self::Adapter => "adapter",
            Self::Dataset => "data set",
        }
    }
}

/// The branch that is meant where none is named.
const MAIN: &str = "main";
/// Longest part of a name, as the hub has it.
const LONGEST_PART: usize = 96;
/// Longest revision.
const LONGEST_REVISION: usize = 200;

/// A repository on the hub, at a revision, perhaps one file of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    kind: Kind,
    id: String,
    revision: Option<String>,
    file: Option<String>,
}

impl Repo {
    /// Reads `org/name[@revision][:file]`.
    ///
    /// # Errors
    /// [`HubError::Name`] for anything else.
    pub fn parse(kind: Kind, text: &str) -> Result<Self> {
        let wrong = |reason: &str| HubError::Name {
            text: printable(text),
            reason: reason.to_owned(),
        };
        // Neither names nor revisions hold a colon.
        let (rest, file) = match text.split_once(':') {
            Some((rest, file)) => (rest, Some(file)),
            None => (text, None),
        };
        let (id, revision) = match rest.split_once('@') {
            Some((id, revision)) => (id, Some(revision)),
            None => (rest, None),
        };
        let (org, name) = id.split_once('/').ok_or_else(|| wrong("there is no `/`"))?;
        for part in [org, name] {
            check_part(part).map_err(wrong)?;
        }
        if let Some(revision) = revision {
            check_revision(revision).map_err(wrong)?;
        }
        if let Some(file) = file {
            check_path(file).map_err(wrong)?;
        }
        Ok(Self {
            kind,
            id: id.to_owned(),
            revision: revision.map(str::to_owned),
            file: file.map(str::to_owned),
        })
    }

    /// What is wanted of it.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// `org/name`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Branch, tag or commit; `main` where none was named.
    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or(MAIN)
    }

    /// The one file that was named.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Whether the revision is a commit, which never changes.
    pub fn is_pinned(&self) -> bool {
        is_commit(self.revision())
    }

    /// The same repository at `commit`.
    #[must_use]
    pub fn at(&self, commit: &str) -> Self {
        Self {
            revision: Some(commit.to_owned()),
            ..self.clone()
        }
    }

    /// Name of its folder in the cache.
    pub(super) fn folder(&self) -> String {
        format!("{}--{}", self.kind.plural(), self.id.replace('/', "--"))
    }
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id)?;
        if let Some(revision) = &self.revision {
            write!(f, "@{revision}")?;
        }
        if let Some(file) = &self.file {
            write!(f, ":{file}")?;
        }
        Ok(())
    }
}

/// Whether a text is the full hash of a commit.
pub(super) fn is_commit(text: &str) -> bool {
    text.len() == 40 && is_hex(text)
}

/// Lower-case hexadecimal.
pub(super) fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn check_part(part: &str) -> std::result::Result<(), &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    let edge = |b: Option<u8>| b.is_some_and(|b| b"-.".contains(&b));
    if part.is_empty() || part.len() > LONGEST_PART {
        return Err("both parts have 1 to 96 characters");
    }
    if !part.bytes().all(plain) {
        return Err("its parts consist of letters, digits, `-`, `_` and `.`");
    }
    let (first, last) = (part.bytes().next(), part.bytes().last());
    if edge(first) || edge(last) || part.contains("--") || part.contains("..") {
        return Err("no part begins or ends with `-` or `.`, or holds one of them twice in a row");
    }
    Ok(())
}

fn check_revision(revision: &str) -> std::result::Result<(), &'static str> {
    if revision.len() > LONGEST_REVISION {
        return Err("the revision is too long");
    }
    check_path(revision).map_err(|_| "the revision is not the name of a branch, tag or commit")?;
    match revision.bytes().any(|b| b" ~^?*[".contains(&b)) {
        true => Err("the revision is not the name of a branch, tag or commit"),
        false => Ok(()),
    }
}

/// Whether `/`-separated names stay below the folder that they are joined to, on every system.
pub(super) fn check_path(path: &str) -> std::result::Result<(), &'static str> {
    const MOST: usize = 1024;
    const MOST_PART: usize = 200;
    const DEEPEST: usize = 32;
    if path.is_empty() || path.len() > MOST {
        return Err("names of files have 1 to 1024 bytes");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Err("it holds a control character or a backslash");
    }
    let parts: Vec<&str> = path.split('/').collect();
    if parts.len() > DEEPEST || parts.iter().any(|part| part.len() > MOST_PART) {
        return Err("it is too deep, or a part of it is too long");
    }
    // An absolute path begins with an empty part.
    match parts.iter().any(|part| matches!(*part, "" | "." | "..")) {
        true => Err("it leads out of its folder"),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for text in [
            "org/name",
            "Qwen/Qwen3-VL-4B-Instruct@main",
            "a/b.c_d@refs/pr/1",
            "a/b:train/rows.jsonl",
            "a/b@v1.0:rows.jsonl",
        ] {
            let repo = Repo::parse(Kind::Model, text).unwrap();
            assert_eq!(repo.to_string(), text);
        }
        let repo = Repo::parse(Kind::Dataset, "a/b:c.jsonl").unwrap();
        assert_eq!((repo.revision(), repo.file()), ("main", Some("c.jsonl")));
        assert!(!repo.is_pinned());
        let commit = "0123456789abcdef0123456789abcdef01234567";
        assert!(repo.at(commit).is_pinned());
        assert_eq!(repo.at(commit).to_string(), format!("a/b@{commit}:c.jsonl"));
        assert_eq!(repo.folder(), "datasets--a--b");
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            "name",
            "/name",
            "org/",
            "a/b/c",
            "../name",
            "./name",
            "a/..",
            "-a/b",
            "a/b.",
            "a/b--c",
            "a/ b",
            "a/b@",
            "a/b@../../x",
            "a/b@/main",
            "a/b@x y",
            "a/b@x\u{0}",
            "a/b:",
            "a/b:/etc/passwd",
            "a/b:../x",
            "ä/b",
            "a\\b/c",
        ] {
            let found = Repo::parse(Kind::Model, text);
            assert!(
                matches!(found, Err(HubError::Name { .. })),
                "{text}: {found:?}"
            );
        }
        let long = format!("{}/b", "a".repeat(97));
        assert!(Repo::parse(Kind::Model, &long).is_err());
    }

    #[test]
    fn names_of_files_stay_in_their_folder() {
        for good in ["a", "a/b.png", "..a/b..", "ü/b c.png", ".hidden"] {
            assert_eq!(check_path(good), Ok(()), "{good}");
        }
        let deep = ["a"; 33].join("/");
        let long = "a".repeat(201);
        for bad in [
            "", "/a", "a//b", "a/", "../a", "a/../b", "a/..", ".", "a/./b", "a\\..\\b", "a\u{0}b",
            "a\nb", &deep, &long,
        ] {
            assert!(check_path(bad).is_err(), "{bad:?}");
        }
    }
}
