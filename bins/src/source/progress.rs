//! A download as a person sees it: a bar on a terminal, two lines elsewhere, both on standard error.

use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use vtb_data::hub::Watch;

use crate::plan::gib;

/// Shows one download.
pub(super) struct Download<'a> {
    name: String,
    stop: &'a AtomicBool,
    shown: Mutex<Option<Shown>>,
}

struct Shown {
    bar: ProgressBar,
    files: usize,
    bytes: u64,
    begun: Instant,
}

impl<'a> Download<'a> {
    /// Nothing is shown before bytes are to come.
    pub(super) fn new(name: String, stop: &'a AtomicBool) -> Self {
        Self {
            name,
            stop,
            shown: Mutex::new(None),
        }
    }
}

impl Watch for Download<'_> {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn begin(&self, files: usize, bytes: u64) {
        const TEMPLATE: &str =
            "{prefix} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec} left {eta}";
        let bar = match std::io::stderr().is_terminal() {
            true => ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr()),
            false => ProgressBar::hidden(),
        };
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix("downloading");
        say(
            &bar,
            &format!("downloading {}: {files} files, {}", self.name, gib(bytes)),
        );
        let begun = Instant::now();
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = Some(Shown {
            bar,
            files,
            bytes,
            begun,
        });
    }

    fn at(&self, bytes: u64) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shown) = &*shown {
            shown.bar.set_position(bytes);
        }
    }

    fn note(&self, message: &str) {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        match &*shown {
            Some(shown) => say(&shown.bar, message),
            None => say(&ProgressBar::hidden(), message),
        }
    }
}

impl Drop for Download<'_> {
    fn drop(&mut self) {
        let shown = self.shown.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(shown) = shown.take() else { return };
        let arrived = shown.bar.position() >= shown.bytes;
        shown.bar.finish_and_clear();
        if arrived {
            let (files, bytes, took) = (
                shown.files,
                gib(shown.bytes),
                shown.begun.elapsed().as_secs_f64(),
            );
            say(
                &shown.bar,
                &format!("downloaded {files} files, {bytes}, in {took:.1} s"),
            );
        }
    }
}

/// A line above the bar. A reader that went away must not end a download.
fn say(bar: &ProgressBar, line: &str) {
    bar.suspend(|| {
        let _ = writeln!(std::io::stderr(), "{line}");
    });
}
