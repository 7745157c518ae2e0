//! Wan2.2-TI2V as a model that learns by flow matching.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use burn::tensor::{DType, Device};
use image::RgbImage;
use serde_json::json;
use vtb_data::generate::{ClipSettings, ClipSize};
use vtb_data::media::read_clip_rows;
use vtb_data::prepare::{VideoExport, VideoShape};
use vtb_data::video::{SizeFit, VideoSettings, VideoWriter};
use vtb_lora::AdapterHeader;
use vtb_models_diffusion::cache::{Key, hash_paths};
use vtb_models_diffusion::tiny::TinyVideoSpec;
use vtb_models_diffusion::wan::vae::WanVae;
use vtb_models_diffusion::wan::{
    TextEncoder, VideoInputs, VideoModelDir, VideoSampling, WanTransformer, check_frames,
    check_size, clip_latent, latent_clip, video_latent,
};
use vtb_nn::velocity::{Latent, TextStates};
use vtb_puzzle::judge::PictureJudge;
use vtb_trainer::rng;

use super::frames::LEAST;
use super::preview::{self, Preview, first_frame};
use super::rows::{self, Clip, ClipSample, Geometry};
use super::settings::{
    SamplerSection, VideoDataSection, VideoDemoSection, VideoModelSection, VideoRun,
};
use crate::edit::pictures::image_of;
use crate::flow_run::{
    Asked, DemoData, Family, Looked, Media, Medium, SampleSection, Start, Wish, latent, puzzles,
};
use crate::model::Machine;
use crate::plan::Plan;
use crate::source::{VIDEO_EVAL_ROWS, VIDEO_ROWS};

/// Puzzles whose prompts train the tokenizer.
const CORPUS: usize = 64;
/// Wan2.2-TI2V.
pub(super) struct Wan {
    dir: VideoModelDir,
    geometry: Geometry,
    sampler: SamplerSection,
}

impl Family for Wan {
    const PROGRAM: &'static str = "train-video";
    const PHASE: &'static str = "video";
    const ROWS: &'static [&'static str] = &VIDEO_ROWS;
    const EVAL_ROWS: &'static [&'static str] = &VIDEO_EVAL_ROWS;
    const ITEM: [&'static str; 2] = ["clip", "clips"];
    const MADE: &'static str =
        "a tiny Wan2.2-TI2V, made here (random transformer, hand-made autoencoder)";

    type Model = VideoModelSection;
    type Data = VideoDataSection;
    type Sampler = SamplerSection;
    type Demo = VideoDemoSection;
    type Dir = VideoModelDir;
    type Net = WanTransformer;
    type Texts = TextEncoder;
    type Vae = WanVae;
    type Media = Clip;
    type Preview = Preview;

    fn defaults(demo: bool) -> VideoRun {
        VideoRun::defaults(demo)
    }

    fn faults(run: &VideoRun) -> Vec<String> {
        let VideoDataSection {
            frames,
            width,
            height,
            ..
        } = run.data;
        let mut faults = Vec::new();
        if let Err(fault) = check_frames(frames) {
            faults.push(format!("data.frames: {fault}"));
        } else if frames < LEAST {
            faults.push(format!("data.frames = {frames} must be at least {LEAST}"));
        }
        if let Err(fault) = check_size(width, height) {
            faults.push(format!("data.width, data.height: {fault}"));
        }
        let shift = run.sampler.shift;
        if !(shift > 0.0 && shift.is_finite()) {
            faults.push(format!("sampler.shift = {shift} must be above 0"));
        }
        if let Err(fault) = VideoWriter::new(VideoSettings::at(run.sampler.fps)) {
            faults.push(format!("sampler.fps: {fault}"));
        }
        if run.model.path.is_none() && run.demo.tasks.is_empty() {
            faults.push("demo.tasks must name at least one task".into());
        }
        faults
    }

    fn made_data(run: &VideoRun) -> String {
        let VideoDemoSection {
            tasks,
            train_puzzles,
            ..
        } = &run.demo;
        let VideoDataSection {
            frames,
            width,
            height,
            ..
        } = run.data;
        let tasks = tasks.join(", ");
        format!(
            "{train_puzzles} generated puzzles each of {tasks}: clips of {frames} frames, {width}x{height}"
        )
    }

    fn plan_rows(run: &VideoRun, name: &str, file: &Path, plan: &mut Plan) -> anyhow::Result<()> {
        let root = run.data.video_root.as_deref().map(Path::new);
        plan.line(name, rows::taken(file, root, &run.data.choice())?);
        Ok(())
    }

    fn make_data(run: &VideoRun, dir: &Path) -> anyhow::Result<DemoData> {
        let demo = &run.demo;
        let params = demo.tasks.iter().map(|task| {
            let params = demo.params.get(task).cloned();
            (task.clone(), params.unwrap_or_else(|| json!({})))
        });
        let wish = Wish {
            params: params.collect::<BTreeMap<_, _>>(),
            train: demo.train_puzzles,
            eval: demo.eval_puzzles,
            video: Some(ClipSettings {
                frames: run.data.frames,
                fps: run.sampler.fps,
                size: Some(ClipSize {
                    width: run.data.width as u32,
                    height: run.data.height as u32,
                    fit: SizeFit::Pad,
                }),
            }),
            file: VIDEO_ROWS[0],
        };
        puzzles(&wish, run.seed, dir, |common, place| {
            VideoExport::new(common, place, VideoShape::default())
        })
    }

    fn make_model(dir: &Path, rows: &Path, seed: u64) -> anyhow::Result<()> {
        if VideoModelDir::open(dir).is_ok() {
            return Ok(());
        }
        let rows = read_clip_rows(rows, None)?;
        // Tasks follow each other in the file.
        let step = rows.len().div_ceil(CORPUS).max(1);
        let corpus: Vec<String> = rows
            .into_iter()
            .step_by(step)
            .map(|row| row.prompt)
            .collect();
        TinyVideoSpec::default().write(dir, &corpus, rng::seed(seed, "fresh weights", 0, 0))?;
        Ok(())
    }

    fn look(path: &Path) -> anyhow::Result<VideoModelDir> {
        Ok(VideoModelDir::open(path)?)
    }

    fn outline(dir: &VideoModelDir) -> anyhow::Result<WanTransformer> {
        Ok(WanTransformer::outline(&dir.transformer)?)
    }

    fn parameters(dir: &VideoModelDir) -> anyhow::Result<usize> {
        let tensors = WanTransformer::tensors(&dir.transformer)?;
        let sizes = tensors
            .values()
            .map(|shape| shape.iter().product::<usize>());
        Ok(sizes.sum())
    }

    fn open(run: &VideoRun, dir: VideoModelDir, precision: String) -> anyhow::Result<Self> {
        let encoder = hash_paths(&dir.text_files())?;
        let vae = hash_paths(&dir.vae_files())?;
        Ok(Self {
            geometry: Geometry::of(run, dir.transformer.text_len, encoder, vae, precision),
            sampler: run.sampler.clone(),
            dir,
        })
    }

    fn root(&self) -> &Path {
        self.dir.root()
    }

    fn encoders(&self) -> String {
        [self.geometry.encoder.as_str(), &self.geometry.vae].concat()
    }

    fn read(&self, file: &Path, root: Option<&Path>) -> anyhow::Result<Vec<ClipSample>> {
        rows::read(file, root, &self.geometry)
    }

    fn refuse(&self, _run: &VideoRun, _rows: &[&ClipSample]) -> anyhow::Result<()> {
        Ok(())
    }

    fn key(&self, _row: &ClipSample, prompt: &str) -> Key {
        self.geometry.text_key(prompt)
    }

    fn channels_and_patch(&self) -> (usize, usize) {
        let config = &self.dir.transformer;
        (config.out_channels, config.patch_size[2])
    }

    fn header(&self, _run: &VideoRun) -> anyhow::Result<AdapterHeader> {
        Ok(AdapterHeader {
            base_hash: Some(hash_paths(&self.dir.transformer_files()?)?),
            ..AdapterHeader::default()
        })
    }

    fn load_texts(&self, machine: &Machine) -> anyhow::Result<TextEncoder> {
        Ok(self.dir.load_text(&machine.device, machine.dtype)?)
    }

    fn load_vae(&self, device: &Device) -> anyhow::Result<WanVae> {
        Ok(self.dir.load_vae(device, DType::F32)?)
    }

    fn load_net(&self, _run: &VideoRun, machine: &Machine) -> anyhow::Result<WanTransformer> {
        Ok(self.dir.load_transformer(&machine.device, machine.dtype)?)
    }

    fn encode_text(
        &self,
        texts: &TextEncoder,
        asked: &Asked<'_, Clip>,
    ) -> anyhow::Result<TextStates> {
        let states = texts.encode(asked.prompt);
        states.with_context(|| asked.row.place.clone())
    }

    fn encode_item(&self, vae: &WanVae, item: &Clip) -> anyhow::Result<Latent> {
        Ok(clip_latent(&item.load()?, vae)?)
    }

    fn preview(
        &self,
        _run: &VideoRun,
        row: &ClipSample,
        start: Start<'_>,
    ) -> anyhow::Result<Preview> {
        let clean = latent(start.cache, row.media.key())?;
        Ok(Preview {
            inputs: VideoInputs {
                first: (row.media.clean_frames() > 0).then(|| first_frame(&clean)),
                text: start.condition.text,
                negative: start.negative.map(Arc::new),
                shape: start.shape,
            },
            target: row.media.clone(),
        })
    }

    fn draw(
        &self,
        preview: &Preview,
        samples: &SampleSection,
        net: &WanTransformer,
        vae: &WanVae,
        noise: Latent,
    ) -> anyhow::Result<Vec<RgbImage>> {
        let sampling = VideoSampling {
            solver: self.sampler.solver,
            steps: samples.steps,
            shift: self.sampler.shift,
            cfg: samples.cfg,
        };
        let latent = video_latent(&preview.inputs, net, &sampling, noise, &mut |_, _| {})?;
        let clip = latent_clip(&latent, vae, None)?;
        clip.iter().map(image_of).collect()
    }

    fn show(&self, preview: &Preview, drawn: &[RgbImage], place: &Path) -> anyhow::Result<Looked> {
        preview::show(preview, drawn, place, self.sampler.fps)
    }

    fn judge(judge: PictureJudge, drawn: &[RgbImage]) -> (bool, f64) {
        preview::judge(judge, drawn)
    }
}
