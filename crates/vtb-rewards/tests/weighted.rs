//! Several rewards together, some of them a user's own.

#![allow(clippy::unwrap_used)] // helpers of tests, outside `#[test]`

use serde::Deserialize;
use serde_json::{Value, json};
use vtb_rewards::{
    Completion, Reference, Registry, Reward, RewardSpec, Score, ScoreStatus, WeightedRewards,
    params,
};

struct Brevity {
    limit: usize,
}

#[derive(Deserialize)]
struct BrevityParams {
    limit: usize,
}

impl Reward for Brevity {
    fn name(&self) -> &str {
        "brevity"
    }

    fn score(&self, completion: &Completion<'_>, _reference: &Reference) -> Score {
        let used = completion.text().chars().count();
        assert!(used != 13, "thirteen");
        if used == 14 {
            return Score::ok(f64::NAN);
        }
        Score::ok(1.0 - used as f64 / self.limit as f64).component("chars", used as f64)
    }
}

fn registry() -> Registry {
    let mut registry = Registry::builtin();
    let make = |given: &Value| -> vtb_rewards::Result<Box<dyn Reward>> {
        let BrevityParams { limit } = params("brevity", given)?;
        Ok(Box::new(Brevity { limit }))
    };
    registry.register("brevity", make).unwrap();
    registry
}

fn rewards(specs: Value) -> vtb_rewards::Result<WeightedRewards> {
    let specs: Vec<RewardSpec> = serde_json::from_value(specs).unwrap();
    WeightedRewards::from_specs(&registry(), &specs)
}

fn mixed() -> WeightedRewards {
    rewards(json!([
        {"name": "auto"},
        {"name": "path", "weight": 5.0},
        {"name": "format", "weight": 2.0, "params": {"min_reasoning_chars": 0}},
        {"name": "brevity", "weight": 0.5, "params": {"limit": 100}},
    ]))
    .unwrap()
}

#[test]
fn the_total_is_the_weighted_sum_of_what_applies() {
    let reference = Reference::choice(&["A", "B"], "B").unwrap();
    let total = mixed().total(&Completion::new("<answer>B</answer>"), &reference);
    assert!((total.value - (1.0 + 2.0 * 0.1 + 0.5 * 0.82)).abs() < 1e-12);
    let named = total.named_values();
    let of = |name: &str| {
        named
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| *value)
    };
    assert_eq!(of("auto"), Some(Some(1.0)));
    assert_eq!(of("path"), Some(None));
    assert_eq!(of("brevity/chars"), Some(Some(18.0)));
    assert_eq!(total.errors(), 0);
    assert_eq!(
        mixed().names().collect::<Vec<_>>(),
        ["auto", "path", "format", "brevity"]
    );
}

#[test]
fn a_reward_that_panics_fails_on_that_completion_only() {
    let reference = Reference::choice(&["A", "B"], "B").unwrap();
    for (text, said) in [("thirteen char", "thirteen"), ("fourteen chars", "NaN")] {
        let total = mixed().total(&Completion::new(text), &reference);
        assert_eq!(total.errors(), 1, "{text}");
        let failed = total.parts[3].score.as_ref().unwrap();
        assert_eq!((failed.status, failed.value), (ScoreStatus::Error, 0.0));
        assert!(failed.message.contains(said), "{}", failed.message);
        assert!(total.value.is_finite());
    }
    assert_eq!(mixed().total(&Completion::new("B"), &reference).errors(), 0);
}

#[test]
fn faults_in_the_configuration_are_found_at_once() {
    let fault = |specs: Value| rewards(specs).err().unwrap().to_string();
    assert!(fault(json!([{"name": "brevty"}])).contains("`brevity`"));
    assert!(fault(json!([{"name": "brevity"}])).contains("limit"));
    let endless = WeightedRewards::new(vec![(Box::new(Brevity { limit: 1 }), f64::INFINITY)]);
    assert!(endless.err().unwrap().to_string().contains("finite"));
}

#[test]
fn records_of_our_own_puzzles_can_be_judged() {
    for puzzle in vtb_puzzle::registry() {
        let record = puzzle.generate(&Value::Null, 7).unwrap();
        let reference = Reference::from_record(&record).unwrap();
        assert_eq!(reference.task_type, record.task);
        let total = mixed().total(&Completion::new(record.gold_text()), &reference);
        let auto = total.parts[0].score.as_ref().unwrap();
        assert_eq!(auto.value, 1.0, "{}: {}", record.task, auto.message);
    }
}
