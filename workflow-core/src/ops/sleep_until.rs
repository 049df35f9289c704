//! `ctx.sleep_until`: nothing happens until an instant.

use std::panic::Location;

use serde::{Deserialize, Serialize};

use super::{Due, Operation, request, unit};
use crate::ctx::Ctx;
use crate::failure::Failure;
use crate::ids::Timestamp;
use crate::journal::Phase;
use crate::leaf::Op;
use crate::payload::Payload;
use crate::retry::MAX_DURATION;

/// A sleep until an instant.
#[derive(Debug, Clone, PartialEq)]
pub struct SleepUntil {
    until: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Asked {
    until: Timestamp,
}

impl Operation for SleepUntil {
    const KIND: &'static str = "sleep_until";

    fn asked(&self) -> Option<Payload> {
        Some(request(&Asked { until: self.until }))
    }

    fn due(&self) -> Option<Due> {
        Some(Due::At(self.until))
    }

    fn at_due(&self) -> (Phase, Payload) {
        (Phase::Ok, unit())
    }
}

impl Ctx {
    /// Sleeps until `until`, by the store's clock; an instant that has passed is over at once. At most 100 years away.
    ///
    /// # Replay
    ///
    /// A sleep that was over is over. A changed `until` takes effect for a sleep that isn't.
    ///
    /// # Errors
    ///
    /// A failure of kind `Cancelled` when the run is cancelled, of kind `Misuse` for an instant more than 100 years
    /// from [`Ctx::now`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the sleep; nothing is left over.
    ///
    /// # Examples
    ///
    /// ```
    /// # use workflow_core::{Ctx, Result};
    /// # use std::time::Duration;
    /// async fn remind(ctx: Ctx) -> Result<()> {
    ///     let deadline = ctx.now() + Duration::from_secs(24 * 3600);
    ///     ctx.step("ask", || async { Ok(()) }).await?;
    ///     ctx.sleep_until(deadline).await
    /// }
    /// ```
    #[track_caller]
    pub fn sleep_until(&self, until: Timestamp) -> Op<()> {
        let now = self.now();
        // Databases have calendars of their own: what has passed long ago is as good as the epoch.
        let mut leaf = self.register(Location::caller(), SleepUntil { until: until.max(Timestamp::UNIX_EPOCH) });
        if (until - now).to_std().is_ok_and(|wait| wait > MAX_DURATION) {
            leaf.refuse(Failure::misuse(format!("a sleep until {until} is more than the limit of 100 years away")));
        }
        Op::new(leaf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instant_is_recorded_and_is_when_it_ends() {
        let until = Timestamp::from_timestamp_millis(1_700_000_000_123).expect("a valid instant");
        let sleep = SleepUntil { until };
        assert_eq!(sleep.asked().expect("recorded").display(), r#"{"until":"2023-11-14T22:13:20.123Z"}"#);
        assert_eq!(sleep.due(), Some(Due::At(until)));
    }
}
