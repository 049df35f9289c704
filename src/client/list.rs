//! What the store knows about runs.

use std::future::IntoFuture;
use std::pin::Pin;

use serde::de::DeserializeOwned;
use workflow_core::store::{ListFilter, ParkReason, RunRecord, Status};
use workflow_core::{Failure, PayloadError, RunId, Timestamp};

use super::Client;
use crate::error::Error;

/// What the store knew about a run when it was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStatus(pub(super) RunRecord);

impl RunStatus {
    /// The run's id.
    pub fn id(&self) -> RunId {
        self.0.id
    }

    /// The id it was invoked with.
    pub fn invoke_id(&self) -> Option<&str> {
        self.0.invoke_id.as_deref()
    }

    /// The name of its workflow.
    pub fn workflow(&self) -> &str {
        &self.0.workflow
    }

    /// The version of its workflow.
    pub fn version(&self) -> i32 {
        self.0.version
    }

    /// Its queue.
    pub fn queue(&self) -> &str {
        &self.0.queue
    }

    /// Where it is in its life.
    pub fn status(&self) -> Status {
        self.0.status
    }

    /// Its parent, for a child.
    pub fn parent(&self) -> Option<RunId> {
        self.0.parent.as_ref().map(|parent| parent.run)
    }

    /// When it was created, by the store's clock.
    pub fn created_at(&self) -> Timestamp {
        self.0.created_at
    }

    /// When it ended.
    pub fn finished_at(&self) -> Option<Timestamp> {
        self.0.finished_at
    }

    /// When it wakes by itself, if it sleeps.
    pub fn wake_at(&self) -> Option<Timestamp> {
        self.0.wake_at
    }

    /// How often an executor died with it without progress.
    pub fn crashes(&self) -> u32 {
        self.0.crashes
    }

    /// Why it is parked.
    pub fn parked(&self) -> Option<&ParkReason> {
        self.0.parked.as_ref()
    }

    /// What it failed with, when it failed or was cancelled.
    pub fn failure(&self) -> Option<Failure> {
        match self.0.status {
            Status::Failed | Status::Cancelled => self.0.output.as_ref().and_then(|p| Failure::from_payload(p).ok()),
            _ => None,
        }
    }

    /// Its input.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] when it isn't of that type.
    pub fn input<I: DeserializeOwned>(&self) -> Result<I, PayloadError> {
        self.0.input.decode()
    }

    /// The row as the store gave it.
    pub fn record(&self) -> &RunRecord {
        &self.0
    }
}

/// A list of runs to ask for. Made by [`Client::list`].
#[derive(Debug, Clone)]
#[must_use = "a list that is never awaited asks nothing"]
pub struct List {
    client: Client,
    filter: ListFilter,
}

impl List {
    pub(super) fn new(client: Client) -> Self {
        Self { client, filter: ListFilter::default() }
    }

    /// Only runs of this workflow.
    pub fn workflow(mut self, name: impl Into<String>) -> Self {
        self.filter.workflow = Some(name.into());
        self
    }

    /// Only runs with this status; called again, with one of these.
    pub fn status(mut self, status: Status) -> Self {
        self.filter.statuses.push(status);
        self
    }

    /// Only runs in this queue.
    pub fn queue(mut self, name: impl Into<String>) -> Self {
        self.filter.queue = Some(name.into());
        self
    }

    /// Only children of this run.
    pub fn parent(mut self, run: RunId) -> Self {
        self.filter.parent = Some(run);
        self
    }

    /// The next page: only runs older than this one.
    pub fn before(mut self, run: RunId) -> Self {
        self.filter.before = Some(run);
        self
    }

    /// How many at most. Default 100, at most 1,000.
    pub fn limit(mut self, runs: u32) -> Self {
        self.filter.limit = runs;
        self
    }
}

impl IntoFuture for List {
    type Output = Result<Vec<RunStatus>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let records = self.client.inner.store.list(&self.filter).await?;
            Ok(records.into_iter().map(RunStatus).collect())
        })
    }
}
