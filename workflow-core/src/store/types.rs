//! The rows that go in and out of a store.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::turn::ParkReason;
use crate::ids::{ExecutorId, RunId, Timestamp};
use crate::journal::{Entry, Fact, OpKey};
use crate::payload::Payload;

/// Where a run is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Any executor may claim it.
    Ready,
    /// An executor owns it.
    Running,
    /// Hung up: waits for a message or for its wake time.
    Waiting,
    /// Ended well. Terminal.
    Completed,
    /// Ended with a failure. Terminal.
    Failed,
    /// Ended after it was cancelled. Terminal.
    Cancelled,
    /// Can't go on until someone mends something: diverged, poisoned, unreadable. Its journal is untouched.
    Parked,
}

impl Status {
    /// Every status.
    pub const ALL: [Status; 7] = [
        Status::Ready,
        Status::Running,
        Status::Waiting,
        Status::Completed,
        Status::Failed,
        Status::Cancelled,
        Status::Parked,
    ];

    /// The word that is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Ready => "ready",
            Status::Running => "running",
            Status::Waiting => "waiting",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Cancelled => "cancelled",
            Status::Parked => "parked",
        }
    }

    /// The status of a stored word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|s| s.as_str() == word)
    }

    /// Whether the run has ended for ever.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Status::Completed | Status::Failed | Status::Cancelled)
    }
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The run and operation that wait for a child's outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentRef {
    /// The parent.
    pub run: RunId,
    /// Its operation: the key of the message that carries the outcome.
    pub key: OpKey,
}

/// A run to create.
#[derive(Debug, Clone, PartialEq)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// The name of its workflow.
    pub workflow: String,
    /// The version of its workflow.
    pub version: i32,
    /// Its queue.
    pub queue: String,
    /// Its input.
    pub input: Payload,
    /// [`Payload::digest`] of the input, kept to compare with a later call of the same id.
    pub input_digest: [u8; 32],
    /// The user's own id, unique in the store.
    pub invoke_id: Option<String>,
    /// The parent, for a child that isn't detached.
    pub parent: Option<ParentRef>,
    /// 0 for a run from outside, one more than its parent for a child.
    pub depth: i32,
    /// How long from now it waits before it may be claimed.
    pub delay: Option<Duration>,
    /// How long it is kept after it ended.
    pub retain: Duration,
    /// The executor that starts it at once.
    pub owner: Option<ExecutorId>,
}

/// What became of a [`NewRun`].
#[derive(Debug, Clone, PartialEq)]
pub enum CreateOutcome {
    /// It was created.
    Created(Created),
    /// The same run exists; this is its id.
    Existing(RunId),
    /// The id belongs to another run: this one.
    Conflict(RunId),
}

/// A created run.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// Its id.
    pub id: RunId,
    /// Whether it is `Running`, owned by [`NewRun::owner`].
    pub owned: bool,
    /// When, by the store's clock.
    pub created_at: Timestamp,
}

/// What [`Store::claim`](super::Store::claim) is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Claim {
    /// Who claims.
    pub executor: ExecutorId,
    /// The queues and how many runs of each, at most.
    pub queues: Vec<(String, u32)>,
    /// The workflows and versions that the executor has.
    pub workflows: Vec<(String, i32)>,
}

/// What was claimed.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// Now.
    pub now: Timestamp,
    /// The runs.
    pub runs: Vec<ClaimedRun>,
    /// When the next hung-up run is due after now: the earliest of these queues, or one of another queue before it.
    pub next_due: Option<Timestamp>,
}

/// A claimed run with all it needs to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimedRun {
    /// Its id.
    pub id: RunId,
    /// The name of its workflow.
    pub workflow: String,
    /// The version of its workflow.
    pub version: i32,
    /// Its queue.
    pub queue: String,
    /// Its input.
    pub input: Payload,
    /// The parent to tell.
    pub parent: Option<ParentRef>,
    /// Its depth in the tree of runs.
    pub depth: i32,
    /// When it was created.
    pub created_at: Timestamp,
    /// How many messages were ever delivered to it.
    pub mail: u64,
    /// Its whole journal, or why it can't be read ([`StoreError::Corrupt`](super::StoreError)'s reason): one bad row
    /// concerns one run.
    pub journal: Result<Vec<Entry>, String>,
    /// Messages that no commit has consumed, by seq.
    pub inbox: Vec<Message>,
}

/// A message in a run's inbox.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// From 1, without gaps, per run.
    pub seq: u64,
    /// What it says.
    pub fact: Fact,
}

/// A message of a run that the executor owns.
#[derive(Debug, Clone, PartialEq)]
pub struct Mail {
    /// The run.
    pub run: RunId,
    /// The message.
    pub message: Message,
}

/// A message to send to a run.
#[derive(Debug, Clone, PartialEq)]
pub struct NewMessage {
    /// The run.
    pub to: RunId,
    /// What it says.
    pub fact: Fact,
}

/// What became of a [`NewMessage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// It is in the run's inbox.
    Delivered,
    /// The run is over, with this status; the message was dropped.
    Ended(Status),
    /// There is no such run.
    NoSuchRun,
}

/// An event to emit.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// Makes emitting idempotent.
    pub id: Uuid,
    /// The event's name.
    pub name: String,
    /// Its key; empty for none.
    pub key: String,
    /// Its payload.
    pub payload: Payload,
    /// How long it is kept for later waiters.
    pub retain: Duration,
}

/// A run that waits for an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// The event's name.
    pub name: String,
    /// Its key; empty for none.
    pub key: String,
    /// Only events with a higher seq.
    pub after: u64,
    /// The key of the message that brings it.
    pub op: OpKey,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// Now.
    pub now: Timestamp,
    /// Whether there are executors to rescue.
    pub rescue: bool,
    /// When the lease of another executor runs out next, unless it renews it: who looks again then takes its runs over
    /// at once, if it is dead.
    pub next_expiry: Option<Timestamp>,
    /// Whether some run is ready, of any workflow and queue.
    pub ready: bool,
    /// When the next hung-up run is due, of any workflow and queue.
    pub next_due: Option<Timestamp>,
}

/// The answer to a rescue.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rescued {
    /// Executors that this call found dead.
    pub executors: Vec<ExecutorId>,
    /// How many runs were made `Ready`.
    pub runs: u64,
    /// Runs that were parked as poisoned.
    pub poisoned: Vec<RunId>,
}

/// How a run is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunRef {
    /// By its id.
    Id(RunId),
    /// By the user's id.
    InvokeId(String),
}

/// A run as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRecord {
    /// Its id.
    pub id: RunId,
    /// The user's id.
    pub invoke_id: Option<String>,
    /// The name of its workflow.
    pub workflow: String,
    /// The version of its workflow.
    pub version: i32,
    /// Its queue.
    pub queue: String,
    /// Where it is in its life.
    pub status: Status,
    /// Its input.
    pub input: Payload,
    /// Its output or failure, once it has ended.
    pub output: Option<Payload>,
    /// Why it is parked.
    pub parked: Option<ParkReason>,
    /// The parent.
    pub parent: Option<ParentRef>,
    /// Its depth in the tree of runs.
    pub depth: i32,
    /// Who owns it.
    pub owner: Option<ExecutorId>,
    /// When it wakes by itself. Only while it is `Waiting`.
    pub wake_at: Option<Timestamp>,
    /// How often an executor died with it without progress.
    pub crashes: u32,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// Which runs to list. Everything that is `None` or empty doesn't filter.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ListFilter {
    /// With one of these statuses.
    pub statuses: Vec<Status>,
    /// Of this workflow.
    pub workflow: Option<String>,
    /// In this queue.
    pub queue: Option<String>,
    /// Children of this run.
    pub parent: Option<RunId>,
    /// With an id lower than this one: the last of the page before.
    pub before: Option<RunId>,
    /// At most so many; 0 means 100, and no more than 1,000 are returned.
    pub limit: u32,
}

impl ListFilter {
    /// The number of rows to return.
    pub fn effective_limit(&self) -> u32 {
        if self.limit == 0 { 100 } else { self.limit.min(1_000) }
    }
}

/// Which parked runs go on.
#[derive(Debug, Clone, PartialEq)]
pub enum Resume {
    /// These.
    Runs(Vec<RunId>),
    /// All with one of these codes and one of these workflows (name, version).
    Codes {
        /// Codes of [`ParkReason`].
        codes: Vec<String>,
        /// Workflows and versions.
        workflows: Vec<(String, i32)>,
    },
}

/// What a sweep deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Runs.
    pub runs: u64,
    /// Events.
    pub events: u64,
    /// Whether there may be more to delete already: a limit was reached, or children have lost their parents. Sweep again.
    pub more: bool,
}

/// Something happened that someone may wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wakeup {
    /// Runs of this queue became `Ready`, or got a wake time.
    Ready(String),
    /// There is mail for a run of this executor.
    Mail(ExecutorId),
    /// This run ended or was parked.
    Ended(RunId),
    /// The lease of another executor has run out before its time: a rescue finds it now.
    Died,
    /// Wake-ups may have been lost: look at everything.
    Lost,
}
