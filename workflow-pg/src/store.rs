//! The store itself: what it is made of, and its methods by the file that does the work.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::pool::PoolConnection;
use sqlx::{PgPool, Postgres};
use workflow_core::journal::Entry;
use workflow_core::store::{
    Claim, Claimed, Committed, CreateOutcome, Heartbeat, Lane, ListFilter, Mail, NewEvent, NewMessage, NewRun, Rescued,
    Resume, RunRecord, RunRef, SendOutcome, Store, Swept, Turn, WakeSink, Wakeup, WatchGuard,
};
use workflow_core::{ExecutorId, RunId, StoreError, Timestamp};

use crate::doubt::Doubts;
use crate::lane::PgLane;
use crate::listen::Bell;
use crate::options::Capabilities;
use crate::pool::{Whose, acquire, lease_pool};
use crate::presence::{NOTICE, Presence};
use crate::session::{Limits, Slots};
use crate::wake::Wakes;
use crate::warm::{Warm, WarmConn};

/// Runs and journals in Postgres. Cloning is cheap and gives the same store.
#[derive(Debug, Clone)]
pub struct PgStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    /// Connections for leases alone.
    leases: PgPool,
    limits: Limits,
    /// Whether the pool's sessions have our settings.
    prepared: bool,
    slots: Slots,
    doubts: Doubts,
    bell: Bell,
    warm: Arc<Warm>,
}

impl PgStore {
    pub(crate) fn over(pool: PgPool, prepared: bool, capabilities: Capabilities) -> Self {
        let presence = (capabilities.listen && capabilities.presence).then(|| Arc::new(Presence::new()));
        let bell = Bell::start(&pool, capabilities, presence.clone());
        let leases = lease_pool(&pool, presence);
        let (slots, doubts, limits) = Default::default();
        let warm = Warm::new(&pool);
        Self { inner: Arc::new(Inner { pool, leases, limits, prepared, slots, doubts, bell, warm }) }
    }

    /// The pool, for statements of your own.
    pub fn pool(&self) -> &PgPool {
        &self.inner.pool
    }

    /// Sends a wake-up, here at once and to other processes soon: after [`create_in`](crate::create_in) or
    /// [`emit_in`](crate::emit_in), when your transaction is committed. Nothing is lost without, it only takes until the
    /// next poll.
    pub fn wake(&self, wakeup: Wakeup) {
        let mut wakes = Wakes::default();
        wakes.add(wakeup);
        self.ring(wakes);
    }

    pub(crate) fn has_prepared_sessions(&self) -> bool {
        self.inner.prepared
    }

    pub(crate) fn whose(&self) -> Whose {
        if self.has_prepared_sessions() { Whose::Ours } else { Whose::Theirs }
    }

    /// A connection of the pool.
    pub(crate) async fn acquire(&self) -> Result<PoolConnection<Postgres>, StoreError> {
        acquire(self.pool(), self.whose()).await
    }

    /// A connection for one statement, at best the one that was used last.
    pub(crate) async fn warm(&self) -> Result<WarmConn<'_>, StoreError> {
        self.inner.warm.take(&self.inner.pool, self.whose()).await
    }

    /// Keeps an idle connection of the pool for the next statement.
    pub(crate) fn keep_at_hand(&self, conn: PoolConnection<Postgres>) {
        self.inner.warm.put(conn);
    }

    pub(crate) fn leases(&self) -> &PgPool {
        &self.inner.leases
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(crate) fn slots(&self) -> &Slots {
        &self.inner.slots
    }

    pub(crate) fn doubts(&self) -> &Doubts {
        &self.inner.doubts
    }

    pub(crate) fn presence(&self) -> Option<&Presence> {
        self.inner.bell.presence()
    }

    pub(crate) fn ring(&self, wakes: Wakes) {
        self.inner.bell.ring(wakes);
    }
}

#[async_trait]
impl Store for PgStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.migrate_schema().await
    }

    async fn register(&self, executor: ExecutorId, name: &str, lease: Duration) -> Result<Timestamp, StoreError> {
        self.register_executor(executor, name, lease).await
    }

    async fn heartbeat(&self, executor: ExecutorId, lease: Duration) -> Result<Heartbeat, StoreError> {
        self.renew(executor, lease).await
    }

    fn notice(&self) -> Option<Duration> {
        self.presence().map(|_| NOTICE)
    }

    async fn lease_left(&self, executor: ExecutorId, notice: Option<Duration>) -> Result<Duration, StoreError> {
        self.rest_of_lease(executor, notice).await
    }

    async fn hand_over(&self, executor: ExecutorId, runs: &[RunId]) -> Result<u64, StoreError> {
        self.hand_runs_over(executor, runs).await
    }

    async fn close(&self, executor: ExecutorId) -> Result<u64, StoreError> {
        self.close_executor(executor).await
    }

    async fn rescue(&self, max_crashes: u32, limit: usize) -> Result<Rescued, StoreError> {
        self.rescue_runs(max_crashes, limit).await
    }

    async fn create(&self, runs: &[NewRun], atomic: bool) -> Result<Vec<CreateOutcome>, StoreError> {
        self.create_runs(runs, atomic).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        self.claim_runs(claim).await
    }

    async fn commit(&self, executor: ExecutorId, turns: &[Turn]) -> Result<Committed, StoreError> {
        self.commit_turns(executor, turns).await
    }

    async fn landed(&self, run: RunId, position: u32) -> Result<bool, StoreError> {
        self.entry_landed(run, position).await
    }

    async fn deliver(
        &self,
        sends: &[NewMessage],
        emits: &[NewEvent],
        max_buffered: u64,
    ) -> Result<Vec<SendOutcome>, StoreError> {
        self.deliver_all(sends, emits, max_buffered).await
    }

    async fn mail(&self, executor: ExecutorId, limit: usize) -> Result<Vec<Mail>, StoreError> {
        self.mail_of(executor, limit).await
    }

    async fn find(&self, refs: &[RunRef]) -> Result<Vec<Option<RunRecord>>, StoreError> {
        self.find_runs(refs).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<RunRecord>, StoreError> {
        self.list_runs(filter).await
    }

    async fn journal(&self, run: RunId, from: u32, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.entries(run, from, limit).await
    }

    async fn resume(&self, which: &Resume) -> Result<u64, StoreError> {
        self.resume_runs(which).await
    }

    async fn sweep(&self, limit: usize) -> Result<Swept, StoreError> {
        self.sweep_once(limit).await
    }

    fn watch(&self, sink: WakeSink) -> WatchGuard {
        self.inner.bell.watch(sink)
    }

    fn lane(&self) -> Option<Box<dyn Lane>> {
        Some(Box::new(PgLane::new(self.clone())))
    }

    async fn shutdown(&self) {
        self.inner.bell.stop();
        self.inner.warm.close();
        self.inner.leases.close().await;
        self.inner.pool.close().await;
    }

    fn is_shut_down(&self) -> bool {
        self.pool().is_closed()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
