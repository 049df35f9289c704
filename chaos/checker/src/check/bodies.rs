//! The bodies of steps: when they may begin, and how often.

use std::collections::{BTreeMap, BTreeSet};

use super::Violation;
use super::evidence::Evidence;
use super::facts::{Body, Facts};
use crate::dump::Entry;
use crate::record::{Hit, Life, Record, Step};

/// I4.
pub(super) fn none_after_outcome(facts: &Facts<'_>) -> Vec<Violation> {
    let mut late = Vec::new();
    for body in &facts.bodies {
        let (run, op) = (body.step.run, body.op());
        let mut failures = facts.entries(run, &op).filter(|entry| entry.phase == "retry");
        let failed = body.attempt.checked_sub(1).and_then(|before| failures.nth(before as usize));
        let ended = facts.outcome(run, &op);
        let first = failed.into_iter().chain(ended).min_by_key(|entry| entry.recorded_at);
        let row = facts.dump.runs.get(&run);
        let slice = Evidence::default().line(body.line);
        if let Some(entry) = first.filter(|entry| body.began > entry.recorded_at) {
            let what = format!("{op} began attempt {} after what came of it was recorded", body.attempt);
            let violation = facts.violation("I4", Some(run), what, slice.entry(run, entry));
            late.push((body, entry.recorded_at, violation));
        } else if let Some((row, at)) = row.and_then(|row| row.finished_at.map(|at| (row, at)))
            && body.began > at
        {
            let violation = facts.violation("I4", Some(run), format!("{op} began after the run's end"), slice.run(row));
            late.push((body, at, violation));
        }
    }
    facts.without_thawed(late)
}

/// I6.
pub(super) fn effects_are_counted(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut keys = BTreeMap::<&str, &Body<'_>>::new();
    for (step, bodies) in facts.bodies_by_step() {
        for body in bodies.iter().filter(|body| !body.key.is_empty()) {
            let other = *keys.entry(body.key).or_insert(body);
            if other.step != body.step || bodies[0].key != body.key {
                let first = if other.step == body.step { bodies[0] } else { other };
                let what = format!("the idempotency keys of {} and {} aren't as they should", first.step, body.step);
                let slice = Evidence::default().line(first.line).line(body.line);
                found.push(facts.violation("I6", Some(step.run), what, slice));
            }
        }
        // A transaction that was rolled back runs again within its attempt.
        if step.kind == "step" {
            found.extend(repeated(facts, step, &bodies));
        }
    }
    found.extend(unproven(facts));
    found
}

/// Attempts that began again, or had their effect again, without a fault in between.
fn repeated(facts: &Facts<'_>, step: &Step, bodies: &[&Body<'_>]) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut last = BTreeMap::<u32, &Body<'_>>::new();
    for body in bodies {
        if let Some(again) = twice(body) {
            let what = format!("one body of {step} had an effect twice");
            found.push(facts.violation("I6", Some(step.run), what, Evidence::default().lines([body.line, again])));
        }
        let Some(before) = last.insert(body.attempt, body) else { continue };
        let excused = facts.was_ended(before.process, before.line.at, body.line.at)
            || facts.thawed_into(body, before.line.at).is_some();
        if !excused {
            let what = format!("attempt {} of {step} began again, and no fault had hit it", body.attempt);
            let slice = Evidence::default().line(before.line).lines(before.effects.iter().copied());
            let slice = slice.lines(before.ended.map(|(line, _)| line)).line(body.line);
            let slice = slice.entries(step.run, facts.entries(step.run, &body.op()));
            found.push(facts.violation("I6", Some(step.run), what, slice));
        }
    }
    found
}

/// The second record of the same effect of one body.
fn twice<'a>(body: &Body<'a>) -> Option<&'a crate::record::Line> {
    let mut seen = BTreeSet::new();
    body.effects.iter().copied().find(|line| match &line.record {
        Record::BodyEffect { what, .. } => !seen.insert(what),
        _ => false,
    })
}

/// Outcomes of steps that no body of the ledger accounts for.
fn unproven(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for &run in facts.bodies_of.keys() {
        let noted: BTreeSet<_> = facts.bodies_of(run).map(Body::op).collect();
        let steps = facts.dump.journal(run).iter().filter(|entry| entry.key.kind == "step" && entry.is_outcome());
        for entry in steps.filter(|entry| !facts.options.is_silent(&entry.key.name)) {
            if !noted.contains(&entry.key) {
                let what = format!("{} has an outcome, and its body never began", entry.key);
                found.push(facts.violation("I6", Some(run), what, Evidence::default().entry(run, entry)));
            }
        }
    }
    found
}

/// I16.
pub(super) fn none_after_cancel(facts: &Facts<'_>) -> Vec<Violation> {
    let mut late = Vec::new();
    for body in facts.bodies.iter().filter(|body| !body.cleanup) {
        let run = body.step.run;
        let Some(cancel) = facts.cancellation(run).filter(|cancel| body.began > cancel.recorded_at) else { continue };
        let what = format!("{} began after the cancellation was recorded", body.step);
        let slice = Evidence::default().entry(run, cancel).line(body.line);
        late.push((body, cancel.recorded_at, facts.violation("I16", Some(run), what, slice)));
    }
    let mut found = facts.without_thawed(late);
    for line in facts.lines {
        let Record::CleanupBegun { step } = &line.record else { continue };
        let Some(row) = facts.dump.runs.get(&step.run).filter(|row| row.is_terminal()) else { continue };
        let key = crate::dump::Key { kind: step.kind.clone(), name: step.name.clone(), nth: i64::from(step.nth) };
        if facts.outcome(step.run, &key).is_none() {
            let what = format!("its cleanup {step} began and has no outcome, and the run is over");
            found.push(facts.violation("I16", Some(step.run), what, Evidence::default().line(line).run(row)));
        }
    }
    found
}

/// I19.
pub(super) fn attempts_are_real(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for body in &facts.bodies {
        let (run, op) = (body.step.run, body.op());
        if !facts.dump.runs.contains_key(&run) || body.line.at > facts.dump.taken_at {
            continue;
        }
        let failures: Vec<&Entry> = facts.entries(run, &op).filter(|entry| entry.phase == "retry").collect();
        if body.attempt as usize > failures.len() + 1 {
            let what = format!("{op} is at attempt {}, and {} failed", body.attempt, failures.len());
            let slice = Evidence::default().line(body.line).entries(run, failures);
            found.push(facts.violation("I19", Some(run), what, slice));
        }
    }
    let lives = facts.lines.iter().any(|line| matches!(line.record, Record::Executor { .. }));
    if !lives {
        return found;
    }
    let abrupt: Vec<_> = facts.lines.iter().filter(|line| is_abrupt(&line.record)).collect();
    for row in facts.dump.runs.values().filter(|row| row.crashes > 0) {
        let since = row.created_at - facts.options.notice;
        let losses = abrupt.iter().filter(|line| line.at >= since).count();
        if usize::try_from(row.crashes).is_ok_and(|crashes| crashes > losses) {
            let what = format!("it counts {} crashes, and {losses} executors were lost since it began", row.crashes);
            found.push(facts.violation("I19", Some(row.id), what, Evidence::default().run(row)));
        }
    }
    found
}

/// Whether an executor was lost without handing its runs over.
fn is_abrupt(record: &Record) -> bool {
    matches!(
        record,
        Record::Fault { hit: Hit::Kill | Hit::Freeze, .. }
            | Record::Executor { life: Life::LeaseLost | Life::Exited { graceful: false }, .. }
    )
}
