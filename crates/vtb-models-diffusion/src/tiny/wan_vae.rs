//! An autoencoder for clips that works untrained: its weights are written down, not learnt.
//!
//! Frames are seen at half their size, each as [`super::vae`] sees a picture, and a latent frame holds two of them: the last
//! of its four and the one two before it. The decoder shows each of them twice.
//!
//! Stages have shortcuts that carry no weights. The encoder keeps out of the channels they write to; the decoder takes away
//! what they add where the same numbers reach its convolutions, and keeps out of their way elsewhere.

use std::path::Path;

use super::upsampling::chain;
use super::weights::{
    COLOURS, CONSTANT, DEVIATIONS, ENDS, LATENT, LOG_VARIANCE, MEAN, MEANS, OPPONENT, QUADRANTS,
    Weights, Z, alternating, outer, place, triples, undoing,
};
use crate::wan::vae::{VaeConfig, tensors};
use crate::{DiffusionError, files};

/// Channels of a latent: two frames.
pub(super) const CHANNELS: usize = 2 * Z;
/// Pixels of a patch.
const CELLS: usize = 4;
/// Channels of the encoder at full size.
const BASE: usize = 24;
/// Channels of the decoder at full size.
const DECODER_BASE: usize = 32;

/// Sizes of the autoencoder.
pub(super) fn config() -> VaeConfig {
    VaeConfig {
        base_dim: BASE,
        decoder_base_dim: Some(DECODER_BASE),
        z_dim: CHANNELS,
        num_res_blocks: 2,
        latents_mean: vec![0.0; CHANNELS],
        latents_std: vec![1.0; CHANNELS],
        ..VaeConfig::published()
    }
}

/// Writes a `vae` folder.
pub(super) fn write(dir: &Path) -> Result<(), DiffusionError> {
    let config = config();
    let mut weights = Weights::of(tensors(&config)?);
    encoder(&mut weights);
    decoder(&mut weights);
    // Latents of mean 0 and deviation 1, and back.
    for k in 0..CHANNELS {
        let (mean, deviation) = (MEANS[k % Z] as f32, DEVIATIONS[k % Z] as f32);
        weights.tap("quant_conv", [k, k], [0, 0], 1.0 / deviation);
        weights.bias("quant_conv", k, -mean / deviation);
        weights.tap("quant_conv", [CHANNELS + k, CHANNELS + k], [0, 0], 1.0);
        weights.tap("post_quant_conv", [k, k], [0, 0], deviation);
        weights.bias("post_quant_conv", k, mean);
    }
    config.write(dir.join(files::CONFIG))?;
    weights.save(dir, "the tiny autoencoder of clips")
}

fn encoder(w: &mut Weights) {
    for (colour, row) in OPPONENT.iter().enumerate() {
        for (i, value) in row.iter().enumerate() {
            for cell in 0..CELLS {
                let input = i * CELLS + cell;
                w.tap("encoder.conv_in", [colour, input], [1, 1], value / 4.0);
            }
        }
    }
    // What is missing to white, whose brightness is 1.
    w.bias("encoder.conv_in", 0, -1.0);

    // 4 pixels a value: means, which the shortcut makes.

    // 8 pixels a value: means, and of brightness the differences of the pairs along either axis. The shortcut writes the
    // means of either frame behind three channels into six.
    const FIRST: usize = 2 * 3;
    let stage = "encoder.down_blocks.1";
    w.copy(&format!("{stage}.resnets.0.conv_shortcut"), BASE);
    let quarters = [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [2, 0, 0]];
    for (out, [colour, along_y, along_x]) in quarters.into_iter().enumerate() {
        for (y, x) in QUADRANTS {
            let sign = alternating(along_y, y) * alternating(along_x, x);
            let conv = format!("{stage}.downsampler.resample.1");
            w.tap(&conv, [FIRST + out, colour], [y, x], 0.25 * sign);
        }
        let time = format!("{stage}.downsampler.time_conv");
        w.time_tap(&time, [FIRST + out, FIRST + out], 0, 1.0);
    }

    // 16 pixels a value: the latents of the last frame and of the one before it, with both signs, and the constant. The ends
    // less the middle are the difference of the differences.
    const SECOND: usize = 2 * (FIRST + 5);
    let stage = "encoder.down_blocks.2";
    w.copy(&format!("{stage}.resnets.0.conv_shortcut"), 2 * BASE);
    let conv = format!("{stage}.downsampler.resample.1");
    let time = format!("{stage}.downsampler.time_conv");
    let mut gains = vec![0.0; 4 * BASE];
    for k in 0..CHANNELS {
        let (frame, [colour, along_y, along_x]) = (k / Z, LATENT[k % Z]);
        let finer = |kind| usize::from(kind == ENDS);
        let from = [colour, finer(along_y), finer(along_x)];
        let input = FIRST + quarters.iter().position(|q| *q == from).unwrap_or_default();
        for (sign, out) in [(1.0, SECOND + k), (-1.0, SECOND + CHANNELS + k)] {
            for (y, x) in QUADRANTS {
                let differs = |kind| usize::from(kind != MEAN);
                let sign =
                    sign * alternating(differs(along_y), y) * alternating(differs(along_x), x);
                w.tap(&conv, [out, input], [y, x], 0.25 * sign);
            }
            // A first frame passes this by, and is both.
            w.time_tap(&time, [out, out], 1 - frame, 1.0);
            w.tap("encoder.conv_out", [k, out], [1, 1], sign);
            gains[out] = undoing(4 * BASE);
        }
        w.bias("encoder.conv_out", CHANNELS + k, LOG_VARIANCE);
    }
    let constant = SECOND + 2 * CHANNELS;
    w.bias(&conv, constant, CONSTANT);
    w.time_tap(&time, [constant, constant], 0, 1.0);
    w.all("encoder.norm_out.gamma", gains);
}

fn decoder(w: &mut Weights) {
    let [latent, first, second, third, head] = chain();
    let widths = [latent.len(), first.len(), second.len()];
    let places = |n: usize| 3 * n * n;
    // The places of both frames.
    let of_frame = places(widths[0]);
    for k in 0..CHANNELS {
        let (frame, [colour, along_y, along_x]) = (k / Z, LATENT[k % Z]);
        for (a, of_y) in latent.iter().enumerate() {
            for (b, of_x) in latent.iter().enumerate() {
                let out = frame * of_frame + place(widths[0], colour, a, b);
                let plane = outer(of_y[along_y], of_x[along_x], 1.0);
                w.plane("decoder.conv_in", [out, k], plane);
            }
        }
    }
    let width = 4 * DECODER_BASE;

    // Twice the frames, each the one it belongs to. The shortcut writes into all channels that are in use.
    let stage = "decoder.up_blocks.0.upsampler";
    for half in 0..2 {
        for i in 0..of_frame {
            let channels = [half * width + i, half * of_frame + i];
            w.time_tap(&format!("{stage}.time_conv"), channels, 0, 1.0);
        }
    }
    let free = 2 * of_frame;
    double(w, stage, widths[0], &first, [0, free], 1.0);

    // Twice the frames again, without a difference: what the shortcut adds is taken away from every channel.
    let stage = "decoder.up_blocks.1.upsampler";
    for i in 0..width {
        for half in 0..2 {
            w.time_tap(&format!("{stage}.time_conv"), [half * width + i, i], 0, 1.0);
        }
        w.tap(&format!("{stage}.resample.1"), [i, i], [1, 1], -1.0);
    }
    double(w, stage, widths[1], &second, [free, 0], 1.0);

    // The shortcut writes each two channels into one.
    let stage = "decoder.up_blocks.2.upsampler";
    w.copy(
        "decoder.up_blocks.2.resnets.0.conv_shortcut",
        2 * DECODER_BASE,
    );
    let free = places(widths[2]).div_ceil(2);
    double(w, stage, widths[2], &third, [0, free], 1.0);
    double(w, stage, widths[2], &third, [0, free + 3], -1.0);
    w.bias(&format!("{stage}.resample.1"), free + 6, CONSTANT);

    for i in 0..7 {
        let conv = "decoder.up_blocks.3.resnets.0.conv_shortcut";
        w.tap(conv, [i, free + i], [0, 0], 1.0);
    }
    let mut gains = vec![0.0; DECODER_BASE];
    gains[..6].fill(undoing(DECODER_BASE));
    w.all("decoder.norm_out.gamma", gains);
    let taps = head[0][0];
    for (colour, row) in COLOURS.iter().enumerate() {
        for cell in 0..CELLS {
            let out = colour * CELLS + cell;
            for (i, value) in row.iter().enumerate() {
                w.plane("decoder.conv_out", [out, i], outer(taps, taps, *value));
                w.plane("decoder.conv_out", [out, 3 + i], outer(taps, taps, -value));
            }
            w.bias("decoder.conv_out", out, 1.0);
        }
    }
}

/// A doubling convolution from the `places` of channels that begin at `from` to those that begin at `to`; adds to what is
/// there.
fn double(
    w: &mut Weights,
    stage: &str,
    places: usize,
    taps: &super::upsampling::Taps,
    [from, to]: [usize; 2],
    sign: f32,
) {
    let conv = format!("{stage}.resample.1");
    for (colour, i, j) in triples(3, places) {
        for (a, of_y) in taps.iter().enumerate() {
            for (b, of_x) in taps.iter().enumerate() {
                let input = from + place(places, colour, i, j);
                let output = to + place(taps.len(), colour, a, b);
                w.add_plane(&conv, [output, input], outer(of_y[i], of_x[j], sign));
            }
        }
    }
}
