//! Connections at hand for statements that follow each other closely.
//!
//! The pool asks the server whether a connection is still good each time one is returned, and hands the longest unused
//! one out next. For a run's serial steps that is a second round trip a step, and a cold plan cache.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::pool::PoolConnection;
use sqlx::{PgConnection, PgPool, Postgres};
use workflow_core::StoreError;

use crate::pool::{Whose, acquire};

/// A connection that wasn't used for this long is returned to its pool: others may need it.
const KEEP: Duration = Duration::from_millis(100);
/// How many are kept from the pool at most, and never more than the half of it.
const MOST: usize = 4;

/// The connections at hand, the last used one on top.
#[derive(Debug)]
pub(crate) struct Warm {
    most: usize,
    idle: Mutex<Vec<(PoolConnection<Postgres>, Instant)>>,
    /// Whether a task watches how long they have been idle.
    watched: AtomicBool,
    closed: AtomicBool,
}

/// A connection in use. Unless it is [kept](WarmConn::keep), it returns to its pool, which looks whether it is still good.
#[derive(Debug)]
pub(crate) struct WarmConn<'a> {
    warm: &'a Arc<Warm>,
    conn: PoolConnection<Postgres>,
}

impl Warm {
    pub(crate) fn new(pool: &PgPool) -> Arc<Self> {
        let half = pool.options().get_max_connections() as usize / 2;
        let (idle, watched, closed) = Default::default();
        Arc::new(Self { most: half.min(MOST), idle, watched, closed })
    }

    /// The connection that was used last, or one of the pool.
    pub(crate) async fn take<'a>(self: &'a Arc<Self>, pool: &PgPool, whose: Whose) -> Result<WarmConn<'a>, StoreError> {
        let at_hand = self.lock().pop();
        let conn = match at_hand {
            Some((conn, _)) => conn,
            None => acquire(pool, whose).await?,
        };
        Ok(WarmConn { warm: self, conn })
    }

    /// Returns all of them to their pool, and keeps none from now on.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.lock().clear();
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "how long a connection is idle is real time and decides nothing else"
    )]
    /// Keeps a connection at hand that nothing is under way on.
    pub(crate) fn put(self: &Arc<Self>, conn: PoolConnection<Postgres>) {
        if self.closed.load(Ordering::Acquire) {
            return;
        }
        let mut idle = self.lock();
        if idle.len() >= self.most {
            return;
        }
        idle.push((conn, Instant::now()));
        drop(idle);
        if !self.watched.swap(true, Ordering::AcqRel) {
            let warm = Arc::downgrade(self);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(KEEP).await;
                    let Some(warm) = warm.upgrade() else { return };
                    if warm.release_idle() {
                        return;
                    }
                }
            });
        }
    }

    /// Returns those that weren't used lately; whether none is left.
    fn release_idle(&self) -> bool {
        let mut idle = self.lock();
        let old = idle.iter().take_while(|(_, since)| since.elapsed() >= KEEP).count();
        let released: Vec<_> = idle.drain(..old).collect();
        let none = idle.is_empty();
        if none {
            self.watched.store(false, Ordering::Release);
        }
        drop(idle);
        drop(released);
        none
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(PoolConnection<Postgres>, Instant)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        // Outside of a runtime nothing can be returned to a pool.
        for (conn, _) in self.lock().drain(..) {
            drop(conn.leak());
        }
    }
}

impl WarmConn<'_> {
    /// For good: whoever has it returns it to the pool.
    pub(crate) fn into_inner(self) -> PoolConnection<Postgres> {
        self.conn
    }

    /// Keeps it at hand: its last statement has succeeded, and nothing is under way on it.
    pub(crate) fn keep(self) {
        self.warm.put(self.conn);
    }
}

impl std::ops::Deref for WarmConn<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        &self.conn
    }
}

impl std::ops::DerefMut for WarmConn<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.conn
    }
}
