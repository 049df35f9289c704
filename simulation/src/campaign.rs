//! Many seeds, on all cores.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::fault::{Faults, Verdict};
use crate::ledger::{Counts, Violation};
use crate::plan::Plan;
use crate::scenario::{Outcome, simulate};
use crate::shrink::shrink;

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Campaign {
    /// The first seed.
    pub first: u64,
    /// How many.
    pub seeds: u64,
    /// After how long no other seed is begun.
    pub at_most: Option<Duration>,
    /// How many threads.
    pub threads: usize,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// How many seeds were simulated.
    pub seeds: u64,
    /// How often what happened in them.
    pub counts: Counts,
    /// How long runs waited that were in a body when their executor was killed, in virtual milliseconds.
    pub recoveries: Vec<u64>,
    /// In how much time.
    pub seconds: f64,
    /// The first seeds that failed, with what happened in each.
    pub failed: BTreeMap<u64, Violation>,
}

/// After how many failures a campaign ends.
const ENOUGH: usize = 3;

impl Campaign {
    /// Simulates until all is done or enough has failed. `progress` is told how many seeds are done now and then.
    #[expect(clippy::disallowed_methods, reason = "measures how fast it is")]
    pub fn run(&self, progress: impl Fn(u64, &Counts) + Sync) -> Verdicts {
        let began = Instant::now();
        let next = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let verdicts = Mutex::new(Verdicts::default());
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= self.seeds || self.at_most.is_some_and(|at_most| began.elapsed() > at_most) {
                    return;
                }
                let seed = self.first + index;
                let outcome = simulate(&Plan::random(seed), false);
                let mut verdicts = verdicts.lock().unwrap_or_else(PoisonError::into_inner);
                verdicts.seeds += 1;
                verdicts.counts.add(&outcome.counts);
                verdicts.recoveries.extend(outcome.recoveries);
                if let Some(violation) = outcome.violations.into_iter().next() {
                    verdicts.failed.insert(seed, violation);
                    stop.fetch_or(verdicts.failed.len() >= ENOUGH, Ordering::Relaxed);
                }
                if verdicts.seeds % 500 == 0 {
                    progress(verdicts.seeds, &verdicts.counts);
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..self.threads.max(1) {
                scope.spawn(work);
            }
        });
        let mut verdicts = verdicts.into_inner().unwrap_or_else(PoisonError::into_inner);
        verdicts.recoveries.sort_unstable();
        verdicts.seconds = began.elapsed().as_secs_f64();
        verdicts
    }
}

impl Verdicts {
    /// Programs a second.
    pub fn rate(&self) -> f64 {
        self.counts.programs as f64 / self.seconds.max(1e-9)
    }

    /// How long a run waited at most, of so many in a hundred that waited least; `None` when none had to.
    pub fn recovery_ms(&self, percent: usize) -> Option<u64> {
        self.recoveries
            .get((self.recoveries.len() * percent / 100).min(self.recoveries.len().saturating_sub(1)))
            .copied()
    }
}

/// Fails every call of a plan once, in each way: what came of each, with the number of the call.
pub fn each_call_once(plan: &Plan, mut told: impl FnMut(u64, Verdict, Outcome)) {
    let plan = plan.clone().calm();
    let calls = simulate(&plan, false).counts.calls;
    for number in 1..=calls {
        for verdict in Verdict::ALL {
            let faults = Faults { single: Some((number, verdict)), ..plan.faults.clone() };
            told(number, verdict, simulate(&Plan { faults, ..plan.clone() }, false));
        }
    }
}

/// What somebody needs who is to find out why a seed fails: how to repeat it, what is violated, the smallest plan that
/// still fails, and what happened to the run in it.
pub fn describe(plan: &Plan, violation: &Violation) -> String {
    let smallest = shrink(plan, violation);
    let outcome = simulate(&smallest, true);
    let again = outcome.violations.iter().find(|other| other.invariant == violation.invariant);
    let shown = again.unwrap_or(violation);
    let slice = slice(&outcome.log, shown);
    format!(
        "seed {seed} violates {invariant}: {what}\n  again: cargo run --release -p workflow-simulation -- --seed {seed} \
         --log\n  smallest plan: {smallest:#?}\n  there: {there}\n  what happened to it:\n{slice}",
        seed = plan.seed,
        invariant = violation.invariant,
        what = violation.what,
        there = shown.what,
    )
}

/// The lines of the log that are about the run, and those about executors.
fn slice(log: &str, violation: &Violation) -> String {
    let run = violation.run.map(|run| run.to_string());
    let life = ["is killed", "freezes", "is shut down", "started", "calm", "register", "VIOLATION", "rescue"];
    let about = |line: &&str| match &run {
        Some(run) => line.contains(run.as_str()) || life.iter().any(|word| line.contains(word)),
        None => life.iter().any(|word| line.contains(word)),
    };
    let lines: Vec<&str> = log.lines().filter(about).collect();
    let (first, last) = (lines.len().min(40), lines.len().saturating_sub(60).max(40).min(lines.len()));
    let mut shown: Vec<&str> = lines[..first].to_vec();
    if last > first {
        shown.push("   ..");
    }
    shown.extend(&lines[last..]);
    shown.join("\n")
}
