//! Committing turns.

use super::clock::later;
use super::state::Life;
use super::tx::Tx;
use crate::ids::{ExecutorId, RunId};
use crate::journal::{ENTRY_VERSION, Entry};
use crate::store::{Committed, StoreError, Then, Turn, TurnOutcome, Wake, Wakeup};

impl Tx<'_> {
    pub(super) fn commit(&mut self, executor: ExecutorId, turns: &[Turn]) -> Result<Committed, StoreError> {
        self.check_lease(executor)?;
        let outcomes: Vec<_> = turns.iter().map(|turn| self.judge(executor, turn)).collect();
        let done = || turns.iter().zip(&outcomes).filter(|(_, o)| **o == TurnOutcome::Done).map(|(turn, _)| turn);
        for turn in done() {
            self.check_positions(turn)?;
        }
        // The order in which a batch has effect is part of the contract: see `Store::commit`.
        for turn in done() {
            self.write(turn);
        }
        for turn in done() {
            for message in &turn.sends {
                self.send(message.to, message.fact.clone());
            }
            for event in &turn.emits {
                self.emit(event);
            }
        }
        for turn in done() {
            for op in &turn.unsubscribe {
                self.unsubscribe(turn.run, op);
            }
            self.conclude(turn.run, &turn.then);
        }
        // What its own runs got is in the answer: it needn't be woken for that.
        self.wakeups.retain(|wakeup| *wakeup != Wakeup::Mail(executor));
        let sent = std::mem::take(&mut self.sent);
        let mail = sent.into_iter().filter(|mail| self.owner(mail.run) == Some(executor)).collect();
        Ok(Committed { now: self.now, turns: outcomes, mail, lease_left: None })
    }

    fn judge(&self, executor: ExecutorId, turn: &Turn) -> TurnOutcome {
        if turn.then != Then::Keep && self.owner(turn.run) != Some(executor) {
            TurnOutcome::NotOwned
        } else if turn.not_before.is_some_and(|at| self.now < at) {
            TurnOutcome::TooEarly
        } else {
            TurnOutcome::Done
        }
    }

    fn check_positions(&self, turn: &Turn) -> Result<(), StoreError> {
        let Some(run) = self.state.runs.get(&turn.run) else { return Ok(()) };
        match (turn.position..).take(turn.entries.len()).find(|position| run.journal.contains_key(position)) {
            Some(position) => Err(StoreError::PositionTaken { run: turn.run, position }),
            None => Ok(()),
        }
    }

    fn write(&mut self, turn: &Turn) {
        let recorded_at = self.now;
        if let Some(run) = self.state.runs.get_mut(&turn.run) {
            for (position, fact) in (turn.position..).zip(&turn.entries) {
                let entry = Entry { position, fact: fact.clone(), version: ENTRY_VERSION, recorded_at };
                run.journal.insert(position, entry);
            }
            run.inbox.retain(|seq, _| *seq > turn.consumed);
        }
        for child in &turn.starts {
            if !self.state.runs.contains_key(&child.id) {
                self.create_one(child);
            }
        }
        for subscription in &turn.subscribe {
            self.subscribe(turn.run, subscription);
        }
    }

    fn conclude(&mut self, id: RunId, then: &Then) {
        let Some(run) = self.state.runs.get_mut(&id) else { return };
        let life = match then {
            Then::Keep => return,
            Then::HangUp { seen, wake } if run.mail <= *seen => Life::Waiting { wake_at: self.wake_at(wake) },
            Then::HangUp { .. } => Life::Ready { since: self.now },
            Then::Park(reason) => Life::Parked(reason.clone()),
            Then::Finish { status, output } => {
                run.inbox.clear();
                let until = later(self.now, run.new.retain);
                self.unsubscribe_all(id);
                Life::Ended { status: *status, output: output.clone(), at: self.now, until }
            }
        };
        self.set_life(id, life);
    }

    fn wake_at(&self, wake: &Wake) -> Option<crate::ids::Timestamp> {
        let after = wake.after.map(|after| later(self.now, after));
        wake.at.into_iter().chain(after).min()
    }
}
