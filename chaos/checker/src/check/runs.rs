//! Runs as clients see them: none lost, one end, one per id, and all of them end.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Violation;
use super::evidence::Evidence;
use super::facts::{Call, Facts};
use crate::dump::is_terminal;
use crate::record::{Line, Op, Reply};

/// The run of an invocation that was acknowledged.
fn acknowledged<'a>(call: &Call<'a>) -> Option<(&'a Line, Uuid)> {
    match (call.op, call.done()) {
        (Op::Invoke { .. }, Some((line, Reply::Run { run }))) => Some((line, *run)),
        _ => None,
    }
}

/// I1.
pub(super) fn none_lost(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    if facts.may_be_swept() {
        return found;
    }
    for call in &facts.calls {
        let Some((line, run)) = acknowledged(call) else { continue };
        let Op::Invoke { id, workflow, .. } = call.op else { continue };
        let what = match facts.dump.runs.get(&run) {
            None if line.at <= facts.dump.taken_at => "an acknowledged run isn't there".to_owned(),
            Some(row) if row.workflow != *workflow => format!("a run of {workflow} became one of {}", row.workflow),
            Some(row) if id.is_some() && row.invoke_id != *id => format!("its id is {:?}", row.invoke_id),
            _ => continue,
        };
        let slice = call.slice().maybe_run(facts.dump.runs.get(&run));
        found.push(facts.violation("I1", Some(run), what, slice));
    }
    found
}

/// I2.
pub(super) fn one_end(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (&run, seen) in &facts.seen {
        let row = facts.dump.runs.get(&run);
        let Some(end) = seen.iter().find(|seen| is_terminal(&seen.status.status)) else { continue };
        let slice = || Evidence::default().line(end.told);
        for other in seen {
            let changed = if is_terminal(&other.status.status) {
                let outcomes = (&end.status.outcome, &other.status.outcome);
                other.status.status != end.status.status || matches!(outcomes, (Some(a), Some(b)) if a != b)
            } else {
                other.asked.seq > end.told.seq && other.asked.seq != other.told.seq
            };
            if changed {
                let what = format!("it was {} and then {}", end.status.status, other.status.status);
                found.push(facts.violation("I2", Some(run), what, slice().line(other.asked).line(other.told)));
                break;
            }
        }
        if let Some(row) = row.filter(|row| row.status != end.status.status && end.told.at <= facts.dump.taken_at) {
            let what = format!("it was {} and is {}", end.status.status, row.status);
            found.push(facts.violation("I2", Some(run), what, slice().run(row)));
        }
    }
    for row in facts.dump.runs.values() {
        if row.is_terminal() != row.finished_at.is_some() {
            let what = format!("it is {} and has {:?} as its end", row.status, row.finished_at);
            found.push(facts.violation("I2", Some(row.id), what, Evidence::default().run(row)));
        }
        let later =
            facts.dump.journal(row.id).iter().find(|entry| row.finished_at.is_some_and(|at| entry.recorded_at > at));
        if let Some(entry) = later {
            let slice = Evidence::default().run(row).entry(row.id, entry);
            found.push(facts.violation("I2", Some(row.id), "its journal goes on after its end".to_owned(), slice));
        }
    }
    found
}

/// I17.
pub(super) fn same_id_same_run(facts: &Facts<'_>) -> Vec<Violation> {
    let mut by_id = BTreeMap::<&str, Vec<(&Call<'_>, &str, &str)>>::new();
    for call in &facts.calls {
        if let Op::Invoke { id: Some(id), workflow, input } = call.op {
            by_id.entry(id).or_default().push((call, workflow, input));
        }
    }
    let mut found = Vec::new();
    for (id, calls) in &by_id {
        let alike = calls.iter().all(|(_, workflow, input)| (*workflow, *input) == (calls[0].1, calls[0].2));
        let refused = calls.iter().find(|(call, ..)| call.failed().is_some_and(|(_, code)| code == "ID_CONFLICT"));
        if let Some((call, ..)) = refused.filter(|_| alike) {
            let what = format!("id {id:?} was refused as a conflict, and nobody ever used it for anything else");
            found.push(facts.violation("I17", None, what, call.slice().line(calls[0].0.asked)));
        }
        let mut first: Option<(&Call<'_>, Uuid, &str, &str)> = None;
        for (call, workflow, input) in calls {
            let Some((_, run)) = acknowledged(call) else { continue };
            let Some((before, its_run, its_workflow, its_input)) = first else {
                first = Some((call, run, workflow, input));
                continue;
            };
            let same = (its_workflow, its_input) == (*workflow, *input);
            let what = match (same, its_run == run) {
                (true, false) => format!("id {id:?} with the same input is run {its_run} and run {run}"),
                (false, _) => format!("id {id:?} was given for two inputs or workflows without a conflict"),
                (true, true) => continue,
            };
            let slice = before.slice().line(call.asked).lines(call.answer.iter().map(|(line, _)| *line));
            found.push(facts.violation("I17", Some(run), what, slice));
        }
    }
    let asked =
        |id, name: &str| by_id.get(id).is_some_and(|calls| calls.iter().any(|(_, workflow, _)| *workflow == name));
    let mut holders = BTreeMap::<&str, Uuid>::new();
    for row in facts.dump.runs.values() {
        let Some(id) = row.invoke_id.as_deref() else { continue };
        let what = if let Some(other) = holders.insert(id, row.id) {
            format!("id {id:?} is that of run {other} as well")
        } else if by_id.is_empty() || asked(id, &row.workflow) {
            continue;
        } else {
            format!("nobody ever asked for a run of {} with id {id:?}", row.workflow)
        };
        found.push(facts.violation("I17", Some(row.id), what, Evidence::default().run(row)));
    }
    found
}

/// I18.
pub(super) fn all_end(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let Some(stopped) = facts.faults_stopped else { return found };
    let settle = facts.options.settle;
    for row in facts.dump.runs.values() {
        let deadline = stopped.at.max(row.created_at) + settle;
        let seconds = settle.num_seconds();
        let what = match row.finished_at {
            Some(at) if at > deadline && row.created_at <= stopped.at => {
                format!(
                    "it ended {} s after the faults had stopped, not within {seconds} s",
                    (at - stopped.at).num_seconds()
                )
            }
            None if facts.dump.taken_at >= deadline => {
                format!("it is {} and not terminal {seconds} s after the faults stopped", row.status)
            }
            _ => continue,
        };
        let journal = facts.dump.journal(row.id);
        let inbox = facts.dump.inboxes.get(&row.id).into_iter().flatten();
        let slice = Evidence::default().line(stopped).run(row);
        let slice = slice.entries(row.id, &journal[journal.len().saturating_sub(3)..]);
        let slice = inbox.take(3).fold(slice, |slice, message| slice.message(row.id, message));
        found.push(facts.violation("I18", Some(row.id), what, slice));
    }
    found
}

/// I22.
pub(super) fn own_writes_are_read(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    if facts.may_be_swept() {
        return found;
    }
    let mut exists = BTreeMap::<Uuid, &Call<'_>>::new();
    for call in &facts.calls {
        if let Some((line, run)) = acknowledged(call) {
            let earlier = exists.entry(run).or_insert(call);
            if earlier.done().is_some_and(|(before, _)| before.seq > line.seq) {
                *earlier = call;
            }
        }
    }
    for call in &facts.calls {
        let (Op::Result { run } | Op::Status { run } | Op::Cancel { run }) = call.op else { continue };
        let Some((_, "NO_SUCH_RUN")) = call.failed() else { continue };
        let Some((made, told)) = exists.get(run).and_then(|made| made.done().map(|(told, _)| (made, told))) else {
            continue;
        };
        if told.seq < call.asked.seq {
            let slice = made.slice().line(call.asked).lines(call.answer.iter().map(|(line, _)| *line));
            found.push(facts.violation("I22", Some(*run), "an acknowledged run wasn't found".to_owned(), slice));
        }
    }
    found
}
