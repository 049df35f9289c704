//! The Postgres store of `workflow`: runs and their journals in the schema `workflow` of a database you already have.
//!
//! [`PgStore`] implements [`Store`](workflow_core::Store) on Postgres 14 and later. Every statement is a file in
//! `queries/`, every table is in `migrations/`.
//!
//! # The fence
//!
//! An executor has a row in `workflow.executors` with the end of its lease, and a handful of rows in
//! `workflow.executor_writers`. A batch locks one of the latter `FOR KEY SHARE` in the same transaction in which it
//! writes, and reads the lease. Who wants to declare an executor dead locks all of its writer rows `FOR UPDATE`, which
//! waits for the batches under way, looks again whether the lease has run out, and deletes the rows: from then on no
//! batch of that executor finds a row to lock. Heartbeats only update `executors`, so they wait for nobody; and as each
//! connection takes a slot of its own, two batches never share a row, which would cost a MultiXact each.
//!
//! # One statement where it matters
//!
//! A batch that only adds entries is one `INSERT .. SELECT FROM unnest(..)`, however many runs it is for, and touches
//! no run. Ends, hang-ups and messages are one statement too. Only batches with events, waits for events or children
//! take several, in one transaction.
//!
//! # The clock
//!
//! "Now" is `clock_timestamp()` of the database, read in the statement that writes; the start of a transaction is never
//! used, and neither is the clock of the process.

mod batch;
mod claim;
mod commit;
mod connect;
mod create;
mod ctx;
mod deliver;
mod doubt;
mod error;
mod executor;
#[cfg(fuzzing)]
pub mod fuzzing;
mod lane;
mod listen;
mod migrate;
mod options;
mod pool;
mod pooler;
mod presence;
#[cfg(test)]
mod properties;
mod read;
mod row;
mod seeded;
mod session;
mod sql;
mod store;
mod stored;
mod sweep;
mod tls;
mod topic;
mod transaction;
mod wake;
mod warm;

pub use ctx::TransactionExt;
pub use options::{Capabilities, PgOptions};
pub use store::PgStore;
pub use transaction::{create_in, emit_in};
