//! A driver: holds runs in memory, drives them, and sends their turns to the committer.
//!
//! It has a thread of its own (see `thread.rs`), which runs never leave. It handles all messages that are there in one
//! pass, so that a committed batch of a thousand runs costs one hop.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedReceiver;
use workflow_core::env::Env as _;
use workflow_core::env::Notice;
use workflow_core::replay::{Next, refuse};
use workflow_core::store::{ClaimedRun, CreateOutcome, Created, Mail, Message, Then, Turn, Wake};
use workflow_core::{ExecutorId, RunId, StoreError, Timestamp};

use super::begun;
use super::gate::Hold;
use super::lone::{Creation, OwnLane};
use super::resident::{self, Resident};
use super::shared::{Closing, CommitAnswer, Msg, Outgoing, Shared, Tag};
use crate::seeded::{self, Bug};

/// How long a driver waits before it looks again whether its lease has been renewed.
const DOUBT: Duration = Duration::from_millis(20);

/// Mail that overtook its run on the way here.
struct Early {
    since: Instant,
    messages: Vec<Message>,
}

pub(crate) struct Driver {
    index: usize,
    shared: Arc<Shared>,
    runs: HashMap<RunId, Resident>,
    /// By time: when a run's timer is due.
    timers: BTreeSet<(Timestamp, RunId)>,
    /// By time: since when a run is idle.
    idle: BTreeSet<(Instant, RunId)>,
    early: HashMap<RunId, Early>,
    /// Runs that were claimed again before the answer came that they had left.
    returning: BTreeMap<RunId, (ClaimedRun, ExecutorId, Hold)>,
    dirty: Vec<RunId>,
    out: Vec<Outgoing>,
    lane: OwnLane,
    /// Nothing new begins any more.
    closing: bool,
    closed: Option<Closing>,
}

impl Driver {
    pub(crate) fn new(index: usize, shared: Arc<Shared>) -> Self {
        Self {
            index,
            runs: HashMap::new(),
            timers: BTreeSet::new(),
            idle: BTreeSet::new(),
            early: HashMap::new(),
            returning: BTreeMap::new(),
            dirty: Vec::new(),
            out: Vec::new(),
            lane: OwnLane::new(&shared),
            closing: false,
            closed: None,
            shared,
        }
    }

    /// Resolves with what to tell the next [pass](Self::pass): a message, or the end of a lone commit; with `None` when
    /// only the clock has something due.
    pub(crate) async fn next(&mut self, messages: &mut UnboundedReceiver<Msg>) -> Option<Msg> {
        self.waits(true);
        let next = self.wait(messages).await;
        self.waits(false);
        next
    }

    fn waits(&self, waits: bool) {
        if let Some(waiting) = self.shared.waiting.get(self.index) {
            waiting.store(waits, Ordering::Release);
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the deadline of a pass")]
    async fn wait(&mut self, messages: &mut UnboundedReceiver<Msg>) -> Option<Msg> {
        let deadline = self.next_deadline();
        let passed = async {
            match deadline {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            msg = self.lane.next(&self.shared) => Some(msg),
            msg = messages.recv() => Some(msg.unwrap_or(Msg::Stop)),
            () = passed => None,
        }
    }

    /// Handles `first` and every message behind it, then does what they and the clock have made due. Breaks at the end
    /// of the executor.
    pub(crate) fn pass(&mut self, first: Option<Msg>, messages: &mut UnboundedReceiver<Msg>) -> ControlFlow<()> {
        let mut next = first;
        while let Some(msg) = next {
            if matches!(msg, Msg::Stop) {
                return ControlFlow::Break(());
            }
            self.handle(msg);
            next = messages.try_recv().ok();
        }
        self.fire_timers();
        self.hang_up_the_idle();
        self.drive_dirty();
        self.send_out();
        self.finish_closing();
        ControlFlow::Continue(())
    }

    /// How long the next pass may wait for a message.
    fn next_deadline(&self) -> Option<Duration> {
        let timer = self.timers.first().map(|&(at, _)| self.shared.clock.until(at));
        let local = || self.shared.clock.local();
        let linger =
            self.idle.first().map(|&(since, _)| (since + self.shared.linger).saturating_duration_since(local()));
        let doubt = (!self.dirty.is_empty()).then_some(DOUBT);
        timer.into_iter().chain(linger).chain(doubt).min()
    }

    fn handle(&mut self, msg: Msg) {
        match msg {
            Msg::Load(run, executor, hold) => self.take_up(*run, executor, hold),
            Msg::Create(creation) if self.closing => creation.take_the_other_way(None),
            Msg::Create(creation) => self.lane.create(&self.shared, creation),
            Msg::Created(creation, since) => self.created(*creation, since),
            Msg::Committed(answers) => answers.into_iter().for_each(|(tag, answer)| self.committed(tag, answer)),
            Msg::Mail(mail) => mail.into_iter().for_each(|mail| self.deliver(mail)),
            Msg::Notice(tag, notice) => {
                if let Some(resident) = self.resident(tag) {
                    if let Notice::Body(op) = notice {
                        resident.machine.wake_body(op);
                    }
                    self.touch(tag.run);
                }
            }
            Msg::Place(tag, gate, hold) => match self.resident(tag) {
                Some(resident) => {
                    resident.queued = false;
                    resident.place = Some(hold);
                    self.touch(tag.run);
                }
                // The run left while it waited.
                None => self.shared.give_back(&gate, hold, 1),
            },
            Msg::Evict(count) => self.evict(count),
            Msg::Stop | Msg::Reassured => {}
            Msg::Close(closing) => {
                self.closing = true;
                self.closed = Some(closing);
            }
            Msg::DropAll(done) => {
                self.drop_all();
                let _ = done.send(());
            }
        }
    }

    fn resident(&mut self, tag: Tag) -> Option<&mut Resident> {
        self.runs.get_mut(&tag.run).filter(|resident| resident.tag == tag)
    }

    fn touch(&mut self, run: RunId) {
        if let Some(resident) = self.runs.get_mut(&run)
            && !resident.dirty
        {
            resident.dirty = true;
            self.dirty.push(run);
        }
    }

    fn send(&mut self, executor: ExecutorId, tag: Tag, turn: Turn) {
        let executor = if seeded::is(Bug::SurviveLeaseLoss) { self.shared.env.executor() } else { executor };
        self.out.push(Outgoing { driver: self.index, executor, tag, turn });
    }

    /// Has the turns of this pass written.
    fn send_out(&mut self) {
        self.lane.write(&self.shared, &mut self.out);
        if !self.out.is_empty() {
            self.shared.commits.send(std::mem::take(&mut self.out));
        }
    }

    fn created(&mut self, creation: Creation, since: Result<Timestamp, Option<StoreError>>) {
        let created_at = match since {
            Ok(created_at) => created_at,
            Err(unknown) => return creation.take_the_other_way(unknown),
        };
        let (executor, hold) = creation.place;
        let created = Created { id: creation.run.id, owned: true, created_at };
        self.shared.resident.fetch_add(1, Ordering::AcqRel);
        self.take_up(begun(creation.run, created_at), executor, hold);
        // Nobody waits any more when the caller was dropped.
        let _ = creation.reply.send(Ok(CreateOutcome::Created(created)));
    }

    fn take_up(&mut self, run: ClaimedRun, executor: ExecutorId, hold: Hold) {
        let id = run.id;
        let tag = Tag { run: id, stay: self.shared.stays.fetch_add(1, Ordering::Relaxed) };
        let Some(gate) = self.shared.gates.get(&run.queue).cloned() else {
            tracing::error!(run = %id, queue = run.queue, "claimed a run of a queue that isn't served");
            self.shared.resident.fetch_sub(1, Ordering::AcqRel);
            return;
        };
        if executor != self.shared.env.executor() {
            // Claimed in a life that is over: it isn't ours, and the queue's places were cleared.
            self.shared.resident.fetch_sub(1, Ordering::AcqRel);
            return;
        }
        if !self.closing && self.runs.contains_key(&id) {
            // It was given away, and the claim was faster than the answer that says so: a message has made a run that
            // hung up ready again, say.
            self.returning.insert(id, (run, executor, hold));
            return;
        }
        if self.closing {
            // It is handed over with everything else.
            self.shared.resident.fetch_sub(1, Ordering::AcqRel);
            self.shared.give_back(&gate, hold, 1);
            return;
        }
        seeded::log(&run);
        let (parent, inbox) = (run.parent.clone(), run.inbox.clone());
        match self.shared.counted(|| resident::load(&self.shared, self.index, tag, run)) {
            Ok(mut machine) => {
                self.shared.replays.fetch_add(1, Ordering::Relaxed);
                for message in self.early.remove(&id).map(|early| early.messages).unwrap_or_default() {
                    machine.deliver(message);
                }
                let resident = Resident::new(machine, executor, tag, gate, hold);
                self.runs.insert(id, resident);
                self.touch(id);
            }
            Err((reason, position)) => {
                let turn = refuse(id, position, parent.as_ref(), &inbox, reason);
                self.send(executor, tag, turn);
                self.shared.resident.fetch_sub(1, Ordering::AcqRel);
                self.shared.give_back(&gate, hold, 1);
            }
        }
    }

    fn committed(&mut self, tag: Tag, answer: CommitAnswer) {
        let Some(resident) = self.resident(tag) else { return };
        match answer {
            CommitAnswer::Done(_) if resident.leaving => self.leave(tag.run),
            CommitAnswer::Done(now) => {
                resident.machine.committed(now);
                self.touch(tag.run);
            }
            CommitAnswer::TooEarly(now) => {
                // Our estimate of the store's clock was ahead: try again when it is time.
                resident.machine.refused();
                resident.leaving = false;
                let at = resident.not_before.unwrap_or(now);
                self.timers.insert((at, tag.run));
                self.shared.clock.learn(now);
            }
            CommitAnswer::Gone => {
                tracing::warn!(run = %tag.run, "a run left this executor: it isn't ours any more");
                self.leave(tag.run);
            }
        }
    }

    fn deliver(&mut self, mail: Mail) {
        match self.runs.get_mut(&mail.run) {
            Some(resident) => {
                resident.machine.deliver(mail.message);
                self.touch(mail.run);
            }
            None => {
                let now = self.shared.clock.local();
                let early = self.early.entry(mail.run).or_insert_with(|| Early { since: now, messages: Vec::new() });
                if early.messages.iter().all(|m| m.seq != mail.message.seq) {
                    early.messages.push(mail.message);
                }
                if self.early.len() > 1_000 {
                    self.early.retain(|_, early| now.duration_since(early.since) < Duration::from_secs(5));
                }
            }
        }
    }

    fn fire_timers(&mut self) {
        let now = self.shared.clock.now();
        while let Some(&(at, run)) = self.timers.first() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            if let Some(resident) = self.runs.get_mut(&run) {
                resident.wake_at = None;
            }
            self.touch(run);
        }
    }

    fn hang_up_the_idle(&mut self) {
        let now = self.shared.clock.local();
        while let Some(&(since, run)) = self.idle.first() {
            if now < since + self.shared.linger {
                break;
            }
            self.hang_up(run);
        }
    }

    fn evict(&mut self, count: usize) {
        let oldest: Vec<RunId> = self.idle.iter().take(count).map(|&(_, run)| run).collect();
        for run in oldest {
            self.hang_up(run);
        }
    }

    fn hang_up(&mut self, run: RunId) {
        self.not_idle(run);
        let Some(resident) = self.runs.get_mut(&run) else { return };
        if resident.dirty || resident.leaving || resident.machine.is_committing() {
            return;
        }
        let mut turn = Turn::new(run, resident.machine.position());
        turn.then = seeded::hang_up(resident.machine.seen(), Wake { at: resident.wake_at, after: None });
        resident.leaving = true;
        let (executor, tag) = (resident.executor, resident.tag);
        self.send(executor, tag, turn);
    }

    fn not_idle(&mut self, run: RunId) {
        if let Some(since) = self.runs.get_mut(&run).and_then(|resident| resident.idle_since.take()) {
            self.idle.remove(&(since, run));
            self.shared.idle.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn drive_dirty(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty).into_iter();
        self.out.reserve(dirty.len());
        while let Some(run) = dirty.next() {
            // Before each of them: driving many takes its time.
            if self.shared.lease_in_doubt() {
                // Others may have these runs by now, and their next steps as well. It is being found out.
                self.dirty.push(run);
                self.dirty.extend(dirty);
                return;
            }
            self.not_idle(run);
            let Some(resident) = self.runs.get_mut(&run) else { continue };
            resident.dirty = false;
            if resident.leaving {
                continue;
            }
            if resident.place.is_none() && !resident.queued {
                resident.place = resident.gate.enter((self.index, resident.tag));
                resident.queued = resident.place.is_none();
            }
            if resident.place.is_some() && !self.closing {
                self.drive(run);
            }
        }
    }

    fn drive(&mut self, run: RunId) {
        let now = self.shared.clock.now();
        let Some(resident) = self.runs.get_mut(&run) else { return };
        let machine = &mut resident.machine;
        let next = self.shared.watchdog.watch(self.index, run, machine, |machine| machine.drive(now));
        let linger = self.shared.linger;
        let too_far = |wake: &Wake| {
            let at = wake.at.map(|at| (at - now).to_std().unwrap_or_default());
            at.into_iter().chain(wake.after).min().is_some_and(|wait| wait > linger)
        };
        match next {
            Next::Running => {
                // A timer may end while bodies run. What is due and not done waits for a commit that is under way.
                let due = resident.machine.next_due().filter(|at| *at > now && !resident.machine.is_committing());
                if let (Some(at), true) = (due, due != resident.wake_at) {
                    if let Some(old) = resident.wake_at.replace(at) {
                        self.timers.remove(&(old, run));
                    }
                    self.timers.insert((at, run));
                }
            }
            Next::Commit { mut turn, idle } => {
                if let (Then::Keep, Some(wake)) = (&turn.then, idle.filter(too_far)) {
                    turn.then = seeded::hang_up(resident.machine.seen(), wake);
                }
                resident.leaving = !matches!(turn.then, Then::Keep);
                resident.not_before = turn.not_before;
                let (executor, tag) = (resident.executor, resident.tag);
                self.send(executor, tag, *turn);
            }
            Next::Blocked(wake) => {
                let place = resident.place.take();
                let gate = resident.gate.clone();
                if let Some(old) = resident.wake_at.take() {
                    self.timers.remove(&(old, run));
                }
                resident.wake_at = wake.at;
                if too_far(&wake) {
                    self.hang_up(run);
                } else {
                    let since = self.shared.clock.local();
                    resident.idle_since = Some(since);
                    self.idle.insert((since, run));
                    self.shared.idle.fetch_add(1, Ordering::AcqRel);
                    if let Some(at) = wake.at {
                        self.timers.insert((at, run));
                    }
                }
                if let Some(hold) = place {
                    self.shared.give_back(&gate, hold, 1);
                }
            }
        }
    }

    /// Removes a run from memory, and gives its place back.
    fn leave(&mut self, run: RunId) {
        self.not_idle(run);
        let Some(resident) = self.runs.remove(&run) else { return };
        if let Some(at) = resident.wake_at {
            self.timers.remove(&(at, run));
        }
        self.shared.resident.fetch_sub(1, Ordering::AcqRel);
        match resident.place {
            Some(hold) => self.shared.give_back(&resident.gate, hold, 1),
            None => self.shared.made_room(),
        }
        if let Some((run, executor, hold)) = self.returning.remove(&run) {
            self.take_up(run, executor, hold);
        }
    }

    fn drop_all(&mut self) {
        for (run, _, hold) in std::mem::take(&mut self.returning).into_values() {
            self.shared.resident.fetch_sub(1, Ordering::AcqRel);
            if let Some(gate) = self.shared.gates.get(&run.queue) {
                self.shared.give_back(gate, hold, 1);
            }
        }
        let mut runs: Vec<RunId> = self.runs.keys().copied().collect();
        // Who waits for a place gets it in this order: not in that of the hashes, so that a simulation repeats itself.
        runs.sort_unstable();
        for run in runs {
            self.leave(run);
        }
        self.early.clear();
        self.timers.clear();
        self.dirty.clear();
        self.out.clear();
    }

    fn finish_closing(&mut self) {
        let Some(closing) = &mut self.closed else { return };
        let left = closing.left.take();
        // A commit that is under way may wait for what the others hold: a transaction on a file keeps everybody out.
        let bystanders = self.runs.values().filter(|r| !r.machine.is_committing() && !r.leaving);
        // Those that wait for nothing come first.
        let mut bystanders: Vec<_> = bystanders.map(|r| (r.idle_since.is_some(), r.tag.run)).collect();
        bystanders.sort_unstable();
        let bystanders = bystanders.into_iter().map(|(_, run)| run);
        // The entry of a transaction isn't in its machine's hands any more.
        let in_transaction = |run: &RunId| self.runs.get(run).is_some_and(|r| r.machine.is_in_transaction());
        let (writing, free): (Vec<RunId>, Vec<RunId>) = bystanders.partition(in_transaction);
        free.iter().chain(&writing).for_each(|run| self.leave(*run));
        if let Some(left) = left {
            let _ = left.send(free);
        }
        // A run may be on its way to us.
        if self.runs.is_empty() && !self.lane.is_busy() {
            self.drop_all();
            self.lane.close();
            if let Some(closing) = self.closed.take() {
                let _ = closing.done.send(());
            }
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.drop_all();
    }
}
