//! Frames of an uncompressed YUV4MPEG2 file.

use std::sync::Arc;

use image::RgbImage;

use super::color::{Colors, View};
use super::reader::Source;
use super::{Found, VideoCodec, VideoInfo, VideoLimits, damaged};
use crate::error::VideoFault;

/// Longest header line.
const MAX_LINE: usize = 1024;

/// Hands out the frames of a Y4M file: 4:2:0, 4:2:2, 4:4:4 or grey, 8 bits, BT.601.
pub(super) struct Y4mSource {
    file: Arc<[u8]>,
    header: Header,
    /// Where the samples of each frame start.
    starts: Vec<usize>,
    out: usize,
}

impl Y4mSource {
    pub(super) fn open(file: Arc<[u8]>, limits: &VideoLimits) -> Found<(Self, VideoInfo)> {
        let (line, mut at) = line(&file, 0)?;
        let header = Header::parse(line)?;
        limits.check_size(header.width as u64, header.height as u64)?;
        let mut starts = Vec::new();
        while at < file.len() {
            let (head, start) = self::line(&file, at)?;
            if !head.starts_with("FRAME") {
                return damaged(format!(
                    "no frame where frame {} should start",
                    starts.len()
                ));
            }
            at = start + header.frame_bytes();
            if at > file.len() {
                let number = starts.len();
                return damaged(format!("it ends inside frame {number}"));
            }
            starts.push(start);
            limits.check_count(starts.len())?;
        }
        if starts.is_empty() {
            return damaged("it has no frames");
        }
        let info = VideoInfo {
            codec: VideoCodec::Y4m,
            width: header.width as u32,
            height: header.height as u32,
            pixel_aspect: header.pixel_aspect,
            fps: header.fps,
            frame_count: starts.len(),
            duration: starts.len() as f64 / header.fps,
        };
        let source = Self {
            file,
            header,
            starts,
            out: 0,
        };
        Ok((source, info))
    }
}

impl Source for Y4mSource {
    fn next(&mut self, want: bool) -> Found<Option<Option<RgbImage>>> {
        let Some(&start) = self.starts.get(self.out) else {
            return Ok(None);
        };
        self.out += 1;
        if !want {
            return Ok(Some(None));
        }
        let bytes = self.file.get(start..start + self.header.frame_bytes());
        match bytes.and_then(|bytes| self.header.frame(bytes)) {
            Some(frame) => Ok(Some(Some(frame))),
            None => damaged("a frame lies outside the file"),
        }
    }
}

/// The text up to the next newline, and where the next byte is.
fn line(file: &[u8], at: usize) -> Found<(&str, usize)> {
    let rest = file.get(at..).unwrap_or_default();
    let head = &rest[..rest.len().min(MAX_LINE)];
    let end = head.iter().position(|&b| b == b'\n');
    match end.and_then(|end| Some((std::str::from_utf8(&head[..end]).ok()?, at + end + 1))) {
        Some(found) => Ok(found),
        None => damaged("a header line of the Y4M file does not end"),
    }
}

/// How the samples of a frame lie.
#[derive(Clone, Copy, PartialEq)]
enum Chroma {
    Grey,
    /// Log2 of the pixels per sample, across and down.
    Halved(u32, u32),
}

struct Header {
    width: usize,
    height: usize,
    fps: f64,
    pixel_aspect: (u32, u32),
    chroma: Chroma,
    colors: Colors,
}

impl Header {
    fn parse(line: &str) -> Found<Self> {
        let mut header = Self {
            width: 0,
            height: 0,
            fps: 0.0,
            pixel_aspect: (1, 1),
            chroma: Chroma::Halved(1, 1),
            colors: Colors::USUAL,
        };
        for field in line.split(' ').skip(1).filter(|f| !f.is_empty()) {
            let (key, value) = field.split_at(field.chars().next().map_or(0, char::len_utf8));
            header.set(key, value)?;
        }
        // The sides are below 2^16, so that nothing here overflows.
        match header.fps > 0.0 {
            true => Ok(header),
            false => damaged("the Y4M header gives no frame rate (F)"),
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Found<()> {
        let wrong = || VideoFault::Damaged(format!("the Y4M header says {key}{value}"));
        let side = || value.parse::<u16>().map_err(|_| wrong());
        let ratio = || {
            let (a, b) = value.split_once(':')?;
            Some((a.parse::<u32>().ok()?, b.parse::<u32>().ok()?)).filter(|r| r.0 > 0 && r.1 > 0)
        };
        match key {
            "W" => self.width = usize::from(side()?),
            "H" => self.height = usize::from(side()?),
            "F" => {
                let (a, b) = ratio().ok_or_else(wrong)?;
                self.fps = f64::from(a) / f64::from(b);
            }
            // 0:0 is how "unknown" is written.
            "A" => self.pixel_aspect = ratio().unwrap_or((1, 1)),
            "I" if !matches!(value, "p" | "?") => {
                let found = "interlaced Y4M".into();
                return Err(VideoFault::Codec { found });
            }
            "C" => self.chroma = chroma(value)?,
            "X" if value == "COLORRANGE=FULL" => self.colors = Colors::USUAL.with_range(true),
            _ => {}
        }
        Ok(())
    }

    fn chroma_size(&self) -> (usize, usize) {
        match self.chroma {
            Chroma::Grey => (0, 0),
            Chroma::Halved(x, y) => (self.width.div_ceil(1 << x), self.height.div_ceil(1 << y)),
        }
    }

    fn frame_bytes(&self) -> usize {
        let (width, height) = self.chroma_size();
        self.width * self.height + 2 * width * height
    }

    fn frame(&self, bytes: &[u8]) -> Option<RgbImage> {
        let (y, rest) = bytes.split_at_checked(self.width * self.height)?;
        let (width, height) = self.chroma_size();
        let grey = vec![128; self.width.div_ceil(2)];
        let (u, v, stride, halved) = match self.chroma {
            // One row of no colour serves all.
            Chroma::Grey => (&grey[..], &grey[..], 0, (1, 1)),
            Chroma::Halved(x, y) => {
                let (u, v) = rest.split_at_checked(width * height)?;
                (u, v, width, (x, y))
            }
        };
        let view = View {
            width: self.width,
            height: self.height,
            y,
            u,
            v,
            strides: (self.width, stride),
            halved,
        };
        view.to_rgb(self.colors)
    }
}

fn chroma(name: &str) -> Found<Chroma> {
    match name {
        "420" | "420jpeg" | "420mpeg2" | "420paldv" => Ok(Chroma::Halved(1, 1)),
        "422" => Ok(Chroma::Halved(1, 0)),
        "444" => Ok(Chroma::Halved(0, 0)),
        "mono" => Ok(Chroma::Grey),
        _ => Err(VideoFault::Codec {
            found: format!("Y4M with samples {}", name.escape_debug()),
        }),
    }
}
