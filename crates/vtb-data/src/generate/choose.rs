//! Which tasks to make.

use vtb_puzzle::{Puzzle, TaskGroup, find, registry};

use super::fault::{GenerateFault, nearest};
use crate::error::Result;

const GROUPS: [TaskGroup; 4] = [
    TaskGroup::Eyeballing,
    TaskGroup::Maze,
    TaskGroup::Visual,
    TaskGroup::VisualPuzzle,
];

/// The tasks of these names that belong to one of these groups and are not excluded, sorted by
/// name. No names, or `all`, means every task; no groups, every group.
///
/// # Errors
/// [`GenerateFault::Puzzle`] and [`GenerateFault::UnknownGroup`] with the nearest name;
/// [`GenerateFault::NoTask`].
pub fn choose_tasks(
    names: &[String],
    groups: &[String],
    exclude: &[String],
) -> Result<Vec<&'static dyn Puzzle>> {
    let wanted: Vec<&String> = names.iter().filter(|name| *name != "all").collect();
    for name in wanted.iter().copied().chain(exclude) {
        find(name).map_err(GenerateFault::from)?;
    }
    let all = wanted.len() < names.len() || names.is_empty();
    let groups = groups.iter().map(|name| group(name));
    let groups: Vec<TaskGroup> = groups.collect::<Result<_>>()?;
    let chosen = registry().iter().copied().filter(|task| {
        let info = task.info();
        (all || wanted.iter().any(|name| *name == info.name))
            && (groups.is_empty() || groups.contains(&info.group))
            && !exclude.iter().any(|name| name == info.name)
    });
    let chosen: Vec<_> = chosen.collect();
    if chosen.is_empty() {
        let why = "names, groups and exclusions have none in common".to_owned();
        return Err(GenerateFault::NoTask(why).into());
    }
    Ok(chosen)
}

fn group(name: &str) -> Result<TaskGroup> {
    let found = GROUPS.into_iter().find(|group| group.as_str() == name);
    found.ok_or_else(|| {
        let hint = nearest(name, GROUPS.iter().map(|group| group.as_str()));
        let name = name.to_owned();
        GenerateFault::UnknownGroup { name, hint }.into()
    })
}
