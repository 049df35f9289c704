//! Messages and events from outside of a run.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sqlx::{PgConnection, Row};
use uuid::Uuid;
use workflow_core::StoreError;
use workflow_core::store::{NewEvent, NewMessage, SendOutcome, Status};

use crate::batch::{KeyColumns, Outgoing, bind_messages, number};
use crate::commit::Changed;
use crate::error::{commit, work};
use crate::session::{end, retry};
use crate::store::PgStore;
use crate::wake::Wakes;
use crate::{sql, topic};

/// How many messages are sent in one statement: it looks at each of them for each run.
pub(crate) const MOST_AT_ONCE: usize = 500;

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
        if emits.is_empty() && sends.len() <= MOST_AT_ONCE {
            let mut conn = self.acquire().await?;
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
    let messages = sends.iter().map(Outgoing::message).chain(events).collect();
    let (runs, wakes) = send_messages(conn, messages, map).await?;
    let outcome = |message: &NewMessage| match runs.get(&message.to.0) {
        Some(Some(status)) => SendOutcome::Ended(*status),
        Some(None) => SendOutcome::Delivered,
        None => SendOutcome::NoSuchRun,
    };
    Ok((sends.iter().map(outcome).collect(), wakes))
}

/// Sends messages, many in several statements. Returns the runs that there are, with the end of those that are over.
pub(crate) async fn send_messages(
    conn: &mut PgConnection,
    mut messages: Vec<Outgoing<'_>>,
    map: fn(sqlx::Error) -> StoreError,
) -> Result<(HashMap<Uuid, Option<Status>>, Wakes), StoreError> {
    let sent: BTreeMap<Uuid, i64> = number(&mut messages);
    // In the order in which the runs are locked; all messages of a run together.
    messages.sort_by_key(|message| message.to);
    let (mut runs, mut wakes) = (HashMap::new(), Wakes::default());
    let mut rest = &messages[..];
    while let Some(last) = rest.get(MOST_AT_ONCE.min(rest.len()).saturating_sub(1)) {
        let (these, others) = rest.split_at(rest.partition_point(|message| message.to <= last.to));
        rest = others;
        send_some(conn, these, &sent, map, (&mut runs, &mut wakes)).await?;
    }
    Ok((runs, wakes))
}

async fn send_some(
    conn: &mut PgConnection,
    messages: &[Outgoing<'_>],
    sent: &BTreeMap<Uuid, i64>,
    map: fn(sqlx::Error) -> StoreError,
    (runs, wakes): (&mut HashMap<Uuid, Option<Status>>, &mut Wakes),
) -> Result<(), StoreError> {
    let mut ended = KeyColumns::default();
    for message in messages.iter().filter(|m| m.event.is_some()) {
        ended.push(message.to, &message.key)?;
    }
    let to: BTreeSet<Uuid> = messages.iter().map(|message| message.to).collect();
    let (ids, counts): (Vec<Uuid>, Vec<i64>) = to.iter().filter_map(|to| sent.get_key_value(to)).unzip();
    let query = bind_messages(sqlx::query(sql::SEND).bind(ids).bind(counts), messages)?;
    let rows = ended.bind(query).fetch_all(conn).await.map_err(map)?;
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
    Ok(())
}
