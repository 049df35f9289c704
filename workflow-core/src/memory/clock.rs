//! The clocks a memory store may be given.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, TimeDelta};

use crate::ids::Timestamp;

/// What a [`MemoryStore`](super::MemoryStore) takes for the time.
pub trait Clock: Debug + Send + Sync + 'static {
    /// Now. When it goes back, the store's time stands still until the clock has caught up.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one clock in core, and only for who asks for it")]
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }
}

/// A clock that moves only when it is told to. Clones show the same time.
///
/// ```
/// use std::time::Duration;
/// use workflow_core::memory::{Clock, ManualClock};
///
/// let clock = ManualClock::new();
/// let before = clock.now();
/// clock.clone().advance(Duration::from_secs(3_600));
/// assert_eq!((clock.now() - before).num_hours(), 1);
/// ```
#[derive(Debug, Clone)]
pub struct ManualClock {
    micros: Arc<AtomicI64>,
}

impl ManualClock {
    /// A clock that shows 2025-01-01 00:00 UTC.
    pub fn new() -> Self {
        Self::at(DateTime::UNIX_EPOCH + TimeDelta::days(20_089))
    }

    /// A clock that shows `now`.
    pub fn at(now: Timestamp) -> Self {
        Self { micros: Arc::new(AtomicI64::new(now.timestamp_micros())) }
    }

    /// Moves the clock on by `by`.
    pub fn advance(&self, by: Duration) {
        self.set(later(self.now(), by));
    }

    /// Sets the clock to `now`, also back.
    pub fn set(&self, now: Timestamp) {
        self.micros.store(now.timestamp_micros(), Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        DateTime::from_timestamp_micros(self.micros.load(Ordering::SeqCst)).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

/// `by` after `now`, rounded up to the microsecond, and the last second of the year 9999 where that is too far.
pub(super) fn later(now: Timestamp, by: Duration) -> Timestamp {
    const END: i64 = 253_402_300_799_000_000;
    let micros = i64::try_from(by.as_nanos().div_ceil(1_000)).unwrap_or(i64::MAX);
    let then = now.timestamp_micros().saturating_add(micros).min(END);
    DateTime::from_timestamp_micros(then).unwrap_or(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_rounds_up_and_never_overflows() {
        let now = ManualClock::new().now();
        assert_eq!(now.to_rfc3339(), "2025-01-01T00:00:00+00:00");
        assert_eq!(later(now, Duration::from_nanos(1)), now + TimeDelta::microseconds(1));
        assert_eq!(later(now, Duration::from_micros(1)), now + TimeDelta::microseconds(1));
        assert_eq!(later(now, Duration::MAX).to_rfc3339(), "9999-12-31T23:59:59+00:00");
        assert_eq!(later(later(now, Duration::MAX), Duration::MAX), later(now, Duration::MAX));
    }
}
