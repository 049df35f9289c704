//! Invocations inside the user's own transaction: the run exists if and only if the transaction commits.

use async_trait::async_trait;
use workflow_core::StoreError;
use workflow_core::store::{CreateOutcome, NewRun};

use super::{Invocation, RunHandle};
use crate::error::Error;

/// A transaction of the user, on the database that holds the runs. Implemented for `sqlx`'s transactions and
/// connections of Postgres and SQLite.
#[async_trait]
pub trait UserTransaction: Send {
    /// Creates runs that exist once the transaction is committed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]; the transaction may be spoiled then.
    async fn create_runs(&mut self, runs: &[NewRun]) -> Result<Vec<CreateOutcome>, StoreError>;
}

/// The same few lines for every type that a user may have at hand.
macro_rules! user_transaction {
    ($feature:literal, $create:path, $($transaction:ty),*) => {
        $(
            #[cfg(feature = $feature)]
            #[async_trait]
            impl UserTransaction for $transaction {
                async fn create_runs(&mut self, runs: &[NewRun]) -> Result<Vec<CreateOutcome>, StoreError> {
                    $create(self, runs).await
                }
            }
        )*
    };
}

user_transaction!("postgres", workflow_pg::create_in, sqlx::PgConnection, sqlx::Transaction<'_, sqlx::Postgres>);
user_transaction!(
    "sqlite",
    workflow_sqlite::create_in,
    sqlx::SqliteConnection,
    sqlx::Transaction<'_, sqlx::Sqlite>,
    workflow_sqlite::UserTransaction
);

impl<O> Invocation<O> {
    /// Invokes inside a transaction of yours, on the database that holds the runs: the run exists if and only if the
    /// transaction commits. The handle is of use from then on.
    ///
    /// # Errors
    ///
    /// As awaiting the invocation; after an [`Error::Store`] of Postgres the transaction can only be rolled back.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use workflow::prelude::*;
    ///
    /// #[workflow]
    /// async fn ship(_ctx: Ctx, _order: i64) -> Result<()> { Ok(()) }
    ///
    /// # async fn place(client: Client, pool: sqlx::PgPool) -> std::result::Result<(), Box<dyn std::error::Error>> {
    /// let mut tx = pool.begin().await?;
    /// sqlx::query("INSERT INTO orders (id) VALUES (7)").execute(&mut *tx).await?;
    /// client.invoke(ship, 7).within(&mut tx).await?;
    /// tx.commit().await?;
    /// # Ok(()) }
    /// ```
    pub async fn within(self, tx: &mut (impl UserTransaction + ?Sized)) -> Result<RunHandle<O>, Error> {
        let (client, run) = self.into_parts()?;
        let created = tx.create_runs(std::slice::from_ref(&run)).await?;
        match created.into_iter().next() {
            Some(CreateOutcome::Created(created)) => Ok(client.handle(created.id)),
            Some(CreateOutcome::Existing(id)) => Ok(client.handle(id)),
            Some(CreateOutcome::Conflict(existing)) => {
                let id = run.invoke_id.unwrap_or_default();
                Err(StoreError::Conflict { index: 0, id, existing }.into())
            }
            None => {
                Err(StoreError::Corrupt { run: Some(run.id), reason: "no answer to its creation".to_owned() }.into())
            }
        }
    }
}
