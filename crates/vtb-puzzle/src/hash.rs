//! Seeds, ids and scene hashes: everything that must be the same on every machine and forever.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Seed of record number `index` of a run, from the run's base seed.
///
/// Independent of the number of workers and of every other record; 53 bits, so that JSON readers
/// that keep numbers as doubles keep it exactly.
#[must_use]
pub fn record_seed(base: u64, task: &str, index: u64) -> u64 {
    let parts = [
        b"seed".as_slice(),
        &base.to_le_bytes(),
        task.as_bytes(),
        &index.to_le_bytes(),
    ];
    first_u64(&digest(&parts)) >> 11
}

/// Id of a record: 32 hex digits of a hash of task, version, parameters and seed.
#[must_use]
pub fn record_id(task: &str, version: u32, params: &Value, seed: u64) -> String {
    let params = canonical_json(params);
    let (version, seed) = (version.to_le_bytes(), seed.to_le_bytes());
    hex(&digest(&[
        b"id",
        task.as_bytes(),
        &version,
        params.as_bytes(),
        &seed,
    ]))
}

/// Hash of what a puzzle shows, whatever its seed, id and prompts: 32 hex digits.
///
/// Two records with different hashes show different scenes; splits are disjoint by it.
#[must_use]
pub fn scene_hash(task: &str, scene: &Value) -> String {
    hex(&digest(&[
        b"scene",
        task.as_bytes(),
        canonical_json(scene).as_bytes(),
    ]))
}

/// JSON with keys sorted and no blanks, whatever order the map keeps.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let mut out = Vec::with_capacity(1024);
    write_canonical(value, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn write_canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (at, (key, item)) in entries.into_iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_plain(key, out);
                out.push(b':');
                write_canonical(item, out);
            }
            out.push(b'}');
        }
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_canonical(item, out);
            }
            out.push(b']');
        }
        plain => write_plain(plain, out),
    }
}

/// Text, a number, true, false or null: writing these to memory cannot fail.
fn write_plain(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    let written = serde_json::to_writer(&mut *out, value);
    debug_assert!(written.is_ok());
}

/// SHA-256 of the parts, each preceded by its length so that no two lists of parts collide.
pub(crate) fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn first_u64(bytes: &[u8; 32]) -> u64 {
    bytes
        .iter()
        .take(8)
        .rev()
        .fold(0, |value, &byte| (value << 8) | u64::from(byte))
}

fn hex(bytes: &[u8; 32]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibbles = bytes[..16].iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles
        .map(|nibble| char::from(DIGITS[usize::from(nibble)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_pinned_for_good() {
        assert_eq!(record_seed(42, "midpoint", 0), 8_199_618_990_201_156);
        assert_eq!(
            record_id("midpoint", 1, &json!({}), 7),
            "69d630d4dc59d4aa402d45f30cf6a78d"
        );
        assert!(record_seed(u64::MAX, "x", u64::MAX) < 1 << 53);
    }

    #[test]
    fn every_part_counts() {
        let seed = record_seed(1, "a", 2);
        assert_ne!(seed, record_seed(2, "a", 2));
        assert_ne!(seed, record_seed(1, "b", 2));
        assert_ne!(seed, record_seed(1, "a", 3));
        assert_ne!(scene_hash("a", &json!([1])), scene_hash("b", &json!([1])));
        assert_ne!(digest(&[b"ab", b"c"]), digest(&[b"a", b"bc"]));
    }

    #[test]
    fn key_order_does_not_count() {
        let value = json!({"b": [1, {"y": 0.5, "x": null}], "a": "q\""});
        assert_eq!(
            canonical_json(&value),
            r#"{"a":"q\"","b":[1,{"x":null,"y":0.5}]}"#
        );
    }
}
