//! A store that fails where it is told to: before a call is applied, or after it, when only the answer is lost.

#![allow(dead_code, reason = "each crate uses a part of it")]

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use workflow::store::{
    Claim, Claimed, Committed, CreateOutcome, Heartbeat, Lane, ListFilter, Mail, NewEvent, NewMessage, NewRun, Rescued,
    Resume, RunRecord, RunRef, SendOutcome, Swept, Then, Turn, WakeSink, WatchGuard,
};
use workflow::{ExecutorId, RunId, Store, StoreError, Timestamp};
use workflow_core::journal::Entry;

/// A method of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    Register,
    Heartbeat,
    LeaseLeft,
    HandOver,
    Close,
    Rescue,
    Create,
    Claim,
    Commit,
    Landed,
    Deliver,
    Mail,
    Find,
    List,
    Journal,
    Resume,
    Sweep,
}

impl Call {
    /// Those that every store has.
    pub const ALL: [Call; 16] = [
        Call::Register,
        Call::Heartbeat,
        Call::HandOver,
        Call::Close,
        Call::Rescue,
        Call::Create,
        Call::Claim,
        Call::Commit,
        Call::Landed,
        Call::Deliver,
        Call::Mail,
        Call::Find,
        Call::List,
        Call::Journal,
        Call::Resume,
        Call::Sweep,
    ];
}

/// A kind of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    Unavailable,
    Contention,
    Unknown,
    /// The server refuses the statement: not worth a retry, says its code.
    Unusable,
}

impl Error {
    fn make(self) -> StoreError {
        let reason = "injected".to_owned();
        match self {
            Error::Unavailable => StoreError::Unavailable(reason),
            Error::Contention => StoreError::Contention(reason),
            Error::Unknown => StoreError::Unknown(reason),
            Error::Unusable => StoreError::Unusable(reason),
        }
    }
}

/// One call.
#[derive(Debug, Clone, Copy)]
pub struct Site {
    pub call: Call,
    /// The how-manieth of its kind, from 1.
    pub nth: u64,
    /// Whether it is a commit that gives a run away to wait.
    pub hangs_up: bool,
    /// Whether it is made on a lane.
    pub on_lane: bool,
}

/// What becomes of a call.
#[derive(Debug, Clone)]
pub enum Verdict {
    Pass,
    /// Not applied.
    Before(Error),
    /// Applied, and the answer is lost.
    After(Error),
    /// Applied, and the answer comes when there is a permit.
    Hold(Arc<Semaphore>),
}

type Judge = Box<dyn Fn(Site) -> Verdict + Send + Sync>;

/// A store over another one.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    notice: Option<Duration>,
    faults: Arc<Faults>,
}

/// What becomes of calls.
struct Faults {
    judge: Judge,
    counts: Mutex<HashMap<Call, u64>>,
}

impl std::fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyStore").field("inner", &self.inner).finish_non_exhaustive()
    }
}

impl FaultyStore {
    pub fn new(inner: Arc<dyn Store>, judge: impl Fn(Site) -> Verdict + Send + Sync + 'static) -> Arc<Self> {
        let notice = inner.notice();
        Self::with_notice(inner, notice, judge)
    }

    /// With another notice than that of `inner`.
    pub fn with_notice(
        inner: Arc<dyn Store>,
        notice: Option<Duration>,
        judge: impl Fn(Site) -> Verdict + Send + Sync + 'static,
    ) -> Arc<Self> {
        let faults = Faults { judge: Box::new(judge), counts: Mutex::default() };
        Arc::new(Self { inner, notice, faults: Arc::new(faults) })
    }

    /// Fails one call.
    pub fn once(inner: Arc<dyn Store>, call: Call, nth: u64, verdict: Verdict) -> Arc<Self> {
        Self::new(inner, move |site| if site.call == call && site.nth == nth { verdict.clone() } else { Verdict::Pass })
    }

    async fn call<T>(&self, call: Call, work: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        self.faults.judged((call, false, false), work).await
    }
}

impl Faults {
    async fn judged<T>(
        &self,
        (call, hangs_up, on_lane): (Call, bool, bool),
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let nth = {
            let mut counts = self.counts.lock().expect("no panic holds it");
            let count = counts.entry(call).or_default();
            *count += 1;
            *count
        };
        match (self.judge)(Site { call, nth, hangs_up, on_lane }) {
            Verdict::Pass => work.await,
            Verdict::Before(error) => Err(error.make()),
            Verdict::After(error) => {
                // What it refused by itself was not applied, and is no lost answer.
                work.await?;
                Err(error.make())
            }
            Verdict::Hold(permits) => {
                let answer = work.await;
                permits.acquire().await.expect("open").forget();
                answer
            }
        }
    }
}

fn hang_up(turns: &[Turn]) -> bool {
    turns.iter().any(|turn| matches!(turn.then, Then::HangUp { .. }))
}

/// A lane of the store, on which calls fail as they do in the store.
struct FaultyLane {
    inner: Box<dyn Lane>,
    faults: Arc<Faults>,
}

impl std::fmt::Debug for FaultyLane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FaultyLane").field("inner", &self.inner).finish_non_exhaustive()
    }
}

#[async_trait]
impl Lane for FaultyLane {
    fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    async fn connect(&mut self) {
        self.inner.connect().await;
    }

    async fn commit(&mut self, executor: ExecutorId, turn: &Turn) -> Result<Option<Committed>, StoreError> {
        let hangs_up = hang_up(std::slice::from_ref(turn));
        self.faults.judged((Call::Commit, hangs_up, true), self.inner.commit(executor, turn)).await
    }

    async fn create(&mut self, run: &NewRun) -> Result<Option<Timestamp>, StoreError> {
        self.faults.judged((Call::Create, false, true), self.inner.create(run)).await
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.inner.migrate().await
    }

    async fn register(&self, executor: ExecutorId, name: &str, lease: Duration) -> Result<Timestamp, StoreError> {
        self.call(Call::Register, self.inner.register(executor, name, lease)).await
    }

    async fn heartbeat(&self, executor: ExecutorId, lease: Duration) -> Result<Heartbeat, StoreError> {
        self.call(Call::Heartbeat, self.inner.heartbeat(executor, lease)).await
    }

    fn notice(&self) -> Option<Duration> {
        self.notice
    }

    async fn lease_left(&self, executor: ExecutorId, notice: Option<Duration>) -> Result<Duration, StoreError> {
        self.call(Call::LeaseLeft, self.inner.lease_left(executor, notice)).await
    }

    async fn hand_over(&self, executor: ExecutorId, runs: &[RunId]) -> Result<u64, StoreError> {
        self.call(Call::HandOver, self.inner.hand_over(executor, runs)).await
    }

    async fn close(&self, executor: ExecutorId) -> Result<u64, StoreError> {
        self.call(Call::Close, self.inner.close(executor)).await
    }

    async fn rescue(&self, max_crashes: u32, limit: usize) -> Result<Rescued, StoreError> {
        self.call(Call::Rescue, self.inner.rescue(max_crashes, limit)).await
    }

    async fn create(&self, runs: &[NewRun], atomic: bool) -> Result<Vec<CreateOutcome>, StoreError> {
        self.call(Call::Create, self.inner.create(runs, atomic)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        self.call(Call::Claim, self.inner.claim(claim)).await
    }

    async fn commit(&self, executor: ExecutorId, turns: &[Turn]) -> Result<Committed, StoreError> {
        self.faults.judged((Call::Commit, hang_up(turns), false), self.inner.commit(executor, turns)).await
    }

    fn lane(&self) -> Option<Box<dyn Lane>> {
        let inner = self.inner.lane()?;
        Some(Box::new(FaultyLane { inner, faults: self.faults.clone() }))
    }

    async fn landed(&self, run: RunId, position: u32) -> Result<bool, StoreError> {
        self.call(Call::Landed, self.inner.landed(run, position)).await
    }

    async fn deliver(
        &self,
        sends: &[NewMessage],
        emits: &[NewEvent],
        max_buffered: u64,
    ) -> Result<Vec<SendOutcome>, StoreError> {
        self.call(Call::Deliver, self.inner.deliver(sends, emits, max_buffered)).await
    }

    async fn mail(&self, executor: ExecutorId, limit: usize) -> Result<Vec<Mail>, StoreError> {
        self.call(Call::Mail, self.inner.mail(executor, limit)).await
    }

    async fn find(&self, refs: &[RunRef]) -> Result<Vec<Option<RunRecord>>, StoreError> {
        self.call(Call::Find, self.inner.find(refs)).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<RunRecord>, StoreError> {
        self.call(Call::List, self.inner.list(filter)).await
    }

    async fn journal(&self, run: RunId, from: u32, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.call(Call::Journal, self.inner.journal(run, from, limit)).await
    }

    async fn resume(&self, which: &Resume) -> Result<u64, StoreError> {
        self.call(Call::Resume, self.inner.resume(which)).await
    }

    async fn sweep(&self, limit: usize) -> Result<Swept, StoreError> {
        self.call(Call::Sweep, self.inner.sweep(limit)).await
    }

    fn watch(&self, sink: WakeSink) -> WatchGuard {
        self.inner.watch(sink)
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }

    fn as_any(&self) -> &dyn Any {
        self.inner.as_any()
    }
}
