//! What can go wrong between the engine and its database.

use crate::ids::{ExecutorId, RunId};

/// An error of a store.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database can't be reached or refuses work for now; nothing was written. Worth a retry.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A serialization failure, deadlock or lock timeout: nothing was written, try again at once.
    #[error("the transaction was rolled back and can be tried again: {0}")]
    Contention(String),
    /// The connection was lost in or after the commit: nobody knows whether it took place.
    #[error("the connection was lost during the commit, so its outcome is unknown: {0}")]
    Unknown(String),
    /// The executor is not registered, was rescued, or its lease has run out.
    #[error("executor {0} has lost its lease: it drops its runs and registers under a new id")]
    LeaseLost(ExecutorId),
    /// An entry's position exists already.
    #[error("run {run} has an entry at position {position} already")]
    PositionTaken {
        /// The run.
        run: RunId,
        /// The position.
        position: u32,
    },
    /// The id is taken by a run with another workflow or input.
    #[error(
        "{id} is the id of run {existing}, which has another workflow or another input: use another id, or the same input to attach to it"
    )]
    Conflict {
        /// Which item of the batch, from 0.
        index: usize,
        /// The id that was asked for.
        id: String,
        /// The run that has it.
        existing: RunId,
    },
    /// A topic holds as many events as it may.
    #[error(
        "the buffer of event {name} (key {key:?}) is full with {limit} events: nothing was sent; an event stays, received or not, until its retention is over, so spread them over keys, or keep them for a shorter time (the executor's `retain`)"
    )]
    BufferFull {
        /// The event's name.
        name: String,
        /// Its key.
        key: String,
        /// The limit.
        limit: u64,
    },
    /// The schema is missing, older or newer than this code.
    #[error("the schema is not usable: {0}")]
    Schema(String),
    /// The database or its settings can't be used as they are. Not worth a retry.
    #[error("{0}")]
    Unusable(String),
    /// A row doesn't hold what it must. Concerns one run where it can.
    #[error("a row of run {run:?} can't be read: {reason}")]
    Corrupt {
        /// The run, where it is known.
        run: Option<RunId>,
        /// What is wrong.
        reason: String,
    },
}

impl StoreError {
    /// The stable code, for logs, CLI and dashboard.
    pub const fn code(&self) -> &'static str {
        match self {
            StoreError::Unavailable(_) => "STORE_UNAVAILABLE",
            StoreError::Contention(_) => "STORE_CONTENTION",
            StoreError::Unknown(_) => "COMMIT_UNKNOWN",
            StoreError::LeaseLost(_) => "LEASE_LOST",
            StoreError::PositionTaken { .. } => "POSITION_TAKEN",
            StoreError::Conflict { .. } => "ID_CONFLICT",
            StoreError::BufferFull { .. } => "BUFFER_FULL",
            StoreError::Schema(_) => "SCHEMA",
            StoreError::Unusable(_) => "STORE_UNUSABLE",
            StoreError::Corrupt { .. } => "CORRUPT",
        }
    }

    /// Whether the same call may succeed later without anyone mending anything.
    pub const fn is_transient(&self) -> bool {
        matches!(self, StoreError::Unavailable(_) | StoreError::Contention(_))
    }
}
