//! The bench of a case: a harness, and factories that default everything a case doesn't care about.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::Harness;
use crate::ids::{ExecutorId, RunId, Timestamp};
use crate::journal::{Entry, Fact, OpKey, Phase};
use crate::payload::Payload;
use crate::store::{
    Claim, ClaimedRun, Committed, CreateOutcome, Created, Message, NewEvent, NewMessage, NewRun, ParkReason, RunRecord,
    RunRef, SendOutcome, Store, Subscription, Then, Turn, TurnOutcome, Wake,
};

/// The workflow, version and queue of a run that a case doesn't care about.
pub(super) const WORKFLOW: (&str, i32) = ("order", 1);
pub(super) const QUEUE: &str = "default";
/// A lease, delay or retention that doesn't run out during a case.
pub(super) const LONG: Duration = Duration::from_secs(3_600);
/// One that does, as soon as a case wants it to: see [`Bench::outlast`].
pub(super) const SHORT: Duration = Duration::from_millis(20);
/// More than any case has of anything.
pub(super) const MANY: usize = 10_000;

/// What a case is given.
#[derive(Debug)]
pub struct Bench {
    harness: Box<dyn Harness>,
    store: Arc<dyn Store>,
}

impl Bench {
    /// A bench on the store of `harness`, migrated.
    pub async fn new(harness: impl Harness) -> Self {
        let store = harness.store();
        store.migrate().await.expect("the store can be migrated");
        Self { harness: Box::new(harness), store }
    }

    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Two handles on the same database: different ones where the harness can.
    pub(super) async fn two(&self) -> [Arc<dyn Store>; 2] {
        let second = self.harness.second().await.unwrap_or_else(|| self.store.clone());
        [self.store.clone(), second]
    }

    pub(super) async fn advance(&self, by: Duration) {
        self.harness.advance(by).await;
    }

    /// Lets a [`SHORT`] time run out.
    pub(super) async fn outlast(&self) {
        self.advance(SHORT * 2).await;
    }

    /// Lets the store's clock move, so that what comes after is later than what came before.
    pub(super) async fn tick(&self) {
        self.advance(Duration::from_millis(2)).await;
    }

    /// A registered executor with a [`LONG`] lease.
    pub(super) async fn executor(&self) -> ExecutorId {
        let executor = ExecutorId::generate();
        self.store.register(executor, "host:1", LONG).await.expect("an executor can register");
        executor
    }

    /// Lets the lease of `executor` run out. It is shortened first, so that no case has to be quick before that.
    pub(super) async fn expire(&self, executor: ExecutorId) {
        self.store.heartbeat(executor, SHORT).await.expect("the lease can be shortened");
        self.outlast().await;
    }

    /// An executor whose lease has run out.
    pub(super) async fn expired(&self) -> ExecutorId {
        let executor = self.executor().await;
        self.expire(executor).await;
        executor
    }

    /// Creates one run.
    pub(super) async fn create(&self, run: NewRun) -> CreateOutcome {
        let mut outcomes = self.store.create(&[run], false).await.expect("runs can be created");
        assert_eq!(outcomes.len(), 1, "one outcome per run");
        outcomes.remove(0)
    }

    /// Creates one run that doesn't exist yet.
    pub(super) async fn created(&self, run: NewRun) -> Created {
        match self.create(run).await {
            CreateOutcome::Created(created) => created,
            other => panic!("a new run is created, not {other:?}"),
        }
    }

    /// A new run that is ready.
    pub(super) async fn ready(&self) -> RunId {
        self.created(new_run()).await.id
    }

    /// A new run that `executor` owns.
    pub(super) async fn owned(&self, executor: ExecutorId) -> RunId {
        let created = self.created(NewRun { owner: Some(executor), ..new_run() }).await;
        assert!(created.owned, "an executor with a lease owns what it creates for itself");
        created.id
    }

    /// Claims up to `room` runs of the default queue and workflow.
    pub(super) async fn claim(&self, executor: ExecutorId, room: u32) -> Vec<ClaimedRun> {
        self.store.claim(&claim_of(executor, room)).await.expect("an executor with a lease can claim").runs
    }

    /// Claims `run`, which is the only one that can be claimed.
    pub(super) async fn claim_one(&self, executor: ExecutorId, run: RunId) -> ClaimedRun {
        let mut runs = self.claim(executor, 100).await;
        assert_eq!(runs.iter().map(|r| r.id).collect::<Vec<_>>(), [run]);
        runs.remove(0)
    }

    pub(super) async fn commit(&self, executor: ExecutorId, turns: &[Turn]) -> Committed {
        let committed = self.store.commit(executor, turns).await.expect("an executor with a lease can commit");
        assert_eq!(committed.turns.len(), turns.len(), "one outcome per turn");
        committed
    }

    /// Commits one turn that has to go through.
    pub(super) async fn done(&self, executor: ExecutorId, turn: Turn) -> Committed {
        let committed = self.commit(executor, &[turn]).await;
        assert_eq!(committed.turns, [TurnOutcome::Done]);
        committed
    }

    /// Ends `run` well.
    pub(super) async fn finish(&self, executor: ExecutorId, run: RunId) {
        self.done(executor, Turn { then: finish(), ..Turn::new(run, 0) }).await;
    }

    /// Hangs `run` up until a message comes.
    pub(super) async fn hang_up(&self, executor: ExecutorId, run: RunId) {
        self.done(executor, Turn { then: hang_up(0), ..Turn::new(run, 0) }).await;
    }

    pub(super) async fn send(&self, to: RunId, fact: Fact) -> SendOutcome {
        let sends = [NewMessage { to, fact }];
        let outcomes = self.store.deliver(&sends, &[], u64::MAX).await.expect("messages can be sent");
        assert_eq!(outcomes.len(), 1, "one outcome per message");
        outcomes[0]
    }

    pub(super) async fn emit(&self, event: NewEvent) {
        let outcomes = self.store.deliver(&[], &[event], MANY as u64).await.expect("events can be emitted");
        assert!(outcomes.is_empty(), "outcomes are of messages");
    }

    /// The messages of `run`, which `executor` owns.
    pub(super) async fn inbox(&self, executor: ExecutorId, run: RunId) -> Vec<Message> {
        let mail = self.store.mail(executor, MANY).await.expect("mail can be read");
        mail.into_iter().filter(|m| m.run == run).map(|m| m.message).collect()
    }

    pub(super) async fn find(&self, reference: RunRef) -> Option<RunRecord> {
        let mut records = self.store.find(&[reference]).await.expect("runs can be found");
        assert_eq!(records.len(), 1, "one answer per reference");
        records.remove(0)
    }

    pub(super) async fn record(&self, run: RunId) -> RunRecord {
        self.find(RunRef::Id(run)).await.expect("the run exists")
    }

    pub(super) async fn journal(&self, run: RunId) -> Vec<Entry> {
        self.store.journal(run, 0, MANY).await.expect("journals can be read")
    }

    /// The store's clock.
    pub(super) async fn now(&self) -> Timestamp {
        let executor = ExecutorId::generate();
        let now = self.store.register(executor, "clock", LONG).await.expect("an executor can register");
        self.store.close(executor).await.expect("an executor can be closed");
        now
    }
}

/// A run from outside that is ready at once.
pub(super) fn new_run() -> NewRun {
    let input = json(r#"{"a":1}"#);
    NewRun {
        id: RunId::generate(),
        workflow: WORKFLOW.0.to_owned(),
        version: WORKFLOW.1,
        queue: QUEUE.to_owned(),
        input_digest: input.digest(),
        input,
        invoke_id: None,
        parent: None,
        depth: 0,
        delay: None,
        retain: LONG,
        owner: None,
    }
}

/// The same run with another input.
pub(super) fn with_input(run: NewRun, input: Payload) -> NewRun {
    NewRun { input_digest: input.digest(), input, ..run }
}

pub(super) fn claim_of(executor: ExecutorId, room: u32) -> Claim {
    Claim { executor, queues: vec![(QUEUE.to_owned(), room)], workflows: vec![(WORKFLOW.0.to_owned(), WORKFLOW.1)] }
}

pub(super) fn json(text: &str) -> Payload {
    Payload { codec: 0, bytes: text.as_bytes().to_vec() }
}

/// The value of a step named `name`.
pub(super) fn fact(name: &str) -> Fact {
    Fact { key: OpKey::new("step", name, 1), phase: Phase::Ok, payload: json("42"), mark: None }
}

/// A turn that writes these entries and keeps the run.
pub(super) fn turn(run: RunId, position: u32, names: &[&str]) -> Turn {
    Turn { entries: names.iter().map(|n| fact(n)).collect(), ..Turn::new(run, position) }
}

pub(super) fn finish() -> Then {
    Then::Finish { status: crate::store::Status::Completed, output: json("\"done\"") }
}

/// Waits for messages alone.
pub(super) fn hang_up(seen: u64) -> Then {
    Then::HangUp { seen, wake: Wake { at: None, after: None } }
}

pub(super) fn hang_up_for(after: Duration) -> Then {
    Then::HangUp { seen: 0, wake: Wake { at: None, after: Some(after) } }
}

pub(super) fn park(code: &str) -> Then {
    Then::Park(ParkReason { code: code.to_owned(), message: "mend it, then resume".to_owned() })
}

/// An event of the topic `(paid, key)`, kept for long.
pub(super) fn event(key: &str, payload: &str) -> NewEvent {
    NewEvent { id: Uuid::now_v7(), name: "paid".to_owned(), key: key.to_owned(), payload: json(payload), retain: LONG }
}

/// A wait for an event of the topic `(paid, key)`.
pub(super) fn wait_for(key: &str, after: u64) -> Subscription {
    Subscription { name: "paid".to_owned(), key: key.to_owned(), after, op: OpKey::new("event", "paid", 1) }
}

/// The names of the facts, for a short comparison.
pub(super) fn names<'a>(facts: impl IntoIterator<Item = &'a Fact>) -> Vec<&'a str> {
    facts.into_iter().map(|f| f.key.name.as_str()).collect()
}
