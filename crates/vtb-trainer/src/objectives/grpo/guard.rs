//! Signs that a policy has collapsed.

use super::config::GrpoConfig;
use crate::objectives::Metrics;

/// A sentence that names the sign of collapse in a step's metrics, if there is one: `entropy` below
/// `entropy_floor`, or `completions/repetition_rate` above `repetition_ceiling`. The run should then stop and keep
/// its last good checkpoint: more steps do not bring a collapsed policy back.
pub fn collapse(config: &GrpoConfig, metrics: &Metrics) -> Option<String> {
    let entropy = config.entropy_floor.zip(metrics.get("entropy"));
    if let Some((floor, entropy)) = entropy.filter(|(floor, found)| *found < floor) {
        return Some(format!(
            "token entropy fell to {entropy:.4} nats, below entropy_floor = {floor}; go on from an earlier \
             checkpoint with a lower learning rate, or with beta above 0"
        ));
    }
    let repetition = metrics.get("completions/repetition_rate");
    let repetition = config.repetition_ceiling.zip(repetition);
    if let Some((ceiling, rate)) = repetition.filter(|(ceiling, found)| *found > ceiling) {
        return Some(format!(
            "{:.0} % of the completion tokens repeat the token before, above repetition_ceiling = {ceiling}; go on \
             from an earlier checkpoint with a lower learning rate, or with beta above 0",
            rate * 100.0
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_speaks_only_of_limits_that_are_set_and_crossed() {
        let metrics = Metrics::from([
            ("entropy".to_owned(), 0.01),
            ("completions/repetition_rate".to_owned(), 0.9),
        ]);
        let mut config = GrpoConfig::default();
        assert_eq!(collapse(&config, &metrics), None);
        config.repetition_ceiling = Some(0.5);
        assert!(collapse(&config, &metrics).unwrap().starts_with("90 %"));
        config.entropy_floor = Some(0.05);
        assert!(
            collapse(&config, &metrics)
                .unwrap()
                .contains("entropy_floor = 0.05")
        );
        assert_eq!(collapse(&config, &Metrics::new()), None);
    }
}
