//! Columns of the files that are written, for Parquet and for `datasets`.

use serde_json::{Value, json};

/// Columns of text, in order.
pub(super) const TEXTS: [&str; 12] = [
    "id",
    "task_type",
    "task_group",
    "split",
    "prompt",
    "image_prompt",
    "video_prompt",
    "solution",
    "maze",
    "path_rules",
    "scene_hash",
    "record",
];

/// Columns of one picture, in order.
pub(super) const PICTURES: [&str; 2] = ["puzzle_image", "solution_image"];

/// The schema as Parquet's own language writes it.
pub(super) fn message() -> String {
    let list = |name: &str, element: &str| {
        format!("optional group {name} (LIST) {{ repeated group list {{ {element} }} }}\n")
    };
    let picture = "{ optional binary bytes; optional binary path (STRING); }";
    let mut text = String::from("message rows {\n");
    for name in TEXTS {
        text += &format!("optional binary {name} (STRING);\n");
    }
    text += "optional boolean options_listed;\n";
    text += &list("options", "optional binary element (STRING);");
    let turn = "{ optional binary role (STRING); optional binary content (STRING); }";
    text += &list("messages", &format!("optional group element {turn}"));
    text += &list("images", &format!("optional group element {picture}"));
    for name in PICTURES {
        text += &format!("optional group {name} {picture}\n");
    }
    text + "}"
}

/// The value of the key `huggingface` in the file, by which `datasets` knows pictures.
pub(super) fn features() -> String {
    let value = |of: &str| json!({"dtype": of, "_type": "Value"});
    let mut features = serde_json::Map::new();
    for name in TEXTS {
        features.insert(name.to_owned(), value("string"));
    }
    features.insert("options_listed".to_owned(), value("bool"));
    // A list in JSON is a list to all versions of `datasets`; names of list types changed.
    let list = |of: Value| Value::from(vec![of]);
    features.insert("options".to_owned(), list(value("string")));
    let turn = json!({"role": value("string"), "content": value("string")});
    features.insert("messages".to_owned(), list(turn));
    features.insert("images".to_owned(), list(json!({"_type": "Image"})));
    for name in PICTURES {
        features.insert(name.to_owned(), json!({"_type": "Image"}));
    }
    json!({"info": {"features": features}}).to_string()
}
