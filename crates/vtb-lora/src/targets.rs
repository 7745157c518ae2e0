//! Which linear layers an adapter sits on: peft's rules, and a report a user can check.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::pattern::Pattern;
use crate::{LoraConfig, LoraError, ModuleFilter};

/// A linear layer of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearInfo {
    /// Module path, the published tensor name without `.weight`.
    pub path: String,
    /// Inputs, columns of the weight.
    pub in_features: usize,
    /// Outputs, rows of the weight.
    pub out_features: usize,
    /// Whether it is the output head, which `all-linear` leaves out.
    pub is_head: bool,
}

/// A layer that gets an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetMatch {
    /// The layer.
    pub linear: LinearInfo,
    /// Rank of its factors.
    pub rank: usize,
    /// Numerator of its scaling.
    pub alpha: f64,
    /// What B·A is multiplied by.
    pub scaling: f64,
}

impl TargetMatch {
    /// Elements of both factors.
    pub fn parameters(&self) -> u64 {
        self.rank as u64 * (self.linear.in_features as u64 + self.linear.out_features as u64)
    }
}

/// A stack of expert matrices of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StackInfo {
    /// Parameter path, the published tensor name.
    pub path: String,
    /// Matrices in the stack.
    pub experts: usize,
    /// Inputs of each.
    pub in_features: usize,
    /// Outputs of each.
    pub out_features: usize,
}

/// A stack that gets an adapter.
#[derive(Debug, Clone, PartialEq)]
pub struct StackMatch {
    /// The stack.
    pub stack: StackInfo,
    /// Rank of each expert's factors.
    pub rank: usize,
    /// Numerator of the scaling.
    pub alpha: f64,
}

impl StackMatch {
    /// Elements of both factors.
    pub fn parameters(&self) -> u64 {
        let width = self.stack.in_features as u64 + self.stack.out_features as u64;
        self.stack.experts as u64 * self.rank as u64 * width
    }
}

/// The outcome of [`match_targets`]; its [`Display`](fmt::Display) is a table for people.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchReport {
    /// The layers that get an adapter, in the order given.
    pub matches: Vec<TargetMatch>,
    /// Stacks of expert matrices that get an adapter, in the order given.
    pub stacks: Vec<StackMatch>,
    /// How many layers there were to choose from.
    pub linears: usize,
    /// Targets given by name that no layer has.
    pub unused: Vec<String>,
}

impl MatchReport {
    /// Elements of all factors: what trains.
    pub fn parameters(&self) -> u64 {
        let layers: u64 = self.matches.iter().map(TargetMatch::parameters).sum();
        layers + self.stacks.iter().map(StackMatch::parameters).sum::<u64>()
    }
}

/// Selects layers as peft does: a string must match the whole path as a regular expression, a name in a list is the
/// path or its end after a dot, `all-linear` is every layer but the head; `exclude` goes by the same rules and wins;
/// `layers_to_transform` limits names that match as ends of paths. Convolutions and embeddings, which peft adapts too
/// when they are named, are never among `linears`. Stacks of expert matrices are adapted only where
/// `target_parameters` names them.
///
/// # Errors
/// [`LoraError::NoMatch`] if nothing is selected, naming layers to choose from; what [`LoraConfig::rules`] says.
pub fn match_targets(
    linears: &[LinearInfo],
    stacks: &[StackInfo],
    config: &LoraConfig,
) -> Result<MatchReport, LoraError> {
    let rules = config.rules("LoRA settings")?;
    let selector = Selector::new(config)?;
    let mut matches = Vec::new();
    for linear in linears {
        if !selector.selects(linear)? {
            continue;
        }
        matches.push(TargetMatch {
            rank: rules.rank(&linear.path)?,
            alpha: rules.alpha(&linear.path)?,
            scaling: rules.scaling(&linear.path)?,
            linear: linear.clone(),
        });
    }
    let stacks = match_stacks(stacks, config)?;
    if matches.is_empty() && stacks.is_empty() {
        return Err(LoraError::NoMatch {
            targets: config.targets.to_string(),
            linears: linears.len(),
            near: near_names(linears, &config.targets),
        });
    }
    let unused = match &config.targets {
        ModuleFilter::Expression(_) => Vec::new(),
        ModuleFilter::Names(names) => {
            let hit = |name: &str| matches.iter().any(|m| is_path_or_end(&m.linear.path, name));
            names.iter().filter(|name| !hit(name)).cloned().collect()
        }
    };
    Ok(MatchReport {
        matches,
        stacks,
        linears: linears.len(),
        unused,
    })
}

/// The stacks that `target_parameters` names. A name that no stack has is an error: nothing else would tell of a
/// misspelled one.
fn match_stacks(stacks: &[StackInfo], config: &LoraConfig) -> Result<Vec<StackMatch>, LoraError> {
    let rules = config.rules("LoRA settings")?;
    for name in &config.target_parameters {
        if !stacks.iter().any(|s| is_path_or_end(&s.path, name)) {
            let message = match stacks.first() {
                Some(first) => format!("the model has stacks like `{}`", first.path),
                None => "the model has no experts".to_owned(),
            };
            return Err(LoraError::config(
                "LoRA settings",
                format!("target_parameters names `{name}`, which matches nothing; {message}"),
            ));
        }
    }
    stacks
        .iter()
        .filter(|stack| config.targets_parameter(&stack.path))
        .map(|stack| {
            Ok(StackMatch {
                rank: rules.rank(&stack.path)?,
                alpha: rules.alpha(&stack.path)?,
                stack: stack.clone(),
            })
        })
        .collect()
}

/// Compiled targets and exclusions.
struct Selector<'a> {
    targets: Filter<'a>,
    exclude: Option<Filter<'a>>,
    layers: &'a [usize],
    layer_index: Vec<Pattern>,
}

enum Filter<'a> {
    AllLinear,
    Full(Pattern),
    Names(&'a [String]),
}

impl<'a> Selector<'a> {
    fn new(config: &'a LoraConfig) -> Result<Self, LoraError> {
        let compile = |filter: &'a ModuleFilter| -> Result<Filter<'a>, LoraError> {
            Ok(match filter {
                ModuleFilter::Expression(text) => Filter::Full(Pattern::full(text)?),
                ModuleFilter::Names(names) => Filter::Names(names),
            })
        };
        let targets = match config.targets.is_all_linear() {
            true => Filter::AllLinear,
            false => compile(&config.targets)?,
        };
        let layer_index = match config.layers_pattern.as_slice() {
            [] => vec![Pattern::layer_index(None)?],
            segments => segments
                .iter()
                .map(|s| Pattern::layer_index(Some(s)))
                .collect::<Result<_, _>>()?,
        };
        Ok(Self {
            targets,
            exclude: config.exclude.as_ref().map(compile).transpose()?,
            layers: &config.layers_to_transform,
            layer_index,
        })
    }

    fn selects(&self, linear: &LinearInfo) -> Result<bool, LoraError> {
        let path = linear.path.as_str();
        let excluded = match &self.exclude {
            Some(Filter::Full(pattern)) => pattern.matches(path)?,
            Some(Filter::Names(names)) => names.iter().any(|name| is_path_or_end(path, name)),
            Some(Filter::AllLinear) | None => false,
        };
        if excluded {
            return Ok(false);
        }
        match &self.targets {
            Filter::AllLinear => Ok(!linear.is_head),
            Filter::Full(pattern) => pattern.matches(path),
            // A whole path is meant literally, whatever its layer.
            Filter::Names(names) if names.iter().any(|name| name == path) => Ok(true),
            Filter::Names(names) => {
                Ok(names.iter().any(|name| is_path_or_end(path, name)) && self.in_layers(path)?)
            }
        }
    }

    fn in_layers(&self, path: &str) -> Result<bool, LoraError> {
        if self.layers.is_empty() {
            return Ok(true);
        }
        for pattern in &self.layer_index {
            if let Some(index) = pattern.index(path)? {
                return Ok(self.layers.contains(&index));
            }
        }
        Ok(false)
    }
}

pub(crate) fn is_path_or_end(path: &str, name: &str) -> bool {
    path.strip_suffix(name)
        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// The last segment of a path that is not a number, the name by which people know a layer.
pub(crate) fn short_name(path: &str) -> &str {
    path.rsplit('.')
        .find(|s| s.parse::<usize>().is_err())
        .unwrap_or(path)
}

/// Up to eight names of layers, those most like the targets first.
fn near_names(linears: &[LinearInfo], targets: &ModuleFilter) -> String {
    let wanted: Vec<&str> = match targets {
        ModuleFilter::Names(names) => names.iter().map(|n| short_name(n)).collect(),
        ModuleFilter::Expression(text) => text
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .collect(),
    };
    let likeness = |name: &str| {
        wanted
            .iter()
            .map(|w| strsim::jaro_winkler(w, name))
            .fold(0.0, f64::max)
    };
    let names: BTreeSet<&str> = linears.iter().map(|l| short_name(&l.path)).collect();
    let mut names: Vec<(f64, &str)> = names.into_iter().map(|n| (likeness(n), n)).collect();
    names.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut text: Vec<&str> = names.iter().take(8).map(|(_, name)| *name).collect();
    match names.len() {
        0 => return "nothing: the model has no linear layer".into(),
        9.. => text.push("..."),
        _ => {}
    }
    text.join(", ")
}

impl fmt::Display for MatchReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Grouped by name, rank and alpha: (layers, parameters), in the order of first sight.
        let mut order: Vec<(&str, usize, String)> = Vec::new();
        let mut groups: BTreeMap<(&str, usize, String), (usize, u64)> = BTreeMap::new();
        for m in &self.matches {
            let key = (short_name(&m.linear.path), m.rank, m.alpha.to_string());
            let group = groups.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                (0, 0)
            });
            group.0 += 1;
            group.1 += m.parameters();
        }
        for m in &self.stacks {
            let key = (short_name(&m.stack.path), m.rank, m.alpha.to_string());
            let group = groups.entry(key.clone()).or_insert_with(|| {
                order.push(key);
                (0, 0)
            });
            group.0 += 1;
            group.1 += m.parameters();
        }
        writeln!(
            f,
            "adapters on {} of {} linear layers{}, {} trainable parameters",
            self.matches.len(),
            self.linears,
            match self.stacks.len() {
                0 => String::new(),
                n => format!(" and {n} stacks of experts"),
            },
            thousands(self.parameters())
        )?;
        let width = order
            .iter()
            .map(|(name, ..)| name.len())
            .max()
            .unwrap_or(0)
            .max(6);
        write!(
            f,
            "  {:width$}  layers  rank  alpha    parameters",
            "module"
        )?;
        for key in &order {
            let (layers, parameters) = groups[key];
            let (name, rank, alpha) = key;
            let parameters = thousands(parameters);
            write!(
                f,
                "\n  {name:width$}  {layers:>6}  {rank:>4}  {alpha:>5}  {parameters:>12}"
            )?;
        }
        if !self.unused.is_empty() {
            write!(f, "\n  no layer is called {}", self.unused.join(", "))?;
        }
        Ok(())
    }
}

pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Vec<LinearInfo> {
        let mut linears: Vec<LinearInfo> = (0..2)
            .flat_map(|i| {
                ["q_proj", "k_proj"].map(|name| LinearInfo {
                    path: format!("model.layers.{i}.self_attn.{name}"),
                    in_features: 64,
                    out_features: 32,
                    is_head: false,
                })
            })
            .collect();
        linears.push(LinearInfo {
            path: "lm_head".into(),
            in_features: 64,
            out_features: 1000,
            is_head: true,
        });
        linears
    }

    #[test]
    fn the_report_groups_by_name_and_rank() {
        let config = LoraConfig {
            r: 16,
            rank_pattern: vec![("layers.0.self_attn.k_proj".into(), 4)],
            targets: ModuleFilter::names(["q_proj", "k_proj", "gate_proj"]),
            ..LoraConfig::default()
        };
        let report = match_targets(&model(), &[], &config).expect("matches");
        let expected = "\
adapters on 4 of 5 linear layers, 4,992 trainable parameters
  module  layers  rank  alpha    parameters
  q_proj       2    16      8         3,072
  k_proj       1     4      8           384
  k_proj       1    16      8         1,536
  no layer is called gate_proj";
        assert_eq!(report.to_string(), expected);
        assert_eq!(report.matches[1].scaling, 2.0);
    }

    #[test]
    fn the_head_is_only_adapted_when_named() {
        let all = LoraConfig::default();
        let report = match_targets(&model(), &[], &all).expect("matches");
        assert!(report.matches.iter().all(|m| !m.linear.is_head));
        let named = LoraConfig {
            targets: ModuleFilter::names(["lm_head"]),
            ..all
        };
        assert_eq!(
            match_targets(&model(), &[], &named)
                .expect("matches")
                .parameters(),
            8 * 1064
        );
    }

    #[test]
    fn stacks_are_adapted_when_named_and_only_then() {
        let stack = |name: &str| StackInfo {
            path: format!("model.layers.0.mlp.experts.{name}"),
            experts: 4,
            in_features: 6,
            out_features: 10,
        };
        let stacks = [stack("gate_up_proj"), stack("down_proj")];
        let all = LoraConfig::default();
        assert!(
            match_targets(&model(), &stacks, &all)
                .expect("matches")
                .stacks
                .is_empty()
        );
        let config = LoraConfig {
            r: 2,
            targets: ModuleFilter::names(["q_proj"]),
            target_parameters: vec!["mlp.experts.gate_up_proj".into()],
            ..all
        };
        let report = match_targets(&model(), &stacks, &config).expect("matches");
        assert_eq!(report.stacks[0].stack, stacks[0]);
        assert_eq!(report.parameters(), 2 * 2 * 96 + 4 * 2 * 16);
        let text = report.to_string();
        assert!(
            text.contains("and 1 stacks of experts") && text.contains("gate_up_proj"),
            "{text}"
        );
        let wrong = LoraConfig {
            target_parameters: vec!["experts.up_proj".into()],
            ..config.clone()
        };
        let text = match_targets(&model(), &stacks, &wrong)
            .expect_err("misspelled")
            .to_string();
        assert!(
            text.contains("`experts.up_proj`") && text.contains("gate_up_proj"),
            "{text}"
        );
        let dropped = LoraConfig {
            dropout: 0.1,
            ..config
        };
        assert!(
            dropped
                .rules("x")
                .expect_err("dropout")
                .to_string()
                .contains("dropout of 0")
        );
    }

    #[test]
    fn nothing_matched_lists_the_nearest_names() {
        let targets = ModuleFilter::names(["qproj"]);
        let config = LoraConfig {
            targets,
            ..LoraConfig::default()
        };
        let error = match_targets(&model(), &[], &config)
            .expect_err("no match")
            .to_string();
        assert!(
            error.contains("[qproj]") && error.ends_with("end in q_proj, k_proj, lm_head"),
            "{error}"
        );
        assert!(matches!(
            match_targets(&[], &[], &config),
            Err(LoraError::NoMatch { .. })
        ));
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(0), "0");
        assert_eq!(thousands(999), "999");
        assert_eq!(thousands(16_515_072), "16,515,072");
    }
}
