//! Conversations: rows of train-sft and train-grpo.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::RgbImage;
use rayon::prelude::*;
use vtb_data::{ImageOptions, JsonlDataset, OpenOptions, RowMode, RowRules, RowSource, TrainRow};
use vtb_models_vlm::chat::Message;
use vtb_models_vlm::encode::{LabelPolicy, Media, RowEncoder};
use vtb_models_vlm::processor::{ImageSettings, Rgb, VideoPatches};
use vtb_rewards::Reference;

use super::CheckOptions;
use super::findings::Findings;
use super::leak::{self, Scene, Scenes};
use crate::data::{first_row, mode_of};
use crate::video;

/// What one row is.
#[derive(Default)]
struct Facts {
    task: Option<String>,
    pictures: usize,
    pixels: Vec<f64>,
    picture_tokens: Vec<f64>,
    tokens: Option<usize>,
    learned: Option<usize>,
    scene: Option<Scene>,
    /// Kind and place.
    faults: Vec<(&'static str, String)>,
}

/// Whether the first row holds a conversation.
pub(super) fn has_messages(path: &Path) -> bool {
    first_row(path).is_some_and(|row| row.get("messages").is_some())
}

pub(super) fn look(
    path: &Path,
    options: &CheckOptions,
    whole: bool,
) -> anyhow::Result<(Findings, Scenes)> {
    let mode = options.mode.unwrap_or_else(|| mode_of(path));
    let rules = match mode {
        RowMode::Sft => RowRules::sft(),
        RowMode::Grpo => RowRules::grpo(),
    };
    let mut open = OpenOptions::new(rules);
    open.max_bad_rows = usize::MAX;
    open.image_base.clone_from(&options.base);
    let rows = JsonlDataset::open(path, &open)?;
    let bad = rows.bad_rows();
    let mut findings = Findings::new(rows.len() + bad.len());
    bad.iter()
        .for_each(|fault| findings.fault("a row cannot be read", fault.to_string()));
    let processor = options
        .model
        .as_deref()
        .map(super::open_processor)
        .transpose()?;
    let reader = Reader {
        mode,
        max_length: options.max_length,
        processor,
        whole,
    };
    let facts: Vec<Facts> = (0..rows.len())
        .into_par_iter()
        .map(|index| reader.read(&rows, index))
        .collect();
    Ok(reader.sum_up(findings, facts))
}

/// How rows are read.
struct Reader {
    mode: RowMode,
    max_length: Option<usize>,
    processor: Option<RowEncoder>,
    /// Scenes only, where false.
    whole: bool,
}

impl Reader {
    fn read(&self, rows: &JsonlDataset, index: usize) -> Facts {
        let mut facts = Facts::default();
        let row = match rows.row(index) {
            Ok(row) => row,
            Err(fault) => {
                facts
                    .faults
                    .push(("a row cannot be read", fault.to_string()));
                return facts;
            }
        };
        let place = row.origin.to_string();
        let pictures = match row.load_images(&ImageOptions::default()) {
            Ok(pictures) => pictures,
            Err(fault) => {
                facts
                    .faults
                    .push(("a picture cannot be read", fault.to_string()));
                return facts;
            }
        };
        let columns = row.columns();
        let pixels = leak::pixels(pictures.iter().map(Arc::as_ref));
        let texts: Vec<_> = row.messages.iter().map(|m| m.content.as_str()).collect();
        facts.scene = Some(Scene {
            place: place.clone(),
            hash: leak::scene_hash(&columns),
            split: leak::split(&columns),
            pixels,
            whole: leak::whole(&texts, pixels),
        });
        if !self.whole {
            return facts;
        }
        facts.task.clone_from(&row.task_type);
        facts.pictures = pictures.len();
        if self.mode == RowMode::Grpo
            && let Err(fault) = Reference::from_row(&columns)
        {
            facts.faults.push((
                "the solution cannot be compared with",
                format!("{place}: {fault}"),
            ));
        }
        self.count_pictures(&place, &pictures, &mut facts);
        if let Some(processor) = &self.processor {
            self.count_tokens(processor, &row, &pictures, &mut facts);
        }
        facts
    }

    fn count_pictures(&self, place: &str, pictures: &[Arc<RgbImage>], facts: &mut Facts) {
        let published = ImageSettings::default();
        let settings = self
            .processor
            .as_ref()
            .map_or(&published, |p| &p.images.settings);
        for picture in pictures {
            let (width, height) = picture.dimensions();
            facts.pixels.push(f64::from(width) * f64::from(height));
            match settings.tokens(height as usize, width as usize) {
                Ok(tokens) => facts.picture_tokens.push(tokens as f64),
                Err(fault) => facts.faults.push((
                    "a picture is of no usable size",
                    format!("{place}: {fault}"),
                )),
            }
        }
    }

    fn count_tokens(
        &self,
        processor: &RowEncoder,
        row: &TrainRow,
        pictures: &[Arc<RgbImage>],
        facts: &mut Facts,
    ) {
        let place = row.origin.to_string();
        let patches = pictures.iter().map(|picture| {
            let (width, height) = (picture.width() as usize, picture.height() as usize);
            let rgb = Rgb::new(&place, width, height, picture.as_raw().clone())?;
            processor.images.process(&place, &rgb).map(Arc::new)
        });
        let messages: Vec<_> = row
            .messages
            .iter()
            .map(|m| Message {
                loss: m.loss,
                ..Message::new(m.role.as_str(), &m.content)
            })
            .collect();
        let videos = match Self::videos(processor, row) {
            Ok(videos) => videos,
            Err(fault) => {
                let text = format!("{place}: {fault:#}");
                facts.faults.push(("a video cannot be read", text));
                return;
            }
        };
        let encoded = patches.collect::<Result<Vec<_>, _>>().and_then(|patches| {
            let media = Media {
                images: &patches,
                videos: &videos,
            };
            match self.mode {
                RowMode::Sft => processor.encode_training(&messages, media, LabelPolicy::Default),
                RowMode::Grpo => processor.encode_prompt(&messages, media),
            }
        });
        match encoded {
            Ok(encoded) => {
                let tokens = encoded.ids.len();
                facts.tokens = Some(tokens);
                facts.learned = (self.mode == RowMode::Sft).then(|| encoded.scored_count());
                if self.max_length.is_some_and(|most| tokens > most) {
                    facts
                        .faults
                        .push(("a row is too long", format!("{place}: {tokens} tokens")));
                }
            }
            Err(fault) => {
                facts
                    .faults
                    .push(("a row cannot be encoded", format!("{place}: {fault}")));
            }
        }
    }

    fn videos(processor: &RowEncoder, row: &TrainRow) -> anyhow::Result<Vec<VideoPatches>> {
        let one = |path: &PathBuf| video::load(path, processor.video_settings()?);
        row.videos.iter().map(one).collect()
    }

    fn sum_up(&self, mut findings: Findings, rows: Vec<Facts>) -> (Findings, Scenes) {
        let mut tasks: BTreeMap<String, usize> = BTreeMap::new();
        let mut spreads: [Vec<f64>; 5] = Default::default();
        let mut scenes = Scenes::default();
        for row in rows {
            *tasks
                .entry(row.task.unwrap_or_else(|| "-".to_owned()))
                .or_default() += 1;
            spreads[0].push(row.pictures as f64);
            spreads[1].extend(row.pixels);
            spreads[2].extend(row.picture_tokens);
            spreads[3].extend(row.tokens.map(|n| n as f64));
            spreads[4].extend(row.learned.map(|n| n as f64));
            scenes.0.extend(row.scene);
            row.faults
                .into_iter()
                .for_each(|(kind, place)| findings.fault(kind, place));
        }
        findings.fact(
            "kind",
            match self.mode {
                RowMode::Sft => "conversations with answers (SFT)",
                RowMode::Grpo => "prompts with solutions (GRPO)",
            },
        );
        let tasks: Vec<_> = tasks
            .iter()
            .map(|(task, count)| format!("{task} {count}"))
            .collect();
        findings.fact("tasks", tasks.join(", "));
        let names = [
            "pictures per row",
            "pixels",
            "tokens per picture",
            "tokens per row",
            "tokens learned",
        ];
        for (name, values) in names.into_iter().zip(spreads) {
            findings.spread(name, values);
        }
        if self.processor.is_none() && self.whole {
            findings.note("tokens of texts were not counted", "give --model DIR");
        }
        (findings, scenes)
    }
}
