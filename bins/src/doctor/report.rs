//! Rows of what was found, as a table or as JSON.

use serde::Serialize;
use serde_json::{Value, json};

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    /// There.
    Ok,
    /// Usable, with a drawback.
    Warn,
    /// Not there.
    Missing,
}

impl Status {
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Missing => "missing",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    pub(super) group: &'static str,
    pub(super) name: String,
    pub(super) value: String,
    pub(super) status: Status,
    /// Whether the programs' defaults need it.
    pub(super) needed: bool,
    /// What to do, where something is to be done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
}

#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// There.
    pub(super) fn ok(
        &mut self,
        group: &'static str,
        name: impl Into<String>,
        value: impl Into<String>,
    ) {
        self.push(group, name.into(), value.into(), Status::Ok, None);
    }

    /// Usable, with a drawback, or not there; `hint` is the way out.
    pub(super) fn bad(
        &mut self,
        status: Status,
        group: &'static str,
        name: impl Into<String>,
        value: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.push(group, name.into(), value.into(), status, Some(hint.into()));
    }

    fn push(
        &mut self,
        group: &'static str,
        name: String,
        value: String,
        status: Status,
        hint: Option<String>,
    ) {
        self.rows.push(Row {
            group,
            name,
            value,
            status,
            needed: false,
            hint,
        });
    }

    /// The last row is something that the programs' defaults need, if `needed`.
    pub(super) fn needed(&mut self, needed: bool) {
        if let Some(row) = self.rows.last_mut() {
            row.needed = needed;
        }
    }

    /// Whether nothing is missing that is needed.
    pub(super) fn usable(&self) -> bool {
        !self
            .rows
            .iter()
            .any(|row| row.needed && row.status == Status::Missing)
    }

    #[cfg(test)]
    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn to_json(&self) -> Value {
        json!({ "usable": self.usable(), "rows": self.rows })
    }

    /// Columns of group, name, status and value; hints stand below their rows.
    pub(super) fn table(&self) -> String {
        let width = |of: &dyn Fn(&Row) -> usize| self.rows.iter().map(of).max().unwrap_or(0);
        let (groups, names) = (
            width(&|row| row.group.len()),
            width(&|row| row.name.chars().count()),
        );
        let mut text = String::new();
        let mut group = "";
        for row in &self.rows {
            let shown = if row.group == group { "" } else { row.group };
            group = row.group;
            text += &format!(
                "{shown:<groups$}  {:<names$}  {:<7}  {}\n",
                row.name,
                row.status.word(),
                row.value
            );
            if let Some(hint) = &row.hint {
                let needed = if row.needed { "needed: " } else { "" };
                text += &format!("{:<groups$}  {:<names$}           {needed}{hint}\n", "", "");
            }
        }
        text += match self.usable() {
            true => "\nthe programs run here with their defaults\n",
            false => {
                "\nsomething that the programs need is missing: see the rows marked `needed`\n"
            }
        };
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_makes_a_machine_unusable() {
        let mut report = Report::default();
        report.ok("program", "version", "1");
        report.bad(Status::Missing, "gpu", "driver", "none", "install it");
        assert!(report.usable());
        report.bad(Status::Warn, "disk", "here", "little", "make room");
        report.needed(true);
        assert!(report.usable());
        report.bad(Status::Missing, "disk", "here", "read-only", "go elsewhere");
        report.needed(true);
        assert!(!report.usable());
        let table = report.table();
        assert!(table.contains("needed: go elsewhere") && table.contains("  install it"));
        let json = report.to_json();
        assert_eq!(json["usable"], false);
        assert_eq!(json["rows"][1]["status"], "missing");
        assert_eq!(json["rows"][0].get("hint"), None);
    }
}
