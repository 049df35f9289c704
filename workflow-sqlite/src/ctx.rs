//! `ctx.transaction`: the user's statements and the journal entry commit together, exactly once.

use std::panic::Location;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use workflow_core::ops::transaction::{Attempt, TransactionError, TransactionOp, transaction_at};
use workflow_core::{Ctx, Failure, FailureKind};

use crate::store::SqliteStore;
use crate::transaction::UserTransaction;

/// Adds [`transaction`](TransactionExt::transaction) to [`Ctx`], for runs whose journal is in an SQLite file.
pub trait TransactionExt {
    /// Runs `body` in a transaction on the journal's own file and commits it together with the journal entry of its
    /// value: what the body wrote is there if and only if the entry is, exactly once, whatever crashes.
    ///
    /// A file has one writer, so the engine's commits wait while the body runs: it should hold nothing but
    /// statements. It may be open for 3 s by default; see [`TransactionOp::max_open`]; and never for longer than three
    /// fifths of the executor's lease, since its heartbeat waits for the same writer.
    ///
    /// # Replay
    ///
    /// The recorded value; the body doesn't run.
    ///
    /// # Errors
    ///
    /// The body's failure, after which nothing of it is kept; it is tried again by the retry policy, as a step's.
    /// `TimedOut` when it was open for too long; so is that, as the process may have been frozen. `Misuse` when its value
    /// can't be journaled, or when the run's journal isn't in SQLite.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future rolls the transaction back, unless its commit has begun: that is ended either way.
    ///
    /// # Examples
    ///
    /// ```
    /// use workflow_core::{Ctx, Result};
    /// use workflow_sqlite::TransactionExt as _;
    ///
    /// async fn debit(ctx: Ctx, account: i64) -> Result<i64> {
    ///     ctx.transaction("debit", async |tx| {
    ///         let balance = sqlx::query_scalar("UPDATE account SET balance = balance - 1 WHERE id = ? RETURNING balance")
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
        F: AsyncFnMut(&mut UserTransaction) -> Result<T, Failure> + 'a;
}

/// While the body runs no heartbeat gets through: open for longer than a lease, it would end every life of the executor,
/// and never be committed.
async fn within<T>(longest: Duration, body: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(longest, body).await.unwrap_or_else(|_| {
        let late = format!(
            "the transaction was open for more than {} s and was rolled back: on SQLite that is three fifths of the \
             executor's lease, whatever .max_open(..) says, since the heartbeat waits for it; keep everything but \
             statements out of it, or give the executor a longer lease with Builder::lease",
            longest.as_secs_f64()
        );
        Err(Failure::of(FailureKind::TimedOut, late))
    })
}

impl TransactionExt for Ctx {
    #[track_caller]
    fn transaction<'a, T, F>(&self, name: &str, mut body: F) -> TransactionOp<'a, T>
    where
        T: Serialize + DeserializeOwned + 'a,
        F: AsyncFnMut(&mut UserTransaction) -> Result<T, Failure> + 'a,
    {
        transaction_at(self, Location::caller(), name, async move |attempt: &Attempt| {
            let shared = attempt.store();
            let Some(store) = shared.as_any().downcast_ref::<SqliteStore>() else {
                return Err(TransactionError::Failed(Failure::misuse(
                    "this transaction is for SQLite, but the run's journal is elsewhere: use the extension trait of \
                     that store",
                )));
            };
            // Before the writer is taken: a commit of this run that is under way waits for the same writer.
            attempt.reserve().await;
            let mut tx = store.begin_user(attempt.max_open()).await?;
            let value = match within(store.longest_open(), attempt.bounded(body(&mut tx))).await {
                Ok(value) => value,
                Err(failure) => {
                    // Rolled back when dropped, too; an error here changes nothing.
                    let _ = tx.rollback().await;
                    return Err(TransactionError::Failed(failure));
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
