//! What the puzzles of the kind "find the rule, fill the gap" share: colours, shapes, sizes,
//! pages, the gap and the prompts.
//!
//! Scenes are whole steps throughout, so that they can be counted, and every missing element is
//! drawn by the same strokes as those that are not missing.

mod gap;
mod page;
mod palette;
mod shape;
mod size;
mod turn;
mod wording;

pub use gap::{
    Gap, color_rule, colors_rule, draw_dotted_question, draw_question, drawing_rule, find_gap,
    shared,
};
pub use page::{
    Page, PatternParams, PromptStyle, Steps, check_step, count_steps, draw_step, require,
};
pub use palette::{
    INK, PLACEHOLDER, check_palette, color, color_names, color_or_gray, draw_three,
    seen_and_one_more, threes,
};
pub use shape::{Figure, Mirror, Shape, centroid, draw_strokes, outline, round_outline, shrunk};
pub use size::{Size, Sizes, draw_order, size_options};
pub use turn::{Vec2, WHOLE_TURN, circle_points, direction, regular, rotate, turns};
pub use wording::Wording;
