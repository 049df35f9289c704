//! What sessions are set to, transactions with their time limits, retries, and the slots of writers.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Postgres, Transaction};
use uuid::Uuid;
use workflow_core::StoreError;

use crate::error;
use crate::pool::{Whose, begin_on, begin_with};
use crate::store::PgStore;

/// Without JIT: the planner takes the claim for expensive, and compiling it took 115 ms where running it takes 0.7 ms.
/// Planned once: planning a batch's statement for its parameters takes 1 ms. And always by the indexes, row by row: a plan
/// that was made while the tables were empty must hold when they have grown.
macro_rules! plan_once {
    ($set:literal) => {
        concat!(
            $set,
            " jit = off; ",
            $set,
            " plan_cache_mode = force_generic_plan; ",
            $set,
            " enable_seqscan = off; ",
            $set,
            " enable_hashjoin = off; ",
            $set,
            " enable_mergejoin = off"
        )
    };
}

const PLAN_ONCE: &str = plan_once!("SET LOCAL");

/// For statements whose filters may be absent.
const PLAN_ANEW: &str = "SET LOCAL plan_cache_mode = force_custom_plan; SET LOCAL enable_seqscan = on; \
     SET LOCAL enable_hashjoin = on; SET LOCAL enable_mergejoin = on";

/// Sessions that wait for what comes, a wake-up or the next statement, aren't idle: they aren't to be ended for it. Whoever
/// listens would miss wake-ups, and be taken for dead by those who watch its session.
pub(crate) const STAY: &str = "SET idle_session_timeout = 0";

/// What every session of our own pool is set to: time limits shorter than the default lease of 5 s, because a fence alone
/// doesn't help against a writer that was frozen inside an open transaction; and how to plan.
pub(crate) const SESSION: &str = concat!(
    "SET idle_session_timeout = 0; SET idle_in_transaction_session_timeout = 3000; SET statement_timeout = 4000; \
     SET lock_timeout = 2000; ",
    plan_once!("SET"),
);

/// How long a transaction may be idle that holds the fence of an executor with the default lease, or a longer one.
const MAX_IDLE_MS: u32 = 3_000;

/// The time limits of transactions. They are below the shortest lease of an executor on this store: while a frozen
/// client holds the fence, nobody can take its runs over.
#[derive(Debug)]
pub(crate) struct Limits {
    idle_ms: AtomicU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { idle_ms: AtomicU32::new(MAX_IDLE_MS) }
    }
}

impl Limits {
    /// An executor has this lease.
    pub(crate) fn hold_below(&self, lease: Duration) {
        let most = u32::try_from(lease.as_millis() * 3 / 5).unwrap_or(MAX_IDLE_MS).max(1);
        self.idle_ms.fetch_min(most, Ordering::Relaxed);
    }

    /// For how long a transaction that holds the fence may be idle, in milliseconds.
    pub(crate) fn idle_ms(&self) -> u32 {
        self.idle_ms.load(Ordering::Relaxed)
    }

    /// Begins a transaction. The limits are set again here because a pool may be the user's, with limits of its own. It
    /// costs no round trip: the lot goes in one message. A statement that is its own transaction needs none, as its
    /// client can't keep it open.
    fn begin(&self, how: &str) -> String {
        let idle_ms = self.idle_ms();
        format!(
            "{how}; SET LOCAL idle_in_transaction_session_timeout = {idle_ms}; SET LOCAL statement_timeout = 4000; \
             SET LOCAL lock_timeout = 2000; {PLAN_ONCE}"
        )
    }
}

impl PgStore {
    /// A transaction with our time limits. Dropping it rolls back.
    pub(crate) async fn begin(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        begin_on(self.pool(), self.whose(), self.limits().begin("BEGIN")).await
    }

    /// A transaction for leases, each of whose statements sees what was committed before it, whatever the default is: it waits
    /// for locks, and goes on with what those who held them have written.
    pub(crate) async fn begin_for_leases(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let begin = self.limits().begin("BEGIN ISOLATION LEVEL READ COMMITTED");
        begin_on(self.leases(), Whose::Ours, begin).await
    }

    /// A transaction whose statements are planned for their parameters.
    pub(crate) async fn begin_planning(&self) -> Result<Transaction<'static, Postgres>, StoreError> {
        let conn = self.warm().await?.into_inner();
        begin_with(conn, format!("{}; {PLAN_ANEW}", self.limits().begin("BEGIN"))).await
    }
}

/// Commits; a connection lost here leaves the outcome unknown.
pub(crate) async fn end(tx: Transaction<'_, Postgres>) -> Result<(), StoreError> {
    tx.commit().await.map_err(error::commit)
}

const MAX_TRIES: u32 = 30;
const MAX_RETRY_TIME: Duration = Duration::from_secs(3);

/// Repeats what was rolled back for certain, a few times and with jitter.
#[expect(clippy::disallowed_methods, reason = "the pace of retries is real time and decides nothing else")]
pub(crate) async fn retry<T, F, Fut>(mut once: F) -> Result<T, StoreError>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, StoreError>>,
{
    let begun = Instant::now();
    let mut tries = 0;
    loop {
        match once().await {
            Err(StoreError::Contention(reason)) if tries < MAX_TRIES && begun.elapsed() < MAX_RETRY_TIME => {
                tries += 1;
                tracing::debug!(tries, reason, "the transaction was rolled back, trying again");
                tokio::time::sleep(jitter(tries)).await;
            }
            other => return other,
        }
    }
}

/// Between a half and all of 2, 4, 8, .. up to 128 ms.
fn jitter(tries: u32) -> Duration {
    let most = 2_000_u64 << tries.clamp(1, 6);
    // The random half of a UUID is at hand, and quality doesn't matter.
    let random = u64::from(Uuid::new_v4().as_fields().0);
    Duration::from_micros(most / 2 + random % (most / 2))
}

/// How many lock rows an executor has: more than a pool has connections, as a rule.
pub(crate) const WRITER_SLOTS: i16 = 16;

/// The slots that are free. A slot is only shared when there are more writers than slots.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    taken: Mutex<u32>,
    next: AtomicU32,
}

/// A writer's slot, free again when dropped.
#[derive(Debug)]
pub(crate) struct Slot<'a> {
    slots: &'a Slots,
    pub(crate) number: i16,
    alone: bool,
}

impl Slots {
    /// The lowest free slot, or one that is shared.
    pub(crate) fn take(&self) -> Slot<'_> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        for number in 0..WRITER_SLOTS {
            if *taken & (1 << number) == 0 {
                *taken |= 1 << number;
                return Slot { slots: self, number, alone: true };
            }
        }
        let next = self.next.fetch_add(1, Ordering::Relaxed) % WRITER_SLOTS.unsigned_abs() as u32;
        Slot { slots: self, number: i16::try_from(next).unwrap_or(0), alone: false }
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        if self.alone {
            *self.slots.taken.lock().unwrap_or_else(PoisonError::into_inner) &= !(1 << self.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_not_shared_until_all_are_taken() {
        let slots = Slots::default();
        let held: Vec<_> = (0..WRITER_SLOTS).map(|_| slots.take()).collect();
        let mut numbers: Vec<_> = held.iter().map(|s| s.number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), 16);
        drop(slots.take());
        drop(held);
        assert_eq!(slots.take().number, 0);
    }

    #[test]
    fn jitter_stays_short() {
        for tries in 0..40 {
            assert!(jitter(tries) <= Duration::from_millis(128));
        }
    }
}
