//! `ctx.sleep`: nothing happens for a while, across crashes and deploys.

use std::panic::Location;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Due, Operation, check_duration, micros, request, unit};
use crate::ctx::Ctx;
use crate::journal::Phase;
use crate::leaf::Op;
use crate::payload::Payload;

/// A sleep of a certain length.
#[derive(Debug, Clone, PartialEq)]
pub struct Sleep {
    duration: Duration,
}

#[derive(Serialize, Deserialize)]
struct Asked {
    for_us: i64,
}

impl Operation for Sleep {
    const KIND: &'static str = "sleep";

    fn asked(&self) -> Option<Payload> {
        Some(request(&Asked { for_us: micros(self.duration) }))
    }

    fn due(&self) -> Option<Due> {
        Some(Due::After(self.duration))
    }

    fn at_due(&self) -> (Phase, Payload) {
        (Phase::Ok, unit())
    }
}

impl Ctx {
    /// Sleeps for `duration`, by the store's clock, beginning when this line is first reached.
    ///
    /// A sleep longer than the executor's linger time costs neither memory nor a connection. At most 100 years.
    ///
    /// # Replay
    ///
    /// The time that has passed since the first time counts: a sleep that was over is over.
    /// A changed `duration` takes effect for a sleep that isn't over.
    ///
    /// # Errors
    ///
    /// A failure of kind `Cancelled` when the run is cancelled, of kind `Misuse` for more than 100 years.
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
    ///     ctx.sleep(Duration::from_secs(7 * 24 * 3600)).await?;
    ///     Ok(())
    /// }
    /// ```
    #[track_caller]
    pub fn sleep(&self, duration: Duration) -> Op<()> {
        let mut leaf = self.register(Location::caller(), Sleep { duration });
        if let Err(failure) = check_duration("a sleep", duration) {
            leaf.refuse(failure);
        }
        Op::new(leaf)
    }
}
