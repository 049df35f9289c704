//! The bars: what the figures have to reach, and whether they do.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::figure::times_as_good;
use crate::result::Outcome;

/// A limit, and what was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Bar {
    pub what: String,
    pub limit: f64,
    /// Whether the limit is a least; else it is a most.
    pub at_least: bool,
    /// `None` when it needs something that wasn't measured: a rival, another workload.
    pub measured: Option<f64>,
    pub met: Option<bool>,
}

impl Bar {
    fn new(what: impl Into<String>, at_least: bool, limit: f64, measured: Option<f64>) -> Self {
        let measured = measured.filter(|value| value.is_finite());
        let met = measured.map(|value| if at_least { value >= limit } else { value <= limit });
        Self { what: what.into(), limit, at_least, measured, met }
    }

    fn least(what: impl Into<String>, limit: f64, measured: Option<f64>) -> Self {
        Self::new(what, true, limit, measured)
    }

    fn most(what: impl Into<String>, limit: f64, measured: Option<f64>) -> Self {
        Self::new(what, false, limit, measured)
    }
}

/// Everything that was measured, by the workloads' names.
pub type Outcomes = BTreeMap<String, Outcome>;

/// Fills in the bars of all workloads.
pub fn judge(outcomes: &mut Outcomes, is_postgres: bool) {
    let ids: Vec<String> = outcomes.keys().cloned().collect();
    for id in ids {
        let bars = outcomes.get(&id).map(|outcome| match is_postgres {
            true => on_postgres(&id, outcome, outcomes),
            false => on_sqlite(&id, outcome),
        });
        if let (Some(outcome), Some(bars)) = (outcomes.get_mut(&id), bars) {
            outcome.bars = bars;
        }
    }
}

fn on_sqlite(id: &str, of: &Outcome) -> Vec<Bar> {
    match id {
        "W1" => vec![Bar::least("runs a second on SQLite", 10_000.0, of.best("runs_per_s"))],
        "W2" => vec![Bar::least("steps a second on SQLite", 30_000.0, of.best("steps_per_s"))],
        "W8" | "replay" => on_any(id, of),
        _ => Vec::new(),
    }
}

fn on_postgres(id: &str, of: &Outcome, all: &Outcomes) -> Vec<Bar> {
    match id {
        "W1" => throughput(of, "runs_per_s", 0.2, &[(10.0, "the best rival", any_rival)]),
        "W2" => {
            let rivals: [Against; 2] =
                [(20.0, "the best rival on Postgres", on_their_postgres), (8.0, "Restate", is_restate)];
            let mut bars = throughput(of, "steps_per_s", 0.5, &rivals);
            let single = ratio(of.best("steps_per_s"), of.best_floor(false));
            bars.insert(1, Bar::least("steps a second over the best single-row floor", 3.0, single));
            bars
        }
        "W3" => per_case(of, |case| {
            let p50 = ratio(of.headline(case), of.commit_ms());
            vec![
                Bar::most(format!("a step in single-row commits, {case}"), 1.2, p50),
                Bar::most(format!("the last steps over the first, {case}"), 1.1, of.ours(|c| c == case, "slope")),
            ]
        }),
        "W3b" => {
            vec![Bar::most("a run in single-row commits", 4.0, ratio(of.ours(all_cases, "p50_ms"), of.commit_ms()))]
        }
        "W4" => {
            let in_commits = |figure| ratio(of.ours(all_cases, figure), of.commit_ms());
            vec![
                Bar::most("enqueue to start in single-row commits, median", 20.0, in_commits("start_p50_ms")),
                Bar::most("enqueue to start in single-row commits, 99th percentile", 100.0, in_commits("start_p99_ms")),
            ]
        }
        "W5" => {
            let started = all.get("W1").and_then(|w1| w1.ours(|case| case == "16 in flight", "runs_per_s"));
            let drained = of.ours(|case| case.starts_with("10 in flight"), "runs_per_s");
            vec![Bar::least(
                "runs a second at a concurrency of 10 over W1 at 16 in flight",
                0.5,
                ratio(drained, started),
            )]
        }
        "W6" | "W7" => per_case(of, |case| {
            let measured = of.ratios_to_best_rival.get(case).copied();
            let rivals_have_it = of.rivals.values().any(|rival| rival.cases.contains_key(case));
            let bar = Bar::least(format!("how many times as fast as the best rival, {case}"), 2.0, measured);
            if rivals_have_it || of.rivals.is_empty() { vec![bar] } else { Vec::new() }
        }),
        "W9" => vec![Bar::most("milliseconds of a claim, median", 1.0, of.ours(all_cases, "p50_ms"))],
        "W10" => {
            let queries = of.cases.last().and_then(|last| of.ours(|case| case == last, "queries"));
            vec![
                Bar::most("queries to resume a run", 2.0, queries),
                Bar::least(
                    "how many times as fast as the best rival, with the same history",
                    4.0,
                    of.ratio_to_best_rival,
                ),
            ]
        }
        "W11" => {
            vec![Bar::most(
                "ms until a run of the killed executor goes on, 99th percentile",
                1_000.0,
                of.ours(all_cases, "going_on_p99_ms"),
            )]
        }
        "W12" => vec![
            Bar::most("percent that the rate at half load has fallen", 5.0, of.ours(all_cases, "drift_percent")),
            Bar::most("percent that the rate at full load has fallen", 5.0, of.ours(all_cases, "full_drift_percent")),
        ],
        "W13" => vec![Bar::least("percent of the first rate that is left", 80.0, of.ours(all_cases, "left_percent"))],
        "W15" => vec![Bar::least("runs a second", 100_000.0, of.best("runs_per_s"))],
        "W16" => vec![Bar::most("a transactional step over a plain transaction", 1.3, of.ours(all_cases, "ratio"))],
        other => on_any(other, of),
    }
}

fn on_any(id: &str, of: &Outcome) -> Vec<Bar> {
    match id {
        "W8" => {
            let first = |figure: &str| of.ours(all_cases, figure);
            let most =
                |figure: &str| of.ours.values().filter_map(|ours| ours.figures.get(figure).copied()).reduce(f64::max);
            vec![
                Bar::most(
                    "ms that a sleeper is late, 99th percentile, with the fewest",
                    250.0,
                    first("lateness_p99_ms"),
                ),
                Bar::most("statements a second while idle", 0.5, most("idle_statements_per_s")),
                Bar::most("runs in memory while all sleep", 0.0, most("idle_resident_runs")),
                Bar::most("bytes of memory for each further sleeper", 1.0, memory_of_more(of)),
                Bar::most("rows that a restart touches while nothing is due", 0.0, most("runs_touched_by_restart")),
            ]
        }
        "replay" => vec![Bar::least("entries a second", 1e6, of.best("entries_per_s"))],
        _ => Vec::new(),
    }
}

/// How many times as good, and as whom.
type Against = (f64, &'static str, fn(&str) -> bool);

/// The best rate against the best batches and against the best of rivals.
fn throughput(of: &Outcome, figure: &str, of_batches: f64, rivals: &[Against]) -> Vec<Bar> {
    let best = of.best(figure);
    let mut bars =
        vec![Bar::least("over the best floor of many rows a commit", of_batches, ratio(best, of.best_floor(true)))];
    for (limit, whom, wanted) in rivals {
        let theirs = of.best_rival(None, wanted).map(|(_, figure)| figure);
        let measured = best.zip(theirs).map(|(ours, theirs)| times_as_good(figure, ours, theirs));
        bars.push(Bar::least(format!("how many times as fast as {whom}"), *limit, measured));
    }
    bars
}

/// The growth from the fewest to the most sleepers, for each of them.
fn memory_of_more(of: &Outcome) -> Option<f64> {
    let figures = |case: &String| Some(of.ours.get(case)?.figures.clone());
    let (few, many) = (figures(of.cases.first()?)?, figures(of.cases.last()?)?);
    let count = |case: &String| case.split(' ').next()?.parse::<f64>().ok();
    let more = count(of.cases.last()?)? - count(of.cases.first()?)?;
    let name = "idle_memory_growth_bytes";
    (more > 0.0).then_some((many.get(name)? - few.get(name)?) / more)
}

fn per_case(of: &Outcome, bars: impl Fn(&str) -> Vec<Bar>) -> Vec<Bar> {
    of.cases.iter().flat_map(|case| bars(case)).collect()
}

fn ratio(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? / b?)
}

fn all_cases(_: &str) -> bool {
    true
}

fn any_rival(_: &str) -> bool {
    true
}

fn is_restate(rival: &str) -> bool {
    rival.to_lowercase().contains("restate")
}

/// Restate has a server of its own, and duroxide without `-pg` a file.
fn on_their_postgres(rival: &str) -> bool {
    !is_restate(rival) && rival != "duroxide"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_measured_is_neither_met_nor_missed() {
        assert_eq!(Bar::least("x", 2.0, None).met, None);
        assert_eq!(Bar::least("x", 2.0, Some(2.0)).met, Some(true));
        assert_eq!(Bar::most("x", 2.0, Some(2.1)).met, Some(false));
        assert_eq!(Bar::most("x", 2.0, Some(f64::NAN)).met, None);
    }
}
