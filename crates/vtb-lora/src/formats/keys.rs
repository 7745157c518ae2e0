//! Names of tensors in the files of all forms.

use super::AdapterFormat;

/// What a tensor is to its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// `[r, in]`.
    A,
    /// `[out, r]`.
    B,
    /// Numerator of the scale.
    Alpha,
}

/// A tensor's name, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'n> {
    pub(super) format: AdapterFormat,
    /// The layer as the file calls it, without a prefix; with `_` for dots in Kohya's form.
    pub(super) layer: &'n str,
    pub(super) part: Part,
}

/// What programs put before a layer's name, and the form it tells. The first that fits counts.
const PREFIXES: [(&str, AdapterFormat); 7] = [
    ("base_model.model.", AdapterFormat::Peft),
    ("pipe.dit.", AdapterFormat::DiffSynth),
    ("model.diffusion_model.", AdapterFormat::ComfyUi),
    ("diffusion_model.", AdapterFormat::ComfyUi),
    ("transformer.", AdapterFormat::Diffusers),
    ("lora_unet_", AdapterFormat::Kohya),
    ("", AdapterFormat::DiffSynth),
];

/// How names of other parts of a pipeline begin. Their layers may be called like those of the transformer.
const OTHER_PARTS: [(&str, &str); 4] = [
    ("text_encoder", "the text encoder"),
    ("lora_te", "the text encoder"),
    ("transformer_2.", "a second transformer"),
    ("unet.", "a U-Net"),
];

/// Ends of names of what other methods train. A reader that passes over them applies another adapter than was trained.
const OTHERS: [(&str, &str); 12] = [
    (".dora_scale", "DoRA"),
    (".lora_magnitude_vector", "DoRA"),
    (".lora_magnitude_vector.weight", "DoRA"),
    (".diff", "trained weights"),
    (".diff_b", "trained biases"),
    (".lora_B.bias", "trained biases"),
    (".lora_mid.weight", "a factor of a convolution"),
    (".lokr_w1", "LoKr"),
    (".lokr_w2", "LoKr"),
    (".lokr_w1_a", "LoKr"),
    (".hada_w1_a", "LoHa"),
    (".hada_w1_b", "LoHa"),
];

impl<'n> Key<'n> {
    /// Takes a name apart; `None` for what is no factor and no alpha, and for those of other parts than the transformer.
    pub(super) fn parse(name: &'n str) -> Option<Self> {
        if other_part(name).is_some() {
            return None;
        }
        let (rest, format) = PREFIXES
            .iter()
            .find_map(|(prefix, format)| Some((name.strip_prefix(prefix)?, *format)))?;
        let (layer, part) = match rest.strip_suffix(".alpha") {
            Some(layer) => (layer, Part::Alpha),
            None => {
                let factor = rest.strip_suffix(".weight")?;
                let factor = factor.strip_suffix(".default").unwrap_or(factor);
                let ends = [
                    (".lora_A", Part::A),
                    (".lora_down", Part::A),
                    (".lora_B", Part::B),
                    (".lora_up", Part::B),
                ];
                ends.iter()
                    .find_map(|(end, part)| Some((factor.strip_suffix(end)?, *part)))?
            }
        };
        (!layer.is_empty()).then_some(Self {
            format,
            layer,
            part,
        })
    }

    /// Whether dots are written as `_`.
    pub(super) fn is_flat(&self) -> bool {
        self.format == AdapterFormat::Kohya
    }
}

fn other_part(name: &str) -> Option<&'static str> {
    let found = OTHER_PARTS
        .iter()
        .find(|(start, _)| name.starts_with(start));
    found.map(|(_, part)| *part)
}

/// Why a tensor that is no factor of the transformer is refused.
pub(super) fn why_refused(name: &str) -> String {
    if let Some(part) = other_part(name) {
        return format!(
            "tensor `{name}` is of {part}, and only adapters of the transformer are supported; save that one alone where \
             it was trained"
        );
    }
    match OTHERS.iter().find(|(end, _)| name.ends_with(end)) {
        Some((_, what)) => format!(
            "tensor `{name}` is of {what}, which is not supported; merge the adapter into its base model where it was \
             trained"
        ),
        None => format!("tensor `{name}` is no factor of a LoRA on a linear layer"),
    }
}

/// The name of the other factor.
pub(crate) fn partner(name: &str) -> String {
    let pairs = [
        (".lora_A.", ".lora_B."),
        (".lora_B.", ".lora_A."),
        (".lora_down.", ".lora_up."),
        (".lora_up.", ".lora_down."),
    ];
    pairs
        .iter()
        .find(|(this, _)| name.contains(this))
        .map_or_else(
            || name.to_owned(),
            |(this, other)| name.replace(this, other),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_programs_are_understood() {
        use AdapterFormat::{ComfyUi, DiffSynth, Diffusers, Kohya, Peft};
        let layer = "transformer_blocks.0.attn.to_q";
        let flat = "transformer_blocks_0_attn_to_q";
        let cases = [
            (
                "base_model.model.transformer_blocks.0.attn.to_q.lora_A.weight",
                Peft,
                layer,
                Part::A,
            ),
            (
                "transformer.transformer_blocks.0.attn.to_q.lora_B.weight",
                Diffusers,
                layer,
                Part::B,
            ),
            (
                "transformer.transformer_blocks.0.attn.to_q.lora_down.weight",
                Diffusers,
                layer,
                Part::A,
            ),
            (
                "diffusion_model.transformer_blocks.0.attn.to_q.lora_A.weight",
                ComfyUi,
                layer,
                Part::A,
            ),
            (
                "model.diffusion_model.transformer_blocks.0.attn.to_q.lora_up.weight",
                ComfyUi,
                layer,
                Part::B,
            ),
            (
                "diffusion_model.transformer_blocks.0.attn.to_q.alpha",
                ComfyUi,
                layer,
                Part::Alpha,
            ),
            (
                "lora_unet_transformer_blocks_0_attn_to_q.lora_down.weight",
                Kohya,
                flat,
                Part::A,
            ),
            (
                "lora_unet_transformer_blocks_0_attn_to_q.lora_up.weight",
                Kohya,
                flat,
                Part::B,
            ),
            (
                "lora_unet_transformer_blocks_0_attn_to_q.alpha",
                Kohya,
                flat,
                Part::Alpha,
            ),
            (
                "transformer_blocks.0.attn.to_q.lora_A.default.weight",
                DiffSynth,
                layer,
                Part::A,
            ),
            (
                "pipe.dit.transformer_blocks.0.attn.to_q.lora_B.default.weight",
                DiffSynth,
                layer,
                Part::B,
            ),
            (
                "transformer_blocks.0.attn.to_q.lora_up.default.weight",
                DiffSynth,
                layer,
                Part::B,
            ),
        ];
        for (name, format, layer, part) in cases {
            let expected = Key {
                format,
                layer,
                part,
            };
            assert_eq!(Key::parse(name), Some(expected), "{name}");
        }
        for name in [
            "",
            ".alpha",
            "lora_unet_.alpha",
            ".lora_A.weight",
            "transformer..lora_A.weight.x",
            "x.lora_A",
            "x.lora_A.other.weight",
            "x.lora_C.weight",
            "x.weight",
            "x.lora_B.bias",
            "x.lokr_w1",
        ] {
            assert_eq!(Key::parse(name), None, "{name}");
        }
    }

    #[test]
    fn other_methods_are_named() {
        for (name, word) in [
            ("x.dora_scale", "DoRA"),
            ("x.diff_b", "biases"),
            ("x.hada_w1_a", "LoHa"),
            ("x.y", "no factor"),
            (
                "text_encoder.model.layers.0.mlp.up_proj.lora_A.weight",
                "the text encoder",
            ),
            ("lora_te1_text_model_mlp_fc1.alpha", "the text encoder"),
            (
                "transformer_2.blocks.0.attn1.to_q.lora_A.weight",
                "a second transformer",
            ),
        ] {
            assert_eq!(Key::parse(name), None);
            let text = why_refused(name);
            assert!(text.contains(name) && text.contains(word), "{text}");
        }
        assert_eq!(partner("x.lora_down.weight"), "x.lora_up.weight");
        assert_eq!(
            partner("x.lora_B.default.weight"),
            "x.lora_A.default.weight"
        );
    }
}
