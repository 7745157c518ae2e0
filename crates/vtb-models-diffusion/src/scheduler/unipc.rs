//! UniPC for flow matching: a predictor of order 2 in the clean latent, and a corrector (Zhao et al., 2023).

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Sampler;
use crate::{DiffusionError, files};

/// The class named in the configuration.
const CLASS: &str = "UniPCMultistepScheduler";
/// Timesteps of training.
const TIMESTEPS: f64 = 1000.0;

/// Configuration of the schedule of a Wan model, named as in the published file. What is not listed must have its published
/// value where the file says it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UniPcConfig {
    /// Name of the class.
    #[serde(rename = "_class_name", default = "class")]
    pub class_name: String,
    /// How far noise levels are moved up: `s·σ/(1 + (s-1)·σ)`.
    pub flow_shift: f64,
    /// Timesteps of training.
    #[serde(default = "timesteps")]
    pub num_train_timesteps: usize,
    /// What the model predicts.
    #[serde(default = "flow_prediction")]
    pub prediction_type: String,
    /// Order of the predictor.
    #[serde(default = "two")]
    pub solver_order: usize,
    /// Form of the corrector.
    #[serde(default = "bh2")]
    pub solver_type: String,
    /// Whether noise levels are those of flow matching.
    #[serde(default)]
    pub use_flow_sigmas: bool,
    /// Whether the shift goes by the size; no Wan model has it.
    #[serde(default)]
    pub use_dynamic_shifting: bool,
    /// Where the last step ends.
    #[serde(default = "zero")]
    pub final_sigmas_type: String,
}

fn class() -> String {
    CLASS.into()
}

fn timesteps() -> usize {
    TIMESTEPS as usize
}

fn flow_prediction() -> String {
    "flow_prediction".into()
}

fn two() -> usize {
    2
}

fn bh2() -> String {
    "bh2".into()
}

fn zero() -> String {
    "zero".into()
}

impl Default for UniPcConfig {
    /// The published schedule of Wan2.2-TI2V-5B.
    fn default() -> Self {
        Self {
            class_name: class(),
            flow_shift: 5.0,
            num_train_timesteps: timesteps(),
            prediction_type: flow_prediction(),
            solver_order: two(),
            solver_type: bh2(),
            use_flow_sigmas: true,
            use_dynamic_shifting: false,
            final_sigmas_type: zero(),
        }
    }
}

impl UniPcConfig {
    /// Reads and checks the `scheduler` folder of a model.
    ///
    /// # Errors
    /// The file is missing, malformed, or asks for something that is not supported; file and field are named.
    pub fn from_dir(dir: &Path) -> Result<Self, DiffusionError> {
        let path = dir.join(files::SCHEDULER_CONFIG);
        let config: Self = files::read_json(&path)?;
        match config.fault() {
            Some(fault) => Err(DiffusionError::file(path, fault)),
            None => Ok(config),
        }
    }

    /// Writes `scheduler_config.json` into a folder.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), DiffusionError> {
        files::write_json(&dir.join(files::SCHEDULER_CONFIG), self)
    }

    fn fault(&self) -> Option<String> {
        let published = Self::default();
        let differs = |key: &str, found: String, wanted: String| {
            (found != wanted).then(|| format!("`{key}` is `{found}`, expected `{wanted}`"))
        };
        differs(
            "_class_name",
            self.class_name.clone(),
            published.class_name.clone(),
        )
        .or_else(|| {
            differs(
                "prediction_type",
                self.prediction_type.clone(),
                published.prediction_type.clone(),
            )
        })
        .or_else(|| {
            differs(
                "solver_type",
                self.solver_type.clone(),
                published.solver_type.clone(),
            )
        })
        .or_else(|| {
            differs(
                "final_sigmas_type",
                self.final_sigmas_type.clone(),
                published.final_sigmas_type.clone(),
            )
        })
        .or_else(|| {
            let numbers = |c: &Self| {
                format!(
                    "{}, {}, {}, {}",
                    c.solver_order,
                    c.num_train_timesteps,
                    c.use_flow_sigmas,
                    c.use_dynamic_shifting
                )
            };
            differs(
                "solver_order, num_train_timesteps, use_flow_sigmas, use_dynamic_shifting",
                numbers(self),
                numbers(&published),
            )
        })
        .or_else(|| {
            let shift = self.flow_shift;
            let good = shift > 0.0 && shift.is_finite();
            (!good).then(|| format!("`flow_shift` is {shift}, it must be above 0"))
        })
    }
}

/// Noise levels of `steps` steps: `linspace(1, last, steps + 1)` without its end, shifted, and 0, where sampling ends.
///
/// # Errors
/// No steps, or a shift that is not above 0.
pub fn shifted_levels(steps: usize, last: f64, shift: f64) -> Result<Vec<f64>, DiffusionError> {
    if steps == 0 {
        return Err(DiffusionError::input("0 sampling steps are too few"));
    }
    if !(shift > 0.0 && shift.is_finite()) {
        return Err(DiffusionError::input(format!(
            "a shift of {shift} is not possible, it must be above 0"
        )));
    }
    let level = |i: usize| {
        // In the order of numpy's `linspace`, whose last digit decides where levels are rounded down to whole timesteps.
        let even = 1.0 + i as f64 * ((last - 1.0) / steps as f64);
        shift * even / (1.0 + (shift - 1.0) * even)
    };
    Ok((0..steps).map(level).chain([0.0]).collect())
}

/// The solver. Clean latents are predicted as `m = x - σ·v`; with `α = 1 - σ` and `λ = ln(α/σ)` steps are taken in `λ`.
#[derive(Debug, Clone)]
pub struct UniPc {
    sigmas: Vec<f64>,
    /// Whole timesteps of training, one for each step.
    times: Vec<f64>,
    /// Clean latents predicted at the last two steps, the latest last.
    clean: Vec<Vec<f32>>,
    /// The state at the beginning of the step before, and the order of its predictor.
    before: Option<(Vec<f32>, usize)>,
}

impl UniPc {
    /// Through `steps` noise levels moved up by `shift`.
    ///
    /// # Errors
    /// No steps, or a shift that is not above 0.
    pub fn new(steps: usize, shift: f64) -> Result<Self, DiffusionError> {
        let mut sigmas = shifted_levels(steps, 1.0 / TIMESTEPS, shift)?;
        // At 1 there is nothing of the clean latent, and λ is infinite.
        sigmas[0] = sigmas[0].min(1.0 - 1e-6);
        // The reference rounds timesteps down before it rounds levels to f32.
        let times = sigmas.iter().map(|s| (s * TIMESTEPS).floor()).collect();
        for sigma in &mut sigmas {
            *sigma = f64::from(*sigma as f32);
        }
        Ok(Self {
            sigmas,
            times,
            clean: Vec::new(),
            before: None,
        })
    }

    /// Noise levels, of which the last is 0.
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    fn lambda(&self, step: usize) -> f64 {
        let sigma = self.sigmas[step];
        (1.0 - sigma).ln() - sigma.ln()
    }

    /// The state at `step` from the one before, `m1` the clean latent predicted now.
    fn corrected(&self, step: usize, m1: &[f32]) -> Option<Vec<f32>> {
        let (x, order) = self.before.as_ref()?;
        let m0 = self.clean.last()?;
        let (from, to) = (self.sigmas[step - 1], self.sigmas[step]);
        let h = self.lambda(step) - self.lambda(step - 1);
        let e = (-h).exp_m1();
        let scale = (to / from) as f32;
        let along = -((1.0 - to) * e) as f32;
        let older = match (*order, self.clean.as_slice()) {
            (2, [older, _]) => {
                let r = (self.lambda(step - 2) - self.lambda(step - 1)) / h;
                let p1 = e / -h - 1.0;
                let (b1, p2) = (p1 / e, p1 / -h - 0.5);
                let b2 = 2.0 * p2 / e;
                // [[1, 1], [r, 1]]·ρ = [b1, b2]
                let first = (b2 - b1) / (r - 1.0);
                Some((older, (first / r) as f32, (b1 - first) as f32))
            }
            _ => None,
        };
        let value = |i: usize| {
            let slope = match older {
                Some((older, first, last)) => first * (older[i] - m0[i]) + last * (m1[i] - m0[i]),
                None => 0.5 * (m1[i] - m0[i]),
            };
            scale * x[i] + along * m0[i] + along * slope
        };
        Some((0..x.len()).map(value).collect())
    }

    /// The state after `step`, by the clean latents predicted up to now.
    fn predicted(&self, step: usize, x: &[f32], order: usize) -> Vec<f32> {
        let Some(m0) = self.clean.last() else {
            return x.to_vec();
        };
        let (from, to) = (self.sigmas[step], self.sigmas[step + 1]);
        if to == 0.0 {
            return m0.clone();
        }
        let h = self.lambda(step + 1) - self.lambda(step);
        let along = -((1.0 - to) * (-h).exp_m1()) as f32;
        let scale = (to / from) as f32;
        let older = match (order, self.clean.as_slice()) {
            (2, [older, _]) => {
                let r = (self.lambda(step - 1) - self.lambda(step)) / h;
                Some((older, (0.5 / r) as f32))
            }
            _ => None,
        };
        let value = |i: usize| {
            let slope = older.map_or(0.0, |(older, factor)| factor * (older[i] - m0[i]));
            scale * x[i] + along * m0[i] + along * slope
        };
        (0..x.len()).map(value).collect()
    }
}

impl Sampler for UniPc {
    fn steps(&self) -> usize {
        self.sigmas.len() - 1
    }

    /// The reference tells the model whole timesteps, rounded down.
    fn level(&self, step: usize) -> f32 {
        (self.times[step] / TIMESTEPS) as f32
    }

    fn advance(&mut self, step: usize, latent: &mut [f32], velocity: &[f32]) {
        let sigma = self.sigmas[step] as f32;
        let pairs = latent.iter().zip(velocity);
        let clean: Vec<f32> = pairs.map(|(x, v)| x - sigma * v).collect();
        if let Some(corrected) = self.corrected(step, &clean) {
            latent.copy_from_slice(&corrected);
        }
        self.clean.push(clean);
        if self.clean.len() > 2 {
            self.clean.remove(0);
        }
        let order = self.clean.len().min(self.steps() - step);
        let next = self.predicted(step, latent, order);
        self.before = Some((latent.to_vec(), order));
        latent.copy_from_slice(&next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_supported_is_named() {
        let dir = tempfile::tempdir().unwrap();
        UniPcConfig::default().write(dir.path()).unwrap();
        assert_eq!(
            UniPcConfig::from_dir(dir.path()).unwrap(),
            UniPcConfig::default()
        );
        let good = serde_json::to_value(UniPcConfig::default()).unwrap();
        for (key, value) in [
            ("_class_name", serde_json::json!("EulerDiscreteScheduler")),
            ("prediction_type", serde_json::json!("epsilon")),
            ("solver_order", serde_json::json!(3)),
            ("use_flow_sigmas", serde_json::json!(false)),
            ("flow_shift", serde_json::json!(-1.0)),
        ] {
            let mut bad = good.clone();
            bad[key] = value;
            std::fs::write(dir.path().join(files::SCHEDULER_CONFIG), bad.to_string()).unwrap();
            let error = UniPcConfig::from_dir(dir.path()).unwrap_err().to_string();
            assert!(
                error.contains(key) && error.contains("scheduler_config"),
                "{error}"
            );
        }
        assert!(UniPc::new(0, 5.0).is_err() && UniPc::new(4, f64::NAN).is_err());
    }

    /// By `numpy.linspace(1, 0.001, 31)[:-1] * 1000`, rounded down: some levels are a hair below a whole timestep in f32.
    #[test]
    fn timesteps_are_rounded_down_before_levels_become_f32() {
        let solver = UniPc::new(30, 1.0).unwrap();
        let times: Vec<u32> = (0..30)
            .map(|step| (solver.level(step) * 1000.0).round() as u32)
            .collect();
        let expected = [
            999, 966, 933, 900, 866, 833, 800, 766, 733, 700, 667, 633, 600, 567, 533, 500, 467,
            433, 400, 367, 333, 300, 267, 234, 200, 167, 134, 100, 67, 34,
        ];
        assert_eq!(times, expected);
    }

    #[test]
    fn a_straight_path_is_followed_to_its_end() {
        // x = (1-σ)·x0 + σ·n has the velocity n - x0 everywhere.
        let (x0, n) = ([0.5f32, -2.0], [1.5f32, 0.25]);
        for steps in [1, 2, 3, 8] {
            let mut solver = UniPc::new(steps, 5.0).unwrap();
            let mut x = n;
            for step in 0..steps {
                let v = [n[0] - x0[0], n[1] - x0[1]];
                solver.advance(step, &mut x, &v);
            }
            for (x, x0) in x.iter().zip(x0) {
                assert!((x - x0).abs() < 1e-5, "{steps} steps: {x} for {x0}");
            }
        }
    }
}
