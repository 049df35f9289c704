//! What an executor does to its store, told to the harness; and wake-ups that are lost, doubled and late.

use std::any::Any;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use workflow::store::{
    Claim, Claimed, Committed, CreateOutcome, Heartbeat, Lane, ListFilter, Mail, NewEvent, NewMessage, NewRun, Rescued,
    Resume, RunRecord, RunRef, SendOutcome, Swept, Turn, WakeSink, WatchGuard,
};
use workflow::{ExecutorId, RunId, Store, StoreError, Timestamp};
use workflow_core::journal::Entry;

use crate::rng::Rng;

/// What is told whenever a lease is lost.
pub type OnLost = Arc<dyn Fn() + Send + Sync>;

/// A store over another one, of which it changes only the wake-ups.
pub struct Spy {
    inner: Arc<dyn Store>,
    rng: Arc<Mutex<Rng>>,
    /// How many wake-ups in a hundred are disturbed.
    disturbed: u64,
    wakeups: Arc<AtomicU64>,
    lives: Arc<Lives>,
    /// Whether an executor lived here before.
    lived: AtomicBool,
}

impl std::fmt::Debug for Spy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spy").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl Spy {
    pub fn new(inner: Arc<dyn Store>, rng: Rng, disturbed: u64, on_lost: OnLost) -> Self {
        Self {
            inner,
            rng: Arc::new(Mutex::new(rng)),
            disturbed,
            wakeups: Arc::default(),
            lives: Arc::new(Lives { on_lost, closed: Mutex::default() }),
            lived: AtomicBool::new(false),
        }
    }

    /// How many wake-ups were disturbed so far.
    pub fn wakeups(&self) -> Arc<AtomicU64> {
        self.wakeups.clone()
    }

    fn see<T>(&self, writes: bool, result: Result<T, StoreError>) -> Result<T, StoreError> {
        self.lives.see(writes, result)
    }
}

/// The lives of a process's executor, and what becomes of them.
struct Lives {
    on_lost: OnLost,
    /// Those that ended themselves. Answers to what they had asked before come late, and are no loss: one would excuse a
    /// crash that was counted for it.
    closed: Mutex<HashSet<ExecutorId>>,
}

impl Lives {
    fn close(&self, executor: ExecutorId) {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner).insert(executor);
    }

    fn lost(&self) {
        println!("lease-lost");
        (self.on_lost)();
    }

    fn see<T>(&self, writes: bool, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::LeaseLost(executor)) = &result {
            println!("{}", if writes { "refused-write" } else { "lease-lost" });
            if !self.closed.lock().unwrap_or_else(PoisonError::into_inner).contains(executor) {
                (self.on_lost)();
            }
        }
        match &result {
            Err(StoreError::Unknown(_)) if writes => println!("unknown-commit"),
            Err(StoreError::Unusable(reason)) if reason.contains("read-only") => println!("read-only"),
            Err(StoreError::Unavailable(reason)) if reason.contains("(53100)") => println!("disk-full"),
            _ => {}
        }
        result
    }
}

/// A lane of the store.
struct SpyLane {
    inner: Box<dyn Lane>,
    lives: Arc<Lives>,
}

impl std::fmt::Debug for SpyLane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpyLane").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Lane for SpyLane {
    fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    async fn connect(&mut self) {
        self.inner.connect().await;
    }

    async fn commit(&mut self, executor: ExecutorId, turn: &Turn) -> Result<Option<Committed>, StoreError> {
        self.lives.see(true, self.inner.commit(executor, turn).await)
    }

    async fn create(&mut self, run: &NewRun) -> Result<Option<Timestamp>, StoreError> {
        self.lives.see(false, self.inner.create(run).await)
    }
}

#[async_trait]
impl Store for Spy {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.inner.migrate().await
    }

    async fn register(&self, executor: ExecutorId, name: &str, lease: Duration) -> Result<Timestamp, StoreError> {
        let registered = self.see(false, self.inner.register(executor, name, lease).await);
        if registered.is_ok() && self.lived.swap(true, Ordering::SeqCst) {
            // A new life: nobody may have told it that the old one is over, but it couldn't know better.
            self.lives.lost();
        }
        registered
    }

    async fn heartbeat(&self, executor: ExecutorId, lease: Duration) -> Result<Heartbeat, StoreError> {
        self.see(false, self.inner.heartbeat(executor, lease).await)
    }

    fn notice(&self) -> Option<Duration> {
        self.inner.notice()
    }

    async fn lease_left(&self, executor: ExecutorId, notice: Option<Duration>) -> Result<Duration, StoreError> {
        self.inner.lease_left(executor, notice).await
    }

    async fn hand_over(&self, executor: ExecutorId, runs: &[RunId]) -> Result<u64, StoreError> {
        self.see(false, self.inner.hand_over(executor, runs).await)
    }

    async fn close(&self, executor: ExecutorId) -> Result<u64, StoreError> {
        self.lives.close(executor);
        self.inner.close(executor).await
    }

    async fn rescue(&self, max_crashes: u32, limit: usize) -> Result<Rescued, StoreError> {
        self.see(false, self.inner.rescue(max_crashes, limit).await)
    }

    async fn create(&self, runs: &[NewRun], atomic: bool) -> Result<Vec<CreateOutcome>, StoreError> {
        self.see(false, self.inner.create(runs, atomic).await)
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        self.see(false, self.inner.claim(claim).await)
    }

    async fn commit(&self, executor: ExecutorId, turns: &[Turn]) -> Result<Committed, StoreError> {
        self.see(!turns.is_empty(), self.inner.commit(executor, turns).await)
    }

    fn lane(&self) -> Option<Box<dyn Lane>> {
        let inner = self.inner.lane()?;
        Some(Box::new(SpyLane { inner, lives: self.lives.clone() }))
    }

    async fn landed(&self, run: RunId, position: u32) -> Result<bool, StoreError> {
        self.inner.landed(run, position).await
    }

    async fn deliver(
        &self,
        sends: &[NewMessage],
        emits: &[NewEvent],
        max_buffered: u64,
    ) -> Result<Vec<SendOutcome>, StoreError> {
        self.inner.deliver(sends, emits, max_buffered).await
    }

    async fn mail(&self, executor: ExecutorId, limit: usize) -> Result<Vec<Mail>, StoreError> {
        self.inner.mail(executor, limit).await
    }

    async fn find(&self, refs: &[RunRef]) -> Result<Vec<Option<RunRecord>>, StoreError> {
        self.inner.find(refs).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<RunRecord>, StoreError> {
        self.inner.list(filter).await
    }

    async fn journal(&self, run: RunId, from: u32, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.inner.journal(run, from, limit).await
    }

    async fn resume(&self, which: &Resume) -> Result<u64, StoreError> {
        self.inner.resume(which).await
    }

    async fn sweep(&self, limit: usize) -> Result<Swept, StoreError> {
        self.inner.sweep(limit).await
    }

    fn watch(&self, sink: WakeSink) -> WatchGuard {
        if self.disturbed == 0 {
            return self.inner.watch(sink);
        }
        let (rng, disturbed, count) = (self.rng.clone(), self.disturbed, self.wakeups.clone());
        let runtime = tokio::runtime::Handle::current();
        self.inner.watch(Arc::new(move |wakeup| {
            let (hit, how, late) = {
                let mut rng = rng.lock().unwrap_or_else(PoisonError::into_inner);
                (rng.chance(disturbed), rng.below(3), rng.millis(100, 1_500))
            };
            if !hit {
                return sink(wakeup);
            }
            count.fetch_add(1, Ordering::Relaxed);
            match how {
                0 => {}
                1 => {
                    sink(wakeup.clone());
                    sink(wakeup);
                }
                _ => {
                    let sink = sink.clone();
                    runtime.spawn(async move {
                        tokio::time::sleep(late).await;
                        sink(wakeup);
                    });
                }
            }
        }))
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }

    fn as_any(&self) -> &dyn Any {
        self.inner.as_any()
    }
}
