//! What to adapt and how: the settings of an adapter, with peft's meaning and defaults.

use serde::{Deserialize, Serialize};

use crate::LoraError;
use crate::pattern::Pattern;

/// Ranks above are mistakes, or files made to exhaust memory.
pub(crate) const MAX_RANK: usize = 1 << 16;

/// Which modules: as peft's `target_modules` and `exclude_modules`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ModuleFilter {
    /// A regular expression that must match the whole module path; as targets, `all-linear` selects every linear
    /// layer but the output head.
    Expression(String),
    /// Module paths, or the ends of module paths after a dot.
    Names(Vec<String>),
}

impl ModuleFilter {
    /// Every linear layer but the output head.
    pub fn all_linear() -> Self {
        Self::Expression("all-linear".into())
    }

    /// Whether this is the shorthand for every linear layer, in any capitalisation.
    pub fn is_all_linear(&self) -> bool {
        matches!(self, Self::Expression(text) if text.eq_ignore_ascii_case("all-linear"))
    }

    /// Paths, or ends of paths.
    pub fn names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self::Names(names.into_iter().map(Into::into).collect())
    }
}

impl std::fmt::Display for ModuleFilter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Expression(text) => write!(f, "\"{text}\""),
            Self::Names(names) => write!(f, "[{}]", names.join(", ")),
        }
    }
}

/// How factor A starts; B always starts at zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoraInit {
    /// Uniform in ±1/√in.
    #[default]
    Kaiming,
    /// Normal with standard deviation 1/r.
    Gaussian,
}

/// Settings of an adapter. [`LoraConfig::default`] has peft's values: rank 8, alpha 8, no dropout; the target is
/// every linear layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraConfig {
    /// Rank of the factors.
    pub r: usize,
    /// Numerator of the scaling.
    pub alpha: f64,
    /// Probability of zeroing an input of factor A while training.
    pub dropout: f64,
    /// Scale by alpha/√r instead of alpha/r.
    pub use_rslora: bool,
    /// How factor A starts.
    pub init: LoraInit,
    /// The modules to adapt.
    pub targets: ModuleFilter,
    /// Modules to leave alone although they are targets.
    pub exclude: Option<ModuleFilter>,
    /// Stacks of expert matrices to adapt as well: whole parameter paths, or their ends after a dot.
    pub target_parameters: Vec<String>,
    /// Only these layers, if any are listed; needs targets given by name.
    pub layers_to_transform: Vec<usize>,
    /// Names (regular expressions) of the lists whose index [`LoraConfig::layers_to_transform`] counts.
    pub layers_pattern: Vec<String>,
    /// Other ranks: regular expression for the end of a module path, rank; the first that matches counts.
    pub rank_pattern: Vec<(String, usize)>,
    /// Other alphas, likewise.
    pub alpha_pattern: Vec<(String, f64)>,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self {
            r: 8,
            alpha: 8.0,
            dropout: 0.0,
            use_rslora: false,
            init: LoraInit::Kaiming,
            targets: ModuleFilter::all_linear(),
            exclude: None,
            target_parameters: Vec::new(),
            layers_to_transform: Vec::new(),
            layers_pattern: Vec::new(),
            rank_pattern: Vec::new(),
            alpha_pattern: Vec::new(),
        }
    }
}

impl LoraConfig {
    /// Checks every value and compiles the patterns for ranks. `origin` names the settings in messages.
    ///
    /// # Errors
    /// [`LoraError::Config`] for values out of range or combinations peft refuses too, [`LoraError::Pattern`] for
    /// keys that are no regular expressions.
    pub fn rules(&self, origin: &str) -> Result<RankRules, LoraError> {
        let fail = |message: String| Err(LoraError::config(origin, message));
        for rank in std::iter::once(&self.r).chain(self.rank_pattern.iter().map(|(_, r)| r)) {
            if !(1..=MAX_RANK).contains(rank) {
                return fail(format!(
                    "the rank r is {rank}, it must lie in 1..={MAX_RANK}"
                ));
            }
        }
        for alpha in std::iter::once(&self.alpha).chain(self.alpha_pattern.iter().map(|(_, a)| a)) {
            if !(alpha.is_finite() && *alpha > 0.0) {
                return fail(format!("alpha is {alpha}, it must be a positive number"));
            }
        }
        if !(0.0..1.0).contains(&self.dropout) {
            return fail(format!(
                "dropout is {}, it must lie in 0 (included) to 1",
                self.dropout
            ));
        }
        if self.dropout > 0.0 && !self.target_parameters.is_empty() {
            return fail(
                "target_parameters need a dropout of 0: dropout before factor A is not defined for them".into(),
            );
        }
        let by_layer = !(self.layers_to_transform.is_empty() && self.layers_pattern.is_empty());
        if by_layer && matches!(self.targets, ModuleFilter::Expression(_)) {
            return fail(
                "layers_to_transform and layers_pattern need target_modules given as a list of names".into(),
            );
        }
        if self.layers_to_transform.is_empty() && !self.layers_pattern.is_empty() {
            return fail("layers_pattern has no effect without layers_to_transform".into());
        }
        Ok(RankRules {
            r: self.r,
            alpha: self.alpha,
            use_rslora: self.use_rslora,
            ranks: compile(&self.rank_pattern)?,
            alphas: compile(&self.alpha_pattern)?,
        })
    }

    /// Whether the parameter at `path` is among [`LoraConfig::target_parameters`].
    pub fn targets_parameter(&self, path: &str) -> bool {
        self.target_parameters
            .iter()
            .any(|name| crate::targets::is_path_or_end(path, name))
    }

    /// The factor of B·A at a module: see [`RankRules::scaling`], which is the way to ask for many modules.
    pub fn scaling(&self, path: &str) -> Result<f64, LoraError> {
        self.rules("LoRA settings")?.scaling(path)
    }
}

fn compile<V: Copy>(pairs: &[(String, V)]) -> Result<Vec<(Pattern, V)>, LoraError> {
    pairs
        .iter()
        .map(|(key, value)| Ok((Pattern::path_end(key)?, *value)))
        .collect()
}

/// Rank, alpha and scaling of every module, patterns included.
#[derive(Debug, Clone)]
pub struct RankRules {
    r: usize,
    alpha: f64,
    use_rslora: bool,
    ranks: Vec<(Pattern, usize)>,
    alphas: Vec<(Pattern, f64)>,
}

impl RankRules {
    /// Rank at a module path.
    pub fn rank(&self, path: &str) -> Result<usize, LoraError> {
        Ok(first(&self.ranks, path)?.unwrap_or(self.r))
    }

    /// Alpha at a module path.
    pub fn alpha(&self, path: &str) -> Result<f64, LoraError> {
        Ok(first(&self.alphas, path)?.unwrap_or(self.alpha))
    }

    /// Whether the scale is alpha/√r.
    pub(crate) fn is_rslora(&self) -> bool {
        self.use_rslora
    }

    /// The factor of B·A at a module path: alpha/r, or alpha/√r with rsLoRA.
    pub fn scaling(&self, path: &str) -> Result<f64, LoraError> {
        let r = self.rank(path)? as f64;
        Ok(self.alpha(path)? / if self.use_rslora { r.sqrt() } else { r })
    }
}

fn first<V: Copy>(patterns: &[(Pattern, V)], path: &str) -> Result<Option<V>, LoraError> {
    for (pattern, value) in patterns {
        if pattern.matches(path)? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_matching_pattern_decides() {
        let config = LoraConfig {
            r: 8,
            alpha: 16.0,
            rank_pattern: vec![
                ("layers.0.self_attn.q_proj".into(), 2),
                ("q_proj".into(), 4),
                (r".*\.mlp\..*".into(), 16),
            ],
            alpha_pattern: vec![("mlp.up_proj".into(), 1.0)],
            ..LoraConfig::default()
        };
        let rules = config.rules("test").expect("valid");
        let rank = |p: &str| rules.rank(p).expect("cheap");
        assert_eq!(rank("model.layers.0.self_attn.q_proj"), 2);
        assert_eq!(rank("model.layers.1.self_attn.q_proj"), 4);
        // Ends count from a dot on.
        assert_eq!(rank("model.layers.1.self_attn.xq_proj"), 8);
        assert_eq!(rank("model.layers.1.mlp.up_proj"), 16);
        let scaling = |c: &LoraConfig, p: &str| c.scaling(p).expect("valid");
        assert_eq!(scaling(&config, "a.k_proj"), 2.0);
        assert_eq!(scaling(&config, "model.layers.1.mlp.up_proj"), 1.0 / 16.0);
        let rs = LoraConfig {
            use_rslora: true,
            ..config
        };
        assert_eq!(scaling(&rs, "model.layers.1.mlp.gate_proj"), 4.0);
    }

    #[test]
    fn impossible_values_are_named() {
        let base = LoraConfig::default;
        let layers = LoraConfig {
            layers_to_transform: vec![0],
            ..base()
        };
        let pattern = LoraConfig {
            layers_pattern: vec!["layers".into()],
            targets: ModuleFilter::names(["q_proj"]),
            ..base()
        };
        let cases = [
            (LoraConfig { r: 0, ..base() }, "rank"),
            (
                LoraConfig {
                    rank_pattern: vec![("x".into(), 1 << 20)],
                    ..base()
                },
                "rank",
            ),
            (
                LoraConfig {
                    alpha: f64::NAN,
                    ..base()
                },
                "alpha",
            ),
            (
                LoraConfig {
                    dropout: 1.0,
                    ..base()
                },
                "dropout",
            ),
            (layers, "list of names"),
            (pattern, "no effect"),
        ];
        for (config, word) in cases {
            let error = config.rules("train.toml").expect_err(word).to_string();
            assert!(
                error.starts_with("train.toml: ") && error.contains(word),
                "{error}"
            );
        }
        let bad = LoraConfig {
            alpha_pattern: vec![("(".into(), 1.0)],
            ..base()
        };
        assert!(matches!(bad.rules("x"), Err(LoraError::Pattern { .. })));
    }
}
