//! Pictures from files, within limits, and PNG files from pictures.
//!
//! The format is told from the bytes, never from the file's name. Pictures become 8-bit RGB;
//! transparency is dropped and shows the colour beneath, as `convert("RGB")` of Pillow does, which
//! the reference processors use. The EXIF orientation is ignored unless asked for, again as there:
//! coordinates in a record are those of the stored pixels.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Limits, RgbImage};

use crate::error::{DataError, ImageFault, Result};
use crate::image_ref::ImageRef;
use crate::row::TrainRow;

/// Bytes that colour profiles and other metadata may inflate to: the largest in use have a few MiB.
const MAX_METADATA: u64 = 16 << 20;

/// How pictures are read, and how large they may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageOptions {
    /// Largest width and height in pixels.
    pub max_side: u32,
    /// Largest `width * height`.
    pub max_pixels: u64,
    /// Bytes the decoder may allocate.
    pub max_alloc: u64,
    /// Largest file in bytes.
    pub max_file_bytes: u64,
    /// Whether the EXIF orientation turns the picture.
    pub apply_orientation: bool,
    /// Files must lie below this directory, symbolic links followed. `None`: anywhere.
    pub root: Option<PathBuf>,
}

impl Default for ImageOptions {
    /// 16384 pixels a side, 64 Mi pixels, 512 MiB to decode, 256 MiB a file, no root.
    fn default() -> Self {
        Self {
            max_side: 16_384,
            max_pixels: 64 << 20,
            max_alloc: 512 << 20,
            max_file_bytes: 256 << 20,
            apply_orientation: false,
            root: None,
        }
    }
}

/// How far the pictures of a row are looked into ahead of their use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ImageCheck {
    /// Not at all.
    None,
    /// Their files must exist: one look into the directory each.
    #[default]
    Exists,
    /// Their headers must be readable and within the limits: one read each.
    Header,
    /// They must decode. Takes as long as an epoch of loading.
    Decode,
}

impl TrainRow {
    /// Decodes the row's pictures in order.
    ///
    /// # Errors
    /// [`DataError::Image`], which names the row, the picture and what is wrong with it.
    pub fn load_images(&self, options: &ImageOptions) -> Result<Vec<Arc<RgbImage>>> {
        self.each_image(|image| load(image, options))
    }

    /// Looks at the row's pictures as far as `check` says.
    ///
    /// # Errors
    /// [`DataError::Image`], as [`TrainRow::load_images`].
    pub fn check_images(&self, check: ImageCheck, options: &ImageOptions) -> Result<()> {
        self.each_image(|image| match (check, image) {
            (ImageCheck::None, _) | (ImageCheck::Exists, ImageRef::Encoded(_)) => Ok(()),
            (ImageCheck::Exists, ImageRef::Path(path)) => open(path, options).map(drop),
            (ImageCheck::Header, _) => dimensions(image, options).map(drop),
            (ImageCheck::Decode, _) => load(image, options).map(drop),
            (_, ImageRef::Pixels(_)) => Ok(()),
        })?;
        Ok(())
    }

    fn each_image<T>(
        &self,
        mut visit: impl FnMut(&ImageRef) -> std::result::Result<T, ImageFault>,
    ) -> Result<Vec<T>> {
        let visit = |(i, image): (usize, &ImageRef)| {
            visit(image).map_err(|fault| self.image_error(i, fault))
        };
        self.images.iter().enumerate().map(visit).collect()
    }

    /// The error that names picture `index` of this row, counted from 0.
    pub fn image_error(&self, index: usize, fault: ImageFault) -> DataError {
        let image = self.images.get(index);
        DataError::Image {
            origin: self.origin.clone(),
            number: index + 1,
            image: image.map_or_else(|| "absent".to_owned(), ToString::to_string),
            fault,
        }
    }
}

/// Decodes one picture to 8-bit RGB.
///
/// # Errors
/// Whatever keeps it from being read, within the limits of `options`.
pub fn load(
    image: &ImageRef,
    options: &ImageOptions,
) -> std::result::Result<Arc<RgbImage>, ImageFault> {
    match image {
        ImageRef::Pixels(pixels) => Ok(Arc::clone(pixels)),
        ImageRef::Encoded(bytes) => decode(bytes, options).map(Arc::new),
        ImageRef::Path(path) => decode(&read(path, options)?, options).map(Arc::new),
    }
}

/// The bytes of a picture's file, or `None` for pixels.
///
/// # Errors
/// It cannot be read, is larger than the limit, or lies outside the root.
pub fn encoded<'a>(
    image: &'a ImageRef,
    options: &ImageOptions,
) -> std::result::Result<Option<Cow<'a, [u8]>>, ImageFault> {
    Ok(match image {
        ImageRef::Pixels(_) => None,
        ImageRef::Encoded(bytes) => Some(Cow::Borrowed(bytes)),
        ImageRef::Path(path) => Some(Cow::Owned(read(path, options)?)),
    })
}

/// Width and height of a picture as it would be decoded, from its header alone.
///
/// # Errors
/// The header cannot be read, or is beyond the limits.
pub fn dimensions(
    image: &ImageRef,
    options: &ImageOptions,
) -> std::result::Result<(u32, u32), ImageFault> {
    match image {
        ImageRef::Pixels(pixels) => Ok(pixels.dimensions()),
        ImageRef::Encoded(bytes) => header(Cursor::new(bytes), options),
        ImageRef::Path(path) => header(BufReader::new(open(path, options)?), options),
    }
}

fn header<R: BufRead + Seek>(
    reader: R,
    options: &ImageOptions,
) -> std::result::Result<(u32, u32), ImageFault> {
    let mut decoder = decoder(reader, options)?;
    let (width, height) = decoder.dimensions();
    let turned = options.apply_orientation
        && matches!(
            decoder.orientation().map_err(fault)?,
            Orientation::Rotate90
                | Orientation::Rotate270
                | Orientation::Rotate90FlipH
                | Orientation::Rotate270FlipH
        );
    Ok(if turned {
        (height, width)
    } else {
        (width, height)
    })
}

/// A whole file: decoders that read from memory are faster than those that ask for a few bytes at a time.
fn read(path: &Path, options: &ImageOptions) -> std::result::Result<Vec<u8>, ImageFault> {
    let file = open(path, options)?;
    let limit = options.max_file_bytes;
    let size = file.metadata().map_or(0, |m| m.len()).min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    // It may have grown since it was looked at.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        let bytes = bytes.len() as u64;
        return Err(ImageFault::FileTooLarge { bytes, limit });
    }
    Ok(bytes)
}

/// Whether a path lies below the root, if there is one.
pub(crate) fn confined(path: &Path, options: &ImageOptions) -> std::result::Result<(), ImageFault> {
    match &options.root {
        Some(root) if !path.canonicalize()?.starts_with(root.canonicalize()?) => {
            Err(ImageFault::Outside { root: root.clone() })
        }
        _ => Ok(()),
    }
}

fn open(path: &Path, options: &ImageOptions) -> std::result::Result<File, ImageFault> {
    confined(path, options)?;
    // Looked at before it is opened: opening a pipe would wait for ever.
    let meta = path.metadata()?;
    if !meta.is_file() {
        let what = std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a file");
        return Err(ImageFault::Unreadable(what));
    }
    if meta.len() > options.max_file_bytes {
        let (bytes, limit) = (meta.len(), options.max_file_bytes);
        return Err(ImageFault::FileTooLarge { bytes, limit });
    }
    Ok(File::open(path)?)
}

/// Reads the header and checks it against the limits.
fn decoder<'a, R: BufRead + Seek + 'a>(
    reader: R,
    options: &ImageOptions,
) -> std::result::Result<impl ImageDecoder + 'a, ImageFault> {
    let mut reader = ImageReader::new(reader).with_guessed_format()?;
    let mut limits = Limits::default();
    limits.max_image_width = Some(options.max_side);
    limits.max_image_height = Some(options.max_side);
    // What stands before the pixels is inflated with the header.
    limits.max_alloc = Some(options.max_alloc.min(MAX_METADATA));
    reader.limits(limits.clone());
    limits.max_alloc = Some(options.max_alloc);
    let mut decoder = reader.into_decoder().map_err(fault)?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > options.max_pixels {
        let limit = options.max_pixels;
        let text = format!("{width}x{height} is more than {limit} pixels");
        return Err(ImageFault::TooLarge(text));
    }
    // What the decoder may use beside the picture itself.
    limits.reserve(decoder.total_bytes()).map_err(fault)?;
    decoder.set_limits(limits).map_err(fault)?;
    Ok(decoder)
}

/// Decodes the bytes of a picture file to 8-bit RGB.
///
/// # Errors
/// As [`load`].
pub fn decode(bytes: &[u8], options: &ImageOptions) -> std::result::Result<RgbImage, ImageFault> {
    let mut decoder = decoder(Cursor::new(bytes), options)?;
    let orientation = options
        .apply_orientation
        .then(|| decoder.orientation())
        .transpose();
    let orientation = orientation.map_err(fault)?;
    let mut image = DynamicImage::from_decoder(decoder).map_err(fault)?;
    if let Some(orientation) = orientation {
        image.apply_orientation(orientation);
    }
    Ok(image.into_rgb8())
}

fn fault(error: ImageError) -> ImageFault {
    match error {
        ImageError::Limits(limit) => ImageFault::TooLarge(limit.to_string()),
        ImageError::IoError(io) if io.kind() != std::io::ErrorKind::UnexpectedEof => {
            ImageFault::Unreadable(io)
        }
        other => ImageFault::Decode(other.to_string()),
    }
}

/// The bytes of a PNG file: 8-bit RGB, no metadata, the same on every machine.
///
/// # Errors
/// [`ImageFault::Decode`] if the picture has no pixels.
pub fn encode_png(image: &RgbImage) -> std::result::Result<Vec<u8>, ImageFault> {
    let mut bytes = Vec::new();
    let format = image::ImageFormat::Png;
    image
        .write_to(&mut Cursor::new(&mut bytes), format)
        .map_err(fault)?;
    Ok(bytes)
}

/// Writes a PNG file. The file is complete or absent: it is written beside and renamed.
///
/// # Errors
/// [`DataError::Io`] with the path.
pub fn write_png(path: &Path, image: &RgbImage) -> Result<()> {
    let bytes = encode_png(image).map_err(|e| {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, e.to_string());
        DataError::io(path, "encode", source)
    })?;
    write_whole(path, false, |file| file.write_all(&bytes))
}

/// Writes a file beside its place and moves it there when it is complete.
///
/// `sync` waits for the disk: for the one file that says that the others are there.
pub(crate) fn write_whole(
    path: &Path,
    sync: bool,
    write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let attempt = || {
        let mut file = std::io::BufWriter::new(File::create(&beside)?);
        write(&mut file)?;
        let file = file
            .into_inner()
            .map_err(std::io::IntoInnerError::into_error)?;
        if sync {
            file.sync_all()?;
        }
        std::fs::rename(&beside, path)
    };
    attempt().map_err(|source| {
        // What is left is of no use; the first error is the one to tell.
        let _ = std::fs::remove_file(&beside);
        DataError::io(path, "write", source)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn png(image: &RgbImage) -> ImageRef {
        ImageRef::Encoded(encode_png(image).unwrap().into())
    }

    fn sample() -> RgbImage {
        RgbImage::from_fn(5, 3, |x, y| Rgb([x as u8 * 40, y as u8 * 80, 7]))
    }

    #[test]
    fn png_gives_the_same_pixels_back() {
        let back = load(&png(&sample()), &ImageOptions::default()).unwrap();
        assert_eq!(*back, sample());
        assert_eq!(
            encode_png(&sample()).unwrap(),
            encode_png(&sample()).unwrap()
        );
    }

    #[test]
    fn transparency_is_dropped_as_the_reference_does() {
        let rgba = image::RgbaImage::from_pixel(2, 2, image::Rgba([9, 8, 7, 0]));
        let mut bytes = Vec::new();
        rgba.write_to(&mut Cursor::new(&mut bytes), image::ImageFormat::Png)
            .unwrap();
        let image = load(&ImageRef::Encoded(bytes.into()), &ImageOptions::default()).unwrap();
        assert_eq!(image.get_pixel(1, 1), &Rgb([9, 8, 7]));
    }

    #[test]
    fn each_limit_refuses_before_pixels_are_decoded() {
        let wide = png(&RgbImage::new(300, 20));
        let refused = |options: ImageOptions| load(&wide, &options).unwrap_err();
        let side = ImageOptions {
            max_side: 200,
            ..Default::default()
        };
        assert!(matches!(refused(side), ImageFault::TooLarge(_)));
        let pixels = ImageOptions {
            max_pixels: 5_999,
            ..Default::default()
        };
        assert!(
            refused(pixels)
                .to_string()
                .contains("300x20 is more than 5999 pixels")
        );
        let memory = ImageOptions {
            max_alloc: 10_000,
            ..Default::default()
        };
        assert!(matches!(refused(memory), ImageFault::TooLarge(_)));
        assert!(
            load(
                &wide,
                &ImageOptions {
                    max_pixels: 6_000,
                    ..Default::default()
                }
            )
            .is_ok()
        );
    }

    #[test]
    fn a_header_that_claims_a_huge_picture_is_refused() {
        let mut bytes = encode_png(&sample()).unwrap();
        // IHDR: width at 16, height at 20; the checksum of the chunk no longer holds either.
        bytes[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60]);
        let error = load(&ImageRef::Encoded(bytes.into()), &ImageOptions::default());
        assert!(error.is_err());
    }

    #[test]
    fn every_cut_of_a_file_is_an_error_not_a_panic() {
        let bytes = encode_png(&sample()).unwrap();
        // The last 12 bytes are the end mark, which readers may do without.
        for cut in 0..bytes.len() - 12 {
            let image = ImageRef::Encoded(bytes[..cut].into());
            assert!(
                load(&image, &ImageOptions::default()).is_err(),
                "cut at {cut}"
            );
        }
    }
}
