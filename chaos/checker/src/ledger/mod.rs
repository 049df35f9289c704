//! The ledger: a file that only grows, written by a process of its own.
//!
//! A record is acknowledged once it is in the file and the file is synced; records that arrive meanwhile share the next
//! sync. A request is a line of JSON on a Unix socket, so one that is cut off when its sender dies isn't a line and
//! leaves nothing behind. What isn't a record is refused with a reason, and nothing is written.

mod file;
mod protocol;
mod server;

pub use file::{Ledger, LedgerError, Tail, read};
pub(crate) use protocol::{MAX_LINE_BYTES, Request, Response};
pub use server::serve;
