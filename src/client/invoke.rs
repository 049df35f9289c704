//! Invocations: one run, or many at once.

use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use serde::Serialize;
use workflow_core::ids::{check_id, check_name};
use workflow_core::retry::MAX_DURATION;
use workflow_core::store::{CreateOutcome, NewRun};
use workflow_core::{Payload, RunId, StoreError, Workflow};

use super::{Client, RunHandle};
use crate::error::{Error, Misuse};

/// A run to invoke: set what is to be set, then await it for a [`RunHandle`]. Made by [`Client::invoke`].
#[must_use = "an invocation that is never awaited does nothing"]
pub struct Invocation<O> {
    client: Client,
    run: Result<NewRun, Error>,
    output: PhantomData<fn() -> O>,
}

impl<O> std::fmt::Debug for Invocation<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Invocation({:?})", self.run.as_ref().map(|run| &run.workflow))
    }
}

pub(super) fn new_run(client: &Client, workflow: &str, version: i32, queue: &str, input: Payload) -> NewRun {
    NewRun {
        id: RunId::generate(),
        workflow: workflow.to_owned(),
        version,
        queue: queue.to_owned(),
        input_digest: [0; 32],
        input,
        invoke_id: None,
        parent: None,
        depth: 0,
        delay: None,
        retain: client.inner.retain,
        owner: None,
    }
}

impl<O> Invocation<O> {
    pub(super) fn new<W: Workflow>(client: Client, _: W, input: &W::Input) -> Self {
        let run = encode_input::<W>(&client, input).map(|input| new_run(&client, W::NAME, W::VERSION, W::QUEUE, input));
        let run = run.and_then(|run| check_name("workflow", W::NAME).map(|()| run).map_err(Error::from));
        Self { client, run, output: PhantomData }
    }

    pub(super) fn named<I: Serialize>(client: Client, workflow: &str, input: &I) -> Self {
        let run = client.check_known(workflow).and_then(|(version, queue)| {
            encode(&client, input).map(|input| new_run(&client, workflow, version, &queue, input))
        });
        Self { client, run, output: PhantomData }
    }

    /// An id of your own, unique in the store: invoking again with the same id, workflow and input gives the same
    /// run; with another input it's an error. Text of 1 to 200 bytes.
    pub fn id(self, id: impl Into<String>) -> Self {
        let id = id.into();
        self.change(|run| {
            check_id("run id", &id)?;
            run.invoke_id = Some(id);
            Ok(())
        })
    }

    /// The run begins no earlier than `delay` from now, by the store's clock. At most 100 years.
    pub fn delay(self, delay: Duration) -> Self {
        self.change(|run| {
            check_duration("a delay", delay)?;
            run.delay = Some(delay);
            Ok(())
        })
    }

    /// Puts the run into this queue, instead of its workflow's.
    pub fn queue(self, queue: impl Into<String>) -> Self {
        let queue = queue.into();
        self.change(|run| {
            check_name("queue", &queue)?;
            run.queue = queue;
            Ok(())
        })
    }

    /// How long the run is kept after it ended. Default: 7 days, or what its executor says.
    pub fn retain(self, retain: Duration) -> Self {
        self.change(|run| {
            check_duration("a retention", retain)?;
            run.retain = retain;
            Ok(())
        })
    }

    fn change(mut self, change: impl FnOnce(&mut NewRun) -> Result<(), Error>) -> Self {
        if let Ok(run) = &mut self.run
            && let Err(error) = change(run)
        {
            self.run = Err(error);
        }
        self
    }

    /// The run to create, complete.
    pub(crate) fn into_parts(self) -> Result<(Client, NewRun), Error> {
        let mut run = self.run?;
        if run.invoke_id.is_some() {
            // Only a run with an id of its own is ever compared.
            run.input_digest = run.input.digest();
        }
        crate::seeded::new_run(&mut run);
        Ok((self.client, run))
    }
}

impl<O: 'static> IntoFuture for Invocation<O> {
    type Output = Result<RunHandle<O>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (client, run) = self.into_parts()?;
            let (id, end) = client.create(run).await?;
            Ok(RunHandle::new(client, id, end))
        })
    }
}

/// Many runs to invoke at once. Made by [`Client::invoke_many`].
#[must_use = "an invocation that is never awaited does nothing"]
pub struct InvokeMany<W: Workflow> {
    client: Client,
    inputs: Vec<W::Input>,
    ids: Option<Vec<String>>,
    delay: Option<Duration>,
}

impl<W: Workflow> std::fmt::Debug for InvokeMany<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "InvokeMany({}, {} runs)", W::NAME, self.inputs.len())
    }
}

impl<W: Workflow> InvokeMany<W> {
    pub(super) fn new(client: Client, _: W, inputs: Vec<W::Input>) -> Self {
        Self { client, inputs, ids: None, delay: None }
    }

    /// One id for each input: see [`Invocation::id`].
    pub fn ids(mut self, ids: impl IntoIterator<Item = String>) -> Self {
        self.ids = Some(ids.into_iter().collect());
        self
    }

    /// The runs begin no earlier than `delay` from now.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }

    fn runs(&self) -> Result<Vec<NewRun>, Error> {
        check_name("workflow", W::NAME)?;
        if let Some(delay) = self.delay {
            check_duration("a delay", delay)?;
        }
        if let Some(ids) = &self.ids
            && ids.len() != self.inputs.len()
        {
            let problem = format!("{} ids were given for {} inputs", ids.len(), self.inputs.len());
            return Err(Misuse::BadItem { index: ids.len().min(self.inputs.len()), problem }.into());
        }
        let mut runs = Vec::with_capacity(self.inputs.len());
        for (index, input) in self.inputs.iter().enumerate() {
            let bad = |problem: String| Error::from(Misuse::BadItem { index, problem });
            let payload = encode_input::<W>(&self.client, input).map_err(|error| bad(error.to_string()))?;
            let mut run = new_run(&self.client, W::NAME, W::VERSION, W::QUEUE, payload);
            run.delay = self.delay;
            if let Some(ids) = &self.ids {
                check_id("run id", &ids[index]).map_err(|error| bad(error.to_string()))?;
                run.input_digest = run.input.digest();
                run.invoke_id = Some(ids[index].clone());
            }
            runs.push(run);
        }
        Ok(runs)
    }
}

impl<W: Workflow> IntoFuture for InvokeMany<W>
where
    W::Input: Send,
    W::Output: 'static,
{
    type Output = Result<Vec<RunHandle<W::Output>>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let runs = self.runs();
        let client = self.client;
        Box::pin(async move {
            let runs = runs?;
            let created = super::retrying(|| client.inner.store.create(&runs, true)).await?;
            created
                .into_iter()
                .enumerate()
                .map(|(index, outcome)| match outcome {
                    CreateOutcome::Created(created) => Ok(client.handle(created.id)),
                    CreateOutcome::Existing(id) => Ok(client.handle(id)),
                    CreateOutcome::Conflict(existing) => {
                        let id = runs[index].invoke_id.clone().unwrap_or_default();
                        Err(StoreError::Conflict { index, id, existing }.into())
                    }
                })
                .collect()
        })
    }
}

fn encode<I: Serialize>(client: &Client, input: &I) -> Result<Payload, Error> {
    Ok(Payload::encode(client.inner.codec, input, client.inner.max_payload_bytes)?)
}

/// The input of a workflow whose type is known: one that couldn't be read back is refused here, not by every executor.
fn encode_input<W: Workflow>(client: &Client, input: &W::Input) -> Result<Payload, Error> {
    Ok(Payload::round_trip(client.inner.codec, input, client.inner.max_payload_bytes)?.0)
}

fn check_duration(what: &'static str, duration: Duration) -> Result<(), Error> {
    if duration > MAX_DURATION {
        return Err(Misuse::TooLong { what, duration }.into());
    }
    Ok(())
}
