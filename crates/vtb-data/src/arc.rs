//! Folders of ARC problems: JSON files `{"train": [{"input", "output"}], "test": [..]}` whose grids are
//! lists of rows of numbers 0 to 9.
//!
//! Each question becomes the parameters of one puzzle of the task `arcagi`. Files come in the order of
//! their paths, so a folder gives the same puzzles on every machine.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vtb_puzzle::tasks::{ArcPair, ArcSource};
use vtb_puzzle::visual::MAX_ARC_SIDE;

use crate::error::{DataError, Result};

/// How much of a folder is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArcLimits {
    /// Most JSON files.
    pub max_files: usize,
    /// Largest file, bytes.
    pub max_file_bytes: u64,
    /// How deep folders may lie in folders.
    pub max_depth: usize,
}

impl Default for ArcLimits {
    /// 10 000 files of at most 1 MiB, 8 levels.
    fn default() -> Self {
        Self {
            max_files: 10_000,
            max_file_bytes: 1 << 20,
            max_depth: 8,
        }
    }
}

/// One question of a file.
#[derive(Debug, Clone, PartialEq)]
pub struct ArcProblem {
    /// Path below the folder without its ending, and the question's number if the file has several:
    /// `training/007bbfb7`, `evaluation/aa4ec2a5#2`.
    pub name: String,
    /// The file.
    pub file: PathBuf,
    /// Parameters for the task `arcagi`; add to them what else is to differ from the defaults.
    pub params: Value,
}

/// Reads every `.json` file below `folder`; links are not followed.
///
/// # Errors
/// [`DataError::Arc`] naming file and field where a file is no ARC problem with answers or a limit is
/// exceeded; [`DataError::Io`]; [`DataError::Empty`] if there is no file.
pub fn load_arc(folder: &Path, limits: &ArcLimits) -> Result<Vec<ArcProblem>> {
    let mut files = Vec::new();
    list_files(folder, limits, 0, &mut files)?;
    if files.is_empty() {
        return Err(DataError::Empty {
            file: folder.to_owned(),
            why: "there is no .json file, links aside",
        });
    }
    let mut problems = Vec::new();
    for file in files {
        problems.extend(read_file(folder, &file, limits)?);
    }
    Ok(problems)
}

fn fault(file: &Path, field: impl Into<String>, reason: impl Into<String>) -> DataError {
    DataError::Arc {
        file: file.to_owned(),
        field: field.into(),
        reason: reason.into(),
    }
}

/// Files of a folder and of those within it, in the order of their names.
fn list_files(
    folder: &Path,
    limits: &ArcLimits,
    depth: usize,
    files: &mut Vec<PathBuf>,
) -> Result<()> {
    if depth > limits.max_depth {
        let reason = format!("lies more than {} folders deep", limits.max_depth);
        return Err(fault(folder, "path", reason));
    }
    let broken = |source| DataError::io(folder, "list", source);
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).map_err(broken)? {
        let entry = entry.map_err(broken)?;
        entries.push((entry.path(), entry.file_type().map_err(broken)?));
    }
    entries.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (path, kind) in entries {
        let is_json = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("json"));
        if kind.is_dir() {
            list_files(&path, limits, depth + 1, files)?;
        } else if kind.is_file() && is_json {
            if files.len() == limits.max_files {
                let reason = format!("is one more than the {} files allowed", limits.max_files);
                return Err(fault(&path, "path", reason));
            }
            files.push(path);
        }
    }
    Ok(())
}

fn read_file(folder: &Path, path: &Path, limits: &ArcLimits) -> Result<Vec<ArcProblem>> {
    let broken = |source| DataError::io(path, "read", source);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(broken)?;
    // One byte more than allowed tells a longer file, whatever its size is said to be.
    file.take(limits.max_file_bytes.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(broken)?;
    if bytes.len() as u64 > limits.max_file_bytes {
        let reason = format!("has more than {} bytes", limits.max_file_bytes);
        return Err(fault(path, "file", reason));
    }
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|e| fault(path, "file", format!("is not JSON: {e}")))?;
    let train = pairs(path, &value, "train")?;
    let tests = pairs(path, &value, "test")?;
    let stem = path.strip_prefix(folder).unwrap_or(path).with_extension("");
    let parts: Vec<_> = stem.iter().map(|part| part.to_string_lossy()).collect();
    let stem = parts.join("/");
    let several = tests.len() > 1;
    let questions = tests.into_iter().enumerate();
    questions
        .map(|(at, test)| {
            let name = match several {
                true => format!("{stem}#{}", at + 1),
                false => stem.clone(),
            };
            let train = train.clone();
            let source = ArcSource { name, train, test };
            source
                .check()
                .map_err(|reason| fault(path, "train, test", reason))?;
            Ok(ArcProblem {
                name: source.name.clone(),
                file: path.to_owned(),
                params: json!({ "source": source }),
            })
        })
        .collect()
}

fn pairs(path: &Path, value: &Value, key: &str) -> Result<Vec<ArcPair>> {
    let list = value.get(key).and_then(Value::as_array);
    let list = list.ok_or_else(|| fault(path, key, "is missing or no list"))?;
    if list.is_empty() {
        return Err(fault(path, key, "is empty"));
    }
    let pair = |(at, item): (usize, &Value)| {
        Ok(ArcPair {
            input: grid(path, item.get("input"), format!("{key}[{at}].input"))?,
            output: grid(path, item.get("output"), format!("{key}[{at}].output"))?,
        })
    };
    list.iter().enumerate().map(pair).collect()
}

fn grid(path: &Path, value: Option<&Value>, field: String) -> Result<Vec<Vec<u8>>> {
    let wrong = |place: String, reason: &str| Err(fault(path, format!("{field}{place}"), reason));
    let Some(value) = value else {
        return wrong(String::new(), "is missing; without it there is no puzzle");
    };
    let sized = |list: &&Vec<Value>| (1..=MAX_ARC_SIDE).contains(&list.len());
    let Some(list) = value.as_array().filter(sized) else {
        return wrong(String::new(), "must be a list of 1 to 30 rows");
    };
    let mut rows: Vec<Vec<u8>> = Vec::new();
    for (at, row) in list.iter().enumerate() {
        let Some(cells) = row.as_array().filter(sized) else {
            return wrong(format!("[{at}]"), "must be a list of 1 to 30 numbers");
        };
        let number = |cell: &Value| cell.as_u64().filter(|n| *n <= 9).map(|n| n as u8);
        let Some(numbers) = cells.iter().map(number).collect::<Option<Vec<_>>>() else {
            return wrong(
                format!("[{at}]"),
                "holds something else than numbers 0 to 9",
            );
        };
        if rows
            .first()
            .is_some_and(|first| first.len() != numbers.len())
        {
            return wrong(format!("[{at}]"), "is not as long as the first row");
        }
        rows.push(numbers);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vtb_puzzle::{Instance, find};

    const SMALL: &str = r#"{"train": [{"input": [[1, 0]], "output": [[0, 1]]}],
        "test": [{"input": [[2, 0]], "output": [[0, 2]]}], "name": "ignored"}"#;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn load(folder: &tempfile::TempDir) -> Result<Vec<ArcProblem>> {
        load_arc(folder.path(), &ArcLimits::default())
    }

    #[test]
    fn every_question_is_a_puzzle_in_the_order_of_paths() {
        let two = SMALL.replace(
            r#""test": ["#,
            r#""test": [{"input": [[3, 0, 0]], "output": [[0, 0, 3], [0, 0, 0]]}, "#,
        );
        let folder = folder(&[
            ("b.json", SMALL),
            ("a/two.json", &two),
            ("a/readme.txt", "no problem"),
        ]);
        let problems = load(&folder).unwrap();
        let names: Vec<_> = problems.iter().map(|one| one.name.as_str()).collect();
        assert_eq!(names, ["a/two#1", "a/two#2", "b"]);
        let task = find("arcagi").unwrap();
        for problem in &problems {
            let puzzle = Instance::generate(task, &problem.params, 1).unwrap();
            assert!(puzzle.judge_text(&puzzle.record.gold_text()).correct);
            task.verify(&puzzle.record).unwrap();
        }
        let first = Instance::generate(task, &problems[0].params, 1).unwrap();
        assert_eq!(first.record.answer.to_string(), "[[0, 0, 3], [0, 0, 0]]");
        assert_eq!(task.scene_space(&problems[0].params).unwrap(), Some(1));
    }

    #[test]
    fn faults_name_file_and_field() {
        for (text, field) in [
            ("{", "file"),
            ("[]", "train"),
            (r#"{"train": [], "test": []}"#, "train"),
            (&SMALL.replace("\"test\"", "\"tests\""), "test"),
            (
                &SMALL.replace(r#", "output": [[0, 2]]"#, ""),
                "test[0].output",
            ),
            (&SMALL.replace("[[1, 0]]", "[[1, 10]]"), "train[0].input[0]"),
            (&SMALL.replace("[[1, 0]]", "[[1, -1]]"), "train[0].input[0]"),
            (
                &SMALL.replace("[[1, 0]]", "[[1, 0.5]]"),
                "train[0].input[0]",
            ),
            (
                &SMALL.replace("[[1, 0]]", "[[1, 0], [1]]"),
                "train[0].input[1]",
            ),
            (&SMALL.replace("[[1, 0]]", "[[]]"), "train[0].input[0]"),
            (&SMALL.replace("[[1, 0]]", "[]"), "train[0].input"),
            (&SMALL.replace("[[1, 0]]", "7"), "train[0].input"),
            (&"[".repeat(5_000), "file"),
        ] {
            let folder = folder(&[("x.json", text)]);
            match load(&folder).unwrap_err() {
                DataError::Arc {
                    file, field: named, ..
                } => {
                    assert!(file.ends_with("x.json"));
                    assert_eq!(named, field, "{text}");
                }
                other => panic!("{other}"),
            }
        }
        let tall = SMALL.replace("[[1, 0]]", &format!("[{}[1]]", "[1],".repeat(30)));
        let fault = load(&folder(&[("x.json", &tall)])).unwrap_err().to_string();
        assert!(fault.contains("`train[0].input`") && fault.contains("30 rows"));
    }

    #[test]
    fn limits_hold() {
        let folder = folder(&[("a.json", SMALL), ("b/c/d.json", SMALL)]);
        let with = |limits: ArcLimits| load_arc(folder.path(), &limits).unwrap_err().to_string();
        let few = ArcLimits {
            max_files: 1,
            ..ArcLimits::default()
        };
        assert!(with(few).contains("1 files allowed"));
        let short = ArcLimits {
            max_file_bytes: 40,
            ..ArcLimits::default()
        };
        assert!(with(short).contains("more than 40 bytes"));
        let flat = ArcLimits {
            max_depth: 1,
            ..ArcLimits::default()
        };
        assert!(with(flat).contains("1 folders deep"));
    }

    #[test]
    fn an_empty_or_absent_folder_is_an_error() {
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(load(&empty), Err(DataError::Empty { .. })));
        let absent = empty.path().join("none");
        let fault = load_arc(&absent, &ArcLimits::default()).unwrap_err();
        assert!(matches!(fault, DataError::Io { .. }));
    }

    #[cfg(unix)]
    #[test]
    fn links_are_not_followed() {
        let folder = folder(&[("a/x.json", SMALL)]);
        std::os::unix::fs::symlink(folder.path(), folder.path().join("a/loop")).unwrap();
        let file = folder.path().join("a/x.json");
        std::os::unix::fs::symlink(file, folder.path().join("linked.json")).unwrap();
        assert_eq!(load(&folder).unwrap().len(), 1);
    }
}
