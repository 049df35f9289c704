//! The store as one executor or client sees it: over a network that delays, fails and falls silent.

use std::any::Any;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use workflow::store::{
    Claim, Claimed, Committed, CreateOutcome, Heartbeat, ListFilter, Mail, NewEvent, NewMessage, NewRun, Rescued,
    Resume, RunRecord, RunRef, SendOutcome, Store, Swept, Turn, WakeSink, WatchGuard,
};
use workflow::{ExecutorId, RunId, StoreError, Timestamp};
use workflow_core::journal::Entry;

use crate::link::Link;

/// A link to the memory store, told to the ledger.
#[derive(Clone)]
pub struct SimStore(pub(crate) Arc<Link>);

impl Debug for SimStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SimStore({})", self.0.name)
    }
}

#[async_trait]
impl Store for SimStore {
    async fn migrate(&self) -> Result<(), StoreError> {
        self.0.ledger.store.migrate().await
    }

    async fn register(&self, executor: ExecutorId, name: &str, lease: Duration) -> Result<Timestamp, StoreError> {
        let (link, name) = (self.0.clone(), name.to_owned());
        let answer = self.0.call("register", move || format!("{executor}"), async move {
            let now = link.ledger.store.register(executor, &name, lease).await?;
            let mut book = link.ledger.book();
            book.counts.lives += 1;
            book.leases.insert(executor, now + lease);
            drop(book);
            Ok(now)
        });
        let answer = answer.await;
        if answer.is_ok() {
            *self.0.life.lock().unwrap_or_else(PoisonError::into_inner) = Some(executor);
        }
        answer
    }

    async fn heartbeat(&self, executor: ExecutorId, lease: Duration) -> Result<Heartbeat, StoreError> {
        let link = self.0.clone();
        let work = async move {
            let beat = link.ledger.store.heartbeat(executor, lease).await?;
            link.ledger.book().leases.insert(executor, beat.now + lease);
            Ok(beat)
        };
        self.0.call("heartbeat", move || format!("{executor}"), work).await
    }

    async fn hand_over(&self, executor: ExecutorId, runs: &[RunId]) -> Result<u64, StoreError> {
        let link = self.0.clone();
        let runs = runs.to_vec();
        let count = runs.len();
        let work = async move { link.ledger.store.hand_over(executor, &runs).await };
        self.0.call("hand_over", move || format!("{executor} {count} runs"), work).await
    }

    async fn close(&self, executor: ExecutorId) -> Result<u64, StoreError> {
        let link = self.0.clone();
        let work = async move { link.ledger.store.close(executor).await };
        self.0.call("close", move || format!("{executor}"), work).await
    }

    async fn rescue(&self, max_crashes: u32, limit: usize) -> Result<Rescued, StoreError> {
        let link = self.0.clone();
        let work = async move { link.ledger.store.rescue(max_crashes, limit).await };
        self.0.call("rescue", String::new, work).await
    }

    async fn create(&self, runs: &[NewRun], atomic: bool) -> Result<Vec<CreateOutcome>, StoreError> {
        let link = self.0.clone();
        let ids: Vec<RunId> = runs.iter().map(|run| run.id).collect();
        let runs = runs.to_vec();
        let work = async move {
            let created = link.ledger.store.create(&runs, atomic).await?;
            let new = created.iter().filter(|outcome| matches!(outcome, CreateOutcome::Created(_))).count();
            link.ledger.book().counts.programs += new as u64;
            Ok(created)
        };
        self.0.call("create", move || format!("{ids:?}"), work).await
    }

    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        let (link, asked) = (self.0.clone(), claim.clone());
        let work = async move { link.ledger.store.claim(&asked).await };
        let queues = claim.queues.clone();
        self.0.call("claim", move || format!("{queues:?}"), work).await
    }

    async fn commit(&self, executor: ExecutorId, turns: &[Turn]) -> Result<Committed, StoreError> {
        let (link, all) = (self.0.clone(), turns.to_vec());
        let work = async move {
            let owners = link.ledger.owners(&all);
            let committed = link.ledger.store.commit(executor, &all).await;
            match &committed {
                Ok(committed) => link.ledger.committed(executor, &all, &owners, committed),
                Err(StoreError::LeaseLost(_)) => link.ledger.book().counts.fenced += 1,
                Err(_) => {}
            }
            committed
        };
        let lines = || turns.iter().map(line).collect::<Vec<_>>().join("; ");
        self.0.writing(turns.iter().map(|turn| turn.run).collect(), "commit", lines, work).await
    }

    async fn landed(&self, run: RunId, position: u32) -> Result<bool, StoreError> {
        let link = self.0.clone();
        let work = async move {
            link.ledger.no_write_under_way(run).await;
            link.ledger.store.landed(run, position).await
        };
        self.0.call("landed", move || format!("{run} {position}"), work).await
    }

    async fn deliver(
        &self,
        sends: &[NewMessage],
        emits: &[NewEvent],
        max_buffered: u64,
    ) -> Result<Vec<SendOutcome>, StoreError> {
        let (link, to_send, to_emit) = (self.0.clone(), sends.to_vec(), emits.to_vec());
        let work = async move {
            let outcomes = link.ledger.store.deliver(&to_send, &to_emit, max_buffered).await?;
            link.ledger.emitted(&to_emit);
            Ok(outcomes)
        };
        let detail = || {
            let to: Vec<_> = sends.iter().map(|message| format!("{} {}", message.to, message.fact.key)).collect();
            let events: Vec<_> = emits.iter().map(|event| event.name.as_str()).collect();
            format!("{to:?} {events:?}")
        };
        self.0.call("deliver", detail, work).await
    }

    async fn mail(&self, executor: ExecutorId, limit: usize) -> Result<Vec<Mail>, StoreError> {
        let link = self.0.clone();
        let work = async move { link.ledger.store.mail(executor, limit).await };
        self.0.call("mail", String::new, work).await
    }

    async fn find(&self, refs: &[RunRef]) -> Result<Vec<Option<RunRecord>>, StoreError> {
        let (link, all) = (self.0.clone(), refs.to_vec());
        let work = async move { link.ledger.store.find(&all).await };
        self.0.call("find", || format!("{refs:?}"), work).await
    }

    async fn list(&self, filter: &ListFilter) -> Result<Vec<RunRecord>, StoreError> {
        let (link, filter) = (self.0.clone(), filter.clone());
        let work = async move { link.ledger.store.list(&filter).await };
        self.0.call("list", String::new, work).await
    }

    async fn journal(&self, run: RunId, from: u32, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let link = self.0.clone();
        let work = async move { link.ledger.store.journal(run, from, limit).await };
        self.0.call("journal", move || format!("{run} from {from}"), work).await
    }

    async fn resume(&self, which: &Resume) -> Result<u64, StoreError> {
        let (link, which) = (self.0.clone(), which.clone());
        let work = async move { link.ledger.store.resume(&which).await };
        self.0.call("resume", String::new, work).await
    }

    async fn sweep(&self, limit: usize) -> Result<Swept, StoreError> {
        let link = self.0.clone();
        let work = async move { link.ledger.store.sweep(limit).await };
        self.0.call("sweep", String::new, work).await
    }

    fn watch(&self, sink: WakeSink) -> WatchGuard {
        let link = self.0.clone();
        self.0.ledger.store.watch(Arc::new(move |wakeup| link.wake(&sink, wakeup)))
    }

    async fn shutdown(&self) {}

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// A turn in a line.
fn line(turn: &Turn) -> String {
    let facts = turn.entries.iter().map(|fact| format!("{} {}", fact.key, fact.phase.as_str())).collect::<Vec<_>>();
    let mut line = format!("{} @{} [{}]", turn.run, turn.position, facts.join(", "));
    if turn.consumed > 0 {
        line.push_str(&format!(" consumed {}", turn.consumed));
    }
    for send in &turn.sends {
        line.push_str(&format!(" to {} {}", send.to, send.fact.key));
    }
    line.push_str(match &turn.then {
        workflow::store::Then::Keep => "",
        workflow::store::Then::HangUp { .. } => " hangs up",
        workflow::store::Then::Finish { status, .. } => status.as_str(),
        workflow::store::Then::Park(reason) => &reason.code,
    });
    line
}

/// The present life of the executor behind a link.
pub(crate) type Life = Arc<Mutex<Option<ExecutorId>>>;
