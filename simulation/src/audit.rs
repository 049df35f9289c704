//! What the ledger checks whenever an executor or a client has written something.

use std::collections::BTreeMap;

use serde::Deserialize;
use workflow::store::{Committed, NewEvent, Turn, TurnOutcome};
use workflow::{ExecutorId, RunId, Timestamp};
use workflow_core::journal::{Entry, OpKey, Phase};

use crate::ledger::Ledger;

/// What is recorded when a sleep or a wait is asked for.
#[derive(Deserialize, Default)]
struct Asked {
    for_us: Option<i64>,
    until: Option<Timestamp>,
    timeout_us: Option<i64>,
    after: Option<i64>,
}

impl Ledger {
    /// Who owns the runs of a commit right before it.
    pub(crate) fn owners(&self, turns: &[Turn]) -> Vec<Option<ExecutorId>> {
        turns.iter().map(|turn| self.record(turn.run).and_then(|run| run.owner)).collect()
    }

    /// A commit was written.
    pub(crate) fn committed(
        &self,
        executor: ExecutorId,
        turns: &[Turn],
        owners: &[Option<ExecutorId>],
        committed: &Committed,
    ) {
        let lease = self.book().leases.get(&executor).copied();
        if lease.is_none_or(|until| until <= committed.now) {
            let run = turns.first().map(|turn| turn.run);
            self.violation("I8", run, format!("{executor} wrote at {}, but its lease ended {lease:?}", committed.now));
        }
        for ((turn, owner), outcome) in turns.iter().zip(owners).zip(&committed.turns) {
            match outcome {
                TurnOutcome::Done => {}
                TurnOutcome::TooEarly => self.book().counts.too_early += 1,
                TurnOutcome::NotOwned => {}
            }
            if *outcome != TurnOutcome::Done {
                continue;
            }
            // One without entries that lands late, after it was sent again, has nothing left to do.
            if *owner != Some(executor) && !turn.entries.is_empty() {
                let what = format!("{executor} wrote entry {} of a run that belongs to {owner:?}", turn.position);
                self.violation("I8", Some(turn.run), what);
            }
            self.book().counts.programs += turn.starts.len() as u64;
        }
        let done = turns.iter().zip(&committed.turns).filter(|(_, outcome)| **outcome == TurnOutcome::Done);
        for (turn, _) in done {
            self.emitted(&turn.emits);
            self.observe(turn.run);
        }
    }

    /// Events were emitted.
    pub(crate) fn emitted(&self, events: &[NewEvent]) {
        let mut book = self.book();
        for event in events {
            if book.emitted.insert(event.id.to_string()) {
                let topic = format!("{} {}", event.name, event.key);
                book.topics.entry(topic).or_default().push(event.payload.bytes.clone());
            }
        }
    }

    /// Compares a run with what was last seen of it.
    pub(crate) fn observe(&self, run: RunId) {
        let journal = self.journal(run);
        let known = self.book().journals.remove(&run).unwrap_or_default();
        if journal.len() < known.len() || journal[..known.len()] != known[..] {
            let what = format!("{} entries were known, and aren't the beginning of {}", known.len(), journal.len());
            self.violation("I7", Some(run), what);
        }
        if let Some(gap) = (0..).zip(&journal).find(|(position, entry)| entry.position != *position) {
            self.violation("I3", Some(run), format!("entry {} has position {}", gap.0, gap.1.position));
        }
        let mut asked: BTreeMap<&OpKey, &Entry> = BTreeMap::new();
        let mut outcomes: BTreeMap<&OpKey, u32> = BTreeMap::new();
        for entry in &journal {
            let key = &entry.fact.key;
            if let Some(before) = outcomes.get(key) {
                let what = format!("{key} has entry {} after its outcome, entry {before}", entry.position);
                self.violation("I3", Some(run), what);
            }
            if entry.fact.phase == Phase::Asked {
                asked.insert(key, entry);
            } else if entry.fact.phase.is_outcome() {
                outcomes.insert(key, entry.position);
                if entry.position as usize >= known.len()
                    && let Some(asked) = asked.get(key)
                {
                    self.check_outcome(run, asked, entry);
                }
            }
        }
        let ended = self.record(run).filter(|record| record.status.is_terminal());
        let ended = ended.map(|record| (record.status, record.output.unwrap_or_default().bytes));
        let mut book = self.book();
        book.journals.insert(run, journal);
        let before = match &ended {
            Some(ended) => book.ended.insert(run, ended.clone()),
            None => book.ended.get(&run).cloned(),
        };
        drop(book);
        if before.is_some() && before != ended {
            self.violation("I2", Some(run), format!("it had ended as {before:?}, and now {ended:?}"));
        }
    }

    /// Timers aren't early, and waits get the next event of their topic.
    fn check_outcome(&self, run: RunId, asked: &Entry, outcome: &Entry) {
        let request: Asked = serde_json::from_slice(&asked.fact.payload.bytes).unwrap_or_default();
        let key = &asked.fact.key;
        let timed_out = key.kind == "event" && outcome.fact.phase == Phase::Failed;
        let after = request.for_us.or(request.timeout_us.filter(|_| timed_out));
        let due = after.map(|micros| asked.recorded_at + chrono::TimeDelta::microseconds(micros)).or(request.until);
        if let Some(due) = due.filter(|due| outcome.recorded_at < *due) {
            self.violation("I10", Some(run), format!("{key} ended {} early", due - outcome.recorded_at));
        }
        if key.kind == "event" && outcome.fact.phase == Phase::Ok {
            let seq = request.after.unwrap_or(0) + 1;
            let book = self.book();
            let events = book.topics.get(&format!("{} ", key.name));
            let event = events.and_then(|events| events.get(usize::try_from(seq).unwrap_or(0).wrapping_sub(1)));
            let same = event == Some(&outcome.fact.payload.bytes) && outcome.fact.mark == Some(seq);
            drop(book);
            if !same {
                let got = String::from_utf8_lossy(&outcome.fact.payload.bytes).into_owned();
                let what = format!("{key} was to get event {seq}, and got {:?}: {got}", outcome.fact.mark);
                self.violation("I11", Some(run), what);
            }
        }
    }
}
