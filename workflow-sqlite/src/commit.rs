//! Committing turns: one transaction on the writer for a whole batch.

use std::collections::HashSet;

use futures::TryStreamExt;
use sqlx::{Row, SqliteConnection};
use uuid::Uuid;
use workflow_core::journal::{ENTRY_VERSION, Fact};
use workflow_core::store::{Committed, NewRun, ParkReason, Then, Turn, TurnOutcome, Wake};
use workflow_core::{ExecutorId, RunId, StoreError};

use crate::clock::{self, after, timestamp};
use crate::inbox::Post;
use crate::store::SqliteStore;
use crate::{create, error, lease, row, sql, topic};

pub(crate) async fn commit(store: &SqliteStore, executor: ExecutorId, turns: &[Turn]) -> Result<Committed, StoreError> {
    let mut tx = store.begin().await?;
    // Read with the write lock in hand: entries are timed in the order in which they are committed.
    let now = clock::now();
    lease::check(&mut tx, executor, now).await?;
    let outcomes = judge(&mut tx, executor, turns, now).await?;
    let done: Vec<&Turn> = turns
        .iter()
        .zip(&outcomes)
        .filter(|(_, outcome)| **outcome == TurnOutcome::Done)
        .map(|(turn, _)| turn)
        .collect();
    let entries: Vec<NewEntry<'_>> = done.iter().flat_map(|turn| entries_of(turn)).collect();
    if let Err(e) = insert_entries(&mut tx, &entries, now).await {
        if !error::is_taken(&e) {
            return Err(error::statement(e));
        }
        tx.rollback().await?;
        return Err(taken(store, &done).await?);
    }
    let mut post = Post::handing_to(now, executor);
    write_messages(&mut tx, &done, &mut post).await?;
    write_ends(&mut tx, &done, &mut post).await?;
    let gone: HashSet<RunId> = done.iter().filter(|turn| turn.then != Then::Keep).map(|turn| turn.run).collect();
    let mut mail = std::mem::take(&mut post.mail);
    mail.retain(|mail| !gone.contains(&mail.run));
    store.end(tx, post.into_wakes()).await?;
    Ok(Committed { now: timestamp(now), turns: outcomes, mail, lease_left: None })
}

/// Which turns may be written.
async fn judge(
    connection: &mut SqliteConnection,
    executor: ExecutorId,
    turns: &[Turn],
    now: i64,
) -> Result<Vec<TurnOutcome>, StoreError> {
    let ending: Vec<RunId> = turns.iter().filter(|turn| turn.then != Then::Keep).map(|turn| turn.run).collect();
    let mut owned = HashSet::with_capacity(ending.len());
    for (sql, piece) in sql::OWNED_RUNS.pieces(&ending) {
        let query = piece.iter().fold(sqlx::query(sql), |query, run| query.bind(run.0).bind(executor.0));
        let mut rows = query.fetch(&mut *connection);
        while let Some(row) = rows.try_next().await.map_err(error::statement)? {
            owned.insert(row.try_get::<Uuid, _>(0).map_err(error::statement)?);
        }
    }
    let judged = turns.iter().map(|turn| match turn.not_before {
        _ if turn.then != Then::Keep && !owned.contains(&turn.run.0) => TurnOutcome::NotOwned,
        Some(at) if timestamp(now) < at => TurnOutcome::TooEarly,
        _ => TurnOutcome::Done,
    });
    Ok(judged.collect())
}

/// An entry to write.
pub(crate) struct NewEntry<'a> {
    pub(crate) run: RunId,
    pub(crate) position: i64,
    pub(crate) fact: &'a Fact,
}

fn entries_of(turn: &Turn) -> impl Iterator<Item = NewEntry<'_>> {
    (i64::from(turn.position)..).zip(&turn.entries).map(|(position, fact)| NewEntry { run: turn.run, position, fact })
}

/// Adds entries to journals.
pub(crate) async fn insert_entries(
    connection: &mut SqliteConnection,
    entries: &[NewEntry<'_>],
    now: i64,
) -> Result<(), sqlx::Error> {
    for (sql, piece) in sql::INSERT_ENTRIES.pieces(entries) {
        let query = piece.iter().fold(sqlx::query(sql), |query, entry| {
            let query = query.bind(entry.run.0).bind(entry.position).bind(i64::from(ENTRY_VERSION));
            row::bind_fact(query, entry.fact).bind(now)
        });
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Which position of `turns` is taken, looked up after nothing was written.
async fn taken(store: &SqliteStore, turns: &[&Turn]) -> Result<StoreError, StoreError> {
    let mut tx = store.begin().await?;
    let mut first = None;
    for turn in turns.iter().filter(|turn| !turn.entries.is_empty()) {
        let last = i64::from(turn.position) + row::limit(turn.entries.len()) - 1;
        let found = sqlx::query(sql::FIRST_TAKEN)
            .bind(turn.run.0)
            .bind(i64::from(turn.position))
            .bind(last)
            .fetch_optional(&mut *tx)
            .await
            .map_err(error::statement)?;
        // Two turns of one run in a batch take each other's places: then nothing is found, and the first is named.
        first = first.or(Some((turn.run, turn.position)));
        if let Some(row) = found {
            first = Some((turn.run, row.try_get(0).map_err(error::statement)?));
            break;
        }
    }
    tx.rollback().await?;
    let (run, position) = first.ok_or_else(|| StoreError::Unusable("a position of no turn is taken".to_owned()))?;
    Ok(StoreError::PositionTaken { run, position })
}

/// Everything that reaches beyond the journal, in the order of the contract: starts and subscriptions of all turns,
/// then what each sends and emits, last the subscriptions that end.
async fn write_messages(connection: &mut SqliteConnection, turns: &[&Turn], post: &mut Post) -> Result<(), StoreError> {
    let consumed: Vec<_> = turns.iter().filter(|turn| turn.consumed > 0).collect();
    for (sql, piece) in sql::CONSUME.pieces(&consumed) {
        let query =
            piece.iter().fold(sqlx::query(sql), |query, turn| query.bind(turn.run.0).bind(row::stored(turn.consumed)));
        query.execute(&mut *connection).await.map_err(error::statement)?;
    }
    let starts: Vec<&NewRun> = turns.iter().flat_map(|turn| &turn.starts).collect();
    create::insert(connection, &starts, post.now, &mut post.wakes).await?;
    for turn in turns {
        for subscription in &turn.subscribe {
            topic::subscribe(connection, turn.run, subscription, post).await?;
        }
    }
    for turn in turns {
        for message in &turn.sends {
            post.send(connection, message.to, &message.fact).await?;
        }
        for event in &turn.emits {
            topic::emit(connection, event, None, post).await?;
        }
    }
    for turn in turns {
        for op in &turn.unsubscribe {
            topic::unsubscribe(connection, turn.run, op).await?;
        }
    }
    Ok(())
}

/// What becomes of the runs. Last, so that a message of the same batch finds the run as it was.
async fn write_ends(connection: &mut SqliteConnection, turns: &[&Turn], post: &mut Post) -> Result<(), StoreError> {
    let mut hang_ups = Vec::new();
    let mut finishes = Vec::new();
    for turn in turns {
        match &turn.then {
            Then::Keep => {}
            Then::HangUp { seen, wake } => hang_ups.push((turn.run, *seen, wake_at(wake, post.now))),
            Then::Finish { status, output } => finishes.push((turn.run, *status, output)),
            Then::Park(reason) => park(connection, turn.run, reason, post).await?,
        }
    }
    for (sql, piece) in sql::HANG_UP.pieces(&hang_ups) {
        let query = piece.iter().fold(sqlx::query(sql), |query, (run, seen, wake_at)| {
            query.bind(run.0).bind(row::stored(*seen)).bind(*wake_at).bind(post.now)
        });
        for row in query.fetch_all(&mut *connection).await.map_err(error::statement)? {
            if row.try_get(1).map_err(error::statement)? {
                post.wakes.ready.insert(row.try_get(0).map_err(error::statement)?);
            }
        }
    }
    for (sql, piece) in sql::FINISH.pieces(&finishes) {
        let query = piece.iter().fold(sqlx::query(sql), |query, (run, status, output)| {
            let query = query.bind(run.0).bind(status.as_str()).bind(i64::from(output.codec));
            query.bind(output.bytes.clone()).bind(post.now)
        });
        query.execute(&mut *connection).await.map_err(error::statement)?;
    }
    let ended: Vec<RunId> = finishes.iter().map(|(run, ..)| *run).collect();
    for many in [&*sql::DROP_INBOX, &*sql::DROP_SUBSCRIPTIONS] {
        sql::for_runs(connection, many, &ended).await?;
    }
    post.wakes.ended.extend(ended);
    Ok(())
}

/// When a hung-up run wakes by itself: the earlier of both.
fn wake_at(wake: &Wake, now: i64) -> Option<i64> {
    let at = wake.at.map(|at| at.timestamp_micros());
    at.into_iter().chain(wake.after.map(|delay| after(now, delay))).min()
}

async fn park(
    connection: &mut SqliteConnection,
    run: RunId,
    reason: &ParkReason,
    post: &mut Post,
) -> Result<(), StoreError> {
    sqlx::query(sql::PARK)
        .bind(run.0)
        .bind(reason.code.clone())
        .bind(reason.message.clone())
        .execute(connection)
        .await
        .map_err(error::statement)?;
    post.wakes.ended.push(run);
    Ok(())
}
