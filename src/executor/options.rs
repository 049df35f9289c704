//! What can be set on an executor, and its defaults.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use workflow_core::env::MachineOptions;
use workflow_core::ids::check_name;
use workflow_core::registry::{AnyWorkflow, Erased};
use workflow_core::retry::MAX_DURATION;
use workflow_core::{Codec, Store, Workflow};

use super::Executor;
use super::clock::Local;
use crate::error::{Error, Misuse};

/// A queue that an executor serves.
///
/// ```
/// # use workflow::Queue;
/// let fast = Queue::new("fast").concurrency(5);
/// ```
#[derive(Debug, Clone)]
pub struct Queue {
    pub(crate) name: String,
    pub(crate) concurrency: usize,
}

impl Queue {
    /// The queue of this name, with a concurrency of 1,000.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), concurrency: 1_000 }
    }

    /// How many runs of the queue this executor works on at once. Runs that wait (for time, events, children) don't
    /// count. At least 1.
    pub fn concurrency(mut self, runs: usize) -> Self {
        self.concurrency = runs;
        self
    }
}

pub(crate) struct Options {
    pub(crate) name: String,
    pub(crate) lease: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) linger: Duration,
    pub(crate) poll: Duration,
    pub(crate) max_resident: usize,
    pub(crate) max_crashes: u32,
    pub(crate) drivers: usize,
    /// Whose time rules; the runtime's also makes the drivers tasks of it.
    pub(crate) local: Local,
    pub(crate) awake: Duration,
    pub(crate) writers: usize,
    pub(crate) sweep: Option<Duration>,
    pub(crate) max_poll: Option<Duration>,
    pub(crate) machine: MachineOptions,
}

pub(crate) type States = HashMap<TypeId, Arc<dyn Any + Send + Sync>>;
pub(crate) type Registry = BTreeMap<(&'static str, i32), Arc<dyn AnyWorkflow>>;

/// Makes an [`Executor`]. From [`Executor::builder`].
pub struct Builder {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) options: Options,
    pub(crate) registry: Registry,
    pub(crate) queues: Vec<Queue>,
    pub(crate) states: States,
    pub(crate) problem: Option<Error>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.registry.keys().collect();
        f.debug_struct("Builder").field("workflows", &names).field("queues", &self.queues).finish_non_exhaustive()
    }
}

impl Builder {
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            store,
            options: Options {
                name: format!("pid {}", std::process::id()),
                lease: Duration::from_secs(5),
                heartbeat: Duration::from_secs(1),
                linger: Duration::from_secs(10),
                poll: Duration::from_secs(5),
                max_resident: 10_000,
                max_crashes: 20,
                drivers: cores.min(8),
                local: Local::Machine,
                awake: Duration::from_micros(500),
                writers: 4,
                sweep: Some(Duration::from_secs(60)),
                max_poll: Some(Duration::from_secs(5)),
                machine: MachineOptions::default(),
            },
            registry: BTreeMap::new(),
            queues: Vec::new(),
            states: HashMap::new(),
            problem: None,
        }
    }

    /// Registers a workflow: this executor runs it, in the version it has. Its queue is served, too, with a
    /// concurrency of 1,000 unless [`Builder::queue`] says otherwise.
    pub fn register<W: Workflow>(mut self, workflow: W) -> Self {
        for (what, name) in [("workflow", W::NAME), ("queue", W::QUEUE)] {
            if let Err(error) = check_name(what, name) {
                self.problem.get_or_insert(error.into());
            }
        }
        let erased: Arc<dyn AnyWorkflow> = Arc::new(Erased(workflow));
        let place = erased.place();
        if let Some(other) = self.registry.insert((W::NAME, W::VERSION), erased) {
            self.problem.get_or_insert(
                Misuse::DuplicateWorkflow { name: W::NAME, version: W::VERSION, first: other.place(), second: place }
                    .into(),
            );
        }
        self
    }

    /// Serves a queue, or changes the concurrency of one.
    pub fn queue(mut self, queue: Queue) -> Self {
        if let Err(error) = check_name("queue", &queue.name) {
            self.problem.get_or_insert(error.into());
        }
        if queue.concurrency == 0 {
            self.problem.get_or_insert(Misuse::ZeroConcurrency { queue: queue.name.clone() }.into());
        }
        self.queues.retain(|q| q.name != queue.name);
        self.queues.push(queue);
        self
    }

    /// Gives steps a value of the application by its type: a connection pool, an HTTP client. A second value of the
    /// same type replaces the first.
    pub fn state<S: Send + Sync + 'static>(mut self, value: S) -> Self {
        self.states.insert(TypeId::of::<S>(), Arc::new(value));
        self
    }

    /// A name for people: shown by tools. Default: the process id.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.options.name = name.into();
        self
    }

    /// How long the store waits for a sign of life before others take this executor's runs over, and how often it
    /// gives one. Default: 5 s and 1 s. `heartbeat` must be at most a third of `lease`.
    pub fn lease(mut self, lease: Duration, heartbeat: Duration) -> Self {
        if heartbeat.is_zero() || lease / 3 < heartbeat {
            self.problem.get_or_insert(Misuse::ShortLease { lease, heartbeat }.into());
        }
        self.options.lease = lease;
        self.options.heartbeat = heartbeat;
        self
    }

    /// How long a waiting run stays in memory before it hangs up. A run that waits for a later time hangs up at
    /// once. Default: 10 s.
    pub fn linger(mut self, linger: Duration) -> Self {
        // Above, the end of it is no instant any more.
        self.options.linger = linger.min(MAX_DURATION);
        self
    }

    /// How often the executor looks for work that no wake-up told of, unless a heartbeat has looked meanwhile. Default: 5 s.
    pub fn poll_interval(mut self, interval: Duration) -> Self {
        self.options.poll = interval.clamp(Duration::from_millis(10), MAX_DURATION);
        self
    }

    /// How many runs may be in memory, waiting ones counted. Default: 10,000.
    pub fn max_resident(mut self, runs: usize) -> Self {
        self.options.max_resident = runs.max(1);
        self
    }

    /// After how many crashes of executors without progress a run is parked as `POISONED`. Default: 20.
    pub fn max_crashes(mut self, crashes: u32) -> Self {
        self.options.max_crashes = crashes.max(1);
        self
    }

    /// How many threads drive workflows. On Postgres each has a connection of its own, beside the pool's. Default: the number
    /// of cores, at most 8.
    pub fn driver_threads(mut self, threads: usize) -> Self {
        self.options.drivers = threads.max(1);
        self
    }

    /// Drives workflows in tasks of the calling thread's `LocalSet` instead of threads of their own, and takes the
    /// time from the tokio runtime: on one thread with a paused clock nothing is left to chance then. For simulations
    /// alone, as a workflow that awaits what needs tokio outside of a step isn't told so at its first poll.
    ///
    /// Not public API.
    #[doc(hidden)]
    pub fn drive_in_tasks(mut self) -> Self {
        self.options.local = Local::Runtime;
        self.options.awake = Duration::ZERO;
        self
    }

    /// For how long a driver thread stays awake for the answer to a commit before it sleeps, which on an idle machine makes
    /// a step a third faster and costs that much processor time a commit. Only while one run is active in this executor,
    /// which commits step by step over a connection of the thread's own (Postgres), while commits take less than this, and
    /// with more than one processor; the thread yields to all others meanwhile. Zero: never. Default: 500 µs, and at most
    /// 10 ms.
    pub fn busy_poll(mut self, limit: Duration) -> Self {
        self.options.awake = limit.min(Duration::from_millis(10));
        self
    }

    /// How many commits may be under way at once. Default: 4.
    pub fn writers(mut self, writers: usize) -> Self {
        self.options.writers = writers.max(1);
        self
    }

    /// How long ended runs and emitted events are kept by default. Default: 7 days.
    pub fn retain(mut self, retain: Duration) -> Self {
        self.options.machine.retain = retain;
        self
    }

    /// How often what has outlived its retention is deleted; `None` leaves that to others. Default: every minute.
    pub fn sweep_interval(mut self, interval: Option<Duration>) -> Self {
        self.options.sweep = interval.map(|interval| interval.clamp(Duration::from_millis(10), MAX_DURATION));
        self
    }

    /// How long the code of a workflow or of a step's body may keep its thread between two awaits before a warning with
    /// code `BLOCKED` says in the log which run it is; `None` for no warning. The other runs of that thread wait for as
    /// long as it takes, those of other threads go on. Default: 5 s.
    pub fn max_poll(mut self, limit: Option<Duration>) -> Self {
        self.options.max_poll = limit.map(|limit| limit.clamp(Duration::from_millis(10), MAX_DURATION));
        self
    }

    /// How new payloads are encoded. Default: JSON.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.options.machine.codec = codec;
        self
    }

    /// The largest payload in bytes. Default: 2 MiB.
    pub fn max_payload_bytes(mut self, bytes: usize) -> Self {
        self.options.machine.max_payload_bytes = bytes;
        self
    }

    /// The most operations that may be pending in one run at once. Default: 2,000.
    pub fn max_pending(mut self, operations: usize) -> Self {
        self.options.machine.max_pending = operations;
        self
    }

    /// The most children of one run. Default: 10,000.
    pub fn max_children(mut self, children: usize) -> Self {
        self.options.machine.max_children = children;
        self
    }

    /// How many generations of children a run may have. Default: 32.
    pub fn max_depth(mut self, generations: u16) -> Self {
        self.options.machine.max_depth = i32::from(generations);
        self
    }

    /// The most entries and payload bytes in one run's journal. Default: 50,000 and 64 MiB.
    pub fn max_journal(mut self, entries: u32, bytes: usize) -> Self {
        self.options.machine.max_entries = entries;
        self.options.machine.max_journal_bytes = bytes;
        self
    }

    /// Whether every run is replayed once from its journal after each commit, to find what isn't deterministic.
    /// Default: in debug builds.
    pub fn verify(mut self, verify: bool) -> Self {
        self.options.machine.verify = verify;
        self
    }

    /// Whether a child's input that differs from the recorded one is only warned about: for inputs that serialise in
    /// random order, as a `HashMap` does. Default: no.
    pub fn lenient_inputs(mut self, lenient: bool) -> Self {
        self.options.machine.lenient_inputs = lenient;
        self
    }

    /// Brings the store's schema to this version, registers the executor and starts it.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] for what was set wrongly, [`Error::Store`] when the store can't be used.
    pub async fn start(self) -> Result<Executor, Error> {
        Executor::start(self).await
    }
}
