//! The table of a run's operations: who was asked for, what is recorded of it, and which outcome is released next.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::panic::Location;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use crate::failure::Failure;
use crate::ids::{RunId, Timestamp};
use crate::journal::{Entry, Fact, OpKey, Phase};
use crate::ops::{Command, Due, Effect};
use crate::payload::Payload;
use crate::store::{ParkReason, StoreError};

/// The outcome of an operation as it is recorded.
#[derive(Debug, Clone)]
pub(crate) struct Outcome {
    /// The value, or the encoded failure.
    pub result: Result<Payload, Payload>,
    /// The fact's mark.
    pub mark: Option<i64>,
    /// When it was recorded.
    pub at: Timestamp,
}

/// One operation.
pub(crate) struct Op {
    pub command: Command,
    pub site: &'static Location<'static>,
    pub scope: Rc<str>,
    /// Whether a cancellation leaves it alone.
    pub shielded: bool,
    pub key: Option<Rc<OpKey>>,
    /// When its request was recorded.
    pub asked_at: Option<Timestamp>,
    /// Failed attempts that are recorded.
    pub retries: u32,
    /// Not before this may the next attempt begin.
    pub retry_at: Option<Timestamp>,
    /// The outcome, once committed, under its place in the order of releases.
    pub outcome: Option<(Place, Outcome)>,
    /// An outcome is on its way into the journal.
    pub settled: bool,
    /// The outcome was given to the code.
    pub resolved: bool,
    /// The code dropped the future.
    pub dropped: bool,
    /// The code has polled the future.
    pub awaited: bool,
    /// The body waits in the list of those that may begin.
    pub awaits_permission: bool,
    /// The body may run.
    pub open: bool,
    /// The body has begun and not ended.
    pub running: bool,
    /// A cancel message was sent on (children) or the subscription ended (events).
    pub withdrawn: bool,
    /// Who is woken when something happens.
    pub waker: Option<Waker>,
}

impl Op {
    pub(crate) fn is_open(&self) -> bool {
        !self.resolved && !self.dropped
    }

    /// Whether its body may have to run (again).
    fn awaits_attempt(&self) -> bool {
        self.is_open() && !self.settled && !self.running
    }

    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.site.file(), self.site.line())
    }
}

/// The order of releases: the journal's position, and within a cancellation the order of the operations' identities,
/// from 1.
pub(crate) type Place = (u32, usize);

/// What is released next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Candidate {
    Op(usize),
    Cancel,
}

/// What the journal holds of an operation that the code hasn't asked for yet.
#[derive(Debug, Default)]
pub(crate) struct Recorded {
    pub first: u32,
    pub asked: Option<(Payload, Timestamp)>,
    pub retries: u32,
    pub retry_at: Option<Timestamp>,
    pub outcome: Option<(u32, Outcome)>,
}

/// The cancellation of the run, as it is recorded.
#[derive(Debug, Clone)]
pub(crate) struct Cancelled {
    pub position: u32,
    pub at: Timestamp,
    pub failure: Failure,
}

/// A user transaction that commits an entry by itself, and the place it was given.
pub(crate) struct Slot {
    pub op: usize,
    pub position: u32,
    /// The attempt knows its place.
    pub served: bool,
    pub fact: Option<Fact>,
    pub done: Arc<Mutex<Option<Result<Timestamp, StoreError>>>>,
}

/// Why a journal can't be taken in.
pub(crate) enum Unreadable {
    /// Its entries contradict each other.
    Damaged(String),
    /// A later version of this library has written it.
    Newer(String),
}

/// A fact on its way into the journal, and what happens with it.
pub(crate) struct Pending {
    pub fact: Fact,
    pub op: Option<usize>,
    pub effect: Effect,
    /// Only valid from this instant on.
    pub not_before: Option<Timestamp>,
}

/// The table, with everything else that changes while the code runs.
pub(crate) struct Table {
    pub ops: Vec<Op>,
    /// Created since the last identification.
    pub fresh: Vec<usize>,
    pub by_key: HashMap<Rc<OpKey>, usize>,
    counters: HashMap<(&'static str, String), u32>,
    /// Recorded, not asked for yet.
    pub recorded: HashMap<OpKey, Recorded>,
    /// Outcomes that are awaited, in the order of release.
    pub ready: BTreeMap<Place, Candidate>,
    /// May resolve in this poll.
    pub released: Option<usize>,
    /// Steps whose body waits for permission.
    pub starting: Vec<usize>,
    /// Steps whose next attempt has to wait, by time.
    retries: BTreeSet<(Timestamp, usize)>,
    /// Steps whose body may begin when the code polls them now.
    opened: Vec<usize>,
    /// Who wants to know the identity of an operation that has none yet.
    pub unnamed: Vec<Waker>,
    /// When the clock ends operations.
    pub timers: BTreeSet<(Timestamp, usize)>,
    /// Bodies that have begun and not ended.
    pub bodies: usize,
    /// Open operations that the code has polled.
    pub awaiting: usize,
    /// Subscriptions that nobody waits for any more.
    pub unsubscribe: Vec<OpKey>,
    /// Children to cancel.
    pub cancel_children: Vec<RunId>,
    /// Operations that can still resolve.
    pub open: usize,
    pub children: usize,
    /// The time of the last release.
    pub now: Timestamp,
    pub releases: u64,
    /// Random numbers drawn since the last release, by scope.
    pub randoms: HashMap<Rc<str>, u64>,
    /// Highest seq of each topic that was given to the code.
    pub cursors: HashMap<(String, String), u64>,
    /// The cancellation, once recorded.
    pub cancel: Option<Cancelled>,
    /// Operations that the cancellation has answered.
    pub refusals: usize,
    /// The cancellation was given to the code.
    pub cancelled: bool,
    /// A cancellation is on its way: no body begins any more.
    pub cancelling: bool,
    /// The cancellation is in the journal or in a turn: another one is ignored.
    pub cancel_taken: bool,
    pub pending: Vec<Pending>,
    pub consumed: u64,
    /// Something was found that parks the run.
    pub park: Option<ParkReason>,
    /// A body is being polled: operations are misuse.
    pub in_body: bool,
    /// Waiting to commit by themselves.
    pub slot_queue: VecDeque<(usize, Waker)>,
    pub slot: Option<Slot>,
    pub slot_waker: Option<Waker>,
    /// The code runs over recorded ground.
    pub replaying: bool,
    /// A replay that only looks: no body begins.
    pub dry: bool,
}

impl Table {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            ops: Vec::new(),
            fresh: Vec::new(),
            by_key: HashMap::new(),
            counters: HashMap::new(),
            recorded: HashMap::new(),
            ready: BTreeMap::new(),
            released: None,
            starting: Vec::new(),
            retries: BTreeSet::new(),
            opened: Vec::new(),
            unnamed: Vec::new(),
            timers: BTreeSet::new(),
            bodies: 0,
            awaiting: 0,
            unsubscribe: Vec::new(),
            cancel_children: Vec::new(),
            open: 0,
            children: 0,
            now,
            releases: 0,
            randoms: HashMap::new(),
            cursors: HashMap::new(),
            cancel: None,
            refusals: 0,
            cancelled: false,
            cancelling: false,
            cancel_taken: false,
            pending: Vec::new(),
            consumed: 0,
            park: None,
            in_body: false,
            slot_queue: VecDeque::new(),
            slot: None,
            slot_waker: None,
            replaying: true,
            dry: false,
        }
    }

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
    fn refuse(&mut self, mut operations: Vec<usize>) {
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

    fn check(op: &Op, key: &OpKey, recorded: &Recorded, lenient: bool) -> Result<(), Box<crate::mismatch::Mismatch>> {
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
    fn ask(&mut self, index: usize, key: &Rc<OpKey>) {
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

    /// Sets the timer of an operation whose request is recorded.
    fn schedule(&mut self, index: usize) {
        let op = &self.ops[index];
        if let (false, Some(asked_at), Some(due)) = (op.settled, op.asked_at, op.command.due()) {
            let at = match due {
                Due::At(at) => at,
                Due::After(delay) => after_micros(asked_at, crate::ops::micros(delay)),
            };
            self.timers.insert((at, index));
        }
    }

    /// What the clock has ended by `now` goes into the turn.
    pub(crate) fn pass_time(&mut self, now: Timestamp) {
        while let Some(&(due, index)) = self.timers.first() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            let op = &self.ops[index];
            if !op.is_open() || op.settled {
                continue;
            }
            let (phase, payload) = op.command.at_due();
            self.withdraw(index);
            self.settle(index, phase, payload, None);
            if let Some(pending) = self.pending.last_mut() {
                pending.not_before = Some(due);
            }
        }
    }

    /// When the clock matters next: the earliest timer or retry of what is recorded.
    pub(crate) fn next_wake(&mut self) -> Option<Timestamp> {
        while let Some(&(_, index)) = self.timers.first() {
            let op = &self.ops[index];
            if op.is_open() && !op.settled {
                break;
            }
            self.timers.pop_first();
        }
        while let Some(&(_, index)) = self.retries.first() {
            if self.ops[index].awaits_attempt() {
                break;
            }
            self.retries.pop_first();
        }
        let timer = self.timers.first().map(|&(due, _)| due);
        let retry = self.retries.first().map(|&(due, _)| due);
        let starting = self.starting.iter().filter_map(|&i| self.ops[i].retry_at).min();
        timer.into_iter().chain(retry).chain(starting).min()
    }

    /// Lets the bodies begin whose time has come. Returns who is to be woken.
    pub(crate) fn open_bodies(&mut self, now: Timestamp) -> Vec<Waker> {
        let mut wakers = Vec::new();
        if self.dry {
            return wakers;
        }
        while let Some(&(due, index)) = self.retries.first() {
            if due > now {
                break;
            }
            self.retries.pop_first();
            self.starting.push(index);
        }
        let mut later = Vec::new();
        for index in std::mem::take(&mut self.starting) {
            let barred = self.cancelling && !self.ops[index].shielded;
            let op = &mut self.ops[index];
            if !op.awaits_attempt() {
                op.awaits_permission = false;
                continue;
            }
            if let Some(due) = op.retry_at.filter(|&due| due > now) {
                self.retries.insert((due, index));
                continue;
            }
            if barred || op.key.is_none() {
                later.push(index);
                continue;
            }
            op.open = true;
            self.opened.push(index);
            wakers.extend(op.waker.take());
        }
        self.starting = later;
        wakers
    }

    /// A body that the code didn't poll when it might have begun asks again: what was true then may have changed.
    pub(crate) fn close_bodies(&mut self) {
        for index in std::mem::take(&mut self.opened) {
            let op = &mut self.ops[index];
            if op.open {
                op.open = false;
                op.awaits_permission = false;
            }
        }
    }

    /// An attempt is over.
    pub(crate) fn end_body(&mut self, index: usize) {
        let op = &mut self.ops[index];
        if op.running {
            op.running = false;
            // Until the end of the attempt is recorded and asks for another one.
            op.awaits_permission = true;
            self.bodies -= 1;
        }
    }

    /// Ends what stays outside of the run when nobody waits for an operation any more.
    pub(crate) fn withdraw(&mut self, index: usize) {
        let op = &mut self.ops[index];
        if let (true, false, Some(key)) = (op.command.subscribed(), op.withdrawn, &op.key) {
            op.withdrawn = true;
            self.unsubscribe.push((**key).clone());
        }
    }

    /// Cancels the children that the run still waits for.
    pub(crate) fn cancel_open_children(&mut self, shielded_too: bool) {
        for op in &mut self.ops {
            if op.withdrawn
                || op.outcome.as_ref().is_some_and(|(place, _)| place.1 == 0)
                || (op.shielded && !shielded_too)
            {
                continue;
            }
            if let Some(child) = op.key.as_ref().and_then(|key| op.command.child(key)) {
                op.withdrawn = true;
                self.cancel_children.push(child);
            }
        }
    }

    /// The code no longer wants the outcome of an operation.
    pub(crate) fn close(&mut self, index: usize) {
        let op = &mut self.ops[index];
        if !op.is_open() {
            return;
        }
        op.dropped = true;
        self.open -= 1;
        if op.awaited {
            self.awaiting -= 1;
        }
        if op.running {
            op.running = false;
            self.bodies -= 1;
        }
        if let Some((place, _)) = &op.outcome {
            self.ready.remove(place);
        }
        if self.released == Some(index) {
            self.released = None;
        }
        if !self.ops[index].settled {
            self.withdraw(index);
        }
    }

    /// Nobody took the released outcome: it is offered again when it is awaited again.
    pub(crate) fn withhold(&mut self) {
        if let Some(index) = self.released.take() {
            let op = &mut self.ops[index];
            if op.awaited {
                op.awaited = false;
                self.awaiting -= 1;
            }
        }
    }

    /// Makes the outcome of an operation a candidate for release if the code awaits it.
    pub(crate) fn offer(&mut self, index: usize) {
        let op = &self.ops[index];
        if let (true, true, Some((place, _))) = (op.is_open(), op.awaited, &op.outcome) {
            self.ready.insert(*place, Candidate::Op(index));
        }
    }

    /// Puts a fact about an operation into the turn, unless it is settled.
    pub(crate) fn settle(&mut self, index: usize, phase: Phase, payload: Payload, mark: Option<i64>) {
        let op = &mut self.ops[index];
        let Some(key) = op.key.clone() else { return };
        if op.settled || op.resolved {
            return;
        }
        op.settled = phase.is_outcome();
        let fact = Fact { key: (*key).clone(), phase, payload, mark };
        self.pending.push(Pending { fact, op: Some(index), effect: Effect::None, not_before: None });
    }

    /// A committed fact becomes part of what the code may see.
    pub(crate) fn apply(&mut self, position: u32, pending: Pending, now: Timestamp) {
        let fact = pending.fact;
        let Some(index) = pending.op else {
            if fact.key.kind == crate::ops::CANCEL {
                self.record_cancel(position, &fact.payload, now);
            }
            return;
        };
        let op = &mut self.ops[index];
        match fact.phase {
            Phase::Asked => {
                op.asked_at = Some(now);
                self.schedule(index);
            }
            Phase::Retry => {
                op.retries += 1;
                op.retry_at = Some(after_micros(now, fact.mark.unwrap_or(0)));
                if op.awaited && op.is_open() {
                    op.awaits_permission = true;
                    self.starting.push(index);
                }
            }
            Phase::Ok | Phase::Failed => {
                if op.outcome.is_none() {
                    op.outcome = Some(((position, 0), outcome_of(&fact, now)));
                }
                self.offer(index);
            }
        }
    }

    /// Releases the cancellation: every operation that is still open answers with it.
    pub(crate) fn release_cancel(&mut self) {
        let Some(cancel) = &self.cancel else { return };
        let position = cancel.position;
        self.now = self.now.max(cancel.at);
        self.cancelled = true;
        let open = (0..self.ops.len()).filter(|&index| {
            let op = &self.ops[index];
            op.is_open() && !op.shielded && op.outcome.as_ref().is_none_or(|(place, _)| place.0 > position)
        });
        let open = open.collect();
        self.refuse(open);
        self.cancelling = false;
        self.cancel_open_children(false);
    }
}

fn outcome_of(fact: &Fact, at: Timestamp) -> Outcome {
    let result = match fact.phase {
        Phase::Failed => Err(fact.payload.clone()),
        _ => Ok(fact.payload.clone()),
    };
    Outcome { result, mark: fact.mark, at }
}

/// `at + micros`, or the end of time.
pub(crate) fn after_micros(at: Timestamp, micros: i64) -> Timestamp {
    at.checked_add_signed(chrono::TimeDelta::microseconds(micros)).unwrap_or(Timestamp::MAX_UTC)
}
