//! Makes a puzzle of every task, checks the gold answer and a wrong one.

use vtb_puzzle::{Instance, registry};
use vtb_rewards::{Completion, Reference, Registry};

fn main() {
    let reward = Registry::builtin().build("auto", &serde_json::Value::Null).expect("a built-in reward");
    for task in registry() {
        let puzzle = Instance::generate(*task, &serde_json::Value::Null, 7).expect("a puzzle");
        let reference = Reference::from_record(&puzzle.record).expect("a record that can be checked");
        let score = |text: &str| reward.score(&Completion::new(text), &reference).value;
        assert_eq!(score(&puzzle.record.gold_text()), 1.0);
        assert!(score("<answer>no idea</answer>") < 1.0);
        println!("{}: gold answer scores 1", puzzle.record.task);
    }
}
