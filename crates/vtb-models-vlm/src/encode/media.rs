//! What a conversation shows.

use std::sync::Arc;

use vtb_nn::lm::ImagePatches;

use crate::processor::VideoPatches;

/// The pictures and videos of a conversation, each in the order of their tags.
#[derive(Debug, Clone, Copy, Default)]
pub struct Media<'a> {
    /// Pictures.
    pub images: &'a [Arc<ImagePatches>],
    /// Videos.
    pub videos: &'a [VideoPatches],
}

impl<'a> From<&'a [Arc<ImagePatches>]> for Media<'a> {
    /// Pictures alone.
    fn from(images: &'a [Arc<ImagePatches>]) -> Self {
        Self {
            images,
            videos: &[],
        }
    }
}

impl<'a> From<&'a Vec<Arc<ImagePatches>>> for Media<'a> {
    /// Pictures alone.
    fn from(images: &'a Vec<Arc<ImagePatches>>) -> Self {
        images.as_slice().into()
    }
}

impl<'a, const N: usize> From<&'a [Arc<ImagePatches>; N]> for Media<'a> {
    /// Pictures alone.
    fn from(images: &'a [Arc<ImagePatches>; N]) -> Self {
        images.as_slice().into()
    }
}
