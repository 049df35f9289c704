//! Until when the lease lasts for certain, by this process's clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use workflow_core::ExecutorId;

/// What is known of the lease.
#[derive(Debug)]
pub(crate) struct Term(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Whose lease it is.
    executor: ExecutorId,
    /// For how long the lease lasts for certain once it is known to, if not to its end.
    notice: Option<Duration>,
    until: Instant,
}

/// A call to the store, whose answer may tell how much of the lease is left.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    executor: ExecutorId,
    notice: Option<Duration>,
}

impl Asked {
    /// The call itself has the lease end with this notice.
    pub(crate) fn for_notice(self, notice: Option<Duration>) -> Self {
        Self { notice, ..self }
    }
}

impl Term {
    /// Nothing is known yet.
    pub(crate) fn new(now: Instant) -> Self {
        Self(Mutex::new(State { executor: ExecutorId(uuid::Uuid::nil()), notice: None, until: now }))
    }

    /// A life begins with a call that was sent at `sent`, with such a lease and notice.
    pub(crate) fn begin(&self, executor: ExecutorId, sent: Instant, lease: Duration, notice: Option<Duration>) {
        *self.lock() = State { executor, notice, until: end(sent, least([Some(lease), notice])) };
    }

    /// A call for this executor is about to be sent.
    pub(crate) fn asked(&self, executor: ExecutorId, now: Instant) -> Asked {
        Asked { at: now, executor, notice: self.lock().notice }
    }

    /// The call told that the lease lasts until `left` from then, unless it is ended with notice: with that of the time of the
    /// call, as what is longer wasn't agreed on yet. What was promised before still holds.
    pub(crate) fn renewed(&self, asked: Asked, left: Duration) {
        let mut state = self.lock();
        if asked.executor == state.executor {
            let rest = least([Some(left), asked.notice, state.notice]);
            state.until = state.until.max(end(asked.at, rest));
        }
    }

    pub(crate) fn notice(&self) -> Option<Duration> {
        self.lock().notice
    }

    /// From now on the lease of this executor is ended with this notice, if at all before its end.
    pub(crate) fn set_notice(&self, executor: ExecutorId, now: Instant, notice: Option<Duration>) {
        let mut state = self.lock();
        if state.executor != executor {
            return;
        }
        if let Some(notice) = notice.filter(|less| state.notice.is_none_or(|old| *less < old)) {
            state.until = state.until.min(end(now, notice));
        }
        state.notice = notice;
    }

    /// How much is left.
    pub(crate) fn rest(&self, now: Instant) -> Duration {
        self.lock().until.saturating_duration_since(now)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn least<const N: usize>(times: [Option<Duration>; N]) -> Duration {
    times.into_iter().flatten().min().unwrap_or_default()
}

/// The end of a lease; one beyond what the clock can tell lasts for a year at a time.
fn end(sent: Instant, lease: Duration) -> Instant {
    sent.checked_add(lease).unwrap_or(sent + Duration::from_secs(365 * 24 * 3600))
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "any instant will do")]
mod tests {
    use super::*;

    const ONE: ExecutorId = ExecutorId(uuid::Uuid::from_u128(1));
    const TWO: ExecutorId = ExecutorId(uuid::Uuid::from_u128(2));
    const MS: Duration = Duration::from_millis(1);
    const LEASE: Duration = Duration::from_secs(5);

    #[test]
    fn an_answer_counts_from_its_question_with_the_notice_of_then() {
        let now = Instant::now();
        let term = Term::new(now);
        term.begin(ONE, now, LEASE, Some(MS * 60));
        assert_eq!(term.rest(now), MS * 60);
        let early = term.asked(ONE, now + MS * 10);
        let later = term.asked(ONE, now + MS * 20).for_notice(Some(MS * 240));
        term.set_notice(ONE, now + MS * 30, Some(MS * 240));
        term.renewed(later, LEASE);
        assert_eq!(term.rest(now), MS * 260);
        // More notice wasn't agreed on when it was asked.
        let other = Term::new(now);
        other.begin(ONE, now, LEASE, Some(MS * 60));
        let asked = other.asked(ONE, now + MS * 10);
        other.set_notice(ONE, now + MS * 30, Some(MS * 240));
        other.renewed(asked, LEASE);
        assert_eq!(other.rest(now), MS * 70);
        term.renewed(early, LEASE);
        assert_eq!(term.rest(now), MS * 260, "a late answer takes nothing back");
    }

    #[test]
    fn less_notice_shortens_what_can_be_relied_on() {
        let now = Instant::now();
        let term = Term::new(now);
        term.begin(ONE, now, LEASE, None);
        assert_eq!(term.rest(now), LEASE);
        let asked = term.asked(ONE, now);
        term.set_notice(ONE, now, Some(MS * 60));
        term.renewed(asked, LEASE);
        assert_eq!(term.rest(now), MS * 60);
    }

    #[test]
    fn an_answer_to_an_earlier_life_says_nothing_of_this_one() {
        let now = Instant::now();
        let term = Term::new(now);
        term.begin(ONE, now, LEASE, None);
        let asked = term.asked(ONE, now + MS);
        term.begin(TWO, now, MS * 100, None);
        term.renewed(asked, LEASE);
        term.set_notice(ONE, now, Some(MS));
        assert_eq!((term.rest(now), term.notice()), (MS * 100, None));
        term.begin(ONE, now, Duration::MAX, None);
        assert!(term.rest(now) >= LEASE);
    }
}
