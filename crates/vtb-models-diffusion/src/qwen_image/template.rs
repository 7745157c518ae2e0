//! How prompts of Qwen-Image-Edit are framed. These strings are part of the published model: the text encoder's states
//! were seen in training behind exactly them. Source: `prompt_template_encode` of diffusers'
//! `pipeline_qwenimage_edit_plus.py` (list of pictures) and `pipeline_qwenimage_edit.py` (single picture), 0.42.1.

use serde::{Deserialize, Serialize};

use super::sizes::REFERENCE_AREA;

/// Everything up to the user's turn.
const SYSTEM: &str = "<|im_start|>system\nDescribe the key features of the input image (color, shape, size, texture, objects, background), then explain how the user's text instruction should alter or modify the image. Generate a new image that meets the user's requirements while maintaining consistency with the original input where appropriate.<|im_end|>\n<|im_start|>user\n";
/// From the end of the user's turn on.
const END: &str = "<|im_end|>\n<|im_start|>assistant\n";
/// Stands for a picture.
const PICTURE: &str = "<|vision_start|><|image_pad|><|vision_end|>";

/// Tokens of the frame whose states are dropped: everything up to the user's turn, with the published tokenizer.
pub const DROPPED_TOKENS: usize = 64;

/// How pictures stand before the instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EditTemplate {
    /// Numbered, `Picture 1:`, any number of them, seen small: 2509 and 2511.
    #[default]
    List,
    /// One picture without a number, seen at full size: the first Qwen-Image-Edit.
    Single,
}

impl EditTemplate {
    /// The framed prompt, one placeholder per picture.
    pub fn render(self, instruction: &str, pictures: usize) -> String {
        let pictures: String = match self {
            Self::List => (1..=pictures)
                .map(|n| format!("Picture {n}: {PICTURE}"))
                .collect(),
            Self::Single => PICTURE.to_owned(),
        };
        format!("{SYSTEM}{pictures}{instruction}{END}")
    }

    /// Pixels of a picture as the text encoder sees it, where `condition_area` is asked for: that is for lists.
    pub fn seen_area(self, condition_area: usize) -> usize {
        match self {
            Self::List => condition_area,
            Self::Single => REFERENCE_AREA,
        }
    }

    /// Name in files and settings.
    pub fn name(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Single => "single",
        }
    }
}
