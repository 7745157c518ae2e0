//! From a picture file to the patch rows a vision tower reads.

mod decode;
mod expand;
mod image;
mod patches;
mod resample;
mod settings;
mod size;

pub use decode::{AlphaPolicy, DecodeOptions, Rgb, decode, read_rgb};
pub use expand::expand_images;
pub(crate) use expand::image_copies;
pub use image::ImageProcessor;
pub use resample::bicubic;
pub use settings::{ImageSettings, ResizePolicy};
pub use size::smart_resize;
