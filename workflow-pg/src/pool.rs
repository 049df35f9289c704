//! Pools, and the connections and transactions that come from them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgPool, Postgres, SqlSafeStr, Transaction};
use tokio::runtime::Handle;
use workflow_core::StoreError;

use crate::error;
use crate::presence::Presence;
use crate::session::SESSION;

/// Most servers take a connection within this time, so what it has cost by then isn't thrown away.
const CONNECTS: Duration = Duration::from_millis(250);
/// How often a caller whom the pool makes wait for longer looks for a connection that has become free.
const LOOK: Duration = Duration::from_millis(10);

/// The pool for leases: it connects like `pool` does, and is never busy with anything else. Rescuing waits for locks, so
/// there is a second connection for a heartbeat of another executor of this process.
pub(crate) fn lease_pool(pool: &PgPool, presence: Option<Arc<Presence>>) -> PgPool {
    PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(Duration::from_secs(2))
        .after_connect(move |conn, _| {
            let presence = presence.clone();
            Box::pin(async move {
                conn.execute(SESSION).await?;
                match presence {
                    Some(presence) => presence.hold_as_well(conn).await,
                    None => Ok(()),
                }
            })
        })
        .connect_lazy_with((*pool.connect_options()).clone())
}

/// Whose pool it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    Ours,
    /// The user's, with habits that aren't known: it may set up each connection that it hands out.
    Theirs,
}

/// A connection of the pool.
pub(crate) async fn acquire(pool: &PgPool, whose: Whose) -> Result<PoolConnection<Postgres>, StoreError> {
    take(pool, whose).await.map_err(error::connect)
}

/// Begins a transaction, to the end even if the caller gives up meanwhile. A connection that is dropped with its `BEGIN`
/// under way goes back to its pool as if nothing were open on it, and what the next one writes there with a single
/// statement is acknowledged, and rolled back later.
pub(crate) async fn begin_on(
    pool: &PgPool,
    whose: Whose,
    begin: String,
) -> Result<Transaction<'static, Postgres>, StoreError> {
    begin_with(acquire(pool, whose).await?, begin).await
}

/// The same on a connection of the pool.
pub(crate) async fn begin_with(
    conn: PoolConnection<Postgres>,
    begin: String,
) -> Result<Transaction<'static, Postgres>, StoreError> {
    // Whether the connect or the BEGIN failed, nothing was written.
    ToItsEnd::new(Transaction::begin(conn, Some(AssertSqlSafe(begin).into_sql_str()))).await.map_err(error::connect)
}

/// A task that is polled where it is awaited, so that no other thread has to wake for it, and goes on in the runtime when it is
/// dropped before its end.
struct ToItsEnd<T: Send + 'static> {
    task: Option<Pin<Box<dyn Future<Output = T> + Send>>>,
    runtime: Handle,
}

impl<T: Send + 'static> ToItsEnd<T> {
    fn new(task: impl Future<Output = T> + Send + 'static) -> Self {
        Self { task: Some(Box::pin(task)), runtime: Handle::current() }
    }
}

impl<T: Send + 'static> Future for ToItsEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        // One that panics isn't polled again.
        let Some(mut task) = self.task.take() else { return Poll::Pending };
        let polled = task.as_mut().poll(cx);
        if polled.is_pending() {
            self.task = Some(task);
        }
        polled
    }
}

impl<T: Send + 'static> Drop for ToItsEnd<T> {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            self.runtime.spawn(async move { drop(task.await) });
        }
    }
}

/// Takes what has become free when the pool couldn't connect for a while: it tries until its time is up when the server has no
/// room for one more, and looks at nothing else meanwhile.
#[expect(clippy::disallowed_methods, reason = "the pace of looking is real time and decides nothing else")]
async fn take(pool: &PgPool, whose: Whose) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    let freed = async {
        if whose == Whose::Theirs {
            return std::future::pending().await;
        }
        tokio::time::sleep(CONNECTS).await;
        loop {
            if let Some(mut conn) = pool.try_acquire()
                && conn.ping().await.is_ok()
            {
                return conn;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    tokio::select! {
        biased;
        acquired = pool.acquire() => acquired,
        freed = freed => Ok(freed),
    }
}
