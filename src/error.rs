//! The errors of client and executor, by whose matter they are.

use std::time::Duration;

use workflow_core::ids::InvalidName;
use workflow_core::store::ParkReason;
use workflow_core::{Failure, PayloadError, RunId, StoreError};

/// What can go wrong between an application and its runs.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The database's matter.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A value's matter.
    #[error(transparent)]
    Payload(#[from] PayloadError),
    /// A name or id that isn't allowed.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The caller's matter.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The run ended with a failure or was cancelled.
    #[error("run {run} ended as {}: {failure}", failure.code())]
    Failed {
        /// The run.
        run: RunId,
        /// What it failed with.
        failure: Box<Failure>,
    },
    /// The run is parked: it can't go on until somebody mends something.
    #[error("run {run} is parked as {}: {}", reason.code, reason.message)]
    Parked {
        /// The run.
        run: RunId,
        /// Why.
        reason: ParkReason,
    },
    /// There is no such run.
    #[error("there is no run {0:?}: it was never created in this store, or its retention is over")]
    NoSuchRun(String),
    /// The run has ended already.
    #[error("run {run} has ended already as {status}")]
    Ended {
        /// The run.
        run: RunId,
        /// How.
        status: workflow_core::store::Status,
    },
    /// The runtime or the executor is going down.
    #[error(
        "the executor or its runtime is shutting down, and nobody knows whether the call took effect: ask again from elsewhere; an invocation with an id may be repeated"
    )]
    ShuttingDown,
}

/// Something was used in a way that can't work.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Misuse {
    /// Two workflows have the same name and version.
    #[error(
        "two workflows are registered as {name} version {version}: {first} and {second}; give one another `name` or `version`"
    )]
    DuplicateWorkflow {
        /// The name.
        name: &'static str,
        /// The version.
        version: i32,
        /// Where the first is defined.
        first: &'static str,
        /// Where the second is defined.
        second: &'static str,
    },
    /// No workflow of that name.
    #[error("there is no workflow {name:?}{}", nearest_text(.nearest))]
    UnknownWorkflow {
        /// The name.
        name: String,
        /// Up to three registered names that look like it.
        nearest: Vec<String>,
    },
    /// A concurrency of 0 would never run anything.
    #[error("queue {queue} has a concurrency of 0, so nothing would ever run: use at least 1")]
    ZeroConcurrency {
        /// The queue.
        queue: String,
    },
    /// The lease is too short for its heartbeat.
    #[error(
        "a lease of {lease:?} with a heartbeat of {heartbeat:?} would be lost by chance: use a lease of at least three heartbeats"
    )]
    ShortLease {
        /// The lease.
        lease: Duration,
        /// The heartbeat.
        heartbeat: Duration,
    },
    /// A delay or retention beyond 100 years.
    #[error("{what} of {} years is more than the limit of 100 years", .duration.as_secs() / (365 * 24 * 3600))]
    TooLong {
        /// What it is of.
        what: &'static str,
        /// Its length.
        duration: Duration,
    },
    /// A URL of no known database.
    #[error("{url:?} names no store: use sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE, or memory:")]
    UnknownStore {
        /// The URL, without a password.
        url: String,
    },
    /// The store of that URL isn't compiled in.
    #[error("this build has no {feature} store: enable the feature `{feature}` of the crate `workflow`")]
    MissingFeature {
        /// The cargo feature.
        feature: &'static str,
    },
    /// The executor has nothing to do.
    #[error("the executor has no workflow: register one with .register(name)")]
    NoWorkflow,
    /// A batch holds an item that can't be used; nothing was created.
    #[error("item {index} of the batch: {problem}; nothing was created")]
    BadItem {
        /// Which, from 0.
        index: usize,
        /// What is wrong with it.
        problem: String,
    },
}

fn nearest_text(nearest: &[String]) -> String {
    if nearest.is_empty() {
        ": register it with the executor".to_owned()
    } else {
        format!(": did you mean {}?", nearest.join(", "))
    }
}

impl Error {
    /// The stable code, for logs, CLI and dashboard.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Store(error) => error.code(),
            Error::Payload(PayloadError::TooLarge { .. }) => "PAYLOAD_TOO_LARGE",
            Error::Payload(_) => "PAYLOAD",
            Error::Name(_) => "INVALID_NAME",
            Error::Misuse(Misuse::UnknownWorkflow { .. }) => "UNKNOWN_WORKFLOW",
            Error::Misuse(Misuse::DuplicateWorkflow { .. }) => "DUPLICATE_WORKFLOW",
            Error::Misuse(_) => "MISUSE",
            Error::Failed { failure, .. } => failure.code(),
            Error::Parked { .. } => "PARKED",
            Error::NoSuchRun(_) => "NO_SUCH_RUN",
            Error::Ended { .. } => "ENDED",
            Error::ShuttingDown => "SHUTTING_DOWN",
        }
    }

    /// The failure of the run, if that is what it is.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Error::Failed { failure, .. } => Some(failure),
            _ => None,
        }
    }
}
