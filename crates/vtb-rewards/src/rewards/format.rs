//! Small reward for the asked form of an answer.

use serde::{Deserialize, Serialize};
use vtb_puzzle::answer::{
    AnswerPolicy, AnswerSpan, AnswerStatus, TagPolicy, extract_span, parse_path,
};

use super::check_order;
use super::choice::read_choice;
use super::places::places_status;
use crate::error::Result;
use crate::reference::Truth;
use crate::{Completion, Reference, Reward, Score};

/// Parameters of [`FormatReward`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FormatParams {
    /// Value where the form is right (0 where it is not).
    pub value: f64,
    /// Least number of visible characters before the tags, thinking marks aside; 0 asks for none.
    pub min_reasoning_chars: usize,
    /// Least number of characters of the whole completion.
    pub min_chars: usize,
    /// Largest number of characters of the whole completion.
    pub max_chars: Option<usize>,
    /// Text after the closing tag is a fault.
    pub forbid_trailing: bool,
}

impl Default for FormatParams {
    fn default() -> Self {
        Self {
            value: 0.1,
            min_reasoning_chars: 1,
            min_chars: 0,
            max_chars: None,
            forbid_trailing: true,
        }
    }
}

/// `value` if the completion has the asked form **and** holds an answer that can be read; else 0.
///
/// The form: exactly one tag pair, reasoning before it, nothing after it, a length within bounds.
/// Components, each 0 or 1: `one_pair`, `reasoning`, `no_trailing`, `length`, `parseable`.
pub struct FormatReward {
    params: FormatParams,
}

impl FormatReward {
    /// A reward with these parameters.
    ///
    /// # Errors
    /// [`crate::RewardError::Params`] if the value is negative or not finite, or the bounds cross.
    pub fn new(params: FormatParams) -> Result<Self> {
        check_order("format", &[("zero", 0.0), ("value", params.value)])?;
        let most = params.max_chars.unwrap_or(usize::MAX);
        let bounds = [
            ("min_chars", params.min_chars as f64),
            ("max_chars", most as f64),
        ];
        check_order("format", &bounds)?;
        Ok(Self { params })
    }

    fn long_enough(&self, text: &str) -> bool {
        let chars = text.chars().count();
        let most = self.params.max_chars.unwrap_or(usize::MAX);
        (self.params.min_chars..=most).contains(&chars)
    }
}

impl Reward for FormatReward {
    fn name(&self) -> &str {
        "format"
    }

    fn score(&self, completion: &Completion<'_>, reference: &Reference) -> Score {
        let parser = AnswerPolicy {
            tags: TagPolicy::Required,
            ..AnswerPolicy::default()
        };
        let text = completion.text();
        let span = extract_span(text, &parser);
        let status = answer_status(completion, reference, &span, &parser);
        let checks = [
            (
                "one_pair",
                span.status == AnswerStatus::Ok && span.pairs == 1,
            ),
            (
                "reasoning",
                reasoning_chars(span.before) >= self.params.min_reasoning_chars,
            ),
            (
                "no_trailing",
                !(span.trailing && self.params.forbid_trailing),
            ),
            ("length", self.long_enough(text)),
            ("parseable", status == AnswerStatus::Ok),
        ];
        let failed = checks.iter().find(|(_, holds)| !holds);
        let value = if failed.is_none() {
            self.params.value
        } else {
            0.0
        };
        let score = Score::with_status(value, status)
            .message(failed.map_or(String::new(), |(name, _)| format!("{name} does not hold")));
        checks.iter().fold(score, |score, &(name, holds)| {
            score.component(name, if holds { 1.0 } else { 0.0 })
        })
    }
}

fn answer_status(
    completion: &Completion<'_>,
    reference: &Reference,
    span: &AnswerSpan<'_>,
    parser: &AnswerPolicy,
) -> AnswerStatus {
    match &reference.truth {
        // Where the set of options is unknown, any text between the tags may be one of it.
        Truth::Choice(truth) if truth.closed => read_choice(completion, truth, parser).status,
        Truth::Path(truth) => {
            let max_len = truth.graph.cells().len().saturating_mul(4);
            parse_path(completion.text(), max_len, parser).status
        }
        truth @ (Truth::Sequence(_) | Truth::Grid(_)) => {
            places_status(completion.text(), truth, parser).unwrap_or(span.status)
        }
        _ if span.status == AnswerStatus::Ok && span.text.trim().is_empty() => AnswerStatus::Empty,
        _ => span.status,
    }
}

/// Visible characters of `before`, thinking marks aside.
fn reasoning_chars(before: &str) -> usize {
    let bare = before.replace("<think>", " ").replace("</think>", " ");
    bare.chars().filter(|c| !c.is_whitespace()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(params: FormatParams, text: &str) -> f64 {
        let reference = Reference::choice(&["A", "B"], "B").unwrap();
        let reward = FormatReward::new(params).unwrap();
        reward.score(&Completion::new(text), &reference).value
    }

    #[test]
    fn only_the_whole_form_with_a_readable_answer_is_rewarded() {
        let of = |text| value(FormatParams::default(), text);
        assert_eq!(of("It bends left.\n<answer>B</answer>\n"), 0.1);
        assert_eq!(of("<think>It bends left.</think><answer>A</answer>"), 0.1);
        for text in [
            "B",
            "any text at all",
            "<answer>B</answer>",
            "<think> </think><answer>B</answer>",
            "why <answer>Z</answer>",
            "why <answer></answer>",
            "why <answer>B</answer><answer>B</answer>",
            "why <answer>B</answer> more",
            "why <answer>B",
            "",
        ] {
            assert_eq!(of(text), 0.0, "{text}");
        }
    }

    #[test]
    fn bounds_and_reasoning_are_configurable() {
        let loose = FormatParams {
            value: 0.5,
            min_reasoning_chars: 0,
            max_chars: Some(18),
            ..FormatParams::default()
        };
        assert_eq!(value(loose.clone(), "<answer>B</answer>"), 0.5);
        assert_eq!(value(loose, "<answer>(B)</answer>"), 0.0);
        let crossed = FormatParams {
            min_chars: 5,
            max_chars: Some(4),
            ..FormatParams::default()
        };
        assert!(FormatReward::new(crossed).is_err());
    }

    #[test]
    fn paths_and_unknown_truths_have_a_form_too() {
        let reward = FormatReward::new(FormatParams::default()).unwrap();
        let row = serde_json::json!({"solution": [1, 2, 3]});
        let path = Reference::from_row(row.as_object().unwrap()).unwrap();
        let of = |text, reference| reward.score(&Completion::new(text), reference).value;
        assert_eq!(of("right, right <answer>[1,2]</answer>", &path), 0.1);
        assert_eq!(of("right, right <answer>[1,x]</answer>", &path), 0.0);
        let unknown = Reference::from_row(&serde_json::Map::new()).unwrap();
        assert_eq!(of("because <answer>42</answer>", &unknown), 0.1);
        assert_eq!(of("because <answer> </answer>", &unknown), 0.0);
    }
}
