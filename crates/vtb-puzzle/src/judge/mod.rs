//! Judging pictures.

mod rule;

pub use rule::{Area, Expect, MarkerRule, PictureRule, RouteRule, Slot, SlotRule};
