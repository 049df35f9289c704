//! The table of a run's operations: who was asked for, what is recorded of it, and which outcome is released next.

mod clock;
mod identify;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::panic::Location;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Waker;

use crate::failure::Failure;
use crate::ids::{RunId, Timestamp};
use crate::journal::{Fact, OpKey, Phase};
use crate::ops::{Command, Effect};
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

    /// Keeps the memory of facts that are committed for those that come next.
    pub(crate) fn reuse(&mut self, empty: Vec<Pending>) {
        // Of many at once there may never be as many again.
        if self.pending.capacity() == 0 && empty.capacity() <= 8 {
            self.pending = empty;
        }
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
