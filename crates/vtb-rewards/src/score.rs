//! What a reward gives back.

use std::borrow::Cow;

use vtb_puzzle::answer::AnswerStatus;

/// How a score came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScoreStatus {
    /// The answer was read with this result; only [`AnswerStatus::Ok`] was judged.
    Answer(AnswerStatus),
    /// The reward does not apply to the row.
    NotApplicable,
    /// The reward failed (it panicked, or its value is not a number); the value is 0.
    Error,
}

impl ScoreStatus {
    /// Name in logs, e.g. `ok`, `out_of_set`, `error`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answer(status) => status.as_str(),
            Self::NotApplicable => "not_applicable",
            Self::Error => "error",
        }
    }
}

/// The score of one completion.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// The reward itself.
    pub value: f64,
    /// What it is made of, in a fixed order for each reward.
    pub components: Vec<(Cow<'static, str>, f64)>,
    /// How it came about.
    pub status: ScoreStatus,
    /// One sentence for people who read completions; may be empty.
    pub message: String,
}

impl Score {
    /// The score of an answer that was read and judged.
    #[must_use]
    pub fn ok(value: f64) -> Self {
        Self::with_status(value, AnswerStatus::Ok)
    }

    /// A score for an answer read with `status`.
    #[must_use]
    pub fn with_status(value: f64, status: AnswerStatus) -> Self {
        Self {
            value,
            components: Vec::new(),
            status: ScoreStatus::Answer(status),
            message: String::new(),
        }
    }

    /// What a reward says of a row that it does not apply to.
    #[must_use]
    pub fn not_applicable() -> Self {
        Self {
            status: ScoreStatus::NotApplicable,
            ..Self::ok(0.0)
        }
    }

    /// A failed reward.
    #[must_use]
    pub fn error(message: impl Into<String>) -> Self {
        Self {
            status: ScoreStatus::Error,
            message: message.into(),
            ..Self::ok(0.0)
        }
    }

    /// Adds a named component.
    #[must_use]
    pub fn component(mut self, name: impl Into<Cow<'static, str>>, value: f64) -> Self {
        self.components.push((name.into(), value));
        self
    }

    /// Sets the message.
    #[must_use]
    pub fn message(mut self, message: impl Into<String>) -> Self {
        self.message = message.into();
        self
    }

    /// Value of a component, by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<f64> {
        let mut named = self.components.iter();
        named
            .find(|(known, _)| known == name)
            .map(|&(_, value)| value)
    }
}
