//! What the clock does: never early, by the database's time.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeDelta;
use uuid::Uuid;

use super::Violation;
use super::evidence::Evidence;
use super::facts::Facts;
use crate::dump::Entry;
use crate::record::{Line, Record, Time};

/// I10.
pub(super) fn none_early(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = told(facts);
    for (&run, journal) in &facts.dump.journals {
        for entry in journal.iter().filter(|entry| entry.is_outcome()) {
            let Some((due, asked)) = due(journal, entry) else { continue };
            if entry.recorded_at < due {
                let early = due - entry.recorded_at;
                let what = format!("{} ended {} microseconds early", entry.key, micros(early));
                let slice = Evidence::default().entry(run, asked).entry(run, entry);
                found.push(facts.violation("I10", Some(run), what, slice));
            }
        }
    }
    found.extend(retries(facts));
    found
}

fn micros(delta: TimeDelta) -> i64 {
    delta.num_microseconds().unwrap_or(i64::MAX)
}

/// When a timer that ended with `outcome` was due, and the entry that asked for it.
fn due<'a>(journal: &'a [Entry], outcome: &Entry) -> Option<(Time, &'a Entry)> {
    let asked = journal.iter().find(|entry| entry.key == outcome.key && entry.phase == "asked")?;
    let request = asked.json()?;
    let after = |field: &str| asked.recorded_at.checked_add_signed(TimeDelta::microseconds(request[field].as_i64()?));
    let due = match outcome.key.kind.as_str() {
        "sleep" if outcome.phase == "ok" => after("for_us")?,
        "sleep_until" if outcome.phase == "ok" => request["until"].as_str()?.parse().ok()?,
        "event" if outcome.phase == "failed" && is_timeout(outcome) => after("timeout_us")?,
        _ => return None,
    };
    Some((due, asked))
}

/// Whether a failure is that of a timeout.
pub(super) fn is_timeout(outcome: &Entry) -> bool {
    outcome.json().is_some_and(|failure| failure["kind"] == "timed_out")
}

/// Timers as the bodies before and after them saw the database's clock. The one before may have run more than once: the
/// timer began after one of them.
fn told(facts: &Facts<'_>) -> Vec<Violation> {
    let mut asked = BTreeMap::<(Uuid, &str), Vec<(&Line, Time)>>::new();
    for line in facts.lines {
        if let Record::TimerAsked { run, timer, for_us, db_at } = &line.record {
            let Some(due) = db_at.checked_add_signed(TimeDelta::microseconds(*for_us)) else { continue };
            asked.entry((*run, timer)).or_default().push((line, due));
        }
    }
    let mut found = Vec::new();
    for line in facts.lines {
        let Record::TimerFired { run, timer, db_at } = &line.record else { continue };
        let first = asked.get(&(*run, timer.as_str())).and_then(|asked| asked.iter().min_by_key(|(_, due)| *due));
        let what = match first {
            None => format!("timer {timer} fired, and nobody had asked for it"),
            Some((_, due)) if db_at < due => {
                format!("timer {timer} fired {} microseconds early", micros(*due - *db_at))
            }
            Some(_) => continue,
        };
        let slice = Evidence::default().lines(first.map(|(line, _)| *line)).line(line);
        found.push(facts.violation("I10", Some(*run), what, slice));
    }
    found
}

/// Attempts that began before the delay after the one in front of them was over.
fn retries(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for body in facts.bodies.iter().filter(|body| body.attempt > 1) {
        let (run, op) = (body.step.run, body.op());
        let mut failures = facts.entries(run, &op).filter(|entry| entry.phase == "retry");
        let Some(failure) = failures.nth(body.attempt as usize - 2) else { continue };
        let Some(delay) = failure.mark else { continue };
        let Some(due) = failure.recorded_at.checked_add_signed(TimeDelta::microseconds(delay)) else { continue };
        if body.began_by < due {
            let early = micros(due - body.began_by);
            let what = format!("attempt {} of {op} began {early} microseconds early", body.attempt);
            let slice = Evidence::default().entry(run, failure).line(body.line);
            found.push(facts.violation("I10", Some(run), what, slice));
        }
    }
    found
}

/// I21.
pub(super) fn one_run_per_tick(facts: &Facts<'_>) -> Vec<Violation> {
    let mut runs = BTreeMap::<(&str, Time), Vec<(&Line, Uuid)>>::new();
    for line in facts.lines {
        if let Record::Tick { schedule, tick, run } = &line.record {
            runs.entry((schedule, *tick)).or_default().push((line, *run));
        }
    }
    let mut found = Vec::new();
    for line in facts.lines {
        let Record::Schedule { schedule, ticks } = &line.record else { continue };
        let missing = ticks.iter().find(|tick| !runs.contains_key(&(schedule.as_str(), **tick)));
        if let Some(tick) = missing {
            let what = format!("schedule {schedule} has no run for its tick {tick}");
            found.push(facts.violation("I21", None, what, Evidence::default().line(line)));
        }
        let early_or_alien = runs.iter().find(|((name, tick), _)| name == schedule && !ticks.contains(tick));
        if let Some(((_, tick), lines)) = early_or_alien {
            let what = format!("schedule {schedule} has a run for {tick}, which is no tick of it");
            found.push(facts.violation("I21", None, what, Evidence::default().line(line).line(lines[0].0)));
        }
    }
    for ((schedule, tick), lines) in &runs {
        let distinct: BTreeSet<_> = lines.iter().map(|(_, run)| run).collect();
        if distinct.len() > 1 {
            let what = format!("schedule {schedule} has {} runs for its tick {tick}", distinct.len());
            let slice = Evidence::default().lines(lines.iter().map(|(line, _)| *line));
            found.push(facts.violation("I21", None, what, slice));
        }
    }
    found
}
