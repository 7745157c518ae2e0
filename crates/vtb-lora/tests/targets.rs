//! Target matching against what peft did with the same rules on the same model (`fixtures/make.py`).

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

use std::collections::BTreeMap;

use serde::Deserialize;
use vtb_lora::{LinearInfo, LoraConfig, match_targets};

#[derive(Deserialize)]
struct Fixture {
    linears: Vec<Linear>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Linear {
    path: String,
    #[serde(rename = "in")]
    in_features: usize,
    #[serde(rename = "out")]
    out_features: usize,
}

#[derive(Deserialize)]
struct Case {
    /// An `adapter_config.json` as text: the order of patterns counts.
    rule: String,
    modules: BTreeMap<String, Module>,
}

#[derive(Debug, PartialEq, Deserialize)]
struct Module {
    rank: usize,
    alpha: f64,
    scaling: f64,
}

#[test]
fn selects_ranks_and_scales_what_peft_does() {
    let fixture: Fixture =
        serde_json::from_str(include_str!("fixtures/targets.json")).expect("fixture");
    let linears: Vec<LinearInfo> = fixture
        .linears
        .into_iter()
        .map(|l| LinearInfo {
            is_head: l.path == "lm_head",
            path: l.path,
            in_features: l.in_features,
            out_features: l.out_features,
        })
        .collect();
    assert!(fixture.cases.len() > 10);
    for case in fixture.cases {
        let rule = case.rule;
        let (config, _) =
            LoraConfig::from_adapter_config_json(rule.as_bytes(), "rule").expect(&rule);
        let report = match_targets(&linears, &[], &config).expect(&rule);
        let ours: BTreeMap<String, Module> = report
            .matches
            .into_iter()
            .map(|m| {
                let module = Module {
                    rank: m.rank,
                    alpha: m.alpha,
                    scaling: m.scaling,
                };
                (m.linear.path, module)
            })
            .collect();
        assert_eq!(ours, case.modules, "{rule}");
    }
}
