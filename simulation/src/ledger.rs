//! The ledger: what happened, written down beside the store, and what of it may never happen.
//!
//! Everything the executors do to the store and every body that begins is told to it at once, in the one order that
//! there is; it compares with what the store holds at that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::FutureExt;
use tokio::time::Instant;
use workflow::store::{ListFilter, RunRecord, RunRef, Status, Store};
use workflow::{ExecutorId, MemoryStore, RunId, Timestamp};
use workflow_core::journal::{Entry, OpKey};

use crate::clock::VirtualClock;

/// Something that may never happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which invariant: its number in the list of all, or a word.
    pub invariant: &'static str,
    /// Of which run.
    pub run: Option<RunId>,
    /// What happened.
    pub what: String,
}

/// How often what happened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Calls of the store.
    pub calls: u64,
    /// Runs that were invoked, children included.
    pub programs: u64,
    /// Executors that were dropped where they stood.
    pub kills: u64,
    /// Of these, while a body was running.
    pub kills_in_bodies: u64,
    /// Executors whose calls were held back for longer than a lease.
    pub freezes: u64,
    /// Executors that were shut down in good order while there was work.
    pub shutdowns: u64,
    /// Lives of executors.
    pub lives: u64,
    /// Calls that failed without effect.
    pub injected_before: u64,
    /// Calls that had an effect, but whose answer was lost.
    pub injected_after: u64,
    /// Commits whose outcome the executor wasn't told.
    pub unknown_commits: u64,
    /// Commits that the store refused because the lease was lost.
    pub fenced: u64,
    /// Turns that were refused because a timer wasn't due by the store's clock.
    pub too_early: u64,
    /// Bodies of steps that began.
    pub bodies: u64,
    /// Virtual time that passed, in milliseconds.
    pub virtual_ms: u64,
}

impl Counts {
    /// Adds those of another simulation.
    pub fn add(&mut self, other: &Counts) {
        self.calls += other.calls;
        self.programs += other.programs;
        self.kills += other.kills;
        self.kills_in_bodies += other.kills_in_bodies;
        self.freezes += other.freezes;
        self.shutdowns += other.shutdowns;
        self.lives += other.lives;
        self.injected_before += other.injected_before;
        self.injected_after += other.injected_after;
        self.unknown_commits += other.unknown_commits;
        self.fenced += other.fenced;
        self.too_early += other.too_early;
        self.bodies += other.bodies;
        self.virtual_ms += other.virtual_ms;
    }
}

/// Shared by everything in one simulation.
#[derive(Clone)]
pub struct Ledger {
    /// The store itself, without faults, to look at.
    pub store: MemoryStore,
    /// Its clock.
    pub clock: VirtualClock,
    begin: Instant,
    book: Arc<Mutex<Book>>,
}

/// What is written down.
#[derive(Default)]
pub struct Book {
    /// How often what happened.
    pub counts: Counts,
    /// What may never happen and did.
    pub violations: Vec<Violation>,
    /// A line for everything that happened, where it is kept.
    pub log: Option<String>,
    /// The journals as they were last seen.
    pub journals: BTreeMap<RunId, Vec<Entry>>,
    /// How runs have ended.
    pub ended: BTreeMap<RunId, (Status, Vec<u8>)>,
    /// The events of each topic in the order in which they were emitted: the payloads, by the id of each event.
    pub topics: BTreeMap<String, Vec<Vec<u8>>>,
    pub(crate) emitted: BTreeSet<String>,
    /// Events from outside that were acknowledged: their topics and values.
    pub(crate) acknowledged: Vec<(u8, u64)>,
    /// Until when each executor's lease was promised.
    pub(crate) leases: BTreeMap<ExecutorId, Timestamp>,
    /// Attempts that began, by the life in which they did.
    pub(crate) begun: BTreeSet<(RunId, OpKey, u32, ExecutorId)>,
    /// Runs whose bodies are running, by executor and queue.
    pub(crate) running: BTreeMap<(usize, String), BTreeMap<RunId, u32>>,
    /// Runs whose body was running when their executor was killed, with when that was.
    bereft: BTreeMap<RunId, u64>,
    /// How long it took until a body of such a run began again, in virtual milliseconds.
    pub recoveries: Vec<u64>,
    /// Runs that somebody asked to end.
    pub cancelled: BTreeSet<RunId>,
    /// Writes whose callers have been told that nobody knows: how many, by run.
    under_way: BTreeMap<RunId, u32>,
    /// Whether executors' estimates of the store's time are never ahead of it.
    pub(crate) true_clock: bool,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(clock_rate: u32, keep_log: bool) -> Self {
        let log = keep_log.then(String::new);
        let book = Book { log, true_clock: clock_rate == 1_000, ..Book::default() };
        let clock = VirtualClock::new(clock_rate);
        let store = MemoryStore::new(clock.clone());
        Self { store, clock, begin: Instant::now(), book: Arc::new(Mutex::new(book)) }
    }

    /// What is written down.
    pub fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line to the log.
    pub fn log(&self, who: &str, what: impl FnOnce() -> String) {
        if let Some(log) = &mut self.book().log {
            let ms = self.begin.elapsed().as_millis();
            // Writing to a string never fails.
            let _ = writeln!(log, "{ms:>6} {who:<8} {}", what());
        }
    }

    /// Something happened that never may.
    pub fn violation(&self, invariant: &'static str, run: Option<RunId>, what: String) {
        self.log("ledger", || {
            let run = run.map(|run| format!(" {run}")).unwrap_or_default();
            format!("VIOLATION {invariant}{run}: {what}")
        });
        let mut book = self.book();
        if book.violations.len() < 20 {
            book.violations.push(Violation { invariant, run, what });
        }
    }

    /// An executor is dropped where it stands.
    pub(crate) fn killed(&self, executor: usize) {
        let now = self.elapsed_ms();
        let mut book = self.book();
        let running = book.running.iter().filter(|((of, _), _)| *of == executor);
        let bereft: Vec<RunId> = running.flat_map(|(_, runs)| runs.keys().copied()).collect();
        book.counts.kills += 1;
        book.counts.kills_in_bodies += u64::from(!bereft.is_empty());
        book.bereft.extend(bereft.into_iter().map(|run| (run, now)));
    }

    /// A body of a run begins.
    pub(crate) fn begins(&self, run: RunId) {
        let now = self.elapsed_ms();
        let mut book = self.book();
        book.counts.bodies += 1;
        if let Some(since) = book.bereft.remove(&run) {
            book.recoveries.push(now - since);
        }
    }

    /// How long the simulation has run, in virtual milliseconds.
    pub fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// A run as it is stored.
    pub fn record(&self, run: RunId) -> Option<RunRecord> {
        // The memory store never waits.
        let found = self.store.find(&[RunRef::Id(run)]).now_or_never();
        found.and_then(Result::ok).and_then(|runs| runs.into_iter().next().flatten())
    }

    /// Its journal as it is stored.
    pub fn journal(&self, run: RunId) -> Vec<Entry> {
        self.store.journal(run, 0, usize::MAX).now_or_never().and_then(Result::ok).unwrap_or_default()
    }

    /// All runs, newest first.
    pub fn runs(&self) -> Vec<RunRecord> {
        let filter = ListFilter { limit: 1_000, ..ListFilter::default() };
        self.store.list(&filter).now_or_never().and_then(Result::ok).unwrap_or_default()
    }
}

/// Writes of these runs are under way until it is dropped.
pub(crate) struct UnderWay {
    ledger: Ledger,
    runs: Vec<RunId>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut book = self.ledger.book();
        for run in &self.runs {
            if let Some(writes) = book.under_way.get_mut(run) {
                *writes = writes.saturating_sub(1);
            }
        }
    }
}

impl Ledger {
    /// The store is still at it, though nobody waits for its answer.
    pub(crate) fn write_under_way(&self, runs: Vec<RunId>) -> UnderWay {
        let mut book = self.book();
        for run in &runs {
            *book.under_way.entry(*run).or_default() += 1;
        }
        drop(book);
        UnderWay { ledger: self.clone(), runs }
    }

    /// Waits as the store does before it says whether an entry is there.
    #[expect(clippy::disallowed_methods, reason = "virtual time")]
    pub(crate) async fn no_write_under_way(&self, run: RunId) {
        while self.book().under_way.get(&run).is_some_and(|writes| *writes > 0) {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}
