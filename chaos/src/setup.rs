//! What an executor process is told when it starts, through its environment.

use serde::{Deserialize, Serialize};

/// The variable that holds it.
pub const SETUP: &str = "WORKFLOW_CHAOS_SETUP";

/// A secret that is in every order, and must never show in a log.
pub const CANARY: &str = "canary-4929-1771-3342-0006";

/// How an executor process is set up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Setup {
    /// Never used by a later process.
    pub name: String,
    /// The store's address, over a line of its own.
    pub url: String,
    /// The ledger's address.
    pub ledger: String,
    pub lease_ms: u64,
    /// Which build of the application it is: the old one lacks the new version of the code.
    pub build: u32,
    pub seed: u64,
    /// How many calls in ten thousand fail.
    pub failing_calls: u64,
    /// How many wake-ups in a hundred are lost, doubled or late.
    pub disturbed_wakeups: u64,
    /// The harness's wall clock, in milliseconds since 1970.
    pub wall_ms: i64,
}

impl Setup {
    pub fn on_postgres(&self) -> bool {
        self.url.starts_with("postgres")
    }
}
