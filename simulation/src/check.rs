//! What is checked when all has ended: every run against its program, and every family against its journals.

use std::collections::{BTreeMap, BTreeSet};

use workflow::RunId;
use workflow::store::{RunRecord, Status};
use workflow_core::journal::{OpKey, Phase};
use workflow_core::ops::CANCEL;

use crate::interpret::topic_name;
use crate::ledger::Ledger;
use crate::plan::Plan;
use crate::program::{End, Program, Seen};

/// Checks everything that there is.
pub(crate) fn at_the_end(plan: &Plan, ledger: &Ledger) {
    let runs = ledger.runs();
    let by_id: BTreeMap<RunId, &RunRecord> = runs.iter().map(|run| (run.id, run)).collect();
    let mut programs: BTreeMap<u32, RunId> = BTreeMap::new();
    for run in &runs {
        let program: Program = match run.input.decode() {
            Ok(program) => program,
            Err(error) => {
                ledger.violation("I1", Some(run.id), format!("its input can't be read: {error}"));
                continue;
            }
        };
        if let Some(other) = programs.insert(program.name, run.id) {
            ledger.violation("I17", Some(run.id), format!("it does what {other} does: program {}", program.name));
        }
        ledger.observe(run.id);
        check_end(ledger, run, &program, &by_id);
        check_children(ledger, run, &runs, &by_id);
        check_steps(ledger, run);
        if run.crashes > 0 && plan.loses_no_lease() {
            let what = format!("{} crashes are counted, but executors only closed in good order", run.crashes);
            ledger.violation("I19", Some(run.id), what);
        }
    }
    for root in &plan.roots {
        if !programs.contains_key(&root.program.name) {
            ledger.violation("I1", None, format!("root {} was acknowledged, and is gone", root.program.name));
        }
    }
    check_events(ledger, &runs);
}

/// A run ended as its program can.
fn check_end(ledger: &Ledger, run: &RunRecord, program: &Program, all: &BTreeMap<RunId, &RunRecord>) {
    let topics = ledger.book().topics.clone();
    let emitted = |topic: u8, value: u64| {
        let events = topics.get(&format!("{} ", topic_name(topic)));
        events.is_some_and(|events| events.contains(&value.to_string().into_bytes()))
    };
    let wrong = |what: String| ledger.violation("model", Some(run.id), what);
    match run.status {
        Status::Completed => {
            let seen = run.output.as_ref().and_then(|output| output.decode::<Seen>().ok());
            if !seen.as_ref().is_some_and(|seen| program.admits(seen, &emitted)) {
                wrong(format!("it can't give {seen:?}: {program:?}"));
            }
        }
        Status::Failed if program.end == End::Failure => {}
        Status::Cancelled => {
            let asked = ledger.book().cancelled.contains(&run.id);
            let parent = run.parent.as_ref().and_then(|parent| all.get(&parent.run));
            let told = parent.is_some_and(|parent| {
                parent.finished_at <= run.finished_at && parent.finished_at.is_some()
                    || ledger.journal(parent.id).iter().any(|entry| entry.fact.key.kind == CANCEL)
            });
            if !asked && !told {
                wrong("it was cancelled, and nobody asked for that".to_owned());
            }
        }
        status => wrong(format!("it ended as {status} with {:?}: {program:?}", run.output)),
    }
}

/// Every child that was asked for is there once, belongs to who asked, and has told its outcome.
fn check_children(ledger: &Ledger, run: &RunRecord, runs: &[RunRecord], all: &BTreeMap<RunId, &RunRecord>) {
    let journal = ledger.journal(run.id);
    let invoked = journal.iter().filter(|entry| entry.fact.key.kind == "invoke");
    let asked: BTreeSet<&OpKey> =
        invoked.clone().filter(|entry| entry.fact.phase == Phase::Asked).map(|entry| &entry.fact.key).collect();
    let own = |other: &&RunRecord| other.parent.as_ref().is_some_and(|parent| parent.run == run.id);
    let mut there: BTreeSet<&OpKey> = BTreeSet::new();
    for child in runs.iter().filter(own) {
        let Some(parent) = &child.parent else { continue };
        if !there.insert(&parent.key) {
            ledger.violation("I12", Some(run.id), format!("{} has two runs", parent.key));
        }
        if !asked.contains(&parent.key) {
            ledger.violation("I15", Some(child.id), format!("its parent has never asked for {}", parent.key));
        }
    }
    if let Some(lost) = asked.iter().find(|key| !there.contains(**key)) {
        ledger.violation("I12", Some(run.id), format!("there is no run of {lost}"));
    }
    if let Some(parent) = &run.parent
        && !all.contains_key(&parent.run)
    {
        ledger.violation("I15", Some(run.id), "its parent is gone".to_owned());
    }
}

/// What is recorded of a step was done by a body.
fn check_steps(ledger: &Ledger, run: &RunRecord) {
    let journal = ledger.journal(run.id);
    let mut attempts: BTreeMap<&OpKey, u32> = BTreeMap::new();
    for entry in journal.iter().filter(|entry| entry.fact.key.kind == "step") {
        let attempt = attempts.entry(&entry.fact.key).or_default();
        *attempt += 1;
        let begun = ledger
            .book()
            .begun
            .iter()
            .any(|(of, key, number, _)| *of == run.id && *key == entry.fact.key && number == attempt);
        if !begun {
            let what = format!("attempt {attempt} of {} is recorded, and never began", entry.fact.key);
            ledger.violation("I6", Some(run.id), what);
        }
    }
}

/// What was acknowledged was emitted, and no run emitted anything twice: every emission has a value of its own. (A client
/// that isn't told what came of an emission emits another event.)
fn check_events(ledger: &Ledger, runs: &[RunRecord]) {
    let topics = ledger.book().topics.clone();
    for (topic, value) in ledger.book().acknowledged.clone() {
        let events = topics.get(&format!("{} ", topic_name(topic)));
        if !events.is_some_and(|events| events.contains(&value.to_string().into_bytes())) {
            ledger.violation("I11", None, format!("event {value} was acknowledged, and never emitted"));
        }
    }
    let mut recorded: BTreeMap<String, usize> = BTreeMap::new();
    for entry in runs.iter().flat_map(|run| ledger.journal(run.id)).filter(|entry| entry.fact.key.kind == "emit") {
        *recorded.entry(format!("{} ", entry.fact.key.name)).or_default() += 1;
    }
    for (topic, mut events) in topics {
        let mut seen = BTreeSet::new();
        events.retain(|event| event.len() > 7);
        if let Some(twice) = events.iter().find(|event| !seen.insert((*event).clone())) {
            let what = format!("{topic}got {} twice", String::from_utf8_lossy(twice));
            ledger.violation("I11", None, what);
        }
        let recorded = recorded.get(&topic).copied().unwrap_or(0);
        if recorded != events.len() {
            let what = format!("runs have recorded {recorded} emissions to {topic}which has got {}", events.len());
            ledger.violation("I11", None, what);
        }
    }
}
