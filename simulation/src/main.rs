//! Simulates seeds: progress on stderr, one JSON verdict on stdout, exit code 1 on a violation.
//!
//! `cargo run --release -p workflow-simulation -- [--seeds N] [--first SEED] [--seconds S] [--threads N] [--json FILE]`,
//! or `--seed SEED [--log]` for one, `--sites SEED` to fail every call of one once in every way. A build with
//! `WORKFLOW_SEEDED_BUGS=1` takes `--bug NAME`, to show that the bug is found.

use std::process::ExitCode;
use std::time::Duration;

use workflow_simulation::campaign::{Campaign, Verdicts, describe, each_call_once};
use workflow_simulation::{Plan, simulate};

#[derive(Default)]
struct Options {
    campaign: Option<Campaign>,
    seed: Option<u64>,
    sites: Option<u64>,
    log: bool,
    json: Option<String>,
}

fn options() -> Result<Options, String> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut campaign = Campaign { first: 0, seeds: 2_000, at_most: None, threads };
    let mut options = Options::default();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--log" {
            options.log = true;
            continue;
        }
        let value = arguments.next().ok_or(format!("{argument} needs a value"))?;
        let number = || value.parse::<u64>().map_err(|error| format!("{argument} {value}: {error}"));
        match argument.as_str() {
            "--seeds" => campaign.seeds = number()?,
            "--first" => campaign.first = number()?,
            "--seconds" => {
                campaign.at_most = Some(Duration::from_secs(number()?));
                campaign.seeds = u64::MAX - campaign.first;
            }
            "--threads" => campaign.threads = number()? as usize,
            "--seed" => options.seed = Some(number()?),
            "--sites" => options.sites = Some(number()?),
            "--bug" => drop(workflow_core::seeded::choose(&value)?),
            "--json" => options.json = Some(value),
            other => return Err(format!("{other} is no option: see the top of simulation/src/main.rs")),
        }
    }
    options.campaign = Some(campaign);
    Ok(options)
}

fn main() -> ExitCode {
    let options = match options() {
        Ok(options) => options,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    match (options.seed, options.sites, &options.campaign) {
        (Some(seed), ..) => one(seed, options.log),
        (None, Some(seed), _) => sites(seed),
        (None, None, Some(campaign)) => many(campaign, options.json.as_deref()),
        (None, None, None) => ExitCode::SUCCESS,
    }
}

fn one(seed: u64, log: bool) -> ExitCode {
    let plan = Plan::random(seed);
    let outcome = simulate(&plan, log);
    if log {
        println!("{plan:#?}\n{}", outcome.log);
    }
    println!("{:#?}", outcome.counts);
    match outcome.violations.first() {
        None => ExitCode::SUCCESS,
        Some(violation) => {
            eprintln!("{}", describe(&plan, violation));
            ExitCode::FAILURE
        }
    }
}

fn sites(seed: u64) -> ExitCode {
    let (mut sites, mut failed) = (0, 0);
    each_call_once(&Plan::random(seed), |number, verdict, outcome| {
        sites += 1;
        if let Some(violation) = outcome.violations.first() {
            failed += 1;
            eprintln!("call {number}, {verdict:?}: {violation:?}");
        }
    });
    println!("{{\"sites\": {sites}, \"violations\": {failed}, \"seed\": {seed}}}");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn many(campaign: &Campaign, json: Option<&str>) -> ExitCode {
    let verdicts = campaign.run(|seeds, counts| {
        eprintln!("{seeds} seeds, {} programs, {} kills, {} freezes", counts.programs, counts.kills, counts.freezes);
    });
    for (seed, violation) in &verdicts.failed {
        eprintln!("{}\n", describe(&Plan::random(*seed), violation));
    }
    let verdict = report(campaign, &verdicts);
    println!("{verdict}");
    if let Some(file) = json
        && let Err(error) = std::fs::write(file, format!("{verdict}\n"))
    {
        eprintln!("{file} can't be written: {error}");
        return ExitCode::from(2);
    }
    if verdicts.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn report(campaign: &Campaign, verdicts: &Verdicts) -> serde_json::Value {
    let counts = &verdicts.counts;
    serde_json::json!({
        "seeds": verdicts.seeds,
        "seed": verdicts.failed.keys().next().copied().unwrap_or(campaign.first),
        "runs": counts.programs,
        "runs_per_second": verdicts.rate().round(),
        "seconds": verdicts.seconds.round(),
        "virtual_hours": counts.virtual_ms / 3_600_000,
        "calls": counts.calls,
        "bodies": counts.bodies,
        "lives": counts.lives,
        "kills": counts.kills,
        "kills_in_bodies": counts.kills_in_bodies,
        "freezes": counts.freezes,
        "shutdowns": counts.shutdowns,
        "injected_before": counts.injected_before,
        "injected_after": counts.injected_after,
        "unknown_commits": counts.unknown_commits,
        "fenced_commits": counts.fenced,
        "too_early": counts.too_early,
        // The store is in memory: it fails, but there is no server to crash.
        "db_crashes": 0,
        "cut_commits": counts.unknown_commits,
        "recovery_p50_ms": verdicts.recovery_ms(50),
        "recovery_p99_ms": verdicts.recovery_ms(99),
        "violations": verdicts.failed.len(),
    })
}
