//! What rules score that never look at the figure.

use vtb_puzzle::judge::MarkerRule;

/// Rules that pick a marker by where the markers lie.
pub(super) const SHORTCUTS: [&str; 3] = ["nearest_to_middle", "farthest_from_middle", "medoid"];

/// Which marker each of [`SHORTCUTS`] picks.
pub(super) fn picks(rule: &MarkerRule, canvas: [u32; 2]) -> [usize; SHORTCUTS.len()] {
    let middle = canvas.map(|side| f64::from(side) / 2.0);
    let distance = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
    let off: Vec<f64> = rule
        .points
        .iter()
        .map(|point| distance(*point, middle))
        .collect();
    let spread = |point: &[f64; 2]| {
        rule.points
            .iter()
            .map(|other| distance(*point, *other))
            .sum()
    };
    let spreads: Vec<f64> = rule.points.iter().map(spread).collect();
    let least = |values: &[f64]| {
        let order = (0..values.len()).min_by(|a, b| values[*a].total_cmp(&values[*b]));
        order.unwrap_or_default()
    };
    let near: Vec<f64> = off.iter().map(|value| -value).collect();
    [least(&off), least(&near), least(&spreads)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_picks_its_marker() {
        let rule = MarkerRule {
            points: vec![[0.0, 0.0], [52.0, 50.0], [10.0, 12.0], [9.0, 30.0]],
            radius: 3.0,
        };
        assert_eq!(picks(&rule, [100, 100]), [1, 0, 2]);
    }
}
