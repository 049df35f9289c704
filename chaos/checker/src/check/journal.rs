//! The journals by themselves: no gaps, each outcome once, and nothing that was there changes.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::Violation;
use super::evidence::Evidence;
use super::facts::Facts;
use crate::dump::{Entry, prefixes};
use crate::record::{Line, Record};

/// I3.
pub(super) fn is_gapless(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (&run, journal) in &facts.dump.journals {
        if !facts.dump.runs.contains_key(&run) {
            let slice = Evidence::default().entries(run, journal.first());
            found.push(facts.violation("I3", Some(run), "a journal of a run that isn't there".to_owned(), slice));
        }
        if let Some((what, entries)) = flaw(journal) {
            found.push(facts.violation("I3", Some(run), what, Evidence::default().entries(run, entries)));
        }
    }
    found
}

/// What is wrong with a journal, and the entries that show it.
fn flaw(journal: &[Entry]) -> Option<(String, Vec<&Entry>)> {
    for (index, entry) in journal.iter().enumerate() {
        let around: Vec<_> = journal[index.saturating_sub(1)..=index].iter().collect();
        let expected = i64::try_from(index).unwrap_or(i64::MAX);
        if entry.position < expected {
            return Some((format!("position {} is there twice", entry.position), around));
        }
        if entry.position > expected {
            return Some((format!("position {expected} is missing"), around));
        }
        if index > 0 && entry.recorded_at < journal[index - 1].recorded_at {
            return Some((format!("position {expected} was recorded before the one in front of it"), around));
        }
    }
    let (mut asked, mut ended) = (BTreeMap::new(), BTreeMap::<_, &Entry>::new());
    for entry in journal.iter().filter(|entry| entry.key.kind != "cancel") {
        if let Some(end) = ended.get(&entry.key) {
            return Some((format!("{} goes on after its outcome", entry.key), vec![end, entry]));
        }
        if entry.is_outcome() {
            ended.insert(&entry.key, entry);
            let waits = matches!(entry.key.kind.as_str(), "sleep" | "sleep_until" | "event" | "invoke");
            if waits && !asked.contains_key(&entry.key) && !is_immediate(entry) {
                return Some((format!("{} has an outcome that was never asked for", entry.key), vec![entry]));
            }
        } else if entry.phase == "asked"
            && let Some(before) = asked.insert(&entry.key, entry)
        {
            return Some((format!("{} was asked for twice", entry.key), vec![before, entry]));
        }
    }
    None
}

/// A detached child is over when it is asked for: one entry, whose payload is null.
fn is_immediate(entry: &Entry) -> bool {
    entry.key.kind == "invoke" && entry.phase == "ok" && entry.payload == b"null"
}

/// I7.
pub(super) fn only_grows(facts: &Facts<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut longest = BTreeMap::<Uuid, (&Line, &[String])>::new();
    let mut bad = BTreeSet::new();
    for line in facts.lines {
        let Record::Journal { run, prefixes } = &line.record else { continue };
        if let Some((before, known)) = longest.get(run).copied()
            && let Some(length) = first_difference(known, prefixes).filter(|_| bad.insert(*run))
        {
            let what = format!("two readers saw other entries at position {length}");
            found.push(facts.violation("I7", Some(*run), what, Evidence::default().line(before).line(line)));
        }
        let longer = longest.get(run).is_none_or(|(_, known)| known.len() < prefixes.len());
        if longer {
            longest.insert(*run, (line, prefixes));
        }
    }
    for (run, (line, seen)) in longest {
        let Some(row) = facts.dump.runs.get(&run) else { continue };
        let journal = facts.dump.journal(run);
        let now = prefixes(journal);
        let slice = || Evidence::default().line(line).run(row);
        if let Some(position) = first_difference(seen, &now) {
            let what = format!("the entry at position {position} isn't the one that was there");
            found.push(facts.violation("I7", Some(run), what, slice().entries(run, journal.get(position))));
        } else if now.len() < seen.len() && line.at <= facts.dump.taken_at {
            let what = format!("its journal had {} entries and has {}", seen.len(), now.len());
            found.push(facts.violation("I7", Some(run), what, slice().entries(run, journal.last())));
        }
    }
    for row in facts.dump.runs.values() {
        let Some((code, _)) = &row.parked else { continue };
        if row.status == "parked" && matches!(code.as_str(), "DIVERGED" | "FOREIGN_AWAIT" | "CORRUPT" | "PAYLOAD") {
            let journal = facts.dump.journal(row.id);
            let slice = Evidence::default().run(row).entries(row.id, &journal[journal.len().saturating_sub(3)..]);
            found.push(facts.violation("I7", Some(row.id), format!("its replay wasn't what it lived: {code}"), slice));
        }
    }
    found
}

fn first_difference(a: &[String], b: &[String]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b)
}
