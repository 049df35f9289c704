//! Turns: what a run commits at once, and what becomes of it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::types::{Mail, NewEvent, NewMessage, NewRun, Status, Subscription};
use crate::ids::{RunId, Timestamp};
use crate::journal::{Fact, OpKey};
use crate::payload::Payload;

/// When a hung-up run wakes by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wake {
    /// At this instant.
    pub at: Option<Timestamp>,
    /// This long after the commit. With both, the earlier.
    pub after: Option<Duration>,
}

/// What one turn of one run commits. Everything in it happens together or not at all.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// The run.
    pub run: RunId,
    /// The position of the first of `entries`.
    pub position: u32,
    /// The new entries, at consecutive positions.
    pub entries: Vec<Fact>,
    /// The messages up to this seq are consumed: their rows go. 0 for none.
    pub consumed: u64,
    /// Refuse the turn as [`TurnOutcome::TooEarly`] when the store's clock is before this.
    pub not_before: Option<Timestamp>,
    /// Children to create, idempotent by id alone: where a run with that id exists, it is left alone. They have no
    /// `invoke_id`, since there is nobody to tell of a conflict.
    pub starts: Vec<NewRun>,
    /// Messages to other runs.
    pub sends: Vec<NewMessage>,
    /// Events.
    pub emits: Vec<NewEvent>,
    /// Subscriptions to make. A run has at most one per `op`: one that it has already is left as it is.
    pub subscribe: Vec<Subscription>,
    /// Subscriptions to end, by the key of their message.
    pub unsubscribe: Vec<OpKey>,
    /// What becomes of the run.
    pub then: Then,
}

impl Turn {
    /// Whether it starts nothing, emits nothing and waits for no event: a store can write it in one go, without looking for
    /// what else it concerns.
    pub fn is_plain(&self) -> bool {
        self.starts.is_empty() && self.emits.is_empty() && self.subscribe.is_empty()
    }

    /// A turn that writes nothing yet.
    pub fn new(run: RunId, position: u32) -> Self {
        Self {
            run,
            position,
            entries: Vec::new(),
            consumed: 0,
            not_before: None,
            starts: Vec::new(),
            sends: Vec::new(),
            emits: Vec::new(),
            subscribe: Vec::new(),
            unsubscribe: Vec::new(),
            then: Then::Keep,
        }
    }
}

/// What becomes of the run after a turn.
#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    /// Its owner keeps it. The run's row isn't touched.
    Keep,
    /// It waits, owned by nobody.
    HangUp {
        /// How many messages the owner has seen.
        seen: u64,
        /// When it wakes by itself; neither for never.
        wake: Wake,
    },
    /// It ends. All its subscriptions and unconsumed messages go.
    Finish {
        /// `Completed`, `Failed` or `Cancelled`.
        status: Status,
        /// The output, or the failure.
        output: Payload,
    },
    /// It is parked.
    Park(ParkReason),
}

/// Why a run is parked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkReason {
    /// The stable code: `DIVERGED`, `FOREIGN_AWAIT`, `POISONED`, ..
    pub code: String,
    /// What happened and what to do. Without NUL, which Postgres has no text for.
    pub message: String,
}

/// What became of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnOutcome {
    /// It is committed.
    Done,
    /// The store's clock is before its `not_before`.
    TooEarly,
    /// The run doesn't exist or belongs to somebody else. Only told when `then` isn't `Keep`.
    NotOwned,
}

/// The answer to a commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed {
    /// The time of the new entries, and of all else that this commit did (the start of a child, the end of a run).
    pub now: Timestamp,
    /// One per turn, in order.
    pub turns: Vec<TurnOutcome>,
    /// Messages that this commit sent to runs of the same executor: a short cut past
    /// [`Wakeup::Mail`](super::Wakeup::Mail). A store may leave some out, and then wakes instead.
    pub mail: Vec<Mail>,
    /// How much of the executor's lease was left at `now`, if that came without asking for it. It may be ended earlier, as
    /// [`Store::notice`](super::Store::notice) tells.
    pub lease_left: Option<Duration>,
}
