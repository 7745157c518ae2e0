//! Previews: a few rows edited as the model stands, as pictures and as numbers.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use burn::tensor::{DType, Device};
use image::{Rgb as Pixel, RgbImage, imageops};
use vtb_data::image_io::write_png;
use vtb_data::manifest::Manifest;
use vtb_models_diffusion::cache::{Key, TensorCache};
use vtb_models_diffusion::qwen_image::{
    EditInputs, EditModelDir, Guidance, QwenImageTransformer, edit_latent, latent_picture, noise,
};
use vtb_nn::velocity::FlowCondition;
use vtb_puzzle::judge::PictureJudge;
use vtb_trainer::rng;

use super::rows::{self, Row};
use super::settings::SampleSection;
use crate::edit::pictures::{file_stem, image_of};

/// Width of the pictures of a sheet.
const SHEET_SIDE: u32 = 224;
const GAP: u32 = 8;

struct Preview {
    id: String,
    inputs: EditInputs,
    seed: u64,
    start: RgbImage,
    target: RgbImage,
    judge: Option<PictureJudge>,
}

/// What is drawn again and again.
pub(super) struct Previews {
    all: Vec<Preview>,
    model: EditModelDir,
    device: Device,
    steps: usize,
    dir: PathBuf,
}

/// Judges of puzzles, by the ids of their rows. Every row must have one.
///
/// # Errors
/// The data set cannot be read, or lacks a row.
pub(super) fn judges(
    dataset: &Path,
    rows: &[Row],
) -> anyhow::Result<HashMap<String, PictureJudge>> {
    let manifest = Manifest::open(dataset)?;
    let mut found = HashMap::new();
    for (index, entry) in manifest.iter().enumerate() {
        let id = entry?.id;
        if rows.iter().any(|row| row.id == id) {
            found.insert(id, manifest.picture_judge(index)?);
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

impl Previews {
    /// Takes everything the previews of `rows` need out of the cache. `negative` names the encoded negative prompt of
    /// each row, where there is guidance.
    pub(super) fn new(
        section: &SampleSection,
        rows: &[&Row],
        negative: &[Key],
        cache: &TensorCache,
        mut judges: HashMap<String, PictureJudge>,
        model: EditModelDir,
        device: Device,
        seed: u64,
        dir: PathBuf,
    ) -> anyhow::Result<Self> {
        let mut all = Vec::with_capacity(rows.len());
        for (i, row) in rows.iter().enumerate() {
            let condition = rows::condition(cache, row)?;
            let guidance = negative.get(i).map(|key| -> anyhow::Result<Guidance> {
                Ok(Guidance {
                    scale: section.cfg,
                    rescale: true,
                    negative: Arc::new(FlowCondition {
                        text: rows::text(cache, key)?,
                        ..condition.clone()
                    }),
                })
            });
            let start = row.references.first().context("a row without a picture")?;
            all.push(Preview {
                id: row.id.clone(),
                inputs: EditInputs {
                    guidance: guidance.transpose()?,
                    condition: Arc::new(condition),
                    shape: row.target.shape(model.transformer.out_channels),
                },
                seed: rng::seed(seed, "preview noise", 0, i as u64),
                start: image_of(&start.original()?)?,
                target: image_of(&row.target.picture()?)?,
                judge: judges.remove(&row.id),
            });
        }
        Ok(Self {
            all,
            model,
            device,
            steps: section.steps,
            dir,
        })
    }

    /// Draws everything after `step` steps: `step-N/` gets a picture for each row and a sheet of start, target and
    /// drawing. Answers the mean PSNR to the targets (dB), and what the judges say.
    pub(super) fn draw(
        &self,
        model: &QwenImageTransformer,
        step: u64,
    ) -> anyhow::Result<BTreeMap<String, f64>> {
        let dir = self.dir.join(format!("step-{step:06}"));
        std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
        // Small beside the transformer, and not needed between previews.
        let vae = self.model.load_vae(&self.device, DType::F32)?;
        let mut drawn = Vec::with_capacity(self.all.len());
        let mut sums: BTreeMap<String, (f64, usize)> = BTreeMap::new();
        for (i, preview) in self.all.iter().enumerate() {
            let latent = edit_latent(
                &preview.inputs,
                model,
                self.model.transformer.patch_size,
                &self.model.scheduler,
                self.steps,
                noise(preview.inputs.shape, preview.seed),
                &mut |_, _| {},
            )?;
            let picture = image_of(&latent_picture(&latent, &vae)?)?;
            write_png(
                &dir.join(format!("{i:02}-{}.png", file_stem(&preview.id))),
                &picture,
            )?;
            let mut add = |name: &str, value: f64| {
                let sum = sums.entry(name.to_owned()).or_default();
                *sum = (sum.0 + value, sum.1 + 1);
            };
            add("psnr", psnr(&picture, &preview.target));
            if let Some(judge) = &preview.judge {
                let verdict = judge.judge(&picture);
                add("correct", f64::from(u8::from(verdict.correct)));
                add(
                    "score",
                    verdict.measures.get("score").copied().unwrap_or(0.0),
                );
            }
            drawn.push(picture);
        }
        write_png(&dir.join("sheet.png"), &self.sheet(&drawn))?;
        let mean = |(name, (sum, n)): (String, (f64, usize))| (name, sum / n as f64);
        Ok(sums.into_iter().map(mean).collect())
    }

    /// A line for each preview: start, target, drawing.
    fn sheet(&self, drawn: &[RgbImage]) -> RgbImage {
        let line = |picture: &RgbImage| {
            let height = SHEET_SIDE * picture.height() / picture.width().max(1);
            height.clamp(1, 4 * SHEET_SIDE)
        };
        let height: u32 = drawn.iter().map(|picture| line(picture) + GAP).sum();
        let mut sheet = RgbImage::from_pixel(
            3 * (SHEET_SIDE + GAP) + GAP,
            height + GAP,
            Pixel([128, 128, 128]),
        );
        let mut top = GAP;
        for (preview, picture) in self.all.iter().zip(drawn) {
            let high = line(picture);
            for (column, shown) in [&preview.start, &preview.target, picture]
                .iter()
                .enumerate()
            {
                let filter = imageops::FilterType::Triangle;
                let small = imageops::resize(*shown, SHEET_SIDE, high, filter);
                let left = GAP + column as u32 * (SHEET_SIDE + GAP);
                imageops::replace(&mut sheet, &small, i64::from(left), i64::from(top));
            }
            top += high + GAP;
        }
        sheet
    }
}

/// Peak signal-to-noise ratio in dB, 99 for equal pictures.
fn psnr(a: &RgbImage, b: &RgbImage) -> f64 {
    let pairs = a.as_raw().iter().zip(b.as_raw());
    let squares: f64 = pairs
        .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
        .sum();
    let mse = squares / a.as_raw().len().max(1) as f64;
    match mse > 0.0 {
        true => (10.0 * (255.0 * 255.0 / mse).log10()).min(99.0),
        false => 99.0,
    }
}
