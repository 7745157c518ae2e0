//! The four prompts of a pattern puzzle, put together from its own sentences.

use super::page::{PatternParams, PromptStyle};
use crate::record::Prompts;

/// What is particular to a task.
#[derive(Debug, Clone, Copy)]
pub struct Wording<'a> {
    /// What the picture shows and by which rule.
    pub figure: &'a str,
    /// The question, for a text answer.
    pub ask: &'a str,
    /// The question in a few words, without the figure.
    pub short: &'a str,
    /// What is asked for, e.g. `color`.
    pub noun: &'a str,
    /// What to do to the picture.
    pub edit: &'a str,
    /// What happens in the video.
    pub motion: &'a str,
}

impl Wording<'_> {
    /// The prompts.
    #[must_use]
    pub fn prompts(self, params: &PatternParams, options: &[String]) -> Prompts {
        let Self {
            figure,
            ask,
            short,
            noun,
            edit,
            motion,
        } = self;
        let choices = match params.list_options {
            true => format!(" Choose from: {}.", options.join(", ")),
            false => String::new(),
        };
        let text = match params.prompt_style {
            PromptStyle::Short => format!("{short}{choices} Reply <answer>{noun}</answer>."),
            PromptStyle::Full => format!(
                "{figure} {ask}{choices} Put only the {noun} inside <answer> and </answer> at \
                 the end of your reply."
            ),
        };
        Prompts {
            text,
            image: format!("{figure} {edit} Leave everything else as it is."),
            text_image: format!(
                "{figure} {edit} Leave everything else as it is. Name the {noun} inside <answer> \
                 and </answer> as well."
            ),
            video: format!(
                "{figure} The camera does not move. The question mark goes away. {motion} Nothing \
                 else changes."
            ),
        }
    }
}
