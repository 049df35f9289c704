//! Emitting events and waiting for them, inside a transaction. Both lock their topics first, by name and key.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};

use sqlx::{PgConnection, Row};
use uuid::Uuid;
use workflow_core::journal::{OpKey, Phase};
use workflow_core::store::{NewEvent, Subscription};
use workflow_core::{Payload, StoreError};

use crate::batch::{KeyColumns, Outgoing};
use crate::error::work;
use crate::row::{int8, micros};
use crate::seeded::{self, Bug};
use crate::sql;

/// Locks topics, and makes those that don't exist.
pub(crate) async fn lock_topics(conn: &mut PgConnection, topics: BTreeSet<(&str, &str)>) -> Result<(), StoreError> {
    if topics.is_empty() {
        return Ok(());
    }
    let (names, keys): (Vec<&str>, Vec<&str>) = topics.into_iter().unzip();
    sqlx::query(sql::LOCK_TOPICS).bind(names).bind(keys).execute(conn).await.map_err(work)?;
    Ok(())
}

/// The topics of events.
pub(crate) fn topics_of<'a>(emits: impl IntoIterator<Item = &'a NewEvent>) -> BTreeSet<(&'a str, &'a str)> {
    emits.into_iter().map(|event| (&event.name[..], &event.key[..])).collect()
}

/// Each event once: the first of its id.
pub(crate) fn once<'a>(emits: impl IntoIterator<Item = &'a NewEvent>) -> Vec<&'a NewEvent> {
    let mut seen = HashSet::new();
    emits.into_iter().filter(|event| seen.insert(event.id)).collect()
}

/// Refuses events that their topic has no room for.
pub(crate) async fn check_room(conn: &mut PgConnection, emits: &[&NewEvent], most: u64) -> Result<(), StoreError> {
    let full = sqlx::query(sql::COUNT_EVENTS)
        .bind(emits.iter().map(|e| e.id).collect::<Vec<_>>())
        .bind(emits.iter().map(|e| &e.name[..]).collect::<Vec<_>>())
        .bind(emits.iter().map(|e| &e.key[..]).collect::<Vec<_>>())
        .bind(int8(most))
        .fetch_all(conn)
        .await
        .map_err(work)?;
    match full.first() {
        Some(row) => Err(StoreError::BufferFull {
            name: row.try_get(0).map_err(work)?,
            key: row.try_get(1).map_err(work)?,
            limit: most,
        }),
        None => Ok(()),
    }
}

/// Emits events whose topics are locked. Returns the messages to those who wait for them.
pub(crate) async fn emit<'a>(conn: &mut PgConnection, emits: &[&'a NewEvent]) -> Result<Vec<Outgoing<'a>>, StoreError> {
    let rows = sqlx::query(sql::EMIT)
        .bind(emits.iter().map(|e| e.id).collect::<Vec<_>>())
        .bind(emits.iter().map(|e| &e.name[..]).collect::<Vec<_>>())
        .bind(emits.iter().map(|e| &e.key[..]).collect::<Vec<_>>())
        .bind(emits.iter().map(|e| e.payload.codec).collect::<Vec<_>>())
        .bind(emits.iter().map(|e| &e.payload.bytes[..]).collect::<Vec<_>>())
        .bind(emits.iter().map(|e| micros(e.retain)).collect::<Vec<_>>())
        .fetch_all(conn)
        .await
        .map_err(work)?;
    let reached = if seeded::is(Bug::OneWaiter) { rows.len().min(1) } else { rows.len() };
    rows[..reached]
        .iter()
        .map(|row| {
            let (ix, nth): (i64, i32) = (row.try_get("ix").map_err(work)?, row.try_get("nth").map_err(work)?);
            let event = nth_of(emits, ix)?;
            let key = OpKey {
                kind: row.try_get("kind").map_err(work)?,
                name: row.try_get("name").map_err(work)?,
                nth: u32::try_from(nth).unwrap_or(0),
            };
            Ok(Outgoing {
                to: row.try_get("run_id").map_err(work)?,
                key: Cow::Owned(key),
                phase: Phase::Ok,
                payload: &event.payload,
                mark: Some(row.try_get("seq").map_err(work)?),
                event: Some(event.id),
                number: 0,
            })
        })
        .collect()
}

/// A buffered event for somebody who just began to wait.
pub(crate) struct Found<'a> {
    run: Uuid,
    op: &'a OpKey,
    id: Uuid,
    seq: i64,
    payload: Payload,
}

impl<'a> Found<'a> {
    /// The message that brings it.
    pub(crate) fn message(&'a self) -> Outgoing<'a> {
        Outgoing {
            to: self.run,
            key: Cow::Borrowed(self.op),
            phase: Phase::Ok,
            payload: &self.payload,
            mark: Some(self.seq),
            event: Some(self.id),
            number: 0,
        }
    }
}

/// Makes subscriptions whose topics are locked, or finds their events in the buffer.
pub(crate) async fn subscribe<'a>(
    conn: &mut PgConnection,
    subscriptions: &[(Uuid, &'a Subscription)],
) -> Result<Vec<Found<'a>>, StoreError> {
    let mut keys = KeyColumns::default();
    for (run, subscription) in subscriptions {
        keys.push(*run, &subscription.op)?;
    }
    let each = || subscriptions.iter().map(|(_, s)| *s);
    let rows = keys
        .bind(sqlx::query(sql::SUBSCRIBE))
        .bind(each().map(|s| &s.name[..]).collect::<Vec<_>>())
        .bind(each().map(|s| &s.key[..]).collect::<Vec<_>>())
        .bind(each().map(|s| if seeded::is(Bug::IgnoredBuffer) { i64::MAX } else { int8(s.after) }).collect::<Vec<_>>())
        .fetch_all(conn)
        .await
        .map_err(work)?;
    rows.iter()
        .map(|row| {
            let (run, subscription) = nth_of(subscriptions, row.try_get("ix").map_err(work)?)?;
            Ok(Found {
                run: *run,
                op: &subscription.op,
                id: row.try_get("id").map_err(work)?,
                seq: row.try_get("seq").map_err(work)?,
                payload: Payload {
                    codec: row.try_get("codec").map_err(work)?,
                    bytes: row.try_get("payload").map_err(work)?,
                },
            })
        })
        .collect()
}

/// Item `ix` of a list that was sent, counted from 1 as `WITH ORDINALITY` does.
fn nth_of<T>(list: &[T], ix: i64) -> Result<&T, StoreError> {
    usize::try_from(ix - 1)
        .ok()
        .and_then(|ix| list.get(ix))
        .ok_or_else(|| StoreError::Corrupt { run: None, reason: format!("the database answered for item {ix}") })
}
