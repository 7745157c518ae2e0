//! Why a data set cannot be generated.

use std::path::PathBuf;

use vtb_puzzle::PuzzleError;

/// What is wrong with a request, or with the folder it is to be carried out in.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum GenerateFault {
    /// A task or a parameter that does not exist or cannot be used.
    #[error(transparent)]
    Puzzle(#[from] PuzzleError),
    /// There is no such group of tasks.
    #[error("there is no task group `{name}`; {hint}")]
    UnknownGroup {
        /// The name asked for.
        name: String,
        /// The nearest name, or all of them.
        hint: String,
    },
    /// Names, groups and exclusions leave nothing.
    #[error("no task is left: {0}")]
    NoTask(String),
    /// A parameter is set for a task that is not made.
    #[error("{option}: the task {task} is not among those to be made")]
    NotSelected {
        /// The option that sets it.
        option: String,
        /// The task, or the kind of tasks.
        task: String,
    },
    /// A general option means a parameter that a task does not have.
    #[error(
        "{option}: {} no such parameter; exclude {}, or set what there is with --set TASK.KEY=VALUE",
        has(tasks),
        if tasks.len() == 1 { "it" } else { "them" }
    )]
    NoSuchParam {
        /// The option.
        option: String,
        /// The tasks.
        tasks: Vec<String>,
    },
    /// A setting that cannot be used, in a sentence that says what would do.
    #[error("{0}")]
    Setting(String),
    /// A task cannot show so many different scenes.
    #[error(
        "task {task} has {space} different scenes with these parameters and {wanted} are wanted; \
         ask for {space} at most, or for larger or more varied puzzles"
    )]
    SceneSpace {
        /// The task.
        task: String,
        /// Scenes there are.
        space: u128,
        /// Scenes wanted.
        wanted: u64,
    },
    /// The generator of a task found no scene, again and again.
    #[error("{in_a_row} seeds in a row gave no scene; the last: {last}")]
    Barren {
        /// Seeds tried in vain, one after the other.
        in_a_row: u32,
        /// What the last one said.
        last: PuzzleError,
    },
    /// The folder holds a run with other settings.
    #[error(
        "{}: the folder holds a run with other settings: {}; use these again, or another folder",
        dir.display(),
        differences.join("; ")
    )]
    OtherSettings {
        /// The folder.
        dir: PathBuf,
        /// What differs, a phrase each.
        differences: Vec<String>,
    },
    /// The folder holds something else.
    #[error(
        "{}: the folder is not empty (it has {found}) and no generated data set; use a new one",
        dir.display()
    )]
    NotOurs {
        /// The folder.
        dir: PathBuf,
        /// Something that is in it.
        found: String,
    },
    /// Another process is at work in the folder.
    #[error("{}: another run is at work in this folder; wait for it or use another", dir.display())]
    Busy {
        /// The folder.
        dir: PathBuf,
    },
    /// `generation.json` cannot be understood.
    #[error("{}: {reason}; use a new folder", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

fn has(tasks: &[String]) -> String {
    let verb = if tasks.len() == 1 { "has" } else { "have" };
    format!("{} {verb}", tasks.join(", "))
}

/// A hint for a name that is not known: the nearest one, or all when none is near.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    let scored = known.iter().map(|other| {
        (
            strsim::damerau_levenshtein(&name.to_lowercase(), other),
            other,
        )
    });
    match scored.min() {
        Some((distance, other)) if distance <= (name.len() / 2).max(2) => {
            format!("did you mean `{other}`?")
        }
        _ => format!("known: {}", known.join(", ")),
    }
}
