//! Deterministic simulation of `workflow`.
//!
//! Executors talk to each other through their store alone. So a few real executors and clients over the memory store,
//! on one thread whose time is tokio's and paused, are a whole cluster without any network to model: what delays,
//! fails, freezes or kills is a wrapper around the store. All chance comes from a seed, and the same seed gives the
//! same log, byte for byte.
//!
//! Each seed makes a [`Plan`]: random programs, executors, and what happens to them. While it runs a [`ledger`] watches
//! every call and every body of a step; afterwards every run is compared with what its program may answer. A seed that
//! fails is [shrunk](shrink::shrink) to the smallest plan that still does.
//!
//! ```text
//! cargo run --release -p workflow-simulation -- --seeds 10000
//! cargo run --release -p workflow-simulation -- --seed 17 --log
//! ```

mod actor;
mod audit;
pub mod campaign;
mod check;
pub mod clock;
pub mod fault;
mod interpret;
pub mod ledger;
mod link;
mod panics;
pub mod plan;
mod probe;
pub mod program;
pub mod random;
mod scenario;
pub mod shrink;
mod store;

pub use fault::{Faults, Verdict};
pub use ledger::{Counts, Violation};
pub use plan::Plan;
pub use scenario::{Outcome, simulate};
