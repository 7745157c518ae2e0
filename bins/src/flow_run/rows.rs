//! Rows whose prompts and samples lie in the cache.

use std::sync::Arc;

use anyhow::bail;
use sha2::{Digest, Sha256};
use vtb_data::Bucket;
use vtb_models_diffusion::cache::{Key, TensorCache};
use vtb_nn::velocity::{FlowCondition, Latent, TextStates};
use vtb_trainer::TrainError;
use vtb_trainer::canonical::hex;
use vtb_trainer::train::{FlowSample, FlowSource, shape_key};

/// A picture or clip at its size, and its place in the cache.
pub trait Medium: Clone + Send + Sync + 'static {
    /// Its place in the cache.
    fn key(&self) -> &Key;
    /// Shape of its latent.
    fn shape(&self, channels: usize) -> [usize; 4];
}

/// What a row shows.
pub trait Media: Clone + Send + Sync + 'static {
    /// A part of it.
    type Item: Medium;

    /// What is to be drawn.
    fn target(&self) -> &Self::Item;
    /// What it starts from, apart from the target.
    fn references(&self) -> &[Self::Item];
    /// How many frames of the target are given.
    fn clean_frames(&self) -> usize;
    /// Adds what identifies it.
    fn identify(&self, hash: &mut Sha256);
}

/// A row that was looked at: everything it needs has a name in the cache.
#[derive(Debug, Clone)]
pub struct Row<M> {
    /// Where it stands, for messages.
    pub place: String,
    /// `id` of the row, else its place.
    pub id: String,
    /// What is asked for.
    pub prompt: String,
    /// Place of the encoded prompt in the cache.
    pub text: Key,
    /// What it shows.
    pub media: M,
}

/// A prompt about what a row shows.
pub struct Asked<'a, M> {
    /// Its place in the cache.
    pub key: Key,
    /// The words.
    pub prompt: &'a str,
    /// The row.
    pub row: &'a Row<M>,
}

/// Reads a latent of the cache.
///
/// # Errors
/// It is absent, damaged or something else.
pub(crate) fn latent(cache: &TensorCache, key: &Key) -> anyhow::Result<Latent> {
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
///
/// # Errors
/// As [`latent`].
pub(crate) fn text(cache: &TensorCache, key: &Key) -> anyhow::Result<TextStates> {
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

/// What a row is conditioned on, from the cache.
///
/// # Errors
/// As [`latent`].
pub(crate) fn condition<M: Media>(
    cache: &TensorCache,
    row: &Row<M>,
) -> anyhow::Result<FlowCondition> {
    let references = row.media.references().iter();
    Ok(FlowCondition {
        text: text(cache, &row.text)?,
        references: references
            .map(|r| latent(cache, r.key()))
            .collect::<anyhow::Result<_>>()?,
        clean_frames: row.media.clean_frames(),
    })
}

/// Rows of a trainer, read from the cache when asked for.
pub(crate) struct CachedRows<M> {
    pub(crate) rows: Vec<Row<M>>,
    pub(crate) cache: TensorCache,
    pub(crate) channels: usize,
}

impl<M: Media> CachedRows<M> {
    fn row(&self, index: usize) -> Result<&Row<M>, TrainError> {
        let row = self.rows.get(index);
        row.ok_or_else(|| TrainError::Input(format!("there is no row {index}")))
    }
}

impl<M: Media> FlowSource for CachedRows<M> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn sample(&self, index: usize) -> Result<FlowSample, TrainError> {
        let row = self.row(index)?;
        let read = || -> anyhow::Result<FlowSample> {
            Ok(FlowSample {
                clean: latent(&self.cache, row.media.target().key())?,
                condition: Arc::new(condition(&self.cache, row)?),
            })
        };
        read().map_err(|fault| TrainError::Input(format!("{}: {fault:#}", row.place)))
    }

    fn size(&self, index: usize, _bucket: Bucket) -> Result<u64, TrainError> {
        let media = &self.row(index)?.media;
        let references = media.references().iter().map(|r| r.shape(self.channels));
        Ok(shape_key(media.target().shape(self.channels), references))
    }
}

/// Identifies rows by what they hold: prompts, and the files of what they show.
pub(crate) fn fingerprint<M: Media>(rows: &[Row<M>]) -> String {
    let mut hash = Sha256::new();
    for row in rows {
        hash.update((row.prompt.len() as u64).to_le_bytes());
        hash.update(&row.prompt);
        row.media.identify(&mut hash);
    }
    hex(&hash.finalize())
}
