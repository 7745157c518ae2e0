//! The reward that fits the row.

use serde::{Deserialize, Serialize};

use super::choice::{ChoiceParams, ChoiceReward};
use super::path::{PathParams, PathReward};
use super::places::{PlacesParams, PlacesReward};
use crate::error::Result;
use crate::reference::Truth;
use crate::{Completion, Reference, Reward, Score};

/// Parameters of [`AutoReward`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AutoParams {
    /// For rows with options.
    pub choice: ChoiceParams,
    /// For rows with a path.
    pub path: PathParams,
    /// For rows with a sequence or a grid.
    pub places: PlacesParams,
}

/// [`ChoiceReward`] for rows with options, [`PathReward`] for rows with a path, [`PlacesReward`] for
/// rows with a sequence or a grid.
pub struct AutoReward {
    choice: ChoiceReward,
    path: PathReward,
    places: PlacesReward,
}

impl AutoReward {
    /// A reward with these parameters.
    ///
    /// # Errors
    /// As [`ChoiceReward::new`], [`PathReward::new`] and [`PlacesReward::new`].
    pub fn new(params: AutoParams) -> Result<Self> {
        Ok(Self {
            choice: ChoiceReward::new(params.choice)?,
            path: PathReward::new(params.path)?,
            places: PlacesReward::new(params.places)?,
        })
    }
}

impl Reward for AutoReward {
    fn name(&self) -> &str {
        "auto"
    }

    fn applies(&self, reference: &Reference) -> bool {
        reference.truth != Truth::Unknown
    }

    fn score(&self, completion: &Completion<'_>, reference: &Reference) -> Score {
        match reference.truth {
            Truth::Choice(_) => self.choice.score(completion, reference),
            Truth::Path(_) => self.path.score(completion, reference),
            Truth::Sequence(_) | Truth::Grid(_) => self.places.score(completion, reference),
            Truth::Unknown => Score::not_applicable(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ScoreStatus;

    #[test]
    fn each_kind_of_row_gets_its_reward() {
        let auto = AutoReward::new(AutoParams::default()).unwrap();
        let choice = Reference::choice(&["A", "B"], "B").unwrap();
        assert!(
            auto.score(&Completion::new("B"), &choice)
                .get("correct")
                .is_some()
        );
        let row = serde_json::json!({"solution": [1, 2, 3]});
        let path = Reference::from_row(row.as_object().unwrap()).unwrap();
        assert!(
            auto.score(&Completion::new("[1]"), &path)
                .get("legal_prefix")
                .is_some()
        );
        let unknown = Reference::from_row(&serde_json::Map::new()).unwrap();
        assert!(!auto.applies(&unknown));
        let status = auto.score(&Completion::new("B"), &unknown).status;
        assert_eq!(status, ScoreStatus::NotApplicable);
    }
}
