//! The store: what the executor and the client need of a database, in about a dozen methods over batches.
//!
//! A store knows runs, entries, messages, leases and wake times. It never interprets a [`Fact`]: what an operation
//! means is the business of [`crate::ops`].
//!
//! # The life of a row
//!
//! ```text
//!              create                claim                    commit(Finish)
//!   (nothing) --------> Ready ---------------> Running ------------------------> Completed | Failed | Cancelled
//!                 |       ^  ^                  |   ^                                 |
//!        delay    v       |  |   close, rescue  |   | claim (wake_at <= now)          | sweep
//!              Waiting ---+  +------------------+   |                                 v
//!                 |  message or resume          |   |                              (deleted)
//!                 +-----------------------------|---+
//!                 ^          commit(HangUp)     |
//!                 +-----------------------------+--- commit(Park) --> Parked -- resume --> Ready
//! ```
//!
//! # The four protocols
//!
//! **Fence.** A run belongs to the executor that claimed it until that executor hangs it up, finishes it, parks it,
//! hands it over, closes, or is declared dead by [`Store::rescue`]. Every [`Store::commit`] proves in its own transaction, under a
//! lock that a rescuer must wait for, that its executor is alive: registered, not rescued, lease not run out by the
//! store's clock. Else it writes nothing and answers [`StoreError::LeaseLost`].
//!
//! **Inbox.** A message is a row in the inbox of its run and `mail += 1` on the run's row, in one transaction that
//! locks the run's row. The message's `seq` is the new value of `mail`: per run without gaps, from 1. A `Waiting` run
//! becomes `Ready`; a `Running` run stays and its owner is woken with [`Wakeup::Mail`]; a `Ready` or `Parked` run
//! keeps its state; a message to a run that is over is dropped. Messages of one batch are numbered in
//! its order. A `HangUp` says how many messages its owner has `seen`: when `mail` is greater by then, the run becomes
//! `Ready` and not `Waiting`, so that no message slips between "nothing there" and "hung up". (Postgres: the
//! comparison must be made on the locked row itself; a subquery on the inbox would look at an old snapshot.)
//!
//! **Events.** Emitting and waiting serialise on the topic `(name, key)`. Emitting gives the event the next `seq` of
//! its topic (from 1, without gaps), buffers it for its retention, and sends it to the inbox of every subscription
//! of the topic with `after < seq`, which ends that subscription. Subscribing looks first: if a buffered event has
//! `seq > after`, the lowest such is sent to the inbox of the subscriber at once and no subscription is made. The
//! message's fact has the subscription's key, `Phase::Ok`, the event's payload, and `mark = Some(seq)`. An event stays
//! buffered for its retention whether somebody got it or not; from then on it is as if deleted, swept or not. Emitting
//! an event whose id is still buffered, or earlier in the batch, does nothing.
//!
//! **Unknown commits.** [`StoreError::Unknown`] says that the connection was lost in or after the commit, so that
//! nobody knows whether it took place. The caller asks [`Store::landed`] and never repeats blindly.
//!
//! **Instants.** A run has a wake time only while it is `Waiting`. A duration that leads further than the store's
//! calendar (`Duration::MAX`) is a very long one, of a thousand years at least: never an error, never an instant in the
//! past. Durations are rounded up to the microsecond, so that nothing is early.
//!
//! Rows are locked in one order everywhere, so that no two batches deadlock: executor, topics by `(name, key)`, new
//! runs by `invoke_id` and id, runs by id, the rest. (Batches that create the same `invoke_id`s under other ids meet
//! there.)

mod error;
mod layer;
mod turn;
mod types;

pub use error::StoreError;
pub use layer::{Call, Layer, Layered, Method};
pub use turn::*;
pub use types::*;

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::ids::{ExecutorId, RunId, Timestamp};
use crate::journal::Entry;

#[cfg(doc)]
use crate::journal::Fact;

/// A database that keeps runs. Implemented by Postgres, SQLite and memory; [`crate::conformance`] has its rules as
/// tests.
///
/// Every method is one transaction over its whole batch unless it says otherwise, and takes no step back on success:
/// what it returned `Ok` for is durable. "Now" is always the store's own clock.
#[async_trait]
pub trait Store: Debug + Send + Sync + 'static {
    /// Creates the schema, or brings it to this version. Guarded against two migrators; does nothing when all is done.
    ///
    /// # Errors
    ///
    /// [`StoreError::Schema`] when the schema is newer than this code.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Registers an executor, under an id that was never used before, with a lease of `lease` from now. `name` (host
    /// and process id, say) is for people. Returns now.
    async fn register(&self, executor: ExecutorId, name: &str, lease: Duration) -> Result<Timestamp, StoreError>;

    /// Renews the lease of `executor` to `lease` from now (also when it was longer), and tells what it should know.
    ///
    /// # Errors
    ///
    /// [`StoreError::LeaseLost`] when it was rescued or its lease has run out already: a lease that ran out is never
    /// renewed.
    async fn heartbeat(&self, executor: ExecutorId, lease: Duration) -> Result<Heartbeat, StoreError>;

    /// For how long a lease goes on at least when the store lets somebody end it early, since the executor's process seems
    /// to be gone; `None` when that never happens. An executor begins nothing then unless it knows that it had a lease in
    /// a call that it sent less than this ago: a heartbeat, or [`Store::lease_left`].
    fn notice(&self) -> Option<Duration> {
        None
    }

    /// How much was left of the lease of `executor` at some moment during the call. With a `notice`, the lease is ended
    /// early from then on with that notice instead of [`Store::notice`]; one that is as long as the lease keeps it from
    /// being ended early. Only asked of a store with a [`Store::notice`].
    ///
    /// # Errors
    ///
    /// [`StoreError::LeaseLost`] as for a heartbeat.
    async fn lease_left(&self, executor: ExecutorId, notice: Option<Duration>) -> Result<Duration, StoreError> {
        let _ = notice;
        Err(StoreError::LeaseLost(executor))
    }

    /// Gives runs back before their executor closes: those of `runs` that `executor` owns become `Ready`, and their crash
    /// count is left alone. It drives them no more, and writes nothing more of them. Returns how many; a run that somebody
    /// else writes to just then may be left to [`Store::close`].
    async fn hand_over(&self, executor: ExecutorId, runs: &[RunId]) -> Result<u64, StoreError>;

    /// Ends an executor in good order: its runs become `Ready`, their crash count is left alone, and it is
    /// forgotten. Returns how many runs it handed over. Closing one that is not registered, or was found dead by a
    /// rescue, does nothing.
    async fn close(&self, executor: ExecutorId) -> Result<u64, StoreError>;

    /// Takes the runs of dead executors over: marks every executor whose lease has run out as dead (waiting for
    /// commits of it that are under way), then makes up to `limit` runs of dead executors `Ready`. A dead executor
    /// is forgotten when it has no runs left.
    ///
    /// For each run: when its journal is longer than at the last rescue (0 before the first), its crash count is set
    /// to 1, else it is raised by one. A run whose count exceeds `max_crashes` is parked with code `POISONED` instead,
    /// and counts towards `limit` as well.
    async fn rescue(&self, max_crashes: u32, limit: usize) -> Result<Rescued, StoreError>;

    /// Creates runs, in order. Creating is idempotent by id and by `invoke_id`: when a run with the same id, or the
    /// same `invoke_id`, exists and has the same workflow and input digest, that run is the answer; else it's a
    /// conflict. The id is looked at first, and decides alone when it exists. Duplicates within the batch count as
    /// well, also of an id with itself.
    ///
    /// With [`NewRun::owner`], the run is created as `Running` and owned, provided that executor holds its lease by
    /// the same check as in a commit; if it doesn't, the run is created as `Ready` ([`Created::owned`] tells).
    /// With [`NewRun::delay`] it is created as `Waiting`, due at now + delay, and owned by nobody.
    ///
    /// With `atomic`, a conflict creates nothing and is returned as [`StoreError::Conflict`] with its index (of the
    /// first), and the id of the run or the `invoke_id`, whichever is taken. Without, it is that item's answer and the
    /// others are created.
    async fn create(&self, runs: &[NewRun], atomic: bool) -> Result<Vec<CreateOutcome>, StoreError>;

    /// Claims runs that are `Ready` (oldest `ready_at` first) or `Waiting` and due (`wake_at <= now`, earliest first),
    /// up to the room of each queue, and only of the workflows and versions given. They become `Running`, owned by
    /// the executor, and are returned with their whole journal (by position) and inbox (by seq).
    ///
    /// Concurrent claimers never get the same run and never wait for each other, and none comes back with nothing
    /// while there is more work than all of them have room for. The executor's lease is checked as in a commit.
    ///
    /// # Errors
    ///
    /// [`StoreError::LeaseLost`]. [`StoreError::Unknown`] says that runs may be the executor's without its knowing
    /// which: it closes, and begins a new life. After any other error the executor owns nothing new, or not for long.
    async fn claim(&self, claim: &Claim) -> Result<Claimed, StoreError>;

    /// Commits turns of runs that `executor` owns: see [`Turn`] for what one holds. One transaction.
    ///
    /// The answer has one [`TurnOutcome`] per turn, in order. A turn that isn't `Done` has written nothing; the others
    /// have, and a position taken matters only for them. Entries of one turn have consecutive positions; that they
    /// leave no gap is the caller's part. Turns of a batch belong to different runs. A batch has effect as if all its
    /// turns first wrote entries, started children and subscribed, then sent and emitted, and last ended subscriptions
    /// and came to their [`Then`].
    ///
    /// # Errors
    ///
    /// Nothing is written in any case but `Unknown`. [`StoreError::LeaseLost`]; [`StoreError::PositionTaken`] when an
    /// entry's position exists; [`StoreError::Unknown`].
    async fn commit(&self, executor: ExecutorId, turns: &[Turn]) -> Result<Committed, StoreError>;

    /// Whether the journal of `run` has an entry at `position`: resolves an unknown commit. Waits for a transaction
    /// that is still writing it, or answers after such a one has ended.
    async fn landed(&self, run: RunId, position: u32) -> Result<bool, StoreError>;

    /// Sends messages and emits events from outside a run, in that order. One transaction. Emitting is idempotent by
    /// the event's id. The answer has one item per message.
    ///
    /// # Errors
    ///
    /// [`StoreError::BufferFull`] when a topic would hold more than `max_buffered` events: nothing of the batch is sent
    /// then. (Commits are not held to a limit.)
    async fn deliver(
        &self,
        sends: &[NewMessage],
        emits: &[NewEvent],
        max_buffered: u64,
    ) -> Result<Vec<SendOutcome>, StoreError>;

    /// The messages of runs that `executor` owns, up to `limit`, ordered by run and seq. A message is returned again
    /// until a commit consumed it.
    async fn mail(&self, executor: ExecutorId, limit: usize) -> Result<Vec<Mail>, StoreError>;

    /// Looks runs up. The answer has one item per reference, in order.
    async fn find(&self, refs: &[RunRef]) -> Result<Vec<Option<RunRecord>>, StoreError>;

    /// Lists runs, newest id first. Payloads are included. A run whose row can't be read is left out and logged;
    /// [`Store::find`] says what is wrong with it.
    async fn list(&self, filter: &ListFilter) -> Result<Vec<RunRecord>, StoreError>;

    /// Entries of one run from position `from`, up to `limit`, in order.
    async fn journal(&self, run: RunId, from: u32, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Makes parked runs `Ready` again, with a crash count of 0. Runs that aren't parked are left alone. Returns how
    /// many.
    async fn resume(&self, which: &Resume) -> Result<u64, StoreError>;

    /// Deletes up to `limit` runs whose time has come, with their journals, inboxes and subscriptions, and up to
    /// `limit` events whose retention is over (a topic without events and subscriptions keeps its last seq).
    ///
    /// A run's time comes `retain` after it ended. A child is kept as long as its parent: when the parent is deleted,
    /// the child loses its parent and, if it is over, its time has come. One sweep takes a bounded number of children from
    /// their parents, and a parent that has some left stays: sweep until there isn't [more](Swept::more).
    async fn sweep(&self, limit: usize) -> Result<Swept, StoreError>;

    /// Calls `sink` for every [`Wakeup`], from any thread, until the guard is dropped. Wake-ups may come too often;
    /// when they may have been lost the store sends [`Wakeup::Lost`]. `sink` never blocks.
    fn watch(&self, sink: WakeSink) -> WatchGuard;

    /// A way to commit for one thread alone, which has a runtime of its own; `None` when there is none that would be faster
    /// than [`Store::commit`]. It connects when it is first asked for.
    fn lane(&self) -> Option<Box<dyn Lane>> {
        None
    }

    /// Closes connections in good order. Later calls may fail with [`StoreError::Unavailable`].
    async fn shutdown(&self);

    /// Whether it was shut down, or the pool that it uses closed: nothing is answered any more, ever.
    fn is_shut_down(&self) -> bool {
        false
    }

    /// The store itself, for code that knows which it is (`ctx.transaction`).
    fn as_any(&self) -> &dyn Any;
}

/// What is called with each [`Wakeup`].
pub type WakeSink = Arc<dyn Fn(Wakeup) + Send + Sync>;

/// Ends a [`Store::watch`] when dropped.
pub struct WatchGuard(Option<Box<dyn FnOnce() + Send + Sync>>);

impl WatchGuard {
    /// A guard that calls `end` when dropped.
    pub fn new(end: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(end)))
    }
}

impl Drop for WatchGuard {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl Debug for WatchGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WatchGuard")
    }
}

/// A way to commit that belongs to one thread: what it waits for wakes this thread and no other. Dropped, it closes its
/// connection.
#[async_trait]
pub trait Lane: Debug + Send {
    /// Whether the next call finds a connection; else it makes one first.
    fn is_connected(&self) -> bool;

    /// Makes a connection, if there is none. When that fails, the next call may leave it at that for a while.
    async fn connect(&mut self);

    /// Commits a turn that [is plain](Turn::is_plain), as [`Store::commit`] would. Holds no lock while it waits to be polled:
    /// the thread may be busy for long. `None` when nothing was written, for a reason that [`Store::commit`] finds out, or
    /// since the turn isn't plain.
    ///
    /// # Errors
    ///
    /// As [`Store::commit`].
    async fn commit(&mut self, executor: ExecutorId, turn: &Turn) -> Result<Option<Committed>, StoreError>;

    /// Creates a run that its [owner](NewRun::owner) has from the start, as [`Store::create`] would; tells since when. `None`
    /// when nothing was written, for a reason that [`Store::create`] finds out: it exists, say.
    ///
    /// # Errors
    ///
    /// As [`Store::create`]. Whatever it is, creating it again by [`Store::create`] tells what came of it.
    async fn create(&mut self, run: &NewRun) -> Result<Option<Timestamp>, StoreError>;
}
