//! Names of tensors in files of other programs.

use super::VaeConfig;

/// The diffusers name of a tensor of a file that names them as Wan 2.1 does (ComfyUI's files); other names stay as they are.
///
/// Such files number the parts of a residual block, of the middle and of the head, and all parts of the decoder's stages in
/// one list.
pub(super) fn diffusers_name(name: &str, config: &VaeConfig) -> String {
    let renamed = match name.split_once('.') {
        Some(("conv1", rest)) => Some(format!("quant_conv.{rest}")),
        Some(("conv2", rest)) => Some(format!("post_quant_conv.{rest}")),
        Some((half @ ("encoder" | "decoder"), rest)) => {
            inside(rest, config).map(|rest| format!("{half}.{rest}"))
        }
        _ => None,
    };
    renamed.unwrap_or_else(|| name.to_owned())
}

fn inside(name: &str, config: &VaeConfig) -> Option<String> {
    let (part, rest) = name.split_once('.')?;
    let (number, tail) = rest.split_once('.').unwrap_or((rest, ""));
    match (part, number) {
        ("conv1", _) => Some(format!("conv_in.{rest}")),
        ("head", "0") => Some(format!("norm_out.{tail}")),
        ("head", "2") => Some(format!("conv_out.{tail}")),
        ("middle", "0") => Some(format!("mid_block.resnets.0.{}", block(tail)?)),
        ("middle", "1") => Some(format!("mid_block.attentions.0.{tail}")),
        ("middle", "2") => Some(format!("mid_block.resnets.1.{}", block(tail)?)),
        ("downsamples", n) => Some(format!("down_blocks.{n}.{}", block(tail)?)),
        ("upsamples", n) => {
            // A stage has one residual block more than in the encoder, and what doubles sides.
            let (n, blocks): (usize, _) = (n.parse().ok()?, config.num_res_blocks + 1);
            let (stage, place) = (n / (blocks + 1), n % (blocks + 1));
            Some(if place < blocks {
                format!("up_blocks.{stage}.resnets.{place}.{}", block(tail)?)
            } else {
                format!("up_blocks.{stage}.upsamplers.0.{tail}")
            })
        }
        _ => None,
    }
}

/// A tensor of a residual block; what resamples has the same names everywhere.
fn block(name: &str) -> Option<String> {
    let (part, rest) = name.split_once('.')?;
    if part == "shortcut" {
        return Some(format!("conv_shortcut.{rest}"));
    }
    if part != "residual" {
        return Some(name.to_owned());
    }
    let (number, rest) = rest.split_once('.')?;
    let part = match number {
        "0" => "norm1",
        "2" => "conv1",
        "3" => "norm2",
        "6" => "conv2",
        _ => return None,
    };
    Some(format!("{part}.{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sets_of_names_lead_to_one() {
        let config = VaeConfig::published();
        let cases = [
            ("conv1.weight", "quant_conv.weight"),
            ("conv2.bias", "post_quant_conv.bias"),
            ("encoder.conv1.weight", "encoder.conv_in.weight"),
            ("decoder.head.0.gamma", "decoder.norm_out.gamma"),
            ("encoder.head.2.bias", "encoder.conv_out.bias"),
            (
                "encoder.downsamples.3.residual.6.weight",
                "encoder.down_blocks.3.conv2.weight",
            ),
            (
                "encoder.downsamples.3.shortcut.bias",
                "encoder.down_blocks.3.conv_shortcut.bias",
            ),
            (
                "encoder.downsamples.5.time_conv.weight",
                "encoder.down_blocks.5.time_conv.weight",
            ),
            (
                "encoder.middle.1.to_qkv.weight",
                "encoder.mid_block.attentions.0.to_qkv.weight",
            ),
            (
                "decoder.middle.2.residual.3.gamma",
                "decoder.mid_block.resnets.1.norm2.gamma",
            ),
            (
                "decoder.upsamples.6.residual.0.gamma",
                "decoder.up_blocks.1.resnets.2.norm1.gamma",
            ),
            (
                "decoder.upsamples.7.resample.1.weight",
                "decoder.up_blocks.1.upsamplers.0.resample.1.weight",
            ),
            (
                "decoder.upsamples.14.residual.2.bias",
                "decoder.up_blocks.3.resnets.2.conv1.bias",
            ),
        ];
        for (other, ours) in cases {
            assert_eq!(diffusers_name(other, &config), ours);
            assert_eq!(diffusers_name(ours, &config), ours);
        }
        for strange in [
            "encoder",
            "conv1",
            "encoder.middle",
            "decoder.upsamples.x.y",
            "",
        ] {
            assert_eq!(diffusers_name(strange, &config), strange);
        }
    }
}
