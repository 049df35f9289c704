//! A connection of a driver's thread, for its lone turns and new runs.
//!
//! A pool's connections wake whichever thread of the application's runtime watches its sockets, and that one has to wake the
//! thread that waits for the answer: on a machine with few cores that takes half as long as the commit.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::{Connection, Executor, PgConnection};
use workflow_core::store::{Committed, Lane, NewRun, Turn};
use workflow_core::{ExecutorId, StoreError, Timestamp};

use crate::connect::TRUSTED_IDLE;
use crate::error;
use crate::session::SESSION;
use crate::store::PgStore;

/// Whoever has to wait for longer takes the pool.
const CONNECT_TIME: Duration = Duration::from_secs(1);
/// Before the next attempt: a server without room isn't asked at every commit.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The way to commit of one thread. Its connection belongs to the runtime that it is first polled in.
#[derive(Debug)]
pub(crate) struct PgLane {
    store: PgStore,
    /// With when it was last used.
    conn: Option<(PgConnection, Instant)>,
    /// When a connection couldn't be made.
    failed: Option<Instant>,
}

impl PgLane {
    pub(crate) fn new(store: PgStore) -> Self {
        Self { store, conn: None, failed: None }
    }

    async fn take(&mut self) -> Result<PgConnection, StoreError> {
        if let Some((mut conn, used)) = self.conn.take()
            && (used.elapsed() < TRUSTED_IDLE || answers(&mut conn).await)
        {
            return Ok(conn);
        }
        self.make().await
    }

    async fn make(&self) -> Result<PgConnection, StoreError> {
        let options = self.store.pool().connect_options();
        let connecting = async {
            let mut conn = PgConnection::connect_with(&options).await?;
            conn.execute(SESSION).await?;
            Ok(conn)
        };
        let late = || StoreError::Unavailable("no connection within a second".to_owned());
        tokio::time::timeout(CONNECT_TIME, connecting).await.map_err(|_| late())?.map_err(error::connect)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "how long a connection is idle is real time and decides nothing else"
    )]
    fn keep(&mut self, conn: PgConnection) {
        self.conn = Some((conn, Instant::now()));
    }

    /// Whatever else went wrong, the connection answered.
    fn keep_if_it_answered<T>(&mut self, conn: PgConnection, answer: &Result<T, StoreError>) {
        if !matches!(answer, Err(StoreError::Unknown(_) | StoreError::Unavailable(_))) {
            self.keep(conn);
        }
    }
}

#[async_trait]
impl Lane for PgLane {
    fn is_connected(&self) -> bool {
        self.conn.is_some()
    }

    #[expect(clippy::disallowed_methods, reason = "the pace of connecting is real time and decides nothing else")]
    async fn connect(&mut self) {
        if self.is_connected() || self.failed.is_some_and(|failed| failed.elapsed() < AFTER_FAILURE) {
            return;
        }
        match self.make().await {
            Ok(conn) => self.keep(conn),
            Err(error) => {
                tracing::debug!(%error, "a thread has no connection of its own, and takes the pool's");
                self.failed = Some(Instant::now());
            }
        }
    }

    async fn commit(&mut self, executor: ExecutorId, turn: &Turn) -> Result<Option<Committed>, StoreError> {
        let mut conn = self.take().await?;
        let committed = self.store.commit_lone(&mut conn, executor, turn).await;
        self.keep_if_it_answered(conn, &committed);
        committed
    }

    async fn create(&mut self, run: &NewRun) -> Result<Option<Timestamp>, StoreError> {
        let mut conn = self.take().await?;
        let created = self.store.create_lone(&mut conn, run).await;
        self.keep_if_it_answered(conn, &created);
        created
    }
}

/// Whether the server is still there: nothing says so when a firewall has forgotten the connection.
async fn answers(conn: &mut PgConnection) -> bool {
    matches!(tokio::time::timeout(CONNECT_TIME, conn.ping()).await, Ok(Ok(())))
}
