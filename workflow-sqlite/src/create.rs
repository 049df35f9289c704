//! Creating runs, idempotent by id and by the user's id.

use std::collections::HashSet;
use std::collections::hash_map::{Entry, HashMap};

use futures::TryStreamExt;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;
use workflow_core::store::{CreateOutcome, Created, NewRun, Status};
use workflow_core::{ExecutorId, RunId, StoreError};

use crate::clock::{after, micros, timestamp};
use crate::row::Bound;
use crate::wake::Wakes;
use crate::{error, lease, sql};

/// Creates `runs` in order: what exists is looked up instead.
pub(crate) async fn create(
    connection: &mut SqliteConnection,
    runs: &[&NewRun],
    now: i64,
    wakes: &mut Wakes,
) -> Result<Vec<CreateOutcome>, StoreError> {
    let created = insert(connection, runs, now, wakes).await?;
    let mut outcomes = Vec::with_capacity(runs.len());
    for (run, created) in runs.iter().zip(created) {
        outcomes.push(match created {
            Some(created) => CreateOutcome::Created(created),
            None => existing(connection, run).await?,
        });
    }
    Ok(outcomes)
}

/// Creates those of `runs` whose ids are free. The answer has one item per run.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    runs: &[&NewRun],
    now: i64,
    wakes: &mut Wakes,
) -> Result<Vec<Option<Created>>, StoreError> {
    let alive = alive_owners(connection, runs, now).await?;
    let owner = |run: &NewRun| run.owner.filter(|owner| run.delay.is_none() && alive.get(owner) == Some(&true));
    let mut inserted = HashSet::with_capacity(runs.len());
    for (sql, piece) in sql::INSERT_RUNS.pieces(runs) {
        let query = piece.iter().fold(sqlx::query(sql), |query, run| bind(query, run, owner(run), now));
        let mut rows = query.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await.map_err(error::statement)? {
            inserted.insert(row.try_get::<Uuid, _>(0).map_err(error::statement)?);
        }
    }
    // The first of a batch with an id is the one that was inserted.
    let created = runs.iter().map(|run| {
        inserted.remove(&run.id.0).then(|| {
            let owned = owner(run).is_some();
            if !owned {
                wakes.ready.insert(run.queue.clone());
            }
            Created { id: run.id, owned, created_at: timestamp(now) }
        })
    });
    Ok(created.collect())
}

/// The first conflict, as an error.
pub(crate) fn refuse_conflict(runs: &[&NewRun], outcomes: &[CreateOutcome]) -> Result<(), StoreError> {
    for (index, (run, outcome)) in runs.iter().zip(outcomes).enumerate() {
        if let CreateOutcome::Conflict(existing) = outcome {
            // The run's own id is looked at first, so another run's id means that the user's id was taken.
            let by_user = run.invoke_id.clone().filter(|_| *existing != run.id);
            let id = by_user.unwrap_or_else(|| run.id.to_string());
            return Err(StoreError::Conflict { index, id, existing: *existing });
        }
    }
    Ok(())
}

async fn alive_owners(
    connection: &mut SqliteConnection,
    runs: &[&NewRun],
    now: i64,
) -> Result<HashMap<ExecutorId, bool>, StoreError> {
    let mut alive = HashMap::new();
    for owner in runs.iter().filter_map(|run| run.owner) {
        if let Entry::Vacant(unknown) = alive.entry(owner) {
            unknown.insert(lease::is_alive(connection, owner, now).await?);
        }
    }
    Ok(alive)
}

fn bind<'q>(query: Bound<'q>, run: &NewRun, owner: Option<ExecutorId>, now: i64) -> Bound<'q> {
    let status = match (owner, run.delay) {
        (Some(_), _) => Status::Running,
        (None, Some(_)) => Status::Waiting,
        (None, None) => Status::Ready,
    };
    let parent = run.parent.as_ref();
    query
        .bind(run.id.0)
        .bind(run.invoke_id.clone())
        .bind(run.workflow.clone())
        .bind(run.version)
        .bind(run.queue.clone())
        .bind(status.as_str())
        .bind(owner.map(|owner| owner.0))
        .bind((status == Status::Ready).then_some(now))
        .bind(run.delay.map(|delay| after(now, delay)))
        .bind(run.depth)
        .bind(parent.map(|parent| parent.run.0))
        .bind(parent.map(|parent| parent.key.kind.clone()))
        .bind(parent.map(|parent| parent.key.name.clone()))
        .bind(parent.map(|parent| i64::from(parent.key.nth)))
        .bind(now)
        .bind(micros(run.retain))
        .bind(run.input_digest.to_vec())
        .bind(i64::from(run.input.codec))
        .bind(run.input.bytes.clone())
}

/// What the run that is there already means for `run`.
async fn existing(connection: &mut SqliteConnection, run: &NewRun) -> Result<CreateOutcome, StoreError> {
    let row = sqlx::query(sql::FIND_SAME)
        .bind(run.id.0)
        .bind(run.invoke_id.clone())
        .fetch_one(connection)
        .await
        .map_err(error::statement)?;
    let id = RunId(row.try_get(0).map_err(error::statement)?);
    let workflow: &str = row.try_get(1).map_err(error::statement)?;
    let digest: &[u8] = row.try_get(2).map_err(error::statement)?;
    let same = workflow == run.workflow && digest == run.input_digest;
    Ok(if same { CreateOutcome::Existing(id) } else { CreateOutcome::Conflict(id) })
}
