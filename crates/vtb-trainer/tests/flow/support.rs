//! A model of velocities that is linear, data for it, and runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::json;
use vtb_nn::NnError;
use vtb_nn::device::cpu_device;
use vtb_nn::lm::{AdapterState, NamedTensors, ParamInfo};
use vtb_nn::trainable::Trainable;
use vtb_nn::velocity::{
    FlowBackwardOptions, FlowCondition, FlowRow, Latent, TextStates, VelocityGradient,
    VelocityModel,
};
use vtb_trainer::TrainError;
use vtb_trainer::checkpoint::{Content, Contents, HostTensor, HostTensors, Retention};
use vtb_trainer::checkpoint::{decode_tensors, encode_tensors};
use vtb_trainer::objectives::flow::FlowConfig;
use vtb_trainer::optim::AdamWConfig;
use vtb_trainer::progress::{Phase, Reporter};
use vtb_trainer::run_dir::{Metrics, RunDir, Start};
use vtb_trainer::schedule::{Decay, ScheduleConfig};
use vtb_trainer::signal::Interrupt;
use vtb_trainer::train::{
    DrawSamples, Evaluate, FlowObjective, FlowSample, FlowSettings, FlowSource, Hooks, LoadOptions,
    LoopConfig, Outcome, RunContext, train,
};

pub(crate) const CHANNELS: usize = 3;

/// `v_c = Σ_j w_cj·x_j + s_c·σ + t_c·(mean of the text) + r_c·(mean of the references)` at every place.
#[derive(Debug, Clone)]
pub(crate) struct Linear {
    pub(crate) values: BTreeMap<String, Vec<f32>>,
    device: Device,
}

/// What a row brings besides its latent, in f64.
fn given(row: &FlowRow) -> [f64; 3] {
    let mean = |values: &mut dyn Iterator<Item = f32>| {
        let (mut sum, mut count) = (0.0, 0.0);
        for value in values {
            sum += f64::from(value);
            count += 1.0;
        }
        if count > 0.0 { sum / count } else { 0.0 }
    };
    let condition = &row.condition;
    let references = condition.references.iter().flat_map(|r| &r.values);
    [
        f64::from(row.sigma),
        mean(&mut condition.text.values.iter().copied()),
        mean(&mut references.copied()),
    ]
}

const GIVEN: [&str; 3] = ["sigma", "text", "reference"];

impl Linear {
    pub(crate) fn new() -> Self {
        let spread =
            |len: usize, k: f32| (0..len).map(|i| 0.1 * (k * i as f32 + k).sin()).collect();
        let mut values = BTreeMap::from([("mix".to_owned(), spread(CHANNELS * CHANNELS, 1.7))]);
        for (i, name) in GIVEN.iter().enumerate() {
            values.insert((*name).to_owned(), spread(CHANNELS, 0.4 + i as f32));
        }
        Self {
            values,
            device: cpu_device(),
        }
    }

    pub(crate) fn zero() -> Self {
        let mut model = Self::new();
        model.values.values_mut().for_each(|v| v.fill(0.0));
        model
    }

    fn predict(&self, row: &FlowRow) -> Latent {
        let mut v = Latent::zeros(row.noisy.shape);
        let places = row.noisy.values.len() / CHANNELS;
        let given = given(row);
        for c in 0..CHANNELS {
            let terms = GIVEN
                .iter()
                .zip(given)
                .map(|(n, x)| f64::from(self.values[*n][c]) * x);
            let offset: f64 = terms.sum();
            for p in 0..places {
                let mix = |j: usize| {
                    let w = self.values["mix"][c * CHANNELS + j];
                    f64::from(w) * f64::from(row.noisy.values[j * places + p])
                };
                v.values[c * places + p] = ((0..CHANNELS).map(mix).sum::<f64>() + offset) as f32;
            }
        }
        v
    }

    fn shape(name: &str) -> Vec<usize> {
        match name {
            "mix" => vec![CHANNELS, CHANNELS],
            _ => vec![CHANNELS],
        }
    }

    pub(crate) fn host(&self) -> HostTensors {
        let tensor = |(name, data): (&String, &Vec<f32>)| {
            let shape = Self::shape(name);
            let data = data.clone();
            (name.clone(), HostTensor { shape, data })
        };
        self.values.iter().map(tensor).collect()
    }
}

impl Trainable for Linear {
    fn trainable(&self) -> Vec<ParamInfo> {
        let info = |name: &String| ParamInfo {
            name: name.clone(),
            shape: Self::shape(name),
            decay: name == "mix",
        };
        self.values.keys().map(info).collect()
    }

    fn trainable_values(&self) -> NamedTensors {
        let upload = |data: &Vec<f32>| {
            Tensor::from_data(TensorData::new(data.clone(), [data.len()]), &self.device)
        };
        self.values
            .iter()
            .map(|(n, data)| (n.clone(), upload(data)))
            .collect()
    }

    fn set_trainable(&mut self, values: NamedTensors) -> Result<(), NnError> {
        for (name, value) in values {
            let old = self.values.get_mut(&name);
            let old = old.ok_or_else(|| NnError::input(format!("no parameter `{name}`")))?;
            *old = value.into_data().try_into_vec().unwrap();
        }
        Ok(())
    }
}

impl VelocityModel for Linear {
    fn velocity(&self, rows: &[FlowRow], _: AdapterState) -> Result<Vec<Latent>, NnError> {
        Ok(rows.iter().map(|row| self.predict(row)).collect())
    }

    fn backward(
        &self,
        rows: &[FlowRow],
        _: &FlowBackwardOptions,
        objective: &mut VelocityGradient<'_>,
    ) -> Result<NamedTensors, NnError> {
        assert!(
            rows.iter()
                .all(|row| row.noisy.shape == rows[0].noisy.shape)
        );
        let derivatives = objective(&self.velocity(rows, AdapterState::On)?)?;
        let mut sums: BTreeMap<&str, Vec<f64>> = self
            .values
            .iter()
            .map(|(n, v)| (n.as_str(), vec![0.0; v.len()]))
            .collect();
        for (row, derivative) in rows.iter().zip(&derivatives) {
            let places = row.noisy.values.len() / CHANNELS;
            let given = given(row);
            for c in 0..CHANNELS {
                for p in 0..places {
                    let g = f64::from(derivative.values[c * places + p]);
                    for j in 0..CHANNELS {
                        let x = f64::from(row.noisy.values[j * places + p]);
                        sums.get_mut("mix").unwrap()[c * CHANNELS + j] += g * x;
                    }
                    for (name, x) in GIVEN.iter().zip(given) {
                        sums.get_mut(*name).unwrap()[c] += g * x;
                    }
                }
            }
        }
        let upload = |sums: Vec<f64>| {
            let sums: Vec<f32> = sums.into_iter().map(|x| x as f32).collect();
            let len = sums.len();
            Tensor::from_data(TensorData::new(sums, [len]), &self.device)
        };
        Ok(sums
            .into_iter()
            .map(|(n, s)| (n.to_owned(), upload(s)))
            .collect())
    }
}

/// Rows of a pattern each, `shapes` taking turns.
#[derive(Clone)]
pub(crate) struct Patterns {
    pub(crate) rows: usize,
    pub(crate) shapes: Vec<[usize; 4]>,
    /// Clean frames of every row.
    pub(crate) given: usize,
}

impl Patterns {
    /// Rows of one shape.
    pub(crate) fn even(rows: usize) -> Self {
        Self {
            rows,
            shapes: vec![[CHANNELS, 1, 4, 4]],
            given: 0,
        }
    }
}

impl FlowSource for Patterns {
    fn len(&self) -> usize {
        self.rows
    }

    fn sample(&self, index: usize) -> Result<FlowSample, TrainError> {
        let shape = self.shapes[index % self.shapes.len()];
        let wave = |k: f32, len: usize| (0..len).map(|i| (k * (i + index) as f32).sin()).collect();
        let clean = Latent {
            shape,
            values: wave(0.3, shape.iter().product()),
        };
        let reference = [CHANNELS, 1, 2, 2];
        let references = vec![Latent {
            shape: reference,
            values: wave(0.9, reference.iter().product()),
        }];
        let text = TextStates {
            rows: 2,
            width: 3,
            values: wave(1.9, 6),
        };
        let condition = Arc::new(FlowCondition {
            text,
            references,
            clean_frames: self.given,
        });
        Ok(FlowSample { clean, condition })
    }
}

pub(crate) const SEED: u64 = 5;

/// An objective over `data` that prepares rows with a thread.
pub(crate) fn objective(
    data: Patterns,
    batch_size: usize,
    gradient_accumulation: usize,
) -> FlowObjective<Patterns> {
    let load = LoadOptions {
        threads: 1,
        ahead: 3,
        ..LoadOptions::default()
    };
    let settings = FlowSettings {
        batch_size,
        gradient_accumulation,
        ..FlowSettings::default()
    };
    FlowObjective::new(data, load, settings, &FlowConfig::default(), SEED, true).unwrap()
}

pub(crate) fn loop_config(max_steps: u64) -> LoopConfig {
    LoopConfig {
        max_steps,
        schedule: ScheduleConfig {
            learning_rate: 0.02,
            decay: Decay::Constant,
            ..ScheduleConfig::default()
        },
        optimizer: AdamWConfig::default(),
        max_grad_norm: 1.0,
        save_steps: 1,
        retention: Retention {
            last: 0,
            best: false,
        },
        eval_steps: 0,
        completion_steps: 0,
        sample_steps: 0,
        ema_decay: 0.0,
        max_skipped_steps: 0,
    }
}

/// Interrupts the run after a step.
struct StopAfter {
    step: Option<u64>,
    interrupt: Interrupt,
}

impl Reporter for StopAfter {
    fn on_start(&mut self, _: &Phase) {}

    fn on_step(&mut self, metrics: &Metrics) {
        if self.step == Some(metrics.step) {
            self.interrupt.trigger();
        }
    }

    fn on_message(&mut self, _: &str) {}

    fn on_end(&mut self, _: &str) {}
}

/// One run, as its settings and what it may call.
pub(crate) struct Run<'a> {
    pub(crate) config: LoopConfig,
    pub(crate) data: Patterns,
    /// Rows per pass, passes per step.
    pub(crate) batch: [usize; 2],
    pub(crate) stop_after: Option<u64>,
    pub(crate) resume: bool,
    pub(crate) evaluate: Option<&'a mut Evaluate<'a, Linear>>,
    pub(crate) samples: Option<&'a mut DrawSamples<'a, Linear>>,
}

impl Run<'_> {
    pub(crate) fn new(max_steps: u64) -> Self {
        Self {
            config: loop_config(max_steps),
            data: Patterns::even(7),
            batch: [2, 2],
            stop_after: None,
            resume: false,
            evaluate: None,
            samples: None,
        }
    }

    /// Trains a fresh model in `root`. Checkpoints hold the model as the hook saw it in `shown.safetensors`.
    pub(crate) fn go(self, root: &Path) -> Result<(Outcome, Linear), TrainError> {
        let mut model = Linear::new();
        let [batch_size, accumulation] = self.batch;
        let mut objective = objective(self.data, batch_size, accumulation);
        let start = if self.resume {
            Start::Resume
        } else {
            Start::Fresh
        };
        let dir = RunDir::open(root, start)?;
        let config = json!({});
        let device = cpu_device();
        let context = RunContext {
            dir: &dir,
            phase: "flow",
            config: &config,
            dataset_fingerprint: "patterns",
            seed: SEED,
            resume: self.resume,
            device: &device,
        };
        let interrupt = Interrupt::manual();
        let mut reporter = StopAfter {
            step: self.stop_after,
            interrupt: interrupt.clone(),
        };
        let export = |model: &Linear, _: u64| {
            let bytes = encode_tensors(&model.host(), None)?;
            Ok(Contents::from([(
                "shown.safetensors".into(),
                Content::Bytes(bytes),
            )]))
        };
        let hooks = Hooks {
            reporter: &mut reporter,
            interrupt: &interrupt,
            evaluate: match self.evaluate {
                Some(evaluate) => Some(&mut *evaluate),
                None => None,
            },
            export: &export,
            completions: None,
            samples: match self.samples {
                Some(draw) => Some(&mut *draw),
                None => None,
            },
        };
        let outcome = train(&mut model, &mut objective, &self.config, &context, hooks)?;
        Ok((outcome, model))
    }
}

/// Tensors of a file of a checkpoint.
pub(crate) fn tensors(root: &Path, step: u64, file: &str) -> HostTensors {
    let path = root.join(format!("checkpoints/step-{step}/{file}"));
    decode_tensors(&path, &std::fs::read(&path).unwrap())
        .unwrap()
        .0
}

/// Rows of `metrics.jsonl`, without measured times.
pub(crate) fn metrics(root: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(root.join("metrics.jsonl")).unwrap();
    let row = |line: &str| {
        let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
        row.as_object_mut().unwrap().remove("time");
        row
    };
    text.lines().map(row).collect()
}
