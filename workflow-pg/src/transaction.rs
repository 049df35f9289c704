//! The user's own transactions: an entry, new runs or events that commit together with the user's rows.

use std::time::Duration;

use sqlx::{PgConnection, Postgres, Row, Transaction};
use uuid::Uuid;
use workflow_core::journal::{ENTRY_VERSION, Fact};
use workflow_core::store::{CreateOutcome, NewEvent, NewRun};
use workflow_core::{ExecutorId, RunId, StoreError, Timestamp};

use crate::batch::bind_entry;
use crate::create::{create_unowned, wake_created};
use crate::deliver::deliver;
use crate::error::work;
use crate::pool::begin_on;
use crate::seeded::{self, Bug};
use crate::session::end;
use crate::sql;
use crate::store::PgStore;
use crate::wake::Wakes;

impl PgStore {
    /// Begins a transaction for the user's statements, which the server ends when a statement, or a pause between two,
    /// takes longer than `max`. It holds nothing of the executor's until [`PgStore::commit_user`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] and the like: nothing was written.
    ///
    /// # Cancel safety
    ///
    /// Dropping the transaction rolls it back.
    pub async fn begin_user(&self, max: Duration) -> Result<Transaction<'static, Postgres>, StoreError> {
        // 0 would mean without a limit, and the settings are of type integer.
        let max_ms = i32::try_from(max.as_millis()).unwrap_or(i32::MAX).max(1);
        let begin = format!(
            "BEGIN; SET LOCAL idle_in_transaction_session_timeout = {max_ms}; SET LOCAL statement_timeout = {max_ms}"
        );
        begin_on(self.pool(), self.whose(), begin).await
    }

    /// Adds `fact` to the journal of `run` at `position` and commits the user's transaction with it, provided that
    /// `executor` is alive and owns the run. Returns the time of the entry.
    ///
    /// # Errors
    ///
    /// Rolled back for certain: [`StoreError::LeaseLost`] (also when the run isn't the executor's any more),
    /// [`StoreError::PositionTaken`], [`StoreError::Contention`] (run the whole transaction again),
    /// [`StoreError::Unavailable`]. [`StoreError::Unknown`]: ask [`Store::landed`](workflow_core::Store::landed).
    ///
    /// # Cancel safety
    ///
    /// Dropped half-way, nobody knows whether it was committed: as with `Unknown`.
    pub async fn commit_user(
        &self,
        mut tx: Transaction<'_, Postgres>,
        executor: ExecutorId,
        run: RunId,
        position: u32,
        fact: &Fact,
    ) -> Result<Timestamp, StoreError> {
        if seeded::is(Bug::TransactionInTwo) {
            end(tx).await?;
            tx = self.begin().await?;
        }
        let slot = self.slots().take();
        let query = sqlx::query(sql::USER_COMMIT).bind(executor.0).bind(slot.number);
        let query = bind_entry(query, run.0, position, fact)?.bind(ENTRY_VERSION);
        let query = query.bind(self.limits().idle_ms().to_string());
        let rows = query.fetch_all(&mut *tx).await.map_err(work)?;
        let row = rows.first().ok_or(StoreError::LeaseLost(executor))?;
        if !row.try_get("written").map_err(work)? {
            return Err(StoreError::LeaseLost(executor));
        }
        let now = row.try_get("now").map_err(work)?;
        end(tx).await?;
        Ok(now)
    }
}

/// Creates runs inside your transaction: they exist when it is committed, and not at all when it isn't. Idempotent as
/// [`Store::create`](workflow_core::Store::create), but never owned from the start. Executors are told by the commit
/// itself (a transactional `NOTIFY`).
///
/// # Errors
///
/// As statements of yours would have; a failed statement spoils the transaction. A conflict is an outcome, no error.
pub async fn create_in(tx: &mut PgConnection, runs: &[NewRun]) -> Result<Vec<CreateOutcome>, StoreError> {
    if runs.is_empty() {
        return Ok(Vec::new());
    }
    let outcomes = create_unowned(tx, runs).await?;
    let mut wakes = Wakes::default();
    wake_created(runs.iter().zip(&outcomes), &mut wakes);
    notify_in(tx, &wakes).await?;
    Ok(outcomes)
}

/// Emits events inside your transaction. Other emitters of the same topics wait until it ends, so keep it short.
/// Executors are told by the commit itself (a transactional `NOTIFY`).
///
/// # Errors
///
/// [`StoreError::BufferFull`] when a topic would hold more than `max_buffered` events: nothing was emitted, and the
/// transaction can go on. Else as statements of yours would have.
pub async fn emit_in(tx: &mut PgConnection, emits: &[NewEvent], max_buffered: u64) -> Result<(), StoreError> {
    if !emits.is_empty() {
        let (_, wakes) = deliver(tx, &[], emits, max_buffered).await?;
        notify_in(tx, &wakes).await?;
    }
    Ok(())
}

/// A notification that is sent by the commit. It takes a global lock there, which a batch of the engine must not; in a
/// user's transaction it is the only way to tell anyone at the right moment.
async fn notify_in(tx: &mut PgConnection, wakes: &Wakes) -> Result<(), StoreError> {
    if !wakes.is_empty() {
        sqlx::query(sql::NOTIFY).bind(wakes.encode(Uuid::nil())).execute(tx).await.map_err(work)?;
    }
    Ok(())
}
