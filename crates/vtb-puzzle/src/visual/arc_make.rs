//! Draws rules and inputs that show them.

use super::Grid;
use super::arc_rule::{ArcRule, Direction, Turn};
use crate::dice::Dice;

/// Kinds of rules, by name.
pub(crate) const FAMILIES: [&str; 10] = [
    "crop",
    "double",
    "extend",
    "fall",
    "fill",
    "keep_largest",
    "mirror_join",
    "recolor",
    "swap",
    "turn",
];

/// A rule of a family; `None` for a name that is not among [`FAMILIES`].
pub(crate) fn random_rule(family: &str, dice: &mut Dice) -> Option<ArcRule> {
    let directions = [
        Direction::Up,
        Direction::Down,
        Direction::Left,
        Direction::Right,
    ];
    let to = *dice.pick(&directions)?;
    let (first, second) = two_colors(dice);
    let rule = match family {
        "crop" => ArcRule::Crop,
        "double" => ArcRule::Double,
        "extend" => ArcRule::Extend { to },
        "fall" => ArcRule::Fall { to },
        "fill" => ArcRule::FillEnclosed { color: first },
        "keep_largest" => ArcRule::KeepLargest,
        "mirror_join" => ArcRule::MirrorJoin { to },
        "recolor" => ArcRule::Recolor {
            from: first,
            to: second,
        },
        "swap" => ArcRule::Swap {
            a: first.min(second),
            b: first.max(second),
        },
        "turn" => {
            let turns = [
                Turn::FlipAcross,
                Turn::FlipDown,
                Turn::Half,
                Turn::Clockwise,
                Turn::Counterclockwise,
                Turn::Transpose,
            ];
            ArcRule::Turn {
                how: *dice.pick(&turns)?,
            }
        }
        _ => return None,
    };
    Some(rule)
}

fn two_colors(dice: &mut Dice) -> (u8, u8) {
    let first = 1 + dice.below(9);
    let second = 1 + (first + dice.below(8)) % 9;
    (first as u8, second as u8)
}

/// An input of at most `most` cells a side for `rule`, with its output, where the two differ.
pub(crate) fn make_example(rule: ArcRule, most: usize, dice: &mut Dice) -> Option<(Grid, Grid)> {
    let input = match rule {
        ArcRule::Recolor { from, .. } => mixed(sized(3, most, dice), 0.5, &[from], dice),
        ArcRule::Swap { a, b } => mixed(sized(3, most, dice), 0.6, &[a, b], dice),
        ArcRule::Turn { .. } => mixed(sized(3, most, dice), 0.45, &[], dice),
        ArcRule::Fall { .. } => mixed(sized(3, most, dice), 0.3, &[], dice),
        ArcRule::MirrorJoin { .. } | ArcRule::Double => {
            mixed(sized(2, most / 2, dice), 0.6, &[], dice)
        }
        ArcRule::Extend { .. } => seeds(sized(4, most, dice), dice),
        ArcRule::FillEnclosed { color } => rooms(sized(6, most, dice), color, dice),
        ArcRule::Crop => blocks(sized(5, most, dice), 1, dice),
        ArcRule::KeepLargest => blocks(sized(6, most, dice), 3, dice),
    };
    let output = rule.apply(&input)?;
    (output != input).then_some((input, output))
}

fn sized(least: usize, most: usize, dice: &mut Dice) -> [usize; 2] {
    [(); 2].map(|()| least + dice.below(most.max(least) - least + 1))
}

/// Cells coloured at random in three colours, `wanted` among them.
fn mixed([rows, cols]: [usize; 2], density: f64, wanted: &[u8], dice: &mut Dice) -> Grid {
    let mut colors = wanted.to_vec();
    while colors.len() < 3 {
        let color = 1 + dice.below(9) as u8;
        if !colors.contains(&color) {
            colors.push(color);
        }
    }
    let mut cell = || match dice.chance(density) {
        true => dice.pick(&colors).copied().unwrap_or(1),
        false => 0,
    };
    (0..rows)
        .map(|_| (0..cols).map(|_| cell()).collect())
        .collect()
}

/// Single cells, no two in one row or column.
fn seeds([rows, cols]: [usize; 2], dice: &mut Dice) -> Grid {
    let mut grid = vec![vec![0; cols]; rows];
    let mut down: Vec<_> = (0..rows).collect();
    let mut across: Vec<_> = (0..cols).collect();
    dice.shuffle(&mut down);
    dice.shuffle(&mut across);
    let count = 2 + dice.below(rows.min(cols).saturating_sub(2).max(1));
    for (row, column) in down.into_iter().zip(across).take(count) {
        grid[row][column] = 1 + dice.below(9) as u8;
    }
    grid
}

/// Outlines of rectangles, and dots beside them; none in `fill`.
fn rooms([rows, cols]: [usize; 2], fill: u8, dice: &mut Dice) -> Grid {
    let mut grid = vec![vec![0; cols]; rows];
    let color = 1 + (usize::from(fill) + dice.below(8)) as u8 % 9;
    for _ in 0..1 + dice.below(2) {
        if let Some([top, left, bottom, right]) = free_box(&grid, 3, 5, dice) {
            grid[top][left..=right].fill(color);
            grid[bottom][left..=right].fill(color);
            for cells in &mut grid[top..=bottom] {
                (cells[left], cells[right]) = (color, color);
            }
        }
    }
    for _ in 0..dice.below(3) {
        if let Some([row, column, ..]) = free_box(&grid, 1, 1, dice) {
            grid[row][column] = color;
        }
    }
    grid
}

/// Patches of cells that do not touch each other, each of several colours.
fn blocks([rows, cols]: [usize; 2], count: usize, dice: &mut Dice) -> Grid {
    let mut grid = vec![vec![0; cols]; rows];
    let (first, second) = two_colors(dice);
    for _ in 0..count {
        let Some([top, left, bottom, right]) = free_box(&grid, 1, 4, dice) else {
            continue;
        };
        for cells in &mut grid[top..=bottom] {
            for cell in &mut cells[left..=right] {
                *cell = if dice.chance(0.7) { first } else { second };
            }
        }
    }
    grid
}

/// Top, left, bottom, right of a box of `least` to `most` cells a side that touches nothing.
fn free_box(grid: &[Vec<u8>], least: usize, most: usize, dice: &mut Dice) -> Option<[usize; 4]> {
    const TRIES: u32 = 30;
    let shape = [grid.len(), grid[0].len()];
    for _ in 0..TRIES {
        let side = [0, 1].map(|axis: usize| {
            let most = most.min(shape[axis]);
            least.min(most) + dice.below(most.saturating_sub(least) + 1)
        });
        let start = [0, 1].map(|axis: usize| dice.below(shape[axis] - side[axis] + 1));
        let end = [0, 1].map(|axis: usize| start[axis] + side[axis] - 1);
        let near =
            |axis: usize| start[axis].saturating_sub(1)..=(end[axis] + 1).min(shape[axis] - 1);
        let free = near(0).all(|row| near(1).all(|column| grid[row][column] == 0));
        if free {
            return Some([start[0], start[1], end[0], end[1]]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_makes_examples() {
        let mut dice = Dice::new(5, "arc");
        for family in FAMILIES {
            let mut made = 0;
            for _ in 0..200 {
                let rule = random_rule(family, &mut dice).unwrap();
                if let Some((input, output)) = make_example(rule, 8, &mut dice) {
                    assert_eq!(rule.apply(&input), Some(output));
                    assert!(input.len() <= 8 && input[0].len() <= 8);
                    made += 1;
                }
            }
            assert!(made > 100, "{family}: {made}");
        }
        assert_eq!(random_rule("none", &mut dice), None);
    }

    #[test]
    fn two_colors_differ() {
        let mut dice = Dice::new(6, "colors");
        for _ in 0..500 {
            let (first, second) = two_colors(&mut dice);
            assert!(first != second && (1..10).contains(&first) && (1..10).contains(&second));
        }
    }
}
