//! What was found in a file: counts by kind with the first places, and how numbers are spread.

use std::collections::BTreeMap;
use std::fmt;

/// Places that are named for each kind of fault.
const SHOWN: usize = 3;

/// What was found.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Rows of the file.
    pub rows: usize,
    /// Things the file is, one a line.
    facts: Vec<(String, String)>,
    spreads: Vec<(String, Spread)>,
    faults: BTreeMap<String, Places>,
    notes: BTreeMap<String, Places>,
}

#[derive(Debug, Clone, Default)]
struct Places {
    count: usize,
    first: Vec<String>,
}

impl Places {
    fn add(&mut self, place: String) {
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push(place);
        }
    }
}

impl Findings {
    /// Findings about a file of so many rows.
    pub fn new(rows: usize) -> Self {
        Self {
            rows,
            ..Self::default()
        }
    }

    /// Something that must not be trained on. `kind` groups faults, `place` says where and what.
    pub fn fault(&mut self, kind: &str, place: impl Into<String>) {
        self.faults
            .entry(kind.to_owned())
            .or_default()
            .add(place.into());
    }

    /// Something worth knowing that keeps nobody from training.
    pub fn note(&mut self, kind: &str, place: impl Into<String>) {
        self.notes
            .entry(kind.to_owned())
            .or_default()
            .add(place.into());
    }

    /// A line of the table.
    pub fn fact(&mut self, name: &str, value: impl fmt::Display) {
        self.facts.push((name.to_owned(), value.to_string()));
    }

    /// How a number is spread over the rows; left out where no row has one.
    pub fn spread(&mut self, name: &str, values: Vec<f64>) {
        if let Some(spread) = Spread::of(values) {
            self.spreads.push((name.to_owned(), spread));
        }
    }

    /// Whether anything must not be trained on.
    pub fn has_faults(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Number of places with this kind of fault.
    pub fn faults_of(&self, kind: &str) -> usize {
        self.faults.get(kind).map_or(0, |places| places.count)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<22} {}", "rows", self.rows)?;
        for (name, value) in &self.facts {
            writeln!(f, "{name:<22} {value}")?;
        }
        if !self.spreads.is_empty() {
            let heads = ["least", "median", "95 %", "most"].map(|head| format!("{head:>9}"));
            writeln!(f, "{:<22} {}", "", heads.join(" "))?;
        }
        for (name, spread) in &self.spreads {
            writeln!(f, "{name:<22} {spread}")?;
        }
        for (word, kinds) in [("fault", &self.faults), ("note", &self.notes)] {
            for (kind, places) in kinds {
                let rows = if places.count == 1 { "place" } else { "places" };
                writeln!(f, "{word}: {kind}: {} {rows}", places.count)?;
                for place in &places.first {
                    writeln!(f, "    {place}")?;
                }
            }
        }
        Ok(())
    }
}

/// Least, median, 95th percentile and greatest of some numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread([f64; 4]);

impl Spread {
    /// `None` for no numbers. Percentiles are numbers that occur: the nearest rank.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_unstable_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let at = |share: f64| values[(share * last as f64).round() as usize];
        Some(Self([0.0, 0.5, 0.95, 1.0].map(at)))
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cell = |value: &f64| match value.fract() == 0.0 {
            true => format!("{value:>9}"),
            false => format!("{value:>9.3}"),
        };
        let cells: Vec<_> = self.0.iter().map(cell).collect();
        f.write_str(&cells.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_counts_everything_and_names_the_first() {
        let mut findings = Findings::new(9);
        findings.fact("pictures", 9);
        findings.spread("tokens", (1..=100).map(f64::from).collect());
        findings.spread("nothing", Vec::new());
        (1..=5).for_each(|line| findings.fault("too long", format!("t.jsonl:{line}")));
        assert!(findings.has_faults());
        assert_eq!(findings.faults_of("too long"), 5);
        let text = findings.to_string();
        assert!(text.contains("fault: too long: 5 places"), "{text}");
        assert!(
            text.contains("t.jsonl:3") && !text.contains("t.jsonl:4"),
            "{text}"
        );
        assert!(text.contains("tokens"), "{text}");
        assert!(!text.contains("nothing"), "{text}");
    }

    #[test]
    fn spreads_are_numbers_that_occur() {
        let spread = Spread::of((0..=100).map(f64::from).collect());
        assert_eq!(spread, Some(Spread([0.0, 50.0, 95.0, 100.0])));
        assert_eq!(Spread::of(vec![7.0]), Some(Spread([7.0; 4])));
        assert_eq!(Spread::of(Vec::new()), None);
    }
}
