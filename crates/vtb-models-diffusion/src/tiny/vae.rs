//! An autoencoder that works untrained: its weights are written down, not learnt.
//!
//! Architecture and files are those of the published one. Residual branches and attention add nothing, so the networks are
//! linear up to their heads, and every picture is seen as what it lacks to white: zero padding is then a white surrounding.
//!
//! The encoder turns colours into brightness and two differences and every 8×8 block into Haar-like coefficients: of
//! brightness eight, of each difference four, from the mean down. The heads normalise over channels and apply SiLU. One
//! channel holds a constant so large that the norm is all but constant, the gain undoes it, and signals come twice, with
//! both signs: `silu(x) - silu(-x) = x`. The decoder is described in [`super::upsampling`].

use std::path::Path;

use super::upsampling::{KINDS, chain};
use super::weights::{
    COLOURS, CONSTANT, DEVIATIONS, ENDS, LATENT, LOG_VARIANCE, MEAN, MEANS, OPPONENT, QUADRANTS,
    Weights, Z, alternating, outer, place, triples, undoing,
};
use crate::qwen_image::vae::{VaeConfig, tensors};
use crate::{DiffusionError, files};

/// The fewest channels at full size that hold the signals of every stage.
pub(super) const LEAST_BASE: usize = 14;

/// Writes a `vae` folder; `base` channels at full size.
pub(super) fn write(dir: &Path, base: usize) -> Result<(), DiffusionError> {
    if base < LEAST_BASE {
        return Err(DiffusionError::input(format!(
            "`vae_base` is {base}; the autoencoder needs at least {LEAST_BASE} channels"
        )));
    }
    let config = VaeConfig {
        base_dim: base,
        latents_mean: MEANS.to_vec(),
        latents_std: DEVIATIONS.to_vec(),
        ..VaeConfig::published()
    };
    let mut weights = Weights::of(tensors(&config)?);
    encoder(&mut weights, base);
    decoder(&mut weights, base);
    for (name, width) in [("quant_conv", 2 * Z), ("post_quant_conv", Z)] {
        weights.copy(name, width);
    }
    config.write(dir.join(files::CONFIG))?;
    weights.save(dir, "the tiny autoencoder")
}

fn encoder(w: &mut Weights, base: usize) {
    for (colour, row) in OPPONENT.iter().enumerate() {
        for (i, value) in row.iter().enumerate() {
            w.tap("encoder.conv_in", [colour, i], [1, 1], *value);
        }
    }
    // What is missing to white, whose brightness is 1.
    w.bias("encoder.conv_in", 0, -1.0);

    // 2 pixels a value: means.
    for colour in 0..3 {
        for (y, x) in QUADRANTS {
            let conv = "encoder.down_blocks.2.resample.1";
            w.tap(conv, [colour, colour], [y, x], 0.25);
        }
    }
    w.copy("encoder.down_blocks.3.conv_shortcut", base);

    // 4 pixels a value: means, and of brightness the differences of the pairs along either axis.
    let quarters = [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0], [2, 0, 0]];
    for (out, [colour, along_y, along_x]) in quarters.into_iter().enumerate() {
        for (y, x) in QUADRANTS {
            let sign = alternating(along_y, y) * alternating(along_x, x);
            let conv = "encoder.down_blocks.5.resample.1";
            w.tap(conv, [out, colour], [y, x], 0.25 * sign);
        }
    }
    w.copy("encoder.down_blocks.6.conv_shortcut", 2 * base);

    // 8 pixels a value: the latent, with both signs, and the constant. The ends less the middle are the difference of the
    // differences.
    let (last, mut gains) = ("encoder.down_blocks.8.resample.1", vec![0.0; 4 * base]);
    for (k, [colour, along_y, along_x]) in LATENT.into_iter().enumerate() {
        let finer = |kind| usize::from(kind == ENDS);
        let from = [colour, finer(along_y), finer(along_x)];
        let input = quarters.iter().position(|q| *q == from).unwrap_or_default();
        for (y, x) in QUADRANTS {
            let differs = |kind| usize::from(kind != MEAN);
            let sign = alternating(differs(along_y), y) * alternating(differs(along_x), x);
            w.tap(last, [k, input], [y, x], 0.25 * sign);
            w.tap(last, [Z + k, input], [y, x], -0.25 * sign);
        }
        w.tap("encoder.conv_out", [k, k], [1, 1], 1.0);
        w.tap("encoder.conv_out", [k, Z + k], [1, 1], -1.0);
        w.bias("encoder.conv_out", Z + k, LOG_VARIANCE);
    }
    w.bias(last, 2 * Z, CONSTANT);
    gains[..2 * Z].fill(undoing(4 * base));
    w.all("encoder.norm_out.gamma", gains);
}

fn decoder(w: &mut Weights, base: usize) {
    let [latent, first, second, third, head] = chain();
    let widths = [latent.len(), first.len(), second.len()];
    // Channels are opponent colour, place along y, place along x.
    for (k, [colour, along_y, along_x]) in LATENT.into_iter().enumerate() {
        for (a, of_y) in latent.iter().enumerate() {
            for (b, of_x) in latent.iter().enumerate() {
                let channels = [place(widths[0], colour, a, b), k];
                let plane = outer(of_y[along_y], of_x[along_x], 1.0);
                w.plane("decoder.conv_in", channels, plane);
            }
        }
    }
    let upsamplers = [(0, &first), (1, &second), (2, &third)];
    for (stage, taps) in upsamplers {
        let name = format!("decoder.up_blocks.{stage}.upsamplers.0.resample.1");
        let inputs = widths[stage];
        for (colour, i, j) in triples(3, inputs) {
            for (a, of_y) in taps.iter().enumerate() {
                for (b, of_x) in taps.iter().enumerate() {
                    let input = place(inputs, colour, i, j);
                    let output = place(taps.len(), colour, a, b);
                    w.plane(&name, [output, input], outer(of_y[i], of_x[j], 1.0));
                    if stage == 2 {
                        w.plane(&name, [3 + output, input], outer(of_y[i], of_x[j], -1.0));
                    }
                }
            }
        }
    }
    w.copy("decoder.up_blocks.1.resnets.0.conv_shortcut", 2 * base);
    w.bias("decoder.up_blocks.2.upsamplers.0.resample.1", 6, CONSTANT);
    let mut gains = vec![0.0; base];
    gains[..6].fill(undoing(base));
    w.all("decoder.norm_out.gamma", gains);
    for (colour, row) in COLOURS.iter().enumerate() {
        for (i, value) in row.iter().enumerate() {
            let taps = head[0][0];
            w.plane("decoder.conv_out", [colour, i], outer(taps, taps, *value));
            w.plane(
                "decoder.conv_out",
                [colour, 3 + i],
                outer(taps, taps, -value),
            );
        }
        w.bias("decoder.conv_out", colour, 1.0);
    }
}

const _: () = assert!(KINDS == ENDS + 1);
