//! Executors and databases that die in the middle of everything: nothing is lost, nothing is done twice.
//!
//! The executors are processes of their own: this very program, which a test runs again with another task. They are
//! killed and frozen by signals, and tell what they do on their standard output.

#![cfg(all(feature = "postgres", feature = "sqlite", unix))]
#![expect(clippy::disallowed_methods, reason = "tests wait, with limits, in real time")]

mod child;
mod ends;
mod kill;
mod ledger;
mod proxy;
mod restart;
mod sqlite;
mod stale;
mod transfer;
mod workflows;
