//! What a person watching sees: the one way a loop speaks to the terminal.
//!
//! The library prints nothing by itself. A program makes a [`Reporter`] and hands it to the loop; everything goes to
//! standard error, since results go to standard output.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::run_dir::{Metrics, TIME};

/// Metrics shown when a reporter is given no names: those of them that a step has.
pub const HEADLINE: [&str; 6] = [
    "loss",
    "reward",
    "accuracy",
    "grad_norm",
    "learning_rate",
    "time/rows_per_second",
];

/// What is known when a phase of a run begins.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Phase {
    /// Such as `warm start` or `grpo`.
    pub name: String,
    /// Steps in all.
    pub total_steps: u64,
    /// Steps already made, when resumed.
    pub done_steps: u64,
}

/// Told of a run as it goes on.
pub trait Reporter: Send {
    /// A phase begins.
    fn on_start(&mut self, phase: &Phase);
    /// A step is finished; `metrics.step` counts from 1.
    fn on_step(&mut self, metrics: &Metrics);
    /// Something a person should read: a checkpoint, a result, a warning.
    fn on_message(&mut self, message: &str);
    /// The phase is over, or was interrupted.
    fn on_end(&mut self, message: &str);
}

/// A bar on a terminal, plain lines elsewhere.
pub fn automatic(interval: Duration) -> Box<dyn Reporter> {
    if std::io::stderr().is_terminal() {
        Box::new(Bar::new())
    } else {
        Box::new(Plain::new(Box::new(std::io::stderr()), interval))
    }
}

/// `loss 0.53 · reward 0.25` of the metrics named, in that order; of a path such as `time/step_time` the end.
pub fn headline(metrics: &Metrics, names: &[&str]) -> String {
    let show = |name: &&str| {
        let value = metrics.values.get(*name)?;
        let name = name.strip_prefix(TIME).unwrap_or(name);
        let digits = match value.abs() {
            x if x == 0.0 || (1e-3..1e4).contains(&x) => format!("{value:.4}"),
            _ => format!("{value:.3e}"),
        };
        Some(format!("{name} {digits}"))
    };
    let parts: Vec<String> = names.iter().filter_map(show).collect();
    parts.join(" · ")
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn on_start(&mut self, _phase: &Phase) {}
    fn on_step(&mut self, _metrics: &Metrics) {}
    fn on_message(&mut self, _message: &str) {}
    fn on_end(&mut self, _message: &str) {}
}

/// Lines for logs and pipes: the first and the last step of a phase, and one every interval between.
pub struct Plain {
    out: Box<dyn Write + Send>,
    interval: Duration,
    phase: Phase,
    last: Option<Instant>,
}

impl Plain {
    /// Lines to `out`, steps at most once per `interval`; zero shows every step.
    pub fn new(out: Box<dyn Write + Send>, interval: Duration) -> Self {
        Self {
            out,
            interval,
            phase: Phase::default(),
            last: None,
        }
    }

    /// A reader that went away must not end a training run.
    fn line(&mut self, text: &str) {
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }
}

impl Reporter for Plain {
    fn on_start(&mut self, phase: &Phase) {
        self.phase = phase.clone();
        self.last = None;
        let resumed = match phase.done_steps {
            0 => String::new(),
            done => format!(", going on after step {done}"),
        };
        self.line(&format!(
            "{}: {} steps{resumed}",
            phase.name, phase.total_steps
        ));
    }

    fn on_step(&mut self, metrics: &Metrics) {
        let due = self.last.is_none_or(|at| at.elapsed() >= self.interval);
        if !due && metrics.step != self.phase.total_steps {
            return;
        }
        self.last = Some(Instant::now());
        let numbers = headline(metrics, &HEADLINE);
        let Phase {
            name, total_steps, ..
        } = &self.phase;
        let text = format!("{name} {}/{total_steps} {numbers}", metrics.step);
        self.line(text.trim_end());
    }

    fn on_message(&mut self, message: &str) {
        self.line(message);
    }

    fn on_end(&mut self, message: &str) {
        self.line(&format!("{}: {message}", self.phase.name));
    }
}

/// A progress bar on standard error; messages scroll above it.
pub struct Bar {
    bar: ProgressBar,
    name: String,
}

impl Bar {
    /// A bar that appears with the first phase.
    pub fn new() -> Self {
        Self {
            bar: ProgressBar::hidden(),
            name: String::new(),
        }
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}

impl Reporter for Bar {
    fn on_start(&mut self, phase: &Phase) {
        const TEMPLATE: &str = "{prefix} [{bar:24}] {pos}/{len} {elapsed} left {eta} {wide_msg}";
        let target = ProgressDrawTarget::stderr();
        let bar = ProgressBar::with_draw_target(Some(phase.total_steps), target)
            .with_position(phase.done_steps)
            .with_prefix(phase.name.clone());
        // The template is a constant that the tests compile.
        let style = ProgressStyle::with_template(TEMPLATE);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.reset_eta();
        self.bar = bar;
        self.name = phase.name.clone();
    }

    fn on_step(&mut self, metrics: &Metrics) {
        self.bar.set_message(headline(metrics, &HEADLINE));
        self.bar.set_position(metrics.step);
    }

    fn on_message(&mut self, message: &str) {
        self.bar.suspend(|| {
            // A terminal that went away must not end a training run.
            let _ = writeln!(std::io::stderr(), "{message}");
        });
    }

    fn on_end(&mut self, message: &str) {
        self.bar.finish_and_clear();
        let name = &self.name;
        let _ = writeln!(std::io::stderr(), "{name}: {message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn metrics(step: u64) -> Metrics {
        let mut metrics = Metrics::new(step);
        metrics.set("reward", 0.25);
        metrics.set("loss", 12.0);
        metrics.set("learning_rate", 1e-6);
        metrics.set_time("rows_per_second", 41.5);
        metrics
    }

    fn lines(interval: Duration) -> Vec<String> {
        let out = Shared::default();
        let mut plain = Plain::new(Box::new(out.clone()), interval);
        plain.on_start(&Phase {
            name: "grpo".into(),
            total_steps: 4,
            done_steps: 1,
        });
        for step in 2..=4 {
            plain.on_step(&metrics(step));
        }
        plain.on_message("saved");
        plain.on_end("done");
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(String::from)
            .collect()
    }

    #[test]
    fn plain_lines_show_the_first_the_last_and_what_is_due() {
        assert_eq!(
            lines(Duration::from_secs(3600)),
            [
                "grpo: 4 steps, going on after step 1",
                "grpo 2/4 loss 12.0000 · reward 0.2500 · learning_rate 1.000e-6 · rows_per_second 41.5000",
                "grpo 4/4 loss 12.0000 · reward 0.2500 · learning_rate 1.000e-6 · rows_per_second 41.5000",
                "saved",
                "grpo: done",
            ]
        );
        assert_eq!(lines(Duration::ZERO).len(), 6);
    }

    #[test]
    fn a_bar_takes_every_call_without_a_terminal() {
        let mut bar = Bar::new();
        bar.on_step(&metrics(1));
        bar.on_start(&Phase::default());
        bar.on_step(&metrics(1));
        let style = bar.bar.prefix();
        assert_eq!(style, "");
        assert_eq!(bar.bar.message(), headline(&metrics(1), &HEADLINE));
    }
}
