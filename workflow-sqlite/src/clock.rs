//! The store's clock: this host's, kept from ever going back.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use workflow_core::Timestamp;

/// The last instant that was handed out, and when by the clock that can't be set.
static LAST: Mutex<Option<(i64, Instant)>> = Mutex::new(None);

/// Now, in microseconds since 1970. Never less than an earlier answer in this process: when the host's clock is set
/// back, time goes on at half speed until the host's clock has caught up, so that leases still run out meanwhile.
#[expect(clippy::disallowed_methods, reason = "this is the clock that the store's users take instants from")]
pub(crate) fn now() -> i64 {
    let system = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX));
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let instant = Instant::now();
    let now = match *last {
        Some((at, since)) if system < at => at.saturating_add(micros(instant.duration_since(since)) / 2),
        _ => system,
    };
    *last = Some((now, instant));
    now
}

/// A duration in whole microseconds, rounded up so that nothing is early, and no more than fit.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(i64::MAX)
}

/// The instant `duration` after `now`, or the last one there is.
pub(crate) fn after(now: i64, duration: Duration) -> i64 {
    now.saturating_add(micros(duration)).min(Timestamp::MAX_UTC.timestamp_micros())
}

/// The instant of stored microseconds; those that no calendar holds are the nearest that one does.
pub(crate) fn timestamp(micros: i64) -> Timestamp {
    let nearest = if micros < 0 { Timestamp::MIN_UTC } else { Timestamp::MAX_UTC };
    Timestamp::from_timestamp_micros(micros).unwrap_or(nearest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "sets the clock's last reading")]
    fn now_never_goes_back() {
        let ahead = now() + 60_000_000;
        *LAST.lock().expect("not poisoned") = Some((ahead, Instant::now()));
        let (first, second) = (now(), now());
        assert!(ahead <= first && first <= second);
        *LAST.lock().expect("not poisoned") = None;
    }

    #[test]
    fn durations_without_end_stay_in_the_calendar() {
        assert_eq!(timestamp(after(0, Duration::MAX)).timestamp_micros(), Timestamp::MAX_UTC.timestamp_micros());
    }
}
