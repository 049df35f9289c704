//! A store between executor and database that fails on demand: it loses wake-ups and refuses calls.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use workflow::store::{
    Claim, Claimed, Committed, CreateOutcome, Heartbeat, ListFilter, Mail, NewEvent, NewMessage, NewRun, Rescued,
    Resume, RunRecord, RunRef, SendOutcome, Swept, Turn, WakeSink, WatchGuard,
};
use workflow::{ExecutorId, RunId, Store, StoreError, Timestamp};
use workflow_core::journal::Entry;

/// A store that fails on demand. Clones are the same.
#[derive(Debug, Clone)]
pub struct Faulty {
    inner: Arc<dyn Store>,
    deaf: Arc<AtomicBool>,
    faults: Arc<Mutex<HashMap<&'static str, StoreError>>>,
    after: Arc<Mutex<HashMap<&'static str, StoreError>>>,
    late: Arc<Mutex<Duration>>,
    refused: Arc<Mutex<Option<RunId>>>,
    calls: Arc<Mutex<HashMap<&'static str, usize>>>,
}

impl Faulty {
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            deaf: Arc::default(),
            faults: Arc::default(),
            after: Arc::default(),
            late: Arc::default(),
            refused: Arc::default(),
            calls: Arc::default(),
        }
    }

    pub fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.clone())
    }

    /// Loses all wake-ups.
    pub fn deafen(&self) {
        self.deaf.store(true, Ordering::SeqCst);
    }

    /// Every call of `method` fails before it does anything, until mended.
    pub fn fail(&self, method: &'static str, error: StoreError) {
        self.faults.lock().expect("no panic").insert(method, error);
    }

    /// The next call of `method` fails after it has done everything.
    pub fn fail_after_once(&self, method: &'static str, error: StoreError) {
        self.after.lock().expect("no panic").insert(method, error);
    }

    /// Commits are answered so much later than they are done.
    pub fn answer_commits_after(&self, delay: Duration) {
        *self.late.lock().expect("no panic") = delay;
    }

    /// No entry of this run can be written, until mended.
    pub fn refuse_turns_of(&self, run: RunId) {
        *self.refused.lock().expect("no panic") = Some(run);
    }

    /// How often `method` was called, of those that can fail.
    pub fn calls(&self, method: &str) -> usize {
        self.calls.lock().expect("no panic").get(method).copied().unwrap_or(0)
    }

    pub fn mend(&self) {
        *self.refused.lock().expect("no panic") = None;
        self.faults.lock().expect("no panic").clear();
    }

    fn before(&self, method: &'static str) -> Result<(), StoreError> {
        *self.calls.lock().expect("no panic").entry(method).or_default() += 1;
        self.faults.lock().expect("no panic").get(method).cloned().map_or(Ok(()), Err)
    }

    fn after<T>(&self, method: &'static str, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let fault = result.is_ok().then(|| self.after.lock().expect("no panic").remove(method)).flatten();
        fault.map_or(result, Err)
    }
}

#[async_trait]
impl Store for Faulty {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.inner.migrate().await
    }

    async fn register(&self, executor: ExecutorId, name: &str, lease: Duration) -> Result<Timestamp, StoreError> {
        self.before("register")?;
        self.inner.register(executor, name, lease).await
    }

    async fn heartbeat(&self, executor: ExecutorId, lease: Duration) -> Result<Heartbeat, StoreError> {
        self.before("heartbeat")?;
        self.inner.heartbeat(executor, lease).await
    }

    fn notice(&self) -> Option<Duration> {
        self.inner.notice()
    }

    async fn lease_left(&self, executor: ExecutorId, notice: Option<Duration>) -> Result<Duration, StoreError> {
        self.inner.lease_left(executor, notice).await
    }

    async fn hand_over(&self, executor: ExecutorId, runs: &[RunId]) -> Result<u64, StoreError> {
        self.before("hand_over")?;
        self.inner.hand_over(executor, runs).await
    }

    async fn close(&self, executor: ExecutorId) -> Result<u64, StoreError> {
        self.before("close")?;
        self.inner.close(executor).await
    }

    async fn rescue(&self, max_crashes: u32, limit: usize) -> Result<Rescued, StoreError> {
        self.before("rescue")?;
        self.inner.rescue(max_crashes, limit).await
    }

    async fn create(&self, runs: &[NewRun], atomic: bool) -> Result<Vec<CreateOutcome>, StoreError> {
        self.before("create")?;
        let result = self.inner.create(runs, atomic).await;
        self.after("create", result)
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        self.before("claim")?;
        self.inner.claim(claim).await
    }

    #[expect(clippy::disallowed_methods, reason = "plays a slow network")]
    async fn commit(&self, executor: ExecutorId, turns: &[Turn]) -> Result<Committed, StoreError> {
        self.before("commit")?;
        let refused = *self.refused.lock().expect("no panic");
        if turns.iter().any(|turn| Some(turn.run) == refused && !turn.entries.is_empty()) {
            return Err(StoreError::Unusable("refused by hand".to_owned()));
        }
        let result = self.inner.commit(executor, turns).await;
        let late = *self.late.lock().expect("no panic");
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        self.after("commit", result)
    }

    async fn landed(&self, run: RunId, position: u32) -> Result<bool, StoreError> {
        self.before("landed")?;
        self.inner.landed(run, position).await
    }

    async fn deliver(
        &self,
        sends: &[NewMessage],
        emits: &[NewEvent],
        max_buffered: u64,
    ) -> Result<Vec<SendOutcome>, StoreError> {
        self.before("deliver")?;
        let result = self.inner.deliver(sends, emits, max_buffered).await;
        self.after("deliver", result)
    }

    async fn mail(&self, executor: ExecutorId, limit: usize) -> Result<Vec<Mail>, StoreError> {
        self.before("mail")?;
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
        let deaf = self.deaf.clone();
        self.inner.watch(Arc::new(move |wakeup| {
            if !deaf.load(Ordering::SeqCst) {
                sink(wakeup);
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
