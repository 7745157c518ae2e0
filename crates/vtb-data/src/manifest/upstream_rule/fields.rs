//! Typed reading of a record's fields.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::error::RowFault;
use crate::manifest::line::invalid;
use crate::row::kind;

pub(super) type Fields = Map<String, Value>;
pub(super) type Found<T> = Result<T, RowFault>;

/// Longest list that is read.
const MAX_ITEMS: usize = 1 << 20;

/// A field that must be there.
pub(super) fn get<T: DeserializeOwned>(fields: &Fields, field: &str) -> Found<T> {
    match get_or_none(fields, field)? {
        Some(value) => Ok(value),
        None => Err(RowFault::Missing(field.to_owned())),
    }
}

/// A field that may be left out or null.
pub(super) fn get_or_none<T: DeserializeOwned>(fields: &Fields, field: &str) -> Found<Option<T>> {
    match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => item(value, field).map(Some),
    }
}

/// A list that must be there; a fault names its item.
pub(super) fn list<T: DeserializeOwned>(fields: &Fields, field: &str) -> Found<Vec<T>> {
    match fields.get(field) {
        None | Some(Value::Null) => Err(RowFault::Missing(field.to_owned())),
        Some(Value::Array(items)) if items.len() <= MAX_ITEMS => {
            let numbered = items.iter().enumerate();
            numbered
                .map(|(at, value)| item(value, &format!("{field}[{at}]")))
                .collect()
        }
        Some(Value::Array(items)) => {
            let reason = format!("has {} items and {MAX_ITEMS} are allowed", items.len());
            Err(invalid(field, reason))
        }
        Some(other) => Err(RowFault::Field {
            field: field.to_owned(),
            expected: "a list",
            found: kind(other),
        }),
    }
}

/// A number of pixels within bounds.
pub(super) fn pixels(fields: &Fields, field: &str, bounds: [f64; 2]) -> Found<f64> {
    let value: f64 = get(fields, field)?;
    within(field, value, bounds)
}

/// A number, if it lies within bounds.
pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    field: &str,
    value: T,
    [least, most]: [T; 2],
) -> Found<T> {
    match value >= least && value <= most {
        true => Ok(value),
        false => Err(invalid(
            field,
            format!("is {value} and must lie between {least} and {most}"),
        )),
    }
}

fn item<T: DeserializeOwned>(value: &Value, field: &str) -> Found<T> {
    T::deserialize(value).map_err(|fault| invalid(field, fault.to_string()))
}
