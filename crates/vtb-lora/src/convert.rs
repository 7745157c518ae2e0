//! The same adapter for other readers: other names, one rank and one scale.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::TensorData;

use crate::fit::{core_path, explicit};
use crate::{Adapter, Factors, LoraConfig, LoraError};

/// How the modules of a vision-language model are called. Releases of transformers moved the decoder and the vision
/// tower; adapters keep the names of the release they were trained with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameLayout {
    /// `model.language_model.layers…` and `model.visual…`: transformers 4.52 and later, and what is written here.
    Current,
    /// `model.layers…` and `visual…`: before 4.52, and text models.
    Legacy,
}

impl NameLayout {
    /// The layout that all of `paths` are named by.
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let mut layouts = vec![Self::Current, Self::Legacy];
        for path in paths {
            layouts.retain(|layout| layout.rename(path).as_deref() == Some(path));
        }
        layouts.first().copied()
    }

    /// The name by this layout of a module that is named by any; `None` for modules that are neither of a decoder, nor
    /// of a vision tower, nor the output head.
    pub fn rename(self, path: &str) -> Option<String> {
        let core = core_path(path);
        let (first, rest) = core.split_once('.').unwrap_or((core.as_str(), ""));
        match (first, self) {
            ("lm_head", _) if rest.is_empty() => Some(core),
            ("layers", Self::Current) => Some(format!("model.language_model.{core}")),
            ("layers", Self::Legacy) => Some(format!("model.{core}")),
            ("visual", Self::Current) => Some(format!("model.{core}")),
            ("visual", Self::Legacy) => Some(core),
            _ => None,
        }
    }
}

impl Adapter {
    /// The same adapter with its modules named by `layout`. Where a name changes, the settings list every module with
    /// its rank and alpha.
    ///
    /// # Errors
    /// [`LoraError::Adapter`] for a module that is not of such a model, two that become one, or other names for stacks of
    /// experts. `origin` is the directory the adapter was read from.
    pub fn renamed(mut self, layout: NameLayout, origin: &Path) -> Result<Self, LoraError> {
        let mut renamed: BTreeMap<String, (String, Factors)> = BTreeMap::new();
        for (old, factors) in std::mem::take(&mut self.factors) {
            let new = layout.rename(&old).ok_or_else(|| {
                LoraError::adapter(
                    origin,
                    format!(
                        "has the module `{old}`, which is neither of a decoder (`layers.N`), nor of a vision tower \
                         (`visual`), nor the output head (`lm_head`): adapters of other models are not converted"
                    ),
                )
            })?;
            if let Some((other, _)) = renamed.get(&new) {
                let message = format!("modules `{other}` and `{old}` are the same layer, `{new}`");
                return Err(LoraError::adapter(origin, message));
            }
            renamed.insert(new, (old, factors));
        }
        if renamed.iter().any(|(new, (old, _))| new != old) {
            self.refuse_stacks(renamed.values().map(|(old, _)| old), origin)?;
            let names = renamed.iter().map(|(new, (old, _))| (new, old));
            self.config = explicit(&self.config, names)?;
        }
        self.factors = renamed
            .into_iter()
            .map(|(path, (_, factors))| (path, factors))
            .collect();
        Ok(self)
    }

    /// The same adapter for readers that know `r` and `lora_alpha` only: without patterns and without rsLoRA.
    ///
    /// Where all modules share rank and scale and the alpha that says so is whole, only the settings change. Else ranks
    /// are brought to the largest by zeros, and each scale is multiplied into its B, rounded once in f32; alpha is then
    /// the rank.
    ///
    /// # Errors
    /// [`LoraError::Config`] and [`LoraError::Pattern`] for settings that say no scale, [`LoraError::Adapter`] for
    /// factors of stacks of experts. `origin` is the directory the adapter was read from.
    pub fn folded(mut self, origin: &Path) -> Result<Self, LoraError> {
        if !self.config.use_rslora
            && self.config.rank_pattern.is_empty()
            && self.config.alpha_pattern.is_empty()
        {
            return Ok(self);
        }
        self.refuse_stacks(self.factors.keys(), origin)?;
        let rules = self.config.rules("adapter settings")?;
        let mut scales = Vec::with_capacity(self.factors.len());
        for path in self.factors.keys() {
            scales.push((rules.rank(path)?, rules.scaling(path)?));
        }
        let r = scales.iter().map(|(rank, _)| *rank).max();
        let r = r.unwrap_or(self.config.r);
        let shared = scales.first().copied().unwrap_or((r, 1.0));
        let alpha = (shared.1 * r as f64).round();
        let whole = alpha >= 1.0 && (alpha - shared.1 * r as f64).abs() <= 1e-9 * alpha;
        let settings_alone = whole && scales.iter().all(|scale| *scale == shared);
        if !settings_alone {
            for (pair, (_, scale)) in self.factors.values_mut().zip(scales) {
                *pair = widened(pair, r, scale as f32);
            }
        }
        self.config = LoraConfig {
            r,
            alpha: if settings_alone { alpha } else { r as f64 },
            use_rslora: false,
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
            ..self.config
        };
        Ok(self)
    }
}

impl Adapter {
    /// peft names the factors of stacks by wrappers and their ranks by parameters: settings that list modules with their
    /// ranks cannot say them.
    fn refuse_stacks<'a>(
        &self,
        mut paths: impl Iterator<Item = &'a String>,
        origin: &Path,
    ) -> Result<(), LoraError> {
        match paths.find(|path| crate::peft::is_wrapper(path, &self.config)) {
            None => Ok(()),
            Some(path) => Err(LoraError::adapter(
                origin,
                format!(
                    "adapts a stack of experts (`{path}`), which has its names and ranks in peft's current form only; \
                     merge it into its base instead (`adapter merge`)"
                ),
            )),
        }
    }
}

/// Factors of rank `r`, filled up with zeros, with `scale` in B.
fn widened(pair: &Factors, r: usize, scale: f32) -> Factors {
    let [a_shape, b_shape] = [&pair.a, &pair.b].map(|f| f.shape().to_vec());
    let (rank, inputs, outputs) = (a_shape[0], a_shape[1], b_shape[0]);
    let mut a: Vec<f32> = pair.a.iter::<f32>().collect();
    a.resize(r * inputs, 0.0);
    let mut b = vec![0.0f32; outputs * r];
    for (at, value) in pair.b.iter::<f32>().enumerate() {
        b[at / rank * r + at % rank] = value * scale;
    }
    Factors {
        a: TensorData::new(a, [r, inputs]),
        b: TensorData::new(b, [outputs, r]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ModuleFilter;

    fn factors(r: usize, seed: f32) -> Factors {
        let values = |n: usize| (0..n).map(|i| (i as f32 * 0.37 + seed).sin()).collect();
        Factors {
            a: TensorData::new::<f32, _>(values(r * 4), [r, 4]),
            b: TensorData::new::<f32, _>(values(3 * r), [3, r]),
        }
    }

    /// `scaling·B·A`, row-major.
    fn delta(adapter: &Adapter, path: &str) -> Vec<f64> {
        let (pair, scale) = (
            &adapter.factors[path],
            adapter.config.scaling(path).expect("valid"),
        );
        let r = pair.a.shape()[0];
        let [a, b] = [&pair.a, &pair.b].map(|f| f.iter::<f64>().collect::<Vec<_>>());
        let at = |row: usize, column: usize| {
            (0..r)
                .map(|k| b[row * r + k] * a[k * 4 + column])
                .sum::<f64>()
        };
        (0..12).map(|i| scale * at(i / 4, i % 4)).collect()
    }

    fn adapter(config: LoraConfig, ranks: &[(&str, usize)]) -> Adapter {
        let factors = ranks.iter().enumerate();
        Adapter {
            config,
            base_model: None,
            factors: factors
                .map(|(i, (path, r))| ((*path).to_owned(), factors_of(*r, i)))
                .collect(),
        }
    }

    fn factors_of(r: usize, i: usize) -> Factors {
        factors(r, i as f32)
    }

    #[test]
    fn names_go_to_either_layout_and_back() {
        let current = [
            "model.language_model.layers.0.self_attn.q_proj",
            "model.visual.blocks.1.attn.qkv",
            "lm_head",
        ];
        let legacy = [
            "model.layers.0.self_attn.q_proj",
            "visual.blocks.1.attn.qkv",
            "lm_head",
        ];
        let outer = [
            "language_model.model.layers.0.self_attn.q_proj",
            "model.model.visual.blocks.1.attn.qkv",
            "model.lm_head",
        ];
        for names in [current, legacy, outer] {
            for (i, name) in names.into_iter().enumerate() {
                assert_eq!(
                    NameLayout::Current.rename(name).as_deref(),
                    Some(current[i])
                );
                assert_eq!(NameLayout::Legacy.rename(name).as_deref(), Some(legacy[i]));
            }
        }
        assert_eq!(NameLayout::of(current), Some(NameLayout::Current));
        assert_eq!(NameLayout::of(legacy), Some(NameLayout::Legacy));
        assert_eq!(NameLayout::of(outer), None);
        for other in [
            "transformer_blocks.0.attn.to_q",
            "blocks.3.self_attn.q",
            "lm_head.x",
            "",
        ] {
            assert_eq!(NameLayout::Current.rename(other), None, "{other}");
        }
    }

    #[test]
    fn renaming_keeps_ranks_and_scales() {
        let config = LoraConfig {
            r: 2,
            alpha: 6.0,
            targets: ModuleFilter::Expression(r"model\.language_model\..*\.(q|k)".into()),
            rank_pattern: vec![("layers.0.q".into(), 1)],
            ..LoraConfig::default()
        };
        let names = [
            ("model.language_model.layers.0.q", 1),
            ("model.language_model.layers.1.q", 2),
        ];
        let before = adapter(config, &names);
        let dir = Path::new("dir");
        let legacy = before
            .clone()
            .renamed(NameLayout::Legacy, dir)
            .expect("known");
        let new: Vec<_> = legacy.factors.keys().collect();
        assert_eq!(new, ["model.layers.0.q", "model.layers.1.q"]);
        for ((old, _), new) in names.iter().zip(new) {
            assert_eq!(delta(&before, old), delta(&legacy, new));
        }
        assert_eq!(
            legacy.config.targets,
            ModuleFilter::names(["model.layers.0.q", "model.layers.1.q"])
        );
        let same = before
            .clone()
            .renamed(NameLayout::Current, dir)
            .expect("known");
        assert_eq!((same.config, same.factors), (before.config, before.factors));
        let other = adapter(LoraConfig::default(), &[("transformer_blocks.0.to_q", 8)]);
        let error = other
            .renamed(NameLayout::Current, dir)
            .expect_err("unknown");
        assert!(
            error.to_string().contains("`transformer_blocks.0.to_q`"),
            "{error}"
        );
    }

    #[test]
    fn folding_leaves_one_rank_and_the_same_deltas() {
        let patterns = LoraConfig {
            r: 2,
            alpha: 6.0,
            use_rslora: true,
            rank_pattern: vec![("layers.0.q".into(), 3)],
            alpha_pattern: vec![("layers.1.q".into(), 5.0)],
            ..LoraConfig::default()
        };
        let before = adapter(
            patterns,
            &[("layers.0.q", 3), ("layers.1.q", 2), ("layers.1.k", 2)],
        );
        let after = before.clone().folded(Path::new("dir")).expect("valid");
        assert_eq!((after.config.r, after.config.alpha), (3, 3.0));
        assert!(!after.config.use_rslora && after.config.rank_pattern.is_empty());
        for path in before.factors.keys() {
            assert_eq!(after.factors[path].a.shape().as_slice(), [3, 4]);
            for (old, new) in delta(&before, path).iter().zip(delta(&after, path)) {
                assert!((old - new).abs() < 1e-6, "{path}: {old} {new}");
            }
        }
    }

    #[test]
    fn a_scale_that_alpha_can_say_leaves_the_factors_alone() {
        let rs = LoraConfig {
            r: 4,
            alpha: 16.0,
            use_rslora: true,
            ..LoraConfig::default()
        };
        let before = adapter(rs, &[("layers.0.q", 4)]);
        let after = before.clone().folded(Path::new("dir")).expect("valid");
        assert_eq!(after.factors, before.factors);
        assert_eq!((after.config.alpha, after.config.use_rslora), (32.0, false));
        assert_eq!(delta(&before, "layers.0.q"), delta(&after, "layers.0.q"));
        // 8/√2·2 is no whole number: the scale goes into B.
        let odd = LoraConfig {
            r: 2,
            alpha: 8.0,
            use_rslora: true,
            ..LoraConfig::default()
        };
        let before = adapter(odd, &[("layers.0.q", 2)]);
        let after = before.clone().folded(Path::new("dir")).expect("valid");
        assert_eq!(after.config.alpha, 2.0);
        assert_ne!(after.factors, before.factors);
    }
}
