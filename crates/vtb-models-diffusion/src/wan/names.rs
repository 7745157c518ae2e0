//! Names of tensors in the original files, and as diffusers and transformers call them.

use vtb_lora::DiffusionFamily;

/// An original name, or the start of one, and what diffusers or transformers call it.
type Pair = (&'static str, &'static str);

/// What stands before the names of the transformer in files of other programs.
const TRANSFORMER_PREFIXES: [&str; 3] = ["model.diffusion_model", "diffusion_model", "model"];
/// What stands before the names of the autoencoder in files of DiffSynth-Studio.
const VAE_PREFIXES: [&str; 1] = ["model"];

/// What a block of the transformer has beside linear layers, which `vtb-lora` knows. Norms 2 and 3 change places: only the
/// one before cross attention has weights, the third of the original files and the second of diffusers.
const TRANSFORMER_BLOCK: [Pair; 6] = [
    ("modulation", "scale_shift_table"),
    ("self_attn.norm_q", "attn1.norm_q"),
    ("self_attn.norm_k", "attn1.norm_k"),
    ("cross_attn.norm_q", "attn2.norm_q"),
    ("cross_attn.norm_k", "attn2.norm_k"),
    ("norm3", "norm2"),
];

const TRANSFORMER_TOP: [Pair; 1] = [("head.modulation", "scale_shift_table")];

const ENCODER_BLOCK: [Pair; 10] = [
    ("norm1", "layer.0.layer_norm"),
    ("attn.q", "layer.0.SelfAttention.q"),
    ("attn.k", "layer.0.SelfAttention.k"),
    ("attn.v", "layer.0.SelfAttention.v"),
    ("attn.o", "layer.0.SelfAttention.o"),
    (
        "pos_embedding.embedding",
        "layer.0.SelfAttention.relative_attention_bias",
    ),
    ("norm2", "layer.1.layer_norm"),
    ("ffn.gate.0", "layer.1.DenseReluDense.wi_0"),
    ("ffn.fc1", "layer.1.DenseReluDense.wi_1"),
    ("ffn.fc2", "layer.1.DenseReluDense.wo"),
];

const ENCODER_TOP: [Pair; 2] = [
    ("token_embedding", "shared"),
    ("norm", "encoder.final_layer_norm"),
];

const VAE_TOP: [Pair; 2] = [("conv1", "quant_conv"), ("conv2", "post_quant_conv")];

/// Within either half.
const VAE_HALF: [Pair; 4] = [
    ("conv1", "conv_in"),
    ("head.0", "norm_out"),
    ("head.2", "conv_out"),
    ("middle.1", "mid_block.attentions.0"),
];

const VAE_MIDDLE: [Pair; 2] = [
    ("middle.0", "mid_block.resnets.0"),
    ("middle.2", "mid_block.resnets.1"),
];

/// Within a residual block.
const RESIDUAL: [Pair; 5] = [
    ("residual.0", "norm1"),
    ("residual.2", "conv1"),
    ("residual.3", "norm2"),
    ("residual.6", "conv2"),
    ("shortcut", "conv_shortcut"),
];

/// The stages of a half of the autoencoder.
struct Stages {
    /// Original name, both of the list of stages and of the list in a stage.
    list: &'static str,
    blocks: &'static str,
    /// What changes the size.
    sampler: &'static str,
    /// Its place in the list of a stage: after the residual blocks, of which all published models have so many.
    place: &'static str,
}

const STAGES: [Stages; 2] = [
    Stages {
        list: "downsamples",
        blocks: "down_blocks",
        sampler: "downsampler",
        place: "2",
    },
    Stages {
        list: "upsamples",
        blocks: "up_blocks",
        sampler: "upsampler",
        place: "3",
    },
];

/// A part of a Wan model with files of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WanPart {
    /// `diffusion_pytorch_model-*.safetensors`.
    Transformer,
    /// `models_t5_umt5-xxl-enc-bf16.pth`.
    TextEncoder,
    /// `Wan2.2_VAE.pth`.
    Vae,
}

#[derive(Clone, Copy)]
enum To {
    Diffusers,
    Original,
}

impl WanPart {
    /// What diffusers (of the text encoder: transformers) calls a tensor of the original files. The prefixes that other
    /// programs put before names are taken off; names that are diffusers', and unknown ones, stay as they are.
    pub fn diffusers(self, name: &str) -> String {
        self.renamed(name, To::Diffusers)
    }

    /// What the original files call a tensor of diffusers (of the text encoder: of transformers). Original names, and unknown
    /// ones, stay as they are.
    pub fn original(self, name: &str) -> String {
        self.renamed(name, To::Original)
    }

    fn renamed(self, name: &str, to: To) -> String {
        let prefixes: &[&str] = match self {
            Self::Transformer => &TRANSFORMER_PREFIXES,
            Self::TextEncoder => &[],
            Self::Vae => &VAE_PREFIXES,
        };
        let bare = prefixes.iter().find_map(|prefix| below(name, prefix));
        let name = bare.filter(|rest| !rest.is_empty()).unwrap_or(name);
        let renamed = match self {
            Self::Transformer => transformer(name, to),
            Self::TextEncoder => text_encoder(name, to),
            Self::Vae => vae(name, to),
        };
        renamed.unwrap_or_else(|| name.to_owned())
    }
}

fn transformer(name: &str, to: To) -> Option<String> {
    let linear = || {
        let (layer, tensor) = name.rsplit_once('.')?;
        let layer = match to {
            To::Diffusers => DiffusionFamily::Wan.diffusers(layer)?,
            To::Original => DiffusionFamily::Wan.original(layer)?,
        };
        Some(format!("{layer}.{tensor}"))
    };
    let in_block = || {
        let (number, rest) = below(name, "blocks")?.split_once('.')?;
        let rest = swapped(&TRANSFORMER_BLOCK, rest, to)?;
        Some(format!("blocks.{number}.{rest}"))
    };
    linear()
        .or_else(in_block)
        .or_else(|| swapped(&TRANSFORMER_TOP, name, to))
}

fn text_encoder(name: &str, to: To) -> Option<String> {
    let (from, into) = sides(("blocks", "encoder.block"), to);
    let in_block = || {
        let (number, rest) = below(name, from)?.split_once('.')?;
        let rest = swapped(&ENCODER_BLOCK, rest, to)?;
        Some(format!("{into}.{number}.{rest}"))
    };
    in_block().or_else(|| swapped(&ENCODER_TOP, name, to))
}

fn vae(name: &str, to: To) -> Option<String> {
    if let Some(renamed) = swapped(&VAE_TOP, name, to) {
        return Some(renamed);
    }
    let (half, rest) = name.split_once('.')?;
    if half != "encoder" && half != "decoder" {
        return None;
    }
    let inside = swapped(&VAE_HALF, rest, to)
        .or_else(|| middle(rest, to))
        .or_else(|| STAGES.iter().find_map(|stages| stages.renamed(rest, to)))?;
    Some(format!("{half}.{inside}"))
}

fn middle(rest: &str, to: To) -> Option<String> {
    VAE_MIDDLE.iter().find_map(|pair| {
        let (from, into) = sides(*pair, to);
        let block = swapped(&RESIDUAL, below(rest, from)?, to)?;
        Some(format!("{into}.{block}"))
    })
}

impl Stages {
    fn renamed(&self, rest: &str, to: To) -> Option<String> {
        let Self {
            list,
            blocks,
            sampler,
            place,
        } = self;
        match to {
            To::Diffusers => {
                let (stage, rest) = below(rest, list)?.split_once('.')?;
                let (number, tail) = below(rest, list)?.split_once('.')?;
                Some(match swapped(&RESIDUAL, tail, to) {
                    Some(block) => format!("{blocks}.{stage}.resnets.{number}.{block}"),
                    None => format!("{blocks}.{stage}.{sampler}.{tail}"),
                })
            }
            To::Original => {
                let (stage, rest) = below(rest, blocks)?.split_once('.')?;
                if let Some(tail) = below(rest, sampler) {
                    return Some(format!("{list}.{stage}.{list}.{place}.{tail}"));
                }
                let (number, tail) = below(rest, "resnets")?.split_once('.')?;
                let block = swapped(&RESIDUAL, tail, to)?;
                Some(format!("{list}.{stage}.{list}.{number}.{block}"))
            }
        }
    }
}

/// `name` with the start that the table knows in the place of the other.
fn swapped(table: &[Pair], name: &str, to: To) -> Option<String> {
    table.iter().find_map(|pair| {
        let (from, into) = sides(*pair, to);
        if name == from {
            return Some(into.to_owned());
        }
        Some(format!("{into}.{}", below(name, from)?))
    })
}

fn sides((original, diffusers): Pair, to: To) -> Pair {
    match to {
        To::Diffusers => (original, diffusers),
        To::Original => (diffusers, original),
    }
}

/// What follows `place` and a dot.
fn below<'n>(name: &'n str, place: &str) -> Option<&'n str> {
    name.strip_prefix(place)?.strip_prefix('.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn both_ways(part: WanPart, cases: &[Pair]) {
        for (original, theirs) in cases {
            assert_eq!(part.diffusers(original), *theirs);
            assert_eq!(part.diffusers(theirs), *theirs);
            assert_eq!(part.original(theirs), *original);
            assert_eq!(part.original(original), *original);
        }
    }

    #[test]
    fn tensors_of_the_transformer_have_two_names() {
        let embed = "condition_embedder.text_embedder.linear_1.weight";
        let cases = [
            ("patch_embedding.weight", "patch_embedding.weight"),
            ("patch_embedding.bias", "patch_embedding.bias"),
            ("text_embedding.0.weight", embed),
            (
                "text_embedding.2.bias",
                "condition_embedder.text_embedder.linear_2.bias",
            ),
            (
                "time_embedding.0.bias",
                "condition_embedder.time_embedder.linear_1.bias",
            ),
            (
                "time_embedding.2.weight",
                "condition_embedder.time_embedder.linear_2.weight",
            ),
            (
                "time_projection.1.weight",
                "condition_embedder.time_proj.weight",
            ),
            ("blocks.0.modulation", "blocks.0.scale_shift_table"),
            (
                "blocks.29.self_attn.q.weight",
                "blocks.29.attn1.to_q.weight",
            ),
            ("blocks.3.self_attn.o.bias", "blocks.3.attn1.to_out.0.bias"),
            (
                "blocks.3.self_attn.norm_k.weight",
                "blocks.3.attn1.norm_k.weight",
            ),
            ("blocks.3.cross_attn.v.weight", "blocks.3.attn2.to_v.weight"),
            (
                "blocks.3.cross_attn.o.weight",
                "blocks.3.attn2.to_out.0.weight",
            ),
            (
                "blocks.3.cross_attn.norm_q.weight",
                "blocks.3.attn2.norm_q.weight",
            ),
            ("blocks.7.norm3.weight", "blocks.7.norm2.weight"),
            ("blocks.7.norm3.bias", "blocks.7.norm2.bias"),
            ("blocks.7.ffn.0.weight", "blocks.7.ffn.net.0.proj.weight"),
            ("blocks.7.ffn.2.bias", "blocks.7.ffn.net.2.bias"),
            ("head.modulation", "scale_shift_table"),
            ("head.head.weight", "proj_out.weight"),
        ];
        both_ways(WanPart::Transformer, &cases);
        for prefix in TRANSFORMER_PREFIXES {
            let name = format!("{prefix}.text_embedding.0.weight");
            assert_eq!(WanPart::Transformer.diffusers(&name), embed);
        }
    }

    #[test]
    fn tensors_of_the_text_encoder_have_two_names() {
        let attention = "encoder.block.23.layer.0.SelfAttention";
        let dense = "encoder.block.0.layer.1.DenseReluDense";
        let cases = [
            ("token_embedding.weight", "shared.weight".to_owned()),
            ("norm.weight", "encoder.final_layer_norm.weight".to_owned()),
            (
                "blocks.0.norm1.weight",
                "encoder.block.0.layer.0.layer_norm.weight".to_owned(),
            ),
            (
                "blocks.0.norm2.weight",
                "encoder.block.0.layer.1.layer_norm.weight".to_owned(),
            ),
            ("blocks.23.attn.q.weight", format!("{attention}.q.weight")),
            ("blocks.23.attn.k.weight", format!("{attention}.k.weight")),
            ("blocks.23.attn.v.weight", format!("{attention}.v.weight")),
            ("blocks.23.attn.o.weight", format!("{attention}.o.weight")),
            (
                "blocks.23.pos_embedding.embedding.weight",
                format!("{attention}.relative_attention_bias.weight"),
            ),
            ("blocks.0.ffn.gate.0.weight", format!("{dense}.wi_0.weight")),
            ("blocks.0.ffn.fc1.weight", format!("{dense}.wi_1.weight")),
            ("blocks.0.ffn.fc2.weight", format!("{dense}.wo.weight")),
        ];
        let part = WanPart::TextEncoder;
        for (original, theirs) in &cases {
            assert_eq!(&part.diffusers(original), theirs);
            assert_eq!(&part.diffusers(theirs), theirs);
            assert_eq!(part.original(theirs), *original);
            assert_eq!(part.original(original), *original);
        }
    }

    #[test]
    fn tensors_of_the_autoencoder_have_two_names() {
        let cases = [
            ("conv1.weight", "quant_conv.weight"),
            ("conv2.bias", "post_quant_conv.bias"),
            ("encoder.conv1.weight", "encoder.conv_in.weight"),
            ("decoder.conv1.bias", "decoder.conv_in.bias"),
            ("decoder.head.0.gamma", "decoder.norm_out.gamma"),
            ("encoder.head.2.bias", "encoder.conv_out.bias"),
            (
                "encoder.middle.0.residual.0.gamma",
                "encoder.mid_block.resnets.0.norm1.gamma",
            ),
            (
                "decoder.middle.2.residual.6.weight",
                "decoder.mid_block.resnets.1.conv2.weight",
            ),
            (
                "encoder.middle.1.to_qkv.weight",
                "encoder.mid_block.attentions.0.to_qkv.weight",
            ),
            (
                "encoder.downsamples.3.downsamples.1.residual.2.weight",
                "encoder.down_blocks.3.resnets.1.conv1.weight",
            ),
            (
                "encoder.downsamples.1.downsamples.0.shortcut.bias",
                "encoder.down_blocks.1.resnets.0.conv_shortcut.bias",
            ),
            (
                "encoder.downsamples.0.downsamples.2.resample.1.weight",
                "encoder.down_blocks.0.downsampler.resample.1.weight",
            ),
            (
                "encoder.downsamples.2.downsamples.2.time_conv.bias",
                "encoder.down_blocks.2.downsampler.time_conv.bias",
            ),
            (
                "decoder.upsamples.0.upsamples.2.residual.3.gamma",
                "decoder.up_blocks.0.resnets.2.norm2.gamma",
            ),
            (
                "decoder.upsamples.2.upsamples.3.resample.1.bias",
                "decoder.up_blocks.2.upsampler.resample.1.bias",
            ),
            (
                "decoder.upsamples.1.upsamples.3.time_conv.weight",
                "decoder.up_blocks.1.upsampler.time_conv.weight",
            ),
        ];
        both_ways(WanPart::Vae, &cases);
        for (original, theirs) in cases {
            assert_eq!(WanPart::Vae.diffusers(&format!("model.{original}")), theirs);
        }
    }

    #[test]
    fn unknown_names_stay_as_they_are() {
        let parts = [WanPart::Transformer, WanPart::TextEncoder, WanPart::Vae];
        for part in parts {
            for name in [
                "",
                ".",
                "model.",
                "blocks",
                "blocks.0",
                "blocks..x",
                "encoder",
                "encoder.middle",
                "encoder.downsamples.0.downsamples",
                "decoder.up_blocks.0.resnets",
                "headless.modulation",
            ] {
                assert_eq!(part.diffusers(name), name);
                assert_eq!(part.original(name), name);
            }
        }
    }
}
