//! The one source of randomness of a scene.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::hash::digest;

/// ChaCha8 seeded by a number and a purpose, with draws whose values are fixed here.
///
/// Ranges and shuffles are worked out in this file rather than taken from a library, so that a
/// library's next version, or a feature another crate turns on, cannot change a data set.
#[derive(Debug, Clone)]
pub struct Dice(ChaCha8Rng);

impl Dice {
    /// Dice for `purpose`; different purposes of one seed are independent.
    #[must_use]
    pub fn new(seed: u64, purpose: &str) -> Self {
        let key = digest(&[b"dice", purpose.as_bytes(), &seed.to_le_bytes()]);
        Self(ChaCha8Rng::from_seed(key))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..count` without bias; 0 when `count` is 0.
    pub fn below(&mut self, count: usize) -> usize {
        let count = count as u64;
        if count <= 1 {
            return 0;
        }
        // The first `rejected` values would make small results more likely.
        let rejected = count.wrapping_neg() % count;
        loop {
            let wide = u128::from(self.bits()) * u128::from(count);
            if wide as u64 >= rejected {
                return (wide >> 64) as usize;
            }
        }
    }

    /// Uniform whole number in `low..=high`; `low` when the range is empty.
    pub fn whole(&mut self, low: i32, high: i32) -> i32 {
        let count = (i64::from(high) - i64::from(low) + 1).max(1);
        (i64::from(low) + self.below(count as usize) as i64) as i32
    }

    /// Uniform in `[0, 1)`, a multiple of 2^-53.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Two numbers uniform in `[0, 1)`, multiples of 2^-32, for the price of one.
    pub fn pair(&mut self) -> [f64; 2] {
        let bits = self.bits();
        [bits as u32, (bits >> 32) as u32].map(|half| f64::from(half) / (1_u64 << 32) as f64)
    }

    /// Uniform in `[low, high)`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of the items; `None` when there are none.
    pub fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let at = self.below(items.len());
        items.get(at)
    }

    /// All orders are equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// A point uniform in the unit disc. No sines: they differ between machines.
    pub fn in_disc(&mut self) -> [f64; 2] {
        loop {
            let point = [self.between(-1.0, 1.0), self.between(-1.0, 1.0)];
            if point[0] * point[0] + point[1] * point[1] <= 1.0 {
                return point;
            }
        }
    }

    /// A direction, all equally likely, as a vector of length 1.
    pub fn direction(&mut self) -> [f64; 2] {
        loop {
            let [x, y] = self.in_disc();
            let length = (x * x + y * y).sqrt();
            if length > 0.1 {
                return [x / length, y / length];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_pinned_for_good() {
        let mut dice = Dice::new(7, "test");
        let drawn: Vec<_> = (0..6).map(|_| dice.below(100)).collect();
        assert_eq!(drawn, [0, 93, 26, 45, 57, 52]);
        assert_ne!(Dice::new(7, "other").bits(), Dice::new(7, "test").bits());
        assert_ne!(Dice::new(8, "test").bits(), Dice::new(7, "test").bits());
    }

    #[test]
    fn below_is_even() {
        let mut dice = Dice::new(1, "even");
        let mut counts = [0_i32; 7];
        (0..70_000).for_each(|_| counts[dice.below(7)] += 1);
        assert!(
            counts.iter().all(|count| (count - 10_000).abs() < 500),
            "{counts:?}"
        );
        assert_eq!((dice.below(0), dice.below(1)), (0, 0));
    }

    #[test]
    fn ranges_hold_their_ends() {
        let mut dice = Dice::new(2, "range");
        let drawn: Vec<_> = (0..500).map(|_| dice.whole(-2, 2)).collect();
        assert_eq!(
            (drawn.iter().min(), drawn.iter().max()),
            (Some(&-2), Some(&2))
        );
        assert_eq!(dice.whole(5, 4), 5);
        let pairs: Vec<_> = (0..500).flat_map(|_| dice.pair()).collect();
        let mean = pairs.iter().sum::<f64>() / 1_000.0;
        assert!(pairs.iter().all(|one| (0.0..1.0).contains(one)) && (mean - 0.5).abs() < 0.05);
        assert!((0..500).all(|_| (3.0..4.0).contains(&dice.between(3.0, 4.0))));
        let [x, y] = dice.direction();
        assert!((x * x + y * y - 1.0).abs() < 1e-12);
    }

    #[test]
    fn every_order_of_a_shuffle_comes_up() {
        let mut dice = Dice::new(3, "shuffle");
        let mut seen = std::collections::BTreeMap::new();
        for _ in 0..6_000 {
            let mut items = [0, 1, 2];
            dice.shuffle(&mut items);
            *seen.entry(items).or_insert(0_i32) += 1;
        }
        assert_eq!(seen.len(), 6);
        assert!(
            seen.values().all(|count| (count - 1_000).abs() < 150),
            "{seen:?}"
        );
    }
}
