//! Creating runs.

use std::collections::BTreeMap;

use super::clock::later;
use super::state::{Life, Run};
use super::tx::Tx;
use crate::ids::RunId;
use crate::store::{CreateOutcome, Created, NewRun, StoreError};

/// What is to become of one of a batch.
enum Plan {
    Create,
    Existing(RunId),
    Conflict { existing: RunId, id: String },
}

impl Tx<'_> {
    pub(super) fn create(&mut self, runs: &[NewRun], atomic: bool) -> Result<Vec<CreateOutcome>, StoreError> {
        let plans = self.plan(runs);
        if atomic
            && let Some((index, Plan::Conflict { existing, id })) =
                plans.iter().enumerate().find(|(_, plan)| matches!(plan, Plan::Conflict { .. }))
        {
            return Err(StoreError::Conflict { index, id: id.clone(), existing: *existing });
        }
        let outcomes = runs.iter().zip(plans).map(|(run, plan)| match plan {
            Plan::Create => CreateOutcome::Created(self.create_one(run)),
            Plan::Existing(id) => CreateOutcome::Existing(id),
            Plan::Conflict { existing, .. } => CreateOutcome::Conflict(existing),
        });
        Ok(outcomes.collect())
    }

    /// Decides about a batch without writing anything.
    fn plan(&self, runs: &[NewRun]) -> Vec<Plan> {
        let mut ids: BTreeMap<RunId, &NewRun> = BTreeMap::new();
        let mut invoke_ids: BTreeMap<&str, &NewRun> = BTreeMap::new();
        let mut plans = Vec::with_capacity(runs.len());
        for run in runs {
            let invoke_id = run.invoke_id.as_deref();
            let same_id = self.state.runs.get(&run.id).map(|r| &r.new).or_else(|| ids.get(&run.id).copied());
            let same_invoke_id = || {
                let stored = self.state.invoke_ids.get(invoke_id?).and_then(|id| self.state.runs.get(id));
                stored.map(|r| &r.new).or_else(|| invoke_ids.get(invoke_id?).copied())
            };
            let plan = if let Some(existing) = same_id {
                compare(run, existing, || run.id.to_string())
            } else if let Some(existing) = same_invoke_id() {
                compare(run, existing, || invoke_id.unwrap_or_default().to_owned())
            } else {
                ids.insert(run.id, run);
                invoke_id.map(|id| invoke_ids.insert(id, run));
                Plan::Create
            };
            plans.push(plan);
        }
        plans
    }

    /// Creates a run whose ids are free.
    pub(super) fn create_one(&mut self, new: &NewRun) -> Created {
        let life = match (new.delay, new.owner) {
            (Some(delay), _) => Life::Waiting { wake_at: Some(later(self.now, delay)) },
            (None, Some(owner)) if self.holds_lease(owner) => Life::Running { owner },
            (None, _) => Life::Ready { since: self.now },
        };
        let owned = life.owner().is_some();
        let kept = new.parent.as_ref().is_some_and(|parent| self.state.runs.contains_key(&parent.run));
        self.insert(Run {
            new: new.clone(),
            parent: new.parent.clone(),
            kept,
            created_at: self.now,
            life,
            journal: BTreeMap::new(),
            inbox: BTreeMap::new(),
            mail: 0,
            subscriptions: BTreeMap::new(),
            crashes: 0,
            rescued_length: 0,
        });
        Created { id: new.id, owned, created_at: self.now }
    }
}

fn compare(run: &NewRun, existing: &NewRun, id: impl FnOnce() -> String) -> Plan {
    if run.workflow == existing.workflow && run.input_digest == existing.input_digest {
        Plan::Existing(existing.id)
    } else {
        Plan::Conflict { existing: existing.id, id: id() }
    }
}
