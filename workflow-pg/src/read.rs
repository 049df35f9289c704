//! Reading runs, journals and mail; and letting parked runs go on.

use sqlx::Row;
use workflow_core::journal::Entry;
use workflow_core::store::{ListFilter, Mail, Resume, RunRecord, RunRef};
use workflow_core::{ExecutorId, RunId, StoreError};

use crate::error::work;
use crate::row::{self, int4, limit};
use crate::session::{end, retry};
use crate::sql;
use crate::store::PgStore;
use crate::wake::Wakes;

/// How many runs are resumed in one statement.
const CHUNK: usize = 1_000;

impl PgStore {
    pub(crate) async fn entry_landed(&self, run: RunId, position: u32) -> Result<bool, StoreError> {
        retry(async || {
            let mut tx = self.begin().await?;
            let query = sqlx::query(sql::PROBE_ENTRY).bind(run.0).bind(int4("position", position)?);
            let inserted = query.execute(&mut *tx).await.map_err(work)?.rows_affected();
            tx.rollback().await.map_err(work)?;
            Ok(inserted == 0)
        })
        .await
    }

    pub(crate) async fn mail_of(&self, executor: ExecutorId, most: usize) -> Result<Vec<Mail>, StoreError> {
        retry(async || {
            let mut conn = self.acquire().await?;
            let query = sqlx::query(sql::MAIL).bind(executor.0).bind(limit(most));
            let rows = query.fetch_all(&mut *conn).await.map_err(work)?;
            // The next claim of its run tells of a message that can't be read; the mail of the others comes through.
            let readable = |row| row::mail(row).inspect_err(|error| tracing::error!(%error, "left in its inbox")).ok();
            Ok(rows.iter().filter_map(readable).collect())
        })
        .await
    }

    pub(crate) async fn find_runs(&self, refs: &[RunRef]) -> Result<Vec<Option<RunRecord>>, StoreError> {
        let (mut ids, mut invoke_ids) = (Vec::new(), Vec::new());
        for reference in refs {
            match reference {
                RunRef::Id(id) => ids.push(id.0),
                RunRef::InvokeId(id) => invoke_ids.push(&id[..]),
            }
        }
        let records: Vec<RunRecord> = retry(async || {
            let mut conn = self.warm().await?;
            let query = sqlx::query(sql::FIND).bind(&ids).bind(&invoke_ids);
            let rows = query.fetch_all(&mut *conn).await.map_err(work)?;
            conn.keep();
            rows.iter().map(row::record).collect()
        })
        .await?;
        let by_id: std::collections::HashMap<_, _> = records.iter().map(|r| (r.id, r)).collect();
        let by_invoke_id: std::collections::HashMap<_, _> =
            records.iter().filter_map(|r| r.invoke_id.as_deref().map(|id| (id, r))).collect();
        let found = |reference: &RunRef| match reference {
            RunRef::Id(id) => by_id.get(id).map(|r| RunRecord::clone(r)),
            RunRef::InvokeId(id) => by_invoke_id.get(&id[..]).map(|r| RunRecord::clone(r)),
        };
        Ok(refs.iter().map(found).collect())
    }

    pub(crate) async fn list_runs(&self, filter: &ListFilter) -> Result<Vec<RunRecord>, StoreError> {
        let statuses = if filter.statuses.is_empty() {
            None
        } else {
            Some(filter.statuses.iter().map(|s| s.as_str()).collect::<Vec<_>>())
        };
        let most = usize::try_from(filter.effective_limit()).unwrap_or(usize::MAX);
        let (mut records, mut before) = (Vec::new(), filter.before);
        loop {
            let room = most - records.len();
            let rows = retry(async || {
                let mut tx = self.begin_planning().await?;
                sqlx::query(sql::LIST)
                    .bind(&statuses)
                    .bind(&filter.workflow)
                    .bind(&filter.queue)
                    .bind(filter.parent.map(|id| id.0))
                    .bind(before.map(|id| id.0))
                    .bind(limit(room))
                    .persistent(false)
                    .fetch_all(&mut *tx)
                    .await
                    .map_err(work)
            })
            .await?;
            for row in &rows {
                before = Some(row::run_id(row, "id")?);
                match row::record(row) {
                    Ok(record) => records.push(record),
                    Err(error) => tracing::error!(%error, code = error.code(), "a run is left out of a list"),
                }
            }
            // Others take the places of what was left out.
            if records.len() >= most || rows.len() < room {
                return Ok(records);
            }
        }
    }

    pub(crate) async fn entries(&self, run: RunId, from: u32, most: usize) -> Result<Vec<Entry>, StoreError> {
        let Ok(first) = i32::try_from(from) else { return Ok(Vec::new()) };
        let rows = retry(async || {
            let mut conn = self.acquire().await?;
            let query = sqlx::query(sql::JOURNAL).bind(run.0).bind(first).bind(limit(most));
            query.fetch_all(&mut *conn).await.map_err(work)
        })
        .await?;
        let corrupt = |reason| StoreError::Corrupt { run: Some(run), reason };
        (from..).zip(&rows).map(|(position, row)| row::entry(row, position).map_err(corrupt)).collect()
    }

    pub(crate) async fn resume_runs(&self, which: &Resume) -> Result<u64, StoreError> {
        let (ids, codes, workflows) = match which {
            Resume::Runs(runs) => (Some(runs.iter().map(|id| id.0).collect::<Vec<_>>()), None, None),
            Resume::Codes { codes, workflows } => (None, Some(codes), Some(row::versions(workflows))),
        };
        let mut resumed = 0;
        loop {
            let rows = retry(async || {
                let mut tx = self.begin_planning().await?;
                let query = sqlx::query(sql::RESUME).bind(&ids).bind(codes).bind(&workflows).bind(limit(CHUNK));
                let rows = query.fetch_all(&mut *tx).await.map_err(work)?;
                end(tx).await?;
                Ok(rows)
            })
            .await?;
            let mut wakes = Wakes::default();
            for row in &rows {
                wakes.ready(row.try_get("queue").map_err(work)?);
            }
            self.ring(wakes);
            resumed += rows.len() as u64;
            if rows.len() < CHUNK {
                return Ok(resumed);
            }
        }
    }
}
