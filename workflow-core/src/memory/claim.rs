//! Claiming runs.

use super::state::Life;
use super::tx::Tx;
use crate::ids::RunId;
use crate::store::{Claim, Claimed, ClaimedRun, Message, StoreError};

impl Tx<'_> {
    pub(super) fn claim(&mut self, claim: &Claim) -> Result<Claimed, StoreError> {
        self.check_lease(claim.executor)?;
        let mut runs = Vec::new();
        for (queue, room) in &claim.queues {
            for id in self.claimable(claim, queue, *room as usize) {
                self.set_life(id, Life::Running { owner: claim.executor });
                runs.extend(self.claimed(id));
            }
        }
        Ok(Claimed { now: self.now, runs, next_due: self.state.index.next_due_after(self.now) })
    }

    /// The first `room` runs of a queue: those that could have been claimed for the longest time, whether they were
    /// ready or due, so that neither kind starves the other.
    fn claimable(&self, claim: &Claim, queue: &str, room: usize) -> Vec<RunId> {
        let fits = |id: &RunId| {
            let Some(run) = self.state.runs.get(id) else { return false };
            claim.workflows.iter().any(|(name, version)| *name == run.new.workflow && *version == run.new.version)
        };
        let ready = self.state.index.ready.get(queue).into_iter().flatten();
        let due = self.state.index.waiting.get(queue).into_iter().flatten().take_while(|(at, _)| *at <= self.now);
        let mut found: Vec<_> = ready.filter(|(_, id)| fits(id)).take(room).collect();
        found.extend(due.filter(|(_, id)| fits(id)).take(room));
        found.sort();
        found.into_iter().take(room).map(|(_, id)| *id).collect()
    }

    fn claimed(&self, id: RunId) -> Option<ClaimedRun> {
        let run = self.state.runs.get(&id)?;
        let message = |(seq, fact): (&u64, &crate::journal::Fact)| Message { seq: *seq, fact: fact.clone() };
        Some(ClaimedRun {
            id,
            workflow: run.new.workflow.clone(),
            version: run.new.version,
            queue: run.new.queue.clone(),
            input: run.new.input.clone(),
            parent: run.parent.clone(),
            depth: run.new.depth,
            created_at: run.created_at,
            mail: run.mail,
            journal: Ok(run.journal.values().cloned().collect()),
            inbox: run.inbox.iter().map(message).collect(),
        })
    }
}
