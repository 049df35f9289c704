//! Connecting, and looking at what the server is.

use std::pin::pin;
use std::str::FromStr;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgPool, Postgres, Row};
use tokio::sync::watch;
use workflow_core::StoreError;

use crate::error::{self, work};
use crate::migrate;
use crate::options::{Capabilities, PgOptions};
use crate::pool::{Whose, acquire};
use crate::pooler;
use crate::session::SESSION;
use crate::sql;
use crate::store::PgStore;
use crate::tls;

/// A connection that was idle for longer is tried before it is used.
pub(crate) const TRUSTED_IDLE: Duration = Duration::from_secs(1);
const OLDEST_SERVER: i32 = 140_000;

impl PgStore {
    /// Connects to `postgres://user:password@host:5432/database` with default [`PgOptions`] and looks whether the server
    /// can be used. The schema is made by [`Store::migrate`](workflow_core::Store::migrate).
    ///
    /// To a server on another machine it speaks TLS and verifies the certificate and the name in it, unless the URL has
    /// an `sslmode` of its own; `sslrootcert=FILE` names an authority of yours.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the server can't be reached. [`StoreError::Unusable`] when the URL, the
    /// password, the certificate, the database or the server's version is wrong, or when a pooler in transaction mode
    /// answers. [`StoreError::Schema`] when the schema is newer than this code. No message holds the password.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        Self::connect_with(PgOptions::new(url)).await
    }

    /// Connects with options of your own.
    ///
    /// # Errors
    ///
    /// As [`PgStore::connect`].
    pub async fn connect_with(options: PgOptions) -> Result<Self, StoreError> {
        let target = PgConnectOptions::from_str(&options.url).map_err(error::connect)?;
        let target = tls::secured(target, &options.url);
        let (verdict, told) = watch::channel(false);
        let pool = PgPoolOptions::new()
            .max_connections(options.pool_size)
            .acquire_timeout(options.acquire_timeout)
            .test_before_acquire(false)
            .before_acquire(|conn, about| {
                Box::pin(async move {
                    // A ping at every statement would double the round trips.
                    Ok(about.idle_for < TRUSTED_IDLE || conn.ping().await.is_ok())
                })
            })
            .after_connect(move |conn, _| {
                let mut told = told.clone();
                Box::pin(async move {
                    // A pooler in transaction mode would give these settings to others.
                    told.wait_for(|ours| *ours).await.map_err(|_| sqlx::Error::PoolClosed)?;
                    conn.execute(SESSION).await.map(|_| ())
                })
            })
            .connect_lazy_with(target.clone());
        let checked = Self::check_both(&target, &pool, verdict).await;
        let conn = match checked {
            // Its time ran while it waited for the verdict.
            Ok(Err(StoreError::Unavailable(_))) => Self::check(&pool).await?,
            checked => checked??,
        };
        let store = Self::over(pool, true, options.capabilities);
        store.keep_at_hand(conn);
        Ok(store)
    }

    /// A store over a pool of yours, with all accelerators. Its transactions set their own time limits.
    ///
    /// # Errors
    ///
    /// As [`PgStore::connect`].
    pub async fn from_pool(pool: PgPool) -> Result<Self, StoreError> {
        Self::from_pool_with(pool, Capabilities::default()).await
    }

    /// A store over a pool of yours.
    ///
    /// # Errors
    ///
    /// As [`PgStore::connect`].
    pub async fn from_pool_with(pool: PgPool, capabilities: Capabilities) -> Result<Self, StoreError> {
        pooler::refuse(&pool.connect_options()).await?;
        drop(Self::check(&pool).await?);
        Ok(Self::over(pool, false, capabilities))
    }

    /// Looks whether a pooler answers, and meanwhile what the server is; tells the pool's first connection when it may go on.
    /// The outer error is of the first, and the more telling: a pool keeps trying until its time is up and then only says so.
    async fn check_both(
        target: &PgConnectOptions,
        pool: &PgPool,
        verdict: watch::Sender<bool>,
    ) -> Result<Result<PoolConnection<Postgres>, StoreError>, StoreError> {
        let refused = async {
            pooler::refuse(target).await?;
            verdict.send_replace(true);
            Ok::<_, StoreError>(())
        };
        let (mut refused, mut checked) = (pin!(refused), pin!(Self::check(pool)));
        tokio::select! {
            biased;
            refused = &mut refused => {
                refused?;
                Ok(checked.await)
            }
            checked = &mut checked => {
                refused.await?;
                Ok(checked)
            }
        }
    }

    /// Looks what the server is; returns the connection.
    async fn check(pool: &PgPool) -> Result<PoolConnection<Postgres>, StoreError> {
        let mut conn = acquire(pool, Whose::Theirs).await?;
        let row = sqlx::query(sql::SETTINGS).fetch_one(&mut *conn).await.map_err(work)?;
        let version: i32 = row.try_get("version").map_err(work)?;
        check_server(version)?;
        let off = |name| row.try_get::<String, _>(name).map(|value| value == "off").map_err(work);
        if off("fsync")? || off("full_page_writes")? {
            tracing::warn!(
                "the server runs with fsync or full_page_writes off: a crash of its machine can corrupt the whole database"
            );
        }
        if off("synchronous_commit")? {
            tracing::warn!(
                "synchronous_commit is off: a crash of the server loses what was acknowledged in about the last second, \
                 so a run may vanish and a recorded step may run again"
            );
        }
        migrate::check_version(&mut conn).await?;
        Ok(conn)
    }
}

fn check_server(version: i32) -> Result<(), StoreError> {
    if version >= OLDEST_SERVER {
        return Ok(());
    }
    Err(StoreError::Unusable(format!(
        "the server is Postgres {}, and 14 or later is needed: upgrade it, or connect to another one",
        version / 10_000
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_too_old_is_told() {
        check_server(140_000).expect("14.0 is new enough");
        check_server(180_001).expect("18.1 is new enough");
        let error = check_server(130_022).expect_err("13.22 is too old");
        assert_eq!(error.code(), "STORE_UNUSABLE");
        assert!(error.to_string().contains("Postgres 13, and 14 or later"), "{error}");
    }
}
