//! The one error type of the crate.

/// What can go wrong between a task name and a finished record.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PuzzleError {
    /// No task of this name is registered.
    #[error("there is no task `{name}`; {hint}")]
    UnknownTask {
        /// The name asked for.
        name: String,
        /// The nearest name, or all of them.
        hint: String,
    },
    /// Two tasks of one name.
    #[error("there is a task `{0}` already; give yours another name")]
    NameTaken(String),
    /// A parameter the task does not have.
    #[error("task {task} has no parameter `{key}`; {hint}")]
    UnknownParam {
        /// The task.
        task: String,
        /// The key that is not known.
        key: String,
        /// The nearest key, or all of them.
        hint: String,
    },
    /// A parameter value that cannot be used.
    #[error("task {task}: {reason}")]
    BadParam {
        /// The task.
        task: String,
        /// Which parameter, what is wrong with it, what would do.
        reason: String,
    },
    /// No scene that meets all rules was found within the bound on tries.
    #[error("task {task}: no valid scene in {tries} tries with these parameters; {hint}")]
    NoScene {
        /// The task.
        task: String,
        /// How many scenes were drawn.
        tries: u32,
        /// Which parameters to relax.
        hint: String,
    },
    /// A scene whose geometry breaks the task's own rules.
    #[error("scene: {0}")]
    BadScene(String),
    /// A record that cannot be read or does not agree with its own geometry.
    #[error("record {id}: field `{field}`: {reason}")]
    BadRecord {
        /// Id of the record.
        id: String,
        /// The field at fault.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A maze graph whose parts do not fit together.
    #[error("maze graph: {0}")]
    Graph(String),
    /// A picture that cannot be made or written.
    #[error("picture: {0}")]
    Picture(String),
}

/// Result of this crate.
pub type Result<T, E = PuzzleError> = std::result::Result<T, E>;
