//! The program still measures, and what it counts is what the engine promises: statements, commits and plans, never times.

use std::process::Command;

use serde_json::Value;

/// The smoke of the workloads whose costs are promised, as one object.
fn smoke() -> Value {
    let file = std::env::temp_dir().join(format!("workflow-bench-smoke-{}.json", std::process::id()));
    let mut program = Command::new(env!("CARGO_BIN_EXE_workflow-bench"));
    program.args(["--smoke", "W1", "W2", "W3", "W9", "W10", "--json"]).arg(&file);
    let output = program.output().expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report = std::fs::read_to_string(&file).expect("wrote its report");
    std::fs::remove_file(&file).expect("is removed");
    serde_json::from_str(&report).expect("is JSON")
}

/// Ours in one workload, with one set of parameters.
fn ours<'a>(report: &'a Value, workload: &str, case: &str) -> &'a Value {
    let ours = &report["workloads"][workload]["ours"][case];
    assert!(ours.is_object(), "{workload} has no {case}: {}", report["workloads"][workload]["cases"]);
    ours
}

fn cost(report: &Value, workload: &str, case: &str, cost: &str) -> f64 {
    let costs = &ours(report, workload, case)["costs"];
    costs[cost].as_f64().unwrap_or_else(|| panic!("{workload} has no {cost}: {costs}"))
}

#[track_caller]
fn between(least: f64, value: f64, most: f64) {
    assert!((least..=most).contains(&value), "{value} isn't between {least} and {most}");
}

#[test]
fn counts_and_plans_are_as_promised() {
    let report = smoke();
    for workload in ["W1", "W2", "W3", "W9", "W10"] {
        let fields = report["workloads"][workload].as_object().expect("was measured");
        for field in ["ours", "rivals", "floors", "ratio_to_best_rival", "ratio_to_floor", "bars"] {
            assert!(fields.contains_key(field), "{workload} has no {field}");
        }
    }
    assert_eq!(report["floors"].as_object().expect("floors").len(), 9);
    // A run alone is one commit for its beginning and one for its end, and there are the heartbeats.
    between(2.0, cost(&report, "W1", "1 in flight", "commits"), 3.5);
    // Runs and steps that are under way together share their commits.
    between(0.0, cost(&report, "W1", "64 in flight", "commits"), 1.0);
    between(0.0, cost(&report, "W2", "200 in flight", "commits"), 0.25);
    // Ten steps, the beginning and the end of their run.
    between(1.2, cost(&report, "W2", "1 in flight", "commits"), 1.6);
    // A lone step is one commit, however many there were before it.
    between(1.0, cost(&report, "W3", "200 in size", "commits"), 1.25);

    let plan = ours(&report, "W9", "5000 in size")["plans"]["claim"].to_string();
    assert!(plan.contains("using runs_ready on runs") && plan.contains("using runs_due on runs"), "{plan}");
    assert!(!plan.contains("Seq Scan on runs"), "{plan}");
    between(1.0, cost(&report, "W9", "5000 in size", "commits"), 1.1);

    if report["settings"]["server"]["shared_preload_libraries"] != "pg_stat_statements" {
        println!("this Postgres comes without pg_stat_statements: no statement is counted");
        return;
    }
    // An executor at work asks for its lease every 30 ms, so that more come on a slow machine: commits are what is counted.
    between(2.0, cost(&report, "W1", "1 in flight", "statements"), 20.0);
    between(0.0, cost(&report, "W2", "200 in flight", "statements"), 1.0);
    between(1.0, cost(&report, "W3", "200 in size", "statements"), 5.0);
    // The claim, and the journals with the inboxes.
    between(1.0, cost(&report, "W9", "5000 in size", "statements"), 2.1);
    let figures = &ours(&report, "W9", "5000 in size")["figures"];
    between(1.0, figures["statement_buffers"].as_f64().expect("buffers"), 400.0);
    between(1.0, ours(&report, "W10", "300 in size")["figures"]["queries"].as_f64().expect("queries"), 2.0);
}
