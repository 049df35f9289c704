//! The executor: claims runs, drives them, commits their turns.
//!
//! ```text
//!   claim -> driver threads -> committer -> store
//!     ^           ^    |                      |
//!     |           |    +-- bodies in the application's runtime
//!     +-- wake-ups, due times, slow poll -----+
//! ```

mod awake;
mod claim;
mod clock;
mod commit;
mod driver;
mod ends;
mod engine;
mod env;
mod gate;
mod lease;
mod life;
mod lone;
mod mail;
mod options;
mod resident;
mod resolve;
mod retain;
mod shared;
mod term;
mod thread;
mod watchdog;

pub use options::{Builder, Queue};

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use tokio::sync::{Notify, watch};
use workflow_core::ids::check_name;
use workflow_core::mismatch::code::MENDED_BY_CODE;
use workflow_core::store::{ClaimedRun, NewRun, Resume, WatchGuard};
use workflow_core::{ExecutorId, Store, Timestamp};

use crate::client::Client;
use crate::error::{Error, Misuse};
use clock::{Local, StoreClock};
use commit::Committer;
pub(crate) use commit::pause;
pub(crate) use ends::End;
use ends::Ends;
pub(crate) use engine::Engine;
use env::ProcessEnv;
use gate::Gate;
pub(crate) use gate::Hold;
use life::Life;
pub(crate) use lone::{Creation, Reply};
pub(crate) use shared::Msg;
use shared::Shared;
use term::Term;
use watchdog::Watchdog;

/// The embedded part of an application that runs workflows.
///
/// Made by [`Executor::builder`]. Any number of executors, in any number of processes, share the work of a store.
/// Dropping one without [`Executor::shutdown`] is like a crash: its runs are taken over when its lease has run out.
pub struct Executor {
    engine: Arc<Engine>,
    client: Client,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _watch: WatchGuard,
}

impl std::fmt::Debug for Executor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Executor({})", self.engine.life.executor())
    }
}

impl Executor {
    /// Sets an executor up: register workflows, then [`Builder::start`] it.
    ///
    /// ```
    /// # use workflow::{Executor, Result, Ctx, workflow};
    /// #[workflow]
    /// async fn double(_ctx: Ctx, n: u32) -> Result<u32> { Ok(n * 2) }
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), workflow::Error> {
    /// let store = workflow::connect("memory:").await?;
    /// let executor = Executor::builder(store).register(double).start().await?;
    /// let run = executor.client().invoke(double, 21).await?;
    /// assert_eq!(run.result().await?, 42);
    /// executor.shutdown().await?;
    /// # Ok(()) }
    /// ```
    pub fn builder(store: Arc<dyn Store>) -> Builder {
        Builder::new(store)
    }

    pub(crate) async fn start(builder: Builder) -> Result<Self, Error> {
        let Builder { store, options, registry, queues, states, problem } = builder;
        if let Some(problem) = problem {
            return Err(problem);
        }
        if registry.is_empty() {
            return Err(Misuse::NoWorkflow.into());
        }
        let mut gates: Vec<Arc<Gate>> =
            queues.iter().map(|queue| Arc::new(Gate::new(queue.name.clone(), queue.concurrency))).collect();
        for workflow in registry.values() {
            check_name("queue", workflow.queue())?;
            for name in [workflow.queue(), "default"] {
                if gates.iter().all(|gate| gate.name != name) {
                    let queue = Queue::new(name);
                    gates.push(Arc::new(Gate::new(queue.name, queue.concurrency)));
                }
            }
        }
        store.migrate().await?;
        let workflows: Vec<(String, i32)> = registry.keys().map(|(name, v)| ((*name).to_owned(), *v)).collect();
        // What was parked may be mended by the code that starts here.
        let codes = MENDED_BY_CODE.iter().map(|code| (*code).to_owned()).collect();
        store.resume(&Resume::Codes { codes, workflows: workflows.clone() }).await?;
        // From here on nothing fails that could leave threads and connections behind.
        let executor = ExecutorId::generate();
        let sent = options.local.now();
        let now = store.register(executor, &options.name, options.lease).await?;

        let env = Arc::new(ProcessEnv {
            runtime: tokio::runtime::Handle::current(),
            options: options.machine.clone(),
            states,
            store: store.clone(),
            executor: RwLock::new(executor),
        });
        let lanes = if store.lane().is_some() { options.drivers } else { 0 };
        let life = Arc::new(Life::new(env.clone()));
        let (commits, turns) = Committer::new(life.clone(), options.writers);
        let shared = Arc::new(Shared {
            env: env.clone(),
            registry: Arc::new(registry),
            clock: Arc::new(StoreClock::new(now, options.local)),
            gates: gates.iter().map(|gate| (gate.name.clone(), gate.clone())).collect::<HashMap<_, _>>(),
            linger: options.linger,
            waiting: (0..lanes).map(|_| AtomicBool::new(false)).collect(),
            awake: options.awake,
            term: Term::new(sent),
            doubted: Notify::new(),
            resident: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            replays: AtomicU64::new(0),
            room: Notify::new(),
            letters: Notify::new(),
            lacks_room: AtomicBool::new(false),
            commits,
            ends: Ends::default(),
            drivers: OnceLock::new(),
            stays: AtomicU64::new(0),
            watchdog: Watchdog::new(options.drivers),
        });
        shared.term.begin(executor, sent, options.lease, store.notice());
        let start = match options.local {
            Local::Machine => thread::start_thread,
            Local::Runtime => thread::start_task,
        };
        let senders = (0..options.drivers).map(|index| start(index, shared.clone())).collect::<Result<_, _>>();
        let senders = senders
            .map_err(|error| workflow_core::StoreError::Unavailable(format!("no thread could be started: {error}")))?;
        // Set once, right here.
        let _ = shared.drivers.set(senders);

        let engine = Arc::new(Engine {
            shared: shared.clone(),
            life,
            name: options.name,
            workflows,
            gates,
            lease: options.lease,
            heartbeat: options.heartbeat,
            poll: options.poll,
            max_resident: options.max_resident,
            max_crashes: options.max_crashes,
            work: Notify::new(),
            nothing: Notify::new(),
            deaths: Notify::new(),
            pulse: Notify::new(),
            due: Mutex::default(),
            expiry: Mutex::new(None),
            turn: AtomicUsize::new(0),
            claims: tokio::sync::Mutex::new(()),
            closing: AtomicBool::new(false),
            closed: watch::Sender::new(false),
        });
        let weak = Arc::downgrade(&engine);
        let watch = store.watch(Arc::new(move |wakeup| {
            if let Some(engine) = weak.upgrade() {
                engine.on_wakeup(&wakeup);
            }
        }));
        let mut tasks = vec![
            tokio::spawn(commit::run(shared, turns)),
            tokio::spawn(claim::run(engine.clone())),
            tokio::spawn(lease::run(engine.clone())),
            tokio::spawn(mail::run(engine.clone())),
            tokio::spawn(lease::reassure(engine.clone())),
        ];
        if let Some(interval) = options.sweep {
            tasks.push(tokio::spawn(retain::run(engine.clone(), interval)));
        }
        if let Some(limit) = options.max_poll {
            tasks.push(tokio::spawn(watchdog::run(engine.clone(), limit)));
        }
        let client = Client::of_executor(store, engine.clone());
        Ok(Self { engine, client, tasks, _watch: watch })
    }

    /// A client that starts runs in this executor at once where there is room.
    pub fn client(&self) -> Client {
        self.client.clone()
    }

    /// The id of this executor's current life.
    pub fn id(&self) -> ExecutorId {
        self.engine.life.executor()
    }

    /// How many runs are in memory, waiting ones counted.
    pub fn resident(&self) -> usize {
        self.engine.shared.resident.load(Ordering::Acquire)
    }

    /// How often this executor has run a workflow's code from its beginning: once for each time a run was taken up.
    /// A wait that stays in memory adds nothing.
    pub fn replays(&self) -> u64 {
        self.engine.shared.replays.load(Ordering::Relaxed)
    }

    /// Ends the executor in good order: claims nothing more, lets commits that are under way end, hands all its runs
    /// over to others at once, and unregisters. Step bodies that are running are dropped, and run again elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when the store can't be told; the runs are taken over when the lease has run out, then.
    pub async fn shutdown(mut self) -> Result<(), Error> {
        let first = self.engine.life.executor();
        self.engine.closing.store(true, Ordering::Release);
        // After a lease without an answer nothing of ours can be written any more.
        if tokio::time::timeout(self.engine.lease, self.engine.drain()).await.is_err() {
            tracing::warn!("commits are still under way after a whole lease: closing without them");
            // They would be in the way. A driver that doesn't answer is in the middle of a workflow's code.
            let _ = tokio::time::timeout(self.engine.heartbeat, lease::drop_runs(&self.engine)).await;
        }
        // One that ended meanwhile was perhaps closed by nobody.
        let mut lives = vec![first, self.engine.life.executor()];
        lives.dedup();
        let mut closed = Ok(0);
        for life in lives.into_iter().filter(|life| !life.0.is_nil()) {
            closed = closed.and(self.engine.shared.env.store.close(life).await);
        }
        self.stop();
        for task in std::mem::take(&mut self.tasks) {
            task.abort();
        }
        closed?;
        Ok(())
    }

    fn stop(&self) {
        self.engine.closing.store(true, Ordering::Release);
        self.engine.closed.send_replace(true);
        for driver in 0..self.engine.drivers() {
            self.engine.shared.tell(driver, Msg::Stop);
        }
    }
}

impl Drop for Executor {
    fn drop(&mut self) {
        self.stop();
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// What a client of this executor needs to start a run at once.
impl Engine {
    /// Takes a place for a new run, if there is room in memory and in its queue.
    pub(crate) fn reserve(&self, run: &NewRun) -> Option<(ExecutorId, Hold)> {
        let known = self.workflows.iter().any(|(name, version)| *name == run.workflow && *version == run.version);
        if !known || self.closing() || self.shared.resident.load(Ordering::Acquire) >= self.max_resident {
            return None;
        }
        let gate = self.shared.gates.get(&run.queue)?;
        let (hold, room) = gate.reserve(1);
        // After the place: in a life that ends meanwhile the place is void, and not the other way round.
        let executor = self.life.executor();
        (room == 1).then_some((executor, hold))
    }

    /// Gives a reserved place back.
    pub(crate) fn release(&self, queue: &str, hold: Hold) {
        if let Some(gate) = self.shared.gates.get(queue) {
            self.shared.give_back(gate, hold, 1);
        }
    }

    /// Begins a run that was created as owned.
    pub(crate) fn begin(&self, run: NewRun, (executor, hold): (ExecutorId, Hold), created_at: Timestamp) {
        self.shared.load(begun(run, created_at), executor, hold);
    }
}

/// A run that was created as owned, as if it had been claimed.
fn begun(run: NewRun, created_at: Timestamp) -> ClaimedRun {
    ClaimedRun {
        id: run.id,
        workflow: run.workflow,
        version: run.version,
        queue: run.queue,
        input: run.input,
        parent: run.parent,
        depth: run.depth,
        created_at,
        mail: 0,
        journal: Ok(Vec::new()),
        inbox: Vec::new(),
    }
}
