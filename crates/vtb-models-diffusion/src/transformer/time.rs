//! Sines of noise levels and positions.

/// Cosines, then sines, of `angle(10000^(-2i/values))` for `i` below `values/2`, with the roundings of the reference:
/// frequencies and angles are f32.
pub(crate) fn sinusoid(values: usize, angle: impl Fn(f32) -> f32) -> Vec<f32> {
    let half = values / 2;
    let angles: Vec<f64> = (0..half)
        .map(|i| {
            f64::from(angle(
                (-(10_000f64.ln() as f32) * i as f32 / half as f32).exp(),
            ))
        })
        .collect();
    let cosines = angles.iter().map(|a| a.cos() as f32);
    cosines
        .chain(angles.iter().map(|a| a.sin() as f32))
        .collect()
}

/// Angles of a head: frequencies `10000^(-2i/D)` of each axis of width `D`, one axis after the other.
pub(crate) fn axis_angles(positions: &[[i32; 3]], axes: [usize; 3]) -> Vec<f32> {
    let frequencies = axes.map(|dim| vtb_nn::ops::rope::inverse_frequencies(dim, 10_000.0));
    let mut angles = Vec::with_capacity(positions.len() * axes.iter().sum::<usize>() / 2);
    for position in positions {
        for (p, frequencies) in position.iter().zip(&frequencies) {
            angles.extend(frequencies.iter().map(|f| *p as f32 * f));
        }
    }
    angles
}
