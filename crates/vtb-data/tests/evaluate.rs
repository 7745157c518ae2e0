//! Predictions of every kind are judged, and nothing that they hold stops it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail by panicking, and says when it is skipped"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{data_set, read_all, request, small};
use serde_json::{Value, json};
use vtb_data::DataError;
use vtb_data::evaluate::{Attempt, Kind, REPORT, RESULTS, SUMMARY, Settings, Summary, evaluate};
use vtb_data::manifest::{Manifest, ManifestEntry};
use vtb_puzzle::{Answer, Outcome};

/// Judges and writes; the attempts, and what the files say.
fn judge(
    manifest: &Manifest,
    kind: Kind,
    predictions: &Path,
    settings: &Settings,
    out: &Path,
) -> Result<(Vec<Attempt>, Summary), DataError> {
    let done = evaluate(manifest, kind, predictions, settings, &|_, _| {})?;
    done.write(out, 12)?;
    Ok((done.attempts().cloned().collect(), done.summary().clone()))
}

fn rows(path: &Path, rows: impl IntoIterator<Item = Value>) {
    let lines: Vec<String> = rows.into_iter().map(|row| row.to_string()).collect();
    fs::write(path, lines.join("\n")).unwrap();
}

fn wrong_text(entry: &ManifestEntry) -> String {
    match &entry.answer {
        Answer::Choice(right) => {
            let options = &entry.record.as_ref().unwrap().options;
            options
                .iter()
                .find(|option| *option != right)
                .unwrap()
                .clone()
        }
        _ => "[0]".to_owned(),
    }
}

#[test]
fn texts_are_judged_with_all_their_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data_set(&small(6, false), &dir.path().join("data"));
    let entries = read_all(&manifest);
    let file = dir.path().join("answers.jsonl");
    // Of two attempts at each, the first is right; the second is right, wrong or nothing.
    let second = |at: usize, entry: &ManifestEntry| match at % 3 {
        0 => json!(entry.answer.to_string()),
        1 => json!(wrong_text(entry)),
        _ => Value::Null,
    };
    let first = entries.iter().map(|entry| {
        json!({"id": entry.id, "text": format!("So it is <answer>{}</answer>", entry.answer)})
    });
    let again = entries
        .iter()
        .enumerate()
        .map(|(at, entry)| json!({"id": entry.id, "text": second(at, entry)}));
    rows(&file, first.chain(again));
    let out = dir.path().join("out");
    let (attempts, summary) =
        judge(&manifest, Kind::Text, &file, &Settings::default(), &out).unwrap();
    assert_eq!(attempts.len(), 36);
    for (at, pair) in attempts.chunks(2).enumerate() {
        assert_eq!((pair[0].attempt, pair[1].attempt), (1, 2));
        assert_eq!(pair[0].verdict, Outcome::Correct, "{:?}", pair[0]);
        let expected = [Outcome::Correct, Outcome::Wrong, Outcome::Invalid][at % 3];
        assert_eq!(pair[1].verdict, expected, "{:?}", pair[1]);
        assert!(!pair[1].reason.is_empty());
    }
    let all = &summary.overall;
    assert_eq!(
        (
            all.records,
            all.attempts,
            all.correct,
            all.wrong,
            all.invalid
        ),
        (18, 36, 24, 6, 6)
    );
    assert!((all.accuracy.accuracy - 2.0 / 3.0).abs() < 1e-9);
    assert!((all.pass_at[&1] - 2.0 / 3.0).abs() < 1e-9 && all.pass_at[&2] == 1.0);
    // A right and a wrong answer tie, so only a third is lost.
    assert!((all.maj_at[&2] - 2.0 / 3.0).abs() < 1e-9, "{all:?}");
    assert_eq!(summary.tasks.len(), 3);
    let midpoint = &summary.tasks["midpoint"];
    assert!((midpoint.score.chance - 0.2).abs() < 1e-9);
    assert_eq!(midpoint.baselines.len(), 4, "{:?}", midpoint.baselines);
    assert!(!midpoint.difficulty.is_empty() && !midpoint.confusion.is_empty());

    let lines = fs::read_to_string(out.join(RESULTS)).unwrap();
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    for key in ["id", "attempt", "task", "verdict", "reason"] {
        assert!(first.get(key).is_some(), "{key} in {first}");
    }
    assert_eq!(
        (first["verdict"].as_str(), lines.lines().count()),
        (Some("correct"), 36)
    );
    let written: Value =
        serde_json::from_str(&fs::read_to_string(out.join(SUMMARY)).unwrap()).unwrap();
    assert_eq!(written["overall"]["pass_at"]["2"], 1.0);
    assert_eq!(written["tasks"]["midpoint"]["group"], "eyeballing");
    let page = fs::read_to_string(out.join(REPORT)).unwrap();
    assert!(page.contains("data:image/png;base64,") && page.ends_with("</html>\n"));
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("https://"));
    let table = summary.to_string();
    assert!(
        table.contains("maze_square") && table.contains("pass@2"),
        "{table}"
    );
}

#[test]
fn records_without_prediction_count_unless_told_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data_set(&small(3, false), &dir.path().join("data"));
    let entries = read_all(&manifest);
    let file = dir.path().join("answers.jsonl");
    rows(
        &file,
        entries[..3]
            .iter()
            .map(|entry| json!({"id": entry.id, "text": entry.answer.to_string()})),
    );
    let out = dir.path().join("out");
    let (attempts, summary) =
        judge(&manifest, Kind::Text, &file, &Settings::default(), &out).unwrap();
    assert_eq!(
        (
            attempts.len(),
            summary.overall.missing,
            summary.overall.invalid
        ),
        (9, 6, 6)
    );
    assert!((summary.overall.accuracy.accuracy - 1.0 / 3.0).abs() < 1e-9);
    assert!(attempts.iter().any(|attempt| attempt.attempt == 0));
    let settings = Settings {
        skip_missing: true,
        ..Settings::default()
    };
    let (attempts, summary) = judge(&manifest, Kind::Text, &file, &settings, &out).unwrap();
    assert_eq!((attempts.len(), summary.overall.missing), (3, 0));
    assert_eq!(summary.overall.accuracy.accuracy, 1.0);
}

#[test]
fn pictures_and_clips_are_found_in_rows_and_folders() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    let manifest = data_set(&small(2, true), &root);
    let entries = read_all(&manifest);
    let below = |path: &Path| {
        path.strip_prefix(&root)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    let out = dir.path().join("out");
    let settings = Settings {
        root: Some(root.clone()),
        ..Settings::default()
    };
    for (kind, word) in [(Kind::Image, "image"), (Kind::Video, "video")] {
        let file = dir.path().join(format!("{word}.jsonl"));
        let of = |entry: &ManifestEntry| match kind {
            Kind::Image => entry.solution.as_ref().unwrap().path.clone(),
            _ => entry.video.as_ref().unwrap().file.path.clone(),
        };
        rows(
            &file,
            entries
                .iter()
                .map(|entry| json!({"id": entry.id, word: below(&of(entry))})),
        );
        let (attempts, _) = judge(&manifest, kind, &file, &settings, &out).unwrap();
        for attempt in &attempts {
            assert_eq!(attempt.verdict, Outcome::Correct, "{word}: {attempt:?}");
            assert_eq!(attempt.score, 1.0);
        }
        // A folder with files named after ids, and two attempts in folders.
        let folder = dir.path().join(word);
        for (at, entry) in entries.iter().enumerate() {
            let end = of(entry).extension().unwrap().to_str().unwrap().to_owned();
            let places = match at {
                0 => vec![folder.join(format!("{}.{end}", entry.id))],
                1 => vec![folder.join(&entry.id).join(format!("generated.{end}"))],
                _ => vec![
                    folder
                        .join(&entry.id)
                        .join("attempt_2")
                        .join(format!("anything.{end}")),
                    folder
                        .join(&entry.id)
                        .join("attempt_10")
                        .join(format!("output.{end}")),
                ],
            };
            for place in places {
                fs::create_dir_all(place.parent().unwrap()).unwrap();
                fs::copy(of(entry), place).unwrap();
            }
        }
        let (attempts, summary) =
            judge(&manifest, kind, &folder, &Settings::default(), &out).unwrap();
        assert_eq!(
            (attempts.len(), summary.overall.correct),
            (10, 10),
            "{word}: {attempts:?}"
        );
    }
}

#[test]
fn untouched_foreign_and_broken_files_get_a_verdict() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("data");
    let manifest = data_set(
        &request(&[("midpoint", json!({"width": 400, "height": 400}))], 5),
        &root,
    );
    let entries = read_all(&manifest);
    let folder = dir.path().join("given");
    fs::create_dir_all(&folder).unwrap();
    let path = |at: usize| folder.join(format!("{}.png", entries[at].id));
    fs::copy(&entries[0].puzzle.path, path(0)).unwrap();
    fs::write(path(1), b"no picture").unwrap();
    fs::write(path(2), b"").unwrap();
    fs::copy(&entries[4].solution.as_ref().unwrap().path, path(3)).unwrap();
    let out = dir.path().join("out");
    let (attempts, summary) =
        judge(&manifest, Kind::Image, &folder, &Settings::default(), &out).unwrap();
    let verdicts: Vec<Outcome> = attempts.iter().map(|attempt| attempt.verdict).collect();
    assert_eq!(verdicts[..3], [Outcome::Invalid; 3]);
    assert_ne!(verdicts[3], Outcome::Correct, "{:?}", attempts[3]);
    assert_eq!(
        attempts.iter().filter(|attempt| attempt.unreadable).count(),
        2
    );
    assert_eq!(
        (summary.overall.unreadable, summary.overall.missing),
        (2, 1)
    );

    for (at, entry) in entries.iter().enumerate().take(4) {
        fs::remove_file(path(at)).unwrap();
        fs::write(
            folder.join(format!("{}.mp4", entry.id)),
            b"\0\0\0\x18ftypisom no video",
        )
        .unwrap();
    }
    let (attempts, _) = judge(&manifest, Kind::Video, &folder, &Settings::default(), &out).unwrap();
    assert!(
        attempts
            .iter()
            .all(|attempt| attempt.verdict == Outcome::Invalid && !attempt.reason.is_empty())
    );
}

#[test]
fn faults_of_the_file_name_line_and_field() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data_set(&small(2, false), &dir.path().join("data"));
    let id = manifest.entry(0).unwrap().id;
    let file = dir.path().join("answers.jsonl");
    let out = dir.path().join("out");
    let good = json!({"id": id, "text": "A"}).to_string();
    for (bad, word) in [
        (
            r#"{"id": "nobody", "text": "A"}"#.to_owned(),
            "\"nobody\" is not in the data set",
        ),
        (json!({"id": id}).to_string(), "`text` is missing"),
        ("{".to_owned(), "not a JSON object"),
    ] {
        fs::write(&file, format!("{good}\n\n{bad}\n")).unwrap();
        let fault = judge(&manifest, Kind::Text, &file, &Settings::default(), &out)
            .unwrap_err()
            .to_string();
        assert!(
            fault.contains("answers.jsonl:3") && fault.contains(word),
            "{fault}"
        );
    }
    fs::write(&file, "\n").unwrap();
    let fault = judge(&manifest, Kind::Text, &file, &Settings::default(), &out).unwrap_err();
    assert!(fault.to_string().contains("it has no rows"), "{fault}");
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let fault = judge(&manifest, Kind::Image, &empty, &Settings::default(), &out).unwrap_err();
    assert!(fault.to_string().contains("named after an id"), "{fault}");
    assert!(!out.exists());
}

#[test]
fn results_do_not_depend_on_threads() {
    let dir = tempfile::tempdir().unwrap();
    let manifest = data_set(&small(4, false), &dir.path().join("data"));
    let file = dir.path().join("answers.jsonl");
    let entries = read_all(&manifest);
    rows(
        &file,
        entries
            .iter()
            .map(|entry| json!({"id": entry.id, "text": wrong_text(entry)})),
    );
    let mut seen: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for threads in [1, 2, 4] {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        let out = dir.path().join(format!("out{threads}"));
        pool.install(|| judge(&manifest, Kind::Text, &file, &Settings::default(), &out))
            .unwrap();
        for name in [RESULTS, SUMMARY, REPORT] {
            let bytes = fs::read(out.join(name)).unwrap();
            let first = seen.entry(name.to_owned()).or_insert_with(|| bytes.clone());
            assert_eq!(*first, bytes, "{name} with {threads} threads");
        }
    }
}

#[test]
fn trees_of_the_python_programs_are_judged() {
    let tree = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/upstream/dataset");
    if !tree.is_dir() {
        println!("skipped: the recorded data is not here");
        return;
    }
    let manifest = Manifest::open_upstream(&tree, false).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let texts = dir.path().join("texts.jsonl");
    let entries = read_all(&manifest);
    let row = |entry: &ManifestEntry| json!({"id": entry.id, "text": format!("<answer>{}</answer>", entry.answer)});
    rows(&texts, entries.iter().map(row));
    let (attempts, _) = {
        judge(
            &manifest,
            Kind::Text,
            &texts,
            &Settings::default(),
            &dir.path().join("out"),
        )
        .unwrap()
    };
    for attempt in &attempts {
        assert_eq!(attempt.verdict, Outcome::Correct, "{attempt:?}");
    }
    let pictures = dir.path().join("pictures");
    fs::create_dir(&pictures).unwrap();
    for entry in &entries {
        let solution = &entry.solution.as_ref().unwrap().path;
        fs::copy(solution, pictures.join(format!("{}.png", entry.id))).unwrap();
    }
    let out = dir.path().join("images");
    let (attempts, summary) = judge(
        &manifest,
        Kind::Image,
        &pictures,
        &Settings::default(),
        &out,
    )
    .unwrap();
    for attempt in &attempts {
        let in_words = ["circle_count", "rects"].contains(&attempt.task.as_str());
        let expected = if in_words {
            Outcome::Invalid
        } else {
            Outcome::Correct
        };
        assert_eq!(attempt.verdict, expected, "{attempt:?}");
    }
    assert_eq!(summary.tasks.len(), 13);
}
