//! `duroxide`: orchestrations that are replayed turn by turn and activities behind queues, in SQLite or in Postgres.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use duroxide::providers::Provider;
use duroxide::runtime::registry::ActivityRegistry;
use duroxide::runtime::{Runtime, RuntimeOptions};
use duroxide::{
    ActivityContext, Client, ClientError, OrchestrationContext, OrchestrationRegistry, OrchestrationStatus,
};
use serde_json::{Value, json};

use crate::rival::{Recorded, Rival, Role, Site, Stand, Workload};
use crate::{AnyError, Result, gauge};

mod store;

pub use store::{Postgres, Sqlite, Store};

const EVENT: &str = "event";
const HISTORY: &str = "history";

/// The runtime, where something is executed, and a client.
pub struct Duroxide<S> {
    url: String,
    client: Client,
    next: AtomicU64,
    poll: Duration,
    runtime: Option<Arc<Runtime>>,
    store: PhantomData<fn() -> S>,
}

async fn step(_: ActivityContext, input: String) -> Result<String, String> {
    gauge::step();
    Ok(input)
}

async fn gate(_: ActivityContext, _: String) -> Result<String, String> {
    gauge::gate().await;
    Ok(String::new())
}

async fn now(_: ActivityContext, _: String) -> Result<String, String> {
    Ok(gauge::clock().to_string())
}

async fn steps(context: OrchestrationContext, input: String) -> Result<String, String> {
    for n in 0..number(&input)? {
        context.schedule_activity("step", n.to_string()).await?;
    }
    Ok(input)
}

/// Waits behind its steps: an activity under way would be delivered again without any replay.
async fn history(context: OrchestrationContext, input: String) -> Result<String, String> {
    for n in 0..number(&input)? {
        context.schedule_activity("step", n.to_string()).await?;
    }
    context.schedule_wait(EVENT).await;
    context.schedule_activity("gate", "").await
}

async fn parent(context: OrchestrationContext, input: String) -> Result<String, String> {
    let children = (0..number(&input)?).map(|_| context.schedule_sub_orchestration("steps", "0")).collect();
    let results = context.join(children).await;
    Ok(results.into_iter().filter(Result::is_ok).count().to_string())
}

async fn waiter(context: OrchestrationContext, _: String) -> Result<String, String> {
    let event = context.schedule_wait(EVENT);
    if !context.is_replaying() {
        gauge::waiting();
    }
    Ok(event.await)
}

async fn clock(context: OrchestrationContext, _: String) -> Result<String, String> {
    context.schedule_activity("now", "").await
}

fn number(input: &str) -> Result<u32, String> {
    input.parse().map_err(|error| format!("{input}: {error}"))
}

fn options<S: Store>(site: &Site) -> RuntimeOptions {
    let concurrency = if is_about_one(site) { 2 } else { S::CONCURRENCY };
    RuntimeOptions {
        orchestration_concurrency: site.setting("orchestrations", concurrency),
        worker_concurrency: site.setting("workers", concurrency),
        dispatcher_min_poll_interval: Duration::from_micros(
            site.setting("poll_us", if is_about_one(site) { 1_000 } else { S::POLL_US }),
        ),
        ..RuntimeOptions::default()
    }
}

impl<S: Store> Rival for Duroxide<S> {
    const NAME: &'static str = S::NAME;
    const CRATES: &'static [&'static str] = S::CRATES;
    const WORKLOADS: &'static [Workload] = S::WORKLOADS;
    const RESUMES: usize = 1;

    fn best_in_flight(_workload: Workload) -> usize {
        64
    }

    fn settings(site: &Site) -> Value {
        let options = options::<S>(site);
        json!({
            "pool": S::pool(site),
            "orchestration_concurrency": options.orchestration_concurrency,
            "worker_concurrency": options.worker_concurrency,
            "dispatcher_min_poll_interval_ms": options.dispatcher_min_poll_interval.as_secs_f64() * 1e3,
            "client_polling_interval_ms": client_poll(site).as_secs_f64() * 1e3,
        })
    }

    async fn stand(site: &Site) -> Result<Stand> {
        S::stand(site)
    }

    async fn open(site: &Site) -> Result<Self> {
        let store: Arc<dyn Provider> = S::connect(site).await?;
        let activities =
            ActivityRegistry::builder().register("step", step).register("gate", gate).register("now", now).build();
        let orchestrations = OrchestrationRegistry::builder()
            .register("steps", steps)
            .register("history", history)
            .register("parent", parent)
            .register("waiter", waiter)
            .register("clock", clock)
            .build();
        let runtime = match site.role {
            Role::Enqueue => None,
            _ => Some(Runtime::start_with_options(store.clone(), activities, orchestrations, options::<S>(site)).await),
        };
        let client = Client::new(store);
        if site.role == Role::Resume {
            client.raise_event(HISTORY, EVENT, "0").await.map_err(any)?;
        }
        let url = site.url.clone();
        Ok(Self { url, client, next: AtomicU64::new(0), poll: client_poll(site), runtime, store: PhantomData })
    }

    async fn run(&self, steps: u32) -> Result<u32> {
        Ok(self.result(&self.id(), "steps", steps).await?.parse()?)
    }

    async fn fan_out(&self, children: u32) -> Result<u32> {
        Ok(self.result(&self.id(), "parent", children).await?.parse()?)
    }

    async fn wait(&self, event: u32) -> Result<u32> {
        Ok(self.result(&waiter_id(event), "waiter", event).await?.parse()?)
    }

    async fn emit(&self, events: u32) -> Result<()> {
        let emit = |event: u32| async move {
            self.client.raise_event(waiter_id(event), EVENT, event.to_string()).await.map_err(any)
        };
        super::all(0..events, 32, emit).await
    }

    async fn remote(&self) -> Result<u64> {
        Ok(self.result(&self.id(), "clock", 0).await?.parse()?)
    }

    async fn enqueue(&self, runs: u32) -> Result<()> {
        super::all(0..runs, 32, |_| async {
            self.client.start_orchestration(self.id(), "steps", "0").await.map_err(any)
        })
        .await
    }

    async fn begin(&self, steps: u32) -> Result<()> {
        self.client.start_orchestration(HISTORY, "history", steps.to_string()).await.map_err(any)?;
        while gauge::steps() < u64::from(steps) {
            tokio::time::sleep(self.poll).await;
        }
        // Its last turn holds a lock for a moment, which isn't what is measured.
        tokio::time::sleep(Duration::from_secs(1)).await;
        gauge::say(&format!("ready {}", gauge::steps()));
        Ok(())
    }

    async fn recorded(&self) -> Result<Option<Recorded>> {
        // Dispatchers that go on would keep a file locked.
        if let Some(runtime) = &self.runtime {
            Arc::clone(runtime).shutdown(None).await;
        }
        S::recorded(&self.url).await.map(Some)
    }
}

impl<S> Duroxide<S> {
    fn id(&self) -> String {
        format!("run-{}-{}", std::process::id(), self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Polls as often as is best: the client's own wait begins at 5 ms and doubles up to 100 ms, which is too seldom for
    /// one run and too often for many.
    async fn result(&self, id: &str, orchestration: &str, input: u32) -> Result<String> {
        while let Err(error) = self.client.start_orchestration(id, orchestration, input.to_string()).await {
            self.again(error).await?;
        }
        loop {
            tokio::time::sleep(self.poll).await;
            match self.client.get_orchestration_status(id).await {
                Ok(OrchestrationStatus::Completed { output, .. }) => return Ok(output),
                Ok(OrchestrationStatus::Failed { details, .. }) => return Err(details.display_message().into()),
                Ok(OrchestrationStatus::Running { .. } | OrchestrationStatus::NotFound) => {}
                Err(error) => self.again(error).await?,
            }
        }
    }

    /// A store that is locked, or a pool that is used up, is tried again.
    async fn again(&self, error: ClientError) -> Result<()> {
        if !error.is_retryable() {
            return Err(any(error));
        }
        tokio::time::sleep(self.poll).await;
        Ok(())
    }
}

/// Whether it is about the time of one run, not about how many end.
fn is_about_one(site: &Site) -> bool {
    matches!(site.workload, Workload::W3b | Workload::W4 | Workload::W3 | Workload::W10)
}

/// How often the client looks whether a run has ended.
fn client_poll(site: &Site) -> Duration {
    let one = is_about_one(site) || site.workload == Workload::W6;
    Duration::from_micros(site.setting("client_poll_us", if one { 1_000 } else { 200_000 }))
}

fn any(error: ClientError) -> AnyError {
    format!("{error:?}").into()
}

fn waiter_id(event: u32) -> String {
    format!("waiter-{event}")
}
