//! JSON with one spelling per value: keys sorted, no spaces. Hashes and comparisons are made of it.

use serde_json::Value;
use sha2::{Digest, Sha256};

/// The value as JSON with sorted keys, whatever order its maps keep.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

/// Lower-case hexadecimal SHA-256 of [`to_string`].
pub fn hash(value: &Value) -> String {
    hex(&Sha256::digest(to_string(value).as_bytes()))
}

/// Lower-case hexadecimal of bytes.
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes
        .iter()
        .flat_map(|b| [digit(b >> 4), digit(b & 15)])
        .collect()
}

/// Every leaf that differs, as `path: then -> now` with dotted paths. Keys below an `allowed` path are skipped; lists
/// are compared whole.
pub fn differences(then: &Value, now: &Value, allowed: &[&str]) -> Vec<String> {
    let mut out = Vec::new();
    compare("", Some(then), Some(now), allowed, &mut out);
    out
}

fn compare(
    path: &str,
    then: Option<&Value>,
    now: Option<&Value>,
    allowed: &[&str],
    out: &mut Vec<String>,
) {
    if allowed.contains(&path) || then == now {
        return;
    }
    if let (Some(Value::Object(a)), Some(Value::Object(b))) = (then, now) {
        let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let below = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            compare(&below, a.get(key), b.get(key), allowed, out);
        }
        return;
    }
    let name = if path.is_empty() { "all" } else { path };
    out.push(format!("{name}: {} -> {}", show(then), show(now)));
}

fn show(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".into(), to_string)
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort();
            out.push('{');
            for (i, key) in keys.into_iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                write(&map[key], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        leaf => out.push_str(&leaf.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_are_sorted_at_every_depth() {
        let value: Value =
            serde_json::from_str(r#"{"b":[{"z":1,"a":2.5}],"a":{"d":null,"c":"x\"y"}}"#).unwrap();
        assert_eq!(
            to_string(&value),
            r#"{"a":{"c":"x\"y","d":null},"b":[{"a":2.5,"z":1}]}"#
        );
    }

    #[test]
    fn hash_is_the_sha256_of_the_text() {
        // printf '{"a":1}' | sha256sum
        assert_eq!(
            hash(&json!({"a": 1})),
            "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
        );
    }

    #[test]
    fn every_difference_is_named_but_allowed_ones() {
        let then = json!({"seed": 1, "train": {"steps": 5, "lr": 0.1}, "data": {"path": "a"}});
        let now = json!({"seed": 1, "train": {"steps": 9, "lr": 0.2, "new": true}});
        assert_eq!(
            differences(&then, &now, &["train.steps"]),
            [
                "data: {\"path\":\"a\"} -> absent",
                "train.lr: 0.1 -> 0.2",
                "train.new: absent -> true"
            ]
        );
        assert!(differences(&then, &then, &[]).is_empty());
        let sections = ["train", "data"];
        assert!(differences(&then, &now, &sections).is_empty());
    }
}
