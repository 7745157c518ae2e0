//! Scenes that stand in more than one place: twice in a file, in two of its parts, or in another file.

use std::collections::HashMap;
use std::path::Path;

use image::RgbImage;
use serde_json::{Map, Value};

use super::findings::Findings;

/// What a row shows, for comparison with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scene {
    /// Where the row stands.
    pub(super) place: String,
    /// `scene_hash`, or that of its record.
    pub(super) hash: Option<String>,
    /// Part of the data set it says it belongs to.
    pub(super) split: Option<String>,
    /// Hash of the pictures it starts from.
    pub(super) pixels: Option<u64>,
    /// Hash of everything it shows and says.
    pub(super) whole: u64,
}

/// The scenes of a file.
#[derive(Debug, Default)]
pub(super) struct Scenes(pub(super) Vec<Scene>);

/// A scene hash, or the hash of the pictures where a row has none: the kind of scene, then the hash.
type Key<'a> = (bool, &'a str, u64);

impl Scene {
    fn key(&self) -> Option<Key<'_>> {
        match (&self.hash, self.pixels) {
            (Some(hash), _) => Some((true, hash, 0)),
            (None, Some(pixels)) => Some((false, "", pixels)),
            (None, None) => None,
        }
    }
}

impl Scenes {
    /// Rows that repeat one before, and scenes that stand in two parts.
    pub(super) fn within(&self, findings: &mut Findings) {
        let mut whole: HashMap<u64, &Scene> = HashMap::new();
        let mut parts: HashMap<Key<'_>, &Scene> = HashMap::new();
        for scene in &self.0 {
            if let Some(first) = whole.get(&scene.whole) {
                let (place, first) = (&scene.place, &first.place);
                findings.fault("a row repeats another", format!("{place} is {first} again"));
                continue;
            }
            whole.insert(scene.whole, scene);
            let (Some(key), Some(split)) = (scene.key(), &scene.split) else {
                continue;
            };
            let first = parts.entry(key).or_insert(scene);
            if first.split.as_ref() != Some(split) {
                let other = first.split.as_deref().unwrap_or_default();
                let place = format!("{} ({split}) and {} ({other})", scene.place, first.place);
                findings.fault("a scene stands in two splits", place);
            }
        }
        let scenes: std::collections::HashSet<_> = self.0.iter().filter_map(Scene::key).collect();
        findings.fact("scenes", scenes.len());
    }

    /// Scenes that stand in another file too. Pictures are compared as well: a file may lack hashes.
    pub(super) fn compare(&self, others: &Self, file: &Path, findings: &mut Findings) {
        let mut hashes: HashMap<&str, &Scene> = HashMap::new();
        let mut pixels: HashMap<u64, &Scene> = HashMap::new();
        for scene in &others.0 {
            hashes.extend(scene.hash.as_deref().map(|hash| (hash, scene)));
            pixels.extend(scene.pixels.map(|hash| (hash, scene)));
        }
        let kind = format!("a scene stands in {} too", file.display());
        for scene in &self.0 {
            let by_hash = scene.hash.as_deref().and_then(|hash| hashes.get(hash));
            let by_pixels = || scene.pixels.and_then(|hash| pixels.get(&hash));
            if let Some(other) = by_hash.or_else(by_pixels) {
                findings.fault(&kind, format!("{} is {}", scene.place, other.place));
            }
        }
    }
}

/// The scene hash of a row's columns.
pub(super) fn scene_hash(columns: &Map<String, Value>) -> Option<String> {
    let own = columns.get("scene_hash");
    let record = || columns.get("record")?.get("scene_hash");
    own.or_else(record)?.as_str().map(str::to_owned)
}

/// The part that a row's columns say it belongs to.
pub(super) fn split(columns: &Map<String, Value>) -> Option<String> {
    columns.get("split")?.as_str().map(str::to_owned)
}

/// Hash of pictures in order; `None` for none. Only compared within one run of the program.
pub(super) fn pixels<'a>(pictures: impl IntoIterator<Item = &'a RgbImage>) -> Option<u64> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    let mut count = 0;
    for picture in pictures {
        (picture.dimensions(), picture.as_raw()).hash(&mut hasher);
        count += 1;
    }
    (count > 0).then(|| hasher.finish())
}

/// Hash of texts and pictures.
pub(super) fn whole(texts: &[&str], pixels: Option<u64>) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (texts, pixels).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(place: &str, hash: Option<&str>, split: &str, pixels: u64, whole: u64) -> Scene {
        Scene {
            place: place.to_owned(),
            hash: hash.map(str::to_owned),
            split: Some(split.to_owned()),
            pixels: Some(pixels),
            whole,
        }
    }

    #[test]
    fn repeats_and_leaks_are_found() {
        let train = Scenes(vec![
            scene("t:1", Some("a"), "train", 1, 1),
            scene("t:2", Some("a"), "test", 2, 2),
            scene("t:3", Some("b"), "train", 3, 3),
            scene("t:4", Some("b"), "train", 3, 3),
            scene("t:5", Some("b"), "train", 4, 4),
        ]);
        let mut findings = Findings::new(5);
        train.within(&mut findings);
        assert_eq!(findings.faults_of("a row repeats another"), 1);
        assert_eq!(findings.faults_of("a scene stands in two splits"), 1);
        let other = Scenes(vec![
            scene("e:1", None, "x", 3, 9),
            scene("e:2", Some("z"), "x", 8, 8),
        ]);
        train.compare(&other, Path::new("e"), &mut findings);
        // By their pictures: the other file names no scene for them.
        assert_eq!(findings.faults_of("a scene stands in e too"), 2);
    }
}
