//! Connecting, and looking at what the server is.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection, PgPool, Row};
use workflow_core::StoreError;

use crate::error::{self, work};
use crate::migrate;
use crate::options::{Capabilities, PgOptions};
use crate::session::{SESSION, acquire};
use crate::sql;
use crate::store::PgStore;

/// A connection that was idle for longer is tried before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
const OLDEST_SERVER: i32 = 140_000;

impl PgStore {
    /// Connects to `postgres://user:password@host:5432/database` with default [`PgOptions`] and looks whether the server
    /// can be used. The schema is made by [`Store::migrate`](workflow_core::Store::migrate).
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`] when the server can't be reached. [`StoreError::Unusable`] when the URL, the
    /// password, the database or the server's version is wrong. [`StoreError::Schema`] when the schema is newer than this
    /// code. No message holds the password.
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
        // A pool keeps trying until its time is up and then only says so; one connection says what is wrong.
        let first = PgConnection::connect_with(&target).await.map_err(error::connect)?;
        first.close().await.map_err(error::connect)?;
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
            .after_connect(|conn, _| Box::pin(async move { conn.execute(SESSION).await.map(|_| ()) }))
            .connect_lazy_with(target);
        Self::check(&pool).await?;
        Ok(Self::over(pool, true, options.capabilities))
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
        Self::check(&pool).await?;
        Ok(Self::over(pool, false, capabilities))
    }

    async fn check(pool: &PgPool) -> Result<(), StoreError> {
        let mut conn = acquire(pool).await?;
        let rows = sqlx::query(sql::SETTINGS).fetch_all(&mut *conn).await.map_err(work)?;
        let Some(row) = rows.first() else { return Ok(()) };
        let version: i32 = row.try_get("version").map_err(work)?;
        if version < OLDEST_SERVER {
            return Err(StoreError::Unusable(format!(
                "the server is Postgres {}, and 14 or later is needed: upgrade it, or connect to another one",
                version / 10_000
            )));
        }
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
        Ok(())
    }
}
