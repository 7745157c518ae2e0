//! Normal numbers and named streams. Same stream, same numbers, on every machine.

use std::f64::consts::TAU;

use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use sha2::{Digest, Sha256};

/// A stream of its own for every name below a seed.
pub fn named(seed: u64, name: &str) -> ChaCha8Rng {
    let hash = Sha256::new().chain_update(seed.to_le_bytes());
    ChaCha8Rng::from_seed(hash.chain_update(name).finalize().into())
}

/// Two independent numbers of the standard normal distribution, by the transform of Box and Muller:
/// `√(-2·ln u)·(cos, sin)(2π·v)` with `u` in (0, 1] and `v` in [0, 1).
pub fn pair(rng: &mut impl Rng) -> [f64; 2] {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    let (sin, cos) = (TAU * rng.random::<f64>()).sin_cos();
    [radius * cos, radius * sin]
}

/// `len` independent numbers of the standard normal distribution.
pub fn normals(rng: &mut impl Rng, len: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(len + 1);
    while values.len() < len {
        values.extend(pair(rng).map(|z| z as f32));
    }
    values.truncate(len);
    values
}
