//! The user's own transactions on the file: rows of theirs and an entry, or a new run, commit together.
//!
//! A file has one writer. While a [`UserTransaction`] is open, every commit of the engine in this process waits for it
//! and other processes wait for the file's lock. So its body must not wait for anything that needs a commit: no
//! handle's result, no event, no lock that a step holds. Neither should it wait for a network. `max` is the bound:
//! a transaction that took longer is refused, because by then the lease that it is checked against may be gone.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use sqlx::SqliteConnection;
use workflow_core::journal::Fact;
use workflow_core::store::{CreateOutcome, NewRun};
use workflow_core::{ExecutorId, RunId, StoreError, Timestamp};

use crate::clock::{self, timestamp};
use crate::commit::{NewEntry, insert_entries};
use crate::connection::Tx;
use crate::store::SqliteStore;
use crate::wake::Wakes;
use crate::{create, error, lease, sql};

/// A transaction for the user's statements: `sqlx::query(..).execute(&mut *tx)`. Dropping it rolls it back.
#[derive(Debug)]
pub struct UserTransaction {
    tx: Tx,
    began: Instant,
    max: Duration,
    wakes: Wakes,
}

impl UserTransaction {
    /// [`create_in`] in this transaction; whoever waits for the runs is woken by its commit.
    ///
    /// # Errors
    ///
    /// As [`create_in`].
    pub async fn create(&mut self, runs: &[NewRun]) -> Result<Vec<CreateOutcome>, StoreError> {
        let items: Vec<&NewRun> = runs.iter().collect();
        create::create(&mut self.tx, &items, clock::now(), &mut self.wakes).await
    }

    /// Rolls back and waits until it is done.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`]; nothing is written then either.
    pub async fn rollback(self) -> Result<(), StoreError> {
        self.tx.rollback().await
    }

    /// Ends the user's part, and with it finds out whether the user's statements ended the transaction themselves.
    async fn seal(&mut self) -> Result<(), StoreError> {
        if self.began.elapsed() > self.max {
            return Err(StoreError::Unusable(format!(
                "the transaction took longer than its limit of {:?} and was rolled back: keep slow work, and waiting \
                 for others, out of it, or raise the limit",
                self.max
            )));
        }
        self.tx.release().await.map_err(|e| {
            StoreError::Unusable(format!(
                "the transaction was ended by a COMMIT or ROLLBACK among its own statements: leave ending it to the \
                 engine ({e})"
            ))
        })
    }
}

impl Deref for UserTransaction {
    type Target = SqliteConnection;

    fn deref(&self) -> &SqliteConnection {
        &self.tx
    }
}

impl DerefMut for UserTransaction {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        &mut self.tx
    }
}

impl SqliteStore {
    /// Waits for the writer and begins a transaction for the user's statements, to be committed within `max`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Contention`] when another process holds the file's lock.
    #[expect(clippy::disallowed_methods, reason = "how long a transaction takes is no instant of the store")]
    pub async fn begin_user(&self, max: Duration) -> Result<UserTransaction, StoreError> {
        let mut tx = self.begin().await?;
        tx.savepoint().await.map_err(error::statement)?;
        Ok(UserTransaction { tx, began: Instant::now(), max, wakes: Wakes::default() })
    }

    /// Commits the user's statements together with an entry of a run that `executor` owns. Returns the entry's time.
    ///
    /// # Errors
    ///
    /// Nothing is written in any case but `Unknown`. [`StoreError::LeaseLost`] when the executor isn't alive or
    /// doesn't own the run any more, [`StoreError::PositionTaken`], [`StoreError::Unusable`] when the transaction took
    /// too long or was ended by its own statements, [`StoreError::Contention`], [`StoreError::Unknown`].
    pub async fn commit_user(
        &self,
        mut tx: UserTransaction,
        executor: ExecutorId,
        run: RunId,
        position: u32,
        fact: &Fact,
    ) -> Result<Timestamp, StoreError> {
        tx.seal().await?;
        let now = clock::now();
        lease::check(&mut tx, executor, now).await?;
        for (sql, _) in sql::OWNED_RUNS.pieces(&[run]) {
            let owned = sqlx::query(sql).bind(run.0).bind(executor.0).fetch_optional(&mut *tx).await;
            if owned.map_err(error::statement)?.is_none() {
                return Err(StoreError::LeaseLost(executor));
            }
        }
        let entry = NewEntry { run, position: i64::from(position), fact };
        insert_entries(&mut tx, &[entry], now).await.map_err(|e| {
            if error::is_taken(&e) { StoreError::PositionTaken { run, position } } else { error::statement(e) }
        })?;
        let UserTransaction { tx, wakes, .. } = tx;
        self.end(tx, wakes).await?;
        Ok(timestamp(now))
    }

    /// Commits the user's statements alone: for runs created in a transaction outside of any run.
    ///
    /// # Errors
    ///
    /// As [`SqliteStore::commit_user`].
    pub async fn commit_plain(&self, mut tx: UserTransaction) -> Result<(), StoreError> {
        tx.seal().await?;
        let UserTransaction { tx, wakes, .. } = tx;
        self.end(tx, wakes).await
    }
}

/// Creates runs in a transaction of the user's own on the same file: they exist when it is committed. As
/// [`Store::create`](workflow_core::Store::create) without `atomic`. Executors learn of them by looking at the file.
///
/// # Errors
///
/// [`StoreError::Contention`] when the transaction can't write because another one did since it began: begin it with
/// `BEGIN IMMEDIATE`. [`StoreError::Schema`] when it is another file.
pub async fn create_in(connection: &mut SqliteConnection, runs: &[NewRun]) -> Result<Vec<CreateOutcome>, StoreError> {
    let items: Vec<&NewRun> = runs.iter().collect();
    create::create(connection, &items, clock::now(), &mut Wakes::default()).await
}
