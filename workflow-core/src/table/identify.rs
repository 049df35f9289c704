//! Taking a journal in, and giving the operations of the code their identity in it.

use std::rc::Rc;

use crate::failure::Failure;
use crate::ids::Timestamp;
use crate::journal::{Entry, Fact, OpKey, Phase};
use crate::payload::Payload;

use super::{Cancelled, Candidate, Op, Outcome, Pending, Recorded, Table, Unreadable, after_micros, outcome_of};

impl Table {
    /// Takes a journal in.
    pub(crate) fn load(&mut self, journal: &[Entry]) -> Result<(), Unreadable> {
        let damaged = |reason: String| Err(Unreadable::Damaged(reason));
        for (index, entry) in journal.iter().enumerate() {
            if (entry.position as usize) < index {
                return damaged(format!("position {} twice, or out of order", entry.position));
            }
            if entry.position as usize != index {
                return damaged(format!("entry {index} is missing: the next one has position {}", entry.position));
            }
            let fact = &entry.fact;
            if entry.version > crate::journal::ENTRY_VERSION {
                return Err(Unreadable::Newer(format!(
                    "entry {index} has the format {}, this build knows formats up to {}",
                    entry.version,
                    crate::journal::ENTRY_VERSION
                )));
            }
            if fact.key.kind == crate::ops::CANCEL {
                if self.cancel.is_some() {
                    return damaged(format!("entry {index} is a second cancellation"));
                }
                self.record_cancel(entry.position, &fact.payload, entry.recorded_at);
                continue;
            }
            if !crate::ops::KINDS.contains(&fact.key.kind.as_str()) {
                return Err(Unreadable::Newer(format!(
                    "entry {index} is of the kind {:?}, which this build doesn't have",
                    fact.key.kind
                )));
            }
            let record = match self.recorded.get_mut(&fact.key) {
                Some(record) => record,
                None => self
                    .recorded
                    .entry(fact.key.clone())
                    .or_insert(Recorded { first: entry.position, ..Recorded::default() }),
            };
            if record.outcome.is_some() {
                return damaged(format!("entry {index} comes after the outcome of {}", fact.key));
            }
            match fact.phase {
                Phase::Asked if record.asked.is_some() => {
                    return damaged(format!("entry {index} asks a second time for {}", fact.key));
                }
                Phase::Asked => record.asked = Some((fact.payload.clone(), entry.recorded_at)),
                Phase::Retry => {
                    record.retries += 1;
                    record.retry_at = Some(after_micros(entry.recorded_at, fact.mark.unwrap_or(0)));
                }
                Phase::Ok | Phase::Failed => {
                    record.outcome = Some((entry.position, outcome_of(fact, entry.recorded_at)));
                }
            }
        }
        Ok(())
    }

    pub(crate) fn record_cancel(&mut self, position: u32, payload: &Payload, at: Timestamp) {
        let reason: String = payload.decode().unwrap_or_else(|_| "cancelled".to_owned());
        self.cancelling = true;
        self.cancel_taken = true;
        self.cancel = Some(Cancelled { position, at, failure: Failure::cancelled(reason) });
        self.ready.insert((position, 0), Candidate::Cancel);
    }

    /// Gives the operations created since the last release their identity, and compares them with what is recorded.
    pub(crate) fn identify(&mut self, lenient: bool) -> Result<(), Box<crate::mismatch::Mismatch>> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let mut fresh = std::mem::take(&mut self.fresh);
        // Whether a `select!` has polled the branch that makes an operation before another branch was ready is chance;
        // so what is gone again by now leaves no trace, unless its request alone does something.
        fresh.retain(|&i| !self.ops[i].dropped || self.ops[i].command.binding());
        // The order of creation isn't the same on replay either (`select!` polls its branches in random order), the
        // place in the source is. Ties (a loop) keep the order of creation.
        fresh.sort_by_key(|&i| {
            let site = self.ops[i].site;
            (site.file(), site.line(), site.column())
        });
        let mut refused = Vec::new();
        for index in fresh {
            let op = &self.ops[index];
            let kind = op.command.kind();
            let name = match &*op.scope {
                "" => op.command.name().to_owned(),
                scope => format!("{scope}/{}", op.command.name()),
            };
            let nth = self.counters.entry((kind, name.clone())).or_insert(0);
            *nth += 1;
            let key = Rc::new(OpKey::new(kind, name, *nth));
            let recorded = self.recorded.remove(&*key);
            self.by_key.insert(key.clone(), index);
            let op = &mut self.ops[index];
            op.key = Some(key.clone());
            match recorded {
                Some(recorded) => {
                    Self::check(op, &key, &recorded, lenient)?;
                    op.asked_at = recorded.asked.as_ref().map(|(_, at)| *at);
                    op.retries = recorded.retries;
                    op.retry_at = recorded.retry_at;
                    op.settled = recorded.outcome.is_some();
                    op.outcome = recorded.outcome.map(|(position, outcome)| ((position, 0), outcome));
                }
                None => self.ask(index, &key),
            }
            self.schedule(index);
            let op = &self.ops[index];
            if self.cancelled && !op.shielded && op.outcome.is_none() {
                refused.push(index);
            }
            self.offer(index);
        }
        self.refuse(refused);
        Ok(())
    }

    /// Answers operations with the cancellation, one after the other, in the order of their identities: any other
    /// order could differ on replay.
    pub(super) fn refuse(&mut self, mut operations: Vec<usize>) {
        let Some(cancel) = &self.cancel else { return };
        let (position, failure) = (cancel.position, cancel.failure.to_payload());
        operations.sort_by(|&a, &b| self.ops[a].key.cmp(&self.ops[b].key));
        for index in operations {
            self.refusals += 1;
            let op = &mut self.ops[index];
            if let Some((place, _)) = &op.outcome {
                self.ready.remove(place);
            }
            let outcome = Outcome { result: Err(failure.clone()), mark: None, at: self.now };
            op.outcome = Some(((position, self.refusals), outcome));
            op.settled = true;
            self.offer(index);
        }
    }

    pub(super) fn check(
        op: &Op,
        key: &OpKey,
        recorded: &Recorded,
        lenient: bool,
    ) -> Result<(), Box<crate::mismatch::Mismatch>> {
        let asked = op.command.asked();
        let complaint = match (&recorded.asked, &asked) {
            (Some((recorded, _)), Some(_)) => op.command.check(recorded).err(),
            (None, None) => None,
            (None, Some(_)) if op.command.immediate() => None,
            (None, Some(_)) => Some(format!("the outcome of {key} without its request: the journal was edited")),
            (Some(_), None) => Some(format!("a request for {key}, which this version doesn't record")),
        };
        match complaint {
            Some(complaint) if lenient && op.command.kind() == "invoke" => {
                tracing::warn!(%key, complaint, "recorded input differs");
                Ok(())
            }
            Some(complaint) => Err(Box::new(crate::mismatch::Mismatch {
                position: Some(recorded.first),
                recorded: complaint,
                asked: key.to_string(),
                place: Some(op.place()),
                hint: None,
                at_once: false,
            })),
            None => Ok(()),
        }
    }

    /// Puts the request of a new operation into the turn, where its kind has one.
    pub(super) fn ask(&mut self, index: usize, key: &Rc<OpKey>) {
        let op = &self.ops[index];
        if self.cancelled && !op.shielded {
            return;
        }
        if let Some(payload) = op.command.asked() {
            let immediate = op.command.immediate();
            let phase = if immediate { Phase::Ok } else { Phase::Asked };
            let fact = Fact { key: (**key).clone(), phase, payload, mark: None };
            let effect = op.command.effect(key);
            self.ops[index].settled = immediate;
            self.pending.push(Pending { fact, op: Some(index), effect, not_before: None });
        }
    }
}
