//! How different two colours look: CIEDE2000.
//!
//! G. Sharma, W. Wu, E. N. Dalal, "The CIEDE2000 color-difference formula: implementation notes,
//! supplementary test data, and mathematical observations", Color Research & Application 30 (2005).

use crate::draw::Rgb;

/// L*, a*, b* of an sRGB colour under D65.
#[must_use]
pub fn lab(color: Rgb) -> [f64; 3] {
    let [red, green, blue] = color.map(|value| {
        let share = f64::from(value) / 255.0;
        match share <= 0.040_45 {
            true => share / 12.92,
            false => ((share + 0.055) / 1.055).powf(2.4),
        }
    });
    let xyz = [
        (0.412_456_4 * red + 0.357_576_1 * green + 0.180_437_5 * blue) / 0.950_47,
        0.212_672_9 * red + 0.715_152_2 * green + 0.072_175 * blue,
        (0.019_333_9 * red + 0.119_192 * green + 0.950_304_1 * blue) / 1.088_83,
    ];
    let [x, y, z] = xyz.map(|part| match part > 216.0 / 24389.0 {
        true => part.cbrt(),
        false => (24389.0 / 27.0 * part + 16.0) / 116.0,
    });
    [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
}

/// CIEDE2000 difference of two sRGB colours; about 1 is just visible, 100 is black on white.
#[must_use]
pub fn color_difference(a: Rgb, b: Rgb) -> f64 {
    ciede2000(lab(a), lab(b))
}

/// CIEDE2000 difference of two L*a*b* colours.
#[must_use]
pub fn ciede2000(first: [f64; 3], second: [f64; 3]) -> f64 {
    let chroma = |[_, a, b]: [f64; 3]| a.hypot(b);
    let seventh = |value: f64| {
        let power = value.powi(7);
        (power / (power + 25.0_f64.powi(7))).sqrt()
    };
    let stretch = 1.0 + 0.5 * (1.0 - seventh((chroma(first) + chroma(second)) / 2.0));
    let [c1, c2] = [first, second].map(|[_, a, b]| (stretch * a).hypot(b));
    let [h1, h2] = [first, second].map(|[_, a, b]| hue(stretch * a, b));
    let gray = c1 * c2 == 0.0;

    let lightness = second[0] - first[0];
    let saturation = c2 - c1;
    let turn = if gray { 0.0 } else { half_turn(h2 - h1) };
    let tint = 2.0 * (c1 * c2).sqrt() * (turn / 2.0).to_radians().sin();

    let mean_l = f64::midpoint(first[0], second[0]);
    let mean_c = f64::midpoint(c1, c2);
    let mean_h = match gray {
        true => h1 + h2,
        // Half way along the shorter arc.
        false => (h1 + turn / 2.0).rem_euclid(360.0),
    };
    let wave = |factor: f64, shift: f64| (factor * mean_h + shift).to_radians().cos();
    let t = 1.0 - 0.17 * wave(1.0, -30.0) + 0.24 * wave(2.0, 0.0) + 0.32 * wave(3.0, 6.0)
        - 0.20 * wave(4.0, -63.0);
    let from_50 = (mean_l - 50.0).powi(2);
    let weight_l = 1.0 + 0.015 * from_50 / (20.0 + from_50).sqrt();
    let weight_c = 1.0 + 0.045 * mean_c;
    let weight_h = 1.0 + 0.015 * mean_c * t;
    let rotation = 30.0 * (-((mean_h - 275.0) / 25.0).powi(2)).exp();
    let cross = -2.0 * seventh(mean_c) * (2.0 * rotation).to_radians().sin();

    let [l, c, h] = [lightness / weight_l, saturation / weight_c, tint / weight_h];
    (l * l + c * c + h * h + cross * c * h).max(0.0).sqrt()
}

/// Degrees, 0 to 360; 0 for grey.
fn hue(a: f64, b: f64) -> f64 {
    match a == 0.0 && b == 0.0 {
        true => 0.0,
        false => b.atan2(a).to_degrees().rem_euclid(360.0),
    }
}

/// The same angle between -180 and 180 degrees.
fn half_turn(degrees: f64) -> f64 {
    match degrees {
        _ if degrees > 180.0 => degrees - 360.0,
        _ if degrees < -180.0 => degrees + 360.0,
        _ => degrees,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The supplementary test data of the paper cited above.
    const PAIRS: [([f64; 3], [f64; 3], f64); 34] = [
        ([50.0, 2.6772, -79.7751], [50.0, 0.0, -82.7485], 2.0425),
        ([50.0, 3.1571, -77.2803], [50.0, 0.0, -82.7485], 2.8615),
        ([50.0, 2.8361, -74.0200], [50.0, 0.0, -82.7485], 3.4412),
        ([50.0, -1.3802, -84.2814], [50.0, 0.0, -82.7485], 1.0),
        ([50.0, -1.1848, -84.8006], [50.0, 0.0, -82.7485], 1.0),
        ([50.0, -0.9009, -85.5211], [50.0, 0.0, -82.7485], 1.0),
        ([50.0, 0.0, 0.0], [50.0, -1.0, 2.0], 2.3669),
        ([50.0, -1.0, 2.0], [50.0, 0.0, 0.0], 2.3669),
        ([50.0, 2.49, -0.001], [50.0, -2.49, 0.0009], 7.1792),
        ([50.0, 2.49, -0.001], [50.0, -2.49, 0.001], 7.1792),
        ([50.0, 2.49, -0.001], [50.0, -2.49, 0.0011], 7.2195),
        ([50.0, 2.49, -0.001], [50.0, -2.49, 0.0012], 7.2195),
        ([50.0, -0.001, 2.49], [50.0, 0.0009, -2.49], 4.8045),
        ([50.0, -0.001, 2.49], [50.0, 0.001, -2.49], 4.8045),
        ([50.0, -0.001, 2.49], [50.0, 0.0011, -2.49], 4.7461),
        ([50.0, 2.5, 0.0], [50.0, 0.0, -2.5], 4.3065),
        ([50.0, 2.5, 0.0], [73.0, 25.0, -18.0], 27.1492),
        ([50.0, 2.5, 0.0], [61.0, -5.0, 29.0], 22.8977),
        ([50.0, 2.5, 0.0], [56.0, -27.0, -3.0], 31.9030),
        ([50.0, 2.5, 0.0], [58.0, 24.0, 15.0], 19.4535),
        ([50.0, 2.5, 0.0], [50.0, 3.1736, 0.5854], 1.0),
        ([50.0, 2.5, 0.0], [50.0, 3.2972, 0.0], 1.0),
        ([50.0, 2.5, 0.0], [50.0, 1.8634, 0.5757], 1.0),
        ([50.0, 2.5, 0.0], [50.0, 3.2592, 0.3350], 1.0),
        (
            [60.2574, -34.0099, 36.2677],
            [60.4626, -34.1751, 39.4387],
            1.2644,
        ),
        (
            [63.0109, -31.0961, -5.8663],
            [62.8187, -29.7946, -4.0864],
            1.2630,
        ),
        (
            [61.2901, 3.7196, -5.3901],
            [61.4292, 2.2480, -4.9620],
            1.8731,
        ),
        (
            [35.0831, -44.1164, 3.7933],
            [35.0232, -40.0716, 1.5901],
            1.8645,
        ),
        (
            [22.7233, 20.0904, -46.6940],
            [23.0331, 14.9730, -42.5619],
            2.0373,
        ),
        (
            [36.4612, 47.8580, 18.3852],
            [36.2715, 50.5065, 21.2231],
            1.4146,
        ),
        (
            [90.8027, -2.0831, 1.4410],
            [91.1528, -1.6435, 0.0447],
            1.4441,
        ),
        (
            [90.9257, -0.5406, -0.9208],
            [88.6381, -0.8985, -0.7239],
            1.5381,
        ),
        (
            [6.7747, -0.2908, -2.4247],
            [5.8714, -0.0985, -2.2286],
            0.6377,
        ),
        (
            [2.0776, 0.0795, -1.1350],
            [0.9033, -0.0636, -0.5514],
            0.9082,
        ),
    ];

    #[test]
    fn published_pairs_come_out() {
        for (first, second, expected) in PAIRS {
            for (a, b) in [(first, second), (second, first)] {
                let found = ciede2000(a, b);
                assert!(
                    (found - expected).abs() < 1e-4,
                    "{a:?} {b:?}: {found}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn black_on_white_is_a_hundred_and_equal_is_nil() {
        assert!((color_difference([0; 3], [255; 3]) - 100.0).abs() < 0.01);
        assert!(color_difference([12, 200, 97], [12, 200, 97]) == 0.0);
        let [l, a, b] = lab([255, 0, 0]);
        assert!((l - 53.24).abs() < 0.01 && (a - 80.09).abs() < 0.01 && (b - 67.20).abs() < 0.01);
    }
}
