//! Parts of a data set that share no scene.

use sha2::{Digest, Sha256};

use super::fault::GenerateFault;
use crate::error::Result;

/// Places of a scene on the line that the parts divide, as a power of two.
const PLACES: u32 = 53;

/// Parts with their shares, such as 0.8 for training and 0.2 for tests.
///
/// The part of a record follows from its scene hash and the shares alone: the same scene is in
/// the same part of every data set, whatever its seed and size. Sizes are therefore about, not
/// exactly, those of the shares.
#[derive(Debug, Clone, PartialEq)]
pub struct Splits {
    parts: Vec<(String, f64)>,
    /// Where each part ends on the line.
    ends: Vec<u64>,
}

impl Splits {
    /// Parts in this order. Names have letters, digits, `-` and `_`.
    ///
    /// # Errors
    /// [`GenerateFault::Setting`] unless names differ and shares are positive and add up to 1.
    pub fn new(parts: Vec<(String, f64)>) -> Result<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        for (at, (name, share)) in parts.iter().enumerate() {
            if name.is_empty() || name.len() > 64 || !name.chars().all(plain) {
                return refuse(format!("{name:?} is no name for a part"));
            }
            if parts[..at].iter().any(|(other, _)| other == name) {
                return refuse(format!("`{name}` stands twice"));
            }
            if !(share.is_finite() && *share > 0.0) {
                return refuse(format!(
                    "the share of `{name}` is {share} and must be positive"
                ));
            }
        }
        let sum: f64 = parts.iter().map(|(_, share)| share).sum();
        if (sum - 1.0).abs() > 1e-9 {
            return refuse(format!("the shares add up to {sum} and must add up to 1"));
        }
        let whole = (1u64 << PLACES) as f64;
        let ends = parts.iter().scan(0.0, |sum, (_, share)| {
            *sum += share;
            Some((*sum * whole) as u64)
        });
        let ends = ends.collect();
        Ok(Self { parts, ends })
    }

    /// Reads `train=0.8,test=0.2`.
    ///
    /// # Errors
    /// As [`Splits::new`].
    pub fn parse(text: &str) -> Result<Self> {
        let part = |part: &str| {
            let (name, share) = part.split_once('=')?;
            Some((name.trim().to_owned(), share.trim().parse().ok()?))
        };
        let parts: Option<Vec<_>> = text.split(',').map(part).collect();
        match parts {
            Some(parts) => Self::new(parts),
            None => refuse(format!("{text:?} is not of the form train=0.8,test=0.2")),
        }
    }

    /// Names and shares, in order.
    pub fn parts(&self) -> &[(String, f64)] {
        &self.parts
    }

    /// The part of a scene.
    pub fn of(&self, scene_hash: &str) -> &str {
        let mut hash = Sha256::new();
        hash.update(b"vtb split");
        hash.update(scene_hash.as_bytes());
        let hash: [u8; 32] = hash.finalize().into();
        let first = hash.iter().take(8).fold(0, |n, b| (n << 8) | u64::from(*b));
        let place = first >> (64 - PLACES);
        let at = self.ends.iter().position(|end| place < *end);
        // Shares may add up to a hair less than 1; what is beyond belongs to the last part.
        let last = self.parts.len() - 1;
        &self.parts[at.unwrap_or(last)].0
    }
}

fn refuse<T>(why: String) -> Result<T> {
    Err(GenerateFault::Setting(format!("split: {why}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_and_places_do_not_move() {
        let splits = Splits::parse("train=0.8, validation=0.1,test=0.1").unwrap();
        let mut counts = [0u32; 3];
        for i in 0..10_000 {
            let name = splits.of(&format!("{i:032x}"));
            let at = splits.parts().iter().position(|(n, _)| n == name).unwrap();
            counts[at] += 1;
        }
        assert!(counts[0].abs_diff(8000) < 150, "{counts:?}");
        assert!(counts[1].abs_diff(1000) < 120, "{counts:?}");
        // Pinned: another place for a scene would move it between parts of data sets that exist.
        let pinned = Splits::parse("a=0.5,b=0.25,c=0.25").unwrap();
        let names: String = (0..12)
            .map(|i| pinned.of(&format!("{i:032x}")).to_owned())
            .collect();
        assert_eq!(names, "abbbabcaaabc");
        let one = Splits::parse("all=1").unwrap();
        assert!((0..100).all(|i| one.of(&i.to_string()) == "all"));
    }

    #[test]
    fn faults_say_what_is_wrong() {
        let fault = |text| Splits::parse(text).unwrap_err().to_string();
        assert!(fault("train").contains("is not of the form"));
        assert!(fault("train=x").contains("is not of the form"));
        assert!(fault("").contains("is not of the form"));
        assert!(fault("a=0.5,b=0.4").contains("add up to 0.9"));
        assert!(fault("a=0.5,a=0.5").contains("stands twice"));
        assert!(fault("a=1.5,b=-0.5").contains("must be positive"));
        assert!(fault("a=nan").contains("must be positive"));
        assert!(fault("a/b=1").contains("no name"));
    }
}
