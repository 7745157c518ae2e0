//! Small data sets, and folders to compare.

#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vtb_data::generate::{ClipSettings, ClipSize, Ended, Plan, Request, Splits, Summary, generate};
use vtb_data::manifest::{Manifest, ManifestEntry};
use vtb_data::video::SizeFit;

/// Records of these tasks with seed 11, nothing else.
pub(crate) fn request(params: &[(&str, Value)], count: u64) -> Request {
    let find = |(name, _): &(&str, Value)| vtb_puzzle::find(name).unwrap();
    Request {
        tasks: params.iter().map(find).collect(),
        params: params
            .iter()
            .map(|(name, params)| ((*name).to_owned(), params.clone()))
            .collect(),
        count,
        seed: 11,
        video: None,
        splits: None,
        held_out: BTreeSet::new(),
    }
}

/// Three tasks with small pictures, in two parts; with clips of five frames.
pub(crate) fn small(count: u64, video: bool) -> Request {
    let params = [
        ("color_grid", json!({"canvas": 96})),
        ("maze_square", json!({"rows": 7, "cols": 7, "cell": 20})),
        ("midpoint", json!({"width": 400, "height": 380})),
    ];
    let clip = ClipSettings {
        frames: 5,
        fps: 16.0,
        size: Some(ClipSize {
            width: 96,
            height: 96,
            fit: SizeFit::Pad,
        }),
    };
    Request {
        video: video.then_some(clip),
        splits: Some(Splits::parse("train=0.7,test=0.3").unwrap()),
        ..request(&params, count)
    }
}

pub(crate) fn plan(request: &Request) -> Plan {
    Plan::new(request.clone()).unwrap()
}

#[track_caller]
pub(crate) fn make(plan: &Plan, dir: &Path, workers: usize) -> Summary {
    let ended = generate(plan, dir, workers, &mut |_| ControlFlow::Continue(()));
    match ended.unwrap() {
        Ended::Finished(summary) => summary,
        other => panic!("{other:?}"),
    }
}

/// A data set, made and opened.
#[track_caller]
pub(crate) fn data_set(request: &Request, dir: &Path) -> Manifest {
    make(&plan(request), dir, 2);
    Manifest::open(dir).unwrap()
}

pub(crate) fn read_all(manifest: &Manifest) -> Vec<ManifestEntry> {
    manifest.iter().map(Result::unwrap).collect()
}

/// Content by path of every file.
pub(crate) fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = files(dir, "").into_iter().map(|path| {
        let name = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
        (name, std::fs::read(path).unwrap())
    });
    files.collect()
}

/// Every file whose name ends so, sorted; none where the folder is not there yet.
pub(crate) fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        let Ok(entries) = folder.read_dir() else {
            continue;
        };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().unwrap().ends_with(end) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub(crate) fn copy(from: &Path, to: &Path) {
    for path in files(from, "") {
        let place = to.join(path.strip_prefix(from).unwrap());
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        std::fs::copy(path, place).unwrap();
    }
}
