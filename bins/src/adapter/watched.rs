//! Tensors and files on their way to a new directory, as a person sees them; Ctrl-C stops between two.

use std::fs::{self, File};
use std::io::IsTerminal;
use std::path::Path;

use anyhow::Context;
use burn::tensor::{DType, TensorData};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vtb_nn::NnError;
use vtb_nn::checkpoint::{TensorInfo, TensorSource};
use vtb_trainer::signal::Interrupt;

/// A source with a bar on standard error, if that is a terminal.
pub(super) struct Watched<'a> {
    source: &'a dyn TensorSource,
    stop: Interrupt,
    bar: ProgressBar,
}

impl<'a> Watched<'a> {
    /// Watches `source`; its tensors and the files that are copied beside them have `bytes` together.
    ///
    /// # Errors
    /// Signals that cannot be handled.
    pub(super) fn new(source: &'a dyn TensorSource, bytes: u64) -> anyhow::Result<Self> {
        const TEMPLATE: &str =
            "merging [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec} left {eta}";
        crate::source::take_over_signals();
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Ok(Self {
            source,
            stop: Interrupt::install()?,
            bar,
        })
    }

    /// Whether a signal asked to stop.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_set()
    }

    /// Copies a file onto the disk.
    ///
    /// # Errors
    /// A signal that asked to stop; a disk that refuses.
    pub(super) fn copy(&self, from: &Path, to: &Path) -> anyhow::Result<()> {
        self.go_on()?;
        let bytes = fs::copy(from, to).with_context(|| from.display().to_string())?;
        let synced = File::open(to).and_then(|file| file.sync_all());
        synced.with_context(|| to.display().to_string())?;
        self.bar.inc(bytes);
        Ok(())
    }

    fn step(&self, loaded: TensorData) -> Result<TensorData, NnError> {
        self.bar.inc(loaded.as_bytes().len() as u64);
        self.go_on().map(|()| loaded)
    }

    fn go_on(&self) -> Result<(), NnError> {
        match self.stop.is_set() {
            true => Err(NnError::input("interrupted")),
            false => Ok(()),
        }
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl TensorSource for Watched<'_> {
    fn origin(&self) -> String {
        self.source.origin()
    }

    fn info(&self, name: &str) -> Option<TensorInfo> {
        self.source.info(name)
    }

    fn load(&self, name: &str) -> Result<TensorData, NnError> {
        self.step(self.source.load(name)?)
    }

    fn names(&self) -> Vec<String> {
        self.source.names()
    }

    fn load_as(&self, name: &str, dtype: DType) -> Result<TensorData, NnError> {
        self.step(self.source.load_as(name, dtype)?)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use vtb_nn::checkpoint::MemorySource;

    use super::*;

    #[test]
    fn a_signal_stops_before_the_next_tensor_and_the_next_file() {
        let dir = tempfile::tempdir().unwrap();
        let [from, to] = ["from", "to"].map(|name| dir.path().join(name));
        fs::write(&from, "part").unwrap();
        let one = TensorData::new(vec![1.0f32], [1]);
        let source = MemorySource::new("test", BTreeMap::from([("w".to_owned(), one)]));
        let watched = Watched {
            source: &source,
            stop: Interrupt::manual(),
            bar: ProgressBar::hidden(),
        };
        watched.copy(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "part");
        assert!(watched.load("w").is_ok());
        fs::remove_file(&to).unwrap();
        watched.stop.trigger();
        assert!(watched.copy(&from, &to).is_err() && !to.exists());
        assert!(watched.load("w").is_err() && watched.is_stopped());
    }
}
