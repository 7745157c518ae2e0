//! The report: one page that needs nothing else.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::cases::Case;
use super::html::{bar, cell, escape};
use super::summary::{Score, Summary, TaskSummary};
use super::table::percent;

const HEAD: &str = "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\
<meta name=\"viewport\" content=\"width=device-width\"><title>Evaluation</title><style>\
body{font:15px/1.45 system-ui,sans-serif;max-width:1200px;margin:2em auto;padding:0 1em;color:#222;background:#fff}\
table{border-collapse:collapse;margin:1em 0}th,td{padding:2px 9px;text-align:left;border-bottom:1px solid #ddd;vertical-align:middle}\
td.n{text-align:right;font-variant-numeric:tabular-nums}th.n{text-align:right}tr.sum td{font-weight:600}\
.all{fill:#eee}.bar{fill:#4a7ebb}.interval{stroke:#111;stroke-width:2}.tick{stroke:#c33;stroke-width:1.5}\
.cases{display:flex;flex-wrap:wrap;gap:1em}.case{border:1px solid #ddd;border-radius:4px;padding:.7em;max-width:560px}\
figure{display:inline-block;margin:0 .5em .3em 0;vertical-align:top}figcaption{font-size:12px;color:#666}\
img{border:1px solid #ccc;max-width:240px}pre{white-space:pre-wrap;word-break:break-word;background:#f6f6f6;padding:.5em;margin:.3em 0}\
details{margin:.4em 0}.hit{background:#dcebd5}.bad{color:#a22}</style></head><body>\n";

/// The page.
pub(super) fn page(summary: &Summary, cases: &[Case]) -> String {
    let mut out = HEAD.to_owned();
    head(&mut out, summary);
    scores(&mut out, summary);
    several(&mut out, summary);
    baselines(&mut out, summary);
    confusions(&mut out, summary);
    difficulties(&mut out, summary);
    failed(&mut out, cases);
    out.push_str("</body></html>\n");
    out
}

fn head(out: &mut String, summary: &Summary) {
    let all = &summary.overall;
    // Writing to a string cannot fail, here and below.
    let _ = write!(
        out,
        "<h1>{} % of {} records right</h1><p>Judged: {} answers in <code>{}</code> to the data set <code>{}</code>. \
         95 % interval {} to {} %. Mean of tasks {} %, mean of groups {} %. Guessing would give {} %.</p>",
        percent(all.accuracy.accuracy),
        all.records,
        summary.kind.name(),
        escape(&summary.predictions),
        escape(&summary.dataset),
        percent(all.accuracy.low),
        percent(all.accuracy.high),
        percent(summary.mean_of_tasks),
        percent(summary.mean_of_groups),
        percent(all.chance),
    );
    for (count, what) in [
        (
            all.missing,
            "records have no prediction; each counts as one invalid attempt",
        ),
        (
            all.unreadable,
            "attempts are files that could not be read; they count as invalid",
        ),
    ] {
        if count > 0 {
            let _ = write!(out, "<p class=\"bad\">{count} {what}.</p>");
        }
    }
}

fn scores(out: &mut String, summary: &Summary) {
    out.push_str(
        "<h2>Accuracy</h2><table><tr><th></th><th class=\"n\">records</th><th class=\"n\">attempts</th><th class=\"n\">accuracy</th>\
         <th class=\"n\">interval</th><th>red: guessing and the best shortcut</th><th class=\"n\">wrong</th><th class=\"n\">invalid</th>\
         <th class=\"n\">ambiguous</th><th class=\"n\">mean score</th></tr>",
    );
    for (name, task) in &summary.tasks {
        let best = task.baselines.values().copied().max_by(f64::total_cmp);
        row(out, "", name, &task.score, best);
    }
    for (name, group) in &summary.groups {
        row(out, "sum", name.as_str(), &group.score, None);
    }
    row(out, "sum", "all", &summary.overall, None);
    out.push_str("</table>");
}

fn row(out: &mut String, class: &str, name: &str, score: &Score, best: Option<f64>) {
    let accuracy = score.accuracy;
    let _ = write!(out, "<tr class=\"{class}\">");
    cell(out, "", name);
    cell(out, "n", &score.records.to_string());
    cell(out, "n", &score.attempts.to_string());
    cell(out, "n", &format!("{} %", percent(accuracy.accuracy)));
    cell(
        out,
        "n",
        &format!("{} to {}", percent(accuracy.low), percent(accuracy.high)),
    );
    out.push_str("<td>");
    let ticks: Vec<f64> = std::iter::once(score.chance).chain(best).collect();
    bar(
        out,
        accuracy.accuracy,
        [accuracy.low, accuracy.high],
        &ticks,
    );
    out.push_str("</td>");
    for count in [score.wrong, score.invalid, score.ambiguous] {
        cell(out, "n", &count.to_string());
    }
    cell(out, "n", &format!("{:.3}", score.mean_score));
    out.push_str("</tr>");
}

fn several(out: &mut String, summary: &Summary) {
    if summary.overall.pass_at.len() < 2 {
        return;
    }
    out.push_str("<h2>Several attempts</h2><table><tr><th></th>");
    for k in summary.overall.pass_at.keys() {
        let _ = write!(
            out,
            "<th class=\"n\">pass@{k}</th><th class=\"n\">maj@{k}</th>"
        );
    }
    out.push_str("</tr>");
    let tasks = summary
        .tasks
        .iter()
        .map(|(name, task)| (name.as_str(), &task.score));
    for (name, score) in tasks.chain([("all", &summary.overall)]) {
        out.push_str("<tr>");
        cell(out, "", name);
        for k in summary.overall.pass_at.keys() {
            for by in [&score.pass_at, &score.maj_at] {
                cell(
                    out,
                    "n",
                    &by.get(k)
                        .map_or_else(|| "-".to_owned(), |share| percent(*share)),
                );
            }
        }
        out.push_str("</tr>");
    }
    out.push_str("</table>");
}

fn baselines(out: &mut String, summary: &Summary) {
    let with = || {
        summary
            .tasks
            .iter()
            .filter(|(_, task)| !task.baselines.is_empty())
    };
    let names: BTreeSet<&String> = with().flat_map(|(_, task)| task.baselines.keys()).collect();
    if names.is_empty() {
        return;
    }
    out.push_str("<h2>Without looking at the figure</h2><p>Accuracy in % of guessing, of the answer that is right most often, \
                  and of always taking the marker in a special place.</p><table><tr><th></th><th class=\"n\">guessing</th>");
    for name in &names {
        let _ = write!(
            out,
            "<th class=\"n\">{}</th>",
            escape(&name.replace('_', " "))
        );
    }
    out.push_str("</tr>");
    for (name, task) in with() {
        out.push_str("<tr>");
        cell(out, "", name);
        cell(out, "n", &percent(task.score.chance));
        for rule in &names {
            let share = task.baselines.get(*rule);
            cell(
                out,
                "n",
                &share.map_or_else(|| "-".to_owned(), |share| percent(*share)),
            );
        }
        out.push_str("</tr>");
    }
    out.push_str("</table>");
}

fn confusions(out: &mut String, summary: &Summary) {
    let with = || {
        summary
            .tasks
            .iter()
            .filter(|(_, task)| !task.confusion.is_empty())
    };
    if with().next().is_none() {
        return;
    }
    out.push_str("<h2>Answers by right answer</h2>");
    for (name, task) in with() {
        let _ = write!(out, "<details><summary>{}</summary>", escape(name));
        confusion(out, task);
        out.push_str("</details>");
    }
}

fn confusion(out: &mut String, task: &TaskSummary) {
    let given: BTreeSet<&String> = task.confusion.values().flat_map(|row| row.keys()).collect();
    out.push_str("<table><tr><th>right</th>");
    for name in &given {
        let _ = write!(out, "<th class=\"n\">{}</th>", escape(name));
    }
    out.push_str("</tr>");
    for (right, row) in &task.confusion {
        out.push_str("<tr>");
        cell(out, "", right);
        for name in &given {
            let class = if *name == right { "n hit" } else { "n" };
            cell(
                out,
                class,
                &row.get(*name).copied().unwrap_or(0).to_string(),
            );
        }
        out.push_str("</tr>");
    }
    out.push_str("</table>");
}

fn difficulties(out: &mut String, summary: &Summary) {
    let with = || {
        summary
            .tasks
            .iter()
            .filter(|(_, task)| !task.difficulty.is_empty())
    };
    if with().next().is_none() {
        return;
    }
    out.push_str("<h2>Accuracy by difficulty</h2><table><tr><th></th><th>difficulty</th><th class=\"n\">records</th>\
                  <th class=\"n\">accuracy</th><th></th></tr>");
    for (name, task) in with() {
        for bin in &task.difficulty {
            let accuracy = bin.accuracy;
            out.push_str("<tr>");
            cell(out, "", name);
            cell(out, "", &format!("{:.1} to {:.1}", bin.from, bin.to));
            cell(out, "n", &accuracy.n.to_string());
            cell(out, "n", &format!("{} %", percent(accuracy.accuracy)));
            out.push_str("<td>");
            bar(out, accuracy.accuracy, [accuracy.low, accuracy.high], &[]);
            out.push_str("</td></tr>");
        }
    }
    out.push_str("</table>");
}

fn failed(out: &mut String, cases: &[Case]) {
    if cases.is_empty() {
        return;
    }
    out.push_str("<h2>Failed attempts</h2><div class=\"cases\">");
    for case in cases {
        let attempt = &case.attempt;
        let verdict = serde_json::to_value(attempt.verdict).unwrap_or_default();
        let _ = write!(
            out,
            "<div class=\"case\"><b>{}</b> {} attempt {}<br><span class=\"bad\">{}</span>: {}<br>right: <code>{}</code>",
            escape(&attempt.task),
            escape(&attempt.id),
            attempt.attempt,
            escape(verdict.as_str().unwrap_or_default()),
            escape(&attempt.reason),
            escape(&attempt.answer),
        );
        if let Some(parsed) = &attempt.parsed {
            let _ = write!(out, ", given: <code>{}</code>", escape(parsed));
        }
        out.push_str("<div>");
        for (caption, address) in &case.pictures {
            let _ = write!(
                out,
                "<figure><img alt=\"{caption}\" src=\"{address}\"><figcaption>{caption}</figcaption></figure>"
            );
        }
        out.push_str("</div>");
        if let Some(text) = &case.text {
            let _ = write!(out, "<pre>{}</pre>", escape(text));
        }
        out.push_str("</div>");
    }
    out.push_str("</div>");
}
