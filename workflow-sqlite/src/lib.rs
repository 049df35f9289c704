//! The SQLite store of `workflow`: a program is durable with nothing set up but a file.
//!
//! # One writer
//!
//! SQLite lets one connection write at a time, so the store has one, and callers queue for it. Every call is one
//! `BEGIN IMMEDIATE` transaction over its whole batch: the file's write lock is taken first, and with it in hand the
//! fence, the inbox and the topics need no locks of their own. A commit is on the disk when it is answered
//! ([`Durability::Full`]); what makes many steps fast is that a batch of them is one commit.
//!
//! # Several processes
//!
//! Any number of processes of one machine may use one file. Leases, fences and claims are rows, and SQLite's lock
//! orders who reads and writes them, so the protocols hold across processes as they do within one. The clock is the
//! machine's. A process that is frozen inside a transaction stops the others until it goes on or is killed; nothing
//! is lost by it. A file on a network file system is not supported by SQLite's write-ahead log.
//!
//! Within a process wake-ups are immediate; another process's writes are seen within about 25 ms. Each executor holds a
//! lock on a file of its own beside the database, `runs.db-executor-ID`: that its process died is noticed by that within
//! about 100 ms, without waiting for the end of its lease.

mod claim;
mod clock;
mod commit;
mod connection;
mod create;
mod ctx;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod inbox;
mod lease;
mod migrate;
mod options;
mod presence;
mod read;
mod row;
mod sql;
mod store;
mod sweep;
mod topic;
mod transaction;
mod wake;

pub use ctx::TransactionExt;
pub use options::{Durability, SqliteOptions};
pub use store::SqliteStore;
pub use transaction::{UserTransaction, create_in};
