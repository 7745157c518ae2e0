//! Reward for a sequence of names or a grid of numbers.

use serde::{Deserialize, Serialize};
use vtb_puzzle::answer::{AnswerPolicy, AnswerStatus, parse_grid, parse_sequence};
use vtb_puzzle::{MAX_GRID_SIDE, PlaceCheck, check_grid, check_sequence};

use super::check_order;
use crate::error::Result;
use crate::reference::Truth;
use crate::{Completion, Reference, Reward, Score};

/// Longest sequence read, in multiples of the right one.
const MAX_LEN_FACTOR: usize = 4;

/// Parameters of [`PlacesReward`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PlacesParams {
    /// Value where every place is right.
    pub correct: f64,
    /// Value of an answer with a wrong place.
    pub wrong: f64,
    /// Value of an answer that cannot be read.
    pub malformed: f64,
    /// Taken off when something follows the closing tag; never below `malformed`.
    pub trailing_penalty: f64,
    /// How answers are read.
    pub parser: AnswerPolicy,
}

impl Default for PlacesParams {
    fn default() -> Self {
        Self {
            correct: 1.0,
            wrong: 0.0,
            malformed: -1.0,
            trailing_penalty: 0.0,
            parser: AnswerPolicy::default(),
        }
    }
}

/// 1 for a sequence or grid that is right in every place, 0 for any other, -1 for none.
///
/// Components: `exact` and `valid` (0 or 1), `right_places` (the share of them; it earns nothing by
/// itself, for what a puzzle shows already is easily copied) and `trailing` (0 or 1).
pub struct PlacesReward {
    params: PlacesParams,
}

impl PlacesReward {
    /// A reward with these parameters.
    ///
    /// # Errors
    /// [`crate::RewardError::Params`] if an unreadable answer would earn more than a wrong one or a
    /// wrong one more than the right one, or a number is out of range.
    pub fn new(params: PlacesParams) -> Result<Self> {
        let order = [
            ("malformed", params.malformed),
            ("wrong", params.wrong),
            ("correct", params.correct),
        ];
        check_order("places", &order)?;
        let penalty = [("zero", 0.0), ("trailing_penalty", params.trailing_penalty)];
        check_order("places", &penalty)?;
        Ok(Self { params })
    }
}

impl Reward for PlacesReward {
    fn name(&self) -> &str {
        "places"
    }

    fn applies(&self, reference: &Reference) -> bool {
        matches!(reference.truth, Truth::Sequence(_) | Truth::Grid(_))
    }

    fn score(&self, completion: &Completion<'_>, reference: &Reference) -> Score {
        let params = &self.params;
        let Some(read) = read_places(completion.text(), &reference.truth, &params.parser) else {
            return Score::not_applicable();
        };
        let flag = |on: bool| if on { 1.0 } else { 0.0 };
        let valid = read.status == AnswerStatus::Ok;
        let exact = valid && read.check.fault.is_none();
        let mut value = match (valid, exact) {
            (false, _) => params.malformed,
            (true, false) => params.wrong,
            (true, true) => params.correct,
        };
        if read.trailing {
            value = (value - params.trailing_penalty).max(params.malformed);
        }
        let share = if valid { read.check.share() } else { 0.0 };
        Score::with_status(value, read.status)
            .component("exact", flag(exact))
            .component("valid", flag(valid))
            .component("right_places", share)
            .component("trailing", flag(read.trailing))
            .message(match read.check.fault {
                _ if !valid => format!("no list or grid: {}", read.status.as_str()),
                Some(fault) => fault,
                None => "every place is right".to_owned(),
            })
    }
}

/// What a completion says about places.
struct Places {
    status: AnswerStatus,
    trailing: bool,
    check: PlaceCheck,
}

fn read_places(text: &str, truth: &Truth, parser: &AnswerPolicy) -> Option<Places> {
    match truth {
        Truth::Sequence(truth) => {
            let max_len = truth.names.len().saturating_mul(MAX_LEN_FACTOR);
            let answer = parse_sequence(text, &truth.options, max_len, parser);
            Some(Places {
                status: answer.status,
                trailing: answer.trailing,
                check: check_sequence(&truth.names, &answer.names),
            })
        }
        Truth::Grid(rows) => {
            let answer = parse_grid(text, MAX_GRID_SIDE, parser);
            Some(Places {
                status: answer.status,
                trailing: answer.trailing,
                check: check_grid(rows, &answer.rows),
            })
        }
        Truth::Choice(_) | Truth::Path(_) | Truth::Unknown => None,
    }
}

/// How an answer to a sequence or grid reads; `None` for other truths.
pub(super) fn places_status(
    text: &str,
    truth: &Truth,
    parser: &AnswerPolicy,
) -> Option<AnswerStatus> {
    read_places(text, truth, parser).map(|read| read.status)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn score(row: Value, text: &str) -> Score {
        let reference = Reference::from_row(row.as_object().unwrap()).unwrap();
        let reward = PlacesReward::new(PlacesParams::default()).unwrap();
        reward.score(&Completion::new(text), &reference)
    }

    #[test]
    fn only_the_whole_sequence_earns() {
        let of = |text| score(json!({"solution": ["red", "blue", "green"]}), text);
        assert_eq!(of("<answer>red, blue, green</answer>").value, 1.0);
        let swapped = of("<answer>red, green, blue</answer>");
        assert_eq!(swapped.value, 0.0);
        assert!((swapped.get("right_places").unwrap() - 1.0 / 3.0).abs() < 1e-12);
        assert!(swapped.message.contains("place 2"), "{}", swapped.message);
        let longer = of("<answer>red, blue, green, green</answer>");
        assert_eq!(
            (longer.value, longer.get("right_places")),
            (0.0, Some(0.75))
        );
        assert_eq!(of("<answer>red, pink, green</answer>").value, -1.0);
        assert_eq!(of("").value, -1.0);
    }

    #[test]
    fn only_the_whole_grid_earns() {
        for solution in [json!([[1, 2], [2, 1]]), json!("[[1, 2], [2, 1]]")] {
            let of = |text| score(json!({"solution": solution}), text);
            assert_eq!(of("<answer>[[1,2],[2,1]]</answer>").value, 1.0);
            assert_eq!(of("<answer>1 2\n2 1</answer>").value, 1.0);
            let wrong = of("<answer>[[1,2],[2,2]]</answer>");
            assert_eq!((wrong.value, wrong.get("right_places")), (0.0, Some(0.75)));
            assert!(wrong.message.contains("row 2, column 2"));
            assert_eq!(of("<answer>[[1,2],[2,x]]</answer>").value, -1.0);
        }
    }

    #[test]
    fn parameters_must_keep_their_order() {
        let bad = PlacesParams {
            malformed: 0.5,
            ..PlacesParams::default()
        };
        assert!(PlacesReward::new(bad).is_err());
    }
}
