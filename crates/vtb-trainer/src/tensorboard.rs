//! TensorBoard event files: scalars, text and images.
//!
//! An event file is a sequence of records, each a length, a masked CRC-32C of it, a protobuf `Event`, and a masked
//! CRC-32C of that (the framing of TFRecord files). The few messages needed are encoded by hand; field numbers are
//! those of TensorFlow's `event.proto`, `summary.proto` and `tensor.proto`.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::TrainError;
use crate::run_dir::Metrics;

/// Writes one event file.
#[derive(Debug)]
pub struct EventWriter {
    path: PathBuf,
    file: File,
}

impl EventWriter {
    /// Starts a new event file in `dir`. With `resume_step`, TensorBoard is told to forget what earlier files in `dir`
    /// say of later steps.
    pub fn create(dir: &Path, resume_step: Option<u64>) -> Result<Self, TrainError> {
        TrainError::at(dir, fs::create_dir_all(dir))?;
        let now = unix_seconds();
        let pid = std::process::id();
        // Readers look for `tfevents` and sort by name, so the time comes first; a second file within a second counts on.
        let name = |n: u32| format!("events.out.tfevents.{:010}.vtb.{pid}.{n}", now as u64);
        let mut n = 0;
        let (path, file) = loop {
            let path = dir.join(name(n));
            match File::create_new(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => n += 1,
                other => break (path.clone(), TrainError::at(&path, other)?),
            }
        };
        let mut writer = Self { path, file };
        writer.event(&version_event(now))?;
        if let Some(step) = resume_step {
            // The first step that is written anew.
            writer.event(&restart_event(now, step + 1))?;
        }
        Ok(writer)
    }

    /// Where the events go.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all finite values of a step as scalars under their own names, in one event.
    pub fn metrics(&mut self, metrics: &Metrics) -> Result<(), TrainError> {
        let values: Vec<Vec<u8>> = metrics
            .values
            .iter()
            .filter(|(_, value)| value.is_finite())
            .map(|(name, value)| scalar_value(name, *value as f32))
            .collect();
        if values.is_empty() {
            return Ok(());
        }
        self.event(&summary_event(unix_seconds(), metrics.step, &values))
    }

    /// Writes one number under exactly this tag.
    pub fn scalar(&mut self, tag: &str, step: u64, value: f32) -> Result<(), TrainError> {
        self.event(&summary_event(
            unix_seconds(),
            step,
            &[scalar_value(tag, value)],
        ))
    }

    /// Writes text, shown as Markdown.
    pub fn text(&mut self, tag: &str, step: u64, text: &str) -> Result<(), TrainError> {
        self.event(&summary_event(
            unix_seconds(),
            step,
            &[text_value(tag, text)],
        ))
    }

    /// Writes an encoded picture (PNG or JPEG) of this size.
    pub fn image(
        &mut self,
        tag: &str,
        step: u64,
        size: [u32; 2],
        encoded: &[u8],
    ) -> Result<(), TrainError> {
        self.event(&summary_event(
            unix_seconds(),
            step,
            &[image_value(tag, size, encoded)],
        ))
    }

    fn event(&mut self, event: &[u8]) -> Result<(), TrainError> {
        TrainError::at(&self.path, self.file.write_all(&record(event)))
    }
}

fn unix_seconds() -> f64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
    elapsed.map_or(0.0, |d| d.as_secs_f64())
}

/// Frames a record.
fn record(data: &[u8]) -> Vec<u8> {
    let len = (data.len() as u64).to_le_bytes();
    let mut out = Vec::with_capacity(data.len() + 16);
    out.extend(len);
    out.extend(masked_crc(&len).to_le_bytes());
    out.extend(data);
    out.extend(masked_crc(data).to_le_bytes());
    out
}

/// The mask keeps a checksum of data that holds checksums from being degenerate.
fn masked_crc(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// `Event { wall_time = 1, file_version = 3 }`.
fn version_event(time: f64) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, time).bytes(3, b"brain.Event:2");
    event.0
}

/// `Event { wall_time = 1, step = 2, session_log = 7 { status = 1: START } }`.
fn restart_event(time: f64, step: u64) -> Vec<u8> {
    let mut log = Message::default();
    log.varint_field(1, 1);
    let mut event = Message::default();
    event.double(1, time).varint_field(2, step).bytes(7, &log.0);
    event.0
}

/// `Event { wall_time = 1, step = 2, summary = 5 { repeated value = 1 } }`.
fn summary_event(time: f64, step: u64, values: &[Vec<u8>]) -> Vec<u8> {
    let mut summary = Message::default();
    for value in values {
        summary.bytes(1, value);
    }
    let mut event = Message::default();
    event
        .double(1, time)
        .varint_field(2, step)
        .bytes(5, &summary.0);
    event.0
}

/// `Value { tag = 1, simple_value = 2 }`.
fn scalar_value(tag: &str, number: f32) -> Vec<u8> {
    let mut value = Message::default();
    value.bytes(1, tag.as_bytes()).float(2, number);
    value.0
}

/// `Value { tag = 1, image = 4 { height = 1, width = 2, colorspace = 3, encoded = 4 } }`.
fn image_value(tag: &str, [width, height]: [u32; 2], encoded: &[u8]) -> Vec<u8> {
    const RGB: u64 = 3;
    let mut image = Message::default();
    image
        .varint_field(1, height.into())
        .varint_field(2, width.into())
        .varint_field(3, RGB)
        .bytes(4, encoded);
    let mut value = Message::default();
    value.bytes(1, tag.as_bytes()).bytes(4, &image.0);
    value.0
}

/// `Value { tag = 1, tensor = 8 { dtype = 1, shape = 2 { dim = 2 { size = 1 } }, string_val = 8 },
/// metadata = 9 { plugin_data = 1 { plugin_name = 1 } } }`.
fn text_value(tag: &str, text: &str) -> Vec<u8> {
    const DT_STRING: u64 = 7;
    let mut dim = Message::default();
    dim.varint_field(1, 1);
    let mut shape = Message::default();
    shape.bytes(2, &dim.0);
    let mut tensor = Message::default();
    tensor
        .varint_field(1, DT_STRING)
        .bytes(2, &shape.0)
        .bytes(8, text.as_bytes());
    let mut plugin = Message::default();
    plugin.bytes(1, b"text");
    let mut metadata = Message::default();
    metadata.bytes(1, &plugin.0);
    let mut value = Message::default();
    value
        .bytes(1, tag.as_bytes())
        .bytes(8, &tensor.0)
        .bytes(9, &metadata.0);
    value.0
}

/// A protobuf message being written, field by field.
#[derive(Debug, Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut x: u64) {
        while x >= 0x80 {
            self.0.push(x as u8 | 0x80);
            x >>= 7;
        }
        self.0.push(x as u8);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn varint_field(&mut self, field: u64, x: u64) -> &mut Self {
        self.key(field, 0);
        self.varint(x);
        self
    }

    fn double(&mut self, field: u64, x: f64) -> &mut Self {
        self.key(field, 1);
        self.0.extend(x.to_le_bytes());
        self
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) -> &mut Self {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }

    fn float(&mut self, field: u64, x: f32) -> &mut Self {
        self.key(field, 5);
        self.0.extend(x.to_le_bytes());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canonical::hex;

    // Golden bytes: serialised by TensorBoard's own protobuf classes and framed by its record writer.
    const TIME_STAMP: f64 = 1_700_000_000.5;

    #[test]
    fn the_version_is_encoded_as_tensorboard_does() {
        let golden =
            "1800000000000000a37f4b220900002040fc54d9411a0d627261696e2e4576656e743a322b353110";
        assert_eq!(hex(&record(&version_event(TIME_STAMP))), golden);
    }

    #[test]
    fn a_restart_is_encoded_as_tensorboard_does() {
        let golden = "0f000000000000006d532b090900002040fc54d94110063a020801b95b5f7e";
        assert_eq!(hex(&record(&restart_event(TIME_STAMP, 6))), golden);
    }

    #[test]
    fn scalars_are_encoded_as_tensorboard_does() {
        let golden = concat!(
            "300000000000000095f5d05f0900002040fc54d94110ac022a220a110a0a747261696e2f6c6f7373",
            "150000803e0a0d0a06726577617264150000c0bfe1971c01",
        );
        assert_eq!(
            hex(&record(&summary_event(
                TIME_STAMP,
                300,
                &[
                    scalar_value("train/loss", 0.25),
                    scalar_value("reward", -1.5)
                ]
            ))),
            golden
        );
    }

    #[test]
    fn text_is_encoded_as_tensorboard_does() {
        let golden = concat!(
            "3800000000000000a3797d570900002040fc54d94110022a2b0a290a0b636f6d706c6574696f6e73",
            "42100807120412020801420668c3a96c6c6f4a080a060a0474657874316a82cf",
        );
        assert_eq!(
            hex(&record(&summary_event(
                TIME_STAMP,
                2,
                &[text_value("completions", "héllo")]
            ))),
            golden
        );
    }

    #[test]
    fn an_image_is_encoded_as_tensorboard_does() {
        let golden = concat!(
            "2300000000000000b09f77430900002040fc54d94110022a160a140a03696d67220d080210c80118",
            "03220489504e478d2189a6",
        );
        assert_eq!(
            hex(&record(&summary_event(
                TIME_STAMP,
                2,
                &[image_value("img", [200, 2], b"\x89PNG")]
            ))),
            golden
        );
    }

    #[test]
    fn a_file_starts_with_its_version_and_holds_every_event() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = EventWriter::create(dir.path(), None).unwrap();
        let second = EventWriter::create(dir.path(), Some(4)).unwrap();
        assert_ne!(first.path(), second.path());
        let start = fs::read(first.path()).unwrap();
        assert!(start.windows(13).any(|w| w == b"brain.Event:2"));
        let mut metrics = Metrics::new(5);
        metrics.set("loss", 0.5);
        metrics.set("rewards/path/mean", 0.25);
        metrics.set("not_a_number", f64::NAN);
        metrics.set_time("step", 1.0);
        first.metrics(&metrics).unwrap();
        let bytes = fs::read(first.path()).unwrap();
        let event = &bytes[start.len()..];
        let holds = |tag: &str| event.windows(tag.len()).any(|w| w == tag.as_bytes());
        assert!(holds("loss") && holds("rewards/path/mean") && holds("time/step"));
        assert!(!holds("not_a_number"));
    }
}
