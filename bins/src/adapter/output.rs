//! A directory that appears whole or not at all.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::ending::Usage;

/// A directory under construction, beside the place it is meant for; removed unless it is finished.
#[derive(Debug)]
pub(super) struct NewDir {
    target: PathBuf,
    temporary: PathBuf,
}

impl NewDir {
    /// Refuses a place where something is; the name of the directory to come.
    ///
    /// # Errors
    /// [`Usage`] for a place that is taken or has no name.
    pub(super) fn check(target: &Path) -> anyhow::Result<&OsStr> {
        let shown = target.display();
        let Some(name) = target.file_name() else {
            bail!(Usage(format!("--output-dir {shown}: name a new directory")));
        };
        if fs::symlink_metadata(target).is_ok() {
            bail!(Usage(format!(
                "--output-dir {shown}: is there already and is not overwritten; name a new directory"
            )));
        }
        Ok(name)
    }

    /// Makes `.NAME.tmp-PID` beside the place.
    ///
    /// # Errors
    /// As [`NewDir::check`]; a disk that refuses.
    pub(super) fn begin(target: &Path) -> anyhow::Result<Self> {
        let name = Self::check(target)?;
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".tmp-{}", std::process::id()));
        let temporary = target.with_file_name(hidden);
        let parent = parent_of(target);
        fs::create_dir_all(parent).with_context(|| format!("{}", parent.display()))?;
        fs::create_dir(&temporary).with_context(|| format!("{}", temporary.display()))?;
        Ok(Self {
            target: target.to_owned(),
            temporary,
        })
    }

    /// Where to write.
    pub(super) fn path(&self) -> &Path {
        &self.temporary
    }

    /// Puts the directory in its place. Its files must be on the disk already.
    ///
    /// # Errors
    /// A place that was taken meanwhile; a disk that refuses.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        sync(&self.temporary)?;
        fs::rename(&self.temporary, &self.target)
            .with_context(|| format!("cannot put {} in its place", self.target.display()))?;
        sync(parent_of(&self.target))
    }
}

impl Drop for NewDir {
    fn drop(&mut self) {
        // Nothing is left of it once it was renamed.
        let _ = fs::remove_dir_all(&self.temporary);
    }
}

fn parent_of(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A rename is on the disk once its directory is.
fn sync(dir: &Path) -> anyhow::Result<()> {
    if cfg!(unix) {
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.with_context(|| format!("{}", dir.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_finished_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("a/out");
        let begun = NewDir::begin(&target).unwrap();
        fs::write(begun.path().join("x"), "1").unwrap();
        assert!(!target.exists());
        drop(begun);
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 0);
        let begun = NewDir::begin(&target).unwrap();
        fs::write(begun.path().join("x"), "2").unwrap();
        begun.finish().unwrap();
        assert_eq!(fs::read_to_string(target.join("x")).unwrap(), "2");
        assert_eq!(fs::read_dir(dir.path().join("a")).unwrap().count(), 1);
        let taken = NewDir::begin(&target).unwrap_err();
        assert!(
            taken.is::<Usage>() && taken.to_string().contains("already"),
            "{taken}"
        );
        assert_eq!(fs::read_to_string(target.join("x")).unwrap(), "2");
    }
}
