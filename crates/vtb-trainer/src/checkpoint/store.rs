//! A directory of checkpoints: saving, finding, and throwing away.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::content::{self, Contents, entries};
use super::disk::{Disk, FailPoint, free_bytes};
use super::manifest::{Checkpoint, CheckpointMeta, MANIFEST, Manifest};
use crate::TrainError;

/// Space to leave free beside the files themselves: manifest and file system bookkeeping.
const MARGIN: u64 = 1 << 20;

/// Which checkpoints outlive a save.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// This many of the latest; 0 keeps all.
    pub last: usize,
    /// And the one with the highest score, if any has a score.
    pub best: bool,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            last: 2,
            best: true,
        }
    }
}

/// The checkpoints of a run.
#[derive(Debug)]
pub struct CheckpointStore {
    dir: PathBuf,
    retention: Retention,
    disk: Disk,
}

/// What the name of a directory says it is.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    /// `step-N`.
    Whole(u64),
    /// `step-N.tmp-<pid>` or `step-N.gone-<pid>`: to be removed.
    Debris,
    /// `step-N.old-<pid>`: being replaced by another `step-N`.
    Old(u64),
}

impl CheckpointStore {
    /// Opens `dir` for writing, creates it if need be, and clears what a crash has left. Obeys
    /// [`super::CRASH_AT`].
    pub fn open(dir: impl Into<PathBuf>, retention: Retention) -> Result<Self, TrainError> {
        Self::with_fail_point(dir, retention, FailPoint::from_env()?)
    }

    /// [`CheckpointStore::open`] with a given fail point.
    pub fn with_fail_point(
        dir: impl Into<PathBuf>,
        retention: Retention,
        fail: FailPoint,
    ) -> Result<Self, TrainError> {
        let dir = dir.into();
        TrainError::at(&dir, fs::create_dir_all(&dir))?;
        let store = Self {
            dir,
            retention,
            disk: Disk::new(fail),
        };
        store.recover()?;
        Ok(store)
    }

    /// Saves `step-N`, then applies retention. On an error nothing of it remains and earlier checkpoints are as they
    /// were; [`TrainError::is_disk_full`] tells a full disk, after which training may go on.
    pub fn save(
        &self,
        meta: CheckpointMeta,
        contents: Contents<'_>,
    ) -> Result<PathBuf, TrainError> {
        self.check_space(&contents)?;
        let step = meta.step;
        let tmp = self.sibling(step, "tmp");
        let target = self.step_dir(step);
        let saved = self
            .write(&tmp, meta, contents)
            .and_then(|()| self.publish(step, &tmp, &target));
        if let Err(error) = saved {
            if let Err(left) = fs::remove_dir_all(&tmp)
                && left.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!("{}: could not be removed: {left}", tmp.display());
            }
            return Err(error);
        }
        if let Err(error) = self.retain() {
            tracing::warn!("old checkpoints were kept: {error}");
        }
        Ok(target)
    }

    /// The latest valid checkpoint; damaged ones are skipped with a warning.
    pub fn latest(&self) -> Result<Option<Checkpoint>, TrainError> {
        latest(&self.dir)
    }

    /// The checkpoint of a step, verified. Absent or damaged is an error, never a fresh start.
    pub fn at_step(&self, step: u64) -> Result<Checkpoint, TrainError> {
        Checkpoint::open(&self.step_dir(step))
    }

    /// Removes checkpoints of later steps. A run that goes back to `step` calls this first, lest a later crash resume
    /// from the history it left.
    pub fn drop_after(&self, step: u64) -> Result<(), TrainError> {
        for (found, path) in steps(&self.dir)? {
            if found > step {
                self.discard(found, &path)?;
            }
        }
        Ok(())
    }

    fn step_dir(&self, step: u64) -> PathBuf {
        self.dir.join(format!("step-{step}"))
    }

    fn sibling(&self, step: u64, kind: &str) -> PathBuf {
        self.dir
            .join(format!("step-{step}.{kind}-{}", std::process::id()))
    }

    fn check_space(&self, contents: &Contents<'_>) -> Result<(), TrainError> {
        let needed = contents
            .values()
            .fold(MARGIN, |sum, c| sum.saturating_add(c.size_hint()));
        match free_bytes(&self.dir) {
            Some(free) if free < needed => Err(TrainError::DiskFull {
                path: self.dir.clone(),
                what: "a checkpoint".into(),
                detail: format!("{needed} bytes needed, {free} free"),
            }),
            _ => Ok(()),
        }
    }

    fn write(
        &self,
        tmp: &Path,
        meta: CheckpointMeta,
        contents: Contents<'_>,
    ) -> Result<(), TrainError> {
        TrainError::at(tmp, fs::create_dir(tmp))?;
        let mut files = BTreeMap::new();
        for (name, content) in contents {
            content::write(&self.disk, tmp, &name, content, &mut files)?;
        }
        if files.contains_key(MANIFEST) {
            return Err(TrainError::Config(format!(
                "`{MANIFEST}` is written by the checkpoint itself; choose another name"
            )));
        }
        let text = Manifest::new(meta, files).render()?;
        let path = tmp.join(MANIFEST);
        content::write_file(&self.disk, &path, |out| {
            TrainError::at(&path, out.write_all(text.as_bytes()))
        })?;
        content::sync_dirs(&self.disk, tmp)
    }

    /// Gives the finished directory its name. A directory of that name steps aside until the new one is durable.
    fn publish(&self, step: u64, tmp: &Path, target: &Path) -> Result<(), TrainError> {
        let old = self.sibling(step, "old");
        let replaces = target.exists();
        if replaces {
            self.disk.rename(target, &old)?;
        }
        if let Err(error) = self.disk.rename(tmp, target) {
            if replaces {
                TrainError::at(target, fs::rename(&old, target))?;
            }
            return Err(error);
        }
        self.disk.sync_dir(&self.dir)?;
        if replaces && let Err(error) = self.disk.remove_dir(&old) {
            tracing::warn!("a replaced checkpoint was kept: {error}");
        }
        Ok(())
    }

    fn retain(&self) -> Result<(), TrainError> {
        if self.retention.last == 0 {
            return Ok(());
        }
        // Directories without a readable manifest count for nothing here and are left for their owner to look at.
        let known: Vec<(u64, PathBuf, Option<f64>)> = steps(&self.dir)?
            .into_iter()
            .filter_map(|(step, path)| {
                let score = Manifest::read(&path).ok()?.meta.score;
                Some((step, path, score))
            })
            .collect();
        let best = known
            .iter()
            .filter_map(|(step, _, score)| Some((*step, (*score)?)))
            .max_by(|a, b| a.1.total_cmp(&b.1).then(a.0.cmp(&b.0)))
            .map(|(step, _)| step)
            .filter(|_| self.retention.best);
        for (step, path, _) in known.iter().skip(self.retention.last) {
            if Some(*step) != best {
                self.discard(*step, path)?;
            }
        }
        Ok(())
    }

    /// Takes the name away first, so that no half-deleted directory looks like a checkpoint.
    fn discard(&self, step: u64, path: &Path) -> Result<(), TrainError> {
        let gone = self.sibling(step, "gone");
        self.disk.rename(path, &gone)?;
        self.disk.sync_dir(&self.dir)?;
        self.disk.remove_dir(&gone)
    }

    fn recover(&self) -> Result<(), TrainError> {
        for (path, _) in entries(&self.dir)? {
            match kind(&path) {
                Some(Kind::Debris) => {
                    tracing::info!("{}: left by a crash, removed", path.display());
                    TrainError::at(&path, fs::remove_dir_all(&path))?;
                }
                Some(Kind::Old(step)) if self.step_dir(step).exists() => {
                    TrainError::at(&path, fs::remove_dir_all(&path))?;
                }
                Some(Kind::Old(step)) => {
                    tracing::info!("{}: left by a crash, put back", path.display());
                    TrainError::at(&path, fs::rename(&path, self.step_dir(step)))?;
                }
                Some(Kind::Whole(_)) | None => {}
            }
        }
        Ok(())
    }
}

/// The latest valid checkpoint below `dir`, found by scanning: no link, no index. Damaged ones are skipped with a
/// warning; no directory, or none valid, is `None`.
pub fn latest(dir: &Path) -> Result<Option<Checkpoint>, TrainError> {
    if !dir.exists() {
        return Ok(None);
    }
    for (step, path) in steps(dir)? {
        match Checkpoint::open(&path) {
            Ok(checkpoint) if checkpoint.manifest.meta.step == step => return Ok(Some(checkpoint)),
            Ok(other) => tracing::warn!(
                "{} holds the checkpoint of step {}; skipped",
                path.display(),
                other.manifest.meta.step
            ),
            Err(error) => tracing::warn!("{} is skipped: {error}", path.display()),
        }
    }
    Ok(None)
}

/// Directories named `step-N`, latest first.
fn steps(dir: &Path) -> Result<Vec<(u64, PathBuf)>, TrainError> {
    let mut found: Vec<(u64, PathBuf)> = entries(dir)?
        .into_iter()
        .filter(|(_, kind)| kind.is_dir())
        .filter_map(|(path, _)| match kind(&path) {
            Some(Kind::Whole(step)) => Some((step, path)),
            _ => None,
        })
        .collect();
    found.sort_by_key(|(step, _)| std::cmp::Reverse(*step));
    Ok(found)
}

fn kind(path: &Path) -> Option<Kind> {
    let name = path.file_name()?.to_str()?.strip_prefix("step-")?;
    let (step, rest) = name
        .split_once('.')
        .map_or((name, None), |(s, r)| (s, Some(r)));
    let number: u64 = step.parse().ok()?;
    // `step-007` and `step-+7` are not ours.
    if number.to_string() != step {
        return None;
    }
    let Some(rest) = rest else {
        return Some(Kind::Whole(number));
    };
    let (what, pid) = rest.split_once('-')?;
    pid.parse::<u32>().ok()?;
    match what {
        "tmp" | "gone" => Some(Kind::Debris),
        "old" => Some(Kind::Old(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_names_are_touched() {
        for (name, expected) in [
            ("step-7", Some(Kind::Whole(7))),
            ("step-7.tmp-12", Some(Kind::Debris)),
            ("step-7.gone-12", Some(Kind::Debris)),
            ("step-7.old-12", Some(Kind::Old(7))),
            ("step-07", None),
            ("step-7.tmp", None),
            ("step-7.tmp-x", None),
            ("step-7.bak-12", None),
            ("notes", None),
        ] {
            assert_eq!(kind(Path::new(name)), expected, "{name}");
        }
    }
}
