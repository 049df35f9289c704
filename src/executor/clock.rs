//! The store's clock, as far as this process knows it.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use workflow_core::Timestamp;

/// A lower bound of the store's time: its last answer plus what has passed here since that answer arrived.
///
/// It only says when to look: whether a timer is due is decided by the store when the turn is committed.
#[derive(Debug)]
pub(crate) struct StoreClock(Mutex<(Timestamp, Instant)>);

#[expect(clippy::disallowed_methods, reason = "the one place of the executor that reads the process's clock")]
fn instant() -> Instant {
    Instant::now()
}

impl StoreClock {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self(Mutex::new((now, instant())))
    }

    /// The store answered `now` just now.
    pub(crate) fn learn(&self, now: Timestamp) {
        *self.lock() = (now, instant());
    }

    pub(crate) fn now(&self) -> Timestamp {
        let (at, since) = *self.lock();
        at + since.elapsed()
    }

    /// How long until `at`.
    pub(crate) fn until(&self, at: Timestamp) -> Duration {
        (at - self.now()).to_std().unwrap_or(Duration::ZERO)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Timestamp, Instant)> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// Time in this process, for lingering and local leases.
pub(crate) fn local() -> Instant {
    instant()
}
