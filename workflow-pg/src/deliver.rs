//! Messages and events from outside of a run.

use std::collections::{BTreeMap, HashMap};

use sqlx::{PgConnection, Row};
use uuid::Uuid;
use workflow_core::StoreError;
use workflow_core::store::{NewEvent, NewMessage, SendOutcome, Status};

use crate::batch::{KeyColumns, Outgoing, bind_messages, number};
use crate::commit::Changed;
use crate::error::{commit, work};
use crate::session::{acquire, end, retry};
use crate::store::PgStore;
use crate::wake::Wakes;
use crate::{sql, topic};

impl PgStore {
    pub(crate) async fn deliver_all(
        &self,
        sends: &[NewMessage],
        emits: &[NewEvent],
        max_buffered: u64,
    ) -> Result<Vec<SendOutcome>, StoreError> {
        if sends.is_empty() && emits.is_empty() {
            return Ok(Vec::new());
        }
        let (outcomes, wakes) = retry(|| self.try_deliver(sends, emits, max_buffered)).await?;
        self.ring(wakes);
        Ok(outcomes)
    }

    async fn try_deliver(
        &self,
        sends: &[NewMessage],
        emits: &[NewEvent],
        max_buffered: u64,
    ) -> Result<(Vec<SendOutcome>, Wakes), StoreError> {
        if emits.is_empty() {
            let mut conn = acquire(self.pool()).await?;
            return send(&mut conn, sends, Vec::new(), commit).await;
        }
        let mut tx = self.begin().await?;
        let sent = deliver(&mut tx, sends, emits, max_buffered).await?;
        end(tx).await?;
        Ok(sent)
    }
}

/// Sends and emits inside a transaction.
pub(crate) async fn deliver(
    conn: &mut PgConnection,
    sends: &[NewMessage],
    emits: &[NewEvent],
    max_buffered: u64,
) -> Result<(Vec<SendOutcome>, Wakes), StoreError> {
    let emits = topic::once(emits);
    topic::lock_topics(conn, topic::topics_of(emits.iter().copied())).await?;
    topic::check_room(conn, &emits, max_buffered).await?;
    let brought = topic::emit(conn, &emits).await?;
    if sends.is_empty() && brought.is_empty() {
        return Ok((Vec::new(), Wakes::default()));
    }
    send(conn, sends, brought, work).await
}

async fn send(
    conn: &mut PgConnection,
    sends: &[NewMessage],
    events: Vec<Outgoing<'_>>,
    map: fn(sqlx::Error) -> StoreError,
) -> Result<(Vec<SendOutcome>, Wakes), StoreError> {
    let mut messages: Vec<_> = sends.iter().map(Outgoing::message).chain(events).collect();
    let sent: BTreeMap<Uuid, i64> = number(&mut messages);
    let mut ended = KeyColumns::default();
    for message in messages.iter().filter(|m| m.event.is_some()) {
        ended.push(message.to, &message.key)?;
    }
    let (ids, counts): (Vec<Uuid>, Vec<i64>) = sent.into_iter().unzip();
    let query = bind_messages(sqlx::query(sql::SEND).bind(ids).bind(counts), &messages)?;
    let rows = ended.bind(query).fetch_all(conn).await.map_err(map)?;
    let mut wakes = Wakes::default();
    let mut runs = HashMap::new();
    for row in &rows {
        let id: Uuid = row.try_get("id").map_err(map)?;
        let run = Changed::read(row).map_err(map)?;
        let over: bool = row.try_get("ended").map_err(map)?;
        if !over {
            match run.owner {
                Some(owner) => wakes.mail(owner),
                None if run.status == Some(Status::Ready) => wakes.ready(&run.queue),
                None => {}
            }
        }
        runs.insert(id, run.status.filter(|_| over));
    }
    let outcome = |message: &NewMessage| match runs.get(&message.to.0) {
        Some(Some(status)) => SendOutcome::Ended(*status),
        Some(None) => SendOutcome::Delivered,
        None => SendOutcome::NoSuchRun,
    };
    Ok((sends.iter().map(outcome).collect(), wakes))
}
