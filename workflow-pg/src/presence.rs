//! A detector of dead processes that is faster than their leases. It only saves time, and proves nothing: whoever is
//! taken for dead wrongly is fenced like any executor that lost its lease, and begins a new life. It doesn't begin a body
//! that others have run either: a lease is never ended in less than a notice from now, and an executor begins nothing
//! unless it has heard of its lease within that time.
//!
//! Every process holds advisory locks, its presence: one in the session that it listens with, and one in each session for
//! leases. When the process dies, its sockets are closed, the server ends the sessions, and the locks are free. The
//! presences form a ring, in which each process waits for the locks of the next one: when it gets all of them, the other is
//! gone. A process that is frozen, or whose host is lost, keeps its sessions: there the lease decides.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgListener;
use sqlx::{Connection, Executor, PgConnection, PgPool};
use tokio::sync::Notify;
use uuid::Uuid;
use workflow_core::Timestamp;

use crate::listen::Shared;
use crate::sql;

/// The longest wait for one lock: it holds back `VACUUM` for as long.
const SESSION: &str = "SET idle_session_timeout = 0; SET statement_timeout = 5000; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 5000";
/// So that a wait that is given up ends on the server as well. Not every system has it.
const NOTICE_LOSS: &str = "SET client_connection_check_interval = 500";
/// For how long the lease of a process that seems to be gone goes on at least: it may only be cut off, and rely on it. An
/// executor that needs more says so.
pub(crate) const NOTICE: Duration = Duration::from_millis(60);
/// A process that lost all its sessions at once has new ones after this; one that died hasn't.
const GRACE: Duration = Duration::from_millis(20);
/// The same when it isn't known how long the locks have been free.
const LONG_GRACE: Duration = Duration::from_millis(250);
/// Before watching again when the session was lost: time for others to be there again, if they lost theirs as well.
const AFTER_LOSS: Duration = Duration::from_millis(500);
/// Before the verdict about somebody, when the server takes connections again: time for others to be there again, on a busy
/// machine too. They try several times as often.
const AFTER_REFUSAL: Duration = Duration::from_secs(1);
/// How long it may take to make sure.
const CONFIRMS: Duration = Duration::from_secs(5);
/// A wait that was longer has seen the lock held.
const HELD: Duration = Duration::from_millis(10);
/// When nobody is there to be watched, and nobody is heard of.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
const CANCELED: &str = "57014";

/// The presence of this process, and what it knows of others.
#[derive(Debug)]
pub(crate) struct Presence {
    key: i64,
    /// Whether the session that listens holds the lock.
    held: AtomicBool,
    /// The executors that live here.
    executors: Mutex<BTreeSet<Uuid>>,
    /// Whom this process watches.
    watched: Mutex<Option<i64>>,
    /// Called when somebody else should be watched.
    changed: Notify,
}

impl Presence {
    pub(crate) fn new() -> Self {
        let (high, _) = Uuid::new_v4().as_u64_pair();
        let (held, executors, watched, changed) = Default::default();
        Self { key: high.cast_signed(), held, executors, watched, changed }
    }

    /// An executor that is about to register. Its presence, if it can be watched.
    pub(crate) fn enter(&self, executor: Uuid) -> Option<i64> {
        self.lock().insert(executor);
        self.changed.notify_one();
        self.key_if_held()
    }

    /// Holds one more lock, in a session for leases: a process that only lost the one it listens with isn't gone.
    pub(crate) async fn hold_as_well(&self, session: &mut PgConnection) -> Result<(), sqlx::Error> {
        let [_, one, other] = locks(self.key);
        // Both may be held still by sessions that have yet to end.
        sqlx::query(sql::HOLD_ANY).bind(one).bind(other).execute(session).await.map(|_| ())
    }

    /// Its presence now, if it can be watched.
    pub(crate) fn key_if_held(&self) -> Option<i64> {
        self.held.load(Ordering::SeqCst).then_some(self.key)
    }

    pub(crate) fn leave(&self, executor: Uuid) {
        self.lock().remove(&executor);
    }

    /// Another process can be watched from now on.
    pub(crate) fn heard_of(&self, key: i64) {
        let watched = *self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if key != self.key && watched.is_none_or(|watched| comes_before(self.key, key, watched)) {
            self.changed.notify_one();
        }
    }

    /// Tries to hold the presence, in the session that listens, and says so in the rows of the executors. Returns it when
    /// it is held.
    pub(crate) async fn hold(&self, session: &mut PgListener) -> Result<Option<i64>, sqlx::Error> {
        let held: bool = sqlx::query_scalar(sql::HOLD_PRESENCE).bind(self.key).fetch_one(&mut *session).await?;
        self.held.store(held, Ordering::SeqCst);
        let executors: Vec<Uuid> = self.lock().iter().copied().collect();
        if held && !executors.is_empty() {
            sqlx::query(sql::SET_PRESENCE).bind(self.key).bind(executors).execute(&mut *session).await?;
        }
        Ok(held.then_some(self.key))
    }

    /// The session that listens has ended.
    pub(crate) fn lose(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    fn watch(&self, key: Option<i64>) {
        *self.watched.lock().unwrap_or_else(PoisonError::into_inner) = key;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<Uuid>> {
        self.executors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether, going round from `from`, `key` comes before `other`.
fn comes_before(from: i64, key: i64, other: i64) -> bool {
    (key < from, key) < (other < from, other)
}

/// Watches the next process of the ring, for as long as executors live in this one.
#[expect(clippy::disallowed_methods, reason = "the pace of reconnecting is real time and decides nothing else")]
pub(crate) async fn watch(shared: Arc<Shared>, presence: Arc<Presence>, side: PgPool) {
    loop {
        if presence.lock().is_empty() {
            presence.changed.notified().await;
            continue;
        }
        if let Err(error) = watch_peers(&shared, &presence, &side).await {
            tracing::debug!(%error, "watching other executors was interrupted, connecting again");
            tokio::time::sleep(AFTER_LOSS).await;
        }
    }
}

/// Until the session is of no use any more, or no executor lives here.
#[expect(clippy::disallowed_methods, reason = "how long a lock was held, on which nothing rests")]
async fn watch_peers(shared: &Shared, presence: &Presence, side: &PgPool) -> Result<(), sqlx::Error> {
    let mut conn = connect(side).await?;
    let started = server_started(&mut conn).await?;
    if let Err(error) = conn.execute(NOTICE_LOSS).await {
        tracing::debug!(%error, "the server doesn't notice clients that are gone while it waits");
    }
    // Whether the server took no connection when it was last asked for one.
    let mut refused = false;
    while !presence.lock().is_empty() {
        let next = sqlx::query_scalar(sql::NEXT_EXECUTOR).bind(presence.key).fetch_optional(&mut conn).await?;
        presence.watch(next);
        let Some(peer) = next else {
            tokio::select! {
                () = presence.changed.notified() => {}
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
            continue;
        };
        let began = Instant::now();
        let absent = tokio::select! {
            // The wait goes on in the server for a moment; its session is of no use any more.
            () = presence.changed.notified() => return Ok(()),
            absent = await_absence(&mut conn, peer) => absent?,
        };
        // Who was there to be seen has gone; else it isn't known since when, and all sessions end when the server restarts.
        let seen = began.elapsed() > HELD;
        tokio::time::sleep(if seen { GRACE } else { LONG_GRACE }).await;
        if absent && (seen || settled(&mut conn).await?) {
            let grace = if refused { AFTER_REFUSAL } else { Duration::ZERO };
            let confirmed = tokio::time::timeout(CONFIRMS, expire_absent(side, peer, started, grace)).await;
            refused = !matches!(confirmed, Ok(Ok(_)));
            let expired = match confirmed {
                Ok(Ok(expired)) => expired,
                // The lease ends it, unless the next look does.
                Ok(Err(error)) => {
                    tracing::debug!(%error, "a process seems to be gone, and the server takes no new connections");
                    tokio::time::sleep(AFTER_LOSS).await;
                    continue;
                }
                Err(_) => continue,
            };
            if let Some(last) = expired.iter().map(|(_, notice)| *notice).max() {
                tracing::info!(executors = ?expired, "the process of executors is gone: their lease ends");
                tokio::time::sleep(Duration::from_micros(last.unsigned_abs())).await;
                shared.found_dead();
            }
        }
    }
    conn.close().await
}

async fn connect(side: &PgPool) -> Result<PgConnection, sqlx::Error> {
    let mut conn = PgConnection::connect_with(&side.connect_options()).await?;
    conn.execute(SESSION).await?;
    Ok(conn)
}

/// Ends the leases of a process that seems to be gone, if it still does after the grace, and the server is the one that was
/// asked before. Returns their executors, and in how many microseconds their leases end.
///
/// On a new connection: a server that stops takes no more of them before it ends the first session, and on a busy machine the
/// others' sessions end long before the watching one. (A pooler may have one left, and then this is as good as without.)
#[expect(clippy::disallowed_methods, reason = "the pace of others' reconnecting is real time")]
async fn expire_absent(
    side: &PgPool,
    key: i64,
    started: Timestamp,
    grace: Duration,
) -> Result<Vec<(Uuid, i64)>, sqlx::Error> {
    let mut conn = connect(side).await?;
    tokio::time::sleep(grace).await;
    let mut expired = Vec::new();
    if server_started(&mut conn).await? == started && is_absent(&mut conn, key).await? {
        expired = sqlx::query_as(sql::EXPIRE_ABSENT).bind(key).fetch_all(&mut conn).await?;
    }
    // Whatever it answers: the leases are ended.
    let _ = conn.close().await;
    Ok(expired)
}

/// The locks of a presence: of the session that listens, and of those for leases.
fn locks(key: i64) -> [i64; 3] {
    [key, key.wrapping_add(1), key.wrapping_add(2)]
}

/// Waits until all locks of a presence have been free, one after the other; false when that takes too long.
async fn await_absence(conn: &mut PgConnection, key: i64) -> Result<bool, sqlx::Error> {
    for lock in locks(key) {
        match sqlx::query(sql::AWAIT_ABSENCE).bind(lock).execute(&mut *conn).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some(CANCELED) => return Ok(false),
            free => free?,
        };
        sqlx::query(sql::RELEASE_PRESENCE).bind(lock).execute(&mut *conn).await?;
    }
    Ok(true)
}

/// Whether all locks of a presence are free.
async fn is_absent(conn: &mut PgConnection, key: i64) -> Result<bool, sqlx::Error> {
    let mut absent = true;
    for lock in locks(key) {
        let free: bool = sqlx::query_scalar(sql::TRY_ABSENCE).bind(lock).fetch_one(&mut *conn).await?;
        if free {
            sqlx::query(sql::RELEASE_PRESENCE).bind(lock).execute(&mut *conn).await?;
        }
        absent &= free;
    }
    Ok(absent)
}

/// Since when the server runs.
async fn server_started(conn: &mut PgConnection) -> Result<Timestamp, sqlx::Error> {
    sqlx::query_scalar(sql::SERVER_STARTED).fetch_one(conn).await
}

async fn settled(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar(sql::SERVER_SETTLED).fetch_one(conn).await
}

#[cfg(test)]
mod tests {
    use super::comes_before;

    #[test]
    fn the_ring_goes_round() {
        assert!(comes_before(5, 6, 7));
        assert!(!comes_before(5, 8, 7));
        assert!(comes_before(5, 8, 3), "what is above comes before what is below");
        assert!(comes_before(5, 2, 3));
        assert!(!comes_before(5, 4, 3));
        assert!(!comes_before(5, 7, 7));
    }
}
