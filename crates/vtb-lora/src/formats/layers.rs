//! Which layer a name in a file means.

use std::collections::{BTreeMap, BTreeSet};

use super::DiffusionFamily;
use super::keys::Key;
use super::names::flat_of;
use crate::LinearInfo;

/// The layers that names may mean: those of a model, or those of the families whose names are known.
pub(super) struct Layers<'m> {
    known: Option<Known<'m>>,
}

/// The layers of a model.
struct Known<'m> {
    /// By diffusers' path.
    layers: BTreeMap<String, &'m LinearInfo>,
    /// The paths that a name with `_` for every dot may mean.
    flat: BTreeMap<String, BTreeSet<String>>,
    family: Option<DiffusionFamily>,
}

impl<'m> Layers<'m> {
    pub(super) fn new(modules: Option<&'m [LinearInfo]>) -> Self {
        Self {
            known: modules.map(Known::new),
        }
    }

    /// The layer at a path, if the model is known.
    pub(super) fn info(&self, path: &str) -> Option<&'m LinearInfo> {
        self.known.as_ref()?.layers.get(path).copied()
    }

    /// Whether `paths` are of one model.
    pub(super) fn is_one_model<'p>(&self, paths: impl Iterator<Item = &'p str> + Clone) -> bool {
        let all = |family: &DiffusionFamily| paths.clone().all(|p| family.diffusers(p).is_some());
        self.known.is_some() || DiffusionFamily::ALL.iter().any(all)
    }

    /// The path of the layer a tensor belongs to, or why there is none.
    pub(super) fn find(&self, key: &Key<'_>) -> Result<String, String> {
        if let Some(known) = &self.known {
            return known.find(key);
        }
        let path = DiffusionFamily::ALL
            .iter()
            .find_map(|family| match key.is_flat() {
                true => family.unflattened(key.layer),
                false => family.diffusers(key.layer),
            });
        path.ok_or_else(|| {
            "belongs to no layer of Qwen-Image or Wan, whose names are known; for another model name its directory \
             (`--model DIR`)"
                .to_owned()
        })
    }
}

impl<'m> Known<'m> {
    fn new(modules: &'m [LinearInfo]) -> Self {
        let mut known = Self {
            family: DiffusionFamily::of(modules.iter().map(|m| m.path.as_str())),
            layers: BTreeMap::new(),
            flat: BTreeMap::new(),
        };
        for module in modules {
            let path = known.path(&module.path);
            let original = known.family.and_then(|f| f.original(&module.path));
            for name in std::iter::once(&path).chain(&original) {
                let paths = known.flat.entry(flat_of(name)).or_default();
                paths.insert(path.clone());
            }
            known.layers.insert(path, module);
        }
        known
    }

    /// The path in diffusers' transformer; the name itself for other models.
    fn path(&self, name: &str) -> String {
        let path = self.family.and_then(|family| family.diffusers(name));
        path.unwrap_or_else(|| name.to_owned())
    }

    fn find(&self, key: &Key<'_>) -> Result<String, String> {
        const NONE: &str = "belongs to no layer of this model; is it an adapter of another?";
        if !key.is_flat() {
            let path = self.path(key.layer);
            return match self.layers.contains_key(&path) {
                true => Ok(path),
                false => Err(NONE.to_owned()),
            };
        }
        let mut paths = self.flat.get(key.layer).into_iter().flatten();
        match (paths.next(), paths.next()) {
            (None, _) => Err(NONE.to_owned()),
            (Some(path), None) => Ok(path.clone()),
            (Some(first), Some(second)) => Err(format!(
                "may belong to `{first}` or to `{second}`; rewrite the adapter in another form where it was trained"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linears(paths: &[&str]) -> Vec<LinearInfo> {
        let linear = |path: &&str| LinearInfo {
            path: (*path).to_owned(),
            in_features: 4,
            out_features: 3,
            is_head: false,
        };
        paths.iter().map(linear).collect()
    }

    fn find(layers: &Layers<'_>, name: &str) -> Result<String, String> {
        layers.find(&Key::parse(&format!("{name}.alpha")).expect("a key"))
    }

    #[test]
    fn flat_names_go_by_the_layers_there_are() {
        let modules = linears(&["a.b_c.d", "a.b.e_f", "x.y_z", "x_y.z"]);
        let layers = Layers::new(Some(&modules));
        assert_eq!(find(&layers, "lora_unet_a_b_c_d").as_deref(), Ok("a.b_c.d"));
        assert_eq!(find(&layers, "lora_unet_a_b_e_f").as_deref(), Ok("a.b.e_f"));
        assert_eq!(
            find(&layers, "transformer.a.b_c.d").as_deref(),
            Ok("a.b_c.d")
        );
        let either = find(&layers, "lora_unet_x_y_z").expect_err("ambiguous");
        assert!(
            either.contains("`x.y_z`") && either.contains("`x_y.z`"),
            "{either}"
        );
        for name in [
            "lora_unet_a_b_c",
            "a.b.c.d",
            "transformer_blocks.0.attn.to_q",
        ] {
            let fault = find(&layers, name).expect_err("absent");
            assert!(fault.contains("no layer of this model"), "{fault}");
        }
        let open = Layers::new(None);
        let unknown = find(&open, "lora_unet_a_b_c_d").expect_err("unknown");
        assert!(unknown.contains("--model DIR"), "{unknown}");
    }

    #[test]
    fn a_model_with_the_original_names_is_known_by_those_of_diffusers() {
        let modules = linears(&["blocks.0.self_attn.q", "blocks.0.ffn.0", "head.head"]);
        let layers = Layers::new(Some(&modules));
        for name in [
            "diffusion_model.blocks.0.self_attn.q",
            "blocks.0.attn1.to_q",
            "lora_unet_blocks_0_self_attn_q",
        ] {
            assert_eq!(
                find(&layers, name).as_deref(),
                Ok("blocks.0.attn1.to_q"),
                "{name}"
            );
        }
        assert_eq!(layers.info("proj_out"), Some(&modules[2]));
        assert!(find(&layers, "blocks.1.ffn.0").is_err());
    }
}
