//! What was measured, as a table for people and as one JSON object for programs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::bar::{Bar, Outcomes};
use crate::figure::Figures;
use crate::machine;
use crate::options::Options;
use crate::result::Outcome;
use crate::workload::{self, Spec};

/// Costs that the table shows, with their columns' heads.
const COSTS: [(&str, &str); 5] = [
    ("statements", "statements"),
    ("commits", "commits"),
    ("wal_bytes", "WAL bytes"),
    ("server_cpu_us", "server us"),
    ("own_cpu_us", "own us"),
];

/// Says how it goes.
pub fn progress(spec: &Spec, case: &str, who: &str, figure: Option<f64>) {
    let figure = figure.map_or_else(|| "-".to_owned(), number);
    eprintln!("{:6} {case:24} {who:16} {figure:>12} {}", spec.id, spec.figure);
}

/// A number with as many digits as mean something.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// Everything, as one object.
pub fn json(
    options: &Options,
    server: &Map<String, Value>,
    floors: &BTreeMap<String, Figures>,
    outcomes: &Outcomes,
) -> Value {
    let program = json!({
        "seconds": options.seconds,
        "repeats": options.repeats,
        "scale": options.scale,
        "smoke": options.smoke,
        "rivals": options.rivals,
    });
    json!({
        "date": machine::date(),
        "commit": machine::commit(),
        "command": machine::command(),
        "machine": machine::describe(),
        "server": {"version": server.get("version")},
        "settings": {"server": server, "program": program, "ours": OURS},
        "floors": floors,
        "workloads": outcomes,
    })
}

/// How ours is set where a workload's own settings don't say otherwise.
const OURS: &str = "defaults of workflow::connect and Executor::builder, the queue's concurrency twice as many as are in flight, and 1,000 at least";

/// Prints the table.
pub fn print(report: &Value, outcomes: &Outcomes) {
    for field in ["date", "commit", "command"] {
        println!("{field}: {}", report[field].as_str().unwrap_or("-"));
    }
    println!("machine: {}\nserver: {}", report["machine"], report["settings"]["server"]);
    println!("\nfloors");
    for (name, figures) in report["floors"].as_object().into_iter().flatten() {
        let figure = |name: &str| figures[name].as_f64().map_or_else(|| "-".to_owned(), number);
        println!("  {name:34} {:>10} rows/s {:>10} ms median", figure("rows_per_s"), figure("p50_ms"));
    }
    for spec in workload::ALL {
        if let Some(outcome) = outcomes.get(spec.id) {
            table(spec, outcome);
        }
    }
}

fn table(spec: &Spec, outcome: &Outcome) {
    println!("\n{} {}", spec.id, outcome.what);
    for case in &outcome.cases {
        let Some(ours) = outcome.ours.get(case) else { continue };
        ours.errors.iter().for_each(|error| println!("  {case}: FAILED: {error}"));
        if ours.figures.is_empty() {
            continue;
        }
        println!("  {case}: {}", listed(&ours.figures));
        let costs = COSTS.iter().filter_map(|(name, head)| Some(format!("{} {head}", number(*ours.costs.get(*name)?))));
        let memory =
            ours.costs.get("peak_memory_bytes").map(|bytes| format!("; at most {} MiB", number(bytes / 1_048_576.0)));
        let costs: Vec<String> = costs.collect();
        println!("    each {}: {}{}", outcome.operation, costs.join(", "), memory.unwrap_or_default());
        for (name, rival) in &outcome.rivals {
            let Some(theirs) = rival.cases.get(case) else { continue };
            let errors = theirs.errors.first().map(|error| format!(" ({} failed: {error})", theirs.errors.len()));
            println!("    {name} {}: {}{}", rival.version, listed(&theirs.figures), errors.unwrap_or_default());
        }
        let ratio =
            |ratios: &BTreeMap<String, f64>, what: &str| ratios.get(case).map(|r| format!("{} {what}", number(*r)));
        let ratios = [
            ratio(&outcome.ratios_to_best_rival, "times as good as the best rival"),
            ratio(&outcome.ratios_to_floor, "of the floor"),
        ];
        let ratios: Vec<String> = ratios.into_iter().flatten().collect();
        if !ratios.is_empty() {
            println!("    {}", ratios.join(", "));
        }
    }
    outcome.bars.iter().for_each(bar);
}

fn listed(figures: &Figures) -> String {
    let all = figures.iter().map(|(name, value)| format!("{name} {}", number(*value)));
    all.collect::<Vec<_>>().join(", ")
}

fn bar(bar: &Bar) {
    let verdict = match bar.met {
        Some(true) => "met",
        Some(false) => "MISSED",
        None => "not measured",
    };
    let measured = bar.measured.map_or_else(|| "-".to_owned(), number);
    let limit = if bar.at_least { "at least" } else { "at most" };
    println!("    bar: {}: {measured}, {limit} {}: {verdict}", bar.what, number(bar.limit));
}
