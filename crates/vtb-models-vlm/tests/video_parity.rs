//! Videos against what the processor of `transformers` makes of them (`tests/parity` holds the script).

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic")]

use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use vtb_models_vlm::chat::Message;
use vtb_models_vlm::config::Qwen3VlConfig;
use vtb_models_vlm::encode::{LabelPolicy, Media, Overflow, RowEncoder};
use vtb_models_vlm::files::{self, ModelDir};
use vtb_models_vlm::positions::positions;
use vtb_models_vlm::processor::{Rgb, VideoForm, VideoPatches, VideoSettings, smart_resize_video};
use vtb_models_vlm::tiny::TinySpec;
use vtb_models_vlm::tokenizer::Tokenizer;
use vtb_nn::checkpoint::Checkpoint;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/qwen3_vl_video")
}

fn cases() -> Value {
    let text = std::fs::read_to_string(fixtures().join("cases.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn number(value: &Value) -> usize {
    usize::try_from(value.as_u64().unwrap()).unwrap()
}

fn numbers<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

/// The stripes of the script.
fn frame(t: usize, height: usize, width: usize) -> Rgb {
    let value = |y: usize, x: usize, c: usize| {
        ((x / 5 * 37 + y / 7 * 61 + t * 29 + c * 83) * 11 % 256) as u8
    };
    let pixels = (0..height * width * 3)
        .map(|i| value(i / 3 / width, i / 3 % width, i % 3))
        .collect();
    Rgb::new("frame", width, height, pixels).unwrap()
}

/// A clip of the fixtures under given bounds.
fn process(clip: &Value, settings: &VideoSettings) -> (Vec<usize>, VideoPatches) {
    let (height, width) = (number(&clip["height"]), number(&clip["width"]));
    let fps = clip["fps"].as_f64().unwrap();
    let mut video = settings
        .start("clip", (height, width), number(&clip["frames"]), fps)
        .unwrap();
    let mut taken = Vec::new();
    while let Some(index) = video.wanted() {
        taken.push(index);
        video.push(&frame(index, height, width)).unwrap();
    }
    (taken, video.finish().unwrap())
}

fn settings(clip: &Value) -> VideoSettings {
    let mut settings = VideoSettings::default();
    settings.frames.min_pixels = number(&clip["min_pixels"]);
    settings.frames.max_pixels = number(&clip["max_pixels"]);
    settings
}

#[test]
fn sizes_equal_the_reference() {
    /// Frames, height, width, fewest and most pixels, and what becomes of them.
    type Case = (usize, usize, usize, usize, usize, Option<(usize, usize)>);
    let table: Vec<Case> = numbers(&cases()["sizes"]);
    assert!(table.len() > 100);
    for (frames, height, width, low, high, theirs) in table {
        let ours = smart_resize_video(frames, (height, width), 2, 32, (low, high)).ok();
        assert_eq!(
            ours, theirs,
            "{frames} frames {height}x{width} in {low}..{high}"
        );
    }
}

#[test]
fn frames_patches_and_moments_equal_the_reference() {
    let cases = cases();
    let theirs = Checkpoint::open(fixtures().join("patches.safetensors")).unwrap();
    let stride = number(&cases["stride"]);
    for (name, clip) in cases["clips"].as_object().unwrap() {
        let (indices, video) = process(clip, &settings(clip));
        assert_eq!(indices, numbers::<Vec<usize>>(&clip["indices"]), "{name}");
        assert_eq!(
            video.patches.grid.to_vec(),
            numbers::<Vec<usize>>(&clip["grid_thw"])
        );
        let moments: Vec<f64> = numbers(&clip["timestamps"]);
        assert_eq!(video.timestamps, moments, "{name}");
        let expected: Vec<f32> = theirs.data(name).unwrap().iter::<f32>().collect();
        let ours: Vec<f32> = video
            .patches
            .values
            .iter()
            .copied()
            .step_by(stride)
            .collect();
        assert_eq!(ours.len(), expected.len());
        // torchvision resizes within a grey level of Pillow, whose arithmetic is ours.
        let resized = ["shrunk", "grown"].contains(&name.as_str());
        let allowed = if resized { 1.0 / 127.5 + 1e-6 } else { 1e-6 };
        let pairs = || ours.iter().zip(&expected);
        let worst = pairs().map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst <= allowed, "{name}: off by {worst}");
        let differing = pairs().filter(|(a, b)| (*a - *b).abs() > 1e-6).count();
        assert!(
            differing * 20 <= ours.len(),
            "{name}: {differing} of {} differ",
            ours.len()
        );
    }
    // Where nothing is resized, and levels are scaled as the reference does, every bit is the same.
    let clip = &cases["clips"]["whole"];
    let (_, video) = process(clip, &settings(clip));
    let level = |v: f32| ((v * 0.5 + 0.5) * 255.0).round();
    let theirs = |v: f32| (level(v) - 127.5) / 127.5;
    let bytes: Vec<u8> = video
        .patches
        .values
        .iter()
        .flat_map(|v| theirs(*v).to_le_bytes())
        .collect();
    let digest: String = Sha256::digest(&bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    assert_eq!(digest, clip["sha256"].as_str().unwrap());
}

/// A tiny directory with the tokenizer of the fixtures, which knows bytes and special tokens alone.
fn encoder() -> (TempDir, RowEncoder, Qwen3VlConfig) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = TinySpec::default()
        .write_files(dir.path(), &["Which colour?".to_owned()], 512)
        .unwrap();
    std::fs::copy(
        fixtures().join("tokenizer.json"),
        dir.path().join(files::TOKENIZER),
    )
    .unwrap();
    let model = ModelDir::open(dir.path()).unwrap();
    let tokenizer = Tokenizer::from_dir(&model).unwrap();
    let id = |token: &str| tokenizer.token_id(token).unwrap();
    config.ids.image = id("<|image_pad|>");
    config.ids.video = id("<|video_pad|>");
    config.ids.vision_start = id("<|vision_start|>");
    config.ids.vision_end = id("<|vision_end|>");
    config.write(dir.path()).unwrap();
    let encoder = RowEncoder::from_dir(&model, &config).unwrap();
    (dir, encoder, config)
}

#[test]
fn prompts_equal_the_reference_in_both_forms() {
    let (_dir, mut encoder, config) = encoder();
    let cases = cases();
    for case in cases["prompts"].as_array().unwrap() {
        let clips = case["clips"].as_array().unwrap();
        let videos: Vec<VideoPatches> = clips
            .iter()
            .map(|name| {
                let clip = &cases["clips"][name.as_str().unwrap()];
                process(clip, &VideoSettings::default()).1
            })
            .collect();
        let grids: Vec<[usize; 3]> = videos.iter().map(|v| v.patches.grid).collect();
        assert_eq!(grids, numbers::<Vec<[usize; 3]>>(&case["grids"]));
        let message =
            Message::from_json(&serde_json::json!({"role": "user", "content": case["parts"]}));
        let messages = [message.unwrap()];
        let media = Media {
            images: &[],
            videos: &videos,
        };
        for (form, key) in [(VideoForm::Groups, "groups"), (VideoForm::Nested, "nested")] {
            encoder.options.video_form = form;
            let row = encoder.encode_prompt(&messages, media).unwrap();
            assert_eq!(row.ids, numbers::<Vec<u32>>(&case[key]), "{key}");
            assert_eq!(row.images.len(), videos.len());
            positions(&row.ids, &grids, &config.ids, 2).unwrap();
        }
    }
}

#[test]
fn cutting_keeps_videos_with_their_moments() {
    let (_dir, mut encoder, config) = encoder();
    let clip = &cases()["clips"]["whole"];
    let videos = [process(clip, &VideoSettings::default()).1];
    let media = Media {
        images: &[],
        videos: &videos,
    };
    let messages = [
        Message::user("Some words before, <video> and a question after?"),
        Message::assistant("A."),
    ];
    for form in [VideoForm::Groups, VideoForm::Nested] {
        encoder.options.video_form = form;
        encoder.options.max_length = None;
        let full = encoder
            .encode_training(&messages, media, LabelPolicy::Default)
            .unwrap();
        for overflow in [Overflow::Left, Overflow::Right] {
            encoder.options.overflow = overflow;
            encoder.options.max_length = Some(full.ids.len() - 30);
            let cut = encoder
                .encode_training(&messages, media, LabelPolicy::All)
                .unwrap();
            let text = encoder.tokenizer.decode(&cut.ids, false).unwrap();
            for moment in [
                "<0.2 seconds><|vision_start|>",
                "<1.4 seconds>",
                "<2.5 seconds>",
            ] {
                assert!(text.contains(moment), "{form:?} {overflow:?}: {text}");
            }
            positions(&cut.ids, &[videos[0].patches.grid], &config.ids, 2).unwrap();
        }
    }
}

#[test]
fn videos_and_tags_that_do_not_fit_are_named() {
    let (dir, encoder, config) = encoder();
    let clip = &cases()["clips"]["odd"];
    let videos = [process(clip, &VideoSettings::default()).1];
    let fails = |text: &str, videos: &[VideoPatches]| {
        let media = Media {
            images: &[],
            videos,
        };
        encoder
            .encode_prompt(&[Message::user(text)], media)
            .unwrap_err()
            .to_string()
    };
    assert!(fails("<video><video>", &videos).contains("mark 2 videos"));
    let stray = "<|vision_start|><|video_pad|><|vision_end|>";
    assert!(fails(stray, &[]).contains("more video placeholders"));
    // The stray placeholder takes the video, and the row's own is left without one.
    assert!(fails(stray, &videos).contains("more video placeholders"));
    std::fs::remove_file(dir.path().join(files::VIDEO_PREPROCESSOR_CONFIG)).unwrap();
    let model = ModelDir::open(dir.path()).unwrap();
    let bare = RowEncoder::from_dir(&model, &config).unwrap();
    let text = bare.video_settings().unwrap_err().to_string();
    assert!(text.contains("video_preprocessor_config.json"), "{text}");
}
