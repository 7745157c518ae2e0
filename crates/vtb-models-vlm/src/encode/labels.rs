//! Which parts of a conversation are learned.

use super::RowEncoder;
use crate::VlmError;
use crate::chat::Message;

/// What supervised fine-tuning learns from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LabelPolicy {
    /// Every assistant turn.
    #[default]
    Default,
    /// The last assistant turn.
    LastRound,
    /// Everything but pictures.
    All,
}

/// A stretch of the rendered conversation that is tokenised by itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) scored: bool,
}

impl RowEncoder {
    /// Cuts the rendered conversation at the borders of its answers.
    ///
    /// The template says where those are: an answer is what a turn adds to the prompt before it. A template
    /// that rewrites earlier turns (thinking models drop their old thoughts) has no such borders, which is an
    /// error rather than a guess.
    pub(super) fn pieces(
        &self,
        messages: &[Message],
        policy: LabelPolicy,
    ) -> Result<Vec<Piece>, VlmError> {
        let full = self.render(messages, false)?;
        let turns = messages
            .iter()
            .enumerate()
            .filter(|(_, m)| m.role == "assistant");
        let last = turns.clone().next_back().map(|(i, _)| i);
        let everything = policy == LabelPolicy::All;
        let mut pieces = Vec::new();
        let mut done = 0;
        for (i, message) in turns {
            let by_policy = policy != LabelPolicy::LastRound || Some(i) == last;
            let learn = message.loss.unwrap_or(by_policy);
            if !learn && !everything {
                continue;
            }
            let (start, end) = self.answer(messages, i, &full)?;
            pieces.push(Piece {
                text: full[done..start].to_owned(),
                scored: everything,
            });
            pieces.push(Piece {
                text: full[start..end].to_owned(),
                scored: learn,
            });
            done = end;
        }
        pieces.push(Piece {
            text: full[done..].to_owned(),
            scored: everything,
        });
        Ok(pieces)
    }

    fn render(&self, messages: &[Message], open: bool) -> Result<String, VlmError> {
        self.template.render(messages, self.render_options(open))
    }

    /// Byte range of the answer of turn `i` within `full`.
    fn answer(
        &self,
        messages: &[Message],
        i: usize,
        full: &str,
    ) -> Result<(usize, usize), VlmError> {
        if i == 0 {
            let message = "the first message is the assistant's; a user turn must come before it";
            return Err(VlmError::Messages(message.to_owned()));
        }
        let before = self.render(&messages[..i], true)?;
        let after = self.render(&messages[..=i], false)?;
        if full.starts_with(&before) && full.starts_with(&after) && after.len() > before.len() {
            return Ok((before.len(), after.len()));
        }
        Err(VlmError::Template {
            origin: self.template.origin().to_owned(),
            message: format!(
                "it rewrites earlier turns, so the answer of message {} cannot be found; learn from the last turn \
                 only (last_round)",
                i + 1
            ),
        })
    }
}
