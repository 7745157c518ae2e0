//! A prompt before it becomes tokens, for servers that make tokens of their own.

use std::sync::Arc;

/// A conversation up to where the completion begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chat {
    /// Turns in order.
    pub turns: Vec<ChatTurn>,
}

/// One turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatTurn {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// Pieces in order, without separators between them.
    pub parts: Vec<ChatPart>,
}

/// A piece of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChatPart {
    /// Text.
    Text(String),
    /// A picture as the bytes of a PNG file, at the size at which the model looks at it: a second resize then changes
    /// nothing, and a server sees the very pixels that are trained on.
    Picture(Arc<[u8]>),
}
