//! The store's clock, as far as this process knows it, and the process's own.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use workflow_core::Timestamp;

/// Whose time passes in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Local {
    /// The machine's.
    Machine,
    /// That of the tokio runtime, which a simulation pauses. Driver threads have no runtime, so it needs an executor
    /// without threads.
    Runtime,
}

impl Local {
    #[expect(clippy::disallowed_methods, reason = "the one place of the executor that reads the process's clock")]
    pub(crate) fn now(self) -> Instant {
        match self {
            Local::Machine => Instant::now(),
            Local::Runtime => tokio::time::Instant::now().into_std(),
        }
    }
}

/// A lower bound of the store's time: its last answer plus what has passed here since that answer arrived.
///
/// It only says when to look: whether a timer is due is decided by the store when the turn is committed.
#[derive(Debug)]
pub(crate) struct StoreClock {
    local: Local,
    last: Mutex<(Timestamp, Instant)>,
}

impl StoreClock {
    pub(crate) fn new(now: Timestamp, local: Local) -> Self {
        Self { local, last: Mutex::new((now, local.now())) }
    }

    /// The store answered `now` just now.
    pub(crate) fn learn(&self, now: Timestamp) {
        *self.lock() = (now, self.local.now());
    }

    pub(crate) fn now(&self) -> Timestamp {
        let (at, since) = *self.lock();
        at + self.local().saturating_duration_since(since)
    }

    /// How long until `at`.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        (at - self.now()).to_std().unwrap_or(Duration::ZERO)
    }

    /// Time in this process, for lingering and local leases.
    pub(crate) fn local(&self) -> Instant {
        self.local.now()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Timestamp, Instant)> {
        self.last.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
