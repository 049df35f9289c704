//! The client: invokes, emits, cancels, reads. From any process, with or without an executor.

mod create;
mod handle;
mod invoke;
mod list;
mod watch;
mod within;

pub use handle::RunHandle;
pub use invoke::{Invocation, InvokeMany};
pub use list::{List, RunStatus};
pub use within::UserTransaction;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use workflow_core::ids::{check_id, check_name};
use workflow_core::payload::DEFAULT_MAX_PAYLOAD_BYTES;
use workflow_core::store::{
    CreateOutcome, NewEvent, NewMessage, NewRun, Resume, RunRecord, RunRef, SendOutcome, Status,
};
use workflow_core::{Codec, Payload, RunId, Store, StoreError, Workflow};

use crate::batch::Batcher;
use crate::error::{Error, Misuse};
use crate::executor::Engine;
use crate::seeded;
use watch::Watch;

/// The answer to a creation.
type Created = Result<CreateOutcome, StoreError>;

/// How long ended runs and emitted events are kept by default.
const RETAIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most events that a topic may hold for later waiters by default.
const MAX_BUFFERED: u64 = 10_000;

/// Talks to the runs of a store. Cheap to clone; clones share batches and wake-ups.
///
/// What many tasks do at the same time goes to the store together, in one commit.
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) engine: Option<Arc<Engine>>,
    pub(crate) codec: Codec,
    pub(crate) max_payload_bytes: usize,
    pub(crate) retain: Duration,
    creates: Batcher<NewRun, Created>,
    sends: Batcher<NewMessage, Result<SendOutcome, StoreError>>,
    emits: Batcher<NewEvent, Result<(), StoreError>>,
    finds: Batcher<RunRef, Result<Option<RunRecord>, StoreError>>,
    pub(crate) watch: Watch,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({:?})", self.inner.store)
    }
}

impl Client {
    /// A client of this store.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self::build(store, None, Codec::Json, DEFAULT_MAX_PAYLOAD_BYTES, RETAIN)
    }

    pub(crate) fn of_executor(store: Arc<dyn Store>, engine: Arc<Engine>) -> Self {
        let options = &engine.shared.env.options;
        let (codec, bytes, retain) = (options.codec, options.max_payload_bytes, options.retain);
        Self::build(store, Some(engine), codec, bytes, retain)
    }

    fn build(
        store: Arc<dyn Store>,
        engine: Option<Arc<Engine>>,
        codec: Codec,
        max_payload_bytes: usize,
        retain: Duration,
    ) -> Self {
        let s = store.clone();
        let creates = Batcher::new(1_000, 2, move |runs: Vec<NewRun>| {
            let store = s.clone();
            async move {
                let result = seeded::created(&runs, retrying(|| store.create(&runs, false)).await);
                spread(result, runs.len())
            }
        });
        let s = store.clone();
        let sends = Batcher::new(1_000, 1, move |sends: Vec<NewMessage>| {
            let store = s.clone();
            async move {
                let result = retrying(|| store.deliver(&sends, &[], MAX_BUFFERED)).await;
                spread(result, sends.len())
            }
        });
        let s = store.clone();
        let emits = Batcher::new(1_000, 1, move |events: Vec<NewEvent>| {
            let store = s.clone();
            async move { emit_all(&*store, &events).await.into_iter().map(seeded::emitted).collect() }
        });
        let s = store.clone();
        let finds = Batcher::new(1_000, 2, move |refs: Vec<RunRef>| {
            let store = s.clone();
            async move { find_all(&*store, &refs).await }
        });
        let watch = Watch::new(&*store);
        let inner = Inner { store, engine, codec, max_payload_bytes, retain, creates, sends, emits, finds, watch };
        Self { inner: Arc::new(inner) }
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.inner.store
    }

    /// Invokes a workflow: await the invocation for a handle of the run, which exists from then on.
    ///
    /// [`Invocation::id`] makes it idempotent; [`Invocation::delay`], [`Invocation::queue`] and others tell when and
    /// where.
    ///
    /// # Errors
    ///
    /// When awaited: [`Error::Payload`] for an input that can't be encoded or is too large, [`Error::Name`] for a bad
    /// id, [`Error::Store`] with code `ID_CONFLICT` when the id belongs to a run with another workflow or input.
    pub fn invoke<W: Workflow>(&self, workflow: W, input: W::Input) -> Invocation<W::Output> {
        Invocation::new(self.clone(), workflow, &input)
    }

    /// Invokes a workflow by its name, with any input that serialises as its input does: for callers that don't have
    /// its code.
    ///
    /// # Errors
    ///
    /// As [`Client::invoke`]; and `UNKNOWN_WORKFLOW` when this client belongs to an executor that doesn't have it.
    pub fn invoke_named<I: Serialize>(&self, workflow: &str, input: &I) -> Invocation<serde_json::Value> {
        Invocation::named(self.clone(), workflow, input)
    }

    /// Invokes a workflow for many inputs in one round trip: all runs are created, or none.
    ///
    /// # Errors
    ///
    /// When awaited: as [`Client::invoke`], naming the first offending input by its index.
    pub fn invoke_many<W: Workflow>(&self, workflow: W, inputs: impl IntoIterator<Item = W::Input>) -> InvokeMany<W> {
        InvokeMany::new(self.clone(), workflow, inputs.into_iter().collect())
    }

    /// A handle of a run that is known by its id, with an output of type `O`.
    pub fn handle<O>(&self, run: RunId) -> RunHandle<O> {
        RunHandle::new(self.clone(), run, None)
    }

    /// A handle of the run that was invoked with this id.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRun`].
    pub async fn find<O>(&self, id: &str) -> Result<RunHandle<O>, Error> {
        let found = self.lookup(RunRef::InvokeId(id.to_owned())).await?;
        let record = found.ok_or_else(|| Error::NoSuchRun(id.to_owned()))?;
        Ok(self.handle(record.id))
    }

    /// Emits an event to every run that waits for it; it is kept for later waiters (7 days by default). Events of the
    /// same name and key arrive in the order in which their emissions returned.
    ///
    /// # Errors
    ///
    /// [`Error::Name`], [`Error::Payload`], and [`Error::Store`] with code `BUFFER_FULL` when 10,000 events of that
    /// name and key are kept already: nothing was emitted then.
    pub async fn emit<P: Serialize + ?Sized>(&self, name: &str, payload: &P) -> Result<(), Error> {
        self.emit_event(name, "", payload).await
    }

    /// Emits an event to the runs that wait for it with this key.
    ///
    /// # Errors
    ///
    /// As [`Client::emit`].
    pub async fn emit_to<P: Serialize + ?Sized>(&self, name: &str, key: &str, payload: &P) -> Result<(), Error> {
        check_id("event key", key)?;
        self.emit_event(name, key, payload).await
    }

    async fn emit_event<P: Serialize + ?Sized>(&self, name: &str, key: &str, payload: &P) -> Result<(), Error> {
        check_name("event", name)?;
        let event = NewEvent {
            id: workflow_core::random::ordered_uuid(),
            name: name.to_owned(),
            key: key.to_owned(),
            payload: Payload::encode(self.inner.codec, payload, self.inner.max_payload_bytes)?,
            retain: self.inner.retain,
        };
        Ok(self.inner.emits.call(event).await.ok_or(Error::ShuttingDown)??)
    }

    /// Asks a run to end: every operation it waits for, and every later one, fails with kind `Cancelled` and this
    /// reason, except those of [`Ctx::shield`](crate::Ctx::shield). Its children are cancelled, too. A parked run ends.
    /// Cancelling twice is the same as once.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] when the run has ended, [`Error::NoSuchRun`], [`Error::Payload`] for a reason that is too large.
    pub async fn cancel(&self, run: RunId, reason: &str) -> Result<(), Error> {
        Payload::encode(Codec::Json, reason, self.inner.max_payload_bytes)?;
        let message = NewMessage { to: run, fact: workflow_core::replay::cancel(reason) };
        match self.inner.sends.call(message).await.ok_or(Error::ShuttingDown)?? {
            SendOutcome::Delivered => {
                // A parked run is taken up once more, to end: it can't be in anybody's way.
                self.inner.store.resume(&Resume::Runs(vec![run])).await?;
                Ok(())
            }
            SendOutcome::Ended(status) => Err(Error::Ended { run, status }),
            SendOutcome::NoSuchRun => Err(Error::NoSuchRun(run.to_string())),
        }
    }

    /// Lets a parked run go on: after a deployment or a repair.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRun`] when there is no such run; a run that isn't parked is left alone.
    pub async fn resume(&self, run: RunId) -> Result<(), Error> {
        let resumed = self.inner.store.resume(&Resume::Runs(vec![run])).await?;
        if resumed == 0 && self.lookup(RunRef::Id(run)).await?.is_none() {
            return Err(Error::NoSuchRun(run.to_string()));
        }
        Ok(())
    }

    /// What the store knows about a run.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRun`].
    pub async fn status(&self, run: RunId) -> Result<RunStatus, Error> {
        let record = self.lookup(RunRef::Id(run)).await?;
        record.map(RunStatus).ok_or_else(|| Error::NoSuchRun(run.to_string()))
    }

    /// Lists runs, newest first: add filters, then await it. A run whose row was damaged is left out, with an error in
    /// the log; [`Client::status`] says what is wrong with it.
    ///
    /// ```
    /// # use workflow::{Client, Status};
    /// # async fn f(client: Client) -> Result<(), workflow::Error> {
    /// for run in client.list().workflow("order").status(Status::Parked).limit(20).await? {
    ///     println!("{} {}", run.id(), run.status());
    /// }
    /// # Ok(()) }
    /// ```
    pub fn list(&self) -> List {
        List::new(self.clone())
    }

    pub(crate) async fn lookup(&self, run: RunRef) -> Result<Option<RunRecord>, Error> {
        Ok(self.inner.finds.call(run).await.ok_or(Error::ShuttingDown)??)
    }

    /// Whether `workflow` may be invoked by name.
    pub(crate) fn check_known(&self, workflow: &str) -> Result<(i32, String), Error> {
        check_name("workflow", workflow)?;
        let Some(engine) = &self.inner.engine else { return Ok((1, "default".to_owned())) };
        let known = engine.workflows.iter().filter(|(name, _)| name == workflow).map(|(_, v)| *v).max();
        match known.and_then(|version| engine.shared.registry.get(&(workflow, version)).map(|w| (version, w.queue()))) {
            Some((version, queue)) => Ok((version, queue.to_owned())),
            None => {
                let nearest = nearest(workflow, engine.workflows.iter().map(|(name, _)| name.as_str()));
                Err(Misuse::UnknownWorkflow { name: workflow.to_owned(), nearest }.into())
            }
        }
    }
}

/// How often a call is repeated: about five seconds, as long as a database takes to come back.
const MAX_TRIES: u32 = 16;

/// Repeats a call that certainly did nothing because of others, and one that is idempotent by its ids when nobody knows
/// what it did.
async fn retrying<T, Fut: Future<Output = Result<T, StoreError>>>(call: impl Fn() -> Fut) -> Result<T, StoreError> {
    let mut delay = Duration::from_millis(5);
    let mut tries = 0;
    let mut unknown = None;
    loop {
        let error = match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        let again = match &error {
            StoreError::Contention(_) => true,
            StoreError::Unknown(reason) => {
                unknown = Some(reason.clone());
                true
            }
            // What nobody knows is worth finding out.
            StoreError::Unavailable(_) => unknown.is_some(),
            // These say what is there, whatever an earlier try did.
            StoreError::Conflict { .. } | StoreError::BufferFull { .. } => return Err(error),
            _ => false,
        };
        if !again || tries == MAX_TRIES {
            return Err(unknown.map_or(error, StoreError::Unknown));
        }
        tries += 1;
        crate::executor::pause(&mut delay).await;
    }
}

fn spread<T>(result: Result<Vec<T>, StoreError>, count: usize) -> Vec<Result<T, StoreError>> {
    match result {
        Ok(items) => items.into_iter().map(Ok).collect(),
        Err(error) => (0..count).map(|_| Err(error.clone())).collect(),
    }
}

/// A full buffer concerns its own topic only: the events of a refused batch go one by one.
async fn emit_all(store: &dyn Store, events: &[NewEvent]) -> Vec<Result<(), StoreError>> {
    match retrying(|| store.deliver(&[], events, MAX_BUFFERED)).await {
        Ok(_) => events.iter().map(|_| Ok(())).collect(),
        Err(StoreError::BufferFull { .. }) if events.len() > 1 => {
            let mut results = Vec::with_capacity(events.len());
            for event in events {
                let one = std::slice::from_ref(event);
                results.push(retrying(|| store.deliver(&[], one, MAX_BUFFERED)).await.map(|_| ()));
            }
            results
        }
        Err(error) => events.iter().map(|_| Err(error.clone())).collect(),
    }
}

/// A row that can't be read concerns its own run only: the lookups of a refused batch go one by one.
async fn find_all(store: &dyn Store, refs: &[RunRef]) -> Vec<Result<Option<RunRecord>, StoreError>> {
    match retrying(|| store.find(refs)).await {
        Err(StoreError::Corrupt { .. }) if refs.len() > 1 => {
            let mut results = Vec::with_capacity(refs.len());
            for reference in refs {
                let one = retrying(|| store.find(std::slice::from_ref(reference))).await;
                results.push(one.map(|found| found.into_iter().next().flatten()));
            }
            results
        }
        result => spread(result, refs.len()),
    }
}

/// Up to three names that are alike, nearest first.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut scored: Vec<(usize, &str)> = known.map(|other| (distance(name, other), other)).collect();
    scored.sort_unstable();
    scored.dedup();
    scored.into_iter().take(3).map(|(_, other)| other.to_owned()).collect()
}

/// The Levenshtein distance (<https://en.wikipedia.org/wiki/Levenshtein_distance>), in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (diagonal + usize::from(x != y)).min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

/// Whether a status is the end, for waiting.
pub(crate) fn has_ended(status: Status) -> bool {
    status.is_terminal() || status == Status::Parked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_names_come_first() {
        assert_eq!(nearest("ordr", ["fulfil", "order", "orders", "a"].into_iter()), ["order", "orders", "a"]);
        assert_eq!(distance("", "abc"), 3);
    }
}
