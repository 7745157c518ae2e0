//! What an adapter's file says about where it comes from, in the header of its safetensors.

use std::collections::BTreeMap;

/// Where diffusers keeps the settings.
pub(super) const DIFFUSERS_SETTINGS: &str = "lora_adapter_metadata";
/// What a rewritten file must not take over: it would be wrong, or is written anew.
const NOT_KEPT: [&str; 9] = [
    "format",
    DIFFUSERS_SETTINGS,
    "ss_network_dim",
    "ss_network_alpha",
    "modelspec.hash_sha256",
    "sshs_model_hash",
    "sshs_legacy_hash",
    RANK,
    ALPHA,
];
const RANK: &str = "vtb.rank";
const ALPHA: &str = "vtb.alpha";
const TARGETS: &str = "vtb.targets";

/// Where an adapter comes from. In a file the entries stand as `vtb.base_model`, `vtb.step` and so on; `None` is left
/// out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AdapterHeader {
    /// The base model: a directory or a name on the hub.
    pub base_model: Option<String>,
    /// Hash of its weights.
    pub base_hash: Option<String>,
    /// Hash of the data it was trained on.
    pub dataset_hash: Option<String>,
    /// Optimizer steps it was trained for.
    pub step: Option<u64>,
    /// Which prompt template it was trained with.
    pub template: Option<String>,
    /// Which activation the base model's MLPs had.
    pub activation: Option<String>,
    /// Whether reference pictures had timestep 0.
    pub zero_cond_t: Option<bool>,
    /// Entries of other programs, kept when an adapter is rewritten.
    pub other: BTreeMap<String, String>,
}

impl AdapterHeader {
    /// The entries as they stand in a file.
    pub fn to_metadata(&self) -> BTreeMap<String, String> {
        let mut entries = self.other.clone();
        let own = [
            ("base_model", self.base_model.clone()),
            ("base_hash", self.base_hash.clone()),
            ("dataset_hash", self.dataset_hash.clone()),
            ("step", self.step.map(|step| step.to_string())),
            ("template", self.template.clone()),
            ("activation", self.activation.clone()),
            ("zero_cond_t", self.zero_cond_t.map(|on| on.to_string())),
        ];
        let own = own
            .into_iter()
            .filter_map(|(key, value)| Some((format!("vtb.{key}"), value?)));
        entries.extend(own);
        entries
    }

    /// The other way round. An entry that cannot be understood stays among [`AdapterHeader::other`].
    pub fn from_metadata(mut entries: BTreeMap<String, String>) -> Self {
        entries.retain(|key, _| !NOT_KEPT.contains(&key.as_str()) && key != TARGETS);
        let mut take = |key: &str| entries.remove(&format!("vtb.{key}"));
        let mut header = Self {
            base_model: take("base_model"),
            base_hash: take("base_hash"),
            dataset_hash: take("dataset_hash"),
            template: take("template"),
            activation: take("activation"),
            ..Self::default()
        };
        header.step = taken(&mut entries, "vtb.step");
        header.zero_cond_t = taken(&mut entries, "vtb.zero_cond_t");
        header.other = entries;
        header
    }
}

/// An entry that can be read as a `V`.
fn taken<V: std::str::FromStr>(entries: &mut BTreeMap<String, String>, key: &str) -> Option<V> {
    let value = entries.get(key)?.parse().ok()?;
    entries.remove(key);
    Some(value)
}

/// What a file says of ranks, alphas and layers, for people: readers go by its tensors and settings.
pub(super) fn told(
    mut ranks: Vec<usize>,
    mut alphas: Vec<f64>,
    mut layers: Vec<String>,
) -> BTreeMap<String, String> {
    ranks.sort_unstable();
    alphas.sort_by(f64::total_cmp);
    layers.sort_unstable();
    BTreeMap::from([
        (RANK.to_owned(), distinct(ranks)),
        (ALPHA.to_owned(), distinct(alphas)),
        (TARGETS.to_owned(), distinct(layers)),
    ])
}

fn distinct<V: PartialEq + ToString>(mut sorted: Vec<V>) -> String {
    sorted.dedup();
    let texts: Vec<String> = sorted.iter().map(ToString::to_string).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_back_and_what_would_be_wrong_does_not() {
        let header = AdapterHeader {
            base_model: Some("org/base".into()),
            base_hash: Some("ab12".into()),
            dataset_hash: Some("cd34".into()),
            step: Some(500),
            template: Some("edit".into()),
            activation: Some("gelu-tanh".into()),
            zero_cond_t: Some(true),
            other: BTreeMap::from([("modelspec.title".to_owned(), "mazes".to_owned())]),
        };
        let mut entries = header.to_metadata();
        assert_eq!(entries["vtb.step"], "500");
        entries.extend(told(
            vec![4, 8, 4],
            vec![2.5, 4.0],
            ["b", "a", "b"].map(str::to_owned).to_vec(),
        ));
        assert_eq!(
            ["vtb.rank", "vtb.alpha", "vtb.targets"].map(|key| entries[key].as_str()),
            ["4,8", "2.5,4", "a,b"]
        );
        for key in ["format", DIFFUSERS_SETTINGS, "ss_network_dim"] {
            entries.insert(key.into(), "x".into());
        }
        assert_eq!(AdapterHeader::from_metadata(entries), header);
        assert!(AdapterHeader::default().to_metadata().is_empty());
        // Not a number: kept as it is.
        let odd = BTreeMap::from([("vtb.step".to_owned(), "many".to_owned())]);
        let read = AdapterHeader::from_metadata(odd.clone());
        assert_eq!((read.step, &read.other), (None, &odd));
        assert_eq!(read.to_metadata(), odd);
    }
}
