//! Files that go into an edit and come out of it.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use burn::tensor::{DType, TensorData};
use image::codecs::jpeg::JpegEncoder;
use vtb_data::image_io;
use vtb_models_diffusion::qwen_image::VAE_SCALE;
use vtb_models_vlm::processor::Rgb;
use vtb_nn::checkpoint::{Checkpoint, MemorySource, TensorSource, save_safetensors, write_atomic};
use vtb_nn::velocity::Latent;

use super::pictures::image_of;
use crate::ending::Usage;

/// Name of the tensor in a file of latents.
const LATENTS: &str = "latents";
/// Names that an error lists at most.
const MOST_NAMES: usize = 5;
/// Quality of JPEG files, of 100.
const JPEG_QUALITY: u8 = 95;

/// The form of a picture file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureForm {
    /// Exact.
    Png,
    /// Lossy.
    Jpeg,
}

impl PictureForm {
    /// The form that a file name asks for.
    ///
    /// # Errors
    /// [`Usage`] for other endings than `.png`, `.jpg` and `.jpeg`.
    pub fn of(path: &Path) -> anyhow::Result<Self> {
        let ending = path
            .extension()
            .and_then(|e| e.to_str())
            .unwrap_or_default();
        match ending.to_ascii_lowercase().as_str() {
            "png" => Ok(Self::Png),
            "jpg" | "jpeg" => Ok(Self::Jpeg),
            _ => {
                let shown = path.display();
                Err(Usage(format!(
                    "{shown}: pictures are written as .png or .jpg; name one"
                ))
                .into())
            }
        }
    }
}

/// Writes a picture. The file is whole or as it was before.
///
/// # Errors
/// The file cannot be written; it is named.
pub fn write_picture(path: &Path, picture: &Rgb) -> anyhow::Result<()> {
    let form = PictureForm::of(path)?;
    let pixels = image_of(picture)?;
    let bytes = match form {
        PictureForm::Png => image_io::encode_png(&pixels)?,
        PictureForm::Jpeg => {
            let mut bytes = Vec::new();
            JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode_image(&pixels)?;
            bytes
        }
    };
    write_atomic(path, &bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Checks that a file can be written where `path` says, and leaves nothing there.
///
/// # Errors
/// Its folder is not there or takes no file; or a folder has that name.
pub fn check_place(path: &Path) -> anyhow::Result<()> {
    let shown = path.display();
    ensure!(!path.is_dir(), "{shown} is a folder; name a file inside it");
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    ensure!(
        folder.is_dir(),
        "cannot write {shown}: there is no folder {}; make it first",
        folder.display()
    );
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.check", std::process::id()));
    let probe = folder.join(name);
    let opened = OpenOptions::new().write(true).create_new(true).open(&probe);
    drop(opened.with_context(|| format!("cannot write {shown}"))?);
    fs::remove_file(&probe).with_context(|| format!("cannot write {shown}"))
}

/// Whether two paths lead to one file that exists.
pub fn same_file(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| -> Option<PathBuf> { fs::canonicalize(path).ok() };
    real(a).is_some_and(|a| real(b) == Some(a))
}

/// Reads the noise of a picture to start from: the tensor `latents` of a safetensors file, `[1, channels, 1, height/8,
/// width/8]`.
///
/// # Errors
/// As [`read_noise`].
pub fn read_latents(path: &Path, shape: [usize; 4]) -> anyhow::Result<Latent> {
    let [channels, _, height, width] = shape;
    let what = format!("a picture of {}x{}", width * VAE_SCALE, height * VAE_SCALE);
    read_noise(path, shape, &what, &|found| match found {
        [1, c, 1, h, w] if *c == channels && *h > 0 && *w > 0 => Some(format!(
            "give --size {}x{}",
            w.saturating_mul(VAE_SCALE),
            h.saturating_mul(VAE_SCALE)
        )),
        _ => None,
    })
}

/// Reads the noise to start from. An error says that `what` needs this shape, and, where `way` has an answer for the shape
/// that was found, how that one could be used.
///
/// # Errors
/// The file cannot be read, has no such tensor, or it has another shape than `shape` (channels, frames, height and width
/// in cells) or a value that is not finite.
pub fn read_noise(
    path: &Path,
    shape: [usize; 4],
    what: &str,
    way: &dyn Fn(&[usize]) -> Option<String>,
) -> anyhow::Result<Latent> {
    let shown = path.display();
    let file = Checkpoint::open(path)?;
    let Some(info) = file.info(LATENTS) else {
        let mut names = file.names();
        let more = names.len().saturating_sub(MOST_NAMES);
        names.truncate(MOST_NAMES);
        let more = match more {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        bail!(
            "{shown}: has no tensor `{LATENTS}`, only `{}`{more}; rename it",
            names.join("`, `")
        );
    };
    let [channels, frames, height, width] = shape;
    let wanted = [1, channels, frames, height, width];
    if info.shape != wanted {
        let found = &info.shape;
        let way = way(found).unwrap_or_else(|| "give others".to_owned());
        bail!("{shown}: `{LATENTS}` has the shape {found:?}, {what} needs {wanted:?}; {way}");
    }
    let data = file.load_as(LATENTS, DType::F32)?;
    let values = data.try_into_vec::<f32>();
    let values = values.map_err(|e| anyhow::anyhow!("{shown}: `{LATENTS}`: {e:?}"))?;
    ensure!(
        values.iter().all(|v| v.is_finite()),
        "{shown}: `{LATENTS}` has values that are not finite"
    );
    Ok(Latent { shape, values })
}

/// Writes a latent as [`read_noise`] reads it.
///
/// # Errors
/// The file cannot be written.
pub fn write_latents(path: &Path, latent: &Latent) -> anyhow::Result<()> {
    let [channels, frames, height, width] = latent.shape;
    let data = TensorData::new(latent.values.clone(), [1, channels, frames, height, width]);
    let tensors = BTreeMap::from([(LATENTS.to_owned(), data)]);
    let source = MemorySource::new("the latent", tensors);
    Ok(save_safetensors(path, &source, &BTreeMap::new())?)
}
