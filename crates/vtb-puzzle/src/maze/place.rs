//! Placing start and goal.

use std::collections::VecDeque;

use crate::dice::Dice;

/// Passages from `first` to every room; `None` where there is no way.
#[must_use]
pub fn steps_from(rooms: usize, open: &[(usize, usize)], first: usize) -> Vec<Option<usize>> {
    let mut doors = vec![Vec::new(); rooms];
    for &(a, b) in open {
        doors[a].push(b);
        doors[b].push(a);
    }
    let mut steps = vec![None; rooms];
    steps[first] = Some(0);
    let mut queue = VecDeque::from([(first, 0)]);
    while let Some((here, walked)) = queue.pop_front() {
        for &next in &doors[here] {
            if steps[next].is_none() {
                steps[next] = Some(walked + 1);
                queue.push_back((next, walked + 1));
            }
        }
    }
    steps
}

/// Two rooms at least `least` passages apart: the first uniform, the second uniform among those
/// far enough from it. `None` when no room tried has one.
#[must_use]
pub fn distant_pair(
    rooms: usize,
    open: &[(usize, usize)],
    least: usize,
    dice: &mut Dice,
) -> Option<(usize, usize)> {
    const TRIES: usize = 40;
    (0..TRIES).find_map(|_| {
        let first = dice.below(rooms);
        let steps = steps_from(rooms, open, first);
        let far = |room: &usize| steps[*room].is_some_and(|walked| walked >= least.max(1));
        let distant: Vec<_> = (0..rooms).filter(far).collect();
        dice.pick(&distant).map(|&second| (first, second))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_their_distance() {
        let row: Vec<_> = (0..9).map(|room| (room, room + 1)).collect();
        assert_eq!(steps_from(10, &row, 3)[9], Some(6));
        let mut dice = Dice::new(1, "pair");
        for _ in 0..200 {
            let (a, b) = distant_pair(10, &row, 5, &mut dice).unwrap();
            assert!(a.abs_diff(b) >= 5);
        }
        assert_eq!(distant_pair(10, &row, 10, &mut dice), None);
    }
}
