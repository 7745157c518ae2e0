//! Videos: written, read back, cut, damaged.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::{Value, json};
use vtb_data::video::{
    ReadOptions, VideoCodec, VideoLimits, VideoReader, VideoSettings, VideoWriter, encode_mp4,
    fit_frames, write_frames, write_mp4,
};
use vtb_puzzle::{Instance, find};

/// Frames of a puzzle that is solved before one's eyes.
fn solving(task: &str, params: Value, count: usize) -> Vec<RgbImage> {
    let puzzle = Instance::generate(find(task).unwrap(), &params, 7).unwrap();
    puzzle.frames(count).unwrap()
}

/// A drawing of any size that tells its number.
fn scene(i: u32, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| match (x + 64 - i % 64) % 64 {
        3..8 => Rgb([200, 20, 30]),
        _ if y % 12 < 2 => Rgb([10, 10, 10]),
        _ => Rgb([255, 255, 255]),
    })
}

fn scenes(count: u32, width: u32, height: u32) -> Vec<RgbImage> {
    (0..count).map(|i| scene(i, width, height)).collect()
}

fn psnr(a: &RgbImage, b: &RgbImage) -> f64 {
    assert_eq!(a.dimensions(), b.dimensions());
    let squares = a.as_raw().iter().zip(b.as_raw());
    let sum: f64 = squares
        .map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2))
        .sum();
    let mean = sum / a.as_raw().len() as f64;
    10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()
}

/// The part of a frame that was there before it was padded.
fn cut(frame: &RgbImage, to: &RgbImage) -> RgbImage {
    image::imageops::crop_imm(frame, 0, 0, to.width(), to.height()).to_image()
}

fn read(bytes: &[u8]) -> Vec<RgbImage> {
    let reader = VideoReader::from_bytes(bytes, ReadOptions::default()).unwrap();
    reader.collect_frames().unwrap()
}

fn error(bytes: &[u8]) -> String {
    match VideoReader::from_bytes(bytes, ReadOptions::default()) {
        Err(e) => e.to_string(),
        Ok(reader) => reader.collect_frames().unwrap_err().to_string(),
    }
}

#[test]
fn drawings_come_back_from_mp4_at_38_db() {
    let mazes = json!({"width": 512, "height": 512});
    for (frames, what) in [
        (solving("maze_square", mazes, 25), "maze"),
        (solving("midpoint", json!({}), 25), "midpoint"),
        (solving("color_grid", json!({}), 9), "grid"),
        (solving("maze_square", json!({}), 25), "small maze"),
        (
            solving("midpoint", json!({"width": 481, "height": 873}), 9),
            "odd",
        ),
    ] {
        let bytes = encode_mp4(&frames, VideoSettings::default()).unwrap();
        let reader = VideoReader::from_bytes(&bytes[..], ReadOptions::default()).unwrap();
        let info = reader.info().clone();
        let even = |n: u32| n.next_multiple_of(2);
        assert_eq!(info.codec, VideoCodec::H264);
        assert_eq!(info.width, even(frames[0].width()));
        assert_eq!(info.height, even(frames[0].height()));
        assert_eq!((info.frame_count, info.fps), (frames.len(), 16.0));
        assert_eq!(info.duration, frames.len() as f64 / 16.0);
        let back = reader.collect_frames().unwrap();
        assert_eq!(back.len(), frames.len());
        for (i, (back, frame)) in back.iter().zip(&frames).enumerate() {
            let found = psnr(&cut(back, frame), frame);
            assert!(found >= 38.0, "{what} frame {i}: {found:.1} dB");
        }
    }
}

#[test]
fn the_same_frames_give_the_same_bytes() {
    let frames = scenes(20, 96, 64);
    let once = encode_mp4(&frames, VideoSettings::at(24.0)).unwrap();
    let threads: Vec<_> = (0..3)
        .map(|_| {
            let frames = frames.clone();
            std::thread::spawn(move || encode_mp4(&frames, VideoSettings::at(24.0)).unwrap())
        })
        .collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), once);
    }
}

#[test]
fn a_red_ring_keeps_its_red() {
    let mut frame = RgbImage::from_pixel(480, 480, Rgb([255; 3]));
    let ring = |x: u32, y: u32| {
        let (x, y) = (f64::from(x) - 240.0, f64::from(y) - 240.0);
        (18.0..21.0).contains(&(x * x + y * y).sqrt())
    };
    for (x, y, pixel) in frame.enumerate_pixels_mut() {
        if ring(x, y) {
            *pixel = Rgb([255, 0, 0]);
        }
    }
    let red = |f: &RgbImage| {
        let is = |p: &&Rgb<u8>| p.0[0] > 200 && p.0[1] < 80 && p.0[2] < 80;
        f.pixels().filter(is).count()
    };
    let back = read(&encode_mp4([&frame; 4], VideoSettings::default()).unwrap());
    let (found, all) = (red(&back[3]), red(&frame));
    assert!(
        found * 10 >= all * 6,
        "{found} of {all} pixels are still red"
    );
}

/// Content of the first box of that name, wherever it nests.
fn find_box<'a>(bytes: &'a [u8], name: &[u8; 4]) -> &'a [u8] {
    let at = bytes.windows(4).position(|w| w == name).unwrap();
    let size = u32::from_be_bytes(bytes[at - 4..at].try_into().unwrap()) as usize;
    &bytes[at + 4..at - 4 + size]
}

#[test]
fn the_file_is_laid_out_as_promised() {
    let bytes = encode_mp4(&scenes(81, 64, 48), VideoSettings::at(15.0)).unwrap();
    let at = |name: &[u8; 4]| bytes.windows(4).position(|w| w == name).unwrap();
    assert!(at(b"moov") < at(b"mdat"));
    // One run of 81 frames with 1000 ticks each on a clock of 15000.
    assert_eq!(
        find_box(&bytes, b"stts")[4..],
        [0, 0, 0, 1, 0, 0, 0, 81, 0, 0, 3, 232]
    );
    assert_eq!(find_box(&bytes, b"mdhd")[12..16], 15_000u32.to_be_bytes());
    assert_eq!(find_box(&bytes, b"mdhd")[16..20], 81_000u32.to_be_bytes());
    let starts = find_box(&bytes, b"stss");
    let starts: Vec<u32> = starts[8..]
        .chunks_exact(4)
        .map(|c| u32::from_be_bytes(c.try_into().unwrap()))
        .collect();
    assert_eq!(starts, [1, 16, 31, 46, 61, 76]);
    // sRGB primaries and transfer, matrix of BT.601, limited range.
    assert_eq!(find_box(&bytes, b"colr"), *b"nclx\0\x01\0\x0d\0\x06\0");
    assert_eq!(find_box(&bytes, b"avcC")[..2], [1, 66]);
}

#[test]
fn small_and_odd_sizes_and_all_rates_are_written() {
    let sizes = [
        (1, 1),
        (2, 2),
        (15, 17),
        (16, 16),
        (17, 33),
        (640, 18),
        (18, 640),
    ];
    for (width, height) in sizes.into_iter().chain([(1920, 1080), (2160, 3840)]) {
        let count = if width > 1000 { 2 } else { 5 };
        let frames = scenes(count as u32, width, height);
        let back = read(&encode_mp4(&frames, VideoSettings::default()).unwrap());
        let grown = |side: u32| side.max(16).next_multiple_of(2);
        assert_eq!(back[0].dimensions(), (grown(width), grown(height)));
        assert_eq!(back.len(), count);
        let (back, frame) = (&back[count - 1], &frames[count - 1]);
        let found = psnr(&cut(back, frame), frame);
        // Most of so few pixels lie at an edge, whose colour 4:2:0 shares out.
        let least = if width.max(height) < 32 { 28.0 } else { 30.0 };
        assert!(found > least, "{width}x{height}: {found}");
    }
    for fps in [0.01, 0.5, 1.0, 23.976, 29.97, 60.0, 120.0, 1000.0] {
        let bytes = encode_mp4(&scenes(3, 32, 32), VideoSettings::at(fps)).unwrap();
        let reader = VideoReader::from_bytes(bytes, ReadOptions::default()).unwrap();
        assert!((reader.info().fps / fps - 1.0).abs() < 1e-9);
    }
}

#[test]
fn exact_counts_survive_the_file() {
    let growing = solving("maze_square", json!({}), 30);
    for n in [81, 49, 25] {
        let clip = fit_frames(&growing, n).unwrap();
        let back = read(&encode_mp4(clip, VideoSettings::default()).unwrap());
        assert_eq!(back.len(), n);
        assert!(psnr(&back[n - 1], &growing[29]) >= 38.0);
    }
}

#[test]
fn what_makes_no_video_is_refused() {
    let refused = |settings| VideoWriter::new(settings).err().unwrap().to_string();
    for fps in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e9, 16.00001] {
        assert!(refused(VideoSettings::at(fps)).contains("fps"), "{fps}");
    }
    let settings = VideoSettings {
        quantizer: 3,
        ..Default::default()
    };
    assert!(refused(settings).contains("12 to 51"));
    let mut writer = VideoWriter::new(VideoSettings::default()).unwrap();
    writer.push(&scene(0, 32, 32)).unwrap();
    let text = writer.push(&scene(1, 34, 32)).unwrap_err().to_string();
    assert!(text.contains("frame 1 is 34x32"), "{text}");
    assert!(writer.push(&scene(1, 32, 32)).is_ok());
    let empty = VideoWriter::new(VideoSettings::default()).unwrap();
    assert!(empty.finish().is_err());
    let mut writer = VideoWriter::new(VideoSettings::default()).unwrap();
    assert!(writer.push(&RgbImage::new(0, 5)).is_err());
    assert!(writer.push(&RgbImage::new(3842, 16)).is_err());
    let dir = tempfile::tempdir().unwrap();
    let text = write_mp4(&dir.path().join("x.mp4"), [], VideoSettings::default());
    assert!(
        text.unwrap_err()
            .to_string()
            .contains("x.mp4: a video needs")
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn frame_folders_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("clip");
    let frames = scenes(12, 31, 17);
    assert_eq!(write_frames(&folder, &frames, 15.0).unwrap(), 12);
    let reader = VideoReader::open(&folder).unwrap();
    let info = reader.info().clone();
    assert_eq!((info.width, info.height, info.frame_count), (31, 17, 12));
    assert_eq!((info.fps, info.duration), (15.0, 0.8));
    assert_eq!(reader.collect_frames().unwrap(), frames);
    let timing: Value =
        serde_json::from_slice(&fs::read(folder.join("timing.json")).unwrap()).unwrap();
    assert_eq!(
        timing,
        json!({"fps": 15.0, "frames": 12, "width": 31, "height": 17})
    );
    let again = write_frames(&folder, &frames, 15.0).unwrap_err();
    assert!(again.to_string().contains("holds frames already"));
    let last = VideoReader::open(&folder).unwrap().last_frame().unwrap();
    assert_eq!(last, frames[11]);
}

#[test]
fn frame_folders_that_do_not_fit_say_why() {
    let dir = tempfile::tempdir().unwrap();
    write_frames(dir.path(), &scenes(4, 20, 20), 10.0).unwrap();
    let timing = dir.path().join("timing.json");
    let frame = |i: u32| dir.path().join(format!("frame_{i:05}.png"));
    let says = |wanted: &str| {
        let text = match VideoReader::open(dir.path()) {
            Err(e) => e.to_string(),
            Ok(reader) => reader.collect_frames().unwrap_err().to_string(),
        };
        assert!(text.contains(wanted), "{text}");
    };
    fs::write(&timing, r#"{"fps": 10, "frames": 5}"#).unwrap();
    says("says 5 frames and there are 4");
    fs::write(&timing, r#"{"fps": 10, "width": 21}"#).unwrap();
    says("disagree");
    fs::write(&timing, r#"{"fps": -1}"#).unwrap();
    says("positive");
    fs::write(&timing, "{").unwrap();
    says("such as {\"fps\": 16}");
    fs::remove_file(&timing).unwrap();
    says("timing.json is missing");
    fs::write(&timing, r#"{"fps": 10}"#).unwrap();
    fs::write(frame(2), b"no picture").unwrap();
    says("frame_00002.png");
    scene(0, 10, 20).save(frame(2)).unwrap();
    says("frame_00002.png is 10x20");
    fs::remove_file(frame(2)).unwrap();
    says("frame 2 is missing");
    fs::remove_file(frame(0)).unwrap();
    fs::rename(frame(1), frame(2)).unwrap();
    says("first frame has number 2");
    // What other programs write starts at 1.
    for (i, name) in [1, 2].iter().zip(["frame_1.png", "frame_2.png"]) {
        scene(*i, 20, 20).save(dir.path().join(name)).unwrap();
    }
    fs::remove_file(frame(2)).unwrap();
    fs::remove_file(frame(3)).unwrap();
    let reader = VideoReader::open(dir.path()).unwrap();
    assert_eq!(
        reader.collect_frames().unwrap(),
        [scene(1, 20, 20), scene(2, 20, 20)]
    );
}

#[test]
fn gif_and_y4m_are_read() {
    let frames = scenes(6, 40, 30);
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new(&mut bytes);
    for frame in &frames {
        let rgba = image::DynamicImage::from(frame.clone()).to_rgba8();
        let delay = image::Delay::from_numer_denom_ms(50, 1);
        encoder
            .encode_frame(image::Frame::from_parts(rgba, 0, 0, delay))
            .unwrap();
    }
    drop(encoder);
    let reader = VideoReader::from_bytes(&bytes[..], ReadOptions::default()).unwrap();
    let info = reader.info().clone();
    assert_eq!((info.codec, info.frame_count), (VideoCodec::Gif, 6));
    assert!((info.fps - 20.0).abs() < 1e-9 && (info.duration - 0.3).abs() < 1e-9);
    assert_eq!(reader.collect_frames().unwrap(), frames);
    assert!(error(&bytes[..bytes.len() / 2]).contains("ends early"));

    let mut y4m = b"YUV4MPEG2 W3 H3 F30000:1001 Ip A0:0 C444 XYSCSS=444\n".to_vec();
    for luma in [16, 235] {
        y4m.extend(b"FRAME\n");
        y4m.extend([luma; 9]);
        y4m.extend([128; 18]);
    }
    let back = read(&y4m);
    assert_eq!(back[0], RgbImage::new(3, 3));
    assert_eq!(back[1], RgbImage::from_pixel(3, 3, Rgb([255; 3])));
    assert!(error(&y4m[..y4m.len() - 1]).contains("ends inside frame 1"));
    let odd = [&b"YUV4MPEG2 W3 H3 F25:1\nFRAME\n"[..], &[16; 9], &[128; 8]].concat();
    assert_eq!(read(&odd), [RgbImage::new(3, 3)]);
    let deep = y4m.windows(4).position(|w| w == b"C444").unwrap();
    y4m.splice(deep..deep + 4, b"C420p10".iter().copied());
    assert!(error(&y4m).contains("samples 420p10"));
}

#[test]
fn sampling_takes_what_is_asked_for() {
    let frames = scenes(30, 64, 48);
    let bytes = encode_mp4(&frames, VideoSettings::default()).unwrap();
    let all = read(&bytes);
    let open = |stride, max_frames| {
        let options = ReadOptions {
            stride,
            max_frames,
            ..Default::default()
        };
        VideoReader::from_bytes(&bytes[..], options).unwrap()
    };
    let every: Vec<_> = open(7, usize::MAX).collect_frames().unwrap();
    let wanted: Vec<_> = all.iter().step_by(7).cloned().collect();
    assert_eq!(every, wanted);
    assert_eq!(open(7, 2).collect_frames().unwrap(), wanted[..2]);
    assert_eq!(open(0, 3).collect_frames().unwrap(), all[..3]);
    assert_eq!(open(1, 0).collect_frames().unwrap(), []);
    assert_eq!(open(5, 1).last_frame().unwrap(), all[29]);
    assert_eq!(open(5, 1).last_frames(4).unwrap(), all[26..]);
    assert_eq!(open(1, 1).last_frames(99).unwrap(), all);
    let mut reader = open(1, usize::MAX);
    for frame in &all {
        assert_eq!(&reader.next().unwrap().unwrap(), frame);
    }
    assert!(reader.next().is_none() && reader.next().is_none());
}

#[test]
fn limits_hold_before_frames_are_decoded() {
    let bytes = encode_mp4(&scenes(10, 64, 48), VideoSettings::default()).unwrap();
    let refused = |limits: VideoLimits| {
        let options = ReadOptions {
            limits,
            ..Default::default()
        };
        let reader = VideoReader::from_bytes(&bytes[..], options);
        reader
            .and_then(|r| r.collect_frames())
            .unwrap_err()
            .to_string()
    };
    let usual = VideoLimits::default;
    let side = VideoLimits {
        max_side: 63,
        ..usual()
    };
    assert!(refused(side).contains("64x48"));
    let pixels = VideoLimits {
        max_pixels: 64 * 48 - 1,
        ..usual()
    };
    assert!(refused(pixels).contains("64x48"));
    let count = VideoLimits {
        max_frames: 9,
        ..usual()
    };
    assert!(refused(count).contains("10 frames"));
    let file = VideoLimits {
        max_file_bytes: 99,
        ..usual()
    };
    assert!(refused(file).contains("99 are allowed"));
    let memory = VideoLimits {
        max_collected_bytes: 64 * 48 * 3 * 9,
        ..usual()
    };
    assert!(refused(memory).contains("10 frames take"));
}

#[test]
fn other_codecs_and_forms_are_named() {
    let bytes = encode_mp4(&scenes(2, 32, 32), VideoSettings::default()).unwrap();
    let at = bytes.windows(4).position(|w| w == b"avc1").unwrap();
    // The first is a brand in the header, the second the sample entry.
    let at = at
        + 4
        + bytes[at + 4..]
            .windows(4)
            .position(|w| w == b"avc1")
            .unwrap();
    for (entry, name) in [
        (b"hvc1", "HEVC"),
        (b"hev1", "HEVC"),
        (b"vp09", "VP9"),
        (b"av01", "AV1"),
        (b"mp4v", "MPEG-4 part 2"),
        (b"zzzz", "unknown codec (zzzz)"),
    ] {
        let mut other = bytes.clone();
        other[at..at + 4].copy_from_slice(entry);
        let text = error(&other);
        assert!(
            text.contains(name) && text.contains("folder of PNG frames"),
            "{text}"
        );
    }
    for (start, name) in [
        (&b"\x1a\x45\xdf\xa3...."[..], "WebM"),
        (b"RIFF....AVI LIST", "AVI"),
        (b"\x89PNG\r\n", "single picture"),
        (b"\0\0\0\x01\x67", "bare H.264"),
        (b"", "empty"),
        (b"hello, world", "no video"),
    ] {
        assert!(error(start).contains(name), "{name}");
    }
    let missing = VideoReader::open(Path::new("no/such/video.mp4")).unwrap_err();
    assert!(
        missing
            .to_string()
            .contains("no/such/video.mp4: cannot be read")
    );
}

#[test]
fn frames_are_turned_as_the_file_says() {
    let bytes = encode_mp4(&scenes(2, 64, 32), VideoSettings::default()).unwrap();
    let upright = read(&bytes);
    // The matrix of the track header, 40 bytes behind the start of its content.
    let at = bytes.windows(4).position(|w| w == b"tkhd").unwrap() + 4 + 40;
    let one = 0x1_0000i32;
    type Turn = fn(&RgbImage) -> RgbImage;
    let turns: [([i32; 4], Turn); 3] = [
        ([0, one, -one, 0], |f| image::imageops::rotate90(f)),
        ([-one, 0, 0, -one], |f| image::imageops::rotate180(f)),
        ([0, -one, one, 0], |f| image::imageops::rotate270(f)),
    ];
    for ([a, b, c, d], turn) in turns {
        let mut turned = bytes.clone();
        for (i, value) in [(0, a), (1, b), (3, c), (4, d)] {
            turned[at + 4 * i..][..4].copy_from_slice(&value.to_be_bytes());
        }
        let reader = VideoReader::from_bytes(&turned[..], ReadOptions::default()).unwrap();
        let size = (reader.info().width, reader.info().height);
        let frames = reader.collect_frames().unwrap();
        assert_eq!(frames[1], turn(&upright[1]));
        assert_eq!(frames[1].dimensions(), size);
    }
}

#[test]
fn every_cut_of_a_file_is_an_error_not_a_panic() {
    let bytes = encode_mp4(&scenes(4, 32, 32), VideoSettings::default()).unwrap();
    for cut in (0..bytes.len()).step_by(7) {
        error(&bytes[..cut]);
    }
    let text = error(&bytes[..bytes.len() - 1]);
    assert!(text.contains("cut short"), "{text}");
}

mod hostile {
    use super::*;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static MP4: LazyLock<Vec<u8>> =
        LazyLock::new(|| encode_mp4(&scenes(9, 48, 32), VideoSettings::at(4.0)).unwrap());

    /// Reads whatever comes, within small limits; must return.
    fn survive(bytes: Vec<u8>) {
        let options = ReadOptions {
            limits: VideoLimits {
                max_side: 512,
                max_pixels: 1 << 18,
                max_frames: 64,
                max_file_bytes: 1 << 20,
                max_collected_bytes: 1 << 26,
            },
            ..Default::default()
        };
        if let Ok(reader) = VideoReader::from_bytes(bytes, options) {
            let (width, height) = (reader.info().width, reader.info().height);
            for frame in reader.flatten() {
                assert_eq!(frame.dimensions(), (width, height));
            }
        }
    }

    fn start() -> impl Strategy<Value = Vec<u8>> {
        let starts: [&[u8]; 6] = [
            b"",
            b"\0\0\0\x08ftyp",
            b"\0\0\0\0moov",
            b"GIF89a\x08\0\x08\0\x80\0\0",
            b"YUV4MPEG2 W8 H8 F25:1\nFRAME\n",
            b"YUV4MPEG2 ",
        ];
        prop::sample::select(starts.to_vec()).prop_map(<[u8]>::to_vec)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]

        #[test]
        fn arbitrary_bytes_are_survived(start in start(), rest in prop::collection::vec(any::<u8>(), 0..600)) {
            survive([start, rest].concat());
        }

        #[test]
        fn changed_files_are_survived(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
            cut in any::<prop::sample::Index>(),
            whole in any::<bool>(),
            near in any::<bool>(),
        ) {
            let mut bytes = MP4.clone();
            // The table of contents is a small part of the file: half of the changes aim at it.
            let range = if near { 900.min(bytes.len()) } else { bytes.len() };
            for (at, value) in changes {
                bytes[at.index(range)] = value;
            }
            if !whole {
                bytes.truncate(cut.index(bytes.len()));
            }
            survive(bytes);
        }
    }
}
