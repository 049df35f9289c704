//! The lives of executors: registering, heartbeats, closing, and taking over the runs of dead ones. On connections of
//! their own: an executor whose pool is busy isn't dead.

use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{Executor, PgConnection, PgPool, Row, SqlSafeStr};
use uuid::Uuid;
use workflow_core::store::{Heartbeat, Rescued, Wakeup};
use workflow_core::{ExecutorId, RunId, StoreError, Timestamp};

use crate::error::{commit, work};
use crate::pool::{Whose, acquire};
use crate::presence::{NOTICE, Presence};
use crate::row::{limit, micros, text};
use crate::seeded::{self, Bug};
use crate::session::{WRITER_SLOTS, end, retry};
use crate::sql;
use crate::store::PgStore;
use crate::wake::Wakes;

/// How many dead executors one rescue looks for.
const MAX_DEAD: usize = 100;
/// How long the first claim of an executor isn't disturbed.
const AFTER_START: Duration = Duration::from_millis(100);
/// How many runs are handed over in one statement.
const CHUNK: usize = 1_000;

impl PgStore {
    pub(crate) async fn register_executor(
        &self,
        executor: ExecutorId,
        name: &str,
        lease: Duration,
    ) -> Result<Timestamp, StoreError> {
        self.limits().hold_below(lease);
        let presence = self.presence().and_then(|presence| presence.enter(executor.0));
        let (now, mut conn) = retry(async || {
            let mut conn = acquire(self.leases(), Whose::Ours).await?;
            let query = sqlx::query(sql::REGISTER).bind(executor.0).bind(text(name)).bind(micros(lease));
            let query = query.bind(i32::from(WRITER_SLOTS)).bind(presence).bind(micros(NOTICE));
            let rows = query.fetch_all(&mut *conn).await.map_err(commit)?;
            let row = rows.first().ok_or(StoreError::LeaseLost(executor))?;
            Ok((row.try_get("now").map_err(commit)?, conn))
        })
        .await?;
        let leases = self.leases().clone();
        tokio::spawn(async move { prepare(&leases).await });
        if let Some(key) = self.presence().and_then(Presence::key_if_held) {
            if presence.is_none() {
                // It came to be held while the row was written, and didn't find it.
                let query = sqlx::query(sql::SET_PRESENCE).bind(key).bind(vec![executor.0]);
                query.execute(&mut *conn).await.map_err(work)?;
            }
            let mut wakes = Wakes::default();
            wakes.entered(key);
            self.ring(wakes);
        }
        Ok(now)
    }

    pub(crate) async fn renew(&self, executor: ExecutorId, lease: Duration) -> Result<Heartbeat, StoreError> {
        let renewed = retry(async || {
            let mut conn = acquire(self.leases(), Whose::Ours).await?;
            // Repeating it is harmless, so a lost connection is no more than that.
            let query = sqlx::query(sql::HEARTBEAT).bind(executor.0).bind(micros(lease));
            let rows = query.fetch_all(&mut *conn).await.map_err(work)?;
            let row = rows.first().ok_or(StoreError::LeaseLost(executor))?;
            Ok(Heartbeat {
                now: row.try_get("now").map_err(work)?,
                rescue: row.try_get("rescue").map_err(work)?,
                next_expiry: row.try_get("next_expiry").map_err(work)?,
                ready: row.try_get("ready").map_err(work)?,
                next_due: row.try_get("next_due").map_err(work)?,
            })
        })
        .await?;
        // After the renewal, which must not wait for it.
        if let Err(error) = self.settle_doubts(executor).await {
            tracing::warn!(%error, "runs in doubt couldn't be given back, trying again with the next heartbeat");
        }
        Ok(renewed)
    }

    pub(crate) async fn rest_of_lease(
        &self,
        executor: ExecutorId,
        notice: Option<Duration>,
    ) -> Result<Duration, StoreError> {
        let mut conn = acquire(self.leases(), Whose::Ours).await?;
        let query = match notice {
            Some(notice) => sqlx::query(sql::NEED_NOTICE).bind(executor.0).bind(micros(notice)),
            None => sqlx::query(sql::LEASE_LEFT).bind(executor.0),
        };
        let rows = query.fetch_all(&mut *conn).await.map_err(work)?;
        let row = rows.first().ok_or(StoreError::LeaseLost(executor))?;
        let left: i64 = row.try_get("left_us").map_err(work)?;
        Ok(Duration::from_micros(u64::try_from(left).unwrap_or(0)))
    }

    pub(crate) async fn hand_runs_over(&self, executor: ExecutorId, runs: &[RunId]) -> Result<u64, StoreError> {
        let mut handed = 0;
        for chunk in runs.chunks(CHUNK) {
            let ids: Vec<Uuid> = chunk.iter().map(|run| run.0).collect();
            let rows = retry(async || {
                let mut conn = acquire(self.leases(), Whose::Ours).await?;
                let query = sqlx::query(sql::HAND_OVER).bind(executor.0).bind(&ids);
                query.fetch_all(&mut *conn).await.map_err(commit)
            })
            .await
            .inspect_err(|_| {
                // It may have been done all the same.
                let mut wakes = Wakes::default();
                wakes.add(Wakeup::Lost);
                self.ring(wakes);
            })?;
            let mut wakes = Wakes::default();
            for row in &rows {
                wakes.ready(row.try_get("queue").map_err(work)?);
            }
            self.ring(wakes);
            handed += rows.len() as u64;
        }
        Ok(handed)
    }

    pub(crate) async fn close_executor(&self, executor: ExecutorId) -> Result<u64, StoreError> {
        if let Some(presence) = self.presence() {
            presence.leave(executor.0);
        }
        let mut rescued = Rescued::default();
        // The first of its runs in the transaction that ends it: whoever takes them doesn't wait for a second one.
        let rows = retry(async || {
            let mut tx = self.begin_for_leases().await?;
            fence_off(&mut tx, executor, "closed").await?;
            let rows = take_over(&mut tx, i32::MAX, CHUNK, Some(executor)).await.map_err(work)?;
            end(tx).await?;
            Ok(rows)
        })
        .await?;
        let mut all = rows.len() < CHUNK;
        self.taken(&rows, &mut rescued)?;
        // Should this fail half-way, the rest is taken over by a rescue, still as handed over in good order.
        while !all {
            all = self.take_over(i32::MAX, CHUNK, Some(executor), &mut rescued).await? < CHUNK;
        }
        self.forget_executors().await?;
        Ok(rescued.runs)
    }

    pub(crate) async fn rescue_runs(&self, max_crashes: u32, most: usize) -> Result<Rescued, StoreError> {
        let mut rescued = Rescued::default();
        let mut conn = acquire(self.leases(), Whose::Ours).await?;
        let query = sqlx::query(sql::EXPIRED_EXECUTORS).bind(limit(MAX_DEAD));
        let expired = query.fetch_all(&mut *conn).await.map_err(work)?;
        drop(conn);
        for row in expired {
            let executor = ExecutorId(row.try_get("id").map_err(work)?);
            let mut ended = self.end_dead(executor).await;
            if matches!(ended, Err(StoreError::Contention(_))) {
                // Rolled back for the sake of another transaction, perhaps.
                ended = self.end_dead(executor).await;
            }
            match ended {
                Ok(true) => rescued.executors.push(executor),
                Ok(false) => {}
                // A commit of it is stuck in an open transaction, which the server ends before long. The others don't
                // wait for that.
                Err(StoreError::Contention(reason)) => {
                    tracing::debug!(%executor, reason, "a dead executor couldn't be fenced yet");
                }
                Err(error) => return Err(error),
            }
        }
        let max_crashes = i32::try_from(max_crashes).unwrap_or(i32::MAX);
        let mut left = most;
        while left > 0 {
            let chunk = left.min(CHUNK);
            if self.take_over(max_crashes, chunk, None, &mut rescued).await? < chunk {
                break;
            }
            left -= chunk;
        }
        self.forget_executors().await?;
        Ok(rescued)
    }

    async fn end_dead(&self, executor: ExecutorId) -> Result<bool, StoreError> {
        let mut tx = self.begin_for_leases().await?;
        let ended = fence_off(&mut tx, executor, "dead").await?;
        end(tx).await?;
        Ok(ended)
    }

    async fn take_over(
        &self,
        max_crashes: i32,
        most: usize,
        only: Option<ExecutorId>,
        rescued: &mut Rescued,
    ) -> Result<usize, StoreError> {
        let rows = retry(async || {
            let mut conn = acquire(self.leases(), Whose::Ours).await?;
            take_over(&mut conn, max_crashes, most, only).await.map_err(commit)
        })
        .await?;
        self.taken(&rows, rescued)?;
        Ok(rows.len())
    }

    /// These runs were taken over: tells whoever may want them.
    fn taken(&self, rows: &[PgRow], rescued: &mut Rescued) -> Result<(), StoreError> {
        let mut wakes = Wakes::default();
        for row in rows {
            let id: Uuid = row.try_get("id").map_err(work)?;
            if row.try_get("poisoned").map_err(work)? {
                rescued.poisoned.push(RunId(id));
                wakes.ended(id);
            } else {
                rescued.runs += 1;
                wakes.ready(row.try_get("queue").map_err(work)?);
            }
        }
        self.ring(wakes);
        Ok(())
    }

    async fn forget_executors(&self) -> Result<(), StoreError> {
        // Others forget the same ones, which a session of a strict isolation level doesn't get over.
        retry(async || {
            let mut conn = acquire(self.leases(), Whose::Ours).await?;
            sqlx::query(sql::FORGET_EXECUTORS).execute(&mut *conn).await.map_err(work)?;
            Ok(())
        })
        .await
    }
}

/// Takes an executor's fence away. In this order: its writers, which waits for their commits; then the executor.
async fn fence_off(conn: &mut PgConnection, executor: ExecutorId, state: &'static str) -> Result<bool, StoreError> {
    if !seeded::is(Bug::RescueWithoutLock) {
        sqlx::query(sql::LOCK_WRITERS).bind(executor.0).fetch_all(&mut *conn).await.map_err(work)?;
    }
    let query = sqlx::query(seeded::sql(sql::END_EXECUTOR)).bind(executor.0).bind(state);
    let ended = query.fetch_all(conn).await.map_err(work)?;
    Ok(!ended.is_empty())
}

async fn take_over(
    conn: &mut PgConnection,
    max_crashes: i32,
    most: usize,
    only: Option<ExecutorId>,
) -> Result<Vec<PgRow>, sqlx::Error> {
    let query = sqlx::query(seeded::sql(sql::TAKE_OVER)).bind(max_crashes).bind(limit(most)).bind(only.map(|e| e.0));
    query.fetch_all(conn).await
}

/// Prepares what runs wait for when an executor ends: that takes as long as the statements themselves. Behind everybody's
/// back, when the first runs are on their way: whoever needs one before is no worse off.
#[expect(
    clippy::disallowed_methods,
    reason = "how long others have the processors is real time and decides nothing else"
)]
async fn prepare(leases: &PgPool) {
    tokio::time::sleep(AFTER_START).await;
    let Ok(mut conn) = acquire(leases, Whose::Ours).await else { return };
    for statement in [sql::HAND_OVER, sql::LOCK_WRITERS, sql::END_EXECUTOR, sql::TAKE_OVER] {
        if let Err(error) = conn.prepare(seeded::sql(statement).into_sql_str()).await {
            tracing::debug!(%error, "a statement can't be prepared");
        }
    }
}
