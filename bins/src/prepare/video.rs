//! `prepare-data video`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use vtb_data::generate::ClipSize;
use vtb_data::prepare::{PathMode, VideoExport, VideoShape};
use vtb_data::video::SizeFit;

use super::options::{Data, Paths, folder_of, usage};
use super::report::export;
use crate::ending::Usage;

/// Clips and prompts for video models.
///
/// With --frames, --size or --fps clips are made anew in `clips` beside the file: drawn from the record where it is
/// ours, decoded and fitted where it is not.
#[derive(Debug, Args)]
pub(super) struct Video {
    #[command(flatten)]
    data: Data,
    /// The file
    #[arg(
        long,
        alias = "output_path",
        value_name = "FILE",
        default_value = "data/video/train_video.csv"
    )]
    output_path: PathBuf,
    /// Frames of every clip: 4k+1
    #[arg(long, value_name = "N")]
    frames: Option<usize>,
    /// Size of the frames: multiples of 32
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(u32, u32)>,
    /// What is done with frames of another size
    #[arg(long, value_enum, default_value_t = Fit::Pad, requires = "size")]
    fit: Fit,
    /// Frames per second [default: as in the data set]
    #[arg(long, value_name = "X")]
    fps: Option<f64>,
    /// Take numbers of frames and sizes that video models refuse
    #[arg(long, alias = "any_shape")]
    any_shape: bool,
    #[command(flatten)]
    paths: Paths,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Fit {
    /// Shrink to fit, repeat the edge
    Pad,
    /// Fill, cut what sticks out
    Crop,
    /// Stretch
    Resample,
}

impl Video {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let folder = folder_of(&self.output_path)?;
        let fit = match self.fit {
            Fit::Pad => SizeFit::Pad,
            Fit::Crop => SizeFit::Crop,
            Fit::Resample => SizeFit::Resample,
        };
        let shape = VideoShape {
            frames: self.frames,
            fps: self.fps,
            size: self
                .size
                .map(|(width, height)| ClipSize { width, height, fit }),
        };
        if !self.any_shape {
            let hint = "--any-shape takes it as it is";
            let checked = shape.check();
            checked.map_err(|fault| Usage(format!("{fault} ({hint})")))?;
        }
        let (source, settings) = self.data.open()?;
        let dry = self.data.dry_run;
        let common = self
            .paths
            .common(&source, &folder, PathMode::Relative, dry)?;
        let exporter = VideoExport::new(common, &self.output_path, shape).map_err(usage)?;
        export(&source, &settings, exporter)
    }
}

fn size(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once(['x', 'X']);
    let sides = sides.and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides.ok_or_else(|| "write it as WIDTHxHEIGHT, such as 480x896".to_owned())
}
