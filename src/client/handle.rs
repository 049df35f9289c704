//! A handle of one run.

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::time::Instant;
use workflow_core::store::{RunRecord, RunRef, Status};
use workflow_core::{Failure, Payload, RunId};

use super::{Client, RunStatus, has_ended};
use crate::error::Error;
use crate::executor::End;

/// For how long a wait asks on while the store is away: a server that restarts, or a standby that takes over, needs less.
const OUTAGE: Duration = Duration::from_secs(60);

/// A run, wherever it runs. Dropping the handle leaves the run alone.
pub struct RunHandle<O> {
    client: Client,
    id: RunId,
    /// Its end, if it was begun in this process.
    end: Option<Arc<End>>,
    output: PhantomData<fn() -> O>,
}

impl<O> Clone for RunHandle<O> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), id: self.id, end: self.end.clone(), output: PhantomData }
    }
}

impl<O> std::fmt::Debug for RunHandle<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RunHandle({})", self.id)
    }
}

impl<O> RunHandle<O> {
    pub(super) fn new(client: Client, id: RunId, end: Option<Arc<End>>) -> Self {
        Self { client, id, end, output: PhantomData }
    }

    /// The run's id.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// What the store knows about the run.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRun`] when its retention is over.
    pub async fn status(&self) -> Result<RunStatus, Error> {
        self.client.status(self.id).await
    }

    /// Asks the run to end: see [`Client::cancel`].
    ///
    /// # Errors
    ///
    /// As [`Client::cancel`].
    pub async fn cancel(&self, reason: &str) -> Result<(), Error> {
        self.client.cancel(self.id, reason).await
    }

    /// Waits until the run has ended or is parked, through outages of the store of up to a minute.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchRun`], and [`Error::Store`] when the store couldn't be reached for a minute.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn ended(&self) -> Result<RunStatus, Error> {
        let mut end = self.end.as_deref();
        loop {
            match self.wait(end).await? {
                // The store has more to tell than the output.
                Ended::Here(..) => end = None,
                Ended::There(record) => return Ok(RunStatus(*record)),
            }
        }
    }

    /// Waits until the run has ended or is parked; if it was begun in this process, until it has this `end`.
    async fn wait(&self, end: Option<&End>) -> Result<Ended, Error> {
        let mut wait = Duration::from_millis(250);
        let waiter = self.client.inner.watch.waiter(self.id);
        // While it runs here there is nothing to ask for.
        let mut ask = end.is_none();
        let mut away = None;
        loop {
            let (woken, told) = (waiter.notified(), end.map(End::told));
            if let Some((status, output)) = end.and_then(End::outcome) {
                return Ok(Ended::Here(status, output));
            }
            if std::mem::replace(&mut ask, true) {
                match self.client.lookup(RunRef::Id(self.id)).await {
                    Ok(None) => return Err(Error::NoSuchRun(self.id.to_string())),
                    Ok(Some(record)) if has_ended(record.status) => return Ok(Ended::There(Box::new(record))),
                    Ok(Some(_)) => away = None,
                    Err(Error::Store(error))
                        if error.is_transient()
                            && !self.client.inner.store.is_shut_down()
                            && away.get_or_insert_with(Instant::now).elapsed() < OUTAGE =>
                    {
                        tracing::debug!(run = %self.id, %error, "the run can't be looked up, asking again");
                    }
                    Err(error) => return Err(error),
                }
            }
            waiter.wait(woken, told, wait).await;
            wait = (wait * 2).min(Duration::from_secs(2));
        }
    }
}

/// How a wait ended.
enum Ended {
    /// In this process: with this output, or failure.
    Here(Status, Payload),
    /// As the store has it.
    There(Box<RunRecord>),
}

impl<O: DeserializeOwned> RunHandle<O> {
    /// Waits for the run's output, from any process, and through outages of the store of up to a minute.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the run failed or was cancelled, [`Error::Parked`] when it is parked,
    /// [`Error::NoSuchRun`] when its retention is over, unless it ended in this process,
    /// [`Error::Payload`] when the output isn't of type `O`, [`Error::Store`] when the store couldn't be reached for a minute.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and called again.
    pub async fn result(&self) -> Result<O, Error> {
        let (status, output, parked) = match self.wait(self.end.as_deref()).await? {
            Ended::Here(status, output) => (status, output, None),
            Ended::There(record) => (record.status, record.output.unwrap_or_default(), record.parked),
        };
        match status {
            Status::Completed => Ok(output.decode()?),
            Status::Parked => {
                let reason = parked.unwrap_or_else(|| workflow_core::store::ParkReason {
                    code: "PARKED".to_owned(),
                    message: "no reason is recorded".to_owned(),
                });
                Err(Error::Parked { run: self.id, reason })
            }
            _ => {
                let failure = Failure::from_payload(&output)?;
                Err(Error::Failed { run: self.id, failure: Box::new(failure) })
            }
        }
    }
}
