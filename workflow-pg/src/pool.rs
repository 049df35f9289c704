//! Pools, and the connections and transactions that come from them.

use std::sync::Arc;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Connection, Executor, PgPool, Postgres, SqlSafeStr, Transaction};
use tokio::runtime::Handle;
use workflow_core::StoreError;
use workflow_core::env::ToItsEnd;

use crate::error;
use crate::presence::Presence;
use crate::session::SESSION;

/// How often a caller whom the pool makes wait looks for a connection that has become free.
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

/// A connection of the pool.
pub(crate) async fn acquire(pool: &PgPool) -> Result<PoolConnection<Postgres>, StoreError> {
    take(pool).await.map_err(error::connect)
}

/// Begins a transaction, to the end even if the caller gives up meanwhile. A connection that is dropped with its `BEGIN`
/// under way goes back to its pool as if nothing were open on it, and what the next one writes there with a single
/// statement is acknowledged, and rolled back later.
pub(crate) async fn begin_on(pool: &PgPool, begin: String) -> Result<Transaction<'static, Postgres>, StoreError> {
    let conn = take(pool).await.map_err(error::connect)?;
    let runtime = Handle::current();
    let begun = ToItsEnd::new(Transaction::begin(conn, Some(AssertSqlSafe(begin).into_sql_str())), move |rest| {
        runtime.spawn(rest);
    });
    // Whether the connect or the BEGIN failed, nothing was written.
    begun.await.map_err(error::connect)
}

/// Takes what becomes free while the pool tries to connect: it tries until its time is up when the server has no room for
/// one more, and looks at nothing else meanwhile.
#[expect(clippy::disallowed_methods, reason = "the pace of looking is real time and decides nothing else")]
async fn take(pool: &PgPool) -> Result<PoolConnection<Postgres>, sqlx::Error> {
    let freed = async {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Some(mut conn) = pool.try_acquire()
                && conn.ping().await.is_ok()
            {
                return conn;
            }
        }
    };
    tokio::select! {
        biased;
        acquired = pool.acquire() => acquired,
        freed = freed => Ok(freed),
    }
}
