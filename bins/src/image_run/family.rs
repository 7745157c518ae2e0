//! Qwen-Image-Edit as a model that learns by flow matching.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use burn::tensor::{DType, Device};
use image::RgbImage;
use vtb_data::image_io::write_png;
use vtb_data::media::read_edit_rows;
use vtb_data::prepare::{ImageExport, METADATA};
use vtb_lora::AdapterHeader;
use vtb_models_diffusion::cache::{Key, hash_paths};
use vtb_models_diffusion::files::MODEL_INDEX;
use vtb_models_diffusion::qwen_image::vae::QwenImageVae;
use vtb_models_diffusion::qwen_image::{
    EditInputs, EditModelDir, Guidance, PromptEncoder, QwenImageTransformer, edit_latent,
    latent_picture, picture_latent,
};
use vtb_models_diffusion::tiny::TinyEditSpec;
use vtb_models_vlm::processor::Rgb;
use vtb_nn::velocity::{FlowCondition, Latent, TextStates};
use vtb_puzzle::judge::PictureJudge;
use vtb_trainer::rng;

use super::rows::{self, EditedRow, Encoded, Geometry, Pictures};
use super::settings::{EditDataSection, EditDemoSection, EditModelSection, ImageRun, OneWay};
use crate::edit::pictures::image_of;
use crate::flow_run::{
    Asked, DemoData, Family, Looked, Media, SampleSection, Start, Wish, psnr, puzzles,
};
use crate::model::Machine;
use crate::plan::Plan;
use crate::source::{IMAGE_EVAL_ROWS, IMAGE_ROWS};

/// Puzzles whose prompts train the tokenizer.
const CORPUS: usize = 64;

/// Qwen-Image-Edit.
pub(super) struct Edit {
    dir: EditModelDir,
    geometry: Geometry,
}

/// A row to draw.
pub(super) struct Preview {
    inputs: EditInputs,
    start: RgbImage,
    target: RgbImage,
}

impl Family for Edit {
    const PROGRAM: &'static str = "train-image";
    const PHASE: &'static str = "image";
    const ROWS: &'static [&'static str] = &IMAGE_ROWS;
    const EVAL_ROWS: &'static [&'static str] = &IMAGE_EVAL_ROWS;
    const ITEM: [&'static str; 2] = ["picture", "pictures"];
    const MADE: &'static str =
        "a tiny Qwen-Image-Edit, made here (random transformer, hand-made autoencoder)";

    type Model = EditModelSection;
    type Data = EditDataSection;
    type Sampler = OneWay;
    type Demo = EditDemoSection;
    type Dir = EditModelDir;
    type Net = QwenImageTransformer;
    type Texts = PromptEncoder;
    type Vae = QwenImageVae;
    type Media = Pictures;
    type Preview = Preview;

    fn defaults(demo: bool) -> ImageRun {
        ImageRun::defaults(demo)
    }

    fn faults(run: &ImageRun) -> Vec<String> {
        let mut faults = Vec::new();
        for (key, area) in [
            ("max_pixels", run.data.max_pixels),
            ("reference_area", run.data.reference_area),
            ("condition_area", run.data.condition_area),
        ] {
            if area < 1024 {
                faults.push(format!("data.{key} = {area} must be at least 1024"));
            }
        }
        if run.model.gelu().is_none() {
            let found = &run.model.activation;
            faults.push(format!(
                "model.activation = `{found}`: use `gelu_tanh` or `quick_gelu`"
            ));
        }
        faults
    }

    fn made_data(run: &ImageRun) -> String {
        let EditDemoSection {
            task,
            train_puzzles,
            ..
        } = &run.demo;
        format!("{train_puzzles} generated {task} puzzles")
    }

    fn plan_rows(run: &ImageRun, name: &str, file: &Path, plan: &mut Plan) -> anyhow::Result<()> {
        let root = run.data.image_root.as_deref().map(Path::new);
        plan.line(name, read_edit_rows(file, root)?.len());
        Ok(())
    }

    fn make_data(run: &ImageRun, dir: &Path) -> anyhow::Result<DemoData> {
        let demo = &run.demo;
        let wish = Wish {
            params: BTreeMap::from([(demo.task.clone(), demo.params.clone())]),
            train: demo.train_puzzles,
            eval: demo.eval_puzzles,
            video: None,
            file: METADATA,
        };
        puzzles(&wish, run.seed, dir, ImageExport::new)
    }

    fn make_model(dir: &Path, rows: &Path, seed: u64) -> anyhow::Result<()> {
        if dir.join(MODEL_INDEX).is_file() {
            return Ok(());
        }
        let rows = read_edit_rows(rows, None)?;
        let corpus: Vec<String> = rows
            .into_iter()
            .take(CORPUS)
            .map(|row| row.prompt)
            .collect();
        TinyEditSpec::default().write(dir, &corpus, rng::seed(seed, "fresh weights", 0, 0))?;
        Ok(())
    }

    fn look(path: &Path) -> anyhow::Result<EditModelDir> {
        Ok(EditModelDir::open(path)?)
    }

    fn outline(dir: &EditModelDir) -> anyhow::Result<QwenImageTransformer> {
        Ok(QwenImageTransformer::outline(&dir.transformer)?)
    }

    fn parameters(dir: &EditModelDir) -> anyhow::Result<usize> {
        let tensors = QwenImageTransformer::tensors(&dir.transformer)?;
        let sizes = tensors
            .values()
            .map(|shape| shape.iter().product::<usize>());
        Ok(sizes.sum())
    }

    fn open(run: &ImageRun, dir: EditModelDir, precision: String) -> anyhow::Result<Self> {
        let part = |name: &str| dir.root().join(name);
        let geometry = Geometry::of(
            run,
            hash_paths(&["text_encoder", "tokenizer", "processor"].map(part))?,
            hash_paths(&[part("vae")])?,
            precision,
        );
        Ok(Self { geometry, dir })
    }

    fn root(&self) -> &Path {
        self.dir.root()
    }

    fn encoders(&self) -> String {
        [self.geometry.encoder.as_str(), &self.geometry.vae].concat()
    }

    fn read(&self, file: &Path, root: Option<&Path>) -> anyhow::Result<Vec<EditedRow>> {
        rows::read(file, root, &self.geometry)
    }

    fn refuse(&self, run: &ImageRun, rows: &[&EditedRow]) -> anyhow::Result<()> {
        match run.data.check_swapped {
            true => rows::refuse_swapped(rows),
            false => Ok(()),
        }
    }

    fn key(&self, row: &EditedRow, prompt: &str) -> Key {
        rows::key(&self.geometry, row, prompt)
    }

    fn channels_and_patch(&self) -> (usize, usize) {
        let config = &self.dir.transformer;
        (config.out_channels, config.patch_size)
    }

    fn header(&self, run: &ImageRun) -> anyhow::Result<AdapterHeader> {
        Ok(AdapterHeader {
            base_hash: Some(hash_paths(&[self.dir.root().join("transformer")])?),
            template: Some(run.model.template.name().into()),
            activation: Some(run.model.activation.clone()),
            zero_cond_t: Some(self.dir.transformer.zero_cond_t),
            ..AdapterHeader::default()
        })
    }

    fn load_texts(&self, machine: &Machine) -> anyhow::Result<PromptEncoder> {
        let mut prompts = self.dir.load_prompts(&machine.device, machine.dtype)?;
        prompts.template = self.geometry.template;
        prompts.condition_area = self.geometry.condition_area;
        Ok(prompts)
    }

    fn load_vae(&self, device: &Device) -> anyhow::Result<QwenImageVae> {
        Ok(self.dir.load_vae(device, DType::F32)?)
    }

    fn load_net(&self, run: &ImageRun, machine: &Machine) -> anyhow::Result<QwenImageTransformer> {
        let (device, dtype) = (&machine.device, machine.dtype);
        let mut net = self.dir.load_transformer(device, dtype)?;
        net.options = run.model.gelu().unwrap_or_default();
        Ok(net)
    }

    fn encode_text(
        &self,
        texts: &PromptEncoder,
        asked: &Asked<'_, Pictures>,
    ) -> anyhow::Result<TextStates> {
        let references = asked.row.media.references().iter();
        let pictures: Vec<Rgb> = references
            .map(Encoded::original)
            .collect::<anyhow::Result<_>>()?;
        let states = texts.encode(asked.prompt, &pictures);
        states.with_context(|| asked.row.place.clone())
    }

    fn encode_item(&self, vae: &QwenImageVae, item: &Encoded) -> anyhow::Result<Latent> {
        Ok(picture_latent(&item.picture()?, vae)?)
    }

    fn preview(
        &self,
        run: &ImageRun,
        row: &EditedRow,
        start: Start<'_>,
    ) -> anyhow::Result<Preview> {
        let condition = start.condition;
        let guidance = start.negative.map(|text| Guidance {
            scale: run.samples.cfg,
            rescale: true,
            negative: Arc::new(FlowCondition {
                text,
                ..condition.clone()
            }),
        });
        let first = row.media.references().first();
        let first = first.context("a row without a picture")?;
        Ok(Preview {
            inputs: EditInputs {
                guidance,
                condition: Arc::new(condition),
                shape: start.shape,
            },
            start: image_of(&first.original()?)?,
            target: image_of(&row.media.target().picture()?)?,
        })
    }

    fn draw(
        &self,
        preview: &Preview,
        samples: &SampleSection,
        net: &QwenImageTransformer,
        vae: &QwenImageVae,
        noise: Latent,
    ) -> anyhow::Result<Vec<RgbImage>> {
        let latent = edit_latent(
            &preview.inputs,
            net,
            self.dir.transformer.patch_size,
            &self.dir.scheduler,
            samples.steps,
            noise,
            &mut |_, _| {},
        )?;
        Ok(vec![image_of(&latent_picture(&latent, vae)?)?])
    }

    fn show(&self, preview: &Preview, drawn: &[RgbImage], place: &Path) -> anyhow::Result<Looked> {
        let drawn = drawn.first().context("nothing was drawn")?;
        let mut file = place.as_os_str().to_owned();
        file.push(".png");
        write_png(Path::new(&file), drawn)?;
        let Preview { start, target, .. } = preview;
        Ok(Looked {
            tiles: [start, target, drawn].map(Clone::clone).into(),
            psnr: psnr([(drawn, target)]),
        })
    }

    fn judge(judge: PictureJudge, drawn: &[RgbImage]) -> (bool, f64) {
        let Some(picture) = drawn.first() else {
            return (false, 0.0);
        };
        let verdict = judge.judge(picture);
        let score = verdict.measures.get("score").copied();
        (verdict.correct, score.unwrap_or(0.0))
    }
}
