//! Merged, unmerged and rewritten: one adapter in transformers and peft. Needs what `interop.rs` needs.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

#[path = "../e2e/adapters.rs"]
mod adapters;
#[path = "../e2e/common.rs"]
mod common;
mod python;

use common::{path, run, succeed};
use python::python;
use serde_json::Value;

const ADAPTER: &str = env!("CARGO_BIN_EXE_adapter");

fn logits(found: &Value, key: &str) -> Vec<f64> {
    let list = found[key].as_array().unwrap();
    list.iter().map(|x| x.as_f64().unwrap()).collect()
}

/// Root mean square of the differences, and the largest, in parts of the spread of `a`.
fn apart(a: &[f64], b: &[f64]) -> [f64; 2] {
    assert_eq!(a.len(), b.len());
    let count = a.len() as f64;
    let mean = a.iter().sum::<f64>() / count;
    let spread = (a.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
    let off: Vec<f64> = a.iter().zip(b).map(|(a, b)| (a - b).abs()).collect();
    let rms = (off.iter().map(|x| x * x).sum::<f64>() / count).sqrt();
    [rms, off.iter().copied().fold(0.0, f64::max)].map(|x| x / spread)
}

#[test]
fn merged_unmerged_and_rewritten_give_the_same_logits_in_transformers() {
    let dir = tempfile::tempdir().unwrap();
    let own = common::own_model_and_data(dir.path(), "color_grid");
    let (model, adapter) = (path(&own.model), dir.path().join("adapter"));
    adapters::make(&own.model, &adapter, &adapters::settings(), 0.3);
    let adapter = path(&adapter);
    let picture = std::fs::read_dir(dir.path().join("images")).unwrap();
    let picture = picture.map(|f| f.unwrap().path()).min().unwrap();
    let prompt = dir.path().join("prompt.txt");
    std::fs::write(&prompt, "Which color is missing?").unwrap();
    let asked = [
        "--prompt-file",
        path(&prompt),
        "--image",
        path(&picture),
        "--max-new-tokens",
        "4",
    ];
    let peft = |adapter: &str| {
        python(
            "check_adapter.py",
            &[&[model, adapter], &asked[..]].concat(),
        )
    };
    let Some(found) = peft(adapter) else {
        return;
    };
    let (unmerged, plain) = (logits(&found, "logits"), logits(&found, "logits_disabled"));
    let effect = apart(&unmerged, &plain)[0];
    assert!(effect > 0.05, "the adapter does little: {effect}");

    let limits = limits(model, adapter);
    for (dtype, shards) in [("keep", "1MB"), ("bf16", "5GB")] {
        let out = dir.path().join(dtype);
        let to = ["merge", "--model", model, "--adapter", adapter];
        let how = ["--output-dir", path(&out), "--dtype", dtype];
        let how = [&how[..], &["--max-shard-size", shards]].concat();
        succeed(ADAPTER, &[&to[..], &how].concat());
        let sharded = out.join("model.safetensors.index.json").exists();
        assert_eq!(sharded, shards == "1MB");
        let all = [&[path(&out)], &asked[..]].concat();
        let merged = python("check_model_dir.py", &all).unwrap();
        assert_eq!(merged["input_ids"], found["input_ids"]);
        let [rms, max] = apart(&unmerged, &logits(&merged, "logits"));
        let bound = limits(dtype);
        println!("{dtype}: rms {rms:.2e}, max {max:.2e}, bound {bound:.2e}, effect {effect:.2e}");
        assert!(
            rms <= bound && max <= 10.0 * bound,
            "{dtype}: {rms} {max} {bound}"
        );
    }
    // Through the older names, which peft would not find in this model.
    let [legacy, copy] = ["legacy", "copy"].map(|name| dir.path().join(name));
    for (from, to, out) in [
        (adapter, "peft-legacy", &legacy),
        (path(&legacy), "vllm", &copy),
    ] {
        let args = ["convert", from, "--to", to, "--output-dir", path(out)];
        succeed(ADAPTER, &args);
    }
    let again = peft(path(&copy)).unwrap();
    let [rms, max] = apart(&unmerged, &logits(&again, "logits"));
    println!("rewritten: rms {rms:.2e}, max {max:.2e}");
    let bound = limits("keep");
    assert!(rms <= bound && max <= 10.0 * bound, "{rms} {max}");
}

/// The bounds that `adapter verify` states for this model.
fn limits(model: &str, adapter: &str) -> impl Fn(&str) -> f64 {
    let of = |dtype: &str| {
        let args = ["verify", "--model", model, "--adapter", adapter, "--dtype"];
        let output = run(ADAPTER, &[&args[..], &[dtype, "--json"]].concat());
        assert!(output.status.success(), "{}", common::stderr(&output));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        found["rms_bound"].as_f64().unwrap()
    };
    let bounds = ["keep", "bf16"].map(|dtype| (dtype, of(dtype)));
    move |dtype| {
        let found = bounds.iter().find(|(name, _)| *name == dtype);
        found.unwrap().1
    }
}

#[test]
fn an_adapter_of_peft_merges_as_peft_merges_it() {
    let dir = tempfile::tempdir().unwrap();
    let args = [path(dir.path()), "--max-shard-size", "1MB"];
    let Some(made) = python("make_model_dir.py", &args) else {
        return;
    };
    let text = |key: &str| made[key].as_str().unwrap().to_owned();
    let (model, image, prompt) = (text("model"), text("image"), text("prompt_file"));
    let asked = [
        "--prompt-file",
        &prompt,
        "--image",
        &image,
        "--max-new-tokens",
        "4",
    ];
    let [adapter, out] = ["adapter", "merged"].map(|name| dir.path().join(name));
    let both = [&[model.as_str(), path(&adapter)], &asked[..]].concat();
    // Decoder and vision tower.
    let args = [&both[..], &["--targets", "regex"]].concat();
    python("make_adapter.py", &args).unwrap();
    let theirs = python("check_adapter.py", &both).unwrap();
    let to = ["merge", "--model", &model, "--adapter", path(&adapter)];
    succeed(ADAPTER, &[&to[..], &["--output-dir", path(&out)]].concat());
    let ours = [&[path(&out)], &asked[..]].concat();
    let ours = python("check_model_dir.py", &ours).unwrap();
    let [merged, plain] = ["logits_merged", "logits_disabled"].map(|key| logits(&theirs, key));
    let [rms, max] = apart(&merged, &logits(&ours, "logits"));
    println!("rms {rms:.2e}, max {max:.2e}");
    assert!(max < 1e-4, "{rms} {max}");
    assert!(apart(&merged, &plain)[0] > 0.05, "the adapter does little");
}
