//! An independent witness of a campaign of faults: a ledger that outlives everything else, and a checker that compares
//! it with the tables of the engine.
//!
//! - [`record`]: what is written down, one JSON line each.
//! - [`ledger`]: the process that writes it down, synced before it answers.
//! - [`client`]: how clients, step bodies and the harness reach it.
//! - [`dump`]: the tables, read by plain SQL in one snapshot.
//! - [`check`]: an invariant each from I1 to I24, with proof for each violation.
//!
//! Nothing here depends on the engine, so that both can't be wrong in the same way.

mod clock;

pub mod check;
pub mod client;
pub mod dump;
pub mod ledger;
pub mod record;
