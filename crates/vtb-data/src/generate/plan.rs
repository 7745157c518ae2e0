//! What is wanted, and what is left of it after everything was checked.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use vtb_puzzle::{Puzzle, TaskGroup, canonical_json};

use super::clip::ClipSettings;
use super::fault::GenerateFault;
use super::split::Splits;
use crate::error::Result;
use crate::lines::hex;
use crate::video::SizeFit;

/// What to make.
#[derive(Clone)]
pub struct Request {
    /// The tasks, see [`choose_tasks`](super::choose_tasks).
    pub tasks: Vec<&'static dyn Puzzle>,
    /// Parameters that differ from the defaults, by task; see [`ParamLayers`](super::ParamLayers).
    pub params: BTreeMap<String, Value>,
    /// Records of every task, each of another scene.
    pub count: u64,
    /// Seed of the whole. Record `i` depends on it, the task, its parameters and `i` alone.
    pub seed: u64,
    /// Solution clips, if any.
    pub video: Option<ClipSettings>,
    /// Parts that share no scene, if any.
    pub splits: Option<Splits>,
    /// Scene hashes that must not appear.
    pub held_out: BTreeSet<String>,
}

/// A task with its parameters.
#[derive(Clone)]
pub struct TaskPlan {
    /// Draws and judges.
    pub task: &'static dyn Puzzle,
    /// Name of the task.
    pub name: &'static str,
    /// Its family.
    pub group: TaskGroup,
    /// Version of its generator.
    pub version: u32,
    /// Every parameter.
    pub params: Value,
    /// Different scenes there are, where they can be counted.
    pub scene_space: Option<u128>,
}

/// A request that was checked.
#[derive(Clone)]
pub struct Plan {
    pub(super) tasks: Vec<TaskPlan>,
    pub(super) count: u64,
    pub(super) seed: u64,
    pub(super) video: Option<ClipSettings>,
    pub(super) splits: Option<Splits>,
    pub(super) held_out: BTreeSet<String>,
}

impl Plan {
    /// Checks a request; nothing is made or written yet.
    ///
    /// # Errors
    /// [`GenerateFault::NoTask`], [`GenerateFault::Puzzle`] for parameters,
    /// [`GenerateFault::SceneSpace`] for a task with too few scenes, [`GenerateFault::Setting`].
    pub fn new(request: Request) -> Result<Self> {
        let Request {
            tasks,
            params,
            count,
            seed,
            video,
            splits,
            held_out,
        } = request;
        if tasks.is_empty() {
            return Err(GenerateFault::NoTask("none was named".to_owned()).into());
        }
        if count == 0 {
            let text = "count is 0; ask for 1 record of each task at least".to_owned();
            return Err(GenerateFault::Setting(text).into());
        }
        if let Some(video) = &video {
            video.validate()?;
        }
        let mut plans: BTreeMap<&str, TaskPlan> = BTreeMap::new();
        for task in tasks {
            let plan = plan_task(task, &params, count)?;
            plans.insert(plan.name, plan);
        }
        if let Some(name) = params
            .keys()
            .find(|name| !plans.contains_key(name.as_str()))
        {
            let (option, task) = ("parameters".to_owned(), name.clone());
            return Err(GenerateFault::NotSelected { option, task }.into());
        }
        Ok(Self {
            tasks: plans.into_values().collect(),
            count,
            seed,
            video,
            splits,
            held_out,
        })
    }

    /// The tasks, sorted by name.
    pub fn tasks(&self) -> &[TaskPlan] {
        &self.tasks
    }

    /// Records of each task.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Records of all tasks.
    pub fn records(&self) -> u64 {
        self.count.saturating_mul(self.tasks.len() as u64)
    }

    /// How clips are made, if they are.
    pub fn video(&self) -> Option<&ClipSettings> {
        self.video.as_ref()
    }

    /// All that the data set depends on, to be kept with it.
    pub(super) fn settings(&self) -> Settings<'_> {
        let mut hash = Sha256::new();
        for scene in &self.held_out {
            hash.update(scene.as_bytes());
            hash.update(b"\n");
        }
        let held_out = (!self.held_out.is_empty()).then(|| HeldOut {
            scenes: self.held_out.len(),
            sha256: hex(&hash.finalize()),
        });
        let size = |video: &ClipSettings| video.size.map(|size| [size.width, size.height]);
        let fit = |video: &ClipSettings| Some(fit_name(video.size?.fit));
        let video = self.video.as_ref().map(|video| Video {
            frames: video.frames,
            fps: video.fps,
            size: size(video),
            fit: fit(video),
        });
        let tasks = self.tasks.iter().map(|task| {
            let settings = TaskSettings {
                group: task.group,
                version: task.version,
                params: RawValue::from_string(canonical_json(&task.params)).ok(),
            };
            (task.name, settings)
        });
        Settings {
            seed: self.seed,
            count: self.count,
            video,
            split: self.splits.as_ref().map(Splits::parts),
            held_out,
            tasks: tasks.collect(),
        }
    }
}

fn plan_task(
    task: &'static dyn Puzzle,
    params: &BTreeMap<String, Value>,
    count: u64,
) -> Result<TaskPlan> {
    let info = task.info();
    let given = params.get(info.name).unwrap_or(&Value::Null);
    let params = task.resolve_params(given).map_err(GenerateFault::from)?;
    let scene_space = task.scene_space(&params).map_err(GenerateFault::from)?;
    // Told at once where it can be counted, not after a long search.
    if let Some(space) = scene_space.filter(|space| *space < u128::from(count)) {
        return Err(GenerateFault::SceneSpace {
            task: info.name.to_owned(),
            space,
            wanted: count,
        }
        .into());
    }
    Ok(TaskPlan {
        task,
        name: info.name,
        group: info.group,
        version: info.version,
        params,
        scene_space,
    })
}

/// The name of a way to fit pictures, on the command line and in `generation.json`.
fn fit_name(fit: SizeFit) -> &'static str {
    match fit {
        SizeFit::Pad => "pad",
        SizeFit::Crop => "crop",
        SizeFit::Resample => "resample",
    }
}

/// `settings` in `generation.json`.
#[derive(Serialize)]
pub(super) struct Settings<'a> {
    seed: u64,
    count: u64,
    video: Option<Video>,
    split: Option<&'a [(String, f64)]>,
    held_out: Option<HeldOut>,
    tasks: BTreeMap<&'a str, TaskSettings>,
}

#[derive(Serialize)]
struct Video {
    frames: usize,
    fps: f64,
    size: Option<[u32; 2]>,
    fit: Option<&'static str>,
}

#[derive(Serialize)]
struct HeldOut {
    scenes: usize,
    sha256: String,
}

#[derive(Serialize)]
struct TaskSettings {
    group: TaskGroup,
    version: u32,
    params: Option<Box<RawValue>>,
}
