//! Events and subscriptions. The file's write lock is what emitting and waiting serialise on.

use sqlx::{Row, SqliteConnection};
use workflow_core::journal::{Fact, OpKey, Phase};
use workflow_core::store::{NewEvent, Subscription};
use workflow_core::{Payload, RunId, StoreError};

use crate::clock::after;
use crate::inbox::Post;
use crate::{error, row, sql};

/// Emits an event, once per id.
pub(crate) async fn emit(
    connection: &mut SqliteConnection,
    event: &NewEvent,
    max_buffered: Option<u64>,
    post: &mut Post,
) -> Result<(), StoreError> {
    let known = sqlx::query(sql::EVENT_KNOWN).bind(event.id).bind(post.now).fetch_one(&mut *connection).await;
    if known.and_then(|row| row.try_get(0)).map_err(error::statement)? {
        return Ok(());
    }
    let taken = sqlx::query(sql::NEXT_EVENT_SEQ)
        .bind(event.name.clone())
        .bind(event.key.clone())
        .fetch_one(&mut *connection)
        .await;
    let seq: i64 = taken.and_then(|row| row.try_get(0)).map_err(error::statement)?;
    if let Some(limit) = max_buffered {
        check_room(connection, event, seq, limit, post.now).await?;
    }
    sqlx::query(sql::INSERT_EVENT)
        .bind(event.id)
        .bind(event.name.clone())
        .bind(event.key.clone())
        .bind(seq)
        .bind(i64::from(event.payload.codec))
        .bind(event.payload.bytes.clone())
        .bind(post.now)
        .bind(after(post.now, event.retain))
        .execute(&mut *connection)
        .await
        .map_err(error::statement)?;
    let mut subscribers = sqlx::query(sql::TAKE_SUBSCRIPTIONS)
        .bind(event.name.clone())
        .bind(event.key.clone())
        .bind(seq)
        .fetch_all(&mut *connection)
        .await
        .map_err(error::statement)?
        .iter()
        .map(|row| {
            Ok((
                RunId(row.try_get(0)?),
                OpKey::new(row.try_get::<String, _>(1)?, row.try_get::<String, _>(2)?, row.try_get(3)?),
            ))
        })
        .collect::<Result<Vec<(RunId, OpKey)>, sqlx::Error>>()
        .map_err(error::statement)?;
    subscribers.sort();
    for (run, key) in subscribers {
        post.send(connection, run, &arrival(key, event.payload.clone(), seq)).await?;
    }
    Ok(())
}

/// Refuses an event when its topic would hold more than `limit`.
async fn check_room(
    connection: &mut SqliteConnection,
    event: &NewEvent,
    seq: i64,
    limit: u64,
    now: i64,
) -> Result<(), StoreError> {
    let limit_stored = row::stored(limit);
    let first = sqlx::query(sql::FIRST_EVENT_SEQ)
        .bind(event.name.clone())
        .bind(event.key.clone())
        .fetch_one(&mut *connection)
        .await;
    let first: Option<i64> = first.and_then(|row| row.try_get(0)).map_err(error::statement)?;
    // The topic can't hold more than the span of its seqs: most of the time that settles it without counting.
    if seq - first.unwrap_or(seq) < limit_stored {
        return Ok(());
    }
    let held = sqlx::query(sql::COUNT_EVENTS)
        .bind(event.name.clone())
        .bind(event.key.clone())
        .bind(now)
        .bind(limit_stored)
        .fetch_one(connection)
        .await;
    let held: i64 = held.and_then(|row| row.try_get(0)).map_err(error::statement)?;
    if held < limit_stored {
        return Ok(());
    }
    Err(StoreError::BufferFull { name: event.name.clone(), key: event.key.clone(), limit })
}

/// Subscribes, and takes the first buffered event at once when there is one.
pub(crate) async fn subscribe(
    connection: &mut SqliteConnection,
    run: RunId,
    subscription: &Subscription,
    post: &mut Post,
) -> Result<(), StoreError> {
    let Subscription { name, key, after, op } = subscription;
    let made = sqlx::query(sql::SUBSCRIBE)
        .bind(run.0)
        .bind(op.kind.clone())
        .bind(op.name.clone())
        .bind(i64::from(op.nth))
        .bind(name.clone())
        .bind(key.clone())
        .bind(row::stored(*after))
        .execute(&mut *connection)
        .await
        .map_err(error::statement)?;
    if made.rows_affected() == 0 {
        return Ok(());
    }
    let buffered = sqlx::query(sql::FIRST_EVENT_AFTER)
        .bind(name.clone())
        .bind(key.clone())
        .bind(row::stored(*after))
        .bind(post.now)
        .fetch_optional(&mut *connection)
        .await
        .map_err(error::statement)?;
    let Some(event) = buffered else { return Ok(()) };
    let seq: i64 = event.try_get(0).map_err(error::statement)?;
    let payload = row::payload(&event, 1).map_err(|reason| StoreError::Corrupt { run: None, reason })?;
    unsubscribe(connection, run, op).await?;
    post.send(connection, run, &arrival(op.clone(), payload, seq)).await.map(drop)
}

pub(crate) async fn unsubscribe(connection: &mut SqliteConnection, run: RunId, op: &OpKey) -> Result<(), StoreError> {
    sqlx::query(sql::UNSUBSCRIBE)
        .bind(run.0)
        .bind(op.kind.clone())
        .bind(op.name.clone())
        .bind(i64::from(op.nth))
        .execute(connection)
        .await
        .map_err(error::statement)?;
    Ok(())
}

/// The message that brings an event.
fn arrival(key: OpKey, payload: Payload, seq: i64) -> Fact {
    Fact { key, phase: Phase::Ok, payload, mark: Some(seq) }
}
