//! Which keys there are, and which one a mistyped key was meant to be.

use std::collections::BTreeSet;

use super::Schema;
use super::faults::{Found, shown};
use super::tree::{Item, KeyPath, Node, dotted};

/// Longer keys than this are not typing mistakes.
const LONGEST_GUESSED: usize = 80;

/// Every key a configuration may have.
pub(super) struct Keys<'a> {
    known: BTreeSet<String>,
    free: &'a [&'a str],
}

impl<'a> Keys<'a> {
    /// The keys of `defaults`, of `schema` and of the tables these lie in.
    pub(super) fn new(defaults: &Item, schema: Schema<'a>) -> Self {
        let mut known = BTreeSet::new();
        collect(defaults, &mut KeyPath::new(), &mut known);
        for key in schema.optional.iter().chain(schema.free) {
            known.insert((*key).to_owned());
            known.extend(key.match_indices('.').map(|(end, _)| key[..end].to_owned()));
        }
        Self {
            known,
            free: schema.free,
        }
    }

    /// Whether the values at `path` are of free form.
    pub(super) fn is_free(&self, path: &[String]) -> bool {
        !path.is_empty() && self.free.contains(&dotted(path).as_str())
    }

    /// Takes the unknown keys out of `layer` and reports each.
    pub(super) fn prune(&self, layer: &mut Item, path: &mut KeyPath, faults: &mut Found<'_>) {
        let Node::Table(table) = &mut layer.node else {
            return;
        };
        if self.is_free(path) || !self.has_children(path) {
            return;
        }
        let mut unknown = Vec::new();
        for (key, item) in table.iter_mut() {
            path.push(key.clone());
            if self.known.contains(&dotted(path)) {
                self.prune(item, path, faults);
            } else {
                unknown.push((key.clone(), item.origin));
            }
            path.pop();
        }
        for (key, origin) in unknown {
            table.remove(&key);
            path.push(key);
            // A guess costs time; past the limit it would not be shown.
            let problem = if faults.full() {
                String::new()
            } else {
                self.unknown(path)
            };
            faults.push(origin, &problem);
            path.pop();
        }
    }

    /// Below other paths nothing is known, and the type itself tells what it does not accept.
    fn has_children(&self, path: &[String]) -> bool {
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{}.", dotted(path))
        };
        let after = self.known.range(prefix.clone()..).next();
        after.is_some_and(|key| key.starts_with(&prefix))
    }

    fn unknown(&self, path: &[String]) -> String {
        let key = dotted(path);
        let problem = format!("unknown key `{}`", shown(&key, LONGEST_GUESSED));
        match self.nearest(path, &key) {
            Some(near) => format!("{problem}; did you mean `{near}`?"),
            None => problem,
        }
    }

    /// The known key that `key` resembles most: one a few letters off, or the same name in another
    /// table.
    fn nearest(&self, path: &[String], key: &str) -> Option<&str> {
        let last = path.last()?;
        if key.len() > LONGEST_GUESSED {
            return None;
        }
        let allowed = (last.chars().count() / 3).min(4);
        let parent = dotted(&path[..path.len() - 1]);
        self.known
            .iter()
            .filter_map(|known| {
                let (table, name) = known.rsplit_once('.').unwrap_or(("", known));
                let off = strsim::damerau_levenshtein(last, name);
                // A letter wrong is likelier than a key in the wrong table.
                let moved = usize::from(table != parent);
                (off <= allowed).then_some((off + moved, known.as_str()))
            })
            .min()
            .map(|(_, known)| known)
    }
}

fn collect(item: &Item, path: &mut KeyPath, known: &mut BTreeSet<String>) {
    let Node::Table(table) = &item.node else {
        return;
    };
    for (key, item) in table {
        path.push(key.clone());
        known.insert(dotted(path));
        collect(item, path, known);
        path.pop();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::ser::to_tree;

    fn guess(key: &str) -> Option<String> {
        let train = BTreeMap::from([("learning_rate", 1), ("steps", 2), ("seed", 3)]);
        let data = BTreeMap::from([("seed", 1), ("path", 2)]);
        let defaults = BTreeMap::from([("train", train), ("data", data)]);
        let schema = Schema {
            optional: &["train.lora.rank"],
            free: &["rewards"],
        };
        let keys = Keys::new(&to_tree(&defaults).unwrap(), schema);
        let path: Vec<_> = key.split('.').map(str::to_owned).collect();
        keys.nearest(&path, key).map(str::to_owned)
    }

    #[test]
    fn the_nearest_key_is_guessed() {
        for (wrong, meant) in [
            ("train.learning_rat", "train.learning_rate"),
            ("train.laerning_rate", "train.learning_rate"),
            ("train.sede", "train.seed"),
            ("data.sede", "data.seed"),
            ("trian", "train"),
            ("learning_rate", "train.learning_rate"),
            ("rewrads", "rewards"),
            ("train.lora.rnk", "train.lora.rank"),
        ] {
            assert_eq!(guess(wrong).as_deref(), Some(meant), "{wrong}");
        }
    }

    #[test]
    fn what_resembles_nothing_is_not_guessed() {
        for wrong in ["optimizer", "x", "train.zzzzz", &"seed".repeat(100)] {
            assert_eq!(guess(wrong), None, "{wrong}");
        }
    }
}
