//! Settings that say what the tensors of a file say: a rank and an alpha for each layer.

use std::collections::BTreeMap;

use super::DiffusionFamily;
use crate::{LoraConfig, LoraError, ModuleFilter};

/// Settings that give each of `layers` its rank and alpha: the most frequent ones, and patterns for the others. A
/// pattern is the name of a layer within its block where all blocks agree, else a whole path.
///
/// # Errors
/// What [`LoraConfig::rules`] says; `origin` names the file.
pub(super) fn settings_of(
    layers: &BTreeMap<String, (usize, f64)>,
    origin: &str,
) -> Result<LoraConfig, LoraError> {
    let family = DiffusionFamily::of(layers.keys().map(String::as_str));
    let rank = |(rank, _): &(usize, f64)| *rank;
    // Bits tell alphas apart; all are positive, so they are in order too.
    let alpha = |(_, alpha): &(usize, f64)| alpha.to_bits();
    let (r, default) = (most(layers, rank), most(layers, alpha));
    let config = |key: &dyn Fn(&str, bool) -> String| LoraConfig {
        r,
        alpha: f64::from_bits(default),
        targets: ModuleFilter::names(layers.keys()),
        rank_pattern: patterns(layers, family, rank, r, key),
        alpha_pattern: patterns(layers, family, alpha, default, key)
            .into_iter()
            .map(|(key, bits)| (key, f64::from_bits(bits)))
            .collect(),
        ..LoraConfig::default()
    };
    let short = config(&|name, _| name.to_owned());
    if says(&short, layers, origin)? {
        return Ok(short);
    }
    // A path that ends like another: from its beginning on, to the letter.
    Ok(config(&|name, whole| match whole {
        true => format!("^{}", fancy_regex::escape(name)),
        false => name.to_owned(),
    }))
}

/// Whether the settings give every layer what it has.
fn says(
    config: &LoraConfig,
    layers: &BTreeMap<String, (usize, f64)>,
    origin: &str,
) -> Result<bool, LoraError> {
    let rules = config.rules(origin)?;
    if config.rank_pattern.is_empty() && config.alpha_pattern.is_empty() {
        return Ok(true);
    }
    for (path, (rank, alpha)) in layers {
        if rules.rank(path)? != *rank || rules.alpha(path)? != *alpha {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The most frequent value, the smallest of several.
fn most<V: Ord + Copy + Default>(
    layers: &BTreeMap<String, (usize, f64)>,
    value: impl Fn(&(usize, f64)) -> V,
) -> V {
    let mut counts = BTreeMap::<V, usize>::new();
    for layer in layers.values() {
        *counts.entry(value(layer)).or_default() += 1;
    }
    let most = counts
        .iter()
        .max_by_key(|(value, count)| (**count, std::cmp::Reverse(**value)));
    most.map(|(value, _)| *value).unwrap_or_default()
}

/// A pattern for every layer whose value is not `default`.
fn patterns<V: PartialEq + Copy>(
    layers: &BTreeMap<String, (usize, f64)>,
    family: Option<DiffusionFamily>,
    value: impl Fn(&(usize, f64)) -> V,
    default: V,
    key: &dyn Fn(&str, bool) -> String,
) -> Vec<(String, V)> {
    // What all layers of one name within the block have; none where they differ.
    let mut shared = BTreeMap::<&str, Option<V>>::new();
    let within = |path: &str| family.and_then(|family| family.within_block(path));
    for (path, layer) in layers {
        let Some(name) = within(path) else { continue };
        let own = Some(value(layer));
        let all = shared.entry(name).or_insert(own);
        if *all != own {
            *all = None;
        }
    }
    let one = |name: &str| shared.get(name).copied().flatten();
    let mut patterns: Vec<(String, V)> = shared
        .iter()
        .filter_map(|(name, all)| Some((key(name, false), (*all)?)))
        .filter(|(_, value)| *value != default)
        .collect();
    for (path, layer) in layers {
        let covered = within(path).is_some_and(|name| one(name).is_some());
        if !covered && value(layer) != default {
            patterns.push((key(path, true), value(layer)));
        }
    }
    patterns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(of: &[(&str, usize, f64)]) -> BTreeMap<String, (usize, f64)> {
        of.iter()
            .map(|(path, rank, alpha)| ((*path).to_owned(), (*rank, *alpha)))
            .collect()
    }

    #[track_caller]
    fn check(of: &[(&str, usize, f64)]) -> LoraConfig {
        let layers = layers(of);
        let config = settings_of(&layers, "file").expect("valid");
        assert!(says(&config, &layers, "file").expect("cheap"), "{config:?}");
        config
    }

    #[test]
    fn one_rank_and_alpha_need_no_patterns() {
        let config = check(&[
            ("transformer_blocks.0.attn.to_q", 4, 2.0),
            ("transformer_blocks.1.attn.to_q", 4, 2.0),
        ]);
        assert_eq!((config.r, config.alpha), (4, 2.0));
        assert!(config.rank_pattern.is_empty() && config.alpha_pattern.is_empty());
    }

    #[test]
    fn a_kind_of_layer_gets_one_pattern_and_an_odd_one_its_path() {
        let config = check(&[
            ("transformer_blocks.0.attn.to_q", 4, 4.0),
            ("transformer_blocks.0.img_mlp.net.2", 8, 4.0),
            ("transformer_blocks.1.attn.to_q", 4, 4.0),
            ("transformer_blocks.1.img_mlp.net.2", 8, 4.0),
            ("transformer_blocks.2.attn.to_q", 4, 1.5),
            ("proj_out", 2, 4.0),
        ]);
        let ranks = [("img_mlp.net.2", 8), ("proj_out", 2)];
        assert_eq!(
            config.rank_pattern,
            ranks.map(|(key, rank)| (key.to_owned(), rank))
        );
        assert_eq!(
            config.alpha_pattern,
            [("transformer_blocks.2.attn.to_q".to_owned(), 1.5)]
        );
    }

    #[test]
    fn a_path_that_ends_like_another_is_told_apart() {
        let config = check(&[
            ("to_q", 2, 1.0),
            ("a.to_q", 4, 1.0),
            ("b.to_q", 4, 1.0),
            ("bxto_q", 4, 1.0),
        ]);
        assert_eq!(config.rank_pattern, [("^to_q".to_owned(), 2)]);
        check(&[
            ("a.b", 2, 1.0),
            ("c.a.b", 3, 1.0),
            ("axb", 3, 9.0),
            ("d", 3, 9.0),
        ]);
    }
}
