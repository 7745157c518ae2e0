//! A sample as a row of every column.

use std::sync::Arc;

use serde_json::Value;

use super::super::Common;
use super::super::out::extension;
use super::super::question::{Shown, try_ask};
use super::super::sample::{Picture, Sample};
use super::schema::{PICTURES, TEXTS};
use crate::error::Result;
use crate::message::IMAGE_TAG;

/// A picture: name and content.
type Stored = (String, Arc<[u8]>);

/// A row that is ready to be written.
#[derive(Debug)]
pub struct ParquetRow {
    pub(super) split: String,
    pub(super) texts: [Option<String>; TEXTS.len()],
    pub(super) options_listed: Option<bool>,
    pub(super) options: Option<Vec<String>>,
    pub(super) messages: Option<Vec<(&'static str, String)>>,
    pub(super) images: Vec<Stored>,
    pub(super) pictures: [Option<Stored>; PICTURES.len()],
}

impl ParquetRow {
    /// About the bytes it takes in the file.
    pub(super) fn bytes(&self) -> u64 {
        let texts = self.texts.iter().flatten().map(String::len);
        let messages = self.messages.iter().flatten().map(|(_, text)| text.len());
        let pictures = self.images.iter().chain(self.pictures.iter().flatten());
        let pictures = pictures.map(|(_, bytes)| bytes.len());
        texts.chain(messages).chain(pictures).sum::<usize>() as u64
    }

    /// Everything that is known of a sample.
    pub(super) fn of(sample: &Sample, common: &Common) -> Result<Self> {
        let question = try_ask(sample)?;
        let shown = Shown::of(sample, question.as_ref());
        let store = |field: &str, end: &str, picture: &Option<Picture>| -> Result<Option<Stored>> {
            let Some(picture) = picture else {
                return Ok(None);
            };
            let bytes = picture.bytes(&common.limits);
            let bytes = bytes.map_err(|fault| sample.invalid(field, fault.to_string()))?;
            let (task, id, kind) = (&sample.task, &sample.id, extension(&bytes));
            Ok(Some((format!("{task}_{id}{end}.{kind}"), bytes)))
        };
        let columns = question.as_ref().map(|question| question.columns());
        let column = |name: &str| columns.as_ref()?.get(name).cloned();
        let json = |name: &str| column(name).map(|value| value.to_string());
        let hash = column("scene_hash").and_then(|hash| hash.as_str().map(str::to_owned));
        let names = column("options").map(serde_json::from_value::<Vec<String>>);
        let record = sample.record.as_deref().map(serde_json::to_string);
        let record = record.transpose();
        let record = record.map_err(|e| sample.invalid("record", e.to_string()))?;
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let prompts = &sample.prompts;
        // Foreign prompts as they are: what is said about the form of the answer is in `messages`.
        let own = question.as_ref().filter(|_| sample.record.is_some());
        let texts = [
            some(&sample.id),
            some(&sample.task),
            some(&sample.group),
            sample.split.clone(),
            own.map_or_else(|| some(&prompts.text), |own| Some(own.text.clone())),
            some(&prompts.image),
            some(&prompts.video),
            question.as_ref().map(|question| question.solution()),
            json("maze"),
            json("path_rules"),
            hash,
            record,
        ];
        let images = store("image", "", &shown.question)?;
        let messages = question.as_ref().map(|question| {
            let tags = IMAGE_TAG.repeat(usize::from(images.is_some()));
            let asked = format!("{tags}{}", question.text);
            vec![("user", asked), ("assistant", question.gold())]
        });
        Ok(Self {
            split: sample.split.clone().unwrap_or_else(|| "train".to_owned()),
            texts,
            options_listed: column("options_listed").as_ref().and_then(Value::as_bool),
            options: names.and_then(std::result::Result::ok),
            messages,
            images: images.into_iter().collect(),
            pictures: [
                store("image", "_puzzle", &shown.puzzle)?,
                store("solution_image_path", "_solution", &sample.solution)?,
            ],
        })
    }
}
