//! AdamW as torch computes it.

use std::collections::BTreeMap;

use burn::tensor::{DType, Tensor};
use regex::Regex;
use serde::{Deserialize, Serialize};
use vtb_nn::lm::{NamedTensors, ParamInfo};

use crate::TrainError;

/// Parameters with settings of their own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParamGroup {
    /// Regular expression that the beginning of a parameter's name has to match (`model\.visual`). The first group that
    /// matches wins.
    pub pattern: String,
    /// Multiplies the learning rate.
    #[serde(default = "one")]
    pub lr_scale: f64,
    /// Takes the place of the common weight decay, for parameters that decay at all.
    #[serde(default)]
    pub weight_decay: Option<f64>,
}

fn one() -> f64 {
    1.0
}

/// Settings of [`AdamW`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamWConfig {
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay per unit of learning rate; norms and biases never decay.
    pub weight_decay: f64,
    /// Parameters with settings of their own.
    pub groups: Vec<ParamGroup>,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            weight_decay: 0.01,
            groups: Vec::new(),
        }
    }
}

/// What applies to one parameter.
#[derive(Debug, Clone)]
struct Rule {
    lr_scale: f64,
    weight_decay: f64,
}

/// Moments of one parameter, flat, in f32, on the parameter's device.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    pub(super) m: Tensor<1>,
    pub(super) v: Tensor<1>,
    /// Updates made.
    pub(super) step: u64,
}

/// Adam with decoupled weight decay (Loshchilov & Hutter 2019), in the order of torch's `AdamW`:
///
/// ```text
/// p ← p (1 - lr·wd)     m ← m + (1-β₁)(g - m)     v ← β₂ v + (1-β₂) g²
/// p ← p - lr/(1-β₁ᵗ) · m / (√v / √(1-β₂ᵗ) + ε)
/// ```
///
/// A parameter without a gradient in a step is left alone, its moments and its `t` too.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    rules: BTreeMap<String, Rule>,
    pub(super) params: Vec<ParamInfo>,
    pub(super) state: BTreeMap<String, Moments>,
}

impl AdamW {
    /// An optimizer of these parameters, without state. Errors name the setting that makes no sense.
    pub fn new(config: AdamWConfig, params: &[ParamInfo]) -> Result<Self, TrainError> {
        check(&config)?;
        let groups = compile(&config.groups)?;
        let rules = params
            .iter()
            .map(|param| {
                let group = groups.iter().find(|(regex, _)| regex.is_match(&param.name));
                let decay = group
                    .and_then(|(_, g)| g.weight_decay)
                    .unwrap_or(config.weight_decay);
                let rule = Rule {
                    lr_scale: group.map_or(1.0, |(_, g)| g.lr_scale),
                    weight_decay: if param.decay { decay } else { 0.0 },
                };
                (param.name.clone(), rule)
            })
            .collect();
        Ok(Self {
            config,
            rules,
            params: params.to_vec(),
            state: BTreeMap::new(),
        })
    }

    /// One update at this learning rate: new values of all of `values`. Gradients of unknown parameters or of another
    /// length or type are errors, and then nothing has changed.
    pub fn step(
        &mut self,
        mut values: NamedTensors,
        grads: NamedTensors,
        lr: f64,
    ) -> Result<NamedTensors, TrainError> {
        for (name, grad) in &grads {
            self.check_gradient(name, grad, values.get(name))?;
        }
        for (name, grad) in grads {
            // All three lookups succeed: checked above.
            if let (Some(rule), Some(value)) = (self.rules.get(&name), values.remove(&name)) {
                let moments = self.state.remove(&name).unwrap_or_else(|| Moments {
                    m: grad.zeros_like(),
                    v: grad.zeros_like(),
                    step: 0,
                });
                let lr = lr * rule.lr_scale;
                let (value, moments) =
                    update(&self.config, value, grad, moments, lr, rule.weight_decay);
                values.insert(name.clone(), value);
                self.state.insert(name, moments);
            }
        }
        Ok(values)
    }

    fn check_gradient(
        &self,
        name: &str,
        grad: &Tensor<1>,
        value: Option<&Tensor<1>>,
    ) -> Result<(), TrainError> {
        let value = value.filter(|_| self.rules.contains_key(name)).ok_or_else(|| {
            TrainError::Tensors(format!(
                "gradient `{name}` belongs to no trainable parameter; the optimizer was made for another model"
            ))
        })?;
        for (what, tensor) in [("gradient", grad), ("parameter", value)] {
            if tensor.dtype() != DType::F32 || tensor.dims() != value.dims() {
                return Err(TrainError::Tensors(format!(
                    "{what} `{name}` is {:?} of {:?}; F32 of {:?} is needed",
                    tensor.dtype(),
                    tensor.dims(),
                    value.dims()
                )));
            }
        }
        Ok(())
    }
}

fn update(
    config: &AdamWConfig,
    value: Tensor<1>,
    grad: Tensor<1>,
    moments: Moments,
    lr: f64,
    weight_decay: f64,
) -> (Tensor<1>, Moments) {
    let step = moments.step + 1;
    let (value, grad) = (value.inner(), grad.inner());
    let correction = |beta: f64| 1.0 - beta.powf(step as f64);
    // As torch's `lerp`: rounding differs from `β₁ m + (1-β₁) g`.
    let m = moments.m.clone() + (grad.clone() - moments.m) * (1.0 - config.beta1);
    let v = moments.v * config.beta2 + grad.square() * (1.0 - config.beta2);
    let root = v.clone().sqrt() / correction(config.beta2).sqrt() + config.eps;
    let change = m.clone() / root * (lr / correction(config.beta1));
    let value = if weight_decay == 0.0 {
        value - change
    } else {
        value * (1.0 - lr * weight_decay) - change
    };
    (value, Moments { m, v, step })
}

fn check(config: &AdamWConfig) -> Result<(), TrainError> {
    let beta = |x: f64| (0.0..1.0).contains(&x);
    let positive = |x: f64| x.is_finite() && x >= 0.0;
    let mut rows = vec![
        ("beta1", config.beta1, beta(config.beta1)),
        ("beta2", config.beta2, beta(config.beta2)),
        ("eps", config.eps, positive(config.eps)),
        (
            "weight_decay",
            config.weight_decay,
            positive(config.weight_decay),
        ),
    ];
    for group in &config.groups {
        let decay = group.weight_decay.unwrap_or(0.0);
        rows.push((
            "lr_scale of a group",
            group.lr_scale,
            positive(group.lr_scale),
        ));
        rows.push(("weight_decay of a group", decay, positive(decay)));
    }
    match rows.into_iter().find(|(_, _, good)| !good) {
        None => Ok(()),
        Some((name, value, _)) => Err(TrainError::Config(format!(
            "AdamW: {name} = {value} is not allowed; betas lie in [0, 1), all others are at least 0"
        ))),
    }
}

fn compile(groups: &[ParamGroup]) -> Result<Vec<(Regex, &ParamGroup)>, TrainError> {
    groups
        .iter()
        .map(|group| {
            let regex = Regex::new(&format!("^(?:{})", group.pattern)).map_err(|e| {
                TrainError::Config(format!("AdamW: group pattern `{}`: {e}", group.pattern))
            })?;
            Ok((regex, group))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::host::read_all;
    use super::*;
    use burn::tensor::Device;

    fn named(parts: &[(&str, &[f32])]) -> NamedTensors {
        let device = Device::default();
        let tensor = |data: &[f32]| Tensor::from_floats(data, &device);
        parts
            .iter()
            .map(|(n, d)| (n.to_string(), tensor(d)))
            .collect()
    }

    fn param(name: &str, len: usize, decay: bool) -> ParamInfo {
        ParamInfo {
            name: name.into(),
            shape: vec![len],
            decay,
        }
    }

    fn value(values: &NamedTensors, name: &str) -> f32 {
        read_all([values[name].clone()]).unwrap()[0][0]
    }

    /// The first update moves by `lr` against the gradient's sign, whatever its size; decay is on top.
    #[test]
    fn groups_scale_the_rate_and_decay_spares_norms() {
        let config = AdamWConfig {
            weight_decay: 0.5,
            groups: vec![ParamGroup {
                pattern: r"model\.visual\.".into(),
                lr_scale: 0.1,
                weight_decay: Some(0.0),
            }],
            ..AdamWConfig::default()
        };
        let params = [
            param("model.layer.w", 1, true),
            param("model.norm", 1, false),
            param("model.visual.w", 1, true),
        ];
        let mut optimizer = AdamW::new(config, &params).unwrap();
        let all = |x: f32| {
            named(&[
                ("model.layer.w", &[x]),
                ("model.norm", &[x]),
                ("model.visual.w", &[x]),
            ])
        };
        let after = optimizer.step(all(1.0), all(-3.0), 0.1).unwrap();
        for (name, want) in [
            ("model.layer.w", 1.05),
            ("model.norm", 1.1),
            ("model.visual.w", 1.01),
        ] {
            let got = value(&after, name);
            assert!((got - want).abs() < 1e-6, "{name}: {got} {want}");
        }
    }

    #[test]
    fn a_parameter_without_a_gradient_is_left_alone() {
        let params = [param("a", 1, true), param("b", 1, true)];
        let mut optimizer = AdamW::new(AdamWConfig::default(), &params).unwrap();
        let values = named(&[("a", &[1.0]), ("b", &[1.0])]);
        let after = optimizer
            .step(values, named(&[("a", &[1.0])]), 0.1)
            .unwrap();
        assert_eq!(value(&after, "b"), 1.0);
        assert_ne!(value(&after, "a"), 1.0);
        assert!(!optimizer.state.contains_key("b"));
    }

    #[test]
    fn what_does_not_fit_is_named_and_changes_nothing() {
        let mut optimizer = AdamW::new(AdamWConfig::default(), &[param("a", 1, true)]).unwrap();
        for (grads, part) in [
            (named(&[("a", &[1.0]), ("x", &[1.0])]), "`x`"),
            (named(&[("a", &[1.0, 2.0])]), "`a`"),
        ] {
            let values = named(&[("a", &[1.0])]);
            let text = optimizer.step(values, grads, 0.1).unwrap_err().to_string();
            assert!(text.contains(part), "{text}");
            assert!(optimizer.state.is_empty());
        }
    }

    #[test]
    fn settings_without_meaning_are_named() {
        let bad = |config| AdamW::new(config, &[]).unwrap_err().to_string();
        let beta = AdamWConfig {
            beta2: 1.0,
            ..AdamWConfig::default()
        };
        assert!(bad(beta).contains("beta2 = 1"));
        let group = ParamGroup {
            pattern: "(".into(),
            lr_scale: 1.0,
            weight_decay: None,
        };
        let groups = AdamWConfig {
            groups: vec![group],
            ..AdamWConfig::default()
        };
        assert!(bad(groups).contains("pattern `(`"));
    }
}
