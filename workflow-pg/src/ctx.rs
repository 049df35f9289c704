//! `ctx.transaction`: the user's statements and the journal entry commit together, exactly once.

use std::panic::Location;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{Postgres, Transaction};
use workflow_core::ops::transaction::{Attempt, TransactionError, TransactionOp, transaction_at};
use workflow_core::{Ctx, Failure, StoreError};

use crate::store::PgStore;

/// Adds [`transaction`](TransactionExt::transaction) to [`Ctx`], for runs whose journal is in Postgres.
pub trait TransactionExt {
    /// Runs `body` in a transaction on the journal's own database and commits it together with the journal entry of
    /// its value: what the body wrote is there if and only if the entry is, exactly once, whatever crashes.
    ///
    /// The body may run several times (serialization failures, lost connections, a crash before the commit), but only
    /// one of its transactions is ever committed. It should hold nothing but statements: what it does outside of the
    /// database isn't undone. It may be open for 3 s by default; see [`TransactionOp::max_open`].
    ///
    /// # Replay
    ///
    /// The recorded value; the body doesn't run.
    ///
    /// # Errors
    ///
    /// The body's failure, after which nothing of it is kept; it is tried again by the retry policy, as a step's.
    /// `TimedOut` when it was open for too long; so is that, as it may have waited for others. `Misuse` when its value can't
    /// be journaled, or when the run's journal isn't in Postgres.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future rolls the transaction back, unless its commit has begun: that is ended either way.
    ///
    /// # Examples
    ///
    /// ```
    /// use workflow_core::{Ctx, Result};
    /// use workflow_pg::TransactionExt as _;
    ///
    /// async fn debit(ctx: Ctx, account: i64) -> Result<i64> {
    ///     ctx.transaction("debit", async |tx| {
    ///         let balance = sqlx::query_scalar("UPDATE account SET balance = balance - 1 WHERE id = $1 RETURNING balance")
    ///             .bind(account)
    ///             .fetch_one(&mut **tx)
    ///             .await?;
    ///         Ok(balance)
    ///     })
    ///     .await
    /// }
    /// ```
    #[track_caller]
    fn transaction<'a, T, F>(&self, name: &str, body: F) -> TransactionOp<'a, T>
    where
        T: Serialize + DeserializeOwned + 'a,
        F: AsyncFnMut(&mut Transaction<'static, Postgres>) -> Result<T, Failure> + 'a;
}

impl TransactionExt for Ctx {
    #[track_caller]
    fn transaction<'a, T, F>(&self, name: &str, mut body: F) -> TransactionOp<'a, T>
    where
        T: Serialize + DeserializeOwned + 'a,
        F: AsyncFnMut(&mut Transaction<'static, Postgres>) -> Result<T, Failure> + 'a,
    {
        transaction_at(self, Location::caller(), name, async move |attempt: &Attempt| {
            let shared = attempt.store();
            let Some(store) = shared.as_any().downcast_ref::<PgStore>() else {
                return Err(TransactionError::Failed(Failure::misuse(
                    "this transaction is for Postgres, but the run's journal is elsewhere: use the extension trait of \
                     that store",
                )));
            };
            let mut tx = store.begin_user(attempt.max_open()).await?;
            let value = match attempt.bounded(body(&mut tx)).await {
                Ok(value) => value,
                Err(failure) => {
                    // An error here changes nothing: the server rolls back when the connection is lost.
                    let connected = tx.rollback().await.is_ok();
                    return Err(match failure.downcast_ref::<sqlx::Error>() {
                        Some(error) if runs_again(error) => {
                            TransactionError::Again(StoreError::Contention(error.to_string()))
                        }
                        Some(error) if !connected && is_lost(error) => {
                            TransactionError::Again(StoreError::Unavailable(error.to_string()))
                        }
                        _ => TransactionError::Failed(failure),
                    });
                }
            };
            let store = store.clone();
            attempt
                .commit(&value, move |executor, run, position, fact| async move {
                    store.commit_user(tx, executor, run, position, &fact).await
                })
                .await
        })
    }
}

/// Whether the server went away, or was told to end the session. A session that was idle for too long is no such case: it
/// would be again.
fn is_lost(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    match code {
        Some(code) => ["57P01", "57P02", "57P03"].contains(&&*code) || code.starts_with("08"),
        None => matches!(error, sqlx::Error::Io(_) | sqlx::Error::Protocol(_)),
    }
}

/// Whether the server rolled the transaction back for the sake of another one: serialization failure, deadlock.
fn runs_again(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "40001" || code == "40P01")
}
