//! A transaction: the state, now, and what has happened in it.

use super::state::{Life, Run, State};
use crate::ids::{ExecutorId, RunId, Timestamp};
use crate::store::{Mail, StoreError, Wakeup};

/// One critical section. What can fail is checked before anything is written, so nothing is ever rolled back.
pub(super) struct Tx<'a> {
    pub(super) state: &'a mut State,
    pub(super) now: Timestamp,
    /// Whom to wake afterwards, each once.
    pub(super) wakeups: Vec<Wakeup>,
    /// The messages that were delivered.
    pub(super) sent: Vec<Mail>,
}

impl<'a> Tx<'a> {
    pub(super) fn begin(state: &'a mut State, clock: Timestamp) -> Self {
        // Postgres keeps microseconds; and no clock may take the store back.
        let clock = chrono::DateTime::from_timestamp_micros(clock.timestamp_micros()).unwrap_or(clock);
        state.now = state.now.max(clock);
        let now = state.now;
        Self { state, now, wakeups: Vec::new(), sent: Vec::new() }
    }

    pub(super) fn wake(&mut self, wakeup: Wakeup) {
        if !self.wakeups.contains(&wakeup) {
            self.wakeups.push(wakeup);
        }
    }

    /// The fence: whether `executor` may write.
    pub(super) fn check_lease(&self, executor: ExecutorId) -> Result<(), StoreError> {
        if self.holds_lease(executor) { Ok(()) } else { Err(StoreError::LeaseLost(executor)) }
    }

    pub(super) fn holds_lease(&self, executor: ExecutorId) -> bool {
        self.state.executors.get(&executor).is_some_and(|e| !e.dead && self.now < e.lease_until)
    }

    pub(super) fn owner(&self, run: RunId) -> Option<ExecutorId> {
        self.state.runs.get(&run)?.life.owner()
    }

    /// The one place where a run's life changes: keeps the index, and wakes whom it concerns.
    pub(super) fn set_life(&mut self, id: RunId, life: Life) {
        let Some(run) = self.state.runs.get_mut(&id) else { return };
        self.state.index.remove(run);
        run.life = life;
        self.state.index.insert(run);
        self.announce(id);
    }

    /// Enters a new run.
    pub(super) fn insert(&mut self, run: Run) {
        let id = run.new.id;
        if let Some(invoke_id) = run.new.invoke_id.clone() {
            self.state.invoke_ids.insert(invoke_id, id);
        }
        if let Some(parent) = run.parent.as_ref().filter(|_| run.kept) {
            self.state.index.children.entry(parent.run).or_default().insert(id);
        }
        self.state.index.insert(&run);
        self.state.runs.insert(id, run);
        self.announce(id);
    }

    pub(super) fn make_ready(&mut self, id: RunId) {
        self.set_life(id, Life::Ready { since: self.now });
    }

    fn announce(&mut self, id: RunId) {
        let Some(run) = self.state.runs.get(&id) else { return };
        let wakeup = match &run.life {
            Life::Ready { .. } | Life::Waiting { wake_at: Some(_) } => Wakeup::Ready(run.new.queue.clone()),
            Life::Ended { .. } | Life::Parked(_) => Wakeup::Ended(id),
            Life::Running { .. } | Life::Waiting { wake_at: None } => return,
        };
        self.wake(wakeup);
    }
}
