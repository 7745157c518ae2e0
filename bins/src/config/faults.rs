//! All that is wrong with a configuration, told at once.

use std::fmt;

use super::Sources;
use super::tree::Origin;

/// Enough to correct a file in one go; a file of garbage need not be told line by line.
pub(super) const MOST_FAULTS: usize = 50;

/// Every fault of a configuration, one line each.
///
/// A line starts with where the fault is (`runs.toml:12`, or the `--set` argument), then names the
/// key in backticks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigFaults {
    lines: Vec<String>,
}

impl ConfigFaults {
    /// Faults that the caller found by checks of its own.
    #[must_use]
    pub fn reject(faults: Vec<String>) -> Self {
        Self { lines: faults }
    }

    /// Adds the faults of further checks, to be reported together.
    pub fn extend(&mut self, faults: impl IntoIterator<Item = String>) {
        self.lines.extend(faults);
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The faults, one line each.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// `Ok` if nothing is wrong, else all of it.
    ///
    /// # Errors
    /// Itself, if it holds a fault.
    pub fn into_result(self) -> Result<(), Self> {
        if self.is_empty() { Ok(()) } else { Err(self) }
    }
}

/// The faults of [`super::resolve`] while it looks for more.
pub(super) struct Found<'a> {
    sources: &'a Sources<'a>,
    faults: Vec<(Origin, String)>,
    more: bool,
}

impl<'a> Found<'a> {
    pub(super) fn new(sources: &'a Sources<'a>) -> Self {
        Self {
            sources,
            faults: Vec::new(),
            more: false,
        }
    }

    /// Adds a fault, unless there are [`MOST_FAULTS`] by now.
    pub(super) fn push(&mut self, origin: Origin, problem: &str) {
        if self.full() {
            self.more = true;
        } else {
            let line = format!("{}: {}", self.sources.name(origin), shown(problem, 400));
            self.faults.push((origin, line));
        }
    }

    pub(super) fn full(&self) -> bool {
        self.faults.len() >= MOST_FAULTS
    }

    /// All of them, in the order of the file and then of the arguments.
    pub(super) fn into_faults(mut self) -> ConfigFaults {
        self.faults.sort_by_key(|(origin, _)| *origin);
        let more = self
            .more
            .then(|| "there are more faults; correct these first".to_owned());
        let lines = self.faults.into_iter().map(|(_, line)| line).chain(more);
        ConfigFaults {
            lines: lines.collect(),
        }
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, line) in self.lines.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            f.write_str(line)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFaults {}

/// `text` fit for one line of a terminal: at most `most` characters, control characters escaped.
pub(super) fn shown(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == most {
            out.push_str("...");
            break;
        }
        if c.is_control() {
            out.extend(c.escape_default())
        } else {
            out.push(c)
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_fault() {
        let mut faults = ConfigFaults::reject(vec!["a.toml:1: one".into()]);
        faults.extend(["--set b=2: two".to_owned()]);
        assert_eq!(faults.to_string(), "a.toml:1: one\n--set b=2: two");
        assert_eq!(faults.lines().len(), 2);
        assert!(faults.into_result().is_err());
        assert!(ConfigFaults::default().into_result().is_ok());
    }

    #[test]
    fn control_characters_and_length_are_tamed() {
        assert_eq!(shown("a\u{1b}[31m\nb", 20), "a\\u{1b}[31m\\nb");
        assert_eq!(shown("abcdef", 3), "abc...");
    }

    #[test]
    fn faults_are_sorted_by_place_and_a_flood_is_cut() {
        let sets = ["a=1".to_owned()];
        let sources = Sources::new(Some(std::path::Path::new("f")), &sets);
        let mut found = Found::new(&sources);
        for origin in [
            Origin::Set(0),
            Origin::File(10),
            Origin::File(9),
            Origin::File(0),
        ] {
            found.push(origin, "bad");
        }
        assert_eq!(
            found.into_faults().lines,
            ["f: bad", "f:9: bad", "f:10: bad", "--set a=1: bad"]
        );
        let mut found = Found::new(&sources);
        (0..1000).for_each(|i| found.push(Origin::File(i), "bad"));
        assert!(found.full());
        assert_eq!(found.into_faults().lines.len(), MOST_FAULTS + 1);
    }
}
