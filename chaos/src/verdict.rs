//! The verdict: what landed, what was violated, how soon things went on.

use serde_json::{Value, json};
use workflow_checker::dump::Dump;
use workflow_checker::record::Line;

use crate::field::Field;
use crate::measure;
use crate::options::Class;

/// What a campaign came to.
pub struct Verdict {
    pub json: Value,
    pub violations: usize,
    /// Which faults didn't land.
    pub missing: Vec<String>,
}

impl Verdict {
    pub fn ok(&self) -> bool {
        self.violations == 0 && self.missing.is_empty()
    }
}

/// What was found out besides.
pub struct Findings {
    pub violations: Vec<Value>,
    pub settle_ms: u64,
    pub seconds: u64,
}

pub fn of(field: &Field, lines: &[Line], dump: &Dump, findings: Findings) -> Verdict {
    count_the_rest(field);
    let tally = &field.tally;
    let recoveries = measure::recoveries(lines);
    let restarts = field.restarts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    let restarts = measure::restarts(&restarts, dump);
    let kills = tally.total(Class::F1);
    let cut = tally.of(Class::F4, "cut_commit");
    let unknown = field.heard.sum(|said| &said.unknown_commits);
    let zombies = field.zombies.load(std::sync::atomic::Ordering::SeqCst);
    let mut missing = missing(field, findings.seconds);
    if field.options.has(Class::F1) && recoveries.in_flight * 2 < kills {
        missing.push(format!("a body was in flight in only {} of {kills} kills", recoveries.in_flight));
    }
    // On a file a process seldom freezes with a write on its way.
    if field.options.has(Class::F2) && field.place.postgres().is_some() && zombies == 0 {
        missing.push("no write of a zombie was refused".to_owned());
    }
    if (field.options.has(Class::F4) || field.options.has(Class::F6)) && unknown == 0 {
        missing.push("no commit was of unknown outcome".to_owned());
    }
    let violations = findings.violations.len();
    let json = json!({
        "runs": dump.runs.len(),
        "records": lines.len(),
        "kills": kills,
        "kills_in_flight": recoveries.in_flight,
        "db_crashes": tally.total(Class::F3),
        "freezes": tally.total(Class::F2),
        "cut_commits": cut,
        "unknown_commits": unknown,
        "zombie_writes_rejected": zombies,
        "violations": findings.violations,
        "recovery_p50_ms": recoveries.kills.percentile(50),
        "recovery_p99_ms": recoveries.kills.percentile(99),
        "recoveries": recoveries.kills.count(),
        "handover_p99_ms": recoveries.handovers.percentile(99),
        "handover_p50_ms": recoveries.handovers.percentile(50),
        "handovers": recoveries.handovers.count(),
        "takeover_p50_ms": recoveries.takeovers.percentile(50),
        "takeover_p99_ms": recoveries.takeovers.percentile(99),
        "takeovers": recoveries.takeovers.count(),
        "restart_p50_ms": restarts.percentile(50),
        "restart_p99_ms": restarts.percentile(99),
        "max_settle_ms": findings.settle_ms,
        "faults": tally.json(),
        "did_not_land": missing,
        "cannot_land_here": cannot_land(field).iter().map(|class| class.name()).collect::<Vec<_>>(),
        "seed": field.options.seed,
        "seconds": findings.seconds,
        "store": field.options.store.as_str(),
        "command": field.options.command(),
    });
    Verdict { json, violations, missing }
}

/// What the processes counted themselves.
fn count_the_rest(field: &Field) {
    let (heard, tally) = (&field.heard, &field.tally);
    tally.add(Class::F6, "before", heard.sum(|said| &said.injected_before));
    tally.add(Class::F6, "after", heard.sum(|said| &said.injected_after));
    tally.add(Class::F10, "wakeups", heard.sum(|said| &said.disturbed_wakeups));
    if field.has_faketime() {
        tally.add(Class::F9, "clock", heard.off_clocks());
    }
}

/// Classes that nothing on this machine makes possible.
fn cannot_land(field: &Field) -> Vec<Class> {
    let no_disk = field.place.postgres().is_some_and(|postgres| postgres.disk.is_none());
    let here = |class: &Class| match class {
        Class::F8 => no_disk,
        Class::F9 => !field.has_faketime(),
        _ => false,
    };
    field.options.faults.iter().copied().filter(here).collect()
}

/// Each class ten times in ten minutes, and once in any run.
fn missing(field: &Field, seconds: u64) -> Vec<String> {
    let least = (seconds / 60).max(1);
    let impossible = cannot_land(field);
    let wanted = field.options.faults.iter().filter(|class| !impossible.contains(class));
    let landed = wanted.map(|class| (class, field.tally.total(*class)));
    let few = landed.filter(|(_, landed)| *landed < least);
    few.map(|(class, landed)| format!("{} landed {landed} times, not {least}", class.name())).collect()
}
