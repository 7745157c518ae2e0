//! Rows to train on: what they are made of, their places in the cache, and filling it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use vtb_data::media::{EditRow, read_edit_rows};
use vtb_data::{Bucket, ImageRef, image_io};
use vtb_models_diffusion::cache::{Entry, Key, TensorCache};
use vtb_models_diffusion::qwen_image::vae::QwenImageVae;
use vtb_models_diffusion::qwen_image::{
    EditTemplate, PromptEncoder, latent_shape, picture_latent, sizes,
};
use vtb_models_vlm::processor::Rgb;
use vtb_nn::velocity::{FlowCondition, Latent, TextStates};
use vtb_trainer::TrainError;
use vtb_trainer::canonical::hex;
use vtb_trainer::train::{FlowSample, FlowSource, shape_key};

use super::settings::{EditDataSection, ImageRun};
use crate::edit::pictures;

/// Stands for pictures in framed prompts.
const PAD: &str = "<|image_pad|>";

/// A picture at a size, and its place in the cache.
#[derive(Debug, Clone)]
pub(super) struct Encoded {
    pub(super) key: Key,
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

/// A row that was looked at: everything it needs has a name in the cache.
#[derive(Debug, Clone)]
pub(super) struct Row {
    /// Where it stands, for messages.
    pub(super) place: String,
    /// `id` of the row, else its place.
    pub(super) id: String,
    pub(super) prompt: String,
    pub(super) text: Key,
    /// Hashes of the files of the references.
    hashes: Vec<[u8; 32]>,
    /// Hash of the target's file.
    target_hash: [u8; 32],
    pub(super) target: Encoded,
    pub(super) references: Vec<Encoded>,
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
) -> anyhow::Result<Vec<Row>> {
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

fn look(row: EditRow, geometry: &Geometry) -> anyhow::Result<Row> {
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
        hashes,
        target_hash,
        target: geometry.picture(row.image, &target_hash, target_size, Cut::Covered),
        references,
        prompt: row.prompt,
        place,
        id,
    })
}

/// Refuses rows whose target is what another row starts from, by content: pictures were swapped in one of them.
///
/// # Errors
/// Names both rows.
pub(super) fn refuse_swapped(rows: &[&Row]) -> anyhow::Result<()> {
    let starts: HashMap<&[u8; 32], &Row> = rows
        .iter()
        .copied()
        .flat_map(|row| row.hashes.iter().map(move |hash| (hash, row)))
        .collect();
    for row in rows {
        if let Some(other) = starts.get(&row.target_hash) {
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

    /// Shape of its latent.
    pub(super) fn shape(&self, channels: usize) -> [usize; 4] {
        latent_shape(channels, self.size.0, self.size.1)
    }
}

/// A prompt about the pictures of a row.
pub(super) struct Asked<'a> {
    pub(super) key: Key,
    pub(super) prompt: &'a str,
    pub(super) row: &'a Row,
}

/// What the cache lacks, each entry once.
pub(super) struct Missing<'a> {
    pub(super) texts: Vec<Asked<'a>>,
    pub(super) pictures: Vec<&'a Encoded>,
}

impl<'a> Missing<'a> {
    /// Looks for every entry of `rows`, and for `more` prompts. What is there is checked.
    pub(super) fn of(cache: &TensorCache, rows: &[&'a Row], more: Vec<Asked<'a>>) -> Self {
        let own = rows.iter().map(|row| Asked {
            key: row.text.clone(),
            prompt: &row.prompt,
            row,
        });
        let mut seen = HashSet::new();
        let texts: Vec<Asked<'a>> = own
            .chain(more)
            .filter(|asked| seen.insert(asked.key.clone()))
            .collect();
        let pictures: Vec<&Encoded> = rows
            .iter()
            .flat_map(|row| std::iter::once(&row.target).chain(&row.references))
            .filter(|picture| seen.insert(picture.key.clone()))
            .collect();
        Self {
            texts: texts
                .into_par_iter()
                .filter(|t| !cache.has(&t.key))
                .collect(),
            pictures: pictures
                .into_par_iter()
                .filter(|p| !cache.has(&p.key))
                .collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.texts.len() + self.pictures.len()
    }
}

/// The key of another prompt about the pictures of a row.
pub(super) fn negative_key(geometry: &Geometry, row: &Row, prompt: &str) -> Key {
    geometry.text_key(prompt, &row.hashes)
}

/// Encodes a prompt into the cache.
pub(super) fn encode_text(
    asked: &Asked<'_>,
    prompts: &PromptEncoder,
    cache: &TensorCache,
    dtype: burn::tensor::DType,
) -> anyhow::Result<()> {
    let pictures: Vec<Rgb> = asked
        .row
        .references
        .iter()
        .map(Encoded::original)
        .collect::<anyhow::Result<_>>()?;
    let states = prompts
        .encode(asked.prompt, &pictures)
        .with_context(|| asked.row.place.clone())?;
    let entry = Entry {
        shape: vec![states.rows, states.width],
        values: states.values,
    };
    Ok(cache.write(&asked.key, &entry, dtype)?)
}

/// Encodes a picture into the cache.
pub(super) fn encode_picture(
    picture: &Encoded,
    vae: &QwenImageVae,
    cache: &TensorCache,
) -> anyhow::Result<()> {
    let latent = picture_latent(&picture.picture()?, vae)?;
    let entry = Entry {
        shape: latent.shape.to_vec(),
        values: latent.values,
    };
    Ok(cache.write(&picture.key, &entry, burn::tensor::DType::F32)?)
}

/// Reads a latent of the cache.
pub(super) fn latent(cache: &TensorCache, key: &Key) -> anyhow::Result<Latent> {
    let entry = cache.read(key)?;
    let shape = entry.shape.as_slice().try_into();
    let shape = shape.map_err(|_| {
        anyhow::anyhow!(
            "{}: {:?} is no latent",
            cache.path(key).display(),
            entry.shape
        )
    })?;
    Ok(Latent {
        shape,
        values: entry.values,
    })
}

/// Reads text states of the cache.
pub(super) fn text(cache: &TensorCache, key: &Key) -> anyhow::Result<TextStates> {
    let entry = cache.read(key)?;
    let [rows, width] = entry.shape[..] else {
        bail!(
            "{}: {:?} are no text states",
            cache.path(key).display(),
            entry.shape
        );
    };
    Ok(TextStates {
        rows,
        width,
        values: entry.values,
    })
}

/// Prompt and references of a row from the cache.
pub(super) fn condition(cache: &TensorCache, row: &Row) -> anyhow::Result<FlowCondition> {
    let references = row.references.iter();
    Ok(FlowCondition {
        text: text(cache, &row.text)?,
        references: references
            .map(|r| latent(cache, &r.key))
            .collect::<anyhow::Result<_>>()?,
        clean_frames: 0,
    })
}

/// Rows of a trainer, read from the cache when asked for.
pub(super) struct CachedRows {
    pub(super) rows: Vec<Row>,
    pub(super) cache: TensorCache,
    pub(super) channels: usize,
}

impl FlowSource for CachedRows {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn sample(&self, index: usize) -> Result<FlowSample, TrainError> {
        let Some(row) = self.rows.get(index) else {
            return Err(TrainError::Input(format!("there is no row {index}")));
        };
        let read = || -> anyhow::Result<FlowSample> {
            Ok(FlowSample {
                clean: latent(&self.cache, &row.target.key)?,
                condition: Arc::new(condition(&self.cache, row)?),
            })
        };
        read().map_err(|fault| TrainError::Input(format!("{}: {fault:#}", row.place)))
    }

    fn size(&self, index: usize, _bucket: Bucket) -> Result<u64, TrainError> {
        let Some(row) = self.rows.get(index) else {
            return Err(TrainError::Input(format!("there is no row {index}")));
        };
        let references = row.references.iter().map(|r| r.shape(self.channels));
        Ok(shape_key(row.target.shape(self.channels), references))
    }
}

/// Identifies rows by what they hold: prompts, and the files of their pictures.
pub(super) fn fingerprint(rows: &[Row]) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        hash.update((row.prompt.len() as u64).to_le_bytes());
        hash.update(&row.prompt);
        hash.update(row.target_hash);
        hash.update((row.hashes.len() as u64).to_le_bytes());
        hash.update(row.hashes.concat());
    }
    hex(&hash.finalize())
}
