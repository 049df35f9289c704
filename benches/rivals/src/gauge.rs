//! What the bodies of workflows and steps leave behind for the measurement. There is one rival in a process, so that
//! these are global.

use std::future::pending;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static STEPS: AtomicU64 = AtomicU64::new(0);
static WAITING: AtomicU64 = AtomicU64::new(0);
static STAMPING: AtomicBool = AtomicBool::new(false);
static STAMPS: Mutex<Vec<Instant>> = Mutex::new(Vec::new());
static RESUMING: AtomicBool = AtomicBool::new(false);

/// The body of a trivial step.
pub fn step() {
    STEPS.fetch_add(1, Ordering::Relaxed);
    if STAMPING.load(Ordering::Relaxed) {
        STAMPS.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
    }
}

/// How many bodies of steps have run.
pub fn steps() -> u64 {
    STEPS.load(Ordering::Relaxed)
}

/// A workflow is about to wait for an event.
pub fn waiting() {
    WAITING.fetch_add(1, Ordering::Relaxed);
}

/// How many have been about to wait.
pub fn waiters() -> u64 {
    WAITING.load(Ordering::Relaxed)
}

/// Notes from now on when steps run.
pub fn start_stamping() {
    STAMPS.lock().unwrap_or_else(PoisonError::into_inner).clear();
    STAMPING.store(true, Ordering::Relaxed);
}

/// The time from each step to the next.
pub fn stop_stamping() -> Vec<Duration> {
    STAMPING.store(false, Ordering::Relaxed);
    let stamps = std::mem::take(&mut *STAMPS.lock().unwrap_or_else(PoisonError::into_inner));
    stamps.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// This process is to go on with what another one began.
pub fn resuming() {
    RESUMING.store(true, Ordering::Relaxed);
}

/// The step after those that are replayed: tells the process that measures that it has been reached, and how many steps
/// this process has run before; then waits to be killed.
pub async fn gate() {
    let word = if RESUMING.load(Ordering::Relaxed) { "resumed" } else { "ready" };
    say(&format!("{word} {}", steps()));
    pending().await
}

/// A line for the process that measures.
pub fn say(line: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Nanoseconds on the clock that the processes of one machine share.
pub fn clock() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The value below which that part of them is, in milliseconds.
pub fn percentile(times: &[Duration], part: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let index = (sorted.len() as f64 * part) as usize;
    sorted.get(index.min(sorted.len().saturating_sub(1))).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
}
