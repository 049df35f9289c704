//! From what a run has gathered to the turn that commits it.

use std::sync::Arc;
use std::time::Duration;

use crate::failure::Failure;
use crate::guard;
use crate::ids::{RunId, Timestamp};
use crate::journal::{Fact, OpKey, Phase};
use crate::ops::{CANCEL, Due, Effect};
use crate::payload::Payload;
use crate::seeded::{self, Bug};
use crate::store::{Message, NewMessage, NewRun, ParentRef, ParkReason, Status, Then, Turn, Wake};
use crate::table::Slot;

use super::{InFlight, Machine, Next};

impl Machine {
    pub(super) fn next(&mut self, now: Timestamp) -> Next {
        if self.in_flight.is_some() {
            return Next::Running;
        }
        let mut table = self.inner.table.borrow_mut();
        if table.slot.as_ref().is_some_and(|slot| slot.fact.is_some()) {
            return Next::Running;
        }
        if table.slot.as_ref().is_some_and(|slot| !slot.served || self.finished.is_some()) {
            // The code was polled since it was offered, but not the attempt (the kept loser of a select, say), or it has
            // ended: the rest of the run must not wait for that.
            table.slot = None;
        }
        if let Some(reason) = table.park.clone() {
            drop(table);
            return self.park(reason);
        }
        if self.finished.is_none() && table.slot.is_none() {
            while let Some((op, waker)) = table.slot_queue.pop_front() {
                if !table.ops[op].is_open() {
                    continue;
                }
                let position = self.position;
                table.slot = Some(Slot { op, position, served: false, fact: None, done: Arc::default() });
                let place = table.ops[op].waker.take();
                drop(table);
                guard::wake(&self.root, [Some(waker), place].into_iter().flatten());
                self.woken = true;
                return Next::Running;
            }
        }
        if table.slot.is_some() {
            return Next::Running;
        }
        let finishing = self.finished.is_some();
        if table.pending.is_empty()
            && table.unsubscribe.is_empty()
            && table.cancel_children.is_empty()
            && table.consumed == self.consumed_in_flight
            && !finishing
        {
            if table.bodies > 0 {
                return Next::Running;
            }
            return Next::Blocked(Wake { at: table.next_wake(), after: None });
        }
        drop(table);
        self.make_turn(now)
    }

    pub(super) fn park(&mut self, mut reason: ParkReason) -> Next {
        if let Some(turn) = self.end_instead_of_parking() {
            return turn;
        }
        let mut turn = Turn::new(self.inner.info.id, self.position);
        // The user's words are in it, and Postgres has no text with NUL.
        reason.message = reason.message.replace('\0', "\u{fffd}");
        turn.then = Then::Park(reason);
        self.in_flight = Some(InFlight::default());
        self.drop_code();
        Next::Commit { turn: Box::new(turn), idle: None }
    }

    /// A run that is cancelled but whose code can't go on ends without it: nobody wants it mended.
    pub(super) fn end_instead_of_parking(&mut self) -> Option<Next> {
        let mut table = self.inner.table.borrow_mut();
        let pending = table.pending.iter().find(|pending| pending.fact.key.kind == CANCEL).map(|p| p.fact.clone());
        let failure = match (&table.cancel, &pending) {
            (Some(cancel), _) => cancel.failure.clone(),
            (None, Some(fact)) => cancelled(fact),
            (None, None) => return None,
        };
        let mut turn = end_cancelled(self.inner.info.id, self.position, self.parent.as_ref(), &failure);
        turn.entries = pending.into_iter().collect();
        turn.consumed = table.consumed;
        table.cancel_open_children(true);
        for child in std::mem::take(&mut table.cancel_children) {
            turn.sends.push(NewMessage { to: child, fact: cancel(failure.message()) });
        }
        drop(table);
        self.in_flight = Some(InFlight::default());
        self.drop_code();
        Some(Next::Commit { turn: Box::new(turn), idle: None })
    }

    pub(super) fn make_turn(&mut self, now: Timestamp) -> Next {
        let options = self.inner.env.options();
        let mut table = self.inner.table.borrow_mut();
        let facts = std::mem::take(&mut table.pending);
        let length = self.position.saturating_add(u32::try_from(facts.len()).unwrap_or(u32::MAX));
        let bytes = self.journal_bytes + facts.iter().map(|p| p.fact.payload.bytes.len()).sum::<usize>();
        // A run that ends or is cancelled may do so.
        let ending = self.finished.is_some() || table.cancelling || table.cancelled;
        if (length > options.max_entries || bytes > options.max_journal_bytes) && !ending {
            drop(table);
            return self.park(crate::mismatch::journal_full(length, bytes, options));
        }
        if length >= 10_000 && !self.warned {
            self.warned = true;
            tracing::warn!(run = %self.inner.info.id, entries = length, "the journal is long: replays take longer");
        }
        let mut turn = Turn::new(self.inner.info.id, self.position);
        turn.consumed = table.consumed;
        if seeded::is(Bug::ConsumedUnseen) && turn.consumed > 0 {
            turn.consumed = u64::MAX;
        }
        self.consumed_before = std::mem::replace(&mut self.consumed_in_flight, table.consumed);
        let mut idle = table.bodies == 0;
        let mut wake = Wake { at: table.next_wake(), after: None };
        turn.entries.reserve_exact(facts.len());
        for pending in &facts {
            match &pending.effect {
                Effect::None => {}
                Effect::Start(run) => {
                    turn.starts.push((**run).clone());
                    if seeded::is(Bug::ChildTwice) {
                        turn.starts.push(NewRun { id: RunId::generate(), ..(**run).clone() });
                    }
                }
                Effect::Subscribe(subscription) => turn.subscribe.push(subscription.clone()),
                Effect::Emit(event) => turn.emits.push(event.clone()),
            }
            turn.not_before = turn.not_before.max(pending.not_before);
            let op = pending.op.map(|op| &table.ops[op]).filter(|op| op.is_open());
            if pending.fact.phase == Phase::Asked {
                match op.and_then(|op| op.command.due()) {
                    Some(Due::At(at)) => wake.at = Some(wake.at.map_or(at, |w| w.min(at))),
                    Some(Due::After(after)) => wake.after = Some(wake.after.map_or(after, |w| w.min(after))),
                    None => {}
                }
            } else if let (Phase::Retry, Some(mark)) = (pending.fact.phase, pending.fact.mark) {
                let after = Duration::from_micros(u64::try_from(mark).unwrap_or(0));
                if op.is_some() {
                    wake.after = Some(wake.after.map_or(after, |w| w.min(after)));
                }
            } else {
                // An outcome: the code goes on with it once it is committed.
                idle = false;
            }
            turn.entries.push(pending.fact.clone());
        }
        idle &= table.starting.iter().all(|&i| table.ops[i].retry_at.is_some_and(|at| at > now));
        if let Some(result) = &self.finished {
            table.cancel_open_children(true);
            let (status, output) = match result {
                Ok(output) => (Status::Completed, output.clone()),
                Err(failure) => {
                    let cancelled = failure.is_cancelled() && table.cancel.is_some();
                    let status = if cancelled { Status::Cancelled } else { Status::Failed };
                    (status, failure.to_payload_within(options.max_payload_bytes))
                }
            };
            if let Some(parent) = &self.parent {
                let phase = if status == Status::Completed { Phase::Ok } else { Phase::Failed };
                let fact = Fact { key: parent.key.clone(), phase, payload: output.clone(), mark: None };
                turn.sends.push(NewMessage { to: parent.run, fact });
            }
            turn.then = Then::Finish { status, output };
        }
        let reason = table.cancel.as_ref().map_or("its parent has ended", |c| c.failure.message()).to_owned();
        let mut cancel_children = std::mem::take(&mut table.cancel_children);
        if seeded::is(Bug::SparedChildren) {
            cancel_children.clear();
        }
        turn.sends.extend(cancel_children.iter().map(|&to| NewMessage { to, fact: cancel(&reason) }));
        let unsubscribe = std::mem::take(&mut table.unsubscribe);
        turn.unsubscribe = unsubscribe.clone();
        drop(table);
        self.in_flight = Some(InFlight { facts, unsubscribe, cancel_children });
        Next::Commit { turn: Box::new(turn), idle: idle.then_some(wake) }
    }
}

/// The failure that a cancelled run's operations answer with.
fn cancelled(fact: &Fact) -> Failure {
    Failure::cancelled(fact.payload.decode().unwrap_or_else(|_| "cancelled".to_owned()))
}

/// The turn that ends a run as cancelled without its code.
fn end_cancelled(run: RunId, position: u32, parent: Option<&ParentRef>, failure: &Failure) -> Turn {
    let mut turn = Turn::new(run, position);
    let output = failure.to_payload();
    if let Some(parent) = parent {
        let fact = Fact { key: parent.key.clone(), phase: Phase::Failed, payload: output.clone(), mark: None };
        turn.sends.push(NewMessage { to: parent.run, fact });
    }
    turn.then = Then::Finish { status: Status::Cancelled, output };
    turn
}

/// What becomes of a run that can't be taken up: it is parked, or ends if it is cancelled already.
pub fn refuse(run: RunId, position: u32, parent: Option<&ParentRef>, inbox: &[Message], reason: ParkReason) -> Turn {
    if let Some(message) = inbox.iter().find(|message| message.fact.key.kind == CANCEL) {
        return end_cancelled(run, position, parent, &cancelled(&message.fact));
    }
    let mut turn = Turn::new(run, position);
    turn.then = Then::Park(reason);
    turn
}

/// The message that cancels a run.
pub fn cancel(reason: &str) -> Fact {
    Fact {
        key: OpKey::new(CANCEL, "", 1),
        phase: Phase::Ok,
        payload: Payload { codec: 0, bytes: serde_json::to_vec(reason).unwrap_or_default() },
        mark: None,
    }
}
