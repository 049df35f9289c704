//! A minute of chaos on each store: what is asked for lands, where it can land here, and nothing is violated.

use std::process::Command;

const POSTGRES: &str = "F1,F2,F3,F4,F5,F6,F7,F8,F9,F10,F12";
const SQLITE: &str = "F1,F2,F6,F10,F12,F13";

/// Runs a campaign, and gives its verdict.
fn campaign(store: &str, faults: &str) -> serde_json::Value {
    let output = Command::new(env!("CARGO_BIN_EXE_workflow-chaos"))
        .args(["run", "--seconds", "60", "--seed", "20260101", "--store", store, "--faults", faults])
        .output()
        .expect("the program runs");
    let told = String::from_utf8_lossy(&output.stderr);
    let verdict = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}\n{told}\n{verdict}", output.status);
    serde_json::from_str(&verdict).expect("a verdict")
}

#[test]
fn a_minute_of_chaos_violates_nothing_on_postgres() {
    let verdict = campaign("postgres", POSTGRES);
    for what in ["runs", "kills", "db_crashes", "freezes", "cut_commits", "unknown_commits", "zombie_writes_rejected"] {
        assert!(verdict[what].as_u64().is_some_and(|count| count > 0), "{what}: {verdict:#}");
    }
}

#[test]
fn a_minute_of_chaos_violates_nothing_on_sqlite() {
    let verdict = campaign("sqlite", SQLITE);
    for what in ["runs", "kills", "freezes", "unknown_commits"] {
        assert!(verdict[what].as_u64().is_some_and(|count| count > 0), "{what}: {verdict:#}");
    }
}
