//! How far an edit is: a bar on a terminal, lines elsewhere, on standard error.

use std::io::Write;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

/// A count of things of one kind that are done one after the other.
pub struct Told {
    bar: ProgressBar,
    begun: std::cell::Cell<Instant>,
}

impl Default for Told {
    fn default() -> Self {
        let style = ProgressStyle::with_template("{msg} {pos}/{len} {wide_bar} {eta} left");
        let bar = ProgressBar::new(0);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self {
            bar,
            begun: Instant::now().into(),
        }
    }
}

impl Told {
    /// Says what is going on.
    pub fn note(&self, text: &str) {
        match self.bar.is_hidden() {
            true => line(text),
            false => self.bar.println(text),
        }
    }

    /// Begins to count `total` of `what`.
    pub fn begin(&self, what: &str, total: usize) {
        self.bar.reset();
        self.bar.set_length(total as u64);
        self.bar.set_message(what.to_owned());
        self.begun.set(Instant::now());
    }

    /// One more is done.
    pub fn step(&self) {
        self.bar.inc(1);
        if self.bar.is_hidden() {
            let (done, total) = (self.bar.position(), self.bar.length().unwrap_or_default());
            let seconds = self.begun.get().elapsed().as_secs_f64();
            line(&format!(
                "{} {done}/{total} {seconds:.1} s",
                self.bar.message()
            ));
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// Progress that cannot be shown is no reason to stop.
fn line(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
