//! Times: of this process, and of all processes of this machine.

use std::time::{Duration, SystemTime};

/// Microseconds since 1970: the same clock in every process of the machine, the server's included.
pub fn micros() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds from one such instant to a later one; 0 when the first is later.
pub fn ms_between(from: u64, to: u64) -> f64 {
    to.saturating_sub(from) as f64 / 1_000.0
}

/// Milliseconds from each such instant to the next.
pub fn between(instants: &[u64]) -> Vec<f64> {
    instants.windows(2).map(|pair| ms_between(pair[0], pair[1])).collect()
}

/// A duration in milliseconds.
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// Lets time pass.
pub async fn pass(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds.max(0.0))).await;
}
