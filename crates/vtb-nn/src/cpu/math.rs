//! Vectorisable scalar functions.

/// `e^x` to about one unit in the last place over the finite range; 0 below -87.3.
///
/// Cody-Waite reduction to `[-ln2/2, ln2/2]` and a degree-6 polynomial (coefficients of Cephes `expf`). Written
/// without branches or saturating casts so that loops over it vectorise.
#[inline(always)]
#[allow(clippy::excessive_precision)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5·2^23: adding it rounds to an integer in the low bits.
    let clamped = x.clamp(-87.3, 88.3);
    let shifted = clamped.mul_add(std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-0.693_359_375, clamped);
    let r = n.mul_add(2.121_944_4e-4, r);
    let mut p = 1.987_569_15e-4_f32;
    p = p.mul_add(r, 1.398_199_95e-3);
    p = p.mul_add(r, 8.333_451_9e-3);
    p = p.mul_add(r, 4.166_579_6e-2);
    p = p.mul_add(r, 1.666_666_55e-1);
    p = p.mul_add(r, 5.000_000_1e-1);
    let y = p.mul_add(r * r, r) + 1.0;
    let exponent = (shifted.to_bits() as i32)
        .wrapping_sub(0x4B40_0000)
        .wrapping_add(127);
    let scaled = y * f32::from_bits((exponent as u32) << 23);
    if x < -87.3 { 0.0 } else { scaled }
}

/// Logistic function.
#[inline(always)]
pub(crate) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// Hyperbolic tangent by the logistic function: absolute error below 2e-7.
#[inline(always)]
pub(crate) fn tanh(x: f32) -> f32 {
    2.0f32.mul_add(sigmoid(2.0 * x), -1.0)
}

/// Error function, absolute error below 2e-7 (Abramowitz and Stegun, 7.1.26).
#[inline(always)]
#[allow(clippy::excessive_precision)]
pub(crate) fn erf(x: f32) -> f32 {
    let a = x.abs();
    let t = 1.0 / 0.327_591_1f32.mul_add(a, 1.0);
    let mut p = 1.061_405_429_f32;
    p = p.mul_add(t, -1.453_152_027);
    p = p.mul_add(t, 1.421_413_741);
    p = p.mul_add(t, -0.284_496_736);
    p = p.mul_add(t, 0.254_829_592);
    let y = (-p * t).mul_add(exp(-a * a), 1.0);
    y.copysign(x)
}

const LANES: usize = 16;

/// Dot product over 16 running sums.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    for (x, y) in a_chunks.iter().zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] = x[i].mul_add(y[i], lanes[i]);
        }
    }
    let mut tail = 0.0;
    for (x, y) in a_rest.iter().zip(b_rest) {
        tail += x * y;
    }
    reduce(lanes) + tail
}

/// Sum of `f(x)` over 16 running sums.
#[inline(always)]
pub(crate) fn sum_of(a: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (chunks, rest) = a.as_chunks::<LANES>();
    for x in chunks {
        for i in 0..LANES {
            lanes[i] += f(x[i]);
        }
    }
    let mut tail = 0.0;
    for x in rest {
        tail += f(*x);
    }
    reduce(lanes) + tail
}

/// Largest value; negative infinity when empty.
#[inline(always)]
pub(crate) fn max(a: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = a.as_chunks::<LANES>();
    for x in chunks {
        for i in 0..LANES {
            lanes[i] = if x[i] > lanes[i] { x[i] } else { lanes[i] };
        }
    }
    let mut best = f32::NEG_INFINITY;
    for x in lanes.iter().chain(rest) {
        best = if *x > best { *x } else { best };
    }
    best
}

#[inline(always)]
fn reduce(lanes: [f32; LANES]) -> f32 {
    let mut half = [0.0f32; LANES / 2];
    for i in 0..LANES / 2 {
        half[i] = lanes[i] + lanes[i + LANES / 2];
    }
    ((half[0] + half[4]) + (half[1] + half[5])) + ((half[2] + half[6]) + (half[3] + half[7]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_match_the_standard_library() {
        for i in -20_000..20_000 {
            let x = i as f32 * 4e-3;
            let want = (x as f64).exp();
            assert!(((exp(x) as f64 - want) / want).abs() < 3e-7, "exp({x})");
            assert!(
                (tanh(x) as f64 - (x as f64).tanh()).abs() < 3e-7,
                "tanh({x})"
            );
        }
        assert_eq!(exp(-1000.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert!((erf(0.5) - 0.520_499_9).abs() < 3e-7);
        assert!((erf(-2.0) + 0.995_322_3).abs() < 3e-7);
    }

    #[test]
    fn reductions_cover_every_length() {
        for n in 0..70 {
            let a: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin()).collect();
            let want: f64 = a.iter().map(|x| (*x as f64) * (*x as f64)).sum();
            assert!((dot(&a, &a) as f64 - want).abs() < 1e-5);
            assert_eq!(max(&a), a.iter().copied().fold(f32::NEG_INFINITY, f32::max));
        }
    }
}
