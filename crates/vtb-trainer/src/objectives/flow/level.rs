//! Noise levels as they are drawn.

use super::config::{FlowConfig, LevelSampling, Weighting};
use super::normal::quantile;
use super::table::{SigmaTable, TABLE_LEN, bf16, shifted};
use crate::TrainError;
use crate::objectives::ConfigFault;

/// A noise level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Level {
    /// σ, above 0 and at most 1.
    pub sigma: f64,
    /// What squared errors are multiplied by.
    pub weight: f64,
}

/// The distribution of noise levels by its quantiles: a level is drawn by an even number from 0 to below 1, and a grid
/// over the distribution is one over these numbers.
#[derive(Debug, Clone)]
pub struct Levels {
    config: FlowConfig,
    /// Levels at the quantiles `k/1000`, without window or shift.
    even: Vec<f64>,
    /// The table of every latent; absent where it depends on the shape.
    table: Option<SigmaTable>,
    /// Of `logit_normal`: the shares of the distribution below the noisiest and the cleanest level that is drawn.
    shares: [f64; 2],
}

impl Levels {
    /// The distribution of these settings.
    ///
    /// # Errors
    /// All settings that make no sense, named.
    pub fn new(config: &FlowConfig) -> Result<Self, TrainError> {
        ConfigFault::refuse(&config.validate())?;
        let mut levels = Self {
            config: config.clone(),
            even: Vec::new(),
            table: None,
            shares: config.shares(),
        };
        let quantiles = (0..TABLE_LEN).map(|k| 1.0 - k as f64 / TABLE_LEN as f64);
        levels.even = quantiles.map(|share| levels.unshifted(share)).collect();
        if !config.resolution_shift {
            levels.table = Some(levels.table_of([0; 4]));
        }
        Ok(levels)
    }

    /// The level at `quantile`, from 0 (the noisiest) to below 1, for a latent of this shape.
    pub fn at(&self, quantile: f64, shape: [usize; 4]) -> Level {
        let made;
        let table = match &self.table {
            Some(table) => table,
            None => {
                made = self.table_of(shape);
                &made
            }
        };
        let (sigma, id) = match self.config.sampling {
            LevelSampling::Table => {
                let (first, end) = self.config.window();
                let drawn = first + (quantile * (end - first) as f64) as usize;
                let mut id = drawn.min(end - 1);
                if self.config.bf16_timesteps {
                    id = table.nearest(bf16(1000.0 * table.sigma(id)));
                }
                (table.sigma(id), id)
            }
            _ => {
                let [noisy, clean] = self.shares;
                let share = noisy - quantile * (noisy - clean);
                let sigma = shifted(self.unshifted(share), self.free_factor(shape));
                (sigma, table.nearest(1000.0 * sigma))
            }
        };
        let weight = match self.config.weighting {
            Weighting::Bsmntw => table.weight(id),
            Weighting::None => 1.0,
        };
        Level { sigma, weight }
    }

    /// The level below which a share of the distribution lies, before any shift.
    fn unshifted(&self, share: f64) -> f64 {
        match self.config.sampling {
            LevelSampling::Table | LevelSampling::Uniform => share,
            LevelSampling::LogitNormal => {
                let logit = self.config.logit_mean + self.config.logit_std * quantile(share);
                1.0 / (1.0 + (-logit).exp())
            }
        }
    }

    /// Shift of levels that do not come from the table: only that by resolution.
    fn free_factor(&self, shape: [usize; 4]) -> f64 {
        if self.config.resolution_shift {
            return self.config.factor(shape);
        }
        1.0
    }

    /// A thousand levels as evenly spread as the distribution, without its window, and their weights.
    fn table_of(&self, shape: [usize; 4]) -> SigmaTable {
        let even = self.even.iter().copied();
        match self.config.sampling {
            LevelSampling::Table => {
                SigmaTable::of(even, self.config.factor(shape), self.config.shift_terminal)
            }
            _ => SigmaTable::of(even, self.free_factor(shape), 0.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: [usize; 4] = [16, 1, 128, 128];

    fn levels(change: impl FnOnce(&mut FlowConfig)) -> Levels {
        let mut config = FlowConfig::default();
        change(&mut config);
        Levels::new(&config).unwrap()
    }

    fn grid(levels: &Levels, n: usize) -> Vec<Level> {
        let at = |k| levels.at((k as f64 + 0.5) / n as f64, SHAPE);
        (0..n).map(at).collect()
    }

    fn distinct(levels: &[Level]) -> usize {
        let mut bits: Vec<u64> = levels.iter().map(|l| l.sigma.to_bits()).collect();
        bits.sort_unstable();
        bits.dedup();
        bits.len()
    }

    #[test]
    fn the_table_is_drawn_entry_by_entry() {
        let table = SigmaTable::new(0.8f64.exp(), 0.02);
        for (id, level) in grid(&levels(|_| ()), TABLE_LEN).into_iter().enumerate() {
            let (sigma, weight) = (table.sigma(id), table.weight(id));
            assert_eq!(level, Level { sigma, weight });
        }
        let wan = Levels::new(&FlowConfig::wan()).unwrap();
        let median = grid(&wan, TABLE_LEN)[500];
        assert!((median.sigma - 0.8333).abs() < 1e-4);
        let flat = levels(|c| c.weighting = Weighting::None);
        assert!(grid(&flat, 50).iter().all(|level| level.weight == 1.0));
    }

    #[test]
    fn bfloat16_matches_levels_to_few_entries() {
        let qwen = levels(|c| c.bf16_timesteps = true);
        assert_eq!(distinct(&grid(&qwen, TABLE_LEN)), 376);
        let wan = FlowConfig {
            bf16_timesteps: true,
            ..FlowConfig::wan()
        };
        let wan = grid(&Levels::new(&wan).unwrap(), TABLE_LEN);
        assert_eq!(distinct(&wan), 294);
        assert_eq!(distinct(&grid(&levels(|_| ()), TABLE_LEN)), TABLE_LEN);
    }

    #[test]
    fn boundaries_cut_the_table_from_its_noisy_end() {
        let table = SigmaTable::new(0.8f64.exp(), 0.02);
        let noisy = levels(|c| c.max_timestep_boundary = 0.358);
        let found = grid(&noisy, 3580);
        assert_eq!(distinct(&found), 358);
        assert_eq!(found[0].sigma, 1.0);
        assert_eq!(found[3579].sigma, table.sigma(357));
        // Weights stay those of the whole table.
        assert_eq!(found[3579].weight, table.weight(357));
        let clean = levels(|c| c.min_timestep_boundary = 0.9);
        assert_eq!(clean.at(0.0, SHAPE).sigma, table.sigma(900));
        assert_eq!(clean.at(0.999_999, SHAPE).sigma, table.sigma(999));
    }

    #[test]
    fn uniform_levels_are_even_and_weigh_one_on_average() {
        let uniform = levels(|c| c.sampling = LevelSampling::Uniform);
        let found = grid(&uniform, 4000);
        for (k, level) in found.iter().enumerate() {
            assert!((level.sigma - (1.0 - (k as f64 + 0.5) / 4000.0)).abs() < 1e-12);
        }
        let mean = found.iter().map(|l| l.weight).sum::<f64>() / 4000.0;
        assert!((mean - 1.0).abs() < 1e-3, "{mean}");
        let window = levels(|c| {
            c.sampling = LevelSampling::Uniform;
            (c.min_timestep_boundary, c.max_timestep_boundary) = (0.25, 0.5);
        });
        assert_eq!(window.at(0.0, SHAPE).sigma, 0.75);
        assert_eq!(window.at(0.5, SHAPE).sigma, 0.625);
    }

    #[test]
    fn logit_normal_levels_have_their_quantiles() {
        let found = levels(|c| {
            c.sampling = LevelSampling::LogitNormal;
            (c.logit_mean, c.logit_std) = (0.5, 2.0);
        });
        let logit = |level: Level| (level.sigma / (1.0 - level.sigma)).ln();
        assert!((logit(found.at(0.5, SHAPE)) - 0.5).abs() < 1e-9);
        // One standard deviation towards noise and away from it.
        let one = 0.158_655_253_931_457_05;
        assert!((logit(found.at(one, SHAPE)) - 2.5).abs() < 1e-9);
        assert!((logit(found.at(1.0 - one, SHAPE)) + 1.5).abs() < 1e-9);
        let mean = grid(&found, 2000).iter().map(|l| l.weight).sum::<f64>() / 2000.0;
        assert!((mean - 1.0).abs() < 5e-3, "{mean}");
        let window = levels(|c| {
            c.sampling = LevelSampling::LogitNormal;
            (c.min_timestep_boundary, c.max_timestep_boundary) = (0.25, 0.75);
        });
        let found = grid(&window, 100);
        assert!(found.iter().all(|l| (0.25..=0.75).contains(&l.sigma)));
        // The window lies evenly about the middle of the distribution.
        assert!((window.at(0.5, SHAPE).sigma - 0.5).abs() < 1e-12);
        let config = FlowConfig {
            sampling: LevelSampling::LogitNormal,
            logit_mean: 20.0,
            logit_std: 0.1,
            min_timestep_boundary: 0.5,
            ..FlowConfig::default()
        };
        let text = Levels::new(&config).unwrap_err().to_string();
        assert!(
            text.contains("`max_timestep_boundary` leaves next to nothing"),
            "{text}"
        );
    }

    #[test]
    fn large_pictures_get_more_noise_where_that_is_asked() {
        for sampling in [
            LevelSampling::Table,
            LevelSampling::Uniform,
            LevelSampling::LogitNormal,
        ] {
            let levels = levels(|c| {
                c.resolution_shift = true;
                c.sampling = sampling;
            });
            let [small, large] = [[16, 1, 32, 32], SHAPE].map(|s| levels.at(0.5, s).sigma);
            // 256 and 4096 tokens. The table is stretched as well.
            let expected = [0.5, 0.693548].map(|mu: f64| shifted(0.5, mu.exp()));
            let bound = if sampling == LevelSampling::Table {
                0.02
            } else {
                1e-6
            };
            for (found, expected) in [small, large].into_iter().zip(expected) {
                assert!(
                    (found - expected).abs() < bound,
                    "{sampling:?} {found} {expected}"
                );
            }
            assert!(large > small);
        }
    }
}
