//! What drivers are told, and what they share with the other tasks of the executor.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use workflow_core::env::Notice;
use workflow_core::store::{ClaimedRun, Mail, NewRun, Turn};
use workflow_core::{ExecutorId, RunId, StoreError, Timestamp};

use super::clock::StoreClock;
use super::commit::Committer;
use super::ends::Ends;
use super::env::ProcessEnv;
use super::gate::{Gate, Hold, Waiter};
use super::lone::Creation;
use super::options::Registry;
use super::term::{Asked, Term};
use super::watchdog::Watchdog;
use crate::seeded::{self, Bug};

/// One stay of a run in this executor: answers to an earlier stay are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Tag {
    pub(crate) run: RunId,
    pub(crate) stay: u64,
}

/// What a driver is told.
pub(crate) enum Msg {
    /// Take a run up that was claimed in this life of the executor; its place in its queue is taken.
    Load(Box<ClaimedRun>, ExecutorId, Hold),
    /// Create a run, and begin it.
    Create(Box<Creation>),
    /// It is ours since then. Else it has to be created with others, and it may be that nobody knows whether it was here.
    Created(Box<Creation>, Result<Timestamp, Option<StoreError>>),
    /// Turns were committed or refused.
    Committed(Vec<(Tag, CommitAnswer)>),
    /// Messages for runs that may be here.
    Mail(Vec<Mail>),
    /// A body can go on, or something foreign woke a workflow.
    Notice(Tag, Notice),
    /// A place in its queue was given to a run.
    Place(Tag, Arc<Gate>, Hold),
    /// The lease lasts: go on with what was put off.
    Reassured,
    /// Hang up so many waiting runs: memory is needed.
    Evict(usize),
    /// Begin nothing new, and drop everything.
    Close(Closing),
    /// The lease is lost: drop everything at once.
    DropAll(tokio::sync::oneshot::Sender<()>),
    /// The executor is gone.
    Stop,
}

/// What a driver says when it is told to close.
pub(crate) struct Closing {
    /// At once: runs that were dropped and that nothing is written of any more.
    pub(crate) left: Option<tokio::sync::oneshot::Sender<Vec<RunId>>>,
    /// That no commit is under way, and everything was dropped.
    pub(crate) done: tokio::sync::oneshot::Sender<()>,
}

/// What became of a turn.
#[derive(Debug, Clone, Copy)]
pub(crate) enum CommitAnswer {
    Done(Timestamp),
    TooEarly(Timestamp),
    /// The run isn't ours any more, or its turn can't be written: it leaves memory.
    Gone,
}

/// A turn on its way to the committer.
pub(crate) struct Outgoing {
    pub(crate) driver: usize,
    /// The life in which it was made: it is void in any other.
    pub(crate) executor: ExecutorId,
    pub(crate) tag: Tag,
    pub(crate) turn: Turn,
}

/// What all drivers share.
pub(crate) struct Shared {
    pub(crate) env: Arc<ProcessEnv>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Arc<StoreClock>,
    pub(crate) gates: HashMap<String, Arc<Gate>>,
    pub(crate) linger: Duration,
    /// Which drivers wait for something to do; empty when they have no way to the store of their own.
    pub(crate) waiting: Vec<AtomicBool>,
    /// For how long a driver stays awake for a lone commit.
    pub(crate) awake: Duration,
    /// Until when the lease lasts for certain.
    pub(crate) term: Term,
    /// Called when that is soon.
    pub(crate) doubted: tokio::sync::Notify,
    /// Runs in memory, over all drivers.
    pub(crate) resident: AtomicUsize,
    /// Of these, waiting ones.
    pub(crate) idle: AtomicUsize,
    /// How often a run's code was run from its beginning.
    pub(crate) replays: std::sync::atomic::AtomicU64,
    /// Called when there is room again that a claim had lacked.
    pub(crate) room: tokio::sync::Notify,
    /// Whether the last claim was kept from looking at everything by a lack of room.
    pub(crate) lacks_room: AtomicBool,
    /// Called when there may be mail.
    pub(crate) letters: tokio::sync::Notify,
    pub(crate) commits: Committer,
    pub(crate) ends: Ends,
    pub(crate) drivers: std::sync::OnceLock<Vec<UnboundedSender<Msg>>>,
    pub(crate) stays: std::sync::atomic::AtomicU64,
    pub(crate) watchdog: Watchdog,
}

impl Shared {
    /// A call to the store for this executor is about to be sent.
    pub(crate) fn asked(&self, executor: ExecutorId) -> Asked {
        self.term.asked(executor, self.clock.local())
    }

    /// Whether the lease may have run out: a process that was frozen or is cut off must begin nothing before it knows.
    pub(crate) fn lease_in_doubt(&self) -> bool {
        let left = self.rest_of_lease();
        if left <= self.term.notice().map_or(Duration::ZERO, |notice| notice / 2) {
            self.doubted.notify_one();
        }
        left.is_zero() && !seeded::is(Bug::NoDoubt)
    }

    /// Whether nothing is left of the lease that was heard of last.
    pub(crate) fn lease_is_over(&self) -> bool {
        self.rest_of_lease().is_zero()
    }

    fn rest_of_lease(&self) -> Duration {
        self.term.rest(self.clock.local())
    }

    /// How many runs in memory are active.
    pub(crate) fn active(&self) -> usize {
        self.resident.load(Ordering::Acquire).saturating_sub(self.idle.load(Ordering::Acquire))
    }

    /// Whether no more than one run in memory is active.
    pub(crate) fn is_alone(&self) -> bool {
        self.active() <= 1
    }

    /// Whether the driver of a new run is likely to create it at once: it waits for something to do, and it may be about to
    /// hear that the only active run has ended.
    pub(crate) fn has_time_for(&self, run: &NewRun) -> bool {
        let waits = || self.waiting.get(self.driver_of(run.id)).is_some_and(|waits| waits.load(Ordering::Acquire));
        self.is_alone() && self.commits.is_idle() && Creation::fits_a_lane(run) && waits()
    }

    /// The driver of a run.
    pub(crate) fn driver_of(&self, run: RunId) -> usize {
        let count = self.drivers.get().map_or(1, Vec::len);
        // The low bits of a version 7 UUID are random.
        (run.0.as_u128() as usize) % count
    }

    pub(crate) fn tell(&self, driver: usize, msg: Msg) {
        if let Some(sender) = self.drivers.get().and_then(|drivers| drivers.get(driver)) {
            // A driver that is gone has dropped its runs.
            let _ = sender.send(msg);
        }
    }

    /// Does something with a run that is counted as resident and isn't at its driver yet: it is counted no more, should that
    /// panic.
    pub(crate) fn counted<T>(&self, work: impl FnOnce() -> T) -> T {
        struct Discount<'a>(&'a AtomicUsize);
        impl Drop for Discount<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::AcqRel);
            }
        }
        let discount = Discount(&self.resident);
        let done = work();
        std::mem::forget(discount);
        done
    }

    pub(crate) fn load(&self, run: ClaimedRun, executor: ExecutorId, hold: Hold) {
        self.resident.fetch_add(1, Ordering::AcqRel);
        self.tell(self.driver_of(run.id), Msg::Load(Box::new(run), executor, hold));
    }

    pub(crate) fn mail(&self, mail: Vec<Mail>) {
        let mut by_driver: BTreeMap<usize, Vec<Mail>> = BTreeMap::new();
        for item in mail {
            by_driver.entry(self.driver_of(item.run)).or_default().push(item);
        }
        for (driver, mail) in by_driver {
            self.tell(driver, Msg::Mail(mail));
        }
    }

    /// Gives back places that a claim didn't need: no reason to claim again.
    pub(crate) fn give_back_quietly(&self, gate: &Arc<Gate>, hold: Hold, count: usize) {
        for (driver, tag) in gate.give_back(hold, count) {
            self.tell(driver, Msg::Place(tag, gate.clone(), hold));
        }
    }

    /// There is room for a run: a reason to claim, when the last claim lacked it.
    pub(crate) fn made_room(&self) {
        if self.lacks_room.load(Ordering::Acquire) {
            self.room.notify_one();
        }
    }

    /// Hands freed places to those who wait for one, and else to the next claim.
    pub(crate) fn give_back(&self, gate: &Arc<Gate>, hold: Hold, count: usize) {
        let waiters: Vec<Waiter> = gate.give_back(hold, count);
        if waiters.len() < count {
            self.made_room();
        }
        for (driver, tag) in waiters {
            self.tell(driver, Msg::Place(tag, gate.clone(), hold));
        }
    }
}
