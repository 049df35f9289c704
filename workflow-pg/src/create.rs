//! Creating runs, once each.

use std::collections::{BTreeSet, HashMap, HashSet};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;
use workflow_core::store::{CreateOutcome, Created, NewRun};
use workflow_core::{RunId, StoreError, Timestamp};

use crate::batch::Statement;
use crate::error::{commit, work};
use crate::row::{int4, micros};
use crate::session::{end, retry};
use crate::sql;
use crate::store::PgStore;
use crate::wake::Wakes;

/// How often a run that stands in the way may vanish before it can be looked at.
const MAX_ROUNDS: usize = 8;

/// How a batch is created.
#[derive(Clone, Copy)]
struct How {
    slot: i16,
    /// The time of the batch, when its fence is held already.
    fenced: Option<Timestamp>,
    /// Whether a run may be owned from the start.
    eager: bool,
    /// Whether each statement is its own transaction.
    alone: bool,
}

impl How {
    fn map(self) -> fn(sqlx::Error) -> StoreError {
        if self.alone { commit } else { work }
    }
}

impl PgStore {
    pub(crate) async fn create_runs(&self, runs: &[NewRun], atomic: bool) -> Result<Vec<CreateOutcome>, StoreError> {
        if runs.is_empty() {
            return Ok(Vec::new());
        }
        let outcomes = retry(|| self.try_create(runs, atomic)).await?;
        let mut wakes = Wakes::default();
        wake_created(runs.iter().zip(&outcomes), &mut wakes);
        self.ring(wakes);
        Ok(outcomes)
    }

    async fn try_create(&self, runs: &[NewRun], atomic: bool) -> Result<Vec<CreateOutcome>, StoreError> {
        let slot = self.slots().take();
        let list: Vec<&NewRun> = runs.iter().collect();
        // Several in one statement of its own, on a pool of the user's, would lack the time limits of a transaction of ours.
        if (!atomic || runs.len() == 1 || self.has_prepared_sessions())
            && let Some(outcomes) = self.create_new(&list, slot.number).await?
        {
            return Ok(outcomes);
        }
        // One run is all or nothing by itself.
        if !atomic || runs.len() == 1 {
            let mut conn = self.warm().await?;
            let how = How { slot: slot.number, fenced: None, eager: true, alone: true };
            let outcomes = create(&mut conn, &list, how).await?;
            conn.keep();
            return if atomic { no_conflict(runs, outcomes) } else { Ok(outcomes) };
        }
        let mut tx = self.begin().await?;
        let how = How { slot: slot.number, fenced: None, eager: true, alone: false };
        let outcomes = no_conflict(runs, create(&mut tx, &list, how).await?)?;
        end(tx).await?;
        Ok(outcomes)
    }
}

impl PgStore {
    /// Creates runs that nothing stands in the way of, all or none. `None`, and nothing written, when something does, or may.
    async fn create_new(&self, runs: &[&NewRun], slot: i16) -> Result<Option<Vec<CreateOutcome>>, StoreError> {
        if runs.iter().any(|run| run.invoke_id.is_some()) {
            return Ok(None);
        }
        let which = first_of_each(runs, &(0..runs.len()).collect::<Vec<_>>());
        if which.len() < runs.len() {
            return Ok(None);
        }
        let mut conn = self.warm().await?;
        let how = How { slot, fenced: None, eager: true, alone: true };
        let query = creation(sql::CREATE_NEW_RUNS, (runs, &which), how)?;
        match query.fetch_all(&mut *conn).await {
            Ok(rows) => {
                conn.keep();
                let mut created = created(&rows, how)?;
                Ok(runs.iter().map(|run| created.remove(&run.id).map(CreateOutcome::Created)).collect())
            }
            // One of them exists, as its creation had no answer before.
            Err(error) if is_taken(&error) => Ok(None),
            Err(error) => Err(commit(error)),
        }
    }

    /// Creates a run that has an owner, on this connection. `None`, and nothing written, for a reason that
    /// [`Self::create_runs`] finds out.
    pub(crate) async fn create_lone(
        &self,
        conn: &mut PgConnection,
        run: &NewRun,
    ) -> Result<Option<Timestamp>, StoreError> {
        let Some(owner) = run.owner.filter(|_| run.delay.is_none() && run.parent.is_none()) else { return Ok(None) };
        let slot = self.slots().take();
        let rows = sqlx::query(sql::CREATE_RUN)
            .bind(run.id.0)
            .bind(&run.workflow[..])
            .bind(run.version)
            .bind(&run.queue[..])
            .bind(run.input.codec)
            .bind(&run.input.bytes[..])
            .bind(&run.input_digest[..])
            .bind(run.invoke_id.as_deref())
            .bind(run.depth)
            .bind(micros(run.retain))
            .bind(owner.0)
            .bind(slot.number)
            .fetch_all(conn)
            .await
            .map_err(commit)?;
        rows.first().map(|row| row.try_get("created_at")).transpose().map_err(commit)
    }
}

/// Creates the children of a batch whose fence has been held since `now`. One that exists is left as it is.
pub(crate) async fn start_children(
    conn: &mut PgConnection,
    (slot, now): (i16, Timestamp),
    starts: &[&NewRun],
    wakes: &mut Wakes,
) -> Result<(), StoreError> {
    let how = How { slot, fenced: Some(now), eager: true, alone: false };
    // Without an invoke_id there is nothing but their id that could stand in the way.
    let which = first_of_each(starts, &(0..starts.len()).collect::<Vec<_>>());
    let created = insert(conn, starts, &which, how).await?;
    for run in starts {
        if created.get(&run.id).is_some_and(|created| !created.owned) {
            wakes.ready(&run.queue);
        }
    }
    Ok(())
}

/// Creates runs inside somebody else's transaction. None is owned from the start.
pub(crate) async fn create_unowned(conn: &mut PgConnection, runs: &[NewRun]) -> Result<Vec<CreateOutcome>, StoreError> {
    let list: Vec<&NewRun> = runs.iter().collect();
    create(conn, &list, How { slot: 0, fenced: None, eager: false, alone: false }).await
}

fn no_conflict(runs: &[NewRun], outcomes: Vec<CreateOutcome>) -> Result<Vec<CreateOutcome>, StoreError> {
    for (index, (run, outcome)) in runs.iter().zip(&outcomes).enumerate() {
        if let CreateOutcome::Conflict(existing) = outcome {
            let by_invoke_id = run.invoke_id.as_ref().filter(|_| *existing != run.id);
            let id = by_invoke_id.cloned().unwrap_or_else(|| run.id.to_string());
            return Err(StoreError::Conflict { index, id, existing: *existing });
        }
    }
    Ok(outcomes)
}

pub(crate) fn wake_created<'a>(outcomes: impl Iterator<Item = (&'a NewRun, &'a CreateOutcome)>, wakes: &mut Wakes) {
    for (run, outcome) in outcomes {
        if matches!(outcome, CreateOutcome::Created(created) if !created.owned) {
            wakes.ready(&run.queue);
        }
    }
}

/// Inserts what can be inserted, and looks up what stands in the way of the rest. In rounds, because of two items of
/// the batch with the same id only the first is inserted, and because what stood in the way may be deleted meanwhile.
async fn create(conn: &mut PgConnection, runs: &[&NewRun], how: How) -> Result<Vec<CreateOutcome>, StoreError> {
    let mut outcomes: Vec<Option<CreateOutcome>> = vec![None; runs.len()];
    for _ in 0..MAX_ROUNDS {
        // What one statement created by itself stays, whatever happens to the next one: then it is unknown.
        let begun = how.alone && outcomes.iter().flatten().any(|o| matches!(o, CreateOutcome::Created(_)));
        let pending: Vec<usize> = (0..runs.len()).filter(|ix| outcomes[*ix].is_none()).collect();
        let first = first_of_each(runs, &pending);
        let mut created = insert(conn, runs, &first, how).await.map_err(|e| after(begun, e))?;
        let begun = begun || (how.alone && !created.is_empty());
        for ix in first {
            outcomes[ix] = created.remove(&runs[ix].id).map(CreateOutcome::Created);
        }
        let rest: Vec<usize> = pending.into_iter().filter(|ix| outcomes[*ix].is_none()).collect();
        if !rest.is_empty() {
            let existing = same(conn, runs, &rest).await.map_err(|e| after(begun, e))?;
            for ix in rest {
                outcomes[ix] = existing.outcome(runs[ix]);
            }
        }
        if outcomes.iter().all(Option::is_some) {
            break;
        }
    }
    let all: Option<Vec<_>> = outcomes.into_iter().collect();
    all.ok_or_else(|| StoreError::Contention("the run that stands in the way comes and goes".to_owned()))
}

fn after(begun: bool, error: StoreError) -> StoreError {
    if begun { StoreError::Unknown(format!("a part of the runs was created, then {error}")) } else { error }
}

/// Those of `pending` that no earlier one has the id or invoke_id of.
fn first_of_each(runs: &[&NewRun], pending: &[usize]) -> Vec<usize> {
    let (mut ids, mut invoke_ids) = (HashSet::new(), HashSet::new());
    pending
        .iter()
        .copied()
        .filter(|ix| {
            let run = runs[*ix];
            let fresh = ids.insert(run.id);
            run.invoke_id.as_ref().is_none_or(|id| invoke_ids.insert(id)) && fresh
        })
        .collect()
}

/// Whether a run of this id is there.
fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.constraint() == Some("run_id_is_once"))
}

async fn insert(
    conn: &mut PgConnection,
    runs: &[&NewRun],
    which: &[usize],
    how: How,
) -> Result<HashMap<RunId, Created>, StoreError> {
    let rows = creation(sql::CREATE_RUNS, (runs, which), how)?.fetch_all(conn).await.map_err(how.map())?;
    created(&rows, how)
}

/// The statement that creates these of the runs.
fn creation<'q>(
    statement: &'static str,
    (runs, which): (&'q [&'q NewRun], &'q [usize]),
    how: How,
) -> Result<Statement<'q>, StoreError> {
    let each = || which.iter().map(|ix| runs[*ix]);
    let nth = |run: &NewRun| run.parent.as_ref().map(|p| int4("the number of an operation", p.key.nth)).transpose();
    let nths = each().map(nth).collect::<Result<Vec<_>, _>>()?;
    let owner = |run: &NewRun| run.owner.filter(|_| how.eager).map(|owner| owner.0);
    let owners: BTreeSet<Uuid> = each().filter_map(owner).collect();
    Ok(sqlx::query(statement)
        .bind(each().map(|r| r.id.0).collect::<Vec<_>>())
        .bind(each().map(|r| &r.workflow[..]).collect::<Vec<_>>())
        .bind(each().map(|r| r.version).collect::<Vec<_>>())
        .bind(each().map(|r| &r.queue[..]).collect::<Vec<_>>())
        .bind(each().map(|r| r.input.codec).collect::<Vec<_>>())
        .bind(each().map(|r| &r.input.bytes[..]).collect::<Vec<_>>())
        .bind(each().map(|r| &r.input_digest[..]).collect::<Vec<_>>())
        .bind(each().map(|r| r.invoke_id.as_deref().filter(|_| how.fenced.is_none())).collect::<Vec<_>>())
        .bind(each().map(|r| r.parent.as_ref().map(|p| p.run.0)).collect::<Vec<_>>())
        .bind(each().map(|r| r.parent.as_ref().map(|p| &p.key.kind[..])).collect::<Vec<_>>())
        .bind(each().map(|r| r.parent.as_ref().map(|p| &p.key.name[..])).collect::<Vec<_>>())
        .bind(nths)
        .bind(each().map(|r| r.depth).collect::<Vec<_>>())
        .bind(each().map(|r| r.delay.map(micros)).collect::<Vec<_>>())
        .bind(each().map(|r| micros(r.retain)).collect::<Vec<_>>())
        .bind(each().map(owner).collect::<Vec<_>>())
        .bind(owners.into_iter().collect::<Vec<_>>())
        .bind(how.slot)
        .bind(how.fenced))
}

fn created(rows: &[PgRow], how: How) -> Result<HashMap<RunId, Created>, StoreError> {
    rows.iter()
        .map(|row| {
            let id = RunId(row.try_get("id").map_err(how.map())?);
            let owned = row.try_get("owned").map_err(how.map())?;
            let created_at = row.try_get("created_at").map_err(how.map())?;
            Ok((id, Created { id, owned, created_at }))
        })
        .collect()
}

/// Runs that stand in the way.
struct Same {
    by_id: HashMap<RunId, (RunId, String, Vec<u8>)>,
    by_invoke_id: HashMap<String, (RunId, String, Vec<u8>)>,
}

impl Same {
    fn outcome(&self, run: &NewRun) -> Option<CreateOutcome> {
        let by_id = self.by_id.get(&run.id);
        let by_invoke_id = run.invoke_id.as_ref().and_then(|id| self.by_invoke_id.get(id));
        let (id, workflow, digest) = by_id.or(by_invoke_id)?;
        let same = *workflow == run.workflow && digest[..] == run.input_digest;
        Some(if same { CreateOutcome::Existing(*id) } else { CreateOutcome::Conflict(*id) })
    }
}

async fn same(conn: &mut PgConnection, runs: &[&NewRun], which: &[usize]) -> Result<Same, StoreError> {
    let each = || which.iter().map(|ix| runs[*ix]);
    let rows = sqlx::query(sql::SAME_RUNS)
        .bind(each().map(|r| r.id.0).collect::<Vec<_>>())
        .bind(each().filter_map(|r| r.invoke_id.as_deref()).collect::<Vec<_>>())
        .fetch_all(conn)
        .await
        .map_err(work)?;
    let mut same = Same { by_id: HashMap::new(), by_invoke_id: HashMap::new() };
    for row in &rows {
        let id = RunId(row.try_get("id").map_err(work)?);
        let workflow: String = row.try_get("workflow").map_err(work)?;
        let digest: Vec<u8> = row.try_get("input_digest").map_err(work)?;
        if let Some(invoke_id) = row.try_get::<Option<String>, _>("invoke_id").map_err(work)? {
            same.by_invoke_id.insert(invoke_id, (id, workflow.clone(), digest.clone()));
        }
        same.by_id.insert(id, (id, workflow, digest));
    }
    Ok(same)
}
