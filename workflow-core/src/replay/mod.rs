//! The replay machine: a journal and messages in, turns out. It has no clock, does no IO and needs no runtime.
//!
//! A [`Machine`] holds the future of one run and drives it by *gated release* (see `docs/determinism.md`): an outcome
//! that is there doesn't make its future ready. The machine releases exactly one, the one with the lowest position
//! among those the code awaits, wakes its place in the code, polls until nothing moves, then releases the next. Live
//! and replay are this same loop, so what the code sees is a function of the journal alone, whatever combinators it
//! uses.
//!
//! An outcome is released only after it is committed. What the code asks for and what bodies, timers and messages
//! bring is gathered in a turn; the executor commits it and says so with [`Machine::committed`]. At most one turn of a
//! run is under way at a time.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

mod report;
mod turn;
mod verify;

pub use turn::{cancel, refuse};

use crate::ctx::{Ctx, Inner, RunInfo};
use crate::env::{Env, Notify};
use crate::failure::Failure;
use crate::guard::{self, RootWake};
use crate::ids::{RunId, Timestamp};
use crate::journal::{ENTRY_VERSION, Entry, Fact, OpKey};
use crate::ops::{CANCEL, Effect};
use crate::payload::Payload;
use crate::registry::{AnyWorkflow, Code};
use crate::seeded::{self, Bug};
use crate::store::{Message, ParentRef, ParkReason, Turn, Wake};
use crate::table::{Candidate, Pending, Slot, Table};

/// Polls without progress after which a workflow that wakes itself is taken for a busy loop.
const MAX_IDLE_POLLS: u32 = 100_000;

/// Operations that a cancellation has answered after which a workflow that goes on asking is ended.
const MAX_REFUSALS: usize = 10_000;

/// What the executor does next with a run.
#[derive(Debug)]
pub enum Next {
    /// Commit this turn, then call [`Machine::committed`] or [`Machine::refused`].
    Commit {
        /// The turn. Its `then` is `Keep`, `Finish` or `Park`.
        turn: Box<Turn>,
        /// When after this turn nothing is left to do until a message or the clock: when the clock. The executor may
        /// turn `Keep` into `HangUp` then.
        idle: Option<Wake>,
    },
    /// Bodies are running or a commit is under way. Drive again at the latest at [`Machine::next_due`].
    Running,
    /// Nothing to do until a message, or until the clock.
    Blocked(Wake),
}

/// One run in memory.
pub struct Machine {
    inner: Rc<Inner>,
    workflow: Arc<dyn AnyWorkflow>,
    future: Option<Code>,
    root: Arc<RootWake>,
    waker: Waker,
    input: Payload,
    parent: Option<ParentRef>,
    /// The journal as far as it is needed: for messages while replaying, for ever when verifying.
    journal: Vec<Entry>,
    position: u32,
    journal_bytes: usize,
    /// By seq: messages that aren't taken yet. Commits that overlap hand theirs over in any order, so one may be here
    /// before another that has to be taken first.
    inbox: BTreeMap<u64, Message>,
    /// The seq of the last message that became a fact; all before it did, too.
    taken: u64,
    in_flight: Option<InFlight>,
    consumed_in_flight: u64,
    consumed_before: u64,
    finished: Option<Result<Payload, Failure>>,
    woken: bool,
    verified_at: u32,
    warned: bool,
    replays: u64,
}

/// What of a turn has to be done again if it is refused.
#[derive(Default)]
struct InFlight {
    facts: Vec<Pending>,
    unsubscribe: Vec<OpKey>,
    cancel_children: Vec<RunId>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Machine({:?}, position {})", self.inner, self.position)
    }
}

/// What a machine is made from.
#[derive(Debug)]
pub struct Load {
    /// What the run is told about itself.
    pub info: RunInfo,
    /// Its input.
    pub input: Payload,
    /// The parent to tell the outcome.
    pub parent: Option<ParentRef>,
    /// Its journal.
    pub journal: Vec<Entry>,
    /// Its unconsumed messages.
    pub inbox: Vec<Message>,
    /// How many messages were ever delivered to it.
    pub mail: u64,
}

impl Machine {
    /// Takes a run up. Nothing of the user's code runs before [`Machine::drive`].
    ///
    /// # Errors
    ///
    /// Why the run has to be parked: its journal is damaged or its input unreadable.
    pub fn new(
        workflow: Arc<dyn AnyWorkflow>,
        env: Arc<dyn Env>,
        notify: Notify,
        load: Load,
    ) -> Result<Self, ParkReason> {
        let mut table = Table::new(load.info.created_at);
        table.load(&load.journal).map_err(|unreadable| crate::mismatch::unreadable(&unreadable))?;
        table.replaying = !load.journal.is_empty();
        let inner = Rc::new(Inner { info: load.info, env, notify: notify.clone(), table: table.into() });
        let started = guard::catch(|| workflow.start(Ctx::new(inner.clone()), &load.input));
        let unreadable = |why: String| crate::mismatch::input(workflow.name(), workflow.place(), &why);
        let future = started
            .map_err(|caught| unreadable(format!("reading it {}", caught.describe())))?
            .map_err(|error| unreadable(error.to_string()))?;
        let root = RootWake::new(notify);
        let waker = Waker::from(root.clone());
        let position = u32::try_from(load.journal.len()).unwrap_or(u32::MAX);
        let inbox: BTreeMap<u64, Message> = load.inbox.into_iter().map(|message| (message.seq, message)).collect();
        // What was ever delivered and isn't there any more was consumed.
        let taken = inbox.first_key_value().map_or(load.mail, |(&first, _)| first.saturating_sub(1));
        let machine = Self {
            inner,
            workflow,
            future: Some(future),
            root,
            waker,
            input: load.input,
            parent: load.parent,
            position,
            journal_bytes: load.journal.iter().map(|e| e.fact.payload.bytes.len()).sum(),
            journal: load.journal,
            inbox,
            taken,
            in_flight: None,
            consumed_in_flight: 0,
            consumed_before: 0,
            finished: None,
            woken: true,
            verified_at: u32::MAX,
            warned: false,
            replays: 1,
        };
        machine.inbox.values().for_each(|message| machine.bar(message));
        Ok(machine)
    }

    /// The workflow whose code it runs.
    pub fn workflow(&self) -> &Arc<dyn AnyWorkflow> {
        &self.workflow
    }

    /// How many messages this machine has seen, for [`Then::HangUp`](crate::store::Then::HangUp): those it waits for the predecessors of aren't
    /// counted, so that it comes back for all of them.
    pub fn seen(&self) -> u64 {
        self.taken
    }

    /// The position of the next entry.
    pub fn position(&self) -> u32 {
        self.position
    }

    /// How often the code was run from its beginning for this machine: 1 unless verified.
    pub fn replays(&self) -> u64 {
        self.replays
    }

    /// Whether a turn is under way.
    pub fn is_committing(&self) -> bool {
        self.in_flight.is_some()
    }

    /// Whether a transaction of one of its bodies is being committed, with an entry of its own.
    pub fn is_in_transaction(&self) -> bool {
        self.inner.table.borrow().slot.as_ref().is_some_and(|slot| slot.fact.is_some())
    }

    /// When the clock matters next for what is recorded: drive again then. Of interest after [`Next::Running`], since a
    /// timer may end while a body runs; [`Next::Blocked`] tells it by itself.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.inner.table.borrow_mut().next_wake()
    }

    /// Takes a message. One that was seen before is ignored; one that overtook others waits for them. Call
    /// [`Machine::drive`] afterwards.
    pub fn deliver(&mut self, message: Message) {
        if message.seq > self.taken {
            self.bar(&message);
            self.inbox.insert(message.seq, message);
        }
    }

    /// From the moment a cancellation is here no body begins, although it is seen only once it is recorded.
    fn bar(&self, message: &Message) {
        let mut table = self.inner.table.borrow_mut();
        if message.fact.key.kind == CANCEL && !table.cancelled {
            table.cancelling = true;
        }
    }

    /// The body of an operation can go on. Call [`Machine::drive`] afterwards.
    pub fn wake_body(&mut self, op: usize) {
        let waker = self.inner.table.borrow_mut().ops.get_mut(op).and_then(|op| op.waker.take());
        if let Some(waker) = waker {
            guard::wake(&self.root, [waker]);
            self.woken = true;
        }
    }

    /// The turn under way is in the journal since `now`. Call [`Machine::drive`] afterwards.
    pub fn committed(&mut self, now: Timestamp) {
        let mut facts = self.in_flight.take().unwrap_or_default().facts;
        for pending in facts.drain(..) {
            self.keep(self.position, &pending.fact, now);
            self.inner.table.borrow_mut().apply(self.position, pending, now);
            self.position += 1;
        }
        self.inner.table.borrow_mut().reuse(facts);
    }

    /// The turn under way was refused: the store's clock is before its time. Drive again, later.
    pub fn refused(&mut self) {
        let undone = self.in_flight.take().unwrap_or_default();
        let mut table = self.inner.table.borrow_mut();
        table.pending.splice(0..0, undone.facts);
        table.unsubscribe.splice(0..0, undone.unsubscribe);
        table.cancel_children.splice(0..0, undone.cancel_children);
        self.consumed_in_flight = self.consumed_before;
    }

    fn keep(&mut self, position: u32, fact: &Fact, now: Timestamp) {
        self.journal_bytes += fact.payload.bytes.len();
        if self.needs_journal() {
            self.journal.push(Entry { position, fact: fact.clone(), version: ENTRY_VERSION, recorded_at: now });
        }
    }

    /// Without verification the journal is only needed for the messages of a divergence, so until it is replayed.
    fn needs_journal(&self) -> bool {
        self.inner.env.options().verify || self.inner.table.borrow().replaying
    }

    fn trim(&mut self) {
        if !self.needs_journal() {
            self.journal = Vec::new();
        }
    }

    /// Runs the code as far as it goes. `now` is the store's time, or a little earlier.
    pub fn drive(&mut self, now: Timestamp) -> Next {
        self.collect_slot();
        if self.finished.is_none() && self.inner.table.borrow().park.is_none() {
            if let Err(reason) = self.run(now) {
                self.inner.table.borrow_mut().park.get_or_insert(reason);
            }
            self.take_messages();
            self.inner.table.borrow_mut().pass_time(now);
            self.trim();
        }
        if self.inner.env.options().verify {
            self.verify(now);
        }
        self.next(now)
    }

    /// The loop of releases: until every outcome that is there is released and the code waits for others.
    fn run(&mut self, now: Timestamp) -> Result<(), ParkReason> {
        let mut idle_polls = 0;
        loop {
            if self.root.is_foreign() {
                return Err(
                    self.foreign("something that is no operation of its own woke it: another thread, timer or run")
                );
            }
            if self.woken || self.root.take_internal() {
                self.woken = false;
                self.root.take_internal();
                if self.poll_once()? {
                    return self.check_leftover();
                }
                if let Some(reason) = &self.inner.table.borrow().park {
                    return Err(reason.clone());
                }
                if self.root.take_internal() {
                    self.woken = true;
                    idle_polls += 1;
                    if idle_polls > MAX_IDLE_POLLS {
                        return Err(self.foreign("it wakes itself again and again, and no operation comes of it"));
                    }
                    continue;
                }
                // How many polls it took until nothing moved any more is chance (bodies cause some, `join!` rotates
                // its branches): only now, and not after each of them, are identities given and outcomes withheld.
                if self.come_to_rest()? {
                    continue;
                }
                if self.inner.table.borrow().refusals > MAX_REFUSALS {
                    return self.give_up();
                }
            }
            idle_polls = 0;
            if self.release() {
                continue;
            }
            self.check_leftover()?;
            let mut table = self.inner.table.borrow_mut();
            table.replaying = false;
            let wakers = table.open_bodies(now);
            let awaiting = table.awaiting;
            drop(table);
            if !wakers.is_empty() {
                guard::wake(&self.root, wakers);
                self.woken = true;
                continue;
            }
            if awaiting == 0 {
                return Err(self.foreign("it waits, but none of its operations is pending"));
            }
            return Ok(());
        }
    }

    /// Ends a series of polls. Returns whether someone waited for just that, so that another one begins.
    fn come_to_rest(&mut self) -> Result<bool, ParkReason> {
        let mut table = self.inner.table.borrow_mut();
        table.withhold();
        table.close_bodies();
        let lenient = self.inner.env.options().lenient_inputs;
        table.identify(lenient).map_err(|m| self.diverged(*m, &table))?;
        let wakers = std::mem::take(&mut table.unnamed);
        drop(table);
        if wakers.is_empty() {
            return Ok(false);
        }
        guard::wake(&self.root, wakers);
        self.woken = true;
        Ok(true)
    }

    /// Ends a run whose code asks for one operation after the other although it is cancelled (a loop that tries
    /// again whatever the failure is): it would never end by itself.
    fn give_up(&mut self) -> Result<(), ParkReason> {
        let failure = self.inner.table.borrow().cancel.as_ref().map(|cancel| cancel.failure.clone());
        tracing::warn!(
            run = %self.inner.info.id,
            "the workflow ignores its cancellation: ended after {MAX_REFUSALS} operations that answered with it"
        );
        self.finished = Some(Err(failure.unwrap_or_else(|| Failure::cancelled("cancelled"))));
        self.drop_code();
        self.check_leftover()
    }

    /// Polls the code once. Returns whether it has ended.
    fn poll_once(&mut self) -> Result<bool, ParkReason> {
        let Some(future) = &mut self.future else { return Ok(true) };
        let _driving = guard::driving(&self.root);
        let waker = &self.waker;
        let polled = guard::catch(|| future.as_mut().poll(&mut Context::from_waker(waker)));
        let result = match polled {
            Ok(Poll::Pending) => return Ok(false),
            Ok(Poll::Ready(result)) => result,
            Err(caught) if caught.is_missing_runtime() => return Err(self.foreign_panic(&caught)),
            Err(caught) => Err(crate::body::panicked(caught).not_retryable()),
        };
        // The identity of what was asked for last still counts.
        let mut table = self.inner.table.borrow_mut();
        if let Some(reason) = table.park.clone() {
            return Err(reason);
        }
        let lenient = self.inner.env.options().lenient_inputs;
        table.identify(lenient).map_err(|m| self.diverged(*m, &table))?;
        drop(table);
        self.finished = Some(result);
        self.drop_code();
        Ok(true)
    }

    /// Drops the future; a destructor may panic and may need the runtime.
    fn drop_code(&mut self) {
        let _driving = guard::driving(&self.root);
        let mut future = self.future.take();
        let env = self.inner.env.clone();
        if guard::catch(|| env.enter(&mut || drop(future.take()))).is_err() {
            tracing::error!(run = %self.inner.info.id, "a destructor of the workflow panicked");
        }
    }

    /// Releases the next outcome, if there is one, and wakes its place in the code.
    fn release(&mut self) -> bool {
        let mut table = self.inner.table.borrow_mut();
        let Some((_, candidate)) = table.ready.pop_first() else { return false };
        table.releases += 1;
        table.randoms.clear();
        let waker = match candidate {
            Candidate::Cancel if seeded::is(Bug::IgnoredCancel) => None,
            Candidate::Cancel => {
                table.release_cancel();
                None
            }
            Candidate::Op(index) => {
                if let Some((_, outcome)) = &table.ops[index].outcome {
                    table.now = table.now.max(outcome.at);
                }
                table.released = Some(index);
                table.ops[index].waker.take()
            }
        };
        drop(table);
        guard::wake(&self.root, waker);
        self.woken = true;
        true
    }

    /// What a user's transaction has committed by itself becomes part of the journal.
    fn collect_slot(&mut self) {
        let mut table = self.inner.table.borrow_mut();
        let Some(slot) = &table.slot else { return };
        if slot.fact.is_none() {
            if !table.ops[slot.op].is_open() {
                table.slot = None;
            }
            return;
        }
        let result = slot.done.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let Some(result) = result else { return };
        let slot = table.slot.take();
        let waker = table.slot_waker.take();
        drop(table);
        if let (Ok(now), Some(Slot { op, position, fact: Some(fact), .. })) = (result, slot) {
            self.keep(position, &fact, now);
            let pending = Pending { fact, op: Some(op), effect: Effect::None, not_before: None };
            let mut table = self.inner.table.borrow_mut();
            table.ops[op].settled = true;
            table.apply(position, pending, now);
            self.position = position + 1;
        }
        guard::wake(&self.root, waker);
    }

    /// Messages become facts, in the order of their seqs and without a gap: consuming one deletes all before it.
    fn take_messages(&mut self) {
        let mut table = self.inner.table.borrow_mut();
        while let Some(message) = self.inbox.remove(&(self.taken + 1)) {
            self.taken = message.seq;
            table.consumed = message.seq;
            let fact = message.fact;
            if fact.key.kind == CANCEL {
                if !std::mem::replace(&mut table.cancel_taken, true) {
                    table.pending.push(Pending { fact, op: None, effect: Effect::None, not_before: None });
                }
                continue;
            }
            let Some(&index) = table.by_key.get(&fact.key) else {
                tracing::debug!(run = %self.inner.info.id, key = %fact.key, "a message for an operation that isn't there");
                continue;
            };
            let op = &mut table.ops[index];
            // An event that nobody waits for any more isn't received: a later wait gets it from the buffer.
            let unwanted = op.dropped && op.command.subscribed();
            if !op.settled && !unwanted {
                op.settled = true;
                table.pending.push(Pending { fact, op: Some(index), effect: Effect::None, not_before: None });
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.drop_code();
    }
}
