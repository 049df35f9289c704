//! Executors: their leases, their end, and the rescue of what they leave behind.

use std::collections::BTreeSet;
use std::time::Duration;

use super::clock::later;
use super::state::{Executor, Life};
use super::tx::Tx;
use crate::ids::{ExecutorId, RunId, Timestamp};
use crate::store::{Heartbeat, ParkReason, Rescued, Resume, StoreError};

impl Tx<'_> {
    pub(super) fn register(
        &mut self,
        executor: ExecutorId,
        _name: &str,
        lease: Duration,
    ) -> Result<Timestamp, StoreError> {
        if self.state.executors.contains_key(&executor) {
            // A call that is repeated because its answer was lost is harmless; a second life under the id isn't.
            self.check_lease(executor)?;
        }
        self.state.executors.insert(executor, Executor { lease_until: later(self.now, lease), dead: false });
        Ok(self.now)
    }

    pub(super) fn heartbeat(&mut self, executor: ExecutorId, lease: Duration) -> Result<Heartbeat, StoreError> {
        self.check_lease(executor)?;
        let now = self.now;
        if let Some(row) = self.state.executors.get_mut(&executor) {
            row.lease_until = later(now, lease);
        }
        let rescue = self.state.executors.values().any(|e| e.dead || e.lease_until <= now);
        let others = self.state.executors.iter().filter(|(id, e)| **id != executor && !e.dead);
        let next_expiry = others.map(|(_, e)| e.lease_until).min();
        let ready = !self.state.index.ready.is_empty();
        Ok(Heartbeat { now, rescue, next_expiry, ready, next_due: self.state.index.next_due() })
    }

    pub(super) fn hand_over(&mut self, executor: ExecutorId, runs: &[RunId]) -> u64 {
        if self.state.executors.get(&executor).is_none_or(|e| e.dead) {
            return 0;
        }
        let owned: BTreeSet<RunId> = self.owned(executor).into_iter().collect();
        let runs: BTreeSet<RunId> = runs.iter().copied().filter(|run| owned.contains(run)).collect();
        runs.iter().for_each(|run| self.make_ready(*run));
        runs.len() as u64
    }

    pub(super) fn close(&mut self, executor: ExecutorId) -> u64 {
        if self.state.executors.get(&executor).is_none_or(|e| e.dead) {
            return 0;
        }
        self.state.executors.remove(&executor);
        let runs = self.owned(executor);
        for run in &runs {
            self.make_ready(*run);
        }
        runs.len() as u64
    }

    pub(super) fn rescue(&mut self, max_crashes: u32, limit: usize) -> Rescued {
        let mut rescued = Rescued::default();
        let mut dead = Vec::new();
        for (id, executor) in &mut self.state.executors {
            if !executor.dead && executor.lease_until <= self.now {
                executor.dead = true;
                rescued.executors.push(*id);
            }
            if executor.dead {
                dead.push(*id);
            }
        }
        let mut room = limit;
        for executor in dead {
            let runs = self.owned(executor);
            for run in runs.iter().take(room) {
                self.rescue_run(*run, max_crashes, &mut rescued);
            }
            if runs.len() <= room {
                self.state.executors.remove(&executor);
            }
            room = room.saturating_sub(runs.len());
        }
        rescued
    }

    fn rescue_run(&mut self, id: RunId, max_crashes: u32, rescued: &mut Rescued) {
        let Some(run) = self.state.runs.get_mut(&id) else { return };
        run.crashes = if run.journal.len() > run.rescued_length { 1 } else { run.crashes.saturating_add(1) };
        run.rescued_length = run.journal.len();
        if run.crashes > max_crashes {
            let crashes = run.crashes;
            rescued.poisoned.push(id);
            self.set_life(id, Life::Parked(poisoned(crashes)));
        } else {
            rescued.runs += 1;
            self.make_ready(id);
        }
    }

    pub(super) fn resume(&mut self, which: &Resume) -> u64 {
        let parked: Vec<RunId> = match which {
            Resume::Runs(ids) => ids.clone(),
            Resume::Codes { codes, workflows } => {
                let fits = |workflow: &str, version| workflows.iter().any(|(w, v)| w == workflow && *v == version);
                let fits = |run: &super::state::Run| match &run.life {
                    Life::Parked(why) => codes.contains(&why.code) && fits(&run.new.workflow, run.new.version),
                    _ => false,
                };
                self.state.runs.values().filter(|run| fits(run)).map(|run| run.new.id).collect()
            }
        };
        let mut resumed = 0;
        for id in parked {
            let Some(run) = self.state.runs.get_mut(&id) else { continue };
            if let Life::Parked(_) = run.life {
                run.crashes = 0;
                resumed += 1;
                self.make_ready(id);
            }
        }
        resumed
    }

    fn owned(&self, executor: ExecutorId) -> Vec<RunId> {
        self.state.index.owned.get(&executor).into_iter().flatten().copied().collect()
    }
}

fn poisoned(crashes: u32) -> ParkReason {
    ParkReason {
        code: "POISONED".to_owned(),
        message: format!(
            "{crashes} executors died with this run and without progress: find out what it does to them, then resume it"
        ),
    }
}
