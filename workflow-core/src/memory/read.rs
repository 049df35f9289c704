//! Looking at runs and journals.

use super::state::Run;
use super::tx::Tx;
use crate::ids::RunId;
use crate::journal::Entry;
use crate::store::{ListFilter, RunRecord, RunRef};

impl Tx<'_> {
    pub(super) fn find(&self, reference: &RunRef) -> Option<RunRecord> {
        let id = match reference {
            RunRef::Id(id) => id,
            RunRef::InvokeId(id) => self.state.invoke_ids.get(id)?,
        };
        self.state.runs.get(id).map(Run::record)
    }

    pub(super) fn list(&self, filter: &ListFilter) -> Vec<RunRecord> {
        let fits = |run: &&Run| {
            let status = run.life.status();
            (filter.statuses.is_empty() || filter.statuses.contains(&status))
                && filter.workflow.as_ref().is_none_or(|workflow| *workflow == run.new.workflow)
                && filter.queue.as_ref().is_none_or(|queue| *queue == run.new.queue)
                && filter.parent.is_none_or(|parent| run.parent.as_ref().is_some_and(|p| p.run == parent))
        };
        let all = match filter.before {
            Some(before) => self.state.runs.range(..before),
            None => self.state.runs.range(..),
        };
        all.rev().map(|(_, run)| run).filter(fits).take(filter.effective_limit() as usize).map(Run::record).collect()
    }

    pub(super) fn journal(&self, run: RunId, from: u32, limit: usize) -> Vec<Entry> {
        let run = self.state.runs.get(&run);
        run.into_iter().flat_map(|run| run.journal.range(from..)).take(limit).map(|(_, entry)| entry.clone()).collect()
    }

    pub(super) fn landed(&self, run: RunId, position: u32) -> bool {
        self.state.runs.get(&run).is_some_and(|run| run.journal.contains_key(&position))
    }
}
