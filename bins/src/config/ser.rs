//! Any serializable value as a tree: keys in order of declaration, absent options kept as nulls.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::ser::{self, Serialize, Serializer};

use super::tree::{Item, Node, Origin};

/// How `toml` marks a date on its way through serde.
const DATE: &str = "$__toml_private_datetime";

/// Why a value cannot be written as TOML.
#[derive(Debug)]
pub(super) struct Unwritable(String);

impl Display for Unwritable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unwritable {}

impl ser::Error for Unwritable {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// The tree of `value`, every item of it [`Origin::Default`].
pub(super) fn to_tree<T: Serialize + ?Sized>(value: &T) -> Result<Item, Unwritable> {
    Ok(Item::new(value.serialize(ToTree)?, Origin::Default))
}

struct ToTree;

/// Collects the items of an array or a table; under the name of its variant, if it is one.
#[derive(Default)]
struct Many {
    array: Vec<Item>,
    table: BTreeMap<String, Item>,
    key: Option<String>,
    variant: Option<&'static str>,
}

impl Many {
    fn variant(variant: &'static str) -> Self {
        Self {
            variant: Some(variant),
            ..Self::default()
        }
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        self.array.push(to_tree(value)?);
        Ok(())
    }

    fn entry<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Unwritable> {
        let item = Item {
            rank: self.table.len(),
            ..to_tree(value)?
        };
        self.table.insert(key.to_owned(), item);
        Ok(())
    }

    fn wrapped(variant: Option<&'static str>, node: Node) -> Node {
        let Some(variant) = variant else {
            return node;
        };
        Node::Table(BTreeMap::from([(
            variant.to_owned(),
            Item::new(node, Origin::Default),
        )]))
    }

    fn array(self) -> Node {
        Self::wrapped(self.variant, Node::Array(self.array))
    }

    fn table(self) -> Node {
        if let Some(Node::Text(text)) = self.table.get(DATE).map(|item| &item.node)
            && let Ok(date) = text.parse()
        {
            return Node::Date(date);
        }
        Self::wrapped(self.variant, Node::Table(self.table))
    }
}

macro_rules! numbers {
    ($($method:ident: $kind:ty),*) => {
        $(fn $method(self, v: $kind) -> Result<Node, Unwritable> {
            Ok(Node::Number(v.to_string()))
        })*
    };
}

impl Serializer for ToTree {
    type Ok = Node;
    type Error = Unwritable;
    type SerializeSeq = Many;
    type SerializeTuple = Many;
    type SerializeTupleStruct = Many;
    type SerializeTupleVariant = Many;
    type SerializeMap = Many;
    type SerializeStruct = Many;
    type SerializeStructVariant = Many;

    numbers!(
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32,
        serialize_u64: u64
    );

    fn serialize_bool(self, v: bool) -> Result<Node, Unwritable> {
        Ok(Node::Bool(v))
    }

    // `{:?}` is the shortest text that reads back as the same number, with a point or exponent.
    fn serialize_f32(self, v: f32) -> Result<Node, Unwritable> {
        Ok(Node::Number(format!("{v:?}").to_lowercase()))
    }

    fn serialize_f64(self, v: f64) -> Result<Node, Unwritable> {
        Ok(Node::Number(format!("{v:?}").to_lowercase()))
    }

    fn serialize_char(self, v: char) -> Result<Node, Unwritable> {
        Ok(Node::Text(v.to_string()))
    }

    fn serialize_str(self, v: &str) -> Result<Node, Unwritable> {
        Ok(Node::Text(v.to_owned()))
    }

    fn serialize_bytes(self, v: &[u8]) -> Result<Node, Unwritable> {
        v.serialize(self)
    }

    fn serialize_none(self) -> Result<Node, Unwritable> {
        Ok(Node::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, v: &T) -> Result<Node, Unwritable> {
        v.serialize(self)
    }

    fn serialize_unit(self) -> Result<Node, Unwritable> {
        Ok(Node::Null)
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<Node, Unwritable> {
        Ok(Node::Null)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<Node, Unwritable> {
        Ok(Node::Text(variant.to_owned()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        v: &T,
    ) -> Result<Node, Unwritable> {
        v.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        v: &T,
    ) -> Result<Node, Unwritable> {
        Ok(Many::wrapped(Some(variant), v.serialize(self)?))
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Many, Unwritable> {
        Ok(Many::default())
    }

    fn serialize_tuple(self, _: usize) -> Result<Many, Unwritable> {
        Ok(Many::default())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Many, Unwritable> {
        Ok(Many::default())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Many, Unwritable> {
        Ok(Many::variant(variant))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Many, Unwritable> {
        Ok(Many::default())
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Many, Unwritable> {
        Ok(Many::default())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Many, Unwritable> {
        Ok(Many::variant(variant))
    }
}

macro_rules! arrays {
    ($($kind:ident::$method:ident),*) => {
        $(impl ser::$kind for Many {
            type Ok = Node;
            type Error = Unwritable;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
                self.element(value)
            }

            fn end(self) -> Result<Node, Unwritable> {
                Ok(self.array())
            }
        })*
    };
}

arrays!(
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
);

macro_rules! structs {
    ($($kind:ident),*) => {
        $(impl ser::$kind for Many {
            type Ok = Node;
            type Error = Unwritable;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), Unwritable> {
                self.entry(key, value)
            }

            fn end(self) -> Result<Node, Unwritable> {
                Ok(self.table())
            }
        })*
    };
}

structs!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Many {
    type Ok = Node;
    type Error = Unwritable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unwritable> {
        self.key = match key.serialize(ToTree)? {
            Node::Text(text) | Node::Number(text) => Some(text),
            Node::Bool(value) => Some(value.to_string()),
            _ => {
                return Err(Unwritable(
                    "a key of a map is neither text nor number".to_owned(),
                ));
            }
        };
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unwritable> {
        // Items of a map are sorted by key, so that a hash map prints the same every time.
        let key = self.key.take().unwrap_or_default();
        self.table.insert(key, to_tree(value)?);
        Ok(())
    }

    fn end(self) -> Result<Node, Unwritable> {
        Ok(self.table())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Serialize)]
    enum Kind {
        Unit,
        One(u8),
        Two(u8, f32),
        Named { x: Option<u8> },
    }

    #[derive(serde::Serialize)]
    struct All {
        z: f32,
        a: u64,
        none: Option<u8>,
        unit: (),
        c: char,
        e: f64,
        kinds: Vec<Kind>,
        map: std::collections::HashMap<u8, bool>,
        date: toml::value::Datetime,
    }

    #[test]
    fn every_shape_is_written() {
        let all = All {
            z: 0.1,
            a: u64::MAX,
            none: None,
            unit: (),
            c: 'x',
            e: 1e-5,
            kinds: vec![
                Kind::Unit,
                Kind::One(1),
                Kind::Two(1, 2.0),
                Kind::Named { x: Some(1) },
            ],
            map: (0..5).map(|i| (i, true)).collect(),
            date: "1979-05-27T07:32:00Z".parse().unwrap(),
        };
        let tree = to_tree(&all).unwrap();
        assert!(tree.get(&["none".to_owned()]).unwrap().is_null());
        assert_eq!(
            toml::to_string(&tree).unwrap(),
            "z = 0.1\na = 18446744073709551615\nc = \"x\"\ne = 0.00001\n\
             kinds = [\"Unit\", { One = 1 }, { Two = [1, 2.0] }, { Named = { x = 1 } }]\n\
             date = 1979-05-27T07:32:00Z\n\n\
             [map]\n0 = true\n1 = true\n2 = true\n3 = true\n4 = true\n"
        );
    }

    #[test]
    fn keys_that_are_no_text_are_refused() {
        let map = BTreeMap::from([(vec![1], 2)]);
        assert!(to_tree(&map).is_err());
    }
}
