//! How the linear layers of the diffusion transformers are called, by diffusers and in the original files.

use std::fmt;

/// A family of diffusion transformers whose layers are known by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiffusionFamily {
    /// Qwen-Image and Qwen-Image-Edit. All programs call its layers as diffusers does.
    QwenImage,
    /// Wan 2.1 and 2.2. diffusers has names of its own, all other programs those of the original files.
    Wan,
}

/// A layer's name in diffusers and in the original files.
type Pair = (&'static str, &'static str);

/// The linear layers of a transformer block of Qwen-Image.
const QWEN_BLOCK: [Pair; 14] = [
    same("img_mod.1"),
    same("txt_mod.1"),
    same("attn.to_q"),
    same("attn.to_k"),
    same("attn.to_v"),
    same("attn.add_q_proj"),
    same("attn.add_k_proj"),
    same("attn.add_v_proj"),
    same("attn.to_out.0"),
    same("attn.to_add_out"),
    same("img_mlp.net.0.proj"),
    same("img_mlp.net.2"),
    same("txt_mlp.net.0.proj"),
    same("txt_mlp.net.2"),
];

const QWEN_TOP: [Pair; 6] = [
    same("img_in"),
    same("txt_in"),
    same("time_text_embed.timestep_embedder.linear_1"),
    same("time_text_embed.timestep_embedder.linear_2"),
    same("norm_out.linear"),
    same("proj_out"),
];

/// The linear layers of a block of Wan; the two of pictures are in image-to-video models of 2.1 only.
const WAN_BLOCK: [Pair; 12] = [
    ("attn1.to_q", "self_attn.q"),
    ("attn1.to_k", "self_attn.k"),
    ("attn1.to_v", "self_attn.v"),
    ("attn1.to_out.0", "self_attn.o"),
    ("attn2.to_q", "cross_attn.q"),
    ("attn2.to_k", "cross_attn.k"),
    ("attn2.to_v", "cross_attn.v"),
    ("attn2.to_out.0", "cross_attn.o"),
    ("attn2.add_k_proj", "cross_attn.k_img"),
    ("attn2.add_v_proj", "cross_attn.v_img"),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
];

const WAN_TOP: [Pair; 8] = [
    (
        "condition_embedder.text_embedder.linear_1",
        "text_embedding.0",
    ),
    (
        "condition_embedder.text_embedder.linear_2",
        "text_embedding.2",
    ),
    (
        "condition_embedder.time_embedder.linear_1",
        "time_embedding.0",
    ),
    (
        "condition_embedder.time_embedder.linear_2",
        "time_embedding.2",
    ),
    ("condition_embedder.time_proj", "time_projection.1"),
    (
        "condition_embedder.image_embedder.ff.net.0.proj",
        "img_emb.proj.1",
    ),
    (
        "condition_embedder.image_embedder.ff.net.2",
        "img_emb.proj.3",
    ),
    ("proj_out", "head.head"),
];

const fn same(name: &'static str) -> Pair {
    (name, name)
}

/// A layer that a name means.
struct Found<'n> {
    /// Number of its block, as written; none outside the blocks.
    block: Option<&'n str>,
    pair: Pair,
}

impl DiffusionFamily {
    /// All families.
    pub const ALL: [Self; 2] = [Self::QwenImage, Self::Wan];

    /// The family that has a layer for each of `paths`, which may be diffusers' names or the original ones; `None` if
    /// there is none, or if the paths do not tell.
    pub fn of<'p>(paths: impl IntoIterator<Item = &'p str>) -> Option<Self> {
        let (mut families, mut any) = (Self::ALL.to_vec(), false);
        for path in paths {
            any = true;
            families.retain(|family| family.find(path).is_some());
        }
        match families.as_slice() {
            [family] if any => Some(*family),
            _ => None,
        }
    }

    /// The path in diffusers' transformer of the layer called `name` there or in the original files.
    pub fn diffusers(self, name: &str) -> Option<String> {
        self.find(name).map(|found| self.join(&found, found.pair.0))
    }

    /// The name in the original files of the layer called `name` there or in diffusers.
    pub fn original(self, name: &str) -> Option<String> {
        self.find(name).map(|found| self.join(&found, found.pair.1))
    }

    /// The path in diffusers' transformer of a layer whose name, of either kind, is written with `_` for every dot:
    /// found by the names that exist, since a `_` may also be one.
    pub(crate) fn unflattened(self, flat: &str) -> Option<String> {
        let (block, top) = (self.block(), self.top());
        let is = |pair: &&Pair, rest: &str| flat_of(pair.0) == rest || flat_of(pair.1) == rest;
        let in_block = || {
            let rest = flat.strip_prefix(self.blocks())?.strip_prefix('_')?;
            let (number, rest) = rest.split_once('_')?;
            let pair = block.iter().find(|pair| is(pair, rest))?;
            is_number(number).then(|| format!("{}.{number}.{}", self.blocks(), pair.0))
        };
        let outside = || {
            top.iter()
                .find(|pair| is(pair, flat))
                .map(|p| p.0.to_owned())
        };
        in_block().or_else(outside)
    }

    /// What a layer is called within its block, in diffusers; none for a layer outside the blocks.
    pub(crate) fn within_block(self, name: &str) -> Option<&'static str> {
        self.find(name)
            .and_then(|found| found.block.map(|_| found.pair.0))
    }

    fn find(self, name: &str) -> Option<Found<'_>> {
        let is = |pair: &&Pair, rest: &str| pair.0 == rest || pair.1 == rest;
        let in_block = || {
            let rest = name.strip_prefix(self.blocks())?.strip_prefix('.')?;
            let (number, rest) = rest.split_once('.')?;
            let pair = self.block().iter().find(|pair| is(pair, rest))?;
            is_number(number).then_some(Found {
                block: Some(number),
                pair: *pair,
            })
        };
        let outside = || {
            let pair = self.top().iter().find(|pair| is(pair, name))?;
            Some(Found {
                block: None,
                pair: *pair,
            })
        };
        in_block().or_else(outside)
    }

    fn join(self, found: &Found<'_>, rest: &str) -> String {
        match found.block {
            Some(number) => format!("{}.{number}.{rest}", self.blocks()),
            None => rest.to_owned(),
        }
    }

    fn blocks(self) -> &'static str {
        match self {
            Self::QwenImage => "transformer_blocks",
            Self::Wan => "blocks",
        }
    }

    fn block(self) -> &'static [Pair] {
        match self {
            Self::QwenImage => &QWEN_BLOCK,
            Self::Wan => &WAN_BLOCK,
        }
    }

    fn top(self) -> &'static [Pair] {
        match self {
            Self::QwenImage => &QWEN_TOP,
            Self::Wan => &WAN_TOP,
        }
    }
}

impl fmt::Display for DiffusionFamily {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::QwenImage => "Qwen-Image",
            Self::Wan => "Wan",
        })
    }
}

/// With `_` for every dot, as Kohya's files have it.
pub(crate) fn flat_of(name: &str) -> String {
    name.replace('.', "_")
}

/// A block's number as every program writes it.
fn is_number(text: &str) -> bool {
    text.len() <= 4
        && text.bytes().all(|b| b.is_ascii_digit())
        && (text == "0" || (!text.is_empty() && !text.starts_with('0')))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Every layer of a family's block 12, and those outside, in diffusers' names.
    fn layers(family: DiffusionFamily) -> Vec<String> {
        let block = family
            .block()
            .iter()
            .map(|p| format!("{}.12.{}", family.blocks(), p.0));
        block
            .chain(family.top().iter().map(|p| p.0.to_owned()))
            .collect()
    }

    #[test]
    fn names_go_both_ways_and_back_from_flat_ones() {
        for family in DiffusionFamily::ALL {
            let mut flat = BTreeSet::new();
            for path in layers(family) {
                let original = family.original(&path).expect("known");
                assert_eq!(family.diffusers(&original), Some(path.clone()));
                assert_eq!(family.diffusers(&path), Some(path.clone()));
                assert_eq!(family.original(&original), Some(original.clone()));
                for name in [&path, &original] {
                    assert_eq!(family.unflattened(&flat_of(name)), Some(path.clone()));
                }
                // No two layers are written alike.
                assert!(flat.insert(flat_of(&path)), "{path}");
                assert!(
                    path == original || flat.insert(flat_of(&original)),
                    "{path}"
                );
            }
        }
        let wan = DiffusionFamily::Wan;
        let cases = [
            ("blocks.29.self_attn.o", "blocks.29.attn1.to_out.0"),
            ("blocks.0.cross_attn.v_img", "blocks.0.attn2.add_v_proj"),
            ("blocks.7.ffn.0", "blocks.7.ffn.net.0.proj"),
            ("time_projection.1", "condition_embedder.time_proj"),
            ("head.head", "proj_out"),
        ];
        for (original, path) in cases {
            assert_eq!(wan.diffusers(original).as_deref(), Some(path));
            assert_eq!(wan.original(path).as_deref(), Some(original));
        }
        assert_eq!(
            DiffusionFamily::QwenImage
                .original("transformer_blocks.0.attn.to_out.0")
                .as_deref(),
            Some("transformer_blocks.0.attn.to_out.0")
        );
    }

    #[test]
    fn what_no_model_has_is_no_name() {
        for family in DiffusionFamily::ALL {
            for name in [
                "",
                ".",
                "transformer_blocks",
                "transformer_blocks.0",
                "transformer_blocks.0.",
                "transformer_blocks..attn.to_q",
                "transformer_blocks.01.attn.to_q",
                "transformer_blocks.x.attn.to_q",
                "transformer_blocks.12345.attn.to_q",
                "transformer_blocks.-1.attn.to_q",
                "transformer_blocks.0.attn.to_q.x",
                "transformer_blocks.0.attn.norm_q",
                "single_transformer_blocks.0.attn.to_q",
                "blocks.0.self_attn.norm_q",
                "blocks.0.attn1",
                "model.layers.0.self_attn.q_proj",
            ] {
                assert_eq!(family.diffusers(name), None, "{name}");
                assert_eq!(family.original(name), None, "{name}");
                assert_eq!(family.unflattened(&flat_of(name)), None, "{name}");
            }
        }
    }

    #[test]
    fn the_family_is_told_by_the_names() {
        let of = |paths: &[&str]| DiffusionFamily::of(paths.iter().copied());
        let (qwen, wan) = (DiffusionFamily::QwenImage, DiffusionFamily::Wan);
        assert_eq!(
            of(&["transformer_blocks.0.img_mod.1", "proj_out"]),
            Some(qwen)
        );
        assert_eq!(of(&["blocks.0.attn1.to_q"]), Some(wan));
        assert_eq!(of(&["blocks.0.ffn.0", "blocks.0.ffn.net.2"]), Some(wan));
        // Both have such a layer.
        assert_eq!(of(&["proj_out"]), None);
        assert_eq!(of(&["img_in", "blocks.0.ffn.0"]), None);
        assert_eq!(of(&["model.layers.0.mlp.up_proj"]), None);
        assert_eq!(of(&[]), None);
    }
}
