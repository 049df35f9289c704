//! The two that go through what has stopped: resuming parked runs, and deleting what is over.

use sqlx::{Row, SqliteConnection};
use workflow_core::store::{Resume, Swept};
use workflow_core::{RunId, StoreError};

use crate::wake::Wakes;
use crate::{error, row, sql};

/// How many children one sweep takes from their parents, at least. A parent with more goes in a later sweep.
const CHILDREN: i64 = 10_000;

pub(crate) async fn resume(
    connection: &mut SqliteConnection,
    which: &Resume,
    now: i64,
    wakes: &mut Wakes,
) -> Result<u64, StoreError> {
    let mut queues = Vec::new();
    match which {
        Resume::Runs(runs) => {
            for run in runs {
                let row = sqlx::query(sql::RESUME_RUN).bind(run.0).bind(now).fetch_optional(&mut *connection).await;
                queues.extend(row.map_err(error::statement)?);
            }
        }
        Resume::Codes { codes, workflows } => {
            let query = sqlx::query(sql::RESUME_CODES)
                .bind(serde_json::json!(codes).to_string())
                .bind(serde_json::json!(workflows).to_string())
                .bind(now);
            queues = query.fetch_all(connection).await.map_err(error::statement)?;
        }
    }
    for row in &queues {
        wakes.ready.insert(row.try_get(0).map_err(error::statement)?);
    }
    Ok(queues.len() as u64)
}

pub(crate) async fn sweep(connection: &mut SqliteConnection, limit: usize, now: i64) -> Result<Swept, StoreError> {
    let rows = sqlx::query(sql::RUNS_TO_SWEEP)
        .bind(now)
        .bind(row::limit(limit))
        .fetch_all(&mut *connection)
        .await
        .map_err(error::statement)?;
    let full = |count: u64| count >= row::limit(limit).unsigned_abs();
    let mut more = full(rows.len() as u64);
    let mut room = CHILDREN.max(row::limit(limit));
    let mut runs = Vec::with_capacity(rows.len());
    for row in rows {
        let run = RunId(row.try_get(0).map_err(error::statement)?);
        let detached = sqlx::query(sql::DETACH_CHILDREN).bind(run.0).bind(now).bind(room);
        let detached = detached.execute(&mut *connection).await.map_err(error::statement)?.rows_affected();
        more |= detached > 0;
        room -= row::stored(detached);
        if room <= 0 {
            break;
        }
        runs.push(run);
    }
    for many in [&*sql::DROP_JOURNAL, &*sql::DROP_INBOX, &*sql::DROP_SUBSCRIPTIONS] {
        sql::for_runs(connection, many, &runs).await?;
    }
    let swept = sql::for_runs(connection, &sql::DELETE_RUNS, &runs).await?;
    let events = sqlx::query(sql::SWEEP_EVENTS)
        .bind(now)
        .bind(row::limit(limit))
        .execute(connection)
        .await
        .map_err(error::statement)?;
    let events = events.rows_affected();
    Ok(Swept { runs: swept, events, more: more || full(events) })
}
