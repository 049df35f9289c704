//! The orders in which runs and events are looked for: claims, rescues and sweeps never walk through all runs.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use uuid::Uuid;

use super::state::{Life, Run, TopicKey};
use crate::ids::{ExecutorId, RunId, Timestamp};

/// Runs by what may happen to them next, and events by the end of their retention.
#[derive(Default)]
pub(super) struct Index {
    /// By queue: when they became ready.
    pub(super) ready: BTreeMap<String, BTreeSet<(Timestamp, RunId)>>,
    /// By queue: when they wake. Runs that wait for messages alone aren't here.
    pub(super) waiting: BTreeMap<String, BTreeSet<(Timestamp, RunId)>>,
    pub(super) owned: BTreeMap<ExecutorId, BTreeSet<RunId>>,
    /// When they are to be deleted. Runs that are kept by a parent aren't here.
    pub(super) expiring: BTreeSet<(Timestamp, RunId)>,
    /// By parent.
    pub(super) children: BTreeMap<RunId, BTreeSet<RunId>>,
    pub(super) events: BTreeSet<(Timestamp, TopicKey, u64)>,
}

impl Index {
    /// Enters `run` under its present life.
    pub(super) fn insert(&mut self, run: &Run) {
        let id = run.new.id;
        match &run.life {
            Life::Ready { since } => {
                self.ready.entry(run.new.queue.clone()).or_default().insert((*since, id));
            }
            Life::Waiting { wake_at: Some(at) } => {
                self.waiting.entry(run.new.queue.clone()).or_default().insert((*at, id));
            }
            Life::Running { owner } => {
                self.owned.entry(*owner).or_default().insert(id);
            }
            Life::Ended { until, .. } if !run.kept => {
                self.expiring.insert((*until, id));
            }
            Life::Waiting { wake_at: None } | Life::Ended { .. } | Life::Parked(_) => {}
        }
    }

    /// Takes `run` out from under its present life.
    pub(super) fn remove(&mut self, run: &Run) {
        let (id, queue) = (run.new.id, &run.new.queue);
        match &run.life {
            Life::Ready { since } => remove(&mut self.ready, queue, &(*since, id)),
            Life::Waiting { wake_at: Some(at) } => remove(&mut self.waiting, queue, &(*at, id)),
            Life::Running { owner } => remove(&mut self.owned, owner, &id),
            Life::Ended { until, .. } => {
                self.expiring.remove(&(*until, id));
            }
            Life::Waiting { wake_at: None } | Life::Parked(_) => {}
        }
    }

    /// When the next waiting run is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.waiting.values().filter_map(|queue| queue.first()).map(|(at, _)| *at).min()
    }

    /// When the next waiting run is due that isn't due by `now`.
    pub(super) fn next_due_after(&self, now: Timestamp) -> Option<Timestamp> {
        let later = (Bound::Excluded((now, RunId(Uuid::max()))), Bound::Unbounded);
        self.waiting.values().filter_map(|queue| queue.range(later).next()).map(|(at, _)| *at).min()
    }
}

/// Removes one item, and its set when it was the last: queues and executors come and go.
fn remove<K: Ord, V: Ord>(sets: &mut BTreeMap<K, BTreeSet<V>>, key: &K, item: &V) {
    if let Some(set) = sets.get_mut(key) {
        set.remove(item);
        if set.is_empty() {
            sets.remove(key);
        }
    }
}
