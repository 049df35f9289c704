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
use std::time::Duration;

use crate::ctx::{Ctx, Inner, RunInfo};
use crate::env::{Env, Notify};
use crate::failure::Failure;
use crate::guard::{self, Caught, RootWake};
use crate::ids::{RunId, Timestamp};
use crate::journal::{ENTRY_VERSION, Entry, Fact, OpKey, Phase};
use crate::mismatch::{Mismatch, code};
use crate::ops::{CANCEL, Due, Effect};
use crate::payload::Payload;
use crate::registry::{AnyWorkflow, Code};
use crate::store::{Message, NewMessage, ParentRef, ParkReason, Status, Then, Turn, Wake};
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

    /// How many messages this machine has seen, for [`Then::HangUp`]: those it waits for the predecessors of aren't
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
        let done = self.in_flight.take().unwrap_or_default();
        for pending in done.facts {
            self.keep(self.position, &pending.fact, now);
            self.inner.table.borrow_mut().apply(self.position, pending, now);
            self.position += 1;
        }
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

    /// Everything recorded must have been asked for by now.
    fn check_leftover(&self) -> Result<(), ParkReason> {
        let table = self.inner.table.borrow();
        let Some((left, recorded)) = table.recorded.iter().min_by_key(|(_, recorded)| recorded.first) else {
            return Ok(());
        };
        let open = |new: bool| {
            table.ops.iter().filter_map(move |op| {
                let is_new = op.asked_at.is_none() && op.outcome.is_none() && op.retries == 0;
                let shown = op.is_open() && op.outcome.is_none() && is_new == new;
                op.key.as_ref().filter(|_| shown).map(|key| (key.to_string(), op.place()))
            })
        };
        let (asked, place, hint) = match &self.finished {
            Some(Ok(_)) => (
                "the end of the workflow".to_owned(),
                None,
                format!("the code ends before it comes to {left}: that was removed, or another branch is taken now"),
            ),
            Some(Err(failure)) => (
                format!("the end of the workflow, which failed with: {failure}"),
                None,
                format!("the code fails before it comes to {left}"),
            ),
            None => match (open(true).next(), open(false).next()) {
                (Some((key, place)), _) => (
                    key.clone(),
                    Some(format!("{place}, not recorded")),
                    format!("{left} was removed, renamed or moved behind {key}; or {key} is new before it"),
                ),
                (None, Some((key, place))) => (
                    format!("nothing but {key}"),
                    Some(format!("{place}, recorded, without outcome")),
                    format!("the code waits for {key}, but when {left} was recorded it went on without"),
                ),
                (None, None) => ("nothing".to_owned(), None, format!("{left} was removed")),
            },
        };
        let mismatch = Mismatch {
            position: Some(recorded.first),
            recorded: left.to_string(),
            asked,
            place,
            hint: Some(hint),
            at_once: false,
        };
        Err(self.diverged(mismatch, &table))
    }

    fn diverged(&self, mut mismatch: Mismatch, table: &Table) -> ParkReason {
        mismatch.at_once |= table.dry;
        let name = format!("{} ({})", self.inner.info.workflow, self.inner.info.place);
        let asked: Vec<(OpKey, String)> = table
            .ops
            .iter()
            .rev()
            .take(4)
            .filter_map(|op| op.key.as_ref().map(|key| ((**key).clone(), op.place())))
            .collect();
        let asked: Vec<_> = asked.into_iter().rev().collect();
        mismatch.park(&name, &self.journal, &asked)
    }

    fn foreign(&self, what: &str) -> ParkReason {
        let table = self.inner.table.borrow();
        let last = table.ops.iter().rev().find_map(|op| op.key.as_ref().map(|key| format!("{key} ({})", op.place())));
        let after = match last {
            Some(last) => format!("its last operation was {last}"),
            None => "it has come to no operation yet".to_owned(),
        };
        self.foreign_reason(&format!("{what}; {after}"))
    }

    fn foreign_panic(&self, caught: &Caught) -> ParkReason {
        let place = caught.place.as_deref().unwrap_or("an unknown place");
        self.foreign_reason(&format!("at {place}: {}", caught.message))
    }

    fn foreign_reason(&self, detail: &str) -> ParkReason {
        ParkReason {
            code: code::FOREIGN_AWAIT.to_owned(),
            message: format!(
                "workflow {} ({}) awaits a future that is not journaled: wrap it in ctx.step(..)\n  {detail}\n  ways \
                 out: timers are ctx.sleep(..), timeouts are .timeout(..) on the operation, spawned work is join! or \
                 ctx.invoke(..), everything else goes into a step; then deploy, and the run goes on",
                self.inner.info.workflow, self.inner.info.place
            ),
        }
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

    fn next(&mut self, now: Timestamp) -> Next {
        if self.in_flight.is_some() {
            return Next::Running;
        }
        let mut table = self.inner.table.borrow_mut();
        if table.slot.as_ref().is_some_and(|slot| slot.fact.is_some()) {
            return Next::Running;
        }
        if table.slot.as_ref().is_some_and(|slot| !slot.served) {
            // The code was polled since it was offered, but not the attempt (the kept loser of a select, say): the
            // rest of the run must not wait for that.
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

    fn park(&mut self, mut reason: ParkReason) -> Next {
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
    fn end_instead_of_parking(&mut self) -> Option<Next> {
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

    fn make_turn(&mut self, now: Timestamp) -> Next {
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
        self.consumed_before = std::mem::replace(&mut self.consumed_in_flight, table.consumed);
        let mut idle = table.bodies == 0;
        let mut wake = Wake { at: table.next_wake(), after: None };
        for pending in &facts {
            match &pending.effect {
                Effect::None => {}
                Effect::Start(run) => turn.starts.push((**run).clone()),
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
        let cancel_children = std::mem::take(&mut table.cancel_children);
        turn.sends.extend(cancel_children.iter().map(|&to| NewMessage { to, fact: cancel(&reason) }));
        let unsubscribe = std::mem::take(&mut table.unsubscribe);
        turn.unsubscribe = unsubscribe.clone();
        drop(table);
        self.in_flight = Some(InFlight { facts, unsubscribe, cancel_children });
        Next::Commit { turn: Box::new(turn), idle: idle.then_some(wake) }
    }

    /// Replays the journal through the code once more and compares: what isn't deterministic shows at once.
    ///
    /// For long journals not after every commit, but each time they have grown by a tenth, and at the end.
    fn verify(&mut self, now: Timestamp) {
        let due = match self.verified_at {
            u32::MAX => self.position > 0,
            at if self.finished.is_some() => self.position > at || self.in_flight.is_none(),
            at => self.position > at && self.position >= at + at.saturating_sub(100) / 10,
        };
        let parked = self.inner.table.borrow().park.is_some();
        if !due || parked || self.in_flight.is_some() || self.inner.table.borrow().slot.is_some() {
            return;
        }
        self.verified_at = self.position;
        let load = Load {
            info: self.inner.info.clone(),
            input: self.input.clone(),
            parent: None,
            journal: self.journal.clone(),
            inbox: Vec::new(),
            mail: 0,
        };
        self.replays += 1;
        let quiet: Notify = Arc::new(|_| {});
        let second = Machine::new(self.workflow.clone(), self.inner.env.clone(), quiet, load);
        let reason = match second {
            Err(reason) => Some(reason),
            Ok(mut second) => second.dry_run(now).err().or_else(|| self.compare(&second)),
        };
        if let Some(reason) = reason {
            self.inner.table.borrow_mut().park.get_or_insert(reason);
        }
    }

    /// Replays without letting any body begin.
    fn dry_run(&mut self, now: Timestamp) -> Result<(), ParkReason> {
        self.inner.table.borrow_mut().dry = true;
        self.run(now)
    }

    fn compare(&self, second: &Machine) -> Option<ParkReason> {
        let (live, replay) = (self.inner.table.borrow(), second.inner.table.borrow());
        let difference = |recorded: String, asked: String| {
            let mismatch = Mismatch { position: None, recorded, asked, place: None, hint: None, at_once: true };
            Some(self.diverged(mismatch, &live))
        };
        let place = |table: &Table, key: &OpKey| table.by_key.get(key).map(|&i| table.ops[i].place());
        if let Some(key) = live.by_key.keys().find(|key| !replay.by_key.contains_key(*key)) {
            let place = place(&live, key).unwrap_or_default();
            return difference(format!("{key} ({place})"), "no such operation on replay".to_owned());
        }
        if let Some(key) = replay.by_key.keys().find(|key| !live.by_key.contains_key(*key)) {
            let place = place(&replay, key).unwrap_or_default();
            return difference("no such operation".to_owned(), format!("{key} ({place}) on replay"));
        }
        let site = |table: &Table, key: &OpKey| table.by_key.get(key).map(|&i| table.ops[i].site);
        let moved = live.by_key.keys().find(|key| site(&live, key) != site(&replay, key));
        if let Some(key) = moved {
            let (live, replay) = (place(&live, key).unwrap_or_default(), place(&replay, key).unwrap_or_default());
            return difference(format!("{key} ({live})"), format!("{key} ({replay}) on replay"));
        }
        match (&self.finished, &second.finished) {
            (None, None) => None,
            (Some(a), Some(b)) if same_end(a, b) => None,
            (a, b) => {
                let end = |end: &Option<Result<Payload, Failure>>| match end {
                    None => "still running".to_owned(),
                    Some(Ok(output)) => format!("ended well with a value of {} bytes", output.bytes.len()),
                    Some(Err(failure)) => format!("failed: {failure}"),
                };
                difference(end(a), format!("{} on replay", end(b)))
            }
        }
    }
}

fn same_end(a: &Result<Payload, Failure>, b: &Result<Payload, Failure>) -> bool {
    match (a, b) {
        (Ok(a), Ok(b)) => a == b || a.digest() == b.digest(),
        (Err(a), Err(b)) => a.kind() == b.kind() && a.message() == b.message(),
        _ => false,
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.drop_code();
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
