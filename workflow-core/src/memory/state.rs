//! What a memory store holds.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::index::Index;
use crate::ids::{ExecutorId, RunId, Timestamp};
use crate::journal::{Entry, Fact, OpKey};
use crate::payload::Payload;
use crate::store::{NewRun, ParentRef, ParkReason, RunRecord, Status};

/// Everything.
#[derive(Default)]
pub(super) struct State {
    /// The latest time that was ever told.
    pub(super) now: Timestamp,
    pub(super) executors: BTreeMap<ExecutorId, Executor>,
    pub(super) runs: BTreeMap<RunId, Run>,
    pub(super) invoke_ids: BTreeMap<String, RunId>,
    pub(super) topics: BTreeMap<TopicKey, Topic>,
    /// The events that are in a topic.
    pub(super) events: BTreeMap<Uuid, (TopicKey, u64)>,
    pub(super) index: Index,
}

/// An executor that is registered, or dead and with runs left.
pub(super) struct Executor {
    pub(super) lease_until: Timestamp,
    /// A rescue found its lease run out.
    pub(super) dead: bool,
}

/// A run.
pub(super) struct Run {
    /// As it was created.
    pub(super) new: NewRun,
    /// The parent, until that is deleted.
    pub(super) parent: Option<ParentRef>,
    /// Whether the parent was there when the run was created, so that the run is kept as long as it.
    pub(super) kept: bool,
    pub(super) created_at: Timestamp,
    pub(super) life: Life,
    pub(super) journal: BTreeMap<u32, Entry>,
    pub(super) inbox: BTreeMap<u64, Fact>,
    /// How many messages were ever delivered.
    pub(super) mail: u64,
    pub(super) subscriptions: BTreeMap<OpKey, TopicKey>,
    pub(super) crashes: u32,
    /// The length of the journal at the last rescue.
    pub(super) rescued_length: usize,
}

/// Where a run is in its life, with what belongs to that.
#[derive(Debug, Clone)]
pub(super) enum Life {
    Ready { since: Timestamp },
    Running { owner: ExecutorId },
    Waiting { wake_at: Option<Timestamp> },
    Ended { status: Status, output: Payload, at: Timestamp, until: Timestamp },
    Parked(ParkReason),
}

impl Life {
    pub(super) fn status(&self) -> Status {
        match self {
            Life::Ready { .. } => Status::Ready,
            Life::Running { .. } => Status::Running,
            Life::Waiting { .. } => Status::Waiting,
            Life::Ended { status, .. } => *status,
            Life::Parked(_) => Status::Parked,
        }
    }

    pub(super) fn owner(&self) -> Option<ExecutorId> {
        match self {
            Life::Running { owner } => Some(*owner),
            _ => None,
        }
    }
}

impl Run {
    pub(super) fn record(&self) -> RunRecord {
        let new = self.new.clone();
        let mut record = RunRecord {
            id: new.id,
            invoke_id: new.invoke_id,
            workflow: new.workflow,
            version: new.version,
            queue: new.queue,
            status: self.life.status(),
            input: new.input,
            output: None,
            parked: None,
            parent: self.parent.clone(),
            depth: new.depth,
            owner: self.life.owner(),
            wake_at: None,
            crashes: self.crashes,
            created_at: self.created_at,
            finished_at: None,
        };
        match &self.life {
            Life::Ready { .. } | Life::Running { .. } => {}
            Life::Waiting { wake_at } => record.wake_at = *wake_at,
            Life::Ended { output, at, .. } => {
                record.output = Some(output.clone());
                record.finished_at = Some(*at);
            }
            Life::Parked(reason) => record.parked = Some(reason.clone()),
        }
        record
    }
}

/// A topic: the name and the key of its events.
pub(super) type TopicKey = (String, String);

/// The events of a topic, and who waits for the next one.
#[derive(Default)]
pub(super) struct Topic {
    /// The seq of the last event.
    pub(super) seq: u64,
    pub(super) events: BTreeMap<u64, Buffered>,
    /// Which runs wait, for what is after which seq.
    pub(super) waiting: BTreeMap<(RunId, OpKey), u64>,
}

/// An event that is kept for later waiters.
pub(super) struct Buffered {
    pub(super) id: Uuid,
    pub(super) payload: Payload,
    pub(super) until: Timestamp,
}
