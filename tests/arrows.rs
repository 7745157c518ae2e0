//! Imports point one way: a crate of this workspace may depend on another only if the list below
//! says so, and the crates that need no tensors pull in no tensor library.
//!
//! Dev-dependencies are left out of the first rule: a test may look at anything.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// Who may import whom. A crate that is not named here fails the test: decide where it belongs.
const ARROWS: &[(&str, &[&str])] = &[
    ("vtb-puzzle", &[]),
    ("vtb-data", &["vtb-puzzle"]),
    ("vtb-rewards", &["vtb-puzzle"]),
    ("vtb-nn", &[]),
    ("vtb-lora", &["vtb-nn"]),
    ("vtb-models-vlm", &["vtb-nn", "vtb-lora"]),
    (
        "vtb-models-diffusion",
        &["vtb-nn", "vtb-lora", "vtb-models-vlm"],
    ),
    (
        "vtb-trainer",
        &["vtb-nn", "vtb-lora", "vtb-data", "vtb-rewards"],
    ),
];

/// Packages that may import every crate, and that no crate may import.
const TOP: &[&str] = &["vtb-bins", "vtb-examples", "vtb-tests"];

/// Crates that must stay usable by someone who wants no tensors.
const TENSOR_FREE: &[&str] = &["vtb-puzzle", "vtb-data", "vtb-rewards"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read_toml(path: &Path) -> Table {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.parse()
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn package_name(manifest: &Table) -> &str {
    manifest["package"]["name"]
        .as_str()
        .expect("a package has a name")
}

/// The packages a dependency table names, renamed ones by their real name.
fn names(table: Option<&Value>) -> Vec<String> {
    let entries = table.and_then(Value::as_table).into_iter().flatten();
    entries
        .map(|(key, spec)| {
            spec.get("package")
                .and_then(Value::as_str)
                .unwrap_or(key)
                .to_owned()
        })
        .collect()
}

/// What a package imports when it is built: plain, build and per-target dependencies.
fn imports(manifest: &Table) -> BTreeSet<String> {
    let targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flatten();
    let mut found = BTreeSet::new();
    for table in std::iter::once(manifest).chain(targets.filter_map(|(_, t)| t.as_table())) {
        for key in ["dependencies", "build-dependencies"] {
            found.extend(names(table.get(key)));
        }
    }
    found
}

/// One sentence per arrow that the lists above do not allow.
fn forbidden(manifests: &[Table]) -> Vec<String> {
    let ours: BTreeSet<&str> = manifests.iter().map(package_name).collect();
    let mut faults = Vec::new();
    for manifest in manifests {
        let name = package_name(manifest);
        let Some((_, allowed)) = ARROWS.iter().find(|(from, _)| *from == name) else {
            if !TOP.contains(&name) {
                faults.push(format!("{name} is in no list: say what it may import"));
            }
            continue;
        };
        for import in imports(manifest) {
            if ours.contains(import.as_str()) && !allowed.contains(&import.as_str()) {
                faults.push(format!("{name} must not import {import}"));
            }
        }
    }
    faults
}

fn members() -> Vec<Table> {
    let workspace = read_toml(&root().join("Cargo.toml"));
    let listed = workspace["workspace"]["members"]
        .as_array()
        .expect("members is a list");
    let dirs = listed
        .iter()
        .map(|m| m.as_str().expect("a member is a path"));
    dirs.map(|dir| read_toml(&root().join(dir).join("Cargo.toml")))
        .collect()
}

#[test]
fn every_arrow_is_in_the_list() {
    let members = members();
    assert!(
        members.len() >= 10,
        "only {} members were found",
        members.len()
    );
    let faults = forbidden(&members);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_wrong_arrow_is_found_however_it_is_written() {
    let manifest = |text: &str| -> Table { text.parse().expect("valid TOML") };
    let faults = forbidden(&[
        manifest("[package]\nname = 'vtb-nn'"),
        manifest("[package]\nname = 'vtb-lora'\n[dependencies]\nvtb-nn = '0'\nserde = '1'"),
        manifest("[package]\nname = 'vtb-data'\n[dependencies]\nx = { package = 'vtb-nn' }"),
        manifest("[package]\nname = 'vtb-puzzle'\n[target.'cfg(unix)'.dependencies.vtb-nn]"),
        manifest("[package]\nname = 'vtb-rewards'\n[build-dependencies]\nvtb-bins = '0'"),
        manifest("[package]\nname = 'vtb-bins'\n[dependencies]\nvtb-nn = '0'"),
        manifest("[package]\nname = 'vtb-new'"),
        manifest("[package]\nname = 'vtb-trainer'\n[dev-dependencies]\nvtb-bins = '0'"),
    ]);
    assert_eq!(
        faults,
        [
            "vtb-data must not import vtb-nn",
            "vtb-puzzle must not import vtb-nn",
            "vtb-rewards must not import vtb-bins",
            "vtb-new is in no list: say what it may import",
        ]
    );
}

/// The packages of a lock file, `name version` to the same of what they depend on.
fn lock_graph(lock: &Table) -> BTreeMap<String, Vec<String>> {
    let packages = lock["package"].as_array().expect("package is a list");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let id = |package: &Value| format!("{} {}", text(&package["name"]), text(&package["version"]));
    // The version of a dependency is only written where the name alone is not enough.
    let by_name: BTreeMap<String, String> =
        packages.iter().map(|p| (text(&p["name"]), id(p))).collect();
    let resolve = |entry: &Value| {
        let entry = text(entry);
        let mut words = entry.split(' ');
        let name = words.next().unwrap_or_default();
        match words.next() {
            Some(version) => format!("{name} {version}"),
            None => by_name[name].clone(),
        }
    };
    let depends = |package: &Value| -> Vec<String> {
        let listed = package.get("dependencies").and_then(Value::as_array);
        listed.into_iter().flatten().map(&resolve).collect()
    };
    packages.iter().map(|p| (id(p), depends(p))).collect()
}

/// Everything a package of ours leads to, itself included.
fn reachable(graph: &BTreeMap<String, Vec<String>>, name: &str) -> BTreeSet<String> {
    let start = graph.keys().find(|id| id.split(' ').next() == Some(name));
    let mut open = vec![
        start
            .unwrap_or_else(|| panic!("{name} is not in Cargo.lock"))
            .clone(),
    ];
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id.clone()) {
            open.extend(graph[&id].iter().cloned());
        }
    }
    seen
}

fn is_tensor_library(id: &str) -> bool {
    let name = id.split(' ').next().unwrap_or_default();
    name == "burn" || name.starts_with("burn-") || name.starts_with("cubecl")
}

#[test]
fn puzzles_data_and_rewards_pull_in_no_tensor_library() {
    let graph = lock_graph(&read_toml(&root().join("Cargo.lock")));
    for name in TENSOR_FREE {
        let tensors: Vec<String> = reachable(&graph, name)
            .into_iter()
            .filter(|id| is_tensor_library(id))
            .collect();
        assert!(tensors.is_empty(), "{name} leads to {tensors:?}");
    }
    // The search itself works: a crate of tensors does lead there.
    assert!(
        reachable(&graph, "vtb-nn")
            .iter()
            .any(|id| is_tensor_library(id))
    );
}

/// The stand-in is what a CUDA build links, so that it needs no download (`patches/cubecl-llvm`).
#[test]
fn no_package_of_the_lock_file_downloads_llvm() {
    let graph = lock_graph(&read_toml(&root().join("Cargo.lock")));
    let names: BTreeSet<&str> = graph.keys().filter_map(|id| id.split(' ').next()).collect();
    assert!(names.contains("cubecl-llvm"));
    for name in ["tracel-llvm-bundler", "llvm-sys", "pliron-llvm"] {
        assert!(
            !names.contains(name),
            "{name} is back: is the patch of cubecl-llvm still used?"
        );
    }
}
