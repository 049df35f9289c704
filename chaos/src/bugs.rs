//! `bugs`: a campaign for each seeded bug, in a build of this program that has them, to show that each is noticed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};
use workflow_core::seeded::{self, Bug};

use crate::AnyError;

/// The variable that names a process's bug.
pub const CHOSEN: &str = "WORKFLOW_SEEDED_BUG";
/// The variable that makes a build have bugs.
const COMPILE: &str = "WORKFLOW_SEEDED_BUGS";

pub const USAGE: &str = "usage: workflow-chaos bugs [--only NAME,NAME] [--seconds N] [--seed S] [--json FILE]";

struct Options {
    only: Option<Vec<String>>,
    seconds: u64,
    seed: u64,
    json: Option<PathBuf>,
}

/// Chooses the bug that the environment names, if it names one.
pub fn choose() -> Result<(), AnyError> {
    if let Ok(name) = std::env::var(CHOSEN) {
        seeded::choose(&name)?;
    }
    Ok(())
}

/// Hunts each bug, and first none at all; true when all were noticed, and nothing else.
pub fn main(arguments: impl Iterator<Item = String>) -> Result<bool, AnyError> {
    let options = parse(arguments)?;
    let program = build()?;
    let chosen: Vec<Bug> = Bug::ALL.iter().copied().filter(|bug| is_wanted(&options, *bug)).collect();
    let alarm = hunt(&program, None, &options)?;
    let clean = alarm["violations"].as_array().is_some_and(Vec::is_empty);
    eprintln!(
        "{:22} {}",
        "without a bug",
        if clean { "no violation".to_owned() } else { format!("FALSE ALARM {alarm}") }
    );
    let (mut rows, mut hunts) = (Vec::new(), vec![alarm]);
    for bug in chosen {
        let began = Instant::now();
        let verdict = hunt(&program, Some(bug), &options)?;
        let by = invariants(&verdict);
        let ms = verdict["caught_after_ms"].as_u64().unwrap_or(u64::try_from(began.elapsed().as_millis())?);
        let caught = !by.is_empty() && ms <= options.seconds * 1_000;
        let word = if caught { "caught" } else { "MISSED" };
        eprintln!("{:22} {word} after {:5.1} s by {}: {}", bug.name(), ms as f64 / 1e3, by.join(" "), bug.what());
        hunts.push(verdict);
        rows.push(json!({ "bug": bug.name(), "what": bug.what(), "caught": caught, "after_ms": ms, "by": by }));
    }
    let caught = rows.iter().filter(|row| row["caught"] == true).count();
    let sum = |what: &str| hunts.iter().filter_map(|verdict| verdict[what].as_u64()).sum::<u64>();
    let verdict = json!({
        // Of all campaigns; the violations and the recovery of the one without a bug.
        "runs": sum("runs"), "kills": sum("kills"), "db_crashes": sum("db_crashes"), "freezes": sum("freezes"),
        "cut_commits": sum("cut_commits"), "violations": hunts[0]["violations"],
        "recovery_p50_ms": hunts[0]["recovery_p50_ms"], "recovery_p99_ms": hunts[0]["recovery_p99_ms"],
        "bugs": rows, "caught": caught, "of": rows.len(), "kill_rate": caught as f64 / rows.len().max(1) as f64,
        "false_alarms": usize::from(!clean), "seconds_each": options.seconds, "seed": options.seed,
    });
    let text = serde_json::to_string_pretty(&verdict)?;
    println!("{text}");
    if let Some(file) = &options.json {
        std::fs::write(file, &text)?;
    }
    Ok(clean && caught == rows.len())
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, AnyError> {
    let mut options = Options { only: None, seconds: 60, seed: u64::from(std::process::id()), json: None };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value\n{USAGE}"));
        match argument.as_str() {
            "--only" => options.only = Some(value()?.split(',').map(str::to_owned).collect()),
            "--seconds" => options.seconds = value()?.parse()?,
            "--seed" => options.seed = value()?.parse()?,
            "--json" => options.json = Some(value()?.into()),
            _ => return Err(format!("{argument} is unknown\n{USAGE}").into()),
        }
    }
    let known = |name: &&String| Bug::ALL.iter().any(|bug| bug.name() == name.as_str());
    match options.only.iter().flatten().find(|name| !known(name)) {
        Some(name) => {
            let all: Vec<_> = Bug::ALL.iter().map(|bug| bug.name()).collect();
            Err(format!("there is no bug {name}: there are {}", all.join(", ")).into())
        }
        None => Ok(options),
    }
}

fn is_wanted(options: &Options, bug: Bug) -> bool {
    options.only.as_ref().is_none_or(|only| only.iter().any(|name| name == bug.name()))
}

/// This program with the bugs in it, apart from the one without.
fn build() -> Result<PathBuf, AnyError> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from).join("seeded");
    eprintln!("building a program with bugs in {}", target.display());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let done = Command::new(cargo)
        .current_dir(&root)
        .args(["build", "--release", "-p", "workflow-chaos", "--target-dir"])
        .arg(&target)
        .env(COMPILE, "1")
        .stdout(Stdio::null())
        .status()?;
    if done.success() { Ok(target.join("release/workflow-chaos")) } else { Err("it can't be built".into()) }
}

/// The verdict of a campaign that ends with the first violation.
fn hunt(program: &Path, bug: Option<Bug>, options: &Options) -> Result<Value, AnyError> {
    let mut command = Command::new(program);
    command.args(["run", "--seed", &options.seed.to_string()]);
    command.args(["--until-violation", "--seconds", &options.seconds.to_string()]);
    if let Some(bug) = bug {
        command.args(["--bug", bug.name()]).env(CHOSEN, bug.name());
    }
    let output = command.stderr(Stdio::null()).output()?;
    let verdict = serde_json::from_slice(&output.stdout);
    verdict.map_err(|error| format!("the campaign of {bug:?} ended without a verdict: {error}").into())
}

fn invariants(verdict: &Value) -> Vec<String> {
    let violations = verdict["violations"].as_array().into_iter().flatten();
    let mut by: Vec<String> = violations.filter_map(|v| v["invariant"].as_str().map(str::to_owned)).collect();
    by.sort();
    by.dedup();
    by
}
