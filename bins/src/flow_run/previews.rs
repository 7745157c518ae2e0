//! Previews: a few rows drawn as the model stands, as files and as numbers.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use burn::tensor::Device;
use image::{Rgb as Pixel, RgbImage, imageops};
use vtb_data::image_io::write_png;
use vtb_data::manifest::{Manifest, ManifestEntry};
use vtb_models_diffusion::cache::{Key, TensorCache};
use vtb_models_diffusion::scheduler::noise;
use vtb_trainer::rng;

use super::family::{Family, RowOf, Run, Start};
use super::rows::{self, Media, Medium};
use super::settings::SampleSection;
use crate::edit::pictures::file_stem;

/// Width of the pictures of a sheet.
const SHEET_SIDE: u32 = 224;
const GAP: u32 = 8;

struct Preview<P> {
    id: String,
    shape: [usize; 4],
    seed: u64,
    drawn: P,
    judge: Option<ManifestEntry>,
}

/// What is drawn again and again.
pub(super) struct Previews<'a, F: Family> {
    all: Vec<Preview<F::Preview>>,
    family: &'a F,
    samples: SampleSection,
    device: Device,
    dir: PathBuf,
}

/// Records of puzzles that judge, by the ids of their rows. Every row must have one.
///
/// # Errors
/// The data set cannot be read, or lacks a row.
pub(super) fn judges<M>(
    dataset: &Path,
    rows: &[rows::Row<M>],
) -> anyhow::Result<HashMap<String, ManifestEntry>> {
    let manifest = Manifest::open(dataset)?;
    let mut found = HashMap::new();
    for entry in manifest.iter() {
        let entry = entry?;
        if rows.iter().any(|row| row.id == entry.id) {
            entry.picture_judge()?;
            found.insert(entry.id.clone(), entry);
        }
    }
    match rows.iter().find(|row| !found.contains_key(&row.id)) {
        Some(row) => bail!(
            "it has no record `{}`, the id of {}; name the data set that the rows were made of, or none",
            row.id,
            row.place
        ),
        None => Ok(found),
    }
}

impl<'a, F: Family> Previews<'a, F> {
    /// Takes everything the previews of `rows` need out of the cache. `negative` names the encoded negative prompt of
    /// each row, where there is guidance.
    pub(super) fn new(
        family: &'a F,
        run: &Run<F>,
        rows: &[RowOf<F>],
        negative: &[Key],
        cache: &TensorCache,
        judges: &HashMap<String, ManifestEntry>,
        device: Device,
        dir: PathBuf,
    ) -> anyhow::Result<Self> {
        let (channels, _) = family.channels_and_patch();
        let mut all = Vec::with_capacity(rows.len());
        for (i, row) in rows.iter().enumerate() {
            let negative = negative.get(i).map(|key| rows::text(cache, key));
            let shape = row.media.target().shape(channels);
            let start = Start {
                condition: rows::condition(cache, row)?,
                negative: negative.transpose()?,
                shape,
                cache,
            };
            all.push(Preview {
                id: row.id.clone(),
                shape,
                seed: rng::seed(run.seed, "preview noise", 0, i as u64),
                drawn: family.preview(run, row, start)?,
                judge: judges.get(&row.id).cloned(),
            });
        }
        Ok(Self {
            all,
            family,
            samples: run.samples.clone(),
            device,
            dir,
        })
    }

    /// Draws everything after `step` steps: `step-N/` gets a file for each row and a sheet. Answers the mean PSNR to the
    /// targets (dB), and what the judges say.
    pub(super) fn draw(&self, net: &F::Net, step: u64) -> anyhow::Result<BTreeMap<String, f64>> {
        let dir = self.dir.join(format!("step-{step:06}"));
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        // Small beside the transformer, and not needed between previews.
        let vae = self.family.load_vae(&self.device)?;
        let mut lines = Vec::with_capacity(self.all.len());
        let mut sums: BTreeMap<&str, (f64, usize)> = BTreeMap::new();
        for (i, preview) in self.all.iter().enumerate() {
            let noise = noise(preview.shape, preview.seed);
            let (kept, samples) = (&preview.drawn, &self.samples);
            let drawn = self.family.draw(kept, samples, net, &vae, noise)?;
            let place = dir.join(format!("{i:02}-{}", file_stem(&preview.id)));
            let looked = self.family.show(kept, &drawn, &place)?;
            let mut add = |name: &'static str, value: f64| {
                let sum = sums.entry(name).or_default();
                *sum = (sum.0 + value, sum.1 + 1);
            };
            add("psnr", looked.psnr);
            if let Some(entry) = &preview.judge {
                let (correct, score) = F::judge(entry.picture_judge()?, &drawn);
                add("correct", f64::from(u8::from(correct)));
                add("score", score);
            }
            lines.push(looked.tiles);
        }
        write_png(&dir.join("sheet.png"), &sheet(&lines))?;
        let mean = |(name, (sum, n)): (&str, (f64, usize))| (name.to_owned(), sum / n as f64);
        Ok(sums.into_iter().map(mean).collect())
    }
}

/// A line for each preview. The last picture of a line says how high it is.
fn sheet(lines: &[Vec<RgbImage>]) -> RgbImage {
    let high = |line: &Vec<RgbImage>| {
        let height = |p: &RgbImage| SHEET_SIDE * p.height() / p.width().max(1);
        line.last().map_or(1, height).clamp(1, 4 * SHEET_SIDE)
    };
    let height: u32 = lines.iter().map(|line| high(line) + GAP).sum();
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0) as u32;
    let mut sheet = RgbImage::from_pixel(
        columns * (SHEET_SIDE + GAP) + GAP,
        height + GAP,
        Pixel([128, 128, 128]),
    );
    let mut top = GAP;
    for line in lines {
        let high = high(line);
        for (column, shown) in line.iter().enumerate() {
            let small = imageops::resize(shown, SHEET_SIDE, high, imageops::FilterType::Triangle);
            let left = GAP + column as u32 * (SHEET_SIDE + GAP);
            imageops::replace(&mut sheet, &small, i64::from(left), i64::from(top));
        }
        top += high + GAP;
    }
    sheet
}

/// Peak signal-to-noise ratio of all frames in dB, 99 for equal ones.
pub(crate) fn psnr<'a>(pairs: impl IntoIterator<Item = (&'a RgbImage, &'a RgbImage)>) -> f64 {
    let (mut squares, mut count) = (0.0, 0);
    for (a, b) in pairs {
        let values = a.as_raw().iter().zip(b.as_raw());
        squares += values
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
            .sum::<f64>();
        count += a.as_raw().len();
    }
    let mse = squares / count.max(1) as f64;
    match mse > 0.0 {
        true => (10.0 * (255.0 * 255.0 / mse).log10()).min(99.0),
        false => 99.0,
    }
}
