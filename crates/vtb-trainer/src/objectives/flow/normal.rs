//! The normal distribution: its sum and its quantiles.

/// Beyond it nothing is left of the distribution in f64.
const EDGE: f64 = 9.0;

/// Share of the standard normal distribution below `x`, by the series `½ + φ(x)·(x + x³/3 + x⁵/(3·5) + …)`. Absolute
/// error about 1e-15.
pub(super) fn cdf(x: f64) -> f64 {
    if x.abs() >= EDGE {
        return if x > 0.0 { 1.0 } else { 0.0 };
    }
    let (mut term, mut sum, mut odd) = (x, x, 3.0);
    while term.abs() > 1e-17 * sum.abs() {
        term *= x * x / odd;
        sum += term;
        odd += 2.0;
    }
    let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
    (0.5 + density * sum).clamp(0.0, 1.0)
}

/// The `x` below which a share `p` of the standard normal distribution lies, between -9 and 9.
pub(super) fn quantile(p: f64) -> f64 {
    let (mut low, mut high) = (-EDGE, EDGE);
    // Halved until two neighbours among the numbers are left.
    loop {
        let middle = 0.5 * (low + high);
        if middle <= low || middle >= high {
            return middle;
        }
        if cdf(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // By `statistics.NormalDist` of Python.
    #[test]
    fn shares_and_quantiles_are_those_of_a_reference() {
        for (x, share) in [
            (-5.0, 2.8665157186802404e-07),
            (-1.5, 0.06680720126885809),
            (0.0, 0.5),
            (0.3, 0.6179114221889526),
            (2.0, 0.9772498680518208),
        ] {
            assert!((cdf(x) - share).abs() < 1e-15, "{x}: {}", cdf(x));
        }
        for (share, x) in [
            (0.025, -1.9599639845400538),
            (0.3, -0.5244005127080407),
            (0.9, 1.2815515655446008),
            (0.999999, 4.753424308817089),
        ] {
            assert!(
                (quantile(share) - x).abs() < 1e-9,
                "{share}: {}",
                quantile(share)
            );
        }
    }

    #[test]
    fn the_ends_are_finite() {
        assert_eq!((cdf(-40.0), cdf(40.0)), (0.0, 1.0));
        assert!((-9.0..-8.0).contains(&quantile(0.0)));
        assert!((8.0..=9.0).contains(&quantile(1.0)));
    }
}
