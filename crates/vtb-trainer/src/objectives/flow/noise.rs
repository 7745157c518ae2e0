//! Noise on the host.

pub use vtb_nn::random::normals;

#[cfg(test)]
mod tests {
    use super::super::normal::cdf;
    use super::*;
    use crate::rng;

    #[test]
    fn noise_is_standard_normal() {
        let values = normals(&mut rng::stream(1, "test", 0, 0), 200_001);
        assert_eq!(values.len(), 200_001);
        let n = values.len() as f64;
        let moment = |p: i32| values.iter().map(|x| f64::from(*x).powi(p)).sum::<f64>() / n;
        for (p, expected) in [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)] {
            assert!(
                (moment(p) - expected).abs() < 0.05,
                "moment {p}: {}",
                moment(p)
            );
        }
        // Neighbours, which the transform makes together, are not related.
        let product = |(a, b): (&f32, &f32)| f64::from(a * b);
        let together = values.iter().zip(&values[1..]).map(product).sum::<f64>() / n;
        assert!(together.abs() < 0.01, "{together}");
        // Largest distance from the distribution (Kolmogorov): 1.95/√n is exceeded once in a thousand.
        let mut sorted = values;
        sorted.sort_by(f32::total_cmp);
        let distance = |(i, x): (usize, &f32)| (cdf(f64::from(*x)) - i as f64 / n).abs();
        let most = sorted.iter().enumerate().map(distance).fold(0.0, f64::max);
        assert!(most < 1.95 / n.sqrt(), "{most}");
    }

    #[test]
    fn a_longer_draw_begins_with_the_shorter() {
        let draw = |len| normals(&mut rng::stream(1, "test", 0, 0), len);
        assert_eq!(draw(9)[..7], draw(7));
        assert!(draw(0).is_empty());
    }

    /// Resumed runs go on with the same noise in every later version.
    #[test]
    fn the_first_numbers_are_pinned() {
        let found = normals(&mut rng::stream(42, "test", 0, 0), 3);
        for (found, pinned) in found.iter().zip(PINNED) {
            assert!((found - pinned).abs() < 1e-6, "{found} {pinned}");
        }
    }

    /// The transform over ChaCha8 with the key of that stream, both written down again in Python.
    const PINNED: [f32; 3] = [1.895_137_5, 0.032_614_183, 0.330_062_7];
}
