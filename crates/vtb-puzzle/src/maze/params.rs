//! Parameters that the hexagonal maze and the labyrinth share.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::draw::MAX_SIDE;
use crate::params::within;

/// Where start and goal lie in a maze that has a centre.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RimPlacement {
    /// The goal is the centre, the start any cell of the rim.
    Center,
    /// Any two cells.
    Random,
}

/// Picture size, ends and routes; a task's own parameter block flattens this one into itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MazeParams {
    /// Width of the picture, pixels; 0 for just the maze (default 512). The maze is centred.
    pub width: u32,
    /// Height of the picture, likewise (default 512).
    pub height: u32,
    /// Where start and goal lie (default random: a fixed goal is free credit).
    pub placement: RimPlacement,
    /// Least length of the shortest path, cells, both ends counted (default 7).
    pub min_path: usize,
    /// Probability that a dead end is opened into a loop (default 0: exactly one path).
    pub braid: f64,
    /// Only a shortest path is right; matters with loops (default false: any path is).
    pub shortest_only: bool,
    /// Print ids on the cells (default true: text answers name cells by them; turn it off for
    /// edited pictures and videos).
    pub print_ids: bool,
}

impl Default for MazeParams {
    fn default() -> Self {
        Self {
            width: 512,
            height: 512,
            placement: RimPlacement::Random,
            min_path: 7,
            braid: 0.0,
            shortest_only: false,
            print_ids: true,
        }
    }
}

impl MazeParams {
    /// Checks ranges.
    ///
    /// # Errors
    /// A sentence naming the parameter.
    pub fn validate(&self) -> Result<(), String> {
        for (name, side) in [("width", self.width), ("height", self.height)] {
            within(name, side, 0, MAX_SIDE)?;
        }
        within("min_path", self.min_path, 3, 10_000)?;
        within("braid", self.braid, 0.0, 1.0)
    }

    /// `asked`, or the largest of `sizes` whose maze the picture holds when `asked` is 0.
    ///
    /// # Errors
    /// A sentence naming the parameter `name`.
    pub(crate) fn size(
        &self,
        name: &str,
        asked: u32,
        sizes: RangeInclusive<u32>,
        maze: impl Fn(u32) -> [u32; 2],
    ) -> Result<u32, String> {
        if asked != 0 {
            within(name, asked, *sizes.start(), *sizes.end())?;
            return Ok(asked);
        }
        if self.width == 0 && self.height == 0 {
            return Err(format!(
                "`{name}` is 0, which means as large as the picture allows; give a `width` or a \
                 `height`"
            ));
        }
        let least = *sizes.start();
        match self.too_small(maze(least)) {
            Some(fault) => Err(fault),
            None => Ok(sizes
                .take_while(|&size| self.too_small(maze(size)).is_none())
                .last()
                .unwrap_or(least)),
        }
    }

    /// Width and height of the picture for a maze of this size.
    ///
    /// # Errors
    /// A sentence naming the parameter.
    pub(crate) fn canvas(&self, maze: [u32; 2]) -> Result<[u32; 2], String> {
        if let Some(fault) = self.too_small(maze) {
            return Err(fault);
        }
        let canvas = [self.width.max(maze[0]), self.height.max(maze[1])];
        within("picture's width", canvas[0], 1, MAX_SIDE)?;
        within("picture's height", canvas[1], 1, MAX_SIDE)?;
        Ok(canvas)
    }

    fn too_small(&self, maze: [u32; 2]) -> Option<String> {
        let sides = [
            ("width", self.width, maze[0]),
            ("height", self.height, maze[1]),
        ];
        let tight = sides
            .into_iter()
            .find(|&(_, asked, least)| asked != 0 && asked < least);
        tight.map(|(name, asked, least)| {
            format!("`{name}` is {asked}; the maze alone takes {least} pixels")
        })
    }
}
