//! Events: topics, their buffers, and who waits for the next one.

use std::collections::{BTreeMap, BTreeSet};

use super::clock::later;
use super::state::{Buffered, Life, Topic, TopicKey};
use super::tx::Tx;
use crate::ids::RunId;
use crate::journal::{Fact, OpKey, Phase};
use crate::payload::Payload;
use crate::store::{NewEvent, StoreError, Subscription};

impl Tx<'_> {
    /// Refuses a batch that would make a buffer too large.
    pub(super) fn check_buffers(&self, emits: &[NewEvent], limit: u64) -> Result<(), StoreError> {
        let mut ids = BTreeSet::new();
        let mut lengths: BTreeMap<TopicKey, u64> = BTreeMap::new();
        for event in emits {
            if self.state.events.contains_key(&event.id) || !ids.insert(event.id) {
                continue;
            }
            let key = topic_key(&event.name, &event.key);
            let live = |topic: &Topic| topic.events.values().filter(|e| self.now < e.until).count() as u64;
            let before = || self.state.topics.get(&key).map_or(0, live);
            let length = lengths.entry(key.clone()).or_insert_with(before);
            *length += 1;
            if *length > limit {
                return Err(StoreError::BufferFull { name: event.name.clone(), key: event.key.clone(), limit });
            }
        }
        Ok(())
    }

    /// Numbers an event, keeps it, and sends it to everyone who waits for it.
    pub(super) fn emit(&mut self, event: &NewEvent) {
        if self.state.events.contains_key(&event.id) {
            return;
        }
        let key = topic_key(&event.name, &event.key);
        let until = later(self.now, event.retain);
        let topic = self.state.topics.entry(key.clone()).or_default();
        topic.seq += 1;
        let seq = topic.seq;
        topic.events.insert(seq, Buffered { id: event.id, payload: event.payload.clone(), until });
        let waiting: Vec<_> =
            topic.waiting.extract_if(.., |_, after| *after < seq).map(|((run, op), _)| (run, op)).collect();
        self.state.events.insert(event.id, (key.clone(), seq));
        self.state.index.events.insert((until, key, seq));
        for (run, op) in waiting {
            if let Some(row) = self.state.runs.get_mut(&run) {
                row.subscriptions.remove(&op);
            }
            self.send(run, message(op, event.payload.clone(), seq));
        }
    }

    /// Gives `run` the first buffered event that it asks for, or lets it wait for one.
    pub(super) fn subscribe(&mut self, run: RunId, subscription: &Subscription) {
        let key = topic_key(&subscription.name, &subscription.key);
        let Some(row) = self.state.runs.get_mut(&run) else { return };
        if matches!(row.life, Life::Ended { .. }) || row.subscriptions.contains_key(&subscription.op) {
            return;
        }
        let topic = self.state.topics.entry(key.clone()).or_default();
        let later = topic.events.range(subscription.after.saturating_add(1)..);
        let found = later.into_iter().find(|(_, event)| self.now < event.until);
        if let Some((seq, event)) = found {
            let message = message(subscription.op.clone(), event.payload.clone(), *seq);
            self.send(run, message);
        } else {
            topic.waiting.insert((run, subscription.op.clone()), subscription.after);
            row.subscriptions.insert(subscription.op.clone(), key);
        }
    }

    pub(super) fn unsubscribe(&mut self, run: RunId, op: &OpKey) {
        let Some(row) = self.state.runs.get_mut(&run) else { return };
        let Some(key) = row.subscriptions.remove(op) else { return };
        if let Some(topic) = self.state.topics.get_mut(&key) {
            topic.waiting.remove(&(run, op.clone()));
        }
    }

    pub(super) fn unsubscribe_all(&mut self, run: RunId) {
        let Some(row) = self.state.runs.get(&run) else { return };
        let ops: Vec<_> = row.subscriptions.keys().cloned().collect();
        for op in ops {
            self.unsubscribe(run, &op);
        }
    }
}

fn topic_key(name: &str, key: &str) -> TopicKey {
    (name.to_owned(), key.to_owned())
}

fn message(op: OpKey, payload: Payload, seq: u64) -> Fact {
    Fact { key: op, phase: Phase::Ok, payload, mark: Some(i64::try_from(seq).unwrap_or(i64::MAX)) }
}
