//! Children: none lost, none twice, none without a parent, and their outcomes reach who waits.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Violation;
use super::evidence::Evidence;
use super::facts::Facts;
use crate::dump::{Key, Run};
use crate::record::Record;

/// I12.
pub(super) fn none_waited_for(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for child in facts.dump.runs.values().filter(|run| run.is_terminal()) {
        let Some((parent, key)) = &child.parent else { continue };
        let Some(row) = facts.dump.runs.get(parent) else { continue };
        let asked = facts.entries(*parent, key).find(|entry| entry.phase == "asked");
        let outcome = facts.outcome(*parent, key);
        let inbox = facts.dump.inboxes.get(parent).map_or(&[][..], Vec::as_slice);
        let message = inbox.iter().find(|message| message.key == *key);
        let what = if let Some(outcome) = outcome {
            let well = child.status == "completed";
            let same = child.output.as_ref().is_none_or(|(_, bytes)| *bytes == outcome.payload);
            if (outcome.phase == "ok") == well && same {
                continue;
            }
            format!("{key} was told something else than what became of the child")
        } else if row.is_terminal() || row.status == "parked" || facts.cancellation(*parent).is_some() {
            continue;
        } else if message.is_none() {
            format!("{key} waits for a child that is over, and no message is there")
        } else if row.status == "waiting" {
            format!("{key} waits for a child that is over, and nothing wakes the parent")
        } else {
            continue;
        };
        let slice = Evidence::default().run(row).run(child).entries(*parent, asked).entries(*parent, outcome);
        let slice = message.into_iter().fold(slice, |slice, message| slice.message(*parent, message));
        found.push(facts.violation("I12", Some(*parent), what, slice));
    }
    for line in facts.lines {
        let Record::ChildEnded { parent, child, ok } = &line.record else { continue };
        let Some(row) = facts.dump.runs.get(child) else { continue };
        if line.at <= facts.dump.taken_at && (!row.is_terminal() || (row.status == "completed") != *ok) {
            let what = format!("it was told that its child {child} ended {}", if *ok { "well" } else { "badly" });
            found.push(facts.violation("I12", Some(*parent), what, Evidence::default().line(line).run(row)));
        }
    }
    found
}

/// I15.
pub(super) fn no_orphans(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut children = BTreeMap::<(Uuid, &Key), &Run>::new();
    for child in facts.dump.runs.values() {
        let Some((parent, key)) = &child.parent else { continue };
        let row = facts.dump.runs.get(parent);
        let twin = children.insert((*parent, key), child);
        let asked = facts.entries(*parent, key).find(|entry| entry.phase == "asked");
        let what = if twin.is_some() {
            format!("{key} has two children")
        } else if row.is_none() {
            "its parent isn't there".to_owned()
        } else if asked.is_none() {
            "its parent never asked for it".to_owned()
        } else if !child.is_terminal() && row.is_some_and(Run::is_terminal) && !will_be_cancelled(facts, child) {
            "its parent is over, and nobody cancels it".to_owned()
        } else {
            continue;
        };
        let slice = Evidence::default().run(child).maybe_run(row).maybe_run(twin).entries(*parent, asked);
        found.push(facts.violation("I15", Some(child.id), what, slice));
    }
    for (&run, journal) in &facts.dump.journals {
        for asked in journal.iter().filter(|entry| entry.key.kind == "invoke" && entry.phase == "asked") {
            if !children.contains_key(&(run, &asked.key)) && !facts.may_be_swept() {
                let what = format!("{} was asked for, and the child isn't there", asked.key);
                found.push(facts.violation("I15", Some(run), what, Evidence::default().entry(run, asked)));
            }
        }
    }
    found
}

/// Whether a cancellation is on its way to the run, or has reached it.
fn will_be_cancelled(facts: &Facts<'_>, run: &Run) -> bool {
    let inbox = facts.dump.inboxes.get(&run.id).into_iter().flatten();
    facts.cancellation(run.id).is_some() || inbox.into_iter().any(|message| message.key.kind == "cancel")
}
