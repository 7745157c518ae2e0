//! General options, parameter files and single values, laid over each other.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test may fail by panicking, and says when it is skipped"
)]

use serde_json::{Value, json};
use vtb_data::DataError;
use vtb_data::generate::{KNOBS, ParamLayers, Plan, Request, choose_tasks};

fn layers(tasks: &[&str]) -> ParamLayers {
    let names: Vec<String> = tasks.iter().map(|name| (*name).to_owned()).collect();
    ParamLayers::new(&choose_tasks(&names, &[], &[]).unwrap())
}

fn fault(result: Result<(), DataError>) -> String {
    result.unwrap_err().to_string()
}

fn knob(layers: &mut ParamLayers, option: &str, value: u32) -> Result<(), DataError> {
    let knob = KNOBS.iter().find(|knob| knob.option == option).unwrap();
    layers.knob(knob, value.into())
}

#[test]
fn what_is_said_later_wins() {
    let mut layers = layers(&["color_grid", "maze_square", "midpoint"]);
    layers.canvas(Some(480), None).unwrap();
    knob(&mut layers, "maze-rows", 7).unwrap();
    knob(&mut layers, "line-width", 3).unwrap();
    layers
        .file(json!({"midpoint": {"height": 873, "line_width": 4}, "maze_square": {"cols": 11}}))
        .unwrap();
    layers.set("midpoint.line_width=6.5").unwrap();
    layers.set("maze_square.placement=corners").unwrap();
    layers.set(r#"color_grid.palette=["red", "blue"]"#).unwrap();
    let params = layers.finish();
    assert_eq!(
        params["midpoint"],
        json!({"width": 480, "height": 873, "line_width": 6.5})
    );
    assert_eq!(
        params["maze_square"],
        json!({
            "width": 480, "height": 480, "cell": 0, "rows": 7, "cols": 11, "placement": "corners",
        })
    );
    assert_eq!(
        params["color_grid"],
        json!({"canvas": 480, "palette": ["red", "blue"]})
    );
}

#[test]
fn mazes_fill_the_canvas_unless_cells_have_a_size() {
    for (side, wanted) in [(None, 0), (Some(20), 20)] {
        let mut layers = layers(&["maze_square"]);
        layers.canvas(Some(480), Some(873)).unwrap();
        if let Some(side) = side {
            knob(&mut layers, "maze-cell-size", side).unwrap();
        }
        let wanted = json!({"width": 480, "height": 873, "cell": wanted});
        assert_eq!(layers.finish()["maze_square"], wanted);
    }
}

#[test]
fn one_side_of_the_canvas_makes_squares() {
    for (width, height, found) in [
        (Some(300), None, [300, 300]),
        (None, Some(300), [300, 300]),
        (Some(300), Some(400), [300, 400]),
    ] {
        let mut layers = layers(&["midpoint"]);
        layers.canvas(width, height).unwrap();
        let [width, height] = found;
        let wanted = json!({"width": width, "height": height});
        assert_eq!(layers.finish()["midpoint"], wanted);
    }
    let mut untouched = layers(&["midpoint"]);
    untouched.canvas(None, None).unwrap();
    assert_eq!(untouched.finish()["midpoint"], json!({}));
}

#[test]
fn an_option_that_a_task_has_not_names_the_task() {
    let text = fault(knob(&mut layers(&["midpoint"]), "hex-radius", 3));
    assert!(text.contains("--hex-radius: the task maze_hexagon is not among"));
    let text = fault(knob(&mut layers(&["color_grid"]), "point-radius", 3));
    assert!(text.contains("group eyeballing is not among"));
}

#[test]
fn names_that_are_not_known_get_a_hint() {
    let mut layers = layers(&["midpoint"]);
    assert!(fault(layers.set("midpont.width=3")).contains("did you mean `midpoint`?"));
    assert!(fault(layers.set("maze_square.rows=7")).contains("maze_square is not among"));
    assert!(fault(layers.set("midpoint")).contains("TASK.KEY=VALUE"));
    assert!(fault(layers.set("width=3")).contains("TASK.KEY=VALUE"));
    assert!(fault(layers.file(json!({"midpiont": {}}))).contains("did you mean `midpoint`?"));
    assert!(fault(layers.file(json!([]))).contains("must be an object"));
    assert!(fault(layers.file(json!({"midpoint": 3}))).contains("`midpoint` must be an object"));
    // A file may speak of tasks that are not made.
    layers.file(json!({"maze_square": {"rows": 7}})).unwrap();
    layers.set("midpoint.widht=300").unwrap();
    let request = Request {
        tasks: choose_tasks(&["midpoint".to_owned()], &[], &[]).unwrap(),
        params: layers.finish(),
        count: 1,
        seed: 0,
        video: None,
        splits: None,
        held_out: Default::default(),
    };
    assert!(!request.params.contains_key("maze_square"));
    let text = fault(Plan::new(request.clone()).map(|_| ()));
    assert!(text.contains("`widht`; did you mean `width`?"), "{text}");
    let bad = |params: Value, count| {
        let params = [("midpoint".to_owned(), params)].into();
        let request = Request {
            params,
            count,
            ..request.clone()
        };
        fault(Plan::new(request).map(|_| ()))
    };
    assert!(bad(json!({"width": 3}), 1).contains("`width` is 3"));
    assert!(bad(json!({}), 0).contains("count is 0"));
}
