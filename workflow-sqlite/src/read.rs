//! Looking things up, on the readers.

use futures::TryStreamExt;
use sqlx::{Row, SqliteConnection};
use workflow_core::journal::Entry;
use workflow_core::store::{ListFilter, Mail, RunRecord, RunRef, Status};
use workflow_core::{ExecutorId, RunId, StoreError};

use crate::connection::Connections;
use crate::row::Bound;
use crate::{error, row, sql};

pub(crate) async fn landed(connection: &mut SqliteConnection, run: RunId, position: u32) -> Result<bool, StoreError> {
    let row = sqlx::query(sql::LANDED).bind(run.0).bind(i64::from(position)).fetch_one(connection).await;
    row.and_then(|row| row.try_get(0)).map_err(error::statement)
}

/// Runs one query on a reader.
async fn rows(connections: &Connections, query: Bound<'_>) -> Result<Vec<sqlx::sqlite::SqliteRow>, StoreError> {
    let mut slot = connections.reader().await;
    let found: Result<Vec<_>, _> = query.fetch(slot.connection().await?).try_collect().await;
    found.map_err(|e| {
        slot.suspect();
        error::statement(e)
    })
}

pub(crate) async fn mail(
    connections: &Connections,
    executor: ExecutorId,
    limit: usize,
) -> Result<Vec<Mail>, StoreError> {
    let query = sqlx::query(sql::MAIL_OF_EXECUTOR).bind(executor.0).bind(row::limit(limit));
    let mut mail = Vec::new();
    for row in rows(connections, query).await? {
        match row::mail(&row) {
            Ok(one) => mail.push(one),
            // The run's next claim tells; until then the mail of the others comes through.
            Err(reason) => {
                let run: Option<uuid::Uuid> = row.try_get(0).ok();
                tracing::error!(run = ?run, reason, "a message can't be read and is left in its inbox");
            }
        }
    }
    Ok(mail)
}

pub(crate) async fn find(connections: &Connections, refs: &[RunRef]) -> Result<Vec<Option<RunRecord>>, StoreError> {
    let mut found = Vec::with_capacity(refs.len());
    for reference in refs {
        let query = match reference {
            RunRef::Id(id) => sqlx::query(sql::FIND_BY_ID).bind(id.0),
            RunRef::InvokeId(id) => sqlx::query(sql::FIND_BY_INVOKE_ID).bind(id.clone()),
        };
        found.push(rows(connections, query).await?.first().map(row::record).transpose()?);
    }
    Ok(found)
}

pub(crate) async fn list(connections: &Connections, filter: &ListFilter) -> Result<Vec<RunRecord>, StoreError> {
    let statuses: Vec<&str> = filter.statuses.iter().copied().map(Status::as_str).collect();
    let statuses = (!statuses.is_empty()).then(|| serde_json::json!(statuses).to_string());
    let text = if filter.parent.is_some() { sql::LIST_CHILDREN } else { sql::LIST_RUNS };
    let most = usize::try_from(filter.effective_limit()).unwrap_or(usize::MAX);
    let (mut records, mut before) = (Vec::new(), filter.before.map(|run| run.0));
    loop {
        let room = most - records.len();
        let mut query = sqlx::query(text)
            .bind(statuses.clone())
            .bind(filter.workflow.clone())
            .bind(filter.queue.clone())
            .bind(before)
            .bind(row::limit(room));
        if let Some(parent) = filter.parent {
            query = query.bind(parent.0);
        }
        let rows = rows(connections, query).await?;
        for row in &rows {
            before = Some(row.try_get(0).map_err(error::statement)?);
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

pub(crate) async fn journal(
    connections: &Connections,
    run: RunId,
    from: u32,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let query = sqlx::query(sql::JOURNAL_OF_RUN).bind(run.0).bind(i64::from(from)).bind(row::limit(limit));
    let rows = rows(connections, query).await?;
    let entries = rows.iter().map(row::entry).collect::<Result<Vec<_>, _>>();
    entries.map_err(|reason| StoreError::Corrupt { run: Some(run), reason })
}
