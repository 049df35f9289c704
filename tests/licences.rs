//! Every dependency has a licence that `deny.toml` allows, and comes from the registry.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const DENY: &str = include_str!("../deny.toml");

/// The list after `allow = [`.
fn allowed() -> BTreeSet<&'static str> {
    let list = DENY.split("\nallow = [").nth(1).and_then(|rest| rest.split("\n]").next()).expect("has a list");
    let lines = list.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split('"').nth(1)).collect()
}

/// Whether an expression as in `Cargo.toml` can be met: <https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/>.
fn is_met(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = expression.split_whitespace().collect();
    let mut at = 0;
    let met = any(&words, &mut at, allowed);
    assert_eq!(at, words.len(), "{expression} is no expression");
    met
}

fn any(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let mut met = all(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= all(words, at, allowed);
    }
    met
}

fn all(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

fn one(words: &[&str], at: &mut usize, allowed: &BTreeSet<&str>) -> bool {
    let word = words.get(*at).copied().unwrap_or_default();
    *at += 1;
    if word != "(" {
        return allowed.contains(word);
    }
    let met = any(words, at, allowed);
    assert_eq!(words.get(*at), Some(&")"), "a bracket stays open");
    *at += 1;
    met
}

#[test]
fn expressions_are_read_as_they_are_meant() {
    let allowed = BTreeSet::from(["A", "B"]);
    for (expression, met) in [
        ("A", true),
        ("C", false),
        ("C OR A", true),
        ("C/B", true),
        ("A AND C", false),
        ("(A OR C) AND B", true),
        ("A OR C AND C", true),
        ("(A OR C) AND C", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}

#[test]
fn every_dependency_may_be_used() {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--all-features", "--locked", "--offline"]);
    // What this machine builds: of the others' it may not have the manifests.
    let host = Command::new(env!("CARGO")).arg("-vV").output().expect("cargo runs");
    let host = String::from_utf8_lossy(&host.stdout).into_owned();
    let host = host.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo tells").to_owned();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = command.args(["--filter-platform", &host]).current_dir(root).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("is JSON");
    let nodes = metadata["resolve"]["nodes"].as_array().expect("a list");
    let used: BTreeSet<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
    let (allowed, mut looked_at) = (allowed(), 0);
    for package in metadata["packages"].as_array().expect("a list") {
        let (name, licence) = (&package["name"], package["license"].as_str());
        // Ours have no source.
        let Some(source) = package["source"].as_str() else { continue };
        if used.contains(package["id"].as_str().unwrap_or_default()) {
            looked_at += 1;
            assert!(source.starts_with("registry+https://github.com/rust-lang/crates.io-index"), "{name}: {source}");
            let licence = licence.unwrap_or_else(|| panic!("{name} names no licence"));
            assert!(is_met(licence, &allowed), "{name} is under {licence}: another crate, or an entry in deny.toml");
        }
    }
    assert!(looked_at > 100, "only {looked_at} dependencies");
}
