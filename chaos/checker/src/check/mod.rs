//! The invariants, each a function from the facts to its violations.
//!
//! An invariant raises an alarm only on proof: what a client wasn't told (a call without an answer) may or may not have
//! happened, and what a fault hit may have happened once more. Ledger and database are on the same machine, so their
//! wall times can be compared; an executor's clock may be off and is only used where no fault says so.

mod bodies;
mod child;
mod effects;
mod event;
mod evidence;
mod facts;
mod fence;
mod journal;
mod limit;
mod log;
mod runs;
mod timer;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use serde::Serialize;
use uuid::Uuid;

use crate::dump::Dump;
use crate::record::{Line, Record};
use facts::Facts;

/// Something that must never happen, and did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// `I1` to `I24`.
    pub invariant: &'static str,
    /// The run, if it is about one.
    pub run: Option<Uuid>,
    /// What is wrong.
    pub what: String,
    /// The records and rows that prove it, in order.
    pub slice: Vec<String>,
    /// The seed of the campaign.
    pub seed: u64,
    /// The command that repeats it.
    pub repeat: String,
}

/// What came of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// Whether nothing is wrong.
    pub ok: bool,
    /// How many records the ledger holds.
    pub records: usize,
    /// How many runs there are.
    pub runs: usize,
    /// How many entries all journals have.
    pub entries: usize,
    /// How many bodies began.
    pub bodies: usize,
    /// How often each invariant is violated.
    pub per_invariant: BTreeMap<&'static str, usize>,
    /// What is wrong: up to 100 of them.
    pub violations: Vec<Violation>,
}

/// What the checker should know beyond ledger and tables.
#[derive(Debug, Clone)]
pub struct Options {
    /// The seed, if the ledger doesn't tell it.
    pub seed: Option<u64>,
    /// The command that repeats the campaign, if the ledger doesn't tell it.
    pub command: Option<String>,
    /// How long ended runs and events are kept, if shorter than the campaign: what is older may be gone.
    pub retained: Option<TimeDelta>,
    /// How long after the faults stop every run has to be terminal.
    pub settle: TimeDelta,
    /// How long after a thaw a body that was let go before the freeze may make itself known.
    pub thaw: TimeDelta,
    /// How many threads of an executor let bodies begin: so many bodies of a freeze may be caught at that place.
    pub threads: usize,
    /// How long it may take from a fault to its record, or the other way round.
    pub notice: TimeDelta,
    /// How long it may take until a process that can't reach the database learns that its lease is lost.
    pub learn: TimeDelta,
    /// Steps with these names, or below these scopes, don't write to the ledger.
    pub silent: Vec<String>,
    /// How much a gauge of a soak may grow.
    pub growth: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: None,
            command: None,
            retained: None,
            settle: TimeDelta::seconds(30),
            thaw: TimeDelta::milliseconds(50),
            threads: 2,
            notice: TimeDelta::seconds(2),
            learn: TimeDelta::seconds(60),
            silent: Vec::new(),
            growth: 1.25,
        }
    }
}

impl Options {
    fn is_silent(&self, name: &str) -> bool {
        self.silent.iter().any(|silent| name.strip_prefix(silent).is_some_and(|r| r.is_empty() || r.starts_with('/')))
    }
}

/// An invariant: its name, what it says, and how it is checked.
type Invariant = (&'static str, &'static str, fn(&Facts<'_>) -> Vec<Violation>);

/// All invariants.
const INVARIANTS: [Invariant; 24] = [
    ("I1", "no acknowledged run is lost", runs::none_lost),
    ("I2", "one terminal state, for ever", runs::one_end),
    ("I3", "positions are unique and a gapless prefix", journal::is_gapless),
    ("I4", "no body starts after its outcome is recorded", bodies::none_after_outcome),
    ("I5", "transactional effects happen exactly once", effects::exactly_once),
    ("I6", "other effects happen at least once, and again only by faults", bodies::effects_are_counted),
    ("I7", "a journal only grows, and live equals replay", journal::only_grows),
    ("I8", "no committed row is from a stale fence", fence::nothing_stale),
    ("I9", "a run has at most one live lease", fence::one_owner),
    ("I10", "no timer is early", timer::none_early),
    ("I11", "every event reaches every waiter exactly once", event::each_reaches_all),
    ("I12", "no parent waits for a terminal child", child::none_waited_for),
    ("I13", "events arrive in the order in which they were emitted", event::in_order),
    ("I14", "limits are never exceeded", limit::never_exceeded),
    ("I15", "no orphans", child::no_orphans),
    ("I16", "no step starts after a recorded cancel, except cleanup", bodies::none_after_cancel),
    ("I17", "same id and input, same run; other input, a conflict", runs::same_id_same_run),
    ("I18", "after the faults stop every run ends", runs::all_end),
    ("I19", "a handover burns no attempt", bodies::attempts_are_real),
    ("I20", "sums are conserved", effects::sums_are_conserved),
    ("I21", "one run for each tick of a schedule", timer::one_run_per_tick),
    ("I22", "a client reads its own writes", runs::own_writes_are_read),
    ("I23", "a soak is flat", limit::flat),
    ("I24", "every fault has a documented code, and no log a panic or a secret", log::is_clean),
];

/// The names of all invariants and what they say.
pub fn invariants() -> impl Iterator<Item = (&'static str, &'static str)> {
    INVARIANTS.iter().map(|(name, says, _)| (*name, *says))
}

/// Checks everything. The ledger must have been read after the dump was taken.
pub fn check(lines: &[Line], dump: &Dump, options: &Options) -> Vec<Violation> {
    let facts = Facts::new(lines, dump, options);
    INVARIANTS.iter().flat_map(|(_, _, violations)| violations(&facts)).collect()
}

/// Checks everything, and sums it up.
pub fn verdict(lines: &[Line], dump: &Dump, options: &Options) -> Verdict {
    let mut violations = check(lines, dump, options);
    let mut per_invariant = BTreeMap::new();
    for violation in &violations {
        *per_invariant.entry(violation.invariant).or_default() += 1;
    }
    violations.truncate(100);
    Verdict {
        ok: violations.is_empty(),
        records: lines.len(),
        runs: dump.runs.len(),
        entries: dump.journals.values().map(Vec::len).sum(),
        bodies: lines.iter().filter(|line| matches!(line.record, Record::BodyStarted { .. })).count(),
        per_invariant,
        violations,
    }
}
