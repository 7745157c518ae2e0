//! Rows to train on: what they are made of, and their places in the cache.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use vtb_data::media::{EditRow, read_edit_rows};
use vtb_data::{ImageRef, image_io};
use vtb_models_diffusion::cache::Key;
use vtb_models_diffusion::qwen_image::{EditTemplate, latent_shape, sizes};
use vtb_models_vlm::processor::Rgb;

use super::settings::{EditDataSection, ImageRun};
use crate::edit::pictures;
use crate::flow_run::{Media, Medium, Row};

/// Stands for pictures in framed prompts.
const PAD: &str = "<|image_pad|>";

/// A picture at a size, and its place in the cache.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    key: Key,
    image: ImageRef,
    /// Width and height in pixels.
    size: (usize, usize),
    cut: Cut,
}

/// How a picture is brought to its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// Covers it, the middle is kept: targets.
    Covered,
    /// Stretched to it: references, whose size has their shape.
    Stretched,
}

/// The pictures of a row.
#[derive(Debug, Clone)]
pub(super) struct Pictures {
    /// Hashes of the files of the references.
    hashes: Vec<[u8; 32]>,
    /// Hash of the target's file.
    target_hash: [u8; 32],
    target: Encoded,
    references: Vec<Encoded>,
}

/// A row that was looked at.
pub(super) type EditedRow = Row<Pictures>;

impl Media for Pictures {
    type Item = Encoded;

    fn target(&self) -> &Encoded {
        &self.target
    }

    fn references(&self) -> &[Encoded] {
        &self.references
    }

    fn clean_frames(&self) -> usize {
        0
    }

    fn identify(&self, hash: &mut Sha256) {
        hash.update(self.target_hash);
        hash.update((self.hashes.len() as u64).to_le_bytes());
        hash.update(self.hashes.concat());
    }
}

impl Medium for Encoded {
    fn key(&self) -> &Key {
        &self.key
    }

    fn shape(&self, channels: usize) -> [usize; 4] {
        latent_shape(channels, self.size.0, self.size.1)
    }
}

/// What decides how rows are encoded.
#[derive(Debug, Clone)]
pub(super) struct Geometry {
    pub(super) template: EditTemplate,
    pub(super) max_pixels: usize,
    pub(super) reference_area: usize,
    pub(super) condition_area: usize,
    /// Hash of the text encoder's files.
    pub(super) encoder: String,
    /// Hash of the autoencoder's files.
    pub(super) vae: String,
    /// Format in which the text encoder runs; the autoencoder always runs in f32.
    pub(super) precision: String,
}

impl Geometry {
    pub(super) fn of(run: &ImageRun, encoder: String, vae: String, precision: String) -> Self {
        let EditDataSection {
            max_pixels,
            reference_area,
            condition_area,
            ..
        } = run.data;
        Self {
            template: run.model.template,
            max_pixels,
            reference_area,
            condition_area,
            encoder,
            vae,
            precision,
        }
    }

    /// Pixels of a picture as the text encoder sees it.
    fn seen_area(&self) -> usize {
        self.template.seen_area(self.condition_area)
    }

    /// The key of a prompt about pictures, given by the hashes of their files.
    pub(super) fn text_key(&self, prompt: &str, pictures: &[[u8; 32]]) -> Key {
        Key::of(
            "text",
            &[
                ("prompt", prompt.as_bytes()),
                ("pictures", &pictures.concat()),
                ("template", self.template.name().as_bytes()),
                ("area", &(self.seen_area() as u64).to_le_bytes()),
                ("encoder", self.encoder.as_bytes()),
                ("precision", self.precision.as_bytes()),
            ],
        )
    }

    fn picture(&self, image: ImageRef, hash: &[u8; 32], size: (usize, usize), cut: Cut) -> Encoded {
        let (width, height) = (size.0 as u64, size.1 as u64);
        let cut_name: &[u8] = match cut {
            Cut::Covered => b"covered",
            Cut::Stretched => b"stretched",
        };
        let key = Key::of(
            "picture",
            &[
                ("picture", hash),
                ("width", &width.to_le_bytes()),
                ("height", &height.to_le_bytes()),
                ("cut", cut_name),
                ("vae", self.vae.as_bytes()),
            ],
        );
        Encoded {
            key,
            image,
            size,
            cut,
        }
    }
}

/// Reads a file of rows and gives everything in it a name.
///
/// # Errors
/// The file or a picture cannot be read, a row has no picture to edit or one that is the target already; the row is
/// named.
pub(super) fn read(
    path: &Path,
    root: Option<&Path>,
    geometry: &Geometry,
) -> anyhow::Result<Vec<EditedRow>> {
    let rows = read_edit_rows(path, root)?;
    rows.into_par_iter()
        .map(|row| {
            let place = row.origin.to_string();
            look(row, geometry).with_context(|| place)
        })
        .collect()
}

/// Hash of a picture's file, and its width and height.
fn look_at(image: &ImageRef) -> anyhow::Result<([u8; 32], (usize, usize))> {
    let options = pictures::options();
    let bytes = image_io::encoded(image, &options).with_context(|| image.to_string())?;
    let bytes = bytes.with_context(|| format!("{image}: is no file"))?;
    let hash = Sha256::digest(&bytes).into();
    let header = ImageRef::Encoded(bytes.as_ref().into());
    let size = image_io::dimensions(&header, &options).with_context(|| image.to_string())?;
    Ok((hash, (size.0 as usize, size.1 as usize)))
}

fn look(row: EditRow, geometry: &Geometry) -> anyhow::Result<EditedRow> {
    let id = row.id()?;
    if row.prompt.contains(PAD) {
        bail!("the prompt holds `{PAD}`, which stands for pictures; leave it out");
    }
    if row.edit_images.is_empty() {
        bail!("the row has no `edit_image`; an editing model needs a picture to start from");
    }
    let count = row.edit_images.len();
    if geometry.template == EditTemplate::Single && count > 1 {
        bail!(
            "the row has {count} pictures to edit; the template `single` takes one, `list` any number"
        );
    }
    let (target_hash, (width, height)) = look_at(&row.image)?;
    let target_size = sizes::target_size(width, height, geometry.max_pixels)?;
    let mut hashes = Vec::with_capacity(row.edit_images.len());
    let mut references = Vec::with_capacity(row.edit_images.len());
    for image in row.edit_images {
        let (found, (width, height)) = look_at(&image)?;
        if found == target_hash {
            bail!(
                "`image` and `edit_image` ({image}) are the same picture: there is nothing to learn"
            );
        }
        let to = sizes::area_size(geometry.reference_area, width, height)?;
        sizes::area_size(geometry.seen_area(), width, height)?;
        references.push(geometry.picture(image, &found, to, Cut::Stretched));
        hashes.push(found);
    }
    let place = row.origin.to_string();
    let id = id.unwrap_or_else(|| place.clone());
    Ok(Row {
        text: geometry.text_key(&row.prompt, &hashes),
        media: Pictures {
            hashes,
            target_hash,
            target: geometry.picture(row.image, &target_hash, target_size, Cut::Covered),
            references,
        },
        prompt: row.prompt,
        place,
        id,
    })
}

/// Refuses rows whose target is what another row starts from, by content: pictures were swapped in one of them.
///
/// # Errors
/// Names both rows.
pub(super) fn refuse_swapped(rows: &[&EditedRow]) -> anyhow::Result<()> {
    let starts: HashMap<&[u8; 32], &EditedRow> = rows
        .iter()
        .copied()
        .flat_map(|row| row.media.hashes.iter().map(move |hash| (hash, row)))
        .collect();
    for row in rows {
        if let Some(other) = starts.get(&row.media.target_hash) {
            bail!(
                "{}: its target is what {} starts from: `image` and `edit_image` are swapped in one of them; mend the \
                 file, or set data.check_swapped=false where this is meant",
                row.place,
                other.place
            );
        }
    }
    Ok(())
}

impl Encoded {
    /// The picture at its size.
    pub(super) fn picture(&self) -> anyhow::Result<Rgb> {
        let picture = pictures::load(&self.image)?;
        let (width, height) = self.size;
        Ok(match self.cut {
            Cut::Covered => sizes::covered(&picture, width, height),
            Cut::Stretched => sizes::resized(&picture, width, height),
        })
    }

    /// The picture as it is stored.
    pub(super) fn original(&self) -> anyhow::Result<Rgb> {
        pictures::load(&self.image)
    }
}

/// The key of another prompt about the pictures of a row.
pub(super) fn key(geometry: &Geometry, row: &EditedRow, prompt: &str) -> Key {
    geometry.text_key(prompt, &row.media.hashes)
}
