//! A store around another one, which sees every call: to count or trace them, or in tests to make them fail.

use std::any::Any;
use std::fmt::Debug;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{
    Claim, Claimed, Committed, CreateOutcome, Heartbeat, Lane, ListFilter, Mail, NewEvent, NewMessage, NewRun, Rescued,
    Resume, RunRecord, RunRef, SendOutcome, Store, StoreError, Swept, Turn, WakeSink, WatchGuard,
};
use crate::ids::{ExecutorId, RunId, Timestamp};
use crate::journal::Entry;

/// A method of [`Store`] that asks the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is the method of that name")]
pub enum Method {
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

/// One call of a store.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The method.
    pub method: Method,
    /// The executor that it is about.
    pub executor: Option<ExecutorId>,
    /// What is to be committed.
    pub turns: &'a [Turn],
    /// Whether it is made on a [`Lane`].
    pub on_lane: bool,
}

impl<'a> Call<'a> {
    fn new(method: Method) -> Self {
        Self { method, executor: None, turns: &[], on_lane: false }
    }

    fn of(method: Method, executor: ExecutorId) -> Self {
        Self { executor: Some(executor), ..Self::new(method) }
    }

    fn commit(executor: ExecutorId, turns: &'a [Turn]) -> Self {
        Self { turns, ..Self::of(Method::Commit, executor) }
    }

    fn on_lane(self) -> Self {
        Self { on_lane: true, ..self }
    }
}

/// What happens around the calls of a [`Layered`] store.
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use workflow_core::store::{Call, Layer, Layered, Method, RunRef};
/// use workflow_core::{MemoryStore, RunId, Store, StoreError};
///
/// #[derive(Debug, Default)]
/// struct Searches(AtomicU64);
///
/// impl Layer for Searches {
///     async fn call<T: Send>(
///         &self,
///         call: Call<'_>,
///         work: impl Future<Output = Result<T, StoreError>> + Send,
///     ) -> Result<T, StoreError> {
///         if call.method == Method::Find {
///             self.0.fetch_add(1, Ordering::Relaxed);
///         }
///         work.await
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), StoreError> {
/// let searches = Arc::new(Searches::default());
/// let store = Layered::new(Arc::new(MemoryStore::default()), searches.clone());
/// store.find(&[RunRef::Id(RunId::generate())]).await?;
/// assert_eq!(searches.0.load(Ordering::Relaxed), 1);
/// # Ok(())
/// # }
/// ```
pub trait Layer: Debug + Send + Sync + 'static {
    /// Does a call by awaiting `work`, which does nothing before, or answers in its place.
    ///
    /// # Errors
    ///
    /// Those of the call: [`StoreError::Unknown`] if `work` was begun and its answer isn't passed on.
    fn call<T: Send>(
        &self,
        call: Call<'_>,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> impl Future<Output = Result<T, StoreError>> + Send;

    /// What is called with the wake-ups, in the place of `sink`.
    fn sink(&self, sink: WakeSink) -> WakeSink {
        sink
    }

    /// The [`Store::notice`], in the place of that of the store below.
    fn notice(&self, notice: Option<Duration>) -> Option<Duration> {
        notice
    }

    /// Whether the lanes of the store below are to be had.
    fn has_lanes(&self) -> bool {
        true
    }
}

/// A store with a [`Layer`] around it. Clones are the same.
pub struct Layered<L> {
    inner: Arc<dyn Store>,
    layer: Arc<L>,
}

impl<L: Layer> Layered<L> {
    /// `inner` with `layer` around it.
    pub fn new(inner: Arc<dyn Store>, layer: Arc<L>) -> Self {
        Self { inner, layer }
    }
}

impl<L> Clone for Layered<L> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<L: Layer> Debug for Layered<L> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Layered").field("layer", &self.layer).field("inner", &self.inner).finish()
    }
}

#[async_trait]
impl<L: Layer> Store for Layered<L> {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.inner.migrate().await
    }

    async fn register(&self, executor: ExecutorId, name: &str, lease: Duration) -> Result<Timestamp, StoreError> {
        self.layer.call(Call::of(Method::Register, executor), self.inner.register(executor, name, lease)).await
    }

    async fn heartbeat(&self, executor: ExecutorId, lease: Duration) -> Result<Heartbeat, StoreError> {
        self.layer.call(Call::of(Method::Heartbeat, executor), self.inner.heartbeat(executor, lease)).await
    }

    fn notice(&self) -> Option<Duration> {
        self.layer.notice(self.inner.notice())
    }

    async fn lease_left(&self, executor: ExecutorId, notice: Option<Duration>) -> Result<Duration, StoreError> {
        self.layer.call(Call::of(Method::LeaseLeft, executor), self.inner.lease_left(executor, notice)).await
    }

    async fn hand_over(&self, executor: ExecutorId, runs: &[RunId]) -> Result<u64, StoreError> {
        self.layer.call(Call::of(Method::HandOver, executor), self.inner.hand_over(executor, runs)).await
    }

    async fn close(&self, executor: ExecutorId) -> Result<u64, StoreError> {
        self.layer.call(Call::of(Method::Close, executor), self.inner.close(executor)).await
    }

    async fn rescue(&self, max_crashes: u32, limit: usize) -> Result<Rescued, StoreError> {
        self.layer.call(Call::new(Method::Rescue), self.inner.rescue(max_crashes, limit)).await
    }

    async fn create(&self, runs: &[NewRun], atomic: bool) -> Result<Vec<CreateOutcome>, StoreError> {
        self.layer.call(Call::new(Method::Create), self.inner.create(runs, atomic)).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        self.layer.call(Call::of(Method::Claim, claim.executor), self.inner.claim(claim)).await
    }

    async fn commit(&self, executor: ExecutorId, turns: &[Turn]) -> Result<Committed, StoreError> {
        self.layer.call(Call::commit(executor, turns), self.inner.commit(executor, turns)).await
    }

    async fn landed(&self, run: RunId, position: u32) -> Result<bool, StoreError> {
        self.layer.call(Call::new(Method::Landed), self.inner.landed(run, position)).await
    }

    async fn deliver(
        &self,
        sends: &[NewMessage],
        emits: &[NewEvent],
        max_buffered: u64,
    ) -> Result<Vec<SendOutcome>, StoreError> {
        self.layer.call(Call::new(Method::Deliver), self.inner.deliver(sends, emits, max_buffered)).await
    }

    async fn mail(&self, executor: ExecutorId, limit: usize) -> Result<Vec<Mail>, StoreError> {
        self.layer.call(Call::of(Method::Mail, executor), self.inner.mail(executor, limit)).await
    }

    async fn find(&self, refs: &[RunRef]) -> Result<Vec<Option<RunRecord>>, StoreError> {
        self.layer.call(Call::new(Method::Find), self.inner.find(refs)).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<RunRecord>, StoreError> {
        self.layer.call(Call::new(Method::List), self.inner.list(filter)).await
    }

    async fn journal(&self, run: RunId, from: u32, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.layer.call(Call::new(Method::Journal), self.inner.journal(run, from, limit)).await
    }

    async fn resume(&self, which: &Resume) -> Result<u64, StoreError> {
        self.layer.call(Call::new(Method::Resume), self.inner.resume(which)).await
    }

    async fn sweep(&self, limit: usize) -> Result<Swept, StoreError> {
        self.layer.call(Call::new(Method::Sweep), self.inner.sweep(limit)).await
    }

    fn watch(&self, sink: WakeSink) -> WatchGuard {
        self.inner.watch(self.layer.sink(sink))
    }

    fn lane(&self) -> Option<Box<dyn Lane>> {
        let inner = if self.layer.has_lanes() { self.inner.lane()? } else { return None };
        Some(Box::new(LayeredLane { inner, layer: self.layer.clone() }))
    }

    async fn shutdown(&self) {
        self.inner.shutdown().await;
    }

    fn is_shut_down(&self) -> bool {
        self.inner.is_shut_down()
    }

    fn as_any(&self) -> &dyn Any {
        self.inner.as_any()
    }
}

/// A lane of the store below, with the layer around its calls.
#[derive(Debug)]
struct LayeredLane<L> {
    inner: Box<dyn Lane>,
    layer: Arc<L>,
}

#[async_trait]
impl<L: Layer> Lane for LayeredLane<L> {
    fn is_connected(&self) -> bool {
        self.inner.is_connected()
    }

    async fn connect(&mut self) {
        self.inner.connect().await;
    }

    async fn commit(&mut self, executor: ExecutorId, turn: &Turn) -> Result<Option<Committed>, StoreError> {
        let call = Call::commit(executor, std::slice::from_ref(turn)).on_lane();
        self.layer.call(call, self.inner.commit(executor, turn)).await
    }

    async fn create(&mut self, run: &NewRun) -> Result<Option<Timestamp>, StoreError> {
        self.layer.call(Call::new(Method::Create).on_lane(), self.inner.create(run)).await
    }
}
