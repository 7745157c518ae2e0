//! The layers over the defaults: the file, and the `--set` arguments.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::faults::{Found, MOST_FAULTS};
use super::keys::Keys;
use super::tree::{Item, KeyPath, Node, Origin};

/// Larger files are no configuration.
const LARGEST_FILE: u64 = 256 * 1024;

/// Reads the file at `path` as a layer; `None`, with the faults told, if it is not TOML.
pub(super) fn read_file(path: &Path, faults: &mut Found<'_>) -> Option<Item> {
    let bytes = match read_bounded(path) {
        Ok(bytes) if bytes.len() as u64 > LARGEST_FILE => {
            let problem = format!("is larger than {LARGEST_FILE} bytes; is it a configuration?");
            faults.push(Origin::File(0), &problem);
            return None;
        }
        Ok(bytes) => bytes,
        Err(error) => {
            faults.push(Origin::File(0), &format!("cannot be read: {error}"));
            return None;
        }
    };
    let lines = Lines::new(&bytes);
    let text = match std::str::from_utf8(&bytes) {
        Ok(text) => text,
        Err(error) => {
            let at = Origin::File(lines.at(error.valid_up_to()));
            faults.push(at, "not UTF-8 text; save the file as UTF-8");
            return None;
        }
    };
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        syntax_faults(text, &errors, &lines, faults);
        return None;
    }
    let origin = |span: std::ops::Range<usize>| Origin::File(lines.at(span.start));
    Some(Item::new(
        Item::of_table(table.into_inner(), &origin),
        Origin::File(0),
    ))
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// One fault a line: what follows on the same line is mostly the parser finding its way again.
fn syntax_faults(text: &str, errors: &[toml::de::Error], lines: &Lines, faults: &mut Found<'_>) {
    let mut told = Vec::new();
    for error in errors.iter().take(MOST_FAULTS) {
        let span = error.span().unwrap_or_default();
        let line = lines.at(span.start);
        if told.contains(&line) {
            continue;
        }
        told.push(line);
        let what = error.message();
        let problem = match text.get(span) {
            Some(key) if what == "duplicate key" => format!("the key `{key}` is given twice"),
            _ => format!("invalid TOML: {what}"),
        };
        faults.push(Origin::File(line), &problem);
    }
}

/// Where the lines of a text start.
struct Lines(Vec<usize>);

impl Lines {
    fn new(bytes: &[u8]) -> Self {
        let ends = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n');
        Self(std::iter::once(0).chain(ends.map(|(i, _)| i + 1)).collect())
    }

    /// The line, counted from 1, of the byte at `offset`.
    fn at(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}

/// Reads the `index`-th `--set key=value` as a layer of one item, and tells the path to it.
pub(super) fn read_set(argument: &str, index: usize) -> Result<(KeyPath, Item), String> {
    let Some((key, value)) = argument.split_once('=') else {
        return Err("is not of the form `key=value`".to_owned());
    };
    let path = parse_key(key)?;
    let origin = Origin::Set(index);
    let mut layer = Item::new(parse_value(value, origin)?, origin);
    for key in path.iter().rev() {
        let table = [(key.clone(), layer)].into();
        layer = Item::new(Node::Table(table), origin);
    }
    Ok((path, layer))
}

fn parse_key(key: &str) -> Result<KeyPath, String> {
    let refused = || "the key is not one; write `table.key=value`".to_owned();
    if key.contains(['\n', '\r']) {
        return Err(refused());
    }
    let line = format!("{key} = 0");
    let mut table = DeTable::parse(&line).map_err(|_| refused())?.into_inner();
    let mut path = KeyPath::new();
    loop {
        match table.into_iter().next() {
            Some((key, value)) => {
                path.push(key.into_inner().into_owned());
                match value.into_inner() {
                    DeValue::Table(below) => table = below,
                    _ => return Ok(path),
                }
            }
            None => return Err(refused()),
        }
    }
}

/// A TOML value, or the text itself where no TOML value starts like it: `--set model=a/b` must
/// not need quotes within quotes.
fn parse_value(text: &str, origin: Origin) -> Result<Node, String> {
    let text = text.trim();
    match DeValue::parse(text) {
        Ok(value) => Ok(Item::of_value(value.into_inner(), &|_| origin)),
        Err(_) if text.is_empty() => {
            Err("has no value; write `key=\"\"` for an empty text".to_owned())
        }
        Err(error) if text.starts_with(['"', '\'', '[', '{']) => {
            Err(format!("the value is not valid TOML: {}", error.message()))
        }
        Err(_) => Ok(Node::Text(text.to_owned())),
    }
}

/// Lays `over` over `base`. Tables join; anything else, and what lies at a free path, takes the
/// place of what was there. `set` is the path of a `--set`, which reaches into free forms and into
/// arrays.
pub(super) fn lay_over(
    base: &mut Item,
    over: Item,
    path: &mut KeyPath,
    keys: &Keys<'_>,
    set: &[String],
) -> Result<(), String> {
    let Item { node, origin, .. } = over;
    let reaching = path.len() < set.len();
    match (&mut base.node, node) {
        (Node::Table(table), Node::Table(over)) if reaching || !keys.is_free(path) => {
            for (key, item) in over {
                path.push(key.clone());
                match table.get_mut(&key) {
                    Some(base) => lay_over(base, item, path, keys, set)?,
                    None => {
                        table.insert(
                            key,
                            Item {
                                whole: true,
                                ..item
                            },
                        );
                    }
                }
                path.pop();
            }
        }
        (Node::Array(array), Node::Table(over)) if reaching => {
            for (key, item) in over {
                let count = array.len();
                let element = key.parse::<usize>().ok().and_then(|i| array.get_mut(i));
                let Some(element) = element else {
                    return Err(format!(
                        "`{key}` is not one of the {count} elements, from 0 on"
                    ));
                };
                path.push(key);
                lay_over(element, item, path, keys, set)?;
                path.pop();
            }
        }
        (_, node) => {
            *base = Item {
                node,
                origin,
                rank: base.rank,
                whole: true,
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(argument: &str) -> Result<(String, String), String> {
        let (path, layer) = read_set(argument, 0)?;
        Ok((
            path.join("/"),
            toml::to_string(layer.get(&path).unwrap()).unwrap_or_default(),
        ))
    }

    fn value(text: &str) -> Node {
        parse_value(text, Origin::Set(0)).unwrap()
    }

    #[test]
    fn the_value_of_a_set_is_toml_or_text() {
        assert!(matches!(value("3"), Node::Number(n) if n == "3"));
        assert!(matches!(value("1e-5"), Node::Number(n) if n == "1e-5"));
        assert!(matches!(value("true"), Node::Bool(true)));
        assert!(matches!(value("[1, 2]"), Node::Array(a) if a.len() == 2));
        assert!(matches!(value("{ a = 1 }"), Node::Table(t) if t.len() == 1));
        for text in [
            "word",
            "Qwen/Qwen3-VL-2B",
            "/data/x.jsonl",
            "7b",
            "two words",
            "a=b",
            "1e",
        ] {
            assert!(matches!(value(text), Node::Text(t) if t == text), "{text}");
        }
        assert!(matches!(value("\"3\""), Node::Text(t) if t == "3"));
    }

    #[test]
    fn the_key_of_a_set_is_a_toml_key() {
        assert_eq!(set("a.b=1").unwrap().0, "a/b");
        assert_eq!(set("a.\"b.c\".0=1").unwrap().0, "a/b.c/0");
        for wrong in [
            "", "=1", "a", "a..b=1", ".a=1", "a b=1", "[a]=1", "a\nb=1", "# a=1", "a=",
        ] {
            assert!(set(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["a=[1", "a=\"x", "a={b=}", "a='"] {
            assert!(
                set(wrong).unwrap_err().contains("not valid TOML"),
                "{wrong:?}"
            );
        }
    }

    #[test]
    fn hostile_sets_are_refused() {
        assert!(read_set(&format!("{}=1", "a.".repeat(100_000)), 0).is_err());
        assert!(read_set(&format!("a={}", "[".repeat(100_000)), 0).is_err());
        assert!(read_set(&format!("{}b=1", "a.".repeat(100_000)), 0).is_err());
    }

    #[test]
    fn lines_count_from_one() {
        let lines = Lines::new(b"a\nbc\n\nd");
        assert_eq!(
            [0, 1, 2, 4, 5, 6, 99].map(|at| lines.at(at)),
            [1, 1, 2, 2, 3, 4, 4]
        );
    }
}
