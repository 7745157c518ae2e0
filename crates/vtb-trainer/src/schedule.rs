//! Learning rate by step: warm-up, then cosine, linear or constant.
//!
//! The formulas are those of the `transformers` schedulers around a torch optimizer. With `W` warm-up steps of `S` in
//! all, step `s` (0-based, the number of updates already made) has `base · s/W` while `s < W`: the first update with
//! warm-up has rate 0. After it, with `p = (s-W)/(S-W)`: cosine `½(1 + cos πp)`, linear `1 - p`, constant `1`, scaled
//! into `[min_lr_ratio, 1] · base`. The rate is a pure function of the step, so there is nothing to save.
//!
//! [`Decay::ConstantThird`] is torch's `ConstantLR` as it comes without arguments, which trainers that ask for "a constant
//! rate" get: a third of it in the first five updates.

use serde::{Deserialize, Serialize};

use crate::TrainError;

/// The shape of the rate after warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Half a cosine wave down to the floor.
    #[default]
    Cosine,
    /// A straight line down to the floor.
    Linear,
    /// No decay.
    Constant,
    /// A third of the rate in the first five updates, then no decay. Warm-up, if any, scales these as well.
    ConstantThird,
}

/// Updates at a third of the rate under [`Decay::ConstantThird`].
const THIRD_UPDATES: u64 = 5;

/// Settings of a learning rate schedule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleConfig {
    /// The highest rate.
    pub learning_rate: f64,
    /// The shape after warm-up.
    pub decay: Decay,
    /// Warm-up steps; 0 leaves it to `warmup_ratio`.
    pub warmup_steps: u64,
    /// Warm-up as a fraction of all steps, rounded up. Ignored when `warmup_steps` is given.
    pub warmup_ratio: f64,
    /// The rate at the end as a fraction of `learning_rate`. Constant schedules ignore it.
    pub min_lr_ratio: f64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-4,
            decay: Decay::Cosine,
            warmup_steps: 0,
            warmup_ratio: 0.0,
            min_lr_ratio: 0.0,
        }
    }
}

/// A checked schedule over a known number of steps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    base: f64,
    decay: Decay,
    warmup: u64,
    total: u64,
    floor: f64,
}

impl Schedule {
    /// A schedule over `total_steps` optimizer updates. Errors name the setting that makes no sense.
    pub fn new(config: &ScheduleConfig, total_steps: u64) -> Result<Self, TrainError> {
        let check = |name: &str, value: f64, good: bool, allowed: &str| {
            good.then_some(()).ok_or_else(|| {
                TrainError::Config(format!("{name} = {value} is not allowed; give {allowed}"))
            })
        };
        let unit = |x: f64| (0.0..=1.0).contains(&x);
        let rate = config.learning_rate;
        check(
            "learning_rate",
            rate,
            rate.is_finite() && rate >= 0.0,
            "a number of at least 0",
        )?;
        let ratio = config.warmup_ratio;
        check("warmup_ratio", ratio, unit(ratio), "a number from 0 to 1")?;
        let floor = config.min_lr_ratio;
        check("min_lr_ratio", floor, unit(floor), "a number from 0 to 1")?;
        let warmup = match config.warmup_steps {
            0 => (ratio * total_steps as f64).ceil() as u64,
            steps => steps,
        };
        Ok(Self {
            base: rate,
            decay: config.decay,
            warmup,
            total: total_steps,
            floor,
        })
    }

    /// Number of warm-up steps.
    pub fn warmup(&self) -> u64 {
        self.warmup
    }

    /// The rate of the update with this 0-based index. Steps past the end keep the last rate.
    pub fn lr(&self, step: u64) -> f64 {
        let base = match self.decay {
            Decay::ConstantThird if step < THIRD_UPDATES => self.base / 3.0,
            _ => self.base,
        };
        if step < self.warmup {
            return base * step as f64 / self.warmup as f64;
        }
        let span = self.total.saturating_sub(self.warmup).max(1) as f64;
        let p = ((step - self.warmup) as f64 / span).min(1.0);
        let shape = match self.decay {
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * p).cos()),
            Decay::Linear => 1.0 - p,
            Decay::Constant | Decay::ConstantThird => return base,
        };
        self.base * (self.floor + (1.0 - self.floor) * shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn schedule(decay: Decay, warmup_steps: u64, warmup_ratio: f64, floor: f64) -> Schedule {
        let config = ScheduleConfig {
            learning_rate: 2e-4,
            decay,
            warmup_steps,
            warmup_ratio,
            min_lr_ratio: floor,
        };
        Schedule::new(&config, 10).unwrap()
    }

    fn assert_table(schedule: &Schedule, expected: &[f64]) {
        for (step, want) in expected.iter().enumerate() {
            let got = schedule.lr(step as u64);
            assert!((got - want).abs() < 1e-12, "step {step}: {got} {want}");
        }
    }

    // From `transformers.get_scheduler("cosine_with_min_lr", min_lr_rate=0.1)` over AdamW(lr=2e-4), 10 steps, 3 of
    // them warm-up. The shapes without a floor are held to reference tables in tests/torch_parity.rs.
    #[test]
    fn a_floor_is_that_of_transformers() {
        let expected = [
            0.0,
            6.666666666666667e-05,
            0.00013333333333333334,
            0.0002,
            0.00019108719811121772,
            0.00016611408216728603,
            0.00013002688405606828,
            8.997311594393172e-05,
            5.3885917832713996e-05,
            2.891280188878229e-05,
            2e-05,
        ];
        assert_table(&schedule(Decay::Cosine, 3, 0.0, 0.1), &expected);
    }

    // From `torch.optim.lr_scheduler.ConstantLR(AdamW(lr=2e-4))`; with warm-up the product of the two factors.
    #[test]
    fn a_third_at_first_is_what_torch_calls_constant() {
        let third = 6.666666666666667e-05;
        let plain = [third, third, third, third, third, 2e-4, 2e-4, 2e-4];
        assert_table(&schedule(Decay::ConstantThird, 0, 0.0, 0.0), &plain);
        let warm = [0.0, third / 2.0, third, third, third, 2e-4, 2e-4];
        assert_table(&schedule(Decay::ConstantThird, 2, 0.0, 0.5), &warm);
        let name = serde_json::to_value(Decay::ConstantThird).unwrap();
        assert_eq!(name, "constant_third");
    }

    #[test]
    fn the_ratio_is_rounded_up_and_steps_win() {
        assert_eq!(schedule(Decay::Cosine, 0, 0.21, 0.0).warmup(), 3);
        assert_eq!(schedule(Decay::Cosine, 4, 0.9, 0.0).warmup(), 4);
        assert_eq!(schedule(Decay::Cosine, 0, 0.0, 0.0).warmup(), 0);
    }

    #[test]
    fn without_warm_up_the_first_step_has_the_full_rate() {
        assert_eq!(schedule(Decay::Cosine, 0, 0.0, 0.0).lr(0), 2e-4);
    }

    #[test]
    fn settings_without_meaning_are_named() {
        let bad = |change: fn(&mut ScheduleConfig)| {
            let mut config = ScheduleConfig::default();
            change(&mut config);
            Schedule::new(&config, 10).unwrap_err().to_string()
        };
        assert!(bad(|c| c.learning_rate = f64::NAN).contains("learning_rate"));
        assert!(bad(|c| c.warmup_ratio = 1.5).contains("warmup_ratio = 1.5"));
        assert!(bad(|c| c.min_lr_ratio = -0.1).contains("min_lr_ratio"));
    }

    proptest! {
        #[test]
        fn rates_stay_between_zero_and_base(
            total in 0u64..50, warmup in 0u64..60, step in 0u64..200, floor in 0.0f64..=1.0,
            decay in prop_oneof![
                Just(Decay::Cosine), Just(Decay::Linear), Just(Decay::Constant),
                Just(Decay::ConstantThird),
            ],
        ) {
            let config = ScheduleConfig {
                learning_rate: 1.0, decay, warmup_steps: warmup, warmup_ratio: 0.0, min_lr_ratio: floor,
            };
            let lr = Schedule::new(&config, total).unwrap().lr(step);
            prop_assert!((0.0..=1.0).contains(&lr));
            let third = decay == Decay::ConstantThird && step < THIRD_UPDATES;
            prop_assert!(step < warmup || third || lr >= floor - 1e-12);
        }
    }
}
