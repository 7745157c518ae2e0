//! Properties of the path check on arbitrary paths.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;
use vtb_puzzle::{CellId, MazeGraph, PathFault, PathRules, check_path, find};

fn graph(seed: u64) -> MazeGraph {
    let params = json!({"rows": 7, "cols": 7, "min_path": 5, "braid": 0.5});
    find("maze_square")
        .unwrap()
        .generate(&params, seed)
        .unwrap()
        .graph
        .unwrap()
}

/// A walk that is legal until one of its turns is not.
fn walk(graph: &MazeGraph, turns: &[u8]) -> Vec<CellId> {
    let mut path = vec![graph.start()];
    for &turn in turns {
        let here = path[path.len() - 1];
        let doors = graph.neighbours(here);
        path.push(match doors.get(usize::from(turn) % (doors.len() + 1)) {
            Some(&next) => next,
            None => here + 1,
        });
    }
    path
}

proptest! {
    #[test]
    fn reports_are_consistent(
        seed in 0_u64..40,
        turns in prop::collection::vec(any::<u8>(), 0..40),
        noise in prop::collection::vec(any::<CellId>(), 0..4),
        allow_repeats in any::<bool>(),
        shortest_only in any::<bool>(),
    ) {
        let graph = graph(seed);
        let rules = PathRules { allow_repeats, shortest_only };
        let mut path = walk(&graph, &turns);
        path.extend(noise);
        let check = check_path(&graph, &path, rules);
        prop_assert_eq!(check.valid, check.fault.is_none());
        prop_assert_eq!(check.valid, check.first_error_index.is_none());
        prop_assert!(check.prefix_valid_len <= path.len());
        prop_assert!(!check.exact || check.valid);
        prop_assert!((0.0..=1.0).contains(&check.length_ratio) || allow_repeats);
        if let (Some(at), Some(fault)) = (check.first_error_index, check.fault) {
            prop_assert_eq!(at, check.prefix_valid_len);
            prop_assert!(!fault.describe(&path, at).is_empty());
        }
        // Cut back to its legal part, a path has no fault but that it ends too soon.
        let legal = &path[..check.prefix_valid_len];
        let again = check_path(&graph, legal, rules);
        prop_assert_eq!(again.prefix_valid_len, legal.len());
        let ends = [None, Some(PathFault::Empty), Some(PathFault::StopsShort),
            Some(PathFault::NotShortest)];
        prop_assert!(ends.contains(&again.fault));
        prop_assert_eq!(again.reaches_goal, check.reaches_goal);
    }

    #[test]
    fn nothing_added_to_a_solution_keeps_it_valid(seed in 0_u64..40, extra in any::<CellId>()) {
        let graph = graph(seed);
        let mut path = graph.shortest_path();
        prop_assert!(check_path(&graph, &path, PathRules::default()).exact);
        path.push(extra);
        let check = check_path(&graph, &path, PathRules::default());
        prop_assert!(!check.valid && check.reaches_goal);
        path.pop();
        path.insert(0, extra);
        prop_assert!(!check_path(&graph, &path, PathRules::default()).valid);
    }

    #[test]
    fn judging_arbitrary_text_never_panics(seed in 0_u64..20, text in "\\PC*") {
        for task in vtb_puzzle::registry() {
            let record = task.generate(&json!(null), seed).unwrap();
            let verdict = vtb_puzzle::judge_text(&record, &text);
            prop_assert!(!verdict.reason.is_empty());
        }
    }
}
