//! Deleting what was kept long enough.

use super::state::Life;
use super::tx::Tx;
use crate::ids::{RunId, Timestamp};
use crate::store::Swept;

impl Tx<'_> {
    pub(super) fn sweep(&mut self, limit: usize) -> Swept {
        let mut swept = Swept::default();
        // Deleting a parent makes its children expire now, so they may still go in the same sweep.
        while (swept.runs as usize) < limit
            && let Some((_, run)) = self.state.index.expiring.first().copied().filter(|(at, _)| *at <= self.now)
        {
            self.delete(run);
            swept.runs += 1;
        }
        while (swept.events as usize) < limit && self.delete_expired_event() {
            swept.events += 1;
        }
        let due = |at: Option<&Timestamp>| at.is_some_and(|at| *at <= self.now);
        swept.more = due(self.state.index.expiring.first().map(|(at, _)| at))
            || due(self.state.index.events.first().map(|(until, ..)| until));
        swept
    }

    fn delete(&mut self, id: RunId) {
        self.unsubscribe_all(id);
        let Some(run) = self.state.runs.remove(&id) else { return };
        self.state.index.remove(&run);
        if let Some(invoke_id) = &run.new.invoke_id {
            self.state.invoke_ids.remove(invoke_id);
        }
        for child in self.state.index.children.remove(&id).unwrap_or_default() {
            self.orphan(child);
        }
    }

    /// Takes the parent from a child, which has to go as well when it is over.
    fn orphan(&mut self, id: RunId) {
        let Some(run) = self.state.runs.get_mut(&id) else { return };
        self.state.index.remove(run);
        run.parent = None;
        run.kept = false;
        if let Life::Ended { until, .. } = &mut run.life {
            *until = self.now;
        }
        self.state.index.insert(run);
    }

    fn delete_expired_event(&mut self) -> bool {
        let first = self.state.index.events.first().filter(|(until, ..)| *until <= self.now);
        let Some((until, key, seq)) = first.cloned() else { return false };
        if let Some(event) = self.state.topics.get_mut(&key).and_then(|topic| topic.events.remove(&seq)) {
            self.state.events.remove(&event.id);
        }
        self.state.index.events.remove(&(until, key, seq))
    }
}
