//! What the machine needs of the process around it: state by type, a runtime for step bodies, timers, limits.

use std::any::{Any, TypeId};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::ExecutorId;
use crate::payload::{Codec, DEFAULT_MAX_PAYLOAD_BYTES};
use crate::store::Store;

/// A future that may be moved between threads.
pub type SendFuture = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The process around a machine. The executor implements it with tokio, the tests without.
pub trait Env: Send + Sync + 'static {
    /// The limits and habits of every machine.
    fn options(&self) -> &MachineOptions;

    /// The application's state of this type.
    fn state(&self, id: TypeId) -> Option<Arc<dyn Any + Send + Sync>>;

    /// Calls `f` where a step body may do everything: with the async runtime entered.
    fn enter(&self, f: &mut dyn FnMut());

    /// Ready after `delay`. Polled inside [`Env::enter`].
    fn timer(&self, delay: Duration) -> SendFuture;

    /// Runs `task` to its end, whatever becomes of the workflow.
    fn spawn(&self, task: SendFuture);

    /// A uniformly random number in 0..1, for the jitter of retries.
    fn random(&self) -> f64;

    /// The store that the run's journal is in.
    fn store(&self) -> Arc<dyn Store>;

    /// The executor that owns the run now.
    fn executor(&self) -> ExecutorId;
}

/// The limits and habits of a machine.
#[derive(Debug, Clone)]
pub struct MachineOptions {
    /// How payloads are encoded. Default: JSON.
    pub codec: Codec,
    /// The largest payload in bytes. Default: 2 MiB.
    pub max_payload_bytes: usize,
    /// The most operations that may be pending in a run at once. Default: 2,000.
    pub max_pending: usize,
    /// The most children of one run. Default: 10,000.
    pub max_children: usize,
    /// The deepest child. Default: 32.
    pub max_depth: i32,
    /// The most entries of one run. Default: 50,000.
    pub max_entries: u32,
    /// The most payload bytes in the journal of one run. Default: 64 MiB.
    pub max_journal_bytes: usize,
    /// How long ended children and emitted events are kept. Default: 7 days.
    pub retain: Duration,
    /// Whether every run is replayed once from its journal after each commit. Default: in debug builds.
    pub verify: bool,
    /// Whether a changed input of a child is only warned about, for inputs that serialise in random order. Default: no.
    pub lenient_inputs: bool,
}

impl Default for MachineOptions {
    fn default() -> Self {
        Self {
            codec: Codec::Json,
            max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES,
            max_pending: 2_000,
            max_children: 10_000,
            max_depth: 32,
            max_entries: 50_000,
            max_journal_bytes: 64 * 1024 * 1024,
            retain: Duration::from_secs(7 * 24 * 3600),
            verify: cfg!(debug_assertions),
            lenient_inputs: false,
        }
    }
}

/// What wakes a machine from outside: called from any thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The body of this operation can go on.
    Body(usize),
    /// Something that is no operation woke the workflow.
    Foreign,
}

/// Receives the notices of one machine; never blocks.
pub type Notify = Arc<dyn Fn(Notice) + Send + Sync>;
