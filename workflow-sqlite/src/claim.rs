//! Claiming runs, with all that is needed to go on with them.

use futures::TryStreamExt;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};
use workflow_core::journal::Entry;
use workflow_core::store::{Claim, ClaimedRun, Message};
use workflow_core::{Payload, RunId, StoreError};

use crate::clock::timestamp;
use crate::row::{read, whole};
use crate::{error, row, sql};

/// Claims runs for an executor that was found alive in this transaction.
pub(crate) async fn claim(
    connection: &mut SqliteConnection,
    claim: &Claim,
    now: i64,
) -> Result<Vec<ClaimedRun>, StoreError> {
    let kinds = serde_json::json!(claim.workflows).to_string();
    let mut claimed = Vec::new();
    for (queue, room) in claim.queues.iter().filter(|(_, room)| *room > 0) {
        let rows = sqlx::query(sql::CLAIMABLE)
            .bind(queue.clone())
            .bind(kinds.clone())
            .bind(now)
            .bind(i64::from(*room))
            .fetch_all(&mut *connection)
            .await
            .map_err(error::statement)?;
        let ids = rows.iter().map(|row| row.try_get(0).map(RunId)).collect::<Result<Vec<_>, _>>();
        for (sql, piece) in sql::CLAIM_RUNS.pieces(&ids.map_err(error::statement)?) {
            let query = piece.iter().fold(sqlx::query(sql), |query, run| query.bind(run.0).bind(claim.executor.0));
            query.execute(&mut *connection).await.map_err(error::statement)?;
        }
        for row in &rows {
            claimed.push(load(connection, row, queue).await?);
        }
    }
    Ok(claimed)
}

/// Reads a run with its journal and inbox. What can't be read is the reason in its place: it concerns no other run.
async fn load(connection: &mut SqliteConnection, row: &SqliteRow, queue: &str) -> Result<ClaimedRun, StoreError> {
    let id = RunId(row.try_get(0).map_err(error::statement)?);
    let mut run = try_run(id, row).unwrap_or_else(|reason| ClaimedRun {
        id,
        workflow: row.try_get(1).unwrap_or_default(),
        version: row.try_get(2).unwrap_or_default(),
        queue: queue.to_owned(),
        input: Payload::default(),
        parent: None,
        depth: 0,
        created_at: timestamp(0),
        mail: 0,
        journal: Err(format!("its row: {reason}")),
        inbox: Vec::new(),
    });
    if run.journal.is_ok() {
        run.journal = journal(connection, id).await?;
    }
    if run.mail > 0 {
        for message in inbox(connection, id).await? {
            match message {
                // It may be a cancellation, which ends a run that can't go on.
                Ok(message) => run.inbox.push(message),
                Err(reason) => run.journal = run.journal.and(Err(reason)),
            }
        }
    }
    Ok(run)
}

fn try_run(id: RunId, row: &SqliteRow) -> Result<ClaimedRun, String> {
    Ok(ClaimedRun {
        id,
        workflow: read(row, 1)?,
        version: whole(row, 2)?,
        queue: read(row, 3)?,
        input: row::payload(row, 4)?,
        parent: row::parent(row, 6)?,
        depth: whole(row, 10)?,
        created_at: timestamp(read(row, 11)?),
        mail: whole(row, 12)?,
        journal: Ok(Vec::new()),
        inbox: Vec::new(),
    })
}

/// The whole journal, which has to be without gaps.
async fn journal(connection: &mut SqliteConnection, run: RunId) -> Result<Result<Vec<Entry>, String>, StoreError> {
    // From the lowest number there is: a position below 0 is a damage to be told.
    let mut rows = sqlx::query(sql::JOURNAL_OF_RUN).bind(run.0).bind(i64::MIN).bind(-1_i64).fetch(connection);
    let mut entries: Vec<Entry> = Vec::new();
    while let Some(row) = rows.try_next().await.map_err(error::statement)? {
        let entry = match row::entry(&row) {
            Ok(entry) => entry,
            Err(reason) => return Ok(Err(reason)),
        };
        let expected = entries.len();
        if usize::try_from(entry.position) != Ok(expected) {
            return Ok(Err(format!("the journal has no entry at position {expected}, but one at {}", entry.position)));
        }
        entries.push(entry);
    }
    Ok(Ok(entries))
}

async fn inbox(connection: &mut SqliteConnection, run: RunId) -> Result<Vec<Result<Message, String>>, StoreError> {
    let rows = sqlx::query(sql::INBOX_OF_RUN).bind(run.0).fetch_all(connection).await.map_err(error::statement)?;
    Ok(rows.iter().map(|row| row::mail(row).map(|mail| mail.message)).collect())
}
