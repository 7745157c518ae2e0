//! Reward for naming the right option.

use serde::{Deserialize, Serialize};
use vtb_puzzle::answer::{
    AnswerMethod, AnswerPolicy, AnswerStatus, ChoiceAnswer, TagPolicy, parse_choice,
};

use super::check_order;
use crate::error::{Result, RewardError};
use crate::reference::{ChoiceTruth, Truth};
use crate::{Completion, Reference, Reward, Score};

/// Parameters of [`ChoiceReward`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChoiceParams {
    /// Value of the right option.
    pub correct: f64,
    /// Value of another option of the set.
    pub wrong: f64,
    /// Value of an answer that is not among the options.
    pub out_of_set: f64,
    /// Value of an answer that names several options.
    pub ambiguous: f64,
    /// Value of a missing, empty or malformed answer and of several tag pairs that disagree.
    pub malformed: f64,
    /// Partial credit for near misses: with a number `t`, an option whose violation is `v` earns
    /// `wrong + (correct - wrong) * exp(-v / t)`, in the unit of the record's violations. Off by
    /// default and where the row has no violations.
    pub graded_tau: Option<f64>,
    /// Taken off when something follows the closing tag; never below the lowest value above.
    pub trailing_penalty: f64,
    /// How answers are read.
    pub parser: AnswerPolicy,
}

impl Default for ChoiceParams {
    fn default() -> Self {
        Self {
            correct: 1.0,
            wrong: 0.0,
            out_of_set: -1.0,
            ambiguous: -1.0,
            malformed: -1.0,
            graded_tau: None,
            trailing_penalty: 0.0,
            parser: AnswerPolicy::default(),
        }
    }
}

/// 1 for the right option, 0 for another one, -1 for anything else (all configurable).
///
/// Components: `correct` and `valid` (0 or 1: an option of the set was named), `graded` (the share
/// of partial credit, where it is on and the row has violations), `trailing` (0 or 1).
pub struct ChoiceReward {
    params: ChoiceParams,
}

impl ChoiceReward {
    /// A reward with these parameters.
    ///
    /// # Errors
    /// [`RewardError::Params`] if an unreadable answer would earn more than a wrong one or a wrong
    /// one more than the right one, or a number is out of range.
    pub fn new(params: ChoiceParams) -> Result<Self> {
        let unreadable = [
            ("out_of_set", params.out_of_set),
            ("ambiguous", params.ambiguous),
            ("malformed", params.malformed),
        ];
        for low in unreadable {
            check_order(
                "choice",
                &[low, ("wrong", params.wrong), ("correct", params.correct)],
            )?;
        }
        check_order(
            "choice",
            &[("zero", 0.0), ("trailing_penalty", params.trailing_penalty)],
        )?;
        if params
            .graded_tau
            .is_some_and(|tau| !(tau.is_finite() && tau > 0.0))
        {
            return Err(RewardError::Params {
                name: "choice".to_owned(),
                reason: "`graded_tau` must be a number above 0".to_owned(),
            });
        }
        Ok(Self { params })
    }

    fn credit(&self, truth: &ChoiceTruth, option: usize) -> f64 {
        let graded = self.params.graded_tau.zip(truth.violations.as_ref());
        match graded {
            _ if option == truth.correct => 1.0,
            Some((tau, violations)) => violations.get(option).map_or(0.0, |v| (-v / tau).exp()),
            None => 0.0,
        }
    }

    fn value(&self, truth: &ChoiceTruth, answer: &ChoiceAnswer) -> f64 {
        let params = &self.params;
        let value = match (answer.status, answer.option) {
            (AnswerStatus::Ok, Some(option)) => {
                params.wrong + (params.correct - params.wrong) * self.credit(truth, option)
            }
            (AnswerStatus::OutOfSet, _) if !truth.closed => params.wrong,
            (AnswerStatus::OutOfSet, _) => params.out_of_set,
            (AnswerStatus::Ambiguous, _) => params.ambiguous,
            _ => params.malformed,
        };
        if !answer.trailing {
            return value;
        }
        let floor = params
            .out_of_set
            .min(params.ambiguous)
            .min(params.malformed);
        (value - params.trailing_penalty).max(floor)
    }
}

impl Reward for ChoiceReward {
    fn name(&self) -> &str {
        "choice"
    }

    fn applies(&self, reference: &Reference) -> bool {
        matches!(reference.truth, Truth::Choice(_))
    }

    fn score(&self, completion: &Completion<'_>, reference: &Reference) -> Score {
        let Truth::Choice(truth) = &reference.truth else {
            return Score::not_applicable();
        };
        let answer = read_choice(completion, truth, &self.params.parser);
        let right = answer.option == Some(truth.correct);
        let flag = |on: bool| if on { 1.0 } else { 0.0 };
        let mut score = Score::with_status(self.value(truth, &answer), answer.status)
            .component("correct", flag(right))
            .component("valid", flag(answer.option.is_some()));
        if self.params.graded_tau.is_some() && truth.violations.is_some() {
            let credit = answer
                .option
                .map_or(0.0, |option| self.credit(truth, option));
            score = score.component("graded", credit);
        }
        let named = answer.option.and_then(|option| truth.options.get(option));
        score
            .component("trailing", flag(answer.trailing))
            .message(match named {
                Some(option) if right => format!("{option} is right"),
                Some(option) => format!("{option}, but {} is right", truth.options[truth.correct]),
                None => format!("no option: {}", answer.status.as_str()),
            })
    }
}

/// Reads an answer to `truth`.
///
/// Where the set of options is unknown only an answer that is the solution as a whole names it: a
/// sentence that holds the solution among other words could as well list every option there is.
pub(super) fn read_choice(
    completion: &Completion<'_>,
    truth: &ChoiceTruth,
    parser: &AnswerPolicy,
) -> ChoiceAnswer {
    let parser = AnswerPolicy {
        option_letters: parser.option_letters && truth.listed,
        ..parser.clone()
    };
    let mut answer = parse_choice(completion.text(), &truth.options, &parser);
    if truth.closed {
        return answer;
    }
    let whole = matches!(
        answer.method,
        Some(AnswerMethod::Direct | AnswerMethod::FinalLine)
    );
    // Without required tags, text that names no known option is still an answer of some kind.
    let other_text = answer.status == AnswerStatus::Missing && parser.tags != TagPolicy::Required;
    if (answer.option.is_some() && !whole) || other_text {
        answer.status = AnswerStatus::OutOfSet;
        (answer.option, answer.method) = (None, None);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn value(params: ChoiceParams, row: serde_json::Value, text: &str) -> f64 {
        let reference = Reference::from_row(row.as_object().unwrap()).unwrap();
        let reward = ChoiceReward::new(params).unwrap();
        reward.score(&Completion::new(text), &reference).value
    }

    #[test]
    fn graded_credit_follows_the_violation() {
        let params = ChoiceParams {
            graded_tau: Some(10.0),
            ..ChoiceParams::default()
        };
        let row = json!({"solution": "A", "options": ["A", "B", "C"], "violations": [0, 5, 1000]});
        let of = |text| value(params.clone(), row.clone(), text);
        assert_eq!(of("A"), 1.0);
        assert!((of("B") - (-0.5_f64).exp()).abs() < 1e-12);
        assert!(of("C") < 1e-40);
        assert_eq!(of("D"), -1.0);
    }

    #[test]
    fn an_unknown_set_of_options_makes_other_answers_wrong_not_invalid() {
        let of = |text| value(ChoiceParams::default(), json!({"solution": "blue"}), text);
        assert_eq!(of("The answer is blue."), 1.0);
        assert_eq!(of("so\n<answer>Blue</answer>"), 1.0);
        assert_eq!(of("red"), 0.0);
        assert_eq!(of("A"), 0.0);
        assert_eq!(of("it may be blue or red or green"), 0.0);
        assert_eq!(of("the answer is blue or red"), 0.0);
        assert_eq!(of("<answer></answer>"), -1.0);
    }

    #[test]
    fn trailing_text_can_cost_but_never_below_the_floor() {
        let params = ChoiceParams {
            trailing_penalty: 0.25,
            ..ChoiceParams::default()
        };
        let of = |text| value(params.clone(), json!({"solution": "B"}), text);
        assert_eq!(of("<answer>B</answer>\n"), 1.0);
        assert_eq!(of("<answer>B</answer> and more"), 0.75);
        assert_eq!(of("<answer>Z</answer> and more"), -1.0);
    }

    #[test]
    fn parameters_must_keep_their_order() {
        let bad = ChoiceParams {
            out_of_set: 0.5,
            ..ChoiceParams::default()
        };
        let fault = ChoiceReward::new(bad).err().unwrap().to_string();
        assert!(fault.contains("out_of_set"), "{fault}");
        let bad = ChoiceParams {
            graded_tau: Some(0.0),
            ..ChoiceParams::default()
        };
        assert!(ChoiceReward::new(bad).is_err());
    }
}
