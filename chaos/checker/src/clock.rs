//! The two clocks of the ledger: the wall's, and one that never jumps.
#![expect(clippy::disallowed_methods, reason = "this is where the ledger takes its time from")]

use std::time::Instant;

use chrono::{SubsecRound, Utc};

use crate::record::Time;

/// The time of the wall, in microseconds as databases keep it.
pub(crate) fn wall() -> Time {
    Utc::now().trunc_subsecs(6)
}

/// A clock that begins where an earlier one ended.
pub(crate) struct Steady {
    began: Instant,
    before_us: u64,
}

impl Steady {
    pub(crate) fn after(before_us: u64) -> Self {
        Self { began: Instant::now(), before_us }
    }

    pub(crate) fn now_us(&self) -> u64 {
        let since = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.before_us.saturating_add(since)
    }
}
