//! Every code path at a small size, the CPU in the place of the GPU.

use super::*;

fn options(out: &Path) -> Options {
    Options {
        device: "cuda:0".into(),
        quick: true,
        only: Vec::new(),
        out: out.to_owned(),
        markdown: false,
        list: false,
        self_test: true,
    }
}

#[test]
fn self_test_passes_and_writes_its_report() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("report.json");
    let code = run(&options(&out)).unwrap();
    let report: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    assert_eq!(code, ExitCode::SUCCESS, "{report:#}");
    assert_eq!(report["passed"], true);
    assert_eq!(report["mode"], "self-test");
    let comparisons = report["comparisons"].as_array().unwrap();
    for case in cases::CASES {
        for lane in ["cpu f32", "cpu bf16"] {
            let found = comparisons
                .iter()
                .any(|c| c["check"] == case.name && c["lane"] == lane);
            assert!(found, "{} on {lane}", case.name);
        }
    }
    // The formats truly differ, and so did the lanes.
    let rounded = comparisons.iter().filter(|c| c["lane"] == "cpu bf16");
    assert!(
        rounded
            .filter(|c| c["relative"].as_f64().unwrap() > 1e-4)
            .count()
            > 20
    );
}

#[test]
fn no_gpu_is_wrong_usage_and_leaves_no_report() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("report.json");
    // No machine has this many.
    let options = Options {
        self_test: false,
        device: "cuda:4711".into(),
        ..options(&out)
    };
    let error = run(&options).unwrap_err();
    assert!(error.is::<Usage>(), "{error:#}");
    let text = error.to_string();
    for part in ["cuda:4711", "--features cuda", "docs/gpu.md", "--self-test"] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!text.contains('\n') && !out.exists());
}

#[test]
fn a_report_without_a_place_is_refused_first() {
    let dir = tempfile::tempdir().unwrap();
    let error = run(&options(&dir.path().join("absent/report.json"))).unwrap_err();
    assert!(error.is::<Usage>(), "{error:#}");
}

#[test]
fn rates_and_blocks_are_measured() {
    let timer = Timer {
        warm_up: 1,
        samples: 3,
        sample_seconds: 1e-4,
    };
    let mut report = Report::new("test", "cpu", false);
    let sizes = rates::Sizes::tiny();
    rates::run(&cpu_device(), &sizes, &timer, &mut report);
    block::run(
        &cpu_device(),
        DType::F32,
        &[block::BlockSize::tiny()],
        &timer,
        &mut report,
    );
    report.finish();
    let value = serde_json::to_value(&report).unwrap();
    assert!(report.passed(), "{value:#}");
    let rates = value["rates"].as_array().unwrap();
    assert_eq!(rates.len(), sizes.names().len());
    let positive = |v: &serde_json::Value| v.as_f64().is_some_and(|x| x.is_finite() && x > 0.0);
    assert!(
        rates
            .iter()
            .all(|r| positive(&r["rate"]) && positive(&r["share"])),
        "{value:#}"
    );
    let blocks = value["blocks"].as_array().unwrap();
    assert_eq!(blocks.len(), 2);
    assert!(
        blocks
            .iter()
            .all(|b| positive(&b["step_seconds"]) && positive(&b["share"]))
    );
    let text = report.markdown();
    for part in [
        "product square",
        "device copy",
        "recompute",
        "share of best",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn one_failing_check_leaves_the_others() {
    let lanes = self_lanes();
    let mut report = Report::new("test", "cpu", false);
    let wrong = |lane: &Lane| {
        assert!(lane.dtype == DType::F32, "no bf16 here");
        Ok(vec![compare::Output {
            name: "y",
            kind: compare::Kind::Elementwise,
            values: vec![1.0],
        }])
    };
    compare::check(Section::Ops, "wrong", &lanes, wrong, &mut report);
    let right = |lane: &Lane| Ok((cases::CASES[0].run)(lane, true));
    compare::check(Section::Ops, "right", &lanes, right, &mut report);
    report.finish();
    assert!(!report.passed());
    let value = serde_json::to_value(&report).unwrap();
    assert_eq!(value["failures"].as_array().unwrap().len(), 1);
    assert!(
        value["failures"][0]["message"]
            .as_str()
            .unwrap()
            .contains("no bf16 here")
    );
    assert_eq!(value["comparisons"].as_array().unwrap().len(), 1 + 2 * 3);
}
