//! Throwaway Postgres servers and databases for tests and benchmarks.
//!
//! An ordinary test takes a fresh database and forgets about it:
//!
//! ```no_run
//! # async fn demo() -> Result<(), workflow_testserver::Error> {
//! let database = workflow_testserver::test_database().await?;
//! let pool = database.pool(5).await?;
//! # Ok(()) }
//! ```
//!
//! It comes from the server in `DATABASE_URL`, which `scripts/test` starts once for all test processes, and is dropped
//! at the end. Without `DATABASE_URL` the process starts a server of its own at the first call.
//!
//! A test that crashes or restarts Postgres, and a benchmark with settings of its own, starts a [`Server`]. Durability
//! is on in all of them (`fsync`, `synchronous_commit`, `full_page_writes`): what is measured or proved here is meant.
//!
//! Nothing is left behind: dropping a server stops it and removes its directory, also on a panic, and a watchdog
//! process does the same when the process that started the server dies by `kill -9`.

mod binaries;
mod database;
mod error;
mod options;
mod postmaster;
mod random;
mod server;
mod system_user;

pub use database::{Database, shared_database_url, test_database};
pub use error::Error;
pub use options::Options;
pub use server::{Server, Shutdown};
