//! The numbers as text for a terminal.

use std::fmt;

use super::summary::{Score, Summary};

/// A line for each task, each group and the whole.
impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ks = || self.overall.pass_at.keys().copied().filter(|k| *k > 1);
        write!(
            out,
            "{:28} {:>7} {:>9} {:>15}",
            "", "records", "accuracy", "95 % interval"
        )?;
        for k in ks() {
            write!(out, " {:>8} {:>7}", format!("pass@{k}"), format!("maj@{k}"))?;
        }
        writeln!(
            out,
            " {:>8} {:>9} {:>7} {:>8}",
            "invalid", "ambiguous", "chance", "shortcut"
        )?;
        let line = |out: &mut fmt::Formatter<'_>, name: &str, score: &Score, best: Option<f64>| {
            let accuracy = score.accuracy;
            let interval = format!("{} to {}", percent(accuracy.low), percent(accuracy.high));
            let share = |count: usize| percent(count as f64 / score.attempts.max(1) as f64);
            write!(
                out,
                "{name:28} {:>7} {:>9} {interval:>15}",
                score.records,
                percent(accuracy.accuracy)
            )?;
            for k in ks() {
                let at = |by: &std::collections::BTreeMap<usize, f64>| {
                    by.get(&k).map_or("-".to_owned(), |v| percent(*v))
                };
                write!(out, " {:>8} {:>7}", at(&score.pass_at), at(&score.maj_at))?;
            }
            let best = best.map_or_else(|| "-".to_owned(), percent);
            let (invalid, ambiguous) = (share(score.invalid), share(score.ambiguous));
            writeln!(
                out,
                " {invalid:>8} {ambiguous:>9} {:>7} {best:>8}",
                percent(score.chance)
            )
        };
        for (name, task) in &self.tasks {
            let best = task.baselines.values().copied().max_by(f64::total_cmp);
            line(out, &format!("  {name}"), &task.score, best)?;
        }
        for (name, group) in &self.groups {
            line(out, name.as_str(), &group.score, None)?;
        }
        line(out, "all", &self.overall, None)?;
        write!(
            out,
            "mean of tasks {} %, mean of groups {} %",
            percent(self.mean_of_tasks),
            percent(self.mean_of_groups)
        )
    }
}

/// One decimal, without the sign.
pub(super) fn percent(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}
