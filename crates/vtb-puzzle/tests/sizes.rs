//! Every task makes pictures of the sizes that are asked for most.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};
use vtb_puzzle::{Layer, PictureJudge, Puzzle, record_seed, registry};

const SIZES: [[u32; 2]; 3] = [[480, 480], [512, 512], [480, 873]];

/// Parameters for pictures of this size; the cells of mazes become as large as it allows.
fn params(task: &dyn Puzzle, [width, height]: [u32; 2]) -> Value {
    let mut params = json!({"width": width, "height": height});
    if task.default_params()["cell"].is_u64() {
        params["cell"] = json!(0);
    }
    params
}

#[test]
fn every_task_draws_verifies_and_judges_at_every_size() {
    for &task in registry() {
        let name = task.info().name;
        for size in SIZES {
            let params = params(task, size);
            for index in 0..2 {
                let what = format!("{name} at {size:?}, number {index}");
                let record = task
                    .generate(&params, record_seed(31, name, index))
                    .unwrap_or_else(|fault| panic!("{what}: {fault}"));
                assert_eq!(record.canvas, size, "{what}");
                task.verify(&record).unwrap();
                let [puzzle, solution] = [Layer::Puzzle, Layer::Solution].map(|layer| {
                    let picture = task.draw(&record, layer).unwrap();
                    assert_eq!([picture.width(), picture.height()], size, "{what}");
                    picture
                });
                assert_ne!(puzzle, solution, "{what}");
                let judge = PictureJudge::new(task, &record).unwrap();
                let verdict = judge.judge(&solution);
                assert!(verdict.correct, "{what}: {verdict:#?}");
                assert!(!judge.judge(&puzzle).correct, "{what}");
            }
        }
    }
}
