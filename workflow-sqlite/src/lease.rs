//! Executors: registering, heartbeat, closing, and the rescue of what dead ones left.

use std::time::Duration;

use sqlx::{Row, SqliteConnection};
use workflow_core::store::{Heartbeat, Rescued};
use workflow_core::{ExecutorId, RunId, StoreError};

use crate::clock::{after, timestamp};
use crate::presence::Presence;
use crate::wake::Wakes;
use crate::{error, row, sql};

pub(crate) async fn register(
    connection: &mut SqliteConnection,
    executor: ExecutorId,
    name: &str,
    lease: Duration,
    now: i64,
) -> Result<(), StoreError> {
    let registered = sqlx::query(sql::REGISTER_EXECUTOR)
        .bind(executor.0)
        .bind(name)
        .bind(after(now, lease))
        .bind(now)
        .fetch_optional(connection)
        .await
        .map_err(error::statement)?;
    registered.map(drop).ok_or(StoreError::LeaseLost(executor))
}

/// The fence: the caller holds the file's write lock, so no rescuer can come between this and its commit.
pub(crate) async fn check(connection: &mut SqliteConnection, executor: ExecutorId, now: i64) -> Result<(), StoreError> {
    if is_alive(connection, executor, now).await? { Ok(()) } else { Err(StoreError::LeaseLost(executor)) }
}

pub(crate) async fn is_alive(
    connection: &mut SqliteConnection,
    executor: ExecutorId,
    now: i64,
) -> Result<bool, StoreError> {
    let row = sqlx::query(sql::CHECK_FENCE)
        .bind(executor.0)
        .bind(now)
        .fetch_optional(connection)
        .await
        .map_err(error::statement)?;
    Ok(row.is_some())
}

pub(crate) async fn heartbeat(
    connection: &mut SqliteConnection,
    executor: ExecutorId,
    lease: Duration,
    now: i64,
) -> Result<Heartbeat, StoreError> {
    let renewed = sqlx::query(sql::RENEW_LEASE)
        .bind(executor.0)
        .bind(after(now, lease))
        .bind(now)
        .execute(&mut *connection)
        .await
        .map_err(error::statement)?;
    if renewed.rows_affected() == 0 {
        return Err(StoreError::LeaseLost(executor));
    }
    let others = sqlx::query(sql::OTHER_EXECUTORS)
        .bind(now)
        .bind(executor.0)
        .fetch_one(&mut *connection)
        .await
        .map_err(error::statement)?;
    let next_due = next_due(connection, i64::MIN).await?;
    Ok(Heartbeat {
        now: timestamp(now),
        rescue: others.try_get(0).map_err(error::statement)?,
        next_expiry: others.try_get::<Option<i64>, _>(1).map_err(error::statement)?.map(timestamp),
        ready: others.try_get(2).map_err(error::statement)?,
        next_due,
    })
}

/// When the next hung-up run is due after `after`.
pub(crate) async fn next_due(
    connection: &mut SqliteConnection,
    after: i64,
) -> Result<Option<workflow_core::Timestamp>, StoreError> {
    let row = sqlx::query(sql::NEXT_DUE).bind(after).fetch_one(connection).await.map_err(error::statement)?;
    Ok(row.try_get::<Option<i64>, _>(0).map_err(error::statement)?.map(timestamp))
}

/// Has the other executors of the file looked after.
pub(crate) async fn watch(connection: &mut SqliteConnection, presence: Option<&Presence>) -> Result<(), StoreError> {
    let Some(presence) = presence else { return Ok(()) };
    let rows = sqlx::query(sql::LIVING_EXECUTORS).fetch_all(connection).await.map_err(error::statement)?;
    let ids = rows.iter().map(|row| row.try_get(0).map(ExecutorId).map_err(error::statement));
    presence.watch(ids.collect::<Result<_, _>>()?);
    Ok(())
}

/// Ends the leases of executors whose process is no more.
pub(crate) async fn end(tx: &mut SqliteConnection, executors: &[ExecutorId], now: i64) -> Result<(), StoreError> {
    for executor in executors {
        sqlx::query(sql::END_LEASE).bind(executor.0).bind(now).execute(&mut *tx).await.map_err(error::statement)?;
    }
    Ok(())
}

pub(crate) async fn hand_over(
    connection: &mut SqliteConnection,
    executor: ExecutorId,
    runs: &[RunId],
    now: i64,
    wakes: &mut Wakes,
) -> Result<u64, StoreError> {
    let mut handed = 0;
    for (sql, piece) in sql::GIVE_BACK.pieces(runs) {
        let query = piece.iter().fold(sqlx::query(sql), |query, run| query.bind(run.0).bind(executor.0).bind(now));
        for row in query.fetch_all(&mut *connection).await.map_err(error::statement)? {
            wakes.ready.insert(row.try_get(0).map_err(error::statement)?);
            handed += 1;
        }
    }
    Ok(handed)
}

pub(crate) async fn close(
    connection: &mut SqliteConnection,
    executor: ExecutorId,
    now: i64,
    wakes: &mut Wakes,
) -> Result<u64, StoreError> {
    let forgotten =
        sqlx::query(sql::FORGET_EXECUTOR).bind(executor.0).execute(&mut *connection).await.map_err(error::statement)?;
    if forgotten.rows_affected() == 0 {
        return Ok(0);
    }
    let rows = sqlx::query(sql::HAND_OVER_RUNS)
        .bind(executor.0)
        .bind(now)
        .fetch_all(connection)
        .await
        .map_err(error::statement)?;
    for row in &rows {
        wakes.ready.insert(row.try_get(0).map_err(error::statement)?);
    }
    Ok(rows.len() as u64)
}

pub(crate) async fn rescue(
    connection: &mut SqliteConnection,
    max_crashes: u32,
    limit: usize,
    now: i64,
    wakes: &mut Wakes,
) -> Result<Rescued, StoreError> {
    let mut rescued = Rescued::default();
    let marked = sqlx::query(sql::MARK_DEAD).bind(now).fetch_all(&mut *connection).await.map_err(error::statement)?;
    for row in marked {
        rescued.executors.push(ExecutorId(row.try_get(0).map_err(error::statement)?));
    }
    let rows = sqlx::query(sql::RUNS_OF_THE_DEAD)
        .bind(row::limit(limit))
        .fetch_all(&mut *connection)
        .await
        .map_err(error::statement)?;
    for row in rows {
        let run = RunId(row.try_get(0).map_err(error::statement)?);
        let (crashes, rescued_len, len): (i64, i64, i64) = (
            row.try_get(2).map_err(error::statement)?,
            row.try_get(3).map_err(error::statement)?,
            row.try_get(4).map_err(error::statement)?,
        );
        let crashes = if len > rescued_len { 1 } else { crashes.saturating_add(1) };
        if crashes > i64::from(max_crashes) {
            poison(connection, run, crashes, len).await?;
            rescued.poisoned.push(run);
            wakes.ended.push(run);
        } else {
            sqlx::query(sql::RESCUE_RUN)
                .bind(run.0)
                .bind(crashes)
                .bind(len)
                .bind(now)
                .execute(&mut *connection)
                .await
                .map_err(error::statement)?;
            rescued.runs += 1;
            wakes.ready.insert(row.try_get(1).map_err(error::statement)?);
        }
    }
    sqlx::query(sql::FORGET_THE_DEAD).execute(connection).await.map_err(error::statement)?;
    Ok(rescued)
}

async fn poison(connection: &mut SqliteConnection, run: RunId, crashes: i64, len: i64) -> Result<(), StoreError> {
    let message = format!(
        "{crashes} executors in a row died with this run before it got any further: find out what in it ends the \
         process (an abort, a stack overflow, memory), mend it, then resume the run"
    );
    sqlx::query(sql::POISON_RUN)
        .bind(run.0)
        .bind(crashes)
        .bind(len)
        .bind("POISONED")
        .bind(message)
        .execute(connection)
        .await
        .map_err(error::statement)?;
    Ok(())
}
