//! Adapters on the linear layers of a model, and off them again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::{Adapter, Factors, LoraConfig, LoraError, LoraLinear, MatchReport};

/// Puts fresh factors on the layers that `report` matched.
///
/// # Errors
/// As [`LoraLinear::attach_fresh`].
pub fn attach_fresh(
    linears: Vec<&mut LoraLinear>,
    report: &MatchReport,
    lora: &LoraConfig,
    seed: u64,
) -> Result<(), LoraError> {
    let matched = report.matches.iter().map(|m| m.linear.path.as_str());
    let matched: BTreeSet<&str> = matched.collect();
    for linear in linears {
        if matched.contains(linear.path()) {
            linear.attach_fresh(lora, seed)?;
        }
    }
    Ok(())
}

/// Puts the factors of an adapter on their layers; every one must find its own. Answers the settings with names brought up
/// to date.
///
/// # Errors
/// A factor has no layer or does not fit it; `origin` and the layer are named.
pub fn attach(
    linears: Vec<&mut LoraLinear>,
    adapter: Adapter,
    origin: &Path,
) -> Result<LoraConfig, LoraError> {
    let infos: Vec<_> = linears.iter().map(|l| l.info(false)).collect();
    let mut adapter = adapter.fit(&infos, origin)?;
    for linear in linears {
        if let Some(factors) = adapter.factors.remove(linear.path()) {
            linear.attach(&adapter.config, factors)?;
        }
    }
    Ok(adapter.config)
}

/// The factors of every adapted layer, by module path.
pub fn factors(linears: Vec<&mut LoraLinear>) -> BTreeMap<String, Factors> {
    let pair = |linear: &mut LoraLinear| Some((linear.path().to_owned(), linear.factors()?));
    linears.into_iter().filter_map(pair).collect()
}
