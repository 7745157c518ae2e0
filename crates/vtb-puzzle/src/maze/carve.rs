//! Carving passages into a graph of rooms.

use std::collections::BTreeSet;

use crate::dice::Dice;

/// Opens passages by a random depth-first walk until every room that can be reached from `first`
/// is joined by exactly one route. `adjacent[room]` lists the rooms next door. Returns the open
/// passages. The walk keeps its own stack, so no maze is too deep.
#[must_use]
pub fn carve(adjacent: &[Vec<usize>], first: usize, dice: &mut Dice) -> Vec<(usize, usize)> {
    let mut visited = vec![false; adjacent.len()];
    let mut open = Vec::with_capacity(adjacent.len());
    if let Some(mark) = visited.get_mut(first) {
        *mark = true;
    }
    let mut stack = vec![first];
    while let Some(&here) = stack.last() {
        let doors = adjacent.get(here).map_or(&[][..], Vec::as_slice);
        let fresh: Vec<_> = doors
            .iter()
            .copied()
            .filter(|&room| !visited[room])
            .collect();
        match dice.pick(&fresh) {
            Some(&next) => {
                visited[next] = true;
                open.push((here, next));
                stack.push(next);
            }
            None => {
                stack.pop();
            }
        }
    }
    open
}

/// Gives each dead end, with `probability`, one more passage to a room next door: loops appear.
pub fn braid(
    adjacent: &[Vec<usize>],
    open: &mut Vec<(usize, usize)>,
    probability: f64,
    dice: &mut Dice,
) {
    if probability <= 0.0 {
        return;
    }
    let ordered = |a: usize, b: usize| (a.min(b), a.max(b));
    let mut joined: BTreeSet<_> = open.iter().map(|&(a, b)| ordered(a, b)).collect();
    for (room, doors) in adjacent.iter().enumerate() {
        let is_open = |other: &usize| joined.contains(&ordered(room, *other));
        let (used, walled): (Vec<_>, Vec<_>) = doors.iter().copied().partition(is_open);
        if used.len() != 1 || !dice.chance(probability) {
            continue;
        }
        if let Some(&other) = dice.pick(&walled) {
            joined.insert(ordered(room, other));
            open.push((room, other));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rooms in a square of `side`.
    fn square(side: usize) -> Vec<Vec<usize>> {
        let room = |row: usize, column: usize| row * side + column;
        (0..side * side)
            .map(|at| {
                let (row, column) = (at / side, at % side);
                let mut doors = Vec::new();
                if row > 0 {
                    doors.push(room(row - 1, column));
                }
                if column > 0 {
                    doors.push(room(row, column - 1));
                }
                if row + 1 < side {
                    doors.push(room(row + 1, column));
                }
                if column + 1 < side {
                    doors.push(room(row, column + 1));
                }
                doors
            })
            .collect()
    }

    #[test]
    fn carving_joins_all_rooms_without_loops() {
        for side in [2, 3, 9, 120] {
            let open = carve(&square(side), 0, &mut Dice::new(side as u64, "carve"));
            assert_eq!(open.len(), side * side - 1);
            let mut root: Vec<usize> = (0..side * side).collect();
            for (a, b) in open {
                let (old, new) = (root[b], root[a]);
                assert_ne!(old, new, "a loop");
                if side <= 9 {
                    root.iter_mut()
                        .filter(|at| **at == old)
                        .for_each(|at| *at = new);
                }
            }
        }
    }

    #[test]
    fn braiding_removes_every_dead_end_when_asked() {
        let rooms = square(8);
        let mut dice = Dice::new(4, "braid");
        let mut open = carve(&rooms, 0, &mut dice);
        braid(&rooms, &mut open, 1.0, &mut dice);
        let degree = |room| {
            open.iter()
                .filter(|(a, b)| *a == room || *b == room)
                .count()
        };
        assert!((0..64).all(|room| degree(room) >= 2));
        let mut pairs: Vec<_> = open.iter().map(|&(a, b)| (a.min(b), a.max(b))).collect();
        pairs.sort_unstable();
        assert!(pairs.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
