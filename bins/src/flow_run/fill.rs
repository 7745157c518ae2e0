//! Filling the cache: first all prompts, then, with the text encoder gone, everything that is shown.

use std::collections::HashSet;
use std::time::Instant;

use anyhow::Context;
use burn::tensor::DType;
use rayon::prelude::*;
use vtb_models_diffusion::cache::{Entry, TensorCache};
use vtb_trainer::progress::Reporter;
use vtb_trainer::signal::Interrupt;

use super::family::{Family, ItemOf, RowOf};
use super::rows::{Asked, Media, Medium};
use crate::model::Machine;

/// What the cache lacks, each entry once.
struct Missing<'a, F: Family> {
    texts: Vec<Asked<'a, F::Media>>,
    /// With the place of the row that shows them.
    items: Vec<(&'a str, &'a ItemOf<F>)>,
}

impl<'a, F: Family> Missing<'a, F> {
    /// Looks for every entry of `rows`, and for `more` prompts. What is there is checked.
    fn of(cache: &TensorCache, rows: &[&'a RowOf<F>], more: Vec<Asked<'a, F::Media>>) -> Self {
        let own = rows.iter().map(|row| Asked {
            key: row.text.clone(),
            prompt: &row.prompt,
            row,
        });
        let mut seen = HashSet::new();
        let texts: Vec<Asked<'a, F::Media>> = own
            .chain(more)
            .filter(|asked| seen.insert(asked.key.clone()))
            .collect();
        let shown = |row: &'a RowOf<F>| {
            let items = std::iter::once(row.media.target()).chain(row.media.references());
            items.map(|item| (row.place.as_str(), item))
        };
        let items: Vec<(&str, &ItemOf<F>)> = rows
            .iter()
            .flat_map(|row| shown(row))
            .filter(|(_, item)| seen.insert(item.key().clone()))
            .collect();
        Self {
            texts: texts
                .into_par_iter()
                .filter(|t| !cache.has(&t.key))
                .collect(),
            items: items
                .into_par_iter()
                .filter(|(_, item)| !cache.has(item.key()))
                .collect(),
        }
    }
}

/// Where the cache is filled.
pub(super) struct Filling<'a, F> {
    pub(super) family: &'a F,
    pub(super) cache: &'a TensorCache,
    pub(super) machine: &'a Machine,
    /// Seconds between lines of progress.
    pub(super) seconds: f64,
}

impl<F: Family> Filling<'_, F> {
    /// Encodes what the cache lacks of `rows` and `more` prompts. Answers whether it came to its end.
    pub(super) fn run(
        &self,
        rows: &[&RowOf<F>],
        more: Vec<Asked<'_, F::Media>>,
        reporter: &mut dyn Reporter,
        interrupt: &Interrupt,
    ) -> anyhow::Result<bool> {
        let missing = Missing::<F>::of(self.cache, rows, more);
        let (texts, items) = (missing.texts.len(), missing.items.len());
        let [one, several] = F::ITEM;
        if texts + items == 0 {
            reporter.on_message(&format!(
                "cache: every prompt and {one} is there, and sound"
            ));
            return Ok(true);
        }
        reporter.on_message(&format!(
            "cache: {texts} prompts and {items} {several} are encoded"
        ));
        let mut told = Instant::now();
        let mut tell = |done: usize, reporter: &mut dyn Reporter| {
            if told.elapsed().as_secs_f64() >= self.seconds.max(1.0) {
                told = Instant::now();
                reporter.on_message(&format!("cache: {done} of {}", texts + items));
            }
        };
        if texts > 0 {
            let encoder = self.family.load_texts(self.machine)?;
            for (i, asked) in missing.texts.iter().enumerate() {
                if interrupt.is_set() {
                    return Ok(false);
                }
                let states = self.family.encode_text(&encoder, asked)?;
                let entry = Entry {
                    shape: vec![states.rows, states.width],
                    values: states.values,
                };
                self.cache.write(&asked.key, &entry, self.machine.dtype)?;
                tell(i + 1, reporter);
            }
        }
        if items > 0 {
            let vae = self.family.load_vae(&self.machine.device)?;
            for (i, (place, item)) in missing.items.iter().enumerate() {
                if interrupt.is_set() {
                    return Ok(false);
                }
                let latent = self.family.encode_item(&vae, item);
                let latent = latent.with_context(|| (*place).to_owned())?;
                let entry = Entry {
                    shape: latent.shape.to_vec(),
                    values: latent.values,
                };
                self.cache.write(item.key(), &entry, DType::F32)?;
                tell(texts + i + 1, reporter);
            }
        }
        Ok(true)
    }
}
