//! Learning rates and AdamW against values computed by torch and transformers (`tests/fixtures/optim`).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;

use burn::tensor::{Device, Tensor, TensorData};
use serde_json::Value;
use vtb_nn::lm::{NamedTensors, ParamInfo};
use vtb_trainer::checkpoint::{
    CheckpointMeta, CheckpointStore, Content, Contents, HostTensors, Retention, decode_tensors,
    encode_tensors,
};
use vtb_trainer::optim::{AdamW, AdamWConfig, clip, global_norm, to_device, to_host};
use vtb_trainer::schedule::{Decay, Schedule, ScheduleConfig};

const NAMES: [&str; 3] = ["decayed.lora_A", "decayed.weight", "plain.bias"];

fn fixture(name: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("../../tests/fixtures/optim").join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

fn decay(kind: &str) -> Decay {
    serde_json::from_value(Value::from(kind)).unwrap()
}

#[test]
fn learning_rates_are_those_of_transformers() {
    let tables = json("schedules.json");
    let tables = tables.as_array().unwrap();
    assert!(tables.len() >= 9);
    for table in tables {
        let base = table["lr"].as_f64().unwrap();
        let config = ScheduleConfig {
            learning_rate: base,
            decay: decay(table["kind"].as_str().unwrap()),
            warmup_steps: table["warmup_steps"].as_u64().unwrap(),
            ..ScheduleConfig::default()
        };
        let schedule = Schedule::new(&config, table["total_steps"].as_u64().unwrap()).unwrap();
        for (step, want) in table["rates"].as_array().unwrap().iter().enumerate() {
            let (got, want) = (schedule.lr(step as u64), want.as_f64().unwrap());
            assert!(
                (got - want).abs() <= 1e-12 * base,
                "{table} step {step}: {got}"
            );
        }
    }
}

/// One trajectory of the fixture and its settings.
struct Case {
    name: &'static str,
    settings: Value,
    steps: usize,
    tensors: HostTensors,
}

impl Case {
    fn load(name: &'static str) -> Self {
        let settings = json("adamw.json");
        let path = fixture("adamw.safetensors");
        let bytes = std::fs::read(&path).unwrap();
        Self {
            name,
            steps: settings["steps"].as_u64().unwrap() as usize,
            settings: settings["settings"][name].clone(),
            tensors: decode_tensors(&path, &bytes).unwrap().0,
        }
    }

    fn number(&self, key: &str) -> f64 {
        self.settings[key].as_f64().unwrap()
    }

    fn get(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        let tensor = self
            .tensors
            .get(name)
            .unwrap_or_else(|| panic!("no `{name}`"));
        (tensor.shape.clone(), tensor.data.clone())
    }

    fn named(&self, prefix: &str) -> NamedTensors {
        let device = Device::default();
        let load = |name: &str| {
            let data = self.get(&format!("{prefix}.{name}")).1;
            let len = data.len();
            Tensor::from_data(TensorData::new(data, [len]), &device)
        };
        NAMES.iter().map(|n| (n.to_string(), load(n))).collect()
    }

    fn params(&self, prefix: &str) -> Vec<ParamInfo> {
        let info = |name: &&str| ParamInfo {
            name: name.to_string(),
            shape: self.get(&format!("{prefix}.{name}")).0,
            decay: name.starts_with("decayed"),
        };
        NAMES.iter().map(info).collect()
    }

    fn optimizer(&self, params: &[ParamInfo]) -> AdamW {
        let config = AdamWConfig {
            beta1: self.settings["betas"][0].as_f64().unwrap(),
            beta2: self.settings["betas"][1].as_f64().unwrap(),
            eps: self.number("eps"),
            weight_decay: self.number("weight_decay"),
            groups: Vec::new(),
        };
        AdamW::new(config, params).unwrap()
    }

    fn rate(&self, step: usize) -> f64 {
        let cosine = &self.settings["cosine"];
        let config = ScheduleConfig {
            learning_rate: self.number("lr"),
            decay: decay(if cosine.is_null() {
                "constant"
            } else {
                "cosine"
            }),
            warmup_steps: cosine[0].as_u64().unwrap_or(0),
            ..ScheduleConfig::default()
        };
        let total = cosine[1].as_u64().unwrap_or(self.steps as u64);
        Schedule::new(&config, total).unwrap().lr(step as u64)
    }

    fn assert_close(&self, what: &str, got: &[f32]) {
        let want = self.get(what).1;
        assert_eq!(got.len(), want.len(), "{what}");
        let largest = want.iter().fold(0f32, |max, w| max.max(w.abs()));
        for (g, w) in got.iter().zip(&want) {
            // A few units in the last place of what was added up: torch may fuse what we round twice.
            let allowed = 1e-6 * (w.abs() + 0.1 * largest);
            assert!((g - w).abs() <= allowed, "{what}: {g} {w}");
        }
    }

    /// Steps `from..to` from these values; checks norm, clipping, values and moments at each.
    fn run(
        &self,
        optimizer: &mut AdamW,
        mut values: NamedTensors,
        steps: std::ops::Range<usize>,
        params: &[ParamInfo],
    ) -> NamedTensors {
        for step in steps {
            let at = format!("{}.{step}", self.name);
            let mut grads = self.named(&format!("grad.{step}"));
            let norm = global_norm(&grads).unwrap();
            let want = f64::from(self.get(&format!("{at}.grad_norm")).1[0]);
            assert!(
                (norm.norm - want).abs() <= 1e-6 * want,
                "{at}: {} {want}",
                norm.norm
            );
            if let Some(max_norm) = self.settings["max_norm"].as_f64() {
                grads = clip(grads, &norm, max_norm);
            }
            for (name, grad) in to_host(&grads, params).unwrap() {
                self.assert_close(&format!("{at}.clipped.{name}"), &grad.data);
            }
            values = optimizer.step(values, grads, self.rate(step)).unwrap();
            for (name, value) in to_host(&values, params).unwrap() {
                self.assert_close(&format!("{at}.value.{name}"), &value.data);
            }
            for (name, state) in optimizer.export().unwrap() {
                assert_eq!(state.step, step as u64 + 1);
                self.assert_close(&format!("{at}.exp_avg.{name}"), &state.m);
                self.assert_close(&format!("{at}.exp_avg_sq.{name}"), &state.v);
            }
        }
        values
    }
}

#[test]
fn trajectories_are_those_of_torch() {
    for name in ["default", "ms_swift", "scheduled"] {
        let case = Case::load(name);
        let params = case.params("initial");
        let mut optimizer = case.optimizer(&params);
        case.run(
            &mut optimizer,
            case.named("initial"),
            0..case.steps,
            &params,
        );
    }
}

/// Values and state through a checkpoint in the middle: every later bit is the same.
#[test]
fn a_checkpoint_in_the_middle_changes_no_bit() {
    let case = Case::load("scheduled");
    let params = case.params("initial");
    let device = Device::default();
    let mut straight = case.optimizer(&params);
    let values = case.run(&mut straight, case.named("initial"), 0..case.steps, &params);

    let dir = tempfile::tempdir().unwrap();
    let store = CheckpointStore::open(dir.path(), Retention::default()).unwrap();
    let mut first = case.optimizer(&params);
    let half = case.run(&mut first, case.named("initial"), 0..3, &params);
    let weights = encode_tensors(&to_host(&half, &params).unwrap(), None);
    let contents = Contents::from([
        ("weights".into(), Content::Bytes(weights.unwrap())),
        ("optimizer".into(), Content::Bytes(first.encode().unwrap())),
    ]);
    store.save(CheckpointMeta::default(), contents).unwrap();

    let found = store.latest().unwrap().unwrap();
    let mut second = case.optimizer(&params);
    second.load(&found, "optimizer", &device).unwrap();
    let half = to_device(&found.tensors("weights").unwrap().0, &device);
    let resumed = case.run(&mut second, half, 3..case.steps, &params);
    assert_eq!(
        to_host(&resumed, &params).unwrap(),
        to_host(&values, &params).unwrap()
    );
    assert_eq!(second.encode().unwrap(), straight.encode().unwrap());
}

#[test]
fn state_of_another_model_is_refused() {
    let case = Case::load("default");
    let params = case.params("initial");
    let mut optimizer = case.optimizer(&params);
    case.run(&mut optimizer, case.named("initial"), 0..1, &params);
    let state = optimizer.export().unwrap();
    let mut other = case.optimizer(&params[..1]);
    let text = other
        .import(state.clone(), &Device::default())
        .unwrap_err()
        .to_string();
    assert!(text.contains("`decayed.weight`"), "{text}");
    let mut cut = state;
    cut.get_mut("plain.bias").unwrap().m.pop();
    let text = optimizer
        .import(cut, &Device::default())
        .unwrap_err()
        .to_string();
    assert!(text.contains("`plain.bias`"), "{text}");
}
