//! The tables of `docs/upstream.md`.

use std::collections::BTreeSet;

use image::RgbImage;
use image::imageops::{FilterType, resize};
use vtb_puzzle::Outcome;

use super::cases::*;
use super::*;

/// All of them, in the order of the page.
pub(crate) fn tables() -> Option<[String; 6]> {
    let (drawn, cases) = (drawn()?, pictured()?);
    Some([
        group_table(drawn),
        kind_table(drawn),
        solution_table(cases),
        trick_table(cases),
        parsing_table(),
        path_table(),
    ])
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let head: Vec<_> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = "|---".repeat(head.len()) + "|";
    let rows = rows.into_iter().map(|row| line(&row));
    let lines = [line(&head), rule].into_iter().chain(rows);
    lines.collect::<Vec<_>>().join("\n")
}

/// Drawings, and how many of them are judged so: `7 of 8`.
fn agreement<'a>(cases: impl Iterator<Item = &'a Drawn>, by: fn(&Drawn) -> bool) -> [String; 2] {
    let [mut all, mut right, mut open, mut open_right] = [0; 4];
    for case in cases {
        match case.intent {
            Some(wanted) => {
                all += 1;
                right += usize::from(by(case) == wanted);
            }
            None => {
                open += 1;
                open_right += usize::from(by(case));
            }
        }
    }
    let of = |count: usize, all: usize| match all {
        0 => "-".to_owned(),
        all => format!("{count} of {all}"),
    };
    [of(right, all), of(open_right, open)]
}

fn agreement_rows(cases: &[Drawn], key: fn(&Drawn) -> &str) -> Vec<Vec<String>> {
    let names: BTreeSet<_> = cases.iter().map(key).collect();
    let row = |name: &str, of: &dyn Fn(&&Drawn) -> bool| {
        let own = || cases.iter().filter(|case| of(case));
        let upstream = agreement(own(), |case| case.upstream);
        let ours = agreement(own(), |case| case.ours.correct);
        let [[theirs, their_open], [ours, our_open]] = [upstream, ours];
        vec![
            name.to_owned(),
            own().count().to_string(),
            theirs,
            ours,
            their_open,
            our_open,
        ]
    };
    let mut rows: Vec<_> = names
        .iter()
        .map(|name| row(name, &|case| key(case) == *name))
        .collect();
    rows.push(row("all", &|_| true));
    rows
}

const AGREEMENT: [&str; 5] = [
    "drawings",
    "upstream as meant",
    "ours as meant",
    "borderline, right upstream",
    "borderline, right here",
];

fn group_table(cases: &[Drawn]) -> String {
    let head = [&["group"], &AGREEMENT[..]].concat();
    table(&head, agreement_rows(cases, |case| &case.group))
}

fn kind_table(cases: &[Drawn]) -> String {
    let head = [&["maze"], &AGREEMENT[..]].concat();
    table(&head, agreement_rows(cases, |case| &case.task))
}

fn solution_table(cases: &[Pictured]) -> String {
    let tasks: BTreeSet<_> = cases.iter().map(|case| case.entry.task.as_str()).collect();
    let row = |task: &str, of: &dyn Fn(&&Pictured) -> bool| {
        let own: Vec<_> = cases.iter().filter(|case| of(case)).collect();
        let right = |change: fn(&RgbImage) -> RgbImage| {
            let judged = own
                .iter()
                .map(|case| case.judge.judge(&change(&case.solution)));
            judged.filter(|verdict| verdict.correct).count().to_string()
        };
        let silent = own
            .iter()
            .filter(|case| case.judge.judge(&case.puzzle).outcome == Outcome::Invalid);
        vec![
            task.to_owned(),
            own.len().to_string(),
            right(RgbImage::clone),
            right(|picture| jpeg(picture, 90)),
            right(|picture| jpeg(picture, 75)),
            right(half),
            silent.count().to_string(),
        ]
    };
    let mut rows: Vec<_> = tasks
        .iter()
        .map(|task| row(task, &|case| case.entry.task == *task))
        .collect();
    rows.push(row("all", &|_| true));
    let head = [
        "task",
        "records",
        "right as drawn",
        "JPEG 90",
        "JPEG 75",
        "half size",
        "puzzle alone is no answer",
    ];
    table(&head, rows)
}

fn half(picture: &RgbImage) -> RgbImage {
    let [width, height] = [picture.width() / 2, picture.height() / 2];
    resize(picture, width, height, FilterType::Triangle)
}

fn trick_table(cases: &[Pictured]) -> String {
    let row = |trick: &Trick| {
        let own: Vec<_> = of_group(cases, trick.group).collect();
        let drawn: Vec<_> = own.iter().map(|case| (trick.draw)(case)).collect();
        let pairs = || own.iter().zip(&drawn);
        let count = own.len();
        let fooled = pairs().filter(|(case, picture)| {
            nearest_to_mean_red(picture, &case.markers()) == Some(case.answer())
        });
        let upstream = match trick.upstream {
            Some(known) => known.to_owned(),
            None => format!("right, {} of {count}", fooled.count()),
        };
        let right = pairs().filter(|(case, picture)| case.judge.judge(picture).correct);
        vec![
            trick.what.to_owned(),
            if trick.honest { "right" } else { "no answer" }.to_owned(),
            upstream,
            format!("right, {} of {count}", right.count()),
            trick.why.to_owned(),
        ]
    };
    table(
        &["picture", "should be", "upstream", "ours", "why"],
        TRICKS.iter().map(row),
    )
}

fn parsing_table() -> String {
    let row = |(text, upstream, option): &(&str, &str, Option<&str>)| {
        let ours = option.unwrap_or("no option").to_owned();
        vec![format!("`{text}`"), (*upstream).to_owned(), ours]
    };
    table(
        &["text", "upstream reads", "ours reads"],
        PARSING.iter().map(row),
    )
}

fn path_table() -> String {
    let row = |said: &Said| {
        let ours = match said.ours {
            Outcome::Correct => "right",
            Outcome::Wrong => "wrong",
            Outcome::Ambiguous => "ambiguous",
            Outcome::Invalid => "cannot be read",
        };
        vec![
            said.what.to_owned(),
            said.upstream.to_owned(),
            ours.to_owned(),
        ]
    };
    table(
        &["answer", "upstream's reward", "our verdict"],
        PATHS.iter().map(row),
    )
}
