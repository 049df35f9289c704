//! Claims that may have been made without the executor's knowing what it owns now: the answer was lost, or the journals
//! couldn't be read.
//!
//! Nobody drives such runs, so they are given back: with the next heartbeats, which come every second anyway. For a
//! while, because the server may find the claim in its socket only after it has lost the client; longer than it may
//! work on it. Each claim has an id of its own, so nothing is given back that was claimed again since.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Row;
use uuid::Uuid;
use workflow_core::{ExecutorId, StoreError};

use crate::error::commit;
use crate::pool::{Whose, acquire};
use crate::sql;
use crate::store::PgStore;
use crate::wake::Wakes;

/// A claim that may have been made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Doubt {
    executor: Uuid,
    claim: Uuid,
    since: Instant,
}

/// How long a lost claim may still be made: twice the limit of a statement, and some.
const OPEN: Duration = Duration::from_secs(10);

impl Doubt {
    #[expect(clippy::disallowed_methods, reason = "how long to be suspicious is no instant of the store")]
    pub(crate) fn new(executor: Uuid, claim: Uuid) -> Self {
        Self { executor, claim, since: Instant::now() }
    }
}

/// What is in doubt.
#[derive(Debug, Default)]
pub(crate) struct Doubts(Mutex<Vec<Doubt>>);

/// Puts a doubt on the list when dropped, as it is when the caller gives up waiting; unless it was settled.
pub(crate) struct DoubtGuard<'a> {
    doubts: &'a Doubts,
    doubt: Option<Doubt>,
}

impl Doubts {
    pub(crate) fn guard(&self, doubt: Doubt) -> DoubtGuard<'_> {
        DoubtGuard { doubts: self, doubt: Some(doubt) }
    }

    fn take(&self) -> Vec<Doubt> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, doubt: Doubt) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(doubt);
    }
}

impl DoubtGuard<'_> {
    /// The answer is here.
    pub(crate) fn settle(mut self) {
        self.doubt = None;
    }
}

impl Drop for DoubtGuard<'_> {
    fn drop(&mut self) {
        if let Some(doubt) = self.doubt.take() {
            self.doubts.put(doubt);
        }
    }
}

impl PgStore {
    /// Gives back what `executor` may own without knowing it.
    pub(crate) async fn settle_doubts(&self, executor: ExecutorId) -> Result<(), StoreError> {
        let mut wakes = Wakes::default();
        for doubt in self.doubts().take() {
            let guard = self.doubts().guard(doubt);
            let owner = doubt.executor;
            let mut conn = acquire(self.leases(), Whose::Ours).await?;
            let query = sqlx::query(sql::RELEASE_RUNS).bind(owner).bind(doubt.claim);
            for row in query.fetch_all(&mut *conn).await.map_err(commit)? {
                tracing::warn!(%executor, %owner, "gave back a run whose owner never learned that it owns it");
                wakes.ready(row.try_get(0).map_err(commit)?);
            }
            if doubt.since.elapsed() > OPEN {
                guard.settle();
            }
        }
        self.ring(wakes);
        Ok(())
    }
}
