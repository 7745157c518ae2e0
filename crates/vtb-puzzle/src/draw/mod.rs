//! Drawing: a canvas, strokes that can grow, letters, PNG bytes.

mod canvas;
mod cover;
pub(crate) mod deflate;
mod pen;
mod png;
mod round;
mod shapes;
mod stamp;
mod stroke;
mod surface;
mod text;

pub use canvas::{Canvas, MAX_SIDE, Rgb};
pub use png::{PngSeries, encode_png};
pub use stroke::{Stroke, draw_growing};
pub use text::text_width;

/// Which picture of a puzzle to draw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Layer {
    /// The question.
    Puzzle,
    /// The question with this share (0 to 1) of the construction drawn.
    Growing(f64),
    /// The finished construction with the answer marked.
    Solution,
}

impl Layer {
    /// Share of the construction to draw, 0 to 1.
    #[must_use]
    pub fn progress(self) -> f64 {
        match self {
            Self::Puzzle => 0.0,
            Self::Growing(share) => share.clamp(0.0, 1.0),
            Self::Solution => 1.0,
        }
    }

    /// Layer of frame `at` of `count`: the first is the puzzle, the last the solution.
    #[must_use]
    pub fn of_frame(at: usize, count: usize) -> Self {
        if at + 1 >= count {
            return Self::Solution;
        }
        match at {
            0 => Self::Puzzle,
            _ => Self::Growing(at as f64 / (count - 1) as f64),
        }
    }
}
