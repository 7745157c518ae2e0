//! The live terminal dashboard of burn-train, driven by our loop (feature `tui`).
//!
//! It draws on standard output while it lives. Messages are held back until it closes, then go to standard error.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};
use std::sync::Arc;

use burn::train::Interrupter;
use burn::train::metric::{
    MetricDefinition, MetricEntry, MetricId, NumericAttributes, NumericEntry, SerializedEntry,
};
use burn::train::renderer::tui::TuiMetricsRendererWrapper;
use burn::train::renderer::{MetricState, MetricsRenderer};

use crate::TrainError;
use crate::progress::{Phase, Reporter};
use crate::run_dir::Metrics;
use crate::signal::Interrupt;

/// A dashboard with a plot of every metric. Its stop command makes the loop finish its step and save; its kill command
/// ends the run at once by a panic, as burn-train has it.
pub struct Dashboard {
    /// Taken on drop, so that the terminal is given back before messages are printed.
    renderer: Option<Box<dyn MetricsRenderer>>,
    interrupter: Interrupter,
    stop: Interrupt,
    known: BTreeSet<String>,
    held: Vec<String>,
}

impl Dashboard {
    /// Opens the dashboard. Fails where standard output is no terminal.
    pub fn open(stop: Interrupt) -> Result<Self, TrainError> {
        if !std::io::stdout().is_terminal() {
            return Err(TrainError::Config(
                "the dashboard needs a terminal on standard output; leave out --tui".into(),
            ));
        }
        let interrupter = Interrupter::new();
        let renderer = TuiMetricsRendererWrapper::new(interrupter.clone(), None);
        Ok(Self::over(Box::new(renderer), interrupter, stop))
    }

    fn over(renderer: Box<dyn MetricsRenderer>, interrupter: Interrupter, stop: Interrupt) -> Self {
        Self {
            renderer: Some(renderer),
            interrupter,
            stop,
            known: BTreeSet::new(),
            held: Vec::new(),
        }
    }
}

impl Reporter for Dashboard {
    fn on_start(&mut self, phase: &Phase) {
        let Some(renderer) = &mut self.renderer else {
            return;
        };
        let total = phase.total_steps as usize;
        // No epochs: with zero of them the dashboard shows steps as the overall progress.
        renderer.start(0, 0, Some(total), Some(&phase.name));
        renderer.start_split("train", total);
        renderer.update_split(phase.done_steps as usize);
    }

    fn on_step(&mut self, metrics: &Metrics) {
        let Some(renderer) = &mut self.renderer else {
            return;
        };
        for (name, value) in &metrics.values {
            let id = MetricId::new(Arc::new(name.clone()));
            if self.known.insert(name.clone()) {
                renderer.register_metric(MetricDefinition {
                    metric_id: id.clone(),
                    name: Arc::new(name.clone()),
                    description: None,
                    attributes: NumericAttributes::default().into(),
                });
            }
            let text = SerializedEntry::new(format!("{value:.4}"), value.to_string());
            let point = value.is_finite().then_some(NumericEntry::Value(*value));
            renderer.update_train(MetricState::Numeric(MetricEntry::new(id, text), point));
        }
        renderer.update_split(metrics.step as usize);
        if self.interrupter.should_stop() {
            self.stop.trigger();
        }
    }

    fn on_message(&mut self, message: &str) {
        self.held.push(message.into());
    }

    fn on_end(&mut self, message: &str) {
        self.held.push(message.into());
        if let Some(renderer) = &mut self.renderer {
            renderer.end_split();
            renderer.end();
        }
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.renderer = None;
        for message in &self.held {
            // A terminal that went away must not end a training run.
            let _ = writeln!(std::io::stderr(), "{message}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    use burn::train::logger::{EvaluationProgressLogger, TrainingProgressLogger};
    use burn::train::renderer::{
        EvaluationName, MetricsRendererEvaluation, MetricsRendererTraining,
    };

    /// Writes down what a dashboard is told.
    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<Vec<String>>>);

    impl Recorder {
        fn note(&self, text: String) {
            self.0.lock().unwrap().push(text);
        }
    }

    impl MetricsRendererTraining for Recorder {
        fn update_train(&mut self, state: MetricState) {
            if let MetricState::Numeric(entry, point) = state {
                let drawn = point.is_some();
                self.note(format!(
                    "{} drawn: {drawn}",
                    entry.serialized_entry.formatted
                ));
            }
        }
        fn update_valid(&mut self, _state: MetricState) {}
    }

    impl MetricsRendererEvaluation for Recorder {
        fn update_test(&mut self, _name: EvaluationName, _state: MetricState) {}
    }

    impl TrainingProgressLogger for Recorder {
        fn start(&mut self, _: usize, _: usize, items: Option<usize>, label: Option<&str>) {
            self.note(format!("start {label:?} {items:?}"));
        }
        fn update_epoch(&mut self, _epoch: usize) {}
        fn start_split(&mut self, _split: &str, _total: usize) {}
        fn update_split(&mut self, items: usize) {
            self.note(format!("at {items}"));
        }
        fn end_split(&mut self) {}
        fn end(&mut self) {
            self.note("end".into());
        }
        fn log_event_training(&mut self, _event: String) {}
    }

    impl EvaluationProgressLogger for Recorder {
        fn start_global_progress(&mut self, _total: usize) {}
        fn start_test(&mut self, _name: &str, _total: usize) {}
        fn update_test_progress(&mut self, _items: usize) {}
        fn end_test(&mut self) {}
        fn end_global_progress(&mut self) {}
        fn log_event_evaluation(&mut self, _event: String) {}
    }

    impl MetricsRenderer for Recorder {
        fn manual_close(&mut self) {}
        fn register_metric(&mut self, definition: MetricDefinition) {
            self.note(format!("register {}", definition.name));
        }
    }

    #[test]
    fn the_loop_drives_the_dashboard_and_its_stop_stops_the_loop() {
        let (recorder, interrupter) = (Recorder::default(), Interrupter::new());
        let stop = Interrupt::manual();
        let mut dashboard = Dashboard::over(
            Box::new(recorder.clone()),
            interrupter.clone(),
            stop.clone(),
        );
        dashboard.on_start(&Phase {
            name: "sft".into(),
            total_steps: 9,
            done_steps: 2,
        });
        let mut metrics = Metrics::new(3);
        metrics.set("loss", 0.5);
        dashboard.on_step(&metrics);
        assert!(!stop.is_set());
        interrupter.stop(None);
        metrics.step = 4;
        metrics.set("loss", f64::NAN);
        dashboard.on_step(&metrics);
        assert!(stop.is_set());
        dashboard.on_end("interrupted");
        let notes = recorder.0.lock().unwrap().clone();
        assert_eq!(
            notes,
            [
                "start Some(\"sft\") Some(9)",
                "at 2",
                "register loss",
                "0.5000 drawn: true",
                "at 3",
                "NaN drawn: false",
                "at 4",
                "end",
            ]
        );
    }
}
