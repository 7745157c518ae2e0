//! From the tree to the typed configuration, past the first fault.

use serde::de::DeserializeOwned;
use toml::de::ValueDeserializer;

use super::faults::Found;
use super::tree::{Item, KeyPath, Origin, dotted};

/// With more items under suspicion than this, none is tried alone.
const MOST_SUSPECTS: usize = 16;

/// A value that the type refused.
#[derive(PartialEq)]
struct Misfit {
    path: KeyPath,
    message: String,
}

/// Reads `tree` as a `T`. serde stops at the first fault: to find the next one, the refused item
/// is put back to its default, or taken out where it has none, and the tree is read again.
pub(super) fn fit<T: DeserializeOwned>(
    mut tree: Item,
    defaults: &Item,
    faults: &mut Found<'_>,
) -> Option<T> {
    let mut holes: Vec<KeyPath> = Vec::new();
    loop {
        let misfit = match read::<T>(&tree) {
            Ok(value) => return Some(value),
            Err(misfit) => misfit,
        };
        // What is missing because it was taken out is no fault of its own.
        let told = holes.iter().any(|hole| hole.starts_with(&misfit.path));
        let suspects = suspects(&tree, &misfit.path);
        let culprit = culprit::<T>(&tree, defaults, &suspects, &misfit);
        if !told {
            let place = culprit.unwrap_or(&misfit.path);
            let origin = tree.get(place).map_or(Origin::Default, |item| item.origin);
            faults.push(origin, &misfit.problem());
        }
        if suspects.is_empty() || faults.full() {
            return None;
        }
        match culprit.cloned() {
            Some(path) => holes.extend(revert(&mut tree, defaults, path)),
            None => {
                for path in suspects {
                    holes.extend(revert(&mut tree, defaults, path));
                }
            }
        }
    }
}

impl Misfit {
    fn problem(&self) -> String {
        if self.path.is_empty() {
            self.message.clone()
        } else {
            format!("`{}`: {}", dotted(&self.path), self.message)
        }
    }
}

fn read<T: DeserializeOwned>(tree: &Item) -> Result<T, Misfit> {
    let mut paths = Vec::new();
    let value = tree.to_value(&mut KeyPath::new(), &mut paths);
    T::deserialize(ValueDeserializer::from(value)).map_err(|error| {
        let id = error.span().map_or(0, |span| span.start);
        let path = paths.into_iter().nth(id).unwrap_or_default();
        Misfit {
            path,
            message: error.message().to_owned(),
        }
    })
}

/// The items that may be to blame for a misfit at `path`: the one there if a layer put it there,
/// else all that the layers put below.
fn suspects(tree: &Item, path: &[String]) -> Vec<KeyPath> {
    let within = (0..=path.len()).any(|n| tree.get(&path[..n]).is_some_and(|item| item.whole));
    if within {
        return vec![path.to_vec()];
    }
    let mut found = Vec::new();
    if let Some(item) = tree.get(path) {
        wholes(item, &mut path.to_vec(), &mut found);
    }
    found
}

fn wholes(item: &Item, path: &mut KeyPath, found: &mut Vec<KeyPath>) {
    if item.whole {
        found.push(path.clone());
        return;
    }
    for (key, item) in item.children() {
        path.push(key);
        wholes(item, path, found);
        path.pop();
    }
}

/// The one suspect without which this misfit is gone.
fn culprit<'a, T: DeserializeOwned>(
    tree: &Item,
    defaults: &Item,
    suspects: &'a [KeyPath],
    misfit: &Misfit,
) -> Option<&'a KeyPath> {
    if suspects.len() == 1 {
        return suspects.first();
    }
    suspects.iter().take(MOST_SUSPECTS).find(|suspect| {
        let mut tree = tree.clone();
        revert(&mut tree, defaults, (*suspect).clone());
        read::<T>(&tree).err().as_ref() != Some(misfit)
    })
}

/// Puts the item at `path` back to its default; or takes it out, and returns its path.
fn revert(tree: &mut Item, defaults: &Item, path: KeyPath) -> Option<KeyPath> {
    let whole = tree.get(&path).is_some_and(|item| item.whole);
    if let (true, Some(default)) = (whole, defaults.get(&path))
        && let Some(item) = tree.get_mut(&path)
    {
        *item = default.clone();
        return None;
    }
    tree.remove(&path);
    Some(path)
}
