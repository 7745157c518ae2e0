//! Round mazes: cells from the record, walls from the picture.

use std::f64::consts::TAU;

use image::RgbImage;
use vtb_puzzle::CellId;

use super::fields::{Fields, Found, get, pixels, within};
use super::maze::{Layout, MAX_CELLS};
use super::walls::{Door, Spot, cell_map, passages};
use super::wrong;

/// Ring, 0 for the disc in the middle, and place in it, counter-clockwise from the right.
type Place = [u32; 2];

/// A disc and rings of equally many cells; ids go from the inside out.
///
/// Corridors lie a wall's thickness apart. The wall below a ring is drawn about the line where
/// the gap begins and the page shows in the rest, so it is twice as thick as the gap and a third
/// of the corridor within is lost to it.
struct Rings {
    rings: u32,
    segments: u32,
    width: f64,
    wall: f64,
    center: [f64; 2],
}

/// Reads the maze of a record.
pub(super) fn read(fields: &Fields, puzzle: &RgbImage) -> Found<Layout> {
    let rings = Rings::read(fields)?;
    let ends = [
        rings.end(fields, "start_cell")?,
        rings.end(fields, "goal_cell")?,
    ];
    let places = || rings.places();
    Ok(Layout {
        centers: places()
            .map(|at| (rings.id(at), rings.middle(at)))
            .collect(),
        passages: passages(puzzle, &rings.doors())?,
        cells: cell_map(puzzle, |point| rings.spot(point)),
        ends,
    })
}

impl Rings {
    fn read(fields: &Fields) -> Found<Self> {
        let rings = within("rings", get(fields, "rings")?, [1, 200])?;
        let segments = within("segments", get(fields, "segments")?, [3, 720])?;
        if rings as usize * segments as usize >= MAX_CELLS {
            return wrong("rings", format!("there are more than {MAX_CELLS} cells"));
        }
        let counts: Vec<u32> = get(fields, "cells_per_ring")?;
        let (first, others) = counts.split_first().unwrap_or((&0, &[]));
        let even = others.iter().all(|count| *count == segments);
        if *first != 1 || others.len() != rings as usize || !even {
            let reason = format!("is not 1 and {rings} times {segments}");
            return wrong("cells_per_ring", reason);
        }
        let width = pixels(fields, "ring_width", [6.0, 1000.0])?;
        let mut maze = Self {
            rings,
            segments,
            width,
            wall: pixels(fields, "wall_thickness", [1.0, width])?,
            center: [0.0; 2],
        };
        let goal = maze.place(fields, "goal_cell")?;
        let point: [f64; 2] = get(fields, "goal_point")?;
        let from_origin = maze.middle(goal);
        maze.center = [0, 1].map(|axis| point[axis] - from_origin[axis]);
        Ok(maze)
    }

    fn place(&self, fields: &Fields, field: &str) -> Found<Place> {
        let [ring, segment]: Place = get(fields, field)?;
        let cells = if ring == 0 { 1 } else { self.segments };
        match ring <= self.rings && segment < cells {
            true => Ok([ring, segment]),
            false => wrong(field, "is not in the maze"),
        }
    }

    fn end(&self, fields: &Fields, field: &str) -> Found<CellId> {
        Ok(self.id(self.place(fields, field)?))
    }

    fn id(&self, [ring, segment]: Place) -> CellId {
        match ring.checked_sub(1) {
            None => 0,
            Some(below) => 1 + below * self.segments + segment,
        }
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        let segments = self.segments;
        let outer = (1..=self.rings).flat_map(move |ring| (0..segments).map(move |at| [ring, at]));
        std::iter::once([0, 0]).chain(outer)
    }

    /// Inner radius of a ring's corridor.
    fn inner(&self, ring: u32) -> f64 {
        let offset = (2.0 * self.wall).max(self.width / 2.0).max(12.0);
        f64::from(ring) * (self.width + self.wall) + offset
    }

    fn direction(&self, segments: f64) -> [f64; 2] {
        let (sin, cos) = (TAU * segments / f64::from(self.segments)).sin_cos();
        [cos, -sin]
    }

    fn at(&self, direction: [f64; 2], radius: f64) -> [f64; 2] {
        [0, 1].map(|axis| self.center[axis] + radius * direction[axis])
    }

    fn middle(&self, [ring, segment]: Place) -> [f64; 2] {
        let radius = match ring {
            0 => 0.0,
            _ => self.inner(ring) + self.width / 2.0,
        };
        self.at(self.direction(f64::from(segment) + 0.5), radius)
    }

    fn doors(&self) -> Vec<Door> {
        let mut doors = Vec::new();
        for [ring, segment] in self.places().skip(1) {
            let here = self.id([ring, segment]);
            let out = self.direction(f64::from(segment) + 0.5);
            let below = if ring == 1 {
                [0, 0]
            } else {
                [ring - 1, segment]
            };
            doors.push(Door {
                cells: [self.id(below), here],
                at: self.at(out, self.inner(ring) - self.wall),
                across: out,
                half: [self.wall / 2.0, self.wall / 4.0],
            });
            let next = (segment + 1) % self.segments;
            let [x, y] = self.direction(f64::from(segment) + 1.0);
            let seen = (self.width - self.wall).max(self.width / 2.0);
            doors.push(Door {
                cells: [here, self.id([ring, next])],
                at: self.at([x, y], self.inner(ring) + seen / 2.0),
                across: [y, -x],
                half: [self.wall / 4.0, seen / 4.0],
            });
        }
        doors
    }

    /// The cell at a point.
    fn spot(&self, point: [f64; 2]) -> Option<Spot> {
        let [x, y] = [0, 1].map(|axis| point[axis] - self.center[axis]);
        let radius = x.hypot(y);
        // Rings meet where the wall between them was drawn.
        let border = |ring: u32| self.inner(ring) - self.wall;
        if radius < border(1) {
            return Some(Spot {
                cell: 0,
                is_inside: radius < border(1) - self.wall,
            });
        }
        let ring = (1 + ((radius - border(1)) / (self.width + self.wall)) as u32).min(self.rings);
        let inner = self.inner(ring);
        if radius >= inner + self.width {
            return None;
        }
        let turn = (-y).atan2(x) / TAU;
        let along = (turn - turn.floor()) * f64::from(self.segments);
        let segment = (along as u32).min(self.segments - 1);
        let share = along - f64::from(segment);
        let to_spoke = share.min(1.0 - share) * TAU / f64::from(self.segments) * radius;
        let between = (inner..inner + self.width - self.wall).contains(&radius);
        Some(Spot {
            cell: self.id([ring, segment]),
            is_inside: between && to_spoke > self.wall / 2.0 + 0.5,
        })
    }
}
