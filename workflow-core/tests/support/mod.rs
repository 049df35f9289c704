//! A process without a runtime around one machine: commits by hand, on a clock by hand.

#![allow(dead_code, reason = "every test uses a part of it")]

use std::any::{Any, TypeId};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use workflow_core::ctx::RunInfo;
use workflow_core::env::{Env, MachineOptions, Notice, SendFuture};
use workflow_core::journal::{ENTRY_VERSION, Entry};
use workflow_core::payload::Payload;
use workflow_core::registry::{AnyWorkflow, Code};
use workflow_core::replay::{Load, Machine, Next};
use workflow_core::store::{Message, ParkReason, Then, Turn};
use workflow_core::{Ctx, ExecutorId, Failure, MemoryStore, PayloadError, RunId, Store, Timestamp};

#[derive(Clone)]
pub struct TestEnv {
    pub options: MachineOptions,
    /// What was spawned, and not run yet.
    pub spawned: Arc<Mutex<Vec<SendFuture>>>,
}

impl Env for TestEnv {
    fn options(&self) -> &MachineOptions {
        &self.options
    }
    fn state(&self, _: TypeId) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
    fn enter(&self, f: &mut dyn FnMut()) {
        f();
    }
    fn timer(&self, _: Duration) -> SendFuture {
        Box::pin(std::future::pending())
    }
    fn spawn(&self, task: SendFuture) {
        self.spawned.lock().expect("no panic holds it").push(task);
    }
    fn random(&self) -> f64 {
        0.5
    }
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(MemoryStore::new(workflow_core::ManualClock::default()))
    }
    fn executor(&self) -> ExecutorId {
        ExecutorId::generate()
    }
}

/// A workflow from a closure.
pub struct Closure<F>(pub F);

impl<F, Fut> AnyWorkflow for Closure<F>
where
    F: Fn(Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<serde_json::Value, Failure>> + 'static,
{
    fn name(&self) -> &'static str {
        "test"
    }
    fn version(&self) -> i32 {
        1
    }
    fn queue(&self) -> &'static str {
        "default"
    }
    fn place(&self) -> &'static str {
        "test.rs:1"
    }
    fn start(&self, ctx: Ctx, _: &Payload) -> Result<Code, PayloadError> {
        let future = (self.0)(ctx);
        Ok(Box::pin(async move { Payload::json(&future.await?).map_err(Failure::from) }))
    }
}

/// What has woken a machine from outside.
#[derive(Default)]
pub struct Notices {
    queue: Mutex<Vec<Notice>>,
    arrived: Condvar,
}

impl Notices {
    fn push(&self, notice: Notice) {
        self.queue.lock().expect("no panic holds it").push(notice);
        self.arrived.notify_all();
    }

    pub fn take(&self) -> Vec<Notice> {
        std::mem::take(&mut *self.queue.lock().expect("no panic holds it"))
    }

    pub fn is_empty(&self) -> bool {
        self.queue.lock().expect("no panic holds it").is_empty()
    }

    /// Until something wakes the machine.
    pub fn wait(&self) {
        let queue = self.queue.lock().expect("no panic holds it");
        let limit = Duration::from_secs(60);
        let (_queue, waited) =
            self.arrived.wait_timeout_while(queue, limit, |queue| queue.is_empty()).expect("no panic holds it");
        assert!(!waited.timed_out(), "nothing wakes the machine");
    }
}

/// One run with a store of its own: the journal.
pub struct Run {
    pub workflow: Arc<dyn AnyWorkflow>,
    pub machine: Machine,
    pub journal: Vec<Entry>,
    pub now: Timestamp,
    pub notices: Arc<Notices>,
    pub turns: Vec<Turn>,
    pub id: RunId,
    pub mail: u64,
    pub env: TestEnv,
}

#[derive(Debug)]
pub enum State {
    Finished(Result<serde_json::Value, Failure>),
    Parked(ParkReason),
    Blocked(Option<Timestamp>),
    Running,
}

impl Run {
    pub fn new<F, Fut>(code: F) -> Self
    where
        F: Fn(Ctx) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<serde_json::Value, Failure>> + 'static,
    {
        Self::with(Arc::new(Closure(code)), Vec::new(), false)
    }

    pub fn with(workflow: Arc<dyn AnyWorkflow>, journal: Vec<Entry>, verify: bool) -> Self {
        Self::with_options(workflow, journal, MachineOptions { verify, ..MachineOptions::default() })
    }

    pub fn with_options(workflow: Arc<dyn AnyWorkflow>, journal: Vec<Entry>, options: MachineOptions) -> Self {
        Self::load(workflow, journal, options).expect("a good journal")
    }

    /// Takes a run up from a journal, or says why not.
    pub fn load(
        workflow: Arc<dyn AnyWorkflow>,
        journal: Vec<Entry>,
        options: MachineOptions,
    ) -> Result<Self, ParkReason> {
        let id = RunId(uuid::Uuid::from_u128(7));
        let notices: Arc<Notices> = Arc::default();
        let env = TestEnv { options, spawned: Arc::default() };
        let machine = load(workflow.clone(), journal.clone(), notices.clone(), &env)?;
        Ok(Self { workflow, machine, journal, now: created(), notices, turns: Vec::new(), id, mail: 0, env })
    }

    /// Drops everything but the journal and takes the run up again.
    pub fn hang_up(&mut self) {
        self.machine =
            load(self.workflow.clone(), self.journal.clone(), self.notices.clone(), &self.env).expect("a good journal");
    }

    /// The journal's entries as `key phase`.
    pub fn entries(&self) -> Vec<String> {
        self.journal.iter().map(|entry| format!("{} {}", entry.fact.key, entry.fact.phase.as_str())).collect()
    }

    /// Appends what a turn brings to the journal, and says so to the machine.
    pub fn commit(&mut self, turn: &Turn) {
        self.record(turn);
        self.machine.committed(self.now);
    }

    fn record(&mut self, turn: &Turn) {
        self.now += Duration::from_millis(1);
        for (i, fact) in turn.entries.iter().enumerate() {
            let position = turn.position + u32::try_from(i).expect("few entries");
            assert_eq!(position as usize, self.journal.len());
            let entry = Entry { position, fact: fact.clone(), version: ENTRY_VERSION, recorded_at: self.now };
            self.journal.push(entry);
        }
        self.turns.push(turn.clone());
    }

    /// Delivers a message.
    pub fn send(&mut self, fact: workflow_core::journal::Fact) {
        self.mail += 1;
        self.machine.deliver(Message { seq: self.mail, fact });
    }

    /// Drives and commits until nothing moves.
    pub fn go(&mut self) -> State {
        loop {
            for notice in self.notices.take() {
                if let Notice::Body(op) = notice {
                    self.machine.wake_body(op);
                }
            }
            match self.machine.drive(self.now) {
                Next::Commit { turn, .. } => {
                    self.record(&turn);
                    match turn.then {
                        Then::Finish { status, output } => {
                            return State::Finished(if status == workflow_core::store::Status::Completed {
                                Ok(output.decode().expect("JSON"))
                            } else {
                                Err(Failure::from_payload(&output).expect("a failure"))
                            });
                        }
                        Then::Park(reason) => return State::Parked(reason),
                        _ => self.machine.committed(self.now),
                    }
                }
                Next::Running if !self.notices.is_empty() => {}
                Next::Running => return State::Running,
                Next::Blocked(wake) => match wake.at {
                    Some(at) if at <= self.now => {}
                    at => return State::Blocked(at),
                },
            }
        }
    }

    /// Drives through all timers to the end.
    pub fn finish(&mut self) -> Result<serde_json::Value, Failure> {
        loop {
            match self.go() {
                State::Finished(result) => return result,
                State::Blocked(Some(at)) => self.now = at,
                other => panic!("not finished: {other:?}"),
            }
        }
    }
}

pub fn created() -> Timestamp {
    Timestamp::from_timestamp_millis(1_700_000_000_000).expect("a valid instant")
}

fn load(
    workflow: Arc<dyn AnyWorkflow>,
    journal: Vec<Entry>,
    notices: Arc<Notices>,
    env: &TestEnv,
) -> Result<Machine, ParkReason> {
    let info = RunInfo {
        id: RunId(uuid::Uuid::from_u128(7)),
        workflow: "test".into(),
        version: 1,
        queue: "default".into(),
        depth: 0,
        created_at: created(),
        place: "test.rs:1",
    };
    let env = Arc::new(env.clone());
    let notify = Arc::new(move |notice| notices.push(notice));
    let input = Payload::json(&()).expect("JSON");
    Machine::new(workflow, env, notify, Load { info, input, parent: None, journal, inbox: Vec::new(), mail: 0 })
}
