//! Where the cells of a maze lie in its picture.

use std::ops::Range;

use crate::graph::{CellId, index_of};

/// The cell every pixel of a maze belongs to, row by row.
///
/// ```
/// use vtb_puzzle::judge::CellMap;
///
/// let mut map = CellMap::new(12, vec![0, 1]);
/// map.fill(2..5, Some(0));
/// map.fill(4..8, Some(1));
/// map.fill(7..8, None);
/// assert_eq!([1, 2, 4, 7].map(|pixel| map.get(pixel)), [None, Some(0), Some(1), None]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CellMap {
    ids: Vec<CellId>,
    /// By pixel: 0 on walls and beside the maze, else one more than the index into `ids`.
    numbers: Vec<u32>,
    /// How many pixels have each number.
    areas: Vec<u32>,
}

impl CellMap {
    /// So many pixels of walls, in which cells of these names, in ascending order, can lie.
    #[must_use]
    pub fn new(pixels: usize, ids: Vec<CellId>) -> Self {
        let mut areas = vec![0; ids.len() + 1];
        areas[0] = pixels as u32;
        Self {
            ids,
            numbers: vec![0; pixels],
            areas,
        }
    }

    /// The map that has these cells, pixel by pixel.
    #[must_use]
    pub fn of(cells: &[Option<CellId>]) -> Self {
        let runs = cells.chunk_by(|one, next| one == next);
        let mut ids: Vec<_> = runs.filter_map(|run| run[0]).collect();
        ids.sort_unstable();
        ids.dedup();
        Self::of_named(ids, cells)
    }

    /// The same, where cells of these names can lie.
    pub(crate) fn of_named(ids: Vec<CellId>, cells: &[Option<CellId>]) -> Self {
        let mut map = Self::new(cells.len(), ids);
        let mut from = 0;
        for run in cells.chunk_by(|one, next| one == next) {
            map.fill(from..from + run.len(), run[0]);
            from += run.len();
        }
        map
    }

    /// Pixels of the picture.
    #[must_use]
    pub fn pixels(&self) -> usize {
        self.numbers.len()
    }

    /// The cell of a pixel; none on walls and beside the maze.
    ///
    /// # Panics
    /// When the picture has fewer pixels.
    #[must_use]
    pub fn get(&self, pixel: usize) -> Option<CellId> {
        self.name(self.numbers[pixel])
    }

    /// The cells of all pixels.
    pub fn iter(&self) -> impl Iterator<Item = Option<CellId>> + Clone {
        self.numbers.iter().map(|number| self.name(*number))
    }

    /// Gives pixels to a cell; what is no cell of the map is wall.
    ///
    /// # Panics
    /// When the picture has fewer pixels.
    pub fn fill(&mut self, pixels: Range<usize>, cell: Option<CellId>) {
        let new = self.number(cell);
        let old = &mut self.numbers[pixels];
        let Some(first) = old.first().copied() else {
            return;
        };
        self.areas[new as usize] += old.len() as u32;
        // Most pixels beside each other have one owner, which is seen faster than counted.
        match old.iter().fold(0, |all, number| all | (number ^ first)) {
            0 => self.areas[first as usize] -= old.len() as u32,
            _ => {
                for number in old.iter() {
                    self.areas[*number as usize] -= 1;
                }
            }
        }
        old.fill(new);
    }

    /// Gives those pixels to a cell that are walls.
    pub(crate) fn open(&mut self, pixels: Range<usize>, cell: CellId) {
        let new = self.number(Some(cell));
        let mut opened = 0;
        for number in self.numbers[pixels].iter_mut().filter(|old| **old == 0) {
            *number = new;
            opened += 1;
        }
        self.areas[0] -= opened;
        self.areas[new as usize] += opened;
    }

    fn name(&self, number: u32) -> Option<CellId> {
        Some(self.ids[number.checked_sub(1)? as usize])
    }

    fn number(&self, cell: Option<CellId>) -> u32 {
        cell.map_or(0, |cell| number_of(&self.ids, cell))
    }

    /// Numbers and areas where the cells are named so; what is no cell then is wall.
    pub(super) fn into_numbers(self, ids: &[CellId]) -> (Vec<u32>, Vec<u32>) {
        if self.ids == ids {
            return (self.numbers, self.areas);
        }
        let others = self.ids.iter().map(|id| number_of(ids, *id));
        let others: Vec<u32> = std::iter::once(0).chain(others).collect();
        let mut areas = vec![0; ids.len() + 1];
        for (other, area) in others.iter().zip(self.areas) {
            areas[*other as usize] += area;
        }
        let numbers = self.numbers.iter().map(|old| others[*old as usize]);
        (numbers.collect(), areas)
    }
}

/// One more than the index of a name; 0 if it is none.
pub(super) fn number_of(ids: &[CellId], id: CellId) -> u32 {
    index_of(ids, id).map_or(0, |at| at as u32 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dice::Dice;

    /// Areas are those that counting gives, whatever is filled over what.
    #[test]
    fn areas_are_counted_along() {
        let ids = vec![3, 4, 9];
        let mut map = CellMap::new(60, ids.clone());
        let mut dice = Dice::new(1, "cells");
        for _ in 0..500 {
            let from = dice.below(60);
            let to = from + dice.below(61 - from);
            let cell = [3, 4, 9, 7][dice.below(4)];
            match dice.below(3) {
                0 => map.fill(from..to, None),
                1 => map.fill(from..to, Some(cell)),
                _ if cell != 7 => {
                    let before: Vec<_> = map.iter().collect();
                    map.open(from..to, cell);
                    for (at, old) in before.into_iter().enumerate() {
                        let is_opened = old.is_none() && (from..to).contains(&at);
                        assert_eq!(map.get(at), if is_opened { Some(cell) } else { old });
                    }
                }
                _ => {}
            }
            let cells: Vec<_> = map.iter().collect();
            let count = |cell| cells.iter().filter(|one| **one == cell).count() as u32;
            let areas = [None, Some(3), Some(4), Some(9)].map(count);
            assert_eq!(map.areas, areas);
            let same = CellMap::of(&cells);
            assert!(same.iter().eq(cells.iter().copied()));
            // As told by other names: 4 is missing, 5 is nowhere.
            let (numbers, few) = map.clone().into_numbers(&[3, 5, 9]);
            assert_eq!(few, [areas[0] + areas[2], areas[1], 0, areas[3]]);
            for (number, cell) in numbers.into_iter().zip(cells) {
                let expected = match cell {
                    Some(3) => 1,
                    Some(9) => 3,
                    _ => 0,
                };
                assert_eq!(number, expected);
            }
            assert_eq!(map.clone().into_numbers(&ids).0, map.numbers);
        }
    }
}
