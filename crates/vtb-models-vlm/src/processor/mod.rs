//! From a picture file or the frames of a video to the patch rows a vision tower reads.

mod decode;
mod expand;
mod image;
mod patches;
mod resample;
mod settings;
mod size;
mod video;

pub use decode::{AlphaPolicy, DecodeOptions, Rgb, decode, read_rgb};
pub use expand::VideoForm;
pub(crate) use expand::{Visuals, expand_videos};
pub use image::ImageProcessor;
pub use resample::{Filter, bicubic, resample};
pub use settings::{ImageSettings, ResizePolicy};
pub use size::{smart_resize, smart_resize_video};
pub use video::{VideoBuilder, VideoPatches, VideoSettings};
