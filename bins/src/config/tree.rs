//! Settings as a tree in which every item remembers where it came from.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use toml::value::Datetime;

/// Keys from the root; an index stands for an element of an array.
pub(super) type KeyPath = Vec<String>;

/// The layer that gave an item its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Default,
    /// A line of the file, counted from 1; 0 is the file itself.
    File(usize),
    /// The n-th `--set`.
    Set(usize),
}

/// A value, or several.
#[derive(Debug, Clone)]
pub(super) enum Node {
    /// An optional setting that is absent: known, but written nowhere.
    Null,
    Bool(bool),
    Text(String),
    /// As TOML writes it, so that no digit is lost before its type is known.
    Number(String),
    Date(Datetime),
    Array(Vec<Item>),
    Table(BTreeMap<String, Item>),
}

/// A node and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) node: Node,
    pub(super) origin: Origin,
    /// Position among its siblings when printed; equals are sorted by key.
    pub(super) rank: usize,
    /// It took the place of a whole default, or had none.
    pub(super) whole: bool,
}

impl Item {
    pub(super) fn new(node: Node, origin: Origin) -> Self {
        Self {
            node,
            origin,
            rank: usize::MAX,
            whole: false,
        }
    }

    /// The item at `path`, if there is one.
    pub(super) fn get(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |item, key| match &item.node {
            Node::Table(table) => table.get(key),
            Node::Array(array) => array.get(key.parse::<usize>().ok()?),
            _ => None,
        })
    }

    pub(super) fn get_mut(&mut self, path: &[String]) -> Option<&mut Self> {
        path.iter()
            .try_fold(self, |item, key| match &mut item.node {
                Node::Table(table) => table.get_mut(key),
                Node::Array(array) => array.get_mut(key.parse::<usize>().ok()?),
                _ => None,
            })
    }

    /// Takes away the item at `path`. Elements of arrays become [`Node::Null`], so that those
    /// behind them keep their index.
    pub(super) fn remove(&mut self, path: &[String]) {
        let Some((last, parent)) = path.split_last() else {
            return;
        };
        match self.get_mut(parent).map(|item| &mut item.node) {
            Some(Node::Table(table)) => {
                table.remove(last);
            }
            Some(Node::Array(_)) => {
                if let Some(item) = self.get_mut(path) {
                    item.node = Node::Null;
                }
            }
            _ => {}
        }
    }

    /// The items of a parsed table; `origin` tells where a span lies.
    pub(super) fn of_table(table: DeTable<'_>, origin: &dyn Fn(Range<usize>) -> Origin) -> Node {
        let item = |(key, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
            let at = origin(key.span());
            let key = std::borrow::Cow::into_owned(key.into_inner());
            (
                key,
                Self::new(Self::of_value(value.into_inner(), origin), at),
            )
        };
        Node::Table(table.into_iter().map(item).collect())
    }

    /// The items of a parsed value.
    pub(super) fn of_value(value: DeValue<'_>, origin: &dyn Fn(Range<usize>) -> Origin) -> Node {
        let element = |value: Spanned<DeValue<'_>>| {
            let at = origin(value.span());
            Self::new(Self::of_value(value.into_inner(), origin), at)
        };
        match value {
            DeValue::Table(table) => Self::of_table(table, origin),
            DeValue::Array(array) => Node::Array(array.into_iter().map(element).collect()),
            DeValue::Boolean(value) => Node::Bool(value),
            DeValue::String(text) => Node::Text(text.into_owned()),
            DeValue::Datetime(date) => Node::Date(date),
            DeValue::Integer(number) => Node::Number(number.to_string()),
            DeValue::Float(number) => Node::Number(number.to_string()),
        }
    }

    /// The tree as `toml` reads it. The span of each value is its place in `paths`, which is how
    /// an error of deserialization finds its way back to a key.
    pub(super) fn to_value<'a>(
        &'a self,
        path: &mut KeyPath,
        paths: &mut Vec<KeyPath>,
    ) -> Spanned<DeValue<'a>> {
        let id = paths.len();
        paths.push(path.clone());
        let mut child = |key: String, item: &'a Self, paths: &mut Vec<KeyPath>| {
            path.push(key);
            let value = item.to_value(path, paths);
            path.pop();
            value
        };
        let value = match &self.node {
            // Never asked for: parents leave their nulls out.
            Node::Null => DeValue::Boolean(false),
            Node::Bool(value) => DeValue::Boolean(*value),
            Node::Text(text) => DeValue::String(text.as_str().into()),
            Node::Date(date) => DeValue::Datetime(*date),
            Node::Number(text) => DeValue::parse(text).map_or_else(
                |_| DeValue::String(text.as_str().into()),
                Spanned::into_inner,
            ),
            Node::Array(array) => {
                let items = array.iter().enumerate().filter(|(_, item)| !item.is_null());
                let values = items.map(|(i, item)| child(i.to_string(), item, paths));
                DeValue::Array(values.collect())
            }
            Node::Table(table) => {
                let mut out = DeTable::new();
                for (key, item) in table.iter().filter(|(_, item)| !item.is_null()) {
                    let value = child(key.clone(), item, paths);
                    out.insert(Spanned::new(value.span(), key.as_str().into()), value);
                }
                DeValue::Table(out)
            }
        };
        Spanned::new(id..id + 1, value)
    }

    /// The items directly below, each with its key or index.
    pub(super) fn children(&self) -> Vec<(String, &Self)> {
        match &self.node {
            Node::Table(table) => table
                .iter()
                .map(|(key, item)| (key.clone(), item))
                .collect(),
            Node::Array(array) => array
                .iter()
                .enumerate()
                .map(|(i, item)| (i.to_string(), item))
                .collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.node, Node::Null)
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.node {
            Node::Null => serializer.serialize_none(),
            Node::Bool(value) => serializer.serialize_bool(*value),
            Node::Text(text) => serializer.serialize_str(text),
            Node::Date(date) => date.serialize(serializer),
            Node::Number(text) => {
                if let Ok(number) = text.parse::<i64>() {
                    return serializer.serialize_i64(number);
                }
                if let Ok(number) = text.parse::<u64>() {
                    return serializer.serialize_u64(number);
                }
                let number = text.parse::<f64>().map_err(S::Error::custom)?;
                serializer.serialize_f64(number)
            }
            Node::Array(array) => {
                let mut seq = serializer.serialize_seq(None)?;
                for item in array.iter().filter(|item| !item.is_null()) {
                    seq.serialize_element(item)?;
                }
                seq.end()
            }
            Node::Table(table) => {
                let mut items: Vec<_> = table.iter().filter(|(_, item)| !item.is_null()).collect();
                items.sort_by_key(|(_, item)| item.rank);
                let mut map = serializer.serialize_map(None)?;
                for (key, item) in items {
                    map.serialize_entry(key, item)?;
                }
                map.end()
            }
        }
    }
}

/// `path` as TOML and `--set` write it; keys that are not bare are quoted, and so never equal one
/// that is.
pub(super) fn dotted(path: &[String]) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let key = |key: &String| {
        if !key.is_empty() && key.chars().all(bare) {
            key.clone()
        } else {
            format!("{key:?}")
        }
    };
    path.iter().map(key).collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Item {
        let table = DeTable::parse(text).unwrap().into_inner();
        Item::new(
            Item::of_table(table, &|span| Origin::File(span.start)),
            Origin::Default,
        )
    }

    #[test]
    fn items_are_found_by_key_and_index() {
        let tree = tree("a = [{ b = 1 }, { b = 0x2 }]");
        let path = ["a", "1", "b"].map(str::to_owned);
        assert!(matches!(&tree.get(&path).unwrap().node, Node::Number(n) if n == "0x2"));
        for wrong in [
            ["a", "2", "b"],
            ["a", "-1", "b"],
            ["a", "x", "b"],
            ["b", "0", "b"],
        ] {
            assert!(tree.get(&wrong.map(str::to_owned)).is_none());
        }
    }

    #[test]
    fn removing_keeps_the_index_of_what_follows() {
        let mut tree = tree("a = [1, 2, 3]");
        tree.remove(&["a", "0"].map(str::to_owned));
        assert!(tree.get(&["a", "0"].map(str::to_owned)).unwrap().is_null());
        assert!(!tree.get(&["a", "1"].map(str::to_owned)).unwrap().is_null());
        assert_eq!(toml::to_string(&tree).unwrap(), "a = [2, 3]\n");
    }

    #[test]
    fn every_kind_of_value_survives_both_ways() {
        let text = "a = -1\nb = 1.5\nc = inf\nd = nan\ne = true\nf = \"x\"\n\
                    g = 1979-05-27T07:32:00Z\nh = [1, 2]\ni = 18446744073709551615\n\n[j]\nk = 1\n";
        assert_eq!(toml::to_string(&tree(text)).unwrap(), text);
    }

    #[test]
    fn odd_keys_are_quoted() {
        let path = ["a", "b.c", "", "d-1_"].map(str::to_owned);
        assert_eq!(dotted(&path), r#"a."b.c"."".d-1_"#);
    }
}
