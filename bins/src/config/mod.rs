//! Layered configuration: defaults, then a TOML file, then `--set key=value`.
//!
//! [`resolve`] lays the layers over each other, checks all of the result and tells all faults at
//! once, each with its place and, for an unknown key, the key that was probably meant. Tables join
//! key by key; arrays, and what lies at a path of free form, replace what was there.

mod faults;
mod fit;
mod keys;
mod layers;
mod ser;
mod tree;

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use faults::ConfigFaults;
use faults::{Found, shown};
use keys::Keys;
use tree::{Item, KeyPath, Origin, dotted};

/// What the defaults do not show of the keys there are. Paths are dotted: `train.resume`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Schema<'a> {
    /// Keys that exist but are left out of the serialized defaults. Options that serialize as
    /// `None` are known without being listed; the keys within an optional table are not.
    pub optional: &'a [&'a str],
    /// Paths below which keys are not checked. What a file has there replaces the default whole;
    /// a `--set` below changes a single value.
    pub free: &'a [&'a str],
}

/// A configuration that is complete and checked.
#[derive(Debug, Clone)]
pub struct Resolved<T> {
    /// The configuration.
    pub value: T,
    /// All of it as TOML that resolves to itself: keys in order of declaration, those of maps
    /// sorted, absent options left out.
    pub toml: String,
    origins: BTreeMap<String, String>,
}

impl<T> Resolved<T> {
    /// Where the value of `key` (dotted) comes from: `runs.toml:12`, the `--set` argument, or
    /// `defaults`.
    #[must_use]
    pub fn origin(&self, key: &str) -> &str {
        let tables = std::iter::successors(Some(key), |key| Some(key.rsplit_once('.')?.0));
        tables
            .filter_map(|key| self.origins.get(key))
            .next()
            .map_or("defaults", String::as_str)
    }

    /// A fault found by the caller's own checks, in the words of this module:
    /// ``runs.toml:12: `train.steps`: must be positive``. Hand them to [`ConfigFaults::reject`].
    #[must_use]
    pub fn fault(&self, key: &str, problem: &str) -> String {
        format!("{}: `{key}`: {problem}", self.origin(key))
    }
}

/// Lays `file` and `overrides` (each `key=value`) over `defaults`.
///
/// A value of `overrides` is read as TOML, and as plain text where it is none: `a.b=3` is a number,
/// `a.b=some/path` a text. A number in the key is an index: `rewards.0.weight=2`.
///
/// # Errors
/// All faults at once: a file that cannot be read, is too large, not UTF-8 or not TOML; unknown
/// keys; values of the wrong type.
pub fn resolve<T: Serialize + DeserializeOwned>(
    defaults: &T,
    file: Option<&Path>,
    overrides: &[String],
    schema: Schema<'_>,
) -> Result<Resolved<T>, ConfigFaults> {
    let sources = Sources::new(file, overrides);
    let mut faults = Found::new(&sources);
    let defaults = ser::to_tree(defaults).map_err(|error| unwritable(&error))?;
    let keys = Keys::new(&defaults, schema);
    let mut tree = defaults.clone();
    if let Some(path) = file
        && let Some(mut layer) = layers::read_file(path, &mut faults)
    {
        keys.prune(&mut layer, &mut KeyPath::new(), &mut faults);
        if let Err(problem) = layers::lay_over(&mut tree, layer, &mut KeyPath::new(), &keys, &[]) {
            faults.push(Origin::File(0), &problem);
        }
    }
    for (i, argument) in overrides.iter().enumerate() {
        let laid = layers::read_set(argument, i).and_then(|(path, mut layer)| {
            keys.prune(&mut layer, &mut KeyPath::new(), &mut faults);
            layers::lay_over(&mut tree, layer, &mut KeyPath::new(), &keys, &path)
        });
        if let Err(problem) = laid {
            faults.push(Origin::Set(i), &problem);
        }
    }
    let origins = origins(&tree, &sources);
    let value: Option<T> = fit::fit(tree, &defaults, &mut faults);
    let faults = faults.into_faults();
    let Some(value) = value.filter(|_| faults.is_empty()) else {
        return Err(faults);
    };
    let toml = to_toml(&value)?;
    Ok(Resolved {
        value,
        toml,
        origins,
    })
}

/// A configuration as TOML that resolves to itself, as in [`Resolved::toml`]: for one that was changed afterwards.
///
/// # Errors
/// [`ConfigFaults`] for a value that TOML cannot hold.
pub fn to_toml<T: Serialize>(value: &T) -> Result<String, ConfigFaults> {
    let tree = ser::to_tree(value).map_err(|error| unwritable(&error))?;
    toml::to_string_pretty(&tree).map_err(|error| unwritable(&error))
}

fn unwritable(error: &dyn std::error::Error) -> ConfigFaults {
    ConfigFaults::reject(vec![format!(
        "defaults: cannot be written as TOML: {error}"
    )])
}

/// How the layers are called in faults.
struct Sources<'a> {
    file: String,
    overrides: &'a [String],
}

impl<'a> Sources<'a> {
    fn new(file: Option<&Path>, overrides: &'a [String]) -> Self {
        let file = file
            .map(|path| shown(&path.display().to_string(), 400))
            .unwrap_or_default();
        Self { file, overrides }
    }

    fn name(&self, origin: Origin) -> String {
        match origin {
            Origin::Default => "defaults".to_owned(),
            Origin::File(0) => self.file.clone(),
            Origin::File(line) => format!("{}:{line}", self.file),
            Origin::Set(i) => {
                let argument = self.overrides.get(i).map_or("", String::as_str);
                format!("--set {}", shown(argument, 80))
            }
        }
    }
}

/// Where each item that is no default comes from.
fn origins(tree: &Item, sources: &Sources<'_>) -> BTreeMap<String, String> {
    fn walk(item: &Item, path: &mut KeyPath, visit: &mut dyn FnMut(&[String], &Item)) {
        visit(path, item);
        for (key, item) in item.children() {
            path.push(key);
            walk(item, path, visit);
            path.pop();
        }
    }
    let mut origins = BTreeMap::new();
    walk(tree, &mut KeyPath::new(), &mut |path, item| {
        if item.origin != Origin::Default {
            origins.insert(dotted(path), sources.name(item.origin));
        }
    });
    origins
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Run {
        model: String,
        out: Option<String>,
        train: Train,
        weights: BTreeMap<String, f32>,
        rewards: Vec<Reward>,
        schedule: Schedule,
        lora: Option<Lora>,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Train {
        learning_rate: f32,
        steps: usize,
        seed: u64,
        betas: [f64; 2],
        #[serde(skip_serializing_if = "Option::is_none")]
        resume: Option<String>,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Reward {
        name: String,
        weight: f32,
        #[serde(default)]
        params: serde_json::Value,
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    #[serde(tag = "kind", rename_all = "lowercase")]
    enum Schedule {
        Constant,
        Cosine { floor: f32 },
    }

    #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
    struct Lora {
        rank: usize,
        targets: Vec<String>,
    }

    const SCHEMA: Schema<'static> = Schema {
        optional: &["train.resume", "lora.rank", "lora.targets"],
        free: &["weights", "rewards"],
    };

    fn defaults() -> Run {
        let params = serde_json::Value::Null;
        Run {
            model: "tiny".into(),
            out: None,
            train: Train {
                learning_rate: 1e-5,
                steps: 10,
                seed: 1,
                betas: [0.9, 0.95],
                resume: None,
            },
            weights: BTreeMap::from([("choice".into(), 1.0)]),
            rewards: vec![Reward {
                name: "choice".into(),
                weight: 0.1,
                params,
            }],
            schedule: Schedule::Cosine { floor: 0.0 },
            lora: None,
        }
    }

    fn with(file: Option<&[u8]>, sets: &[&str]) -> Result<Resolved<Run>, ConfigFaults> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("runs.toml");
        std::fs::write(&path, file.unwrap_or_default()).unwrap();
        let sets: Vec<_> = sets.iter().map(|set| (*set).to_owned()).collect();
        resolve(&defaults(), file.map(|_| path.as_path()), &sets, SCHEMA).map_err(|faults| {
            let prefix = format!("{}/", dir.path().display());
            let lines = faults.lines().iter().map(|line| line.replace(&prefix, ""));
            ConfigFaults::reject(lines.collect())
        })
    }

    fn faults(file: &[u8], sets: &[&str]) -> Vec<String> {
        with(Some(file), sets).unwrap_err().lines().to_vec()
    }

    #[test]
    fn no_layer_gives_the_defaults_whole() {
        let run = with(None, &[]).unwrap();
        assert_eq!(run.value, defaults());
        let expected = "model = \"tiny\"\n\n[train]\nlearning_rate = 0.00001\nsteps = 10\nseed = 1\n\
                        betas = [\n    0.9,\n    0.95,\n]\n\n[weights]\nchoice = 1.0\n\n\
                        [[rewards]]\nname = \"choice\"\nweight = 0.1\n\n\
                        [schedule]\nkind = \"cosine\"\nfloor = 0.0\n";
        assert_eq!(run.toml, expected);
    }

    #[test]
    fn sets_lie_over_the_file_and_the_file_over_the_defaults() {
        let file = b"out = 'o'\n[train]\nsteps = 20\nseed = 0xff\n[lora]\nrank = 8\ntargets = []\n";
        let sets = [
            "train.steps=30",
            "model=a/b",
            "train.resume=x",
            "train.learning_rate=1",
        ];
        let run = with(Some(file), &sets).unwrap();
        let mut expected = defaults();
        expected.out = Some("o".into());
        expected.model = "a/b".into();
        expected.train.steps = 30;
        expected.train.seed = 255;
        expected.train.resume = Some("x".into());
        expected.train.learning_rate = 1.0;
        expected.lora = Some(Lora {
            rank: 8,
            targets: vec![],
        });
        assert_eq!(run.value, expected);
    }

    #[test]
    fn the_resolved_toml_resolves_to_itself() {
        let sets = [
            "out=o",
            "lora={rank=1, targets=['q']}",
            "train.seed=18446744073709551615",
        ];
        let first = with(None, &sets).unwrap();
        let again = with(Some(first.toml.as_bytes()), &[]).unwrap();
        assert_eq!(first.value, again.value);
        assert_eq!(first.toml, again.toml);
    }

    #[test]
    fn free_forms_are_replaced_by_the_file_and_reached_by_sets() {
        let file =
            b"[weights]\npath = 2\n[[rewards]]\nname = 'a'\nweight = 1\nparams = {x = [1]}\n\
                     [[rewards]]\nname = 'b'\nweight = 2\n";
        let sets = [
            "weights.new=3",
            "rewards.1.weight=5",
            "rewards.0.params.y=true",
        ];
        let run = with(Some(file), &sets).unwrap().value;
        let weights = BTreeMap::from([("path".into(), 2.0), ("new".into(), 3.0)]);
        assert_eq!(run.weights, weights);
        assert_eq!(run.rewards[1].weight, 5.0);
        assert_eq!(
            run.rewards[0].params,
            serde_json::json!({ "x": [1], "y": true })
        );
        let missing = with(None, &["rewards.1.weight=5"]).unwrap_err().to_string();
        assert!(
            missing.starts_with("--set rewards.1.weight=5: "),
            "{missing}"
        );
    }

    #[test]
    fn all_faults_come_at_once_with_place_and_guess() {
        let file = b"modle = 'x'\n\n[train]\nlearning_rat = 1\nsteps = 'many'\nseed = -1\n\
                     [[rewards]]\nname = 3\nweight = 'x'\n[[rewards]]\nname = 'b'\n\
                     [[rewards]]\nname = 'c'\nweight = 1\nwieght = 1\n";
        let told = faults(
            file,
            &["train.stepz=1", "model=[]", "junk", "schedule.kind=bogus"],
        );
        let starts = [
            "runs.toml:1: unknown key `modle`; did you mean `model`?",
            "runs.toml:4: unknown key `train.learning_rat`; did you mean `train.learning_rate`?",
            "runs.toml:5: `train.steps`: invalid type: string \"many\", expected usize",
            "runs.toml:6: `train.seed`: invalid value: integer `-1`, expected u64",
            "runs.toml:8: `rewards.0.name`: invalid type: integer `3`, expected a string",
            "runs.toml:9: `rewards.0.weight`: invalid type: string \"x\", expected f32",
            "runs.toml:10: `rewards.1`: missing field `weight`",
            "runs.toml:15: `rewards.2.wieght`: unknown field `wieght`",
            "--set train.stepz=1: unknown key `train.stepz`; did you mean `train.steps`?",
            "--set model=[]: `model`: invalid type: sequence, expected a string",
            "--set junk: is not of the form `key=value`",
            "--set schedule.kind=bogus: `schedule.kind`: unknown variant `bogus`",
        ];
        assert_eq!(told.len(), starts.len(), "{told:#?}");
        for (line, start) in told.iter().zip(starts) {
            assert!(line.starts_with(start), "{start}\n{told:#?}");
        }
    }

    #[test]
    fn keys_within_an_optional_table_are_checked_if_listed() {
        let told = faults(b"[lora]\nrank = 1\ntargets = []\nrnak = 2\n", &[]);
        assert_eq!(
            told,
            ["runs.toml:4: unknown key `lora.rnak`; did you mean `lora.rank`?"]
        );
        let told = faults(b"[lora]\nrank = 'x'\ntargets = 3\n", &[]);
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn a_fault_without_a_path_is_laid_on_the_layer_that_brought_it() {
        #[derive(Serialize, Deserialize)]
        struct Outer {
            a: u8,
            #[serde(flatten)]
            inner: Inner,
        }
        #[derive(Serialize, Deserialize)]
        struct Inner {
            b: u8,
            c: u8,
        }
        let defaults = Outer {
            a: 1,
            inner: Inner { b: 1, c: 1 },
        };
        let sets = ["a=2", "b=x", "c=3"].map(str::to_owned);
        let told = resolve(&defaults, None, &sets, Schema::default()).map(|run| run.toml);
        let told = told.unwrap_err().to_string();
        assert!(
            told.starts_with("--set b=x: invalid type: string \"x\""),
            "{told}"
        );
        assert_eq!(told.lines().count(), 1, "{told}");
    }

    #[test]
    fn a_byte_order_mark_and_foreign_line_ends_are_no_fault() {
        let run = with(
            Some("\u{feff}model = 'x'\r\n[train]\r\nsteps = 3\r\n".as_bytes()),
            &[],
        );
        assert_eq!(run.unwrap().value.train.steps, 3);
    }

    #[test]
    fn a_table_in_place_of_a_value_is_a_fault_and_the_reverse_too() {
        let told = faults(b"train = 3\n[model]\na = 1\n", &[]);
        assert!(
            told.iter()
                .any(|line| line.starts_with("runs.toml:1: `train`: ")),
            "{told:?}"
        );
        assert!(
            told.iter()
                .any(|line| line.starts_with("runs.toml:2: `model`: ")),
            "{told:?}"
        );
        assert_eq!(told.len(), 2, "{told:?}");
    }

    #[test]
    fn syntax_faults_name_their_lines() {
        let told = faults(
            b"model = \n[train]\nsteps = 1\nsteps = 2\nseed = [1\n",
            &["x=1"],
        );
        assert!(
            told[0].starts_with("runs.toml:1: invalid TOML: "),
            "{told:?}"
        );
        assert!(
            told.contains(&"runs.toml:4: the key `steps` is given twice".to_owned()),
            "{told:?}"
        );
        assert!(
            told.iter().any(|line| line.starts_with("--set x=1: ")),
            "{told:?}"
        );
    }

    #[test]
    fn a_quoted_key_is_not_mistaken_for_a_path() {
        let told = faults(b"\"train.steps\" = 1\n", &[]);
        assert!(
            told[0].contains("unknown key `\"train.steps\"`"),
            "{told:?}"
        );
    }

    #[test]
    fn hostile_files_are_told_and_never_panic() {
        let deep = |n| ("[".repeat(n), "]".repeat(n), "a.".repeat(n));
        let (open, close, keys) = deep(70);
        let lines = |n: usize, line: fn(usize) -> String| (0..n).map(line).collect::<String>();
        let files = [
            format!("{}a = 1", deep(50_000).2),
            format!("[{}a]", deep(50_000).2),
            format!("[weights]\na = {}", deep(100_000).0),
            format!("[weights.{keys}a]\nb = {open}1{close}"),
            lines(20_000, |i| format!("k{i} = 1\n")),
            lines(1_000, |i| format!("[[rewards]]\nx{i} = 1\n")),
            lines(20_000, |_| "= ] [ \"\n".to_owned()),
            format!("[train]\nsteps = {}", "9".repeat(1000)),
            format!("{} = 1", "k".repeat(100_000)),
            format!("model = [\"{}\"]", "x".repeat(100_000)),
            "[train]\nlearning_rate = 1e400".to_owned(),
            "[train]\nsteps = 18446744073709551616".to_owned(),
            "[train]\nbetas = [1]".to_owned(),
            "schedule = { kind = 1 }".to_owned(),
            "train = []".to_owned(),
            "\0".to_owned(),
        ];
        for file in &files {
            let told = faults(file.as_bytes(), &[]);
            assert!(!told.is_empty() && told.len() <= faults::MOST_FAULTS + 1);
            assert!(told.iter().all(|line| line.len() < 2000), "{told:?}");
        }
    }

    #[test]
    fn files_that_are_no_text_are_told() {
        let told = faults(b"model = 'a'\nout = '\xff'\n", &[]);
        assert_eq!(
            told,
            ["runs.toml:2: not UTF-8 text; save the file as UTF-8"]
        );
        let told = faults(&vec![b'#'; 1 << 20], &[]);
        assert!(
            told[0].starts_with("runs.toml: is larger than "),
            "{told:?}"
        );
        let absent = resolve(&defaults(), Some(Path::new("/absent/x.toml")), &[], SCHEMA);
        assert!(
            absent
                .unwrap_err()
                .to_string()
                .starts_with("/absent/x.toml: cannot be read: ")
        );
    }

    #[test]
    fn every_prefix_and_every_flipped_byte_of_a_file_is_survived() {
        let file = b"model = 'x'\n[train]\nsteps = 2\nbetas = [1, 2]\n\
                     [[rewards]]\nname = 'b'\nweight = 1\n";
        for end in 0..=file.len() {
            let _ = with(Some(&file[..end]), &[]);
        }
        for at in 0..file.len() {
            let mut flipped = file.to_vec();
            flipped[at] ^= 1 << (at % 8);
            if let Err(told) = with(Some(&flipped), &[]) {
                assert!(!told.is_empty());
            }
        }
    }

    #[test]
    fn callers_checks_speak_of_the_same_places() {
        let run = with(
            Some(b"[train]\nsteps = 2\n"),
            &["lora={rank=1, targets=[]}"],
        )
        .unwrap();
        assert!(run.origin("train.steps").ends_with("runs.toml:2"));
        assert_eq!(run.origin("lora.rank"), "--set lora={rank=1, targets=[]}");
        assert_eq!(
            run.fault("model", "is too small"),
            "defaults: `model`: is too small"
        );
        let mut told = ConfigFaults::reject(vec![run.fault("train.steps", "must be odd")]);
        told.extend(["--threads: must be positive".to_owned()]);
        let told = told.into_result().unwrap_err().to_string();
        assert!(
            told.ends_with("runs.toml:2: `train.steps`: must be odd\n--threads: must be positive")
        );
    }
}
