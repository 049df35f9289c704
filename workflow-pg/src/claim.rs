//! Claiming runs with their journals and inboxes.

use std::collections::{BTreeMap, HashMap};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, Row, Transaction};
use uuid::Uuid;
use workflow_core::journal::Entry;
use workflow_core::store::{Claim, Claimed, ClaimedRun, Message};
use workflow_core::{Payload, RunId, StoreError};

use crate::batch::Statement;
use crate::doubt::Doubt;
use crate::error::{commit, work};
use crate::row;
use crate::session::{end, retry};
use crate::sql;
use crate::store::PgStore;

type Journals = HashMap<Uuid, Result<Vec<Entry>, String>>;
type Inboxes = HashMap<Uuid, (Vec<Message>, Option<String>)>;

impl PgStore {
    pub(crate) async fn claim_runs(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        retry(|| self.try_claim(claim)).await
    }

    async fn try_claim(&self, claim: &Claim) -> Result<Claimed, StoreError> {
        let id = Uuid::now_v7();
        let slot = self.slots().take();
        // From here on the runs may be owned; if their journals can't be read they are given back.
        let doubt = self.doubts().guard(Doubt::new(claim.executor.0, id));
        let rooms = room_of_each(&claim.queues);
        let query = sqlx::query(sql::CLAIM)
            .bind(claim.executor.0)
            .bind(slot.number)
            .bind(id)
            .bind(rooms.keys().copied().collect::<Vec<_>>())
            .bind(rooms.values().copied().collect::<Vec<_>>())
            .bind(row::versions(&claim.workflows));
        let mut conn = None;
        let rows = if self.has_prepared_sessions() {
            query.fetch_all(&mut **conn.insert(self.warm().await?)).await.map_err(commit)
        } else {
            in_transaction(self.begin().await?, query).await
        };
        drop(slot);
        let rows = match rows {
            Err(error @ StoreError::Contention(_)) => {
                doubt.settle();
                return Err(error);
            }
            rows => rows.map_err(unclaimed)?,
        };
        let Some(first) = rows.first() else {
            doubt.settle();
            return Err(StoreError::LeaseLost(claim.executor));
        };
        let now = first.try_get("now").map_err(work)?;
        let next_due = first.try_get("next_due").map_err(work)?;
        let (mut ids, mut with_mail) = (Vec::new(), Vec::new());
        for row in &rows {
            let Some(id) = row.try_get::<Option<Uuid>, _>("id").map_err(work)? else { continue };
            ids.push(id);
            if row.try_get::<i64, _>("mail").map_err(work)? != 0 {
                with_mail.push(id);
            }
        }
        let mut conn = match conn {
            Some(conn) => conn,
            None => self.warm().await.map_err(unclaimed)?,
        };
        let (mut journals, mut inboxes) = if ids.is_empty() {
            Default::default()
        } else {
            load(&mut conn, &ids, &with_mail).await.map_err(unclaimed)?
        };
        let mut runs = Vec::with_capacity(ids.len());
        for (id, row) in ids.into_iter().zip(&rows) {
            runs.push(claimed(id, row, journals.remove(&id), inboxes.remove(&id))?);
        }
        doubt.settle();
        conn.keep();
        Ok(Claimed { now, runs, next_due })
    }
}

/// For a pool of the user's: with our settings, JIT off above all, for this statement only.
async fn in_transaction(
    mut tx: Transaction<'static, Postgres>,
    query: Statement<'_>,
) -> Result<Vec<PgRow>, StoreError> {
    let rows = query.fetch_all(&mut *tx).await.map_err(work)?;
    end(tx).await?;
    Ok(rows)
}

/// The runs may be claimed already, so trying again at once wouldn't find them; but they are given back.
fn unclaimed(error: StoreError) -> StoreError {
    match error {
        StoreError::Contention(reason) | StoreError::Unknown(reason) => StoreError::Unavailable(reason),
        other => other,
    }
}

/// The room of each queue, every queue once.
fn room_of_each(queues: &[(String, u32)]) -> BTreeMap<&str, i64> {
    let mut rooms = BTreeMap::new();
    for (queue, room) in queues {
        let least = rooms.entry(&queue[..]).or_insert(i64::from(*room));
        *least = (*least).min(i64::from(*room));
    }
    rooms
}

/// The journals of claimed runs, and the inboxes of those that ever had mail.
async fn load(conn: &mut PgConnection, ids: &[Uuid], with_mail: &[Uuid]) -> Result<(Journals, Inboxes), StoreError> {
    let rows = sqlx::query(sql::LOAD_CLAIMED).bind(ids).bind(with_mail).fetch_all(conn).await.map_err(work)?;
    let (mut entries, mut messages) = (Vec::new(), Vec::new());
    for row in rows {
        let run: Uuid = row.try_get("run_id").map_err(work)?;
        match row.try_get::<Option<i64>, _>("seq").map_err(work)? {
            Some(seq) => messages.push(((run, seq), row)),
            None => entries.push(((run, row.try_get::<i32, _>("position").map_err(work)?), row)),
        }
    }
    let (entries, messages) = (in_order(entries), in_order(messages));
    let journals =
        group(&entries, |row, list: &[Entry]| row::entry(row, u32::try_from(list.len()).unwrap_or(u32::MAX)))?;
    let mut inboxes = Inboxes::new();
    for row in &messages {
        let (readable, damage) = inboxes.entry(row.try_get("run_id").map_err(work)?).or_default();
        match row::message(row) {
            Ok(message) => readable.push(message),
            Err(reason) => *damage = Some(reason),
        }
    }
    Ok((journals, inboxes))
}

/// Rows by their keys: that is how the index gives them, as a rule, and sorting them in the statement would copy them all.
fn in_order<K: Ord>(mut rows: Vec<(K, PgRow)>) -> Vec<PgRow> {
    rows.sort_by(|(one, _), (other, _)| one.cmp(other));
    rows.into_iter().map(|(_, row)| row).collect()
}

/// Rows by run. The first row of a run that can't be read stands for the whole run.
fn group<T>(
    rows: &[PgRow],
    read: impl Fn(&PgRow, &[T]) -> Result<T, String>,
) -> Result<HashMap<Uuid, Result<Vec<T>, String>>, StoreError> {
    let mut groups: HashMap<Uuid, Result<Vec<T>, String>> = HashMap::new();
    for row in rows {
        let group = groups.entry(row.try_get("run_id").map_err(work)?).or_insert_with(|| Ok(Vec::new()));
        if let Ok(list) = group {
            match read(row, list) {
                Ok(item) => list.push(item),
                Err(reason) => *group = Err(reason),
            }
        }
    }
    Ok(groups)
}

fn claimed(
    id: Uuid,
    row: &PgRow,
    journal: Option<Result<Vec<Entry>, String>>,
    inbox: Option<(Vec<Message>, Option<String>)>,
) -> Result<ClaimedRun, StoreError> {
    let mut journal = journal.unwrap_or_else(|| Ok(Vec::new()));
    // What can be read may be a cancellation, which ends a run that can't go on.
    let (inbox, damage) = inbox.unwrap_or_default();
    if let Some(reason) = damage {
        journal = Err(reason);
    }
    let parent = row::parent(row).unwrap_or_else(|reason| {
        journal = Err(reason);
        None
    });
    let mail: i64 = row.try_get("mail").map_err(work)?;
    Ok(ClaimedRun {
        id: RunId(id),
        workflow: row.try_get("workflow").map_err(work)?,
        version: row.try_get("version").map_err(work)?,
        queue: row.try_get("queue").map_err(work)?,
        input: Payload { codec: row.try_get("input_codec").map_err(work)?, bytes: row.try_get("input").map_err(work)? },
        parent,
        depth: row.try_get("depth").map_err(work)?,
        created_at: row.try_get("created_at").map_err(work)?,
        mail: u64::try_from(mail).unwrap_or(0),
        journal,
        inbox,
    })
}
