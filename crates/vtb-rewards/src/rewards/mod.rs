//! The rewards of this crate, one file each.

pub(crate) mod auto;
pub(crate) mod choice;
pub(crate) mod format;
pub(crate) mod legacy;
pub(crate) mod path;
pub(crate) mod places;
mod python;

use crate::error::{Result, RewardError};

/// Refuses parameters that are not finite or break `lowest <= .. <= highest`.
fn check_order(reward: &str, named: &[(&str, f64)]) -> Result<()> {
    let fault = |reason: String| {
        Err(RewardError::Params {
            name: reward.to_owned(),
            reason,
        })
    };
    if let Some((name, value)) = named.iter().find(|(_, value)| !value.is_finite()) {
        return fault(format!("`{name}` is {value}, not a finite number"));
    }
    match named.windows(2).find(|pair| pair[0].1 > pair[1].1) {
        Some([(low, a), (high, b)]) => {
            fault(format!("`{low}` ({a}) must not exceed `{high}` ({b})"))
        }
        _ => Ok(()),
    }
}
