//! Between the types and errors of the models ([`vtb_nn::lm`]) and the objectives' slices.

use vtb_nn::NnError;
use vtb_nn::lm::TokenScores;

use super::grpo::LossRow;
use super::sft::SftRow;
use super::{ConfigFault, ObjectiveError};
use crate::TrainError;

impl From<ObjectiveError> for NnError {
    /// Lets an objective fail inside [`vtb_nn::lm::CausalLm::backward`] with `?`.
    fn from(error: ObjectiveError) -> Self {
        Self::Other(Box::new(error))
    }
}

impl From<ObjectiveError> for TrainError {
    fn from(error: ObjectiveError) -> Self {
        Self::Input(error.to_string())
    }
}

impl ConfigFault {
    /// Fails with all faults in one error, if there are any.
    pub(crate) fn refuse(faults: &[Self]) -> Result<(), TrainError> {
        if faults.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
        Err(TrainError::Config(lines.join("; ")))
    }
}

impl From<ConfigFault> for TrainError {
    fn from(fault: ConfigFault) -> Self {
        Self::Config(fault.to_string())
    }
}

/// What a completion brings to the GRPO loss besides its current log-probabilities.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct GrpoRow {
    /// Advantage of the completion, shared by its tokens.
    pub advantage: f64,
    /// Per completion token: whether it takes part.
    pub mask: Vec<bool>,
    /// Log-probabilities when the completion was sampled; `None` while the policy has not moved since.
    pub old_logp: Option<Vec<f32>>,
    /// Log-probabilities of the reference policy, needed when `beta > 0`.
    pub ref_logp: Option<Vec<f32>>,
}

impl GrpoRow {
    /// Joins it with the scores of the policy in training. All lists are as long as the completion.
    pub fn with<'a>(&'a self, scores: &'a TokenScores) -> LossRow<'a> {
        LossRow {
            logp: &scores.logp,
            entropy: &scores.entropy,
            old_logp: self.old_logp.as_deref(),
            ref_logp: self.ref_logp.as_deref(),
            mask: &self.mask,
            advantage: self.advantage,
        }
    }
}

/// Rows of supervised fine-tuning in which every scored token weighs the same.
pub fn sft_rows(scores: &[TokenScores]) -> Vec<SftRow<'_>> {
    scores
        .iter()
        .map(|row| SftRow {
            logp: &row.logp,
            entropy: &row.entropy,
            top: &row.top,
            weights: None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_joined_without_reordering() {
        let scores = TokenScores {
            logp: vec![-1.0, -2.0],
            entropy: vec![0.1, 0.2],
            top: vec![true, false],
        };
        let row = GrpoRow {
            advantage: 0.5,
            mask: vec![true, false],
            old_logp: Some(vec![-3.0, -4.0]),
            ref_logp: None,
        };
        let joined = row.with(&scores);
        assert_eq!(joined.logp, [-1.0, -2.0]);
        assert_eq!(joined.entropy, [0.1, 0.2]);
        assert_eq!(joined.old_logp, Some([-3.0, -4.0].as_slice()));
        assert_eq!(joined.ref_logp, None);
        assert_eq!(joined.mask, [true, false]);
        let rows = [scores];
        let row = &sft_rows(&rows)[0];
        assert_eq!(row.logp, [-1.0, -2.0]);
        assert_eq!(row.top, [true, false]);
    }

    #[test]
    fn an_objective_error_keeps_its_sentence() {
        let sentence = ObjectiveError::GroupSize(1).to_string();
        assert_eq!(
            NnError::from(ObjectiveError::GroupSize(1)).to_string(),
            sentence
        );
        assert_eq!(
            TrainError::from(ObjectiveError::GroupSize(1)).to_string(),
            sentence
        );
    }
}
