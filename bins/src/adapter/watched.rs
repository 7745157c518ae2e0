//! Tensors on their way to a file, as a person sees them; Ctrl-C stops between two.

use std::io::IsTerminal;

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
    /// Watches `source`, whose tensors have `bytes` together.
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

    fn step(&self, loaded: TensorData) -> Result<TensorData, NnError> {
        self.bar.inc(loaded.as_bytes().len() as u64);
        match self.stop.is_set() {
            true => Err(NnError::input("interrupted")),
            false => Ok(loaded),
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
