//! Python's notions of text and numbers, as far as the earlier scores depend on them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::value::RawValue;

static LETTER: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\p{L}$"));
static DECIMAL: LazyLock<Regex> = LazyLock::new(|| pattern(r"^\p{Nd}$"));

/// Longest run of digits that Python turns into an integer.
const MAX_DIGITS: usize = 4300;

/// Characters that count as digits but have no decimal value (superscripts, circled digits, ...).
const DIGITS_NOT_DECIMAL: [(u32, u32); 20] = [
    (0xb2, 0xb3),
    (0xb9, 0xb9),
    (0x1369, 0x1371),
    (0x19da, 0x19da),
    (0x2070, 0x2070),
    (0x2074, 0x2079),
    (0x2080, 0x2089),
    (0x2460, 0x2468),
    (0x2474, 0x247c),
    (0x2488, 0x2490),
    (0x24ea, 0x24ea),
    (0x24f5, 0x24fd),
    (0x24ff, 0x24ff),
    (0x2776, 0x277e),
    (0x2780, 0x2788),
    (0x278a, 0x2792),
    (0x10a40, 0x10a43),
    (0x10e60, 0x10e68),
    (0x11052, 0x1105a),
    (0x1f100, 0x1f10a),
];

fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern compiles")
}

/// `str.strip`: also the four separators of ASCII, which are not white space in Unicode.
pub(super) fn strip(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c))
}

/// `len(text) == 1 and text.isalpha()`.
pub(super) fn is_one_letter(text: &str) -> bool {
    LETTER.is_match(text)
}

/// What `text.lstrip("-").isdigit()` then `int(text)` makes of an item.
pub(super) enum Item {
    /// Not all digits: left out.
    Other,
    /// Digits that `int` refuses.
    Invalid,
    /// A whole number in plain decimal digits.
    Int(String),
}

/// Reads one item of a list.
pub(super) fn read_item(text: &str) -> Item {
    let digits = text.trim_start_matches('-');
    if digits.is_empty() || !digits.chars().all(is_digit) {
        return Item::Other;
    }
    let minus = text.len() - digits.len();
    if minus > 1 || digits.chars().count() > MAX_DIGITS {
        return Item::Invalid;
    }
    let values: Option<String> = digits.chars().map(decimal_value).collect();
    values.map_or(Item::Invalid, |values| {
        Item::Int(plain(&values, minus == 1))
    })
}

fn is_digit(c: char) -> bool {
    let code = u32::from(c);
    let listed = |&(first, last): &(u32, u32)| (first..=last).contains(&code);
    is_decimal(code) || DIGITS_NOT_DECIMAL.iter().any(listed)
}

fn is_decimal(code: u32) -> bool {
    let matches = |c: char| c.is_ascii_digit() || DECIMAL.is_match(c.encode_utf8(&mut [0; 4]));
    char::from_u32(code).is_some_and(matches)
}

/// ASCII digit of the same value. Decimal digits come in runs of ten from 0 to 9.
fn decimal_value(c: char) -> Option<char> {
    if c.is_ascii() {
        return Some(c).filter(char::is_ascii_digit);
    }
    let code = u32::from(c);
    is_decimal(code).then_some(())?;
    let before = (1..code).take_while(|back| is_decimal(code - back)).count();
    char::from_digit(u32::try_from(before % 10).ok()?, 10)
}

fn plain(digits: &str, negative: bool) -> String {
    let bare = digits.trim_start_matches('0');
    match (bare, negative) {
        ("", _) => "0".to_owned(),
        (bare, true) => format!("-{bare}"),
        (bare, false) => bare.to_owned(),
    }
}

/// A JSON sequence as `json.loads` and `len` see it: each element as the whole number it equals, if
/// any. `None`: not JSON, or nothing that has a length.
pub(super) fn read_sequence(text: &str) -> Option<Vec<Option<String>>> {
    let text = constants_to_null(text);
    if let Ok(items) = serde_json::from_str::<Vec<Box<RawValue>>>(&text) {
        let too_long = |item: &RawValue| {
            let digits = item.get().trim_start_matches('-');
            digits.len() > MAX_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit())
        };
        if items.iter().any(|item| too_long(item)) {
            return None;
        }
        return Some(items.iter().map(|item| whole_number(item.get())).collect());
    }
    if let Ok(map) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&text) {
        return Some(vec![None; map.len()]);
    }
    let string = serde_json::from_str::<String>(&text).ok()?;
    Some(vec![None; string.chars().count()])
}

/// The whole number that a JSON value equals in Python, where `1 == 1.0 == True`.
fn whole_number(json: &str) -> Option<String> {
    match json {
        "true" => return Some("1".to_owned()),
        "false" => return Some("0".to_owned()),
        _ if !json.starts_with(|c: char| c == '-' || c.is_ascii_digit()) => return None,
        _ => {}
    }
    if json.contains(['.', 'e', 'E']) {
        let float = json
            .parse::<f64>()
            .ok()
            .filter(|float| float.is_finite() && float.fract() == 0.0)?;
        let digits = format!("{:.0}", float.abs());
        return Some(plain(&digits, float < 0.0));
    }
    let digits = json.trim_start_matches('-');
    Some(plain(digits, digits.len() < json.len()))
}

/// Python reads `NaN` and `Infinity`; like null, they equal no whole number.
fn constants_to_null(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut in_string, mut escaped) = (false, false);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let constant = ["NaN", "-Infinity", "Infinity"]
            .into_iter()
            .find(|name| !in_string && rest.starts_with(name));
        if let Some(name) = constant {
            out.push_str("null");
            rest = &rest[name.len()..];
            continue;
        }
        in_string ^= c == '"' && !escaped;
        escaped = in_string && c == '\\' && !escaped;
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(text: &str) -> Option<String> {
        match read_item(text) {
            Item::Int(number) => Some(number),
            Item::Other => None,
            Item::Invalid => Some("invalid".to_owned()),
        }
    }

    #[test]
    fn items_are_read_like_python_reads_them() {
        assert_eq!(int("-007").as_deref(), Some("-7"));
        assert_eq!(int("-0").as_deref(), Some("0"));
        assert_eq!(int("٣𝟟").as_deref(), Some("37"));
        assert_eq!(int("②").as_deref(), Some("invalid"));
        assert_eq!(int("--1").as_deref(), Some("invalid"));
        for text in ["", "-", "+1", "1.0", "½", "1_2", "x"] {
            assert_eq!(int(text), None, "{text}");
        }
        assert_eq!(int(&"9".repeat(4301)).as_deref(), Some("invalid"));
    }

    #[test]
    fn sequences_compare_like_python_compares_them() {
        let read = |text| {
            let items = read_sequence(text)?;
            Some(
                items
                    .into_iter()
                    .map(Option::unwrap_or_default)
                    .collect::<Vec<_>>()
                    .join(" "),
            )
        };
        assert_eq!(
            read("[1.0, true, -2, 1e1, null, NaN]").as_deref(),
            Some("1 1 -2 10  ")
        );
        assert_eq!(read("{\"1\": 2}").as_deref(), Some(""));
        assert_eq!(read("[01]"), None);
        assert_eq!(read("5"), None);
        assert_eq!(read("[\"NaN\\\"\", -Infinity]").as_deref(), Some(" "));
    }

    #[test]
    fn letters_and_blanks() {
        assert!(is_one_letter("a") && is_one_letter("β") && is_one_letter("ª"));
        assert!(
            !is_one_letter("ab")
                && !is_one_letter("1")
                && !is_one_letter("Ⓐ")
                && !is_one_letter("a\n")
        );
        assert_eq!(strip(" \u{1c}\u{a0}B\n"), "B");
    }
}
