//! The store's clock: tokio's paused time, as the machine of the store would show it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use workflow::Timestamp;
use workflow::memory::Clock;

/// What the store's clock counts from: 2025-01-01 00:00 UTC.
const EPOCH_MICROS: i64 = 1_735_689_600_000_000;

/// Follows the time of the runtime, a little slower if told so: then the executors' estimates of it are ahead, and
/// they ask for the end of timers too early. Each reading is a microsecond later than the one before, so that instants
/// differ. Clones show the same time.
#[derive(Debug, Clone)]
pub struct VirtualClock {
    begin: Instant,
    /// How fast it runs, in thousandths.
    rate: u32,
    last: Arc<Mutex<Duration>>,
}

impl VirtualClock {
    /// A clock that begins now.
    pub fn new(rate: u32) -> Self {
        Self { begin: Instant::now(), rate, last: Arc::default() }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        let passed = self.begin.elapsed() * self.rate / 1_000;
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = passed.max(*last + Duration::from_micros(1));
        let micros = i64::try_from(last.as_micros()).unwrap_or(i64::MAX);
        chrono::DateTime::from_timestamp_micros(EPOCH_MICROS.saturating_add(micros)).unwrap_or_default()
    }
}
