//! Creating a run: with others, or alone by the driver that begins it.

use std::sync::Arc;

use workflow_core::store::{CreateOutcome, NewRun, RunRef};
use workflow_core::{ExecutorId, RunId, StoreError, Timestamp};

use super::{Client, Created};
use crate::error::Error;
use crate::executor::{Creation, End, Engine, Hold, Msg, Reply};

impl Client {
    /// Creates one run, as part of a batch, started at once where this client's executor has room. Its id, and its end if it
    /// may come here.
    pub(super) async fn create(&self, mut run: NewRun) -> Result<(RunId, Option<Arc<End>>), Error> {
        let id = run.invoke_id.clone();
        let mut end = None;
        let engine = self.inner.engine.clone().filter(|_| run.delay.is_none());
        let outcome = match engine.and_then(|engine| engine.reserve(&run).map(|place| (engine, place))) {
            None => self.inner.creates.call(run).await,
            Some((engine, place)) => {
                run.owner = Some(place.0);
                end = Some(engine.shared.ends.expect(run.id));
                if engine.shared.has_time_for(&run) {
                    self.create_alone(engine, place, run).await
                } else {
                    // The caller may stop waiting, but whoever owns a run has to begin it.
                    let (client, runtime) = (self.clone(), engine.shared.env.runtime.clone());
                    runtime
                        .spawn(async move { client.create_owned(&engine, place, run, None).await })
                        .await
                        .ok()
                        .flatten()
                }
            }
        };
        match outcome.ok_or(Error::ShuttingDown)?? {
            CreateOutcome::Created(created) => Ok((created.id, end.filter(|_| created.owned))),
            CreateOutcome::Existing(existing) => Ok((existing, None)),
            CreateOutcome::Conflict(existing) => {
                Err(StoreError::Conflict { index: 0, id: id.unwrap_or_default(), existing }.into())
            }
        }
    }

    /// Has a run created as owned by this client's executor, and begun, by its driver: with others only if that can't.
    async fn create_alone(&self, engine: Arc<Engine>, place: (ExecutorId, Hold), run: NewRun) -> Option<Created> {
        let (reply, outcome) = tokio::sync::oneshot::channel();
        let unowned = NewRun { owner: None, ..run.clone() };
        let (client, others) = (self.clone(), engine.clone());
        let otherwise = move |run, reply: Reply, unknown| {
            let runtime = others.shared.env.runtime.clone();
            runtime.spawn(async move {
                if let Some(outcome) = client.create_owned(&others, place, run, unknown).await {
                    let _ = reply.send(outcome);
                }
            });
        };
        let creation = Creation { run, place, reply, otherwise: Box::new(otherwise) };
        engine.shared.tell(engine.shared.driver_of(unowned.id), Msg::Create(Box::new(creation)));
        let outcome = tokio::select! {
            biased;
            outcome = outcome => outcome.ok(),
            () = engine.closed() => None,
        };
        match outcome {
            Some(outcome) => Some(outcome),
            // The executor is gone. It may have created the run, and that was handed over then.
            None => match self.inner.creates.call(unowned).await? {
                Err(error) => {
                    Some(Err(StoreError::Unknown(format!("the executor closed while it created the run: {error}"))))
                }
                outcome => Some(outcome),
            },
        }
    }

    /// Creates a run as owned by this client's executor, and begins it. `unknown` is what a first try came to.
    async fn create_owned(
        &self,
        engine: &Engine,
        (executor, hold): (ExecutorId, Hold),
        run: NewRun,
        unknown: Option<StoreError>,
    ) -> Option<Created> {
        let mut outcome = self.inner.creates.call(run.clone()).await;
        if let (None | Some(Err(_)), Some(unknown)) = (&outcome, unknown) {
            // That nothing came of it this time says nothing of the first.
            outcome = Some(Err(unknown));
        }
        match self.owned_since(&outcome, executor, run.id).await {
            Ok(Some(created_at)) => engine.begin(run, (executor, hold), created_at),
            Ok(None) => engine.release(&run.queue, hold),
            Err(error) => {
                tracing::warn!(run = %run.id, %error, "nobody knows whether a new run is owned");
                engine.release(&run.queue, hold);
                engine.life.lose(executor);
            }
        }
        outcome
    }

    /// Since when the run is owned by our executor, if it is. A repeated creation answers that the run exists: it may
    /// be the first try that made it ours.
    async fn owned_since(
        &self,
        outcome: &Option<Created>,
        executor: ExecutorId,
        run: RunId,
    ) -> Result<Option<Timestamp>, Error> {
        match outcome {
            Some(Ok(CreateOutcome::Created(created))) => Ok(created.owned.then_some(created.created_at)),
            Some(Ok(CreateOutcome::Existing(existing))) if *existing == run => {
                let record = self.lookup(RunRef::Id(run)).await?;
                Ok(record.filter(|record| record.owner == Some(executor)).map(|record| record.created_at))
            }
            Some(Err(error @ StoreError::Unknown(_))) => Err(error.clone().into()),
            _ => Ok(None),
        }
    }
}
