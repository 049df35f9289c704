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

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::ctx::{Ctx, Inner, RunInfo};
use crate::env::{Env, Notify};
use crate::failure::Failure;
use crate::guard::{self, Caught, RootWake};
use crate::ids::Timestamp;
use crate::journal::{ENTRY_VERSION, Entry, Fact, OpKey, Phase};
use crate::mismatch::{Mismatch, code};
use crate::ops::{CANCEL, Due, Effect};
use crate::payload::Payload;
use crate::registry::{AnyWorkflow, Code};
use crate::store::{Message, NewMessage, ParentRef, ParkReason, Status, Then, Turn, Wake};
use crate::table::{Candidate, Pending, Slot, Table};

/// Polls without progress after which a workflow that wakes itself is taken for a busy loop.
const MAX_IDLE_POLLS: u32 = 100_000;

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
    /// Bodies are running or a commit is under way.
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
    inbox: VecDeque<Message>,
    seen: u64,
    in_flight: Option<Vec<Pending>>,
    consumed_in_flight: u64,
    finished: Option<Result<Payload, Failure>>,
    woken: bool,
    verified_at: u32,
    warned: bool,
    replays: u64,
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
        table.load(&load.journal).map_err(|reason| ParkReason {
            code: code::CORRUPT.to_owned(),
            message: format!(
                "the journal of the run is damaged: {reason}\n  way out: restore the entries, or cancel the run and \
                 invoke it again"
            ),
        })?;
        table.replaying = !load.journal.is_empty();
        let inner = Rc::new(Inner { info: load.info, env, notify: notify.clone(), table: table.into() });
        let future = match guard::catch(|| workflow.start(Ctx::new(inner.clone()), &load.input)) {
            Ok(Ok(future)) => future,
            Ok(Err(error)) => {
                return Err(ParkReason {
                    code: code::PAYLOAD.to_owned(),
                    message: format!(
                        "the input of the run can't be read by workflow {} ({}): {error}\n  ways out: deploy a type \
                         that can read it, then resume the run; or cancel it and invoke it with another input",
                        workflow.name(),
                        workflow.place()
                    ),
                });
            }
            Err(caught) => {
                let failure = crate::body::panicked(caught);
                Box::pin(async move { Err(failure) })
            }
        };
        let root = RootWake::new(notify);
        let waker = Waker::from(root.clone());
        let position = u32::try_from(load.journal.len()).unwrap_or(u32::MAX);
        Ok(Self {
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
            inbox: load.inbox.into(),
            seen: load.mail,
            in_flight: None,
            consumed_in_flight: 0,
            finished: None,
            woken: true,
            verified_at: u32::MAX,
            warned: false,
            replays: 1,
        })
    }

    /// How many messages this machine has seen, for [`Then::HangUp`].
    pub fn seen(&self) -> u64 {
        self.seen
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

    /// Takes a message. One that was seen before is ignored. Call [`Machine::drive`] afterwards.
    pub fn deliver(&mut self, message: Message) {
        if message.seq > self.seen || self.inbox.iter().all(|m| m.seq != message.seq) && message.seq > self.consumed() {
            self.seen = self.seen.max(message.seq);
            self.inbox.push_back(message);
        }
    }

    fn consumed(&self) -> u64 {
        self.inner.table.borrow().consumed
    }

    /// The body of an operation can go on. Call [`Machine::drive`] afterwards.
    pub fn wake_body(&mut self, op: usize) {
        let waker = self.inner.table.borrow_mut().ops.get_mut(op).and_then(|op| op.waker.take());
        if let Some(waker) = waker {
            let _driving = guard::driving();
            waker.wake();
            self.woken = true;
        }
    }

    /// The turn under way is in the journal since `now`. Call [`Machine::drive`] afterwards.
    pub fn committed(&mut self, now: Timestamp) {
        let facts = self.in_flight.take().unwrap_or_default();
        let mut table = self.inner.table.borrow_mut();
        for pending in facts {
            Self::keep(&mut self.journal, &mut self.journal_bytes, self.position, &pending.fact, now);
            table.apply(self.position, pending, now);
            self.position += 1;
        }
        drop(table);
        self.trim();
    }

    /// The turn under way was refused: the store's clock is before its time. Drive again, later.
    pub fn refused(&mut self) {
        let facts = self.in_flight.take().unwrap_or_default();
        let mut table = self.inner.table.borrow_mut();
        let later = std::mem::replace(&mut table.pending, facts);
        table.pending.extend(later);
        table.consumed = table.consumed.max(self.consumed_in_flight);
    }

    fn keep(journal: &mut Vec<Entry>, bytes: &mut usize, position: u32, fact: &Fact, now: Timestamp) {
        *bytes += fact.payload.bytes.len();
        journal.push(Entry { position, fact: fact.clone(), version: ENTRY_VERSION, recorded_at: now });
    }

    /// Without verification the journal is only needed for the messages of a divergence, so until it is replayed.
    fn trim(&mut self) {
        if !self.inner.env.options().verify && !self.inner.table.borrow().replaying {
            self.journal = Vec::new();
        }
    }

    /// Runs the code as far as it goes. `now` is the store's time, or a little earlier.
    pub fn drive(&mut self, now: Timestamp) -> Next {
        self.collect_slot();
        if self.finished.is_none() {
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
                return Err(self.foreign("something outside of its steps woke it"));
            }
            if self.woken || self.root.take_internal() {
                self.woken = false;
                self.root.take_internal();
                if self.poll_once()? {
                    return self.check_leftover();
                }
                let mut table = self.inner.table.borrow_mut();
                if let Some(reason) = table.park.clone() {
                    return Err(reason);
                }
                table.withhold();
                let lenient = self.inner.env.options().lenient_inputs;
                table.identify(lenient).map_err(|m| self.diverged(&m, &table))?;
                if self.root.take_internal() {
                    self.woken = true;
                    idle_polls += 1;
                    if idle_polls > MAX_IDLE_POLLS {
                        drop(table);
                        return Err(self.foreign("it wakes itself again and again without an operation"));
                    }
                    continue;
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
                let _driving = guard::driving();
                wakers.into_iter().for_each(Waker::wake);
                self.woken = true;
                continue;
            }
            if awaiting == 0 {
                return Err(self.foreign("no operation is pending"));
            }
            return Ok(());
        }
    }

    /// Polls the code once. Returns whether it has ended.
    fn poll_once(&mut self) -> Result<bool, ParkReason> {
        let Some(future) = &mut self.future else { return Ok(true) };
        let _driving = guard::driving();
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
        table.identify(lenient).map_err(|m| self.diverged(&m, &table))?;
        drop(table);
        self.finished = Some(result);
        self.drop_code();
        Ok(true)
    }

    /// Drops the future; a destructor may panic and may need the runtime.
    fn drop_code(&mut self) {
        let mut future = self.future.take();
        let env = self.inner.env.clone();
        if guard::catch(|| env.enter(&mut || drop(future.take()))).is_err() {
            tracing::error!(run = %self.inner.info.id, "a destructor of the workflow panicked");
        }
    }

    /// Releases the next outcome, if there is one, and wakes its place in the code.
    fn release(&mut self) -> bool {
        let mut table = self.inner.table.borrow_mut();
        let Some((place, candidate)) = table.ready.pop_first() else { return false };
        table.releases += 1;
        table.randoms = 0;
        let waker = match candidate {
            Candidate::Cancel => {
                if let Some(at) = self.journal.get(place.0 as usize).map(|e| e.recorded_at) {
                    table.now = at;
                }
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
        if let Some(waker) = waker {
            let _driving = guard::driving();
            waker.wake();
        }
        self.woken = true;
        true
    }

    /// Everything recorded must have been asked for by now.
    fn check_leftover(&self) -> Result<(), ParkReason> {
        let table = self.inner.table.borrow();
        let Some((key, left)) = table.recorded.iter().min_by_key(|(_, recorded)| recorded.first) else {
            return Ok(());
        };
        let asked = match &self.finished {
            Some(Ok(_)) => "the end of the workflow".to_owned(),
            Some(Err(failure)) => format!("the end of the workflow, failed with: {failure}"),
            None => {
                let open: Vec<String> = table
                    .ops
                    .iter()
                    .filter(|op| op.is_open() && op.awaited && op.outcome.is_none())
                    .filter_map(|op| op.key.as_ref().map(|key| format!("{key} ({})", op.place())))
                    .collect();
                if open.is_empty() { "nothing".to_owned() } else { open.join(", ") }
            }
        };
        let mismatch = Mismatch { position: Some(left.first), recorded: key.to_string(), asked, place: None };
        Err(self.diverged(&mismatch, &table))
    }

    fn diverged(&self, mismatch: &Mismatch, table: &Table) -> ParkReason {
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
        let last = table.ops.iter().rev().find_map(|op| op.key.as_ref().map(|key| format!("{key} at {}", op.place())));
        let after = last.map_or_else(|| "at its beginning".to_owned(), |last| format!("after {last}"));
        self.foreign_reason(&format!("{what}, {after}"))
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
        if let (Ok(now), Some(Slot { op, position, fact: Some(fact), .. })) = (result, slot) {
            table.ops[op].settled = true;
            Self::keep(&mut self.journal, &mut self.journal_bytes, position, &fact, now);
            let pending = Pending { fact, op: Some(op), effect: Effect::None, not_before: None };
            table.apply(position, pending, now);
            self.position = position + 1;
        }
        drop(table);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Messages become facts, in the order in which they came.
    fn take_messages(&mut self) {
        let mut table = self.inner.table.borrow_mut();
        while let Some(message) = self.inbox.pop_front() {
            table.consumed = table.consumed.max(message.seq);
            self.seen = self.seen.max(message.seq);
            let fact = message.fact;
            if fact.key.kind == CANCEL {
                if table.cancel.is_none() && !table.cancelling {
                    table.cancelling = true;
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
        if let Some(reason) = table.park.clone() {
            drop(table);
            return self.park(reason);
        }
        if self.finished.is_none() && table.slot.is_none() {
            while let Some((op, waker)) = table.slot_queue.pop_front() {
                if !table.ops[op].is_open() {
                    continue;
                }
                table.slot = Some(Slot { op, position: self.position, fact: None, done: Arc::default() });
                drop(table);
                waker.wake();
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

    fn park(&mut self, reason: ParkReason) -> Next {
        let mut turn = Turn::new(self.inner.info.id, self.position);
        turn.then = Then::Park(reason);
        self.in_flight = Some(Vec::new());
        self.drop_code();
        Next::Commit { turn: Box::new(turn), idle: None }
    }

    fn make_turn(&mut self, now: Timestamp) -> Next {
        let options = self.inner.env.options();
        let mut table = self.inner.table.borrow_mut();
        let facts = std::mem::take(&mut table.pending);
        let length = self.position.saturating_add(u32::try_from(facts.len()).unwrap_or(u32::MAX));
        let bytes = self.journal_bytes + facts.iter().map(|p| p.fact.payload.bytes.len()).sum::<usize>();
        if (length > options.max_entries || bytes > options.max_journal_bytes) && self.finished.is_none() {
            let message = format!(
                "the journal of the run would have {length} entries and {bytes} bytes, the limits are {} and {}: hand \
                 parts of the work to children (ctx.invoke), or raise `max_entries` or `max_journal_bytes` and resume",
                options.max_entries, options.max_journal_bytes
            );
            drop(table);
            return self.park(ParkReason { code: code::JOURNAL_FULL.to_owned(), message });
        }
        if length >= 10_000 && !self.warned {
            self.warned = true;
            tracing::warn!(run = %self.inner.info.id, entries = length, "the journal is long: replays take longer");
        }
        let mut turn = Turn::new(self.inner.info.id, self.position);
        turn.consumed = table.consumed;
        self.consumed_in_flight = table.consumed;
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
            if pending.fact.phase == Phase::Asked {
                match pending.op.and_then(|op| table.ops[op].command.due()) {
                    Some(Due::At(at)) => wake.at = Some(wake.at.map_or(at, |w| w.min(at))),
                    Some(Due::After(after)) => wake.after = Some(wake.after.map_or(after, |w| w.min(after))),
                    None => {}
                }
            } else if let (Phase::Retry, Some(mark)) = (pending.fact.phase, pending.fact.mark) {
                let after = std::time::Duration::from_micros(u64::try_from(mark).unwrap_or(0));
                wake.after = Some(wake.after.map_or(after, |w| w.min(after)));
            } else {
                // An outcome: the code goes on with it once it is committed.
                idle = false;
            }
            turn.entries.push(pending.fact.clone());
        }
        idle &= table.starting.iter().all(|&i| table.ops[i].retry_at.is_some_and(|at| at > now));
        turn.unsubscribe = std::mem::take(&mut table.unsubscribe);
        if let Some(result) = &self.finished {
            table.cancel_open_children(true);
            let (status, output) = match result {
                Ok(output) => (Status::Completed, output.clone()),
                Err(failure) if failure.is_cancelled() && table.cancel.is_some() => {
                    (Status::Cancelled, failure.to_payload())
                }
                Err(failure) => (Status::Failed, failure.to_payload()),
            };
            if let Some(parent) = &self.parent {
                let phase = if status == Status::Completed { Phase::Ok } else { Phase::Failed };
                let fact = Fact { key: parent.key.clone(), phase, payload: output.clone(), mark: None };
                turn.sends.push(NewMessage { to: parent.run, fact });
            }
            turn.then = Then::Finish { status, output };
        }
        let reason = table.cancel.as_ref().map_or("its parent has ended", |(_, failure)| failure.message()).to_owned();
        for child in std::mem::take(&mut table.cancel_children) {
            turn.sends.push(NewMessage { to: child, fact: cancel(&reason) });
        }
        drop(table);
        self.in_flight = Some(facts);
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
        if let Some(mut reason) = reason {
            if reason.code == code::DIVERGED {
                reason.message = format!(
                    "replayed right after its commit, the workflow didn't do the same again: it decides by something \
                     that isn't journaled\n{}",
                    reason.message
                );
            }
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
            let mismatch = Mismatch { position: None, recorded, asked, place: None };
            Some(self.diverged(&mismatch, &live))
        };
        let place = |table: &Table, key: &OpKey| table.by_key.get(key).map(|&i| table.ops[i].place());
        if let Some(key) = live.by_key.keys().find(|key| !replay.by_key.contains_key(*key)) {
            let place = place(&live, key).unwrap_or_default();
            return difference(format!("{key} ({place})"), "nothing of that kind on replay".to_owned());
        }
        if let Some(key) = replay.by_key.keys().find(|key| !live.by_key.contains_key(*key)) {
            let place = place(&replay, key).unwrap_or_default();
            return difference("nothing of that kind".to_owned(), format!("{key} ({place}) on replay"));
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

/// The message that cancels a run.
pub fn cancel(reason: &str) -> Fact {
    Fact {
        key: OpKey::new(CANCEL, "", 1),
        phase: Phase::Ok,
        payload: Payload { codec: 0, bytes: serde_json::to_vec(reason).unwrap_or_default() },
        mark: None,
    }
}
