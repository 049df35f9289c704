//! The memory store: a real [`Store`] without a database, for tests and simulations on a clock of one's own.
//!
//! Its state is a few ordered maps behind one mutex, and each method is one critical section. Nothing depends on
//! hashing, randomness or threads: the same calls in the same order on the same clock give the same answers, byte for
//! byte. No method awaits anything, and sinks are called after the mutex is released.

mod claim;
mod clock;
mod commit;
mod create;
mod event;
mod inbox;
mod index;
mod lease;
mod read;
mod state;
mod sweep;
mod tx;
mod watch;

use std::any::Any;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

pub use clock::{Clock, ManualClock, SystemClock};

use crate::ids::{ExecutorId, RunId, Timestamp};
use crate::journal::Entry;
use crate::store::{
    Claim, Claimed, Committed, CreateOutcome, Heartbeat, ListFilter, Mail, NewEvent, NewMessage, NewRun, Rescued,
    Resume, RunRecord, RunRef, SendOutcome, Store, StoreError, Swept, Turn, WakeSink, WatchGuard,
};
use state::State;
use tx::Tx;
use watch::Watchers;

/// A store in memory. Clones are handles on the same store.
///
/// ```
/// use workflow_core::memory::{ManualClock, MemoryStore};
///
/// let clock = ManualClock::new();
/// let store = MemoryStore::new(clock.clone());
/// ```
#[derive(Clone)]
pub struct MemoryStore {
    inner: Arc<Inner>,
}

struct Inner {
    clock: Box<dyn Clock>,
    state: Mutex<State>,
    watchers: Watchers,
}

impl MemoryStore {
    /// An empty store that takes the time from `clock`.
    pub fn new(clock: impl Clock) -> Self {
        let state = Mutex::new(State::default());
        Self { inner: Arc::new(Inner { clock: Box::new(clock), state, watchers: Watchers::default() }) }
    }

    /// Runs `work` with the state to itself, and wakes whom it woke.
    fn transact<T>(&self, work: impl FnOnce(&mut Tx<'_>) -> T) -> T {
        let (answer, wakeups) = {
            // A panic inside would be a bug of this store; the data it left is still the best there is.
            let mut state = self.inner.state.lock().unwrap_or_else(PoisonError::into_inner);
            let mut tx = Tx::begin(&mut state, self.inner.clock.now());
            let answer = work(&mut tx);
            (answer, tx.wakeups)
        };
        self.inner.watchers.wake(wakeups);
        answer
    }
}

impl Default for MemoryStore {
    /// An empty store on the clock of the machine.
    fn default() -> Self {
        Self::new(SystemClock)
    }
}

impl std::fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryStore").field("clock", &self.inner.clock).finish_non_exhaustive()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn register(&self, executor: ExecutorId, name: &str, lease: Duration) -> Result<Timestamp, StoreError> {
        self.transact(|tx| tx.register(executor, name, lease))
    }

    async fn heartbeat(&self, executor: ExecutorId, lease: Duration) -> Result<Heartbeat, StoreError> {
        self.transact(|tx| tx.heartbeat(executor, lease))
    }

    async fn hand_over(&self, executor: ExecutorId, runs: &[RunId]) -> Result<u64, StoreError> {
        Ok(self.transact(|tx| tx.hand_over(executor, runs)))
    }

    async fn close(&self, executor: ExecutorId) -> Result<u64, StoreError> {
        Ok(self.transact(|tx| tx.close(executor)))
    }

    async fn rescue(&self, max_crashes: u32, limit: usize) -> Result<Rescued, StoreError> {
        Ok(self.transact(|tx| tx.rescue(max_crashes, limit)))
    }

    async fn create(&self, runs: &[NewRun], atomic: bool) -> Result<Vec<CreateOutcome>, StoreError> {
        self.transact(|tx| tx.create(runs, atomic))
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        self.transact(|tx| tx.claim(claim))
    }

    async fn commit(&self, executor: ExecutorId, turns: &[Turn]) -> Result<Committed, StoreError> {
        self.transact(|tx| tx.commit(executor, turns))
    }

    async fn landed(&self, run: RunId, position: u32) -> Result<bool, StoreError> {
        Ok(self.transact(|tx| tx.landed(run, position)))
    }

    async fn deliver(
        &self,
        sends: &[NewMessage],
        emits: &[NewEvent],
        max_buffered: u64,
    ) -> Result<Vec<SendOutcome>, StoreError> {
        self.transact(|tx| tx.deliver(sends, emits, max_buffered))
    }

    async fn mail(&self, executor: ExecutorId, limit: usize) -> Result<Vec<Mail>, StoreError> {
        Ok(self.transact(|tx| tx.mail(executor, limit)))
    }

    async fn find(&self, refs: &[RunRef]) -> Result<Vec<Option<RunRecord>>, StoreError> {
        Ok(self.transact(|tx| refs.iter().map(|reference| tx.find(reference)).collect()))
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<RunRecord>, StoreError> {
        Ok(self.transact(|tx| tx.list(filter)))
    }

    async fn journal(&self, run: RunId, from: u32, limit: usize) -> Result<Vec<Entry>, StoreError> {
        Ok(self.transact(|tx| tx.journal(run, from, limit)))
    }

    async fn resume(&self, which: &Resume) -> Result<u64, StoreError> {
        Ok(self.transact(|tx| tx.resume(which)))
    }

    async fn sweep(&self, limit: usize) -> Result<Swept, StoreError> {
        Ok(self.transact(|tx| tx.sweep(limit)))
    }

    fn watch(&self, sink: WakeSink) -> WatchGuard {
        self.inner.watchers.add(sink)
    }

    async fn shutdown(&self) {}

    fn as_any(&self) -> &dyn Any {
        self
    }
}
