//! Fitting an adapter from a file to the layers of a model.

use std::collections::BTreeMap;
use std::path::Path;

use vtb_nn::NnError;

use crate::{Adapter, DiffusionFamily, Factors, LinearInfo, LoraConfig, LoraError, ModuleFilter};

impl Adapter {
    /// Fits the adapter to a model: every factor must belong to one of `linears` and have its sizes. Names from older
    /// releases of transformers, which differ by `model` and `language_model` segments only, are brought up to date;
    /// the settings then list every module with its rank and alpha.
    ///
    /// # Errors
    /// [`LoraError::Adapter`] if a module is unknown, [`LoraError::Nn`] for other sizes. `origin` is the directory
    /// the adapter was read from.
    pub fn fit(mut self, linears: &[LinearInfo], origin: &Path) -> Result<Self, LoraError> {
        let layers = layers_of(self.factors.keys().map(String::as_str), linears, origin)?;
        let mut fitted: BTreeMap<String, (String, Factors)> = BTreeMap::new();
        for (path, factors) in std::mem::take(&mut self.factors) {
            let Some(linear) = layers.get(&path) else {
                continue;
            };
            let shapes = [&factors.a, &factors.b].map(|f| f.shape().to_vec());
            check_sizes(&path, &shapes, linear, origin)?;
            fitted.insert(linear.path.clone(), (path, factors));
        }
        if fitted.iter().any(|(new, (old, _))| new != old) {
            self.config = explicit(
                &self.config,
                fitted.iter().map(|(new, (old, _))| (new, old)),
            )?;
        }
        self.factors = fitted
            .into_iter()
            .map(|(path, (_, factors))| (path, factors))
            .collect();
        Ok(self)
    }
}

/// The layer that each adapted path means: the one of that name, be it in diffusers or in the original files of a
/// diffusion model, or the only one whose name differs by `model` and `language_model` segments alone.
pub(crate) fn layers_of<'p, 'l>(
    paths: impl Iterator<Item = &'p str>,
    linears: &'l [LinearInfo],
    origin: &Path,
) -> Result<BTreeMap<String, &'l LinearInfo>, LoraError> {
    let family = DiffusionFamily::of(linears.iter().map(|l| l.path.as_str()));
    let name = |path: &str| {
        family
            .and_then(|f| f.diffusers(path))
            .unwrap_or(path.into())
    };
    let exact: BTreeMap<String, &LinearInfo> = linears.iter().map(|l| (name(&l.path), l)).collect();
    let mut loose: BTreeMap<String, Vec<&LinearInfo>> = BTreeMap::new();
    for linear in linears {
        loose
            .entry(core_path(&linear.path))
            .or_default()
            .push(linear);
    }
    let (mut found, mut taken) = (BTreeMap::new(), BTreeMap::<&str, &str>::new());
    for path in paths {
        let core = core_path(path);
        let linear = match (exact.get(&name(path)), loose.get(&core).map(Vec::as_slice)) {
            (Some(linear), _) | (None, Some([linear])) => *linear,
            _ => {
                let why = match core.as_str() {
                    "lm_head" => {
                        "whose output head is its embedding: an adapter of the head alone has no place in it"
                    }
                    _ => "which this model does not have; is it an adapter of another model?",
                };
                return Err(LoraError::adapter(
                    origin,
                    format!("adapts module `{path}`, {why}"),
                ));
            }
        };
        if let Some(other) = taken.insert(&linear.path, path) {
            let message =
                format!("modules `{other}` and `{path}` are the same layer of this model");
            return Err(LoraError::adapter(origin, message));
        }
        found.insert(path.to_owned(), linear);
    }
    Ok(found)
}

/// A path without the segments that releases of transformers disagree on.
pub(crate) fn core_path(path: &str) -> String {
    let kept: Vec<&str> = path
        .split('.')
        .filter(|s| !matches!(*s, "model" | "language_model"))
        .collect();
    kept.join(".")
}

/// Whether factors of these shapes, A first, fit the layer.
pub(crate) fn check_sizes(
    path: &str,
    [a, b]: &[Vec<usize>; 2],
    linear: &LinearInfo,
    origin: &Path,
) -> Result<(), LoraError> {
    let r = a.first().copied().unwrap_or(0);
    let sizes = [
        ("lora_A", a, [r, linear.in_features]),
        ("lora_B", b, [linear.out_features, r]),
    ];
    for (factor, found, expected) in sizes {
        if found.as_slice() != expected {
            return Err(NnError::Shape {
                name: format!("{path}.{factor}"),
                origin: origin.display().to_string(),
                found: found.clone(),
                expected: expected.to_vec(),
            }
            .into());
        }
    }
    Ok(())
}

/// The same ranks and alphas, given by new whole paths.
pub(crate) fn explicit<'a>(
    config: &LoraConfig,
    renamed: impl Iterator<Item = (&'a String, &'a String)>,
) -> Result<LoraConfig, LoraError> {
    let rules = config.rules("adapter settings")?;
    let (mut names, mut ranks, mut alphas) = (Vec::new(), Vec::new(), Vec::new());
    for (new, old) in renamed {
        let (rank, alpha) = (rules.rank(old)?, rules.alpha(old)?);
        if rank != config.r {
            ranks.push((new.clone(), rank));
        }
        if alpha != config.alpha {
            alphas.push((new.clone(), alpha));
        }
        names.push(new.clone());
    }
    Ok(LoraConfig {
        targets: ModuleFilter::Names(names),
        exclude: None,
        layers_to_transform: Vec::new(),
        layers_pattern: Vec::new(),
        rank_pattern: ranks,
        alpha_pattern: alphas,
        ..config.clone()
    })
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;

    use super::*;

    fn linear(path: &str, in_features: usize) -> LinearInfo {
        LinearInfo {
            path: path.into(),
            in_features,
            out_features: 3,
            is_head: false,
        }
    }

    fn adapter(paths: &[&str]) -> Adapter {
        let factors = |r: usize| Factors {
            a: TensorData::new(vec![0.5f32; r * 4], [r, 4]),
            b: TensorData::new(vec![0.5f32; 3 * r], [3, r]),
        };
        let rank = |p: &str| if p.ends_with("layers.0.q") { 1 } else { 2 };
        Adapter {
            config: LoraConfig {
                r: 2,
                alpha: 6.0,
                rank_pattern: vec![("layers.0.q".into(), 1)],
                targets: ModuleFilter::names(["q"]),
                ..LoraConfig::default()
            },
            base_model: None,
            factors: paths
                .iter()
                .map(|p| ((*p).to_owned(), factors(rank(p))))
                .collect(),
        }
    }

    #[test]
    fn old_names_are_brought_up_to_date_with_their_scalings() {
        let model = [
            linear("model.language_model.layers.0.q", 4),
            linear("model.language_model.layers.1.q", 4),
            linear("model.visual.blocks.0.q", 4),
        ];
        let old = adapter(&["model.layers.0.q", "model.layers.1.q", "visual.blocks.0.q"]);
        let new = old.fit(&model, Path::new("dir")).expect("fits");
        let paths: Vec<&str> = new.factors.keys().map(String::as_str).collect();
        assert_eq!(paths, model.each_ref().map(|l| l.path.as_str()));
        let scaling = |p: &str| new.config.scaling(p).expect("valid");
        assert_eq!(scaling("model.language_model.layers.0.q"), 6.0);
        assert_eq!(scaling("model.language_model.layers.1.q"), 3.0);
        assert_eq!(
            new.factors["model.language_model.layers.0.q"]
                .a
                .shape()
                .as_slice(),
            [1, 4]
        );
    }

    #[test]
    fn names_that_fit_leave_the_settings_alone() {
        let model = [linear("model.layers.0.q", 4)];
        let before = adapter(&["model.layers.0.q"]);
        let after = before.clone().fit(&model, Path::new("dir")).expect("fits");
        assert_eq!(
            (after.config, after.factors),
            (before.config, before.factors)
        );
    }

    #[test]
    fn an_original_model_takes_an_adapter_by_the_names_of_diffusers() {
        let model = [linear("blocks.0.ffn.0", 4), linear("head.head", 4)];
        let mut before = adapter(&["blocks.0.ffn.net.0.proj", "proj_out"]);
        before.config.alpha_pattern = vec![("proj_out".into(), 1.0)];
        let after = before.fit(&model, Path::new("dir")).expect("fits");
        let scale = |path: &str| after.config.scaling(path).expect("valid");
        assert!(after.factors.keys().eq(["blocks.0.ffn.0", "head.head"]));
        assert_eq!((scale("blocks.0.ffn.0"), scale("head.head")), (3.0, 0.5));
    }

    #[test]
    fn another_model_is_noticed() {
        let fail = |model: &[LinearInfo], paths: &[&str]| {
            adapter(paths)
                .fit(model, Path::new("dir"))
                .expect_err("does not fit")
                .to_string()
        };
        let unknown = fail(&[linear("model.layers.0.q", 4)], &["model.layers.7.q"]);
        assert!(unknown.contains("`model.layers.7.q`"), "{unknown}");
        let size = fail(&[linear("model.layers.0.q", 5)], &["model.layers.0.q"]);
        assert!(size.contains("[1, 4]") && size.contains("[1, 5]"), "{size}");
        let two = [
            linear("model.layers.0.q", 4),
            linear("language_model.layers.0.q", 4),
        ];
        assert!(fail(&two, &["layers.0.q"]).contains("`layers.0.q`"));
        let same = fail(
            &[linear("layers.0.q", 4)],
            &["layers.0.q", "model.layers.0.q"],
        );
        assert!(same.contains("same layer"), "{same}");
    }
}
