//! Deleting what is no longer kept, a bounded piece at a time.

use sqlx::Row;
use uuid::Uuid;
use workflow_core::StoreError;
use workflow_core::store::Swept;

use crate::error::{commit, work};
use crate::row::limit;
use crate::session::{end, retry};
use crate::sql;
use crate::store::PgStore;

impl PgStore {
    pub(crate) async fn sweep_once(&self, most: usize) -> Result<Swept, StoreError> {
        let (runs, more) = retry(|| self.sweep_runs(most)).await?;
        let events = retry(async || {
            let mut conn = self.acquire().await?;
            let done = sqlx::query(sql::DELETE_EVENTS).bind(limit(most)).execute(&mut *conn).await;
            Ok(done.map_err(commit)?.rows_affected())
        })
        .await?;
        Ok(Swept { runs, events, more: more || events >= most as u64 })
    }

    /// Parents and children are locked together and by id. A parent with more children than fit is deleted by a later
    /// sweep, when the last of them has lost it. Returns how many runs are gone, and whether there may be more.
    async fn sweep_runs(&self, most: usize) -> Result<(u64, bool), StoreError> {
        let mut tx = self.begin().await?;
        let rows = sqlx::query(sql::LOCK_EXPIRED).bind(limit(most)).fetch_all(&mut *tx).await.map_err(work)?;
        let (mut all, mut expired) = (Vec::new(), Vec::new());
        for row in &rows {
            let id: Uuid = row.try_get("id").map_err(work)?;
            all.push(id);
            if row.try_get("expired").map_err(work)? {
                expired.push(id);
            }
        }
        if expired.is_empty() {
            // Whoever was locked has just been taken from its parent by another sweep.
            return Ok((0, !all.is_empty()));
        }
        let orphaned =
            sqlx::query(sql::ORPHAN_CHILDREN).bind(&all).bind(&expired).execute(&mut *tx).await.map_err(work)?;
        let counted = sqlx::query(sql::DELETE_RUNS).bind(&expired).fetch_all(&mut *tx).await.map_err(work)?;
        let runs: i64 = counted.first().map_or(Ok(0), |row| row.try_get(0)).map_err(work)?;
        end(tx).await?;
        Ok((runs.unsigned_abs(), expired.len() >= most || orphaned.rows_affected() > 0))
    }
}
