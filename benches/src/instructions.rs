//! Counts the instructions of the replay machine: the same on a busy machine as on a quiet one.
//!
//! Valgrind runs this program twice, with journals of two lengths; the difference is what an entry costs.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::AnyError;
use crate::replay::Replay;

/// The word that makes the program replay once, for valgrind.
pub const ONCE: &str = "replay-once";

const SHORT: u64 = 2_000;
const LONG: u64 = 10_000;
/// How much more than the baseline is allowed.
const TOLERANCE_PERCENT: f64 = 3.0;

/// What is committed.
#[derive(Debug, Serialize, Deserialize)]
struct Baseline {
    instructions_per_entry: f64,
    tolerance_percent: f64,
    rustc: String,
    target: String,
}

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("instructions.json")
}

/// Replays once: what valgrind counts.
pub fn replay_once(entries: Option<String>) -> Result<(), AnyError> {
    let entries = entries.ok_or("replay-once takes a number of entries")?.parse()?;
    let replay = Replay::of(entries)?;
    let journal = replay.journal();
    replay.run(journal)
}

/// Counts, and compares with the baseline or writes it.
pub fn count(write: bool) -> Result<(), AnyError> {
    if cfg!(debug_assertions) {
        return Err(
            "instructions are counted in a release build: cargo run --release -p workflow-bench -- instructions".into(),
        );
    }
    let each = (instructions(LONG)? - instructions(SHORT)?) / (LONG - SHORT) as f64;
    println!("replay: {each:.0} instructions an entry");
    let target = format!("{} {}", std::env::consts::OS, std::env::consts::ARCH);
    if write {
        let baseline = Baseline {
            instructions_per_entry: each.round(),
            tolerance_percent: TOLERANCE_PERCENT,
            rustc: rustc(),
            target,
        };
        std::fs::write(file(), serde_json::to_string_pretty(&baseline)? + "\n")?;
        return Ok(());
    }
    let baseline: Baseline = serde_json::from_str(&std::fs::read_to_string(file())?)?;
    if baseline.target != target || baseline.rustc != rustc() {
        println!("the baseline is of {} on {}, and this is {} on {target}", baseline.rustc, baseline.target, rustc());
    }
    let more = (each / baseline.instructions_per_entry - 1.0) * 100.0;
    println!("baseline: {:.0}; {more:+.1} %", baseline.instructions_per_entry);
    if more > baseline.tolerance_percent {
        return Err(format!(
            "replaying an entry takes {more:.1} % more instructions than the baseline, and {} % are tolerated: find out why, \
             or accept it with `instructions --write`",
            baseline.tolerance_percent
        )
        .into());
    }
    Ok(())
}

fn instructions(entries: u64) -> Result<f64, AnyError> {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no"]);
    valgrind
        .arg("--toggle-collect=*replay::Replay::run*")
        .arg(std::env::current_exe()?)
        .args([ONCE, &entries.to_string()]);
    let output =
        valgrind.output().map_err(|error| format!("valgrind can't be run ({error}): install Debian's valgrind"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected :")).map(|(_, count)| count.trim());
    let count: f64 = collected.and_then(|count| count.parse().ok()).ok_or_else(|| format!("valgrind said: {said}"))?;
    if !output.status.success() || count == 0.0 {
        return Err(format!("valgrind counted nothing: {said}").into());
    }
    Ok(count)
}

fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
