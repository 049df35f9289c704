//! `durare`: the model and the tables of DBOS with an explicit context, in Postgres.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use durare::{
    Client, DurableContext, DurableEngine, PostgresProvider, SendMessage, WorkflowHandle, WorkflowOptions,
    WorkflowQueue,
};
use futures::future::try_join_all;
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use super::postgres::count;
use crate::rival::{Recorded, Rival, Role, Site, Workload};
use crate::{Result, gauge};

const QUEUE: &str = "bench";
const TOPIC: &str = "event";
const A_DAY: Duration = Duration::from_secs(86_400);

/// The engine with its workflows, and a client for where nothing is executed.
pub struct Durare {
    url: String,
    engine: DurableEngine,
    client: Client,
    enqueues: usize,
}

async fn steps(context: DurableContext, count: u32) -> durare::Result<u32> {
    run_steps(&context, count).await
}

async fn run_steps(context: &DurableContext, count: u32) -> durare::Result<u32> {
    for n in 0..count {
        let body = || async {
            gauge::step();
            Ok::<_, durare::Error>(n)
        };
        context.step("step", body).await?;
    }
    Ok(count)
}

async fn parent(context: DurableContext, children: u32) -> durare::Result<u32> {
    let child = |_| context.start_workflow::<_, u32>("steps", 0_u32, WorkflowOptions::default());
    let handles = try_join_all((0..children).map(child)).await?;
    let results = try_join_all(handles.iter().map(WorkflowHandle::result)).await?;
    Ok(results.len() as u32)
}

async fn waiter(context: DurableContext, _event: u32) -> durare::Result<u32> {
    gauge::waiting();
    Ok(context.recv::<u32>(TOPIC, A_DAY).await?.unwrap_or(u32::MAX))
}

async fn history(context: DurableContext, count: u32) -> durare::Result<u32> {
    run_steps(&context, count).await?;
    let gate = || async {
        gauge::gate().await;
        Ok::<_, durare::Error>(())
    };
    context.step("gate", gate).await?;
    Ok(count)
}

async fn transactions(context: DurableContext, count: u32) -> durare::Result<u32> {
    for n in 0..i64::from(count) {
        let insert = context.transaction("insert", move |tx| {
            Box::pin(async move {
                gauge::step();
                tx.execute("INSERT INTO public.entries (number) VALUES (?)", &durare::params![n]).await
            })
        });
        insert.await?;
    }
    Ok(count)
}

async fn clock(_context: DurableContext, _: ()) -> durare::Result<u64> {
    Ok(gauge::clock())
}

fn pool(site: &Site) -> u32 {
    let best = match site.workload {
        Workload::W1 | Workload::W2 | Workload::W6 | Workload::W7 | Workload::W15 => 32,
        _ => 8,
    };
    site.setting("pool", best)
}

fn poll(site: &Site) -> Duration {
    Duration::from_micros(site.setting("poll_us", 1_000))
}

impl Rival for Durare {
    const NAME: &'static str = "durare";
    const CRATES: &'static [&'static str] = &["durare"];
    const WORKLOADS: &'static [Workload] = &[
        Workload::W1,
        Workload::W2,
        Workload::W3,
        Workload::W3b,
        Workload::W4,
        Workload::W6,
        Workload::W7,
        Workload::W10,
        Workload::W15,
        Workload::W16,
    ];

    fn best_in_flight(_workload: Workload) -> usize {
        64
    }

    fn settings(site: &Site) -> Value {
        json!({
            "pool": pool(site),
            "queue_polling_interval_ms": poll(site).as_secs_f64() * 1e3,
            "handle_polling_interval_ms": "100, fixed",
        })
    }

    async fn open(site: &Site) -> Result<Self> {
        let options = PgConnectOptions::from_str(&site.url)?.options([("search_path", "dbos")]);
        let pool_of = PgPoolOptions::new().max_connections(pool(site)).connect_with(options).await?;
        let provider = Arc::new(PostgresProvider::from_pool_with_schema(pool_of, "dbos")?);
        let mut builder = DurableEngine::builder(provider.clone());
        builder.app_version("1").executor_id("bench");
        builder.register("steps", steps).register("parent", parent).register("waiter", waiter);
        builder.register("history", history).register("transactions", transactions).register("clock", clock);
        builder.register_queue(WorkflowQueue::new(QUEUE).base_polling_interval(poll(site)));
        let engine = builder.build().await?;
        match site.role {
            Role::Execute => engine.launch().await?,
            Role::Resume => drop(engine.recover().await?),
            Role::Whole | Role::Enqueue | Role::Begin => {}
        }
        let client = Client::new(provider);
        Ok(Self { url: site.url.clone(), engine, client, enqueues: pool(site) as usize })
    }

    async fn run(&self, steps: u32) -> Result<u32> {
        Ok(self.engine.start::<_, u32>("steps", steps, WorkflowOptions::default()).await?.await?)
    }

    async fn fan_out(&self, children: u32) -> Result<u32> {
        Ok(self.engine.start::<_, u32>("parent", children, WorkflowOptions::default()).await?.await?)
    }

    async fn wait(&self, event: u32) -> Result<u32> {
        let options = WorkflowOptions::with_id(waiter_id(event));
        Ok(self.engine.start::<_, u32>("waiter", event, options).await?.await?)
    }

    async fn emit(&self, events: u32) -> Result<()> {
        let messages: Vec<_> = (0..events).map(|event| SendMessage::new(waiter_id(event), event, TOPIC)).collect();
        Ok(self.engine.send_bulk(&messages).await?)
    }

    async fn remote(&self) -> Result<u64> {
        Ok(self.client.enqueue::<_, u64>(QUEUE, "clock", (), WorkflowOptions::default()).await?.await?)
    }

    async fn enqueue(&self, runs: u32) -> Result<()> {
        super::all(0..runs, self.enqueues, |_| async {
            self.client.enqueue::<_, u64>(QUEUE, "clock", (), WorkflowOptions::default()).await?;
            Ok(())
        })
        .await
    }

    async fn begin(&self, steps: u32) -> Result<()> {
        self.engine.start::<_, u32>("history", steps, WorkflowOptions::default()).await?;
        Ok(())
    }

    async fn run_transactions(&self, steps: u32) -> Result<u32> {
        Ok(self.engine.start::<_, u32>("transactions", steps, WorkflowOptions::default()).await?.await?)
    }

    async fn recorded(&self) -> Result<Option<Recorded>> {
        let runs = count(&self.url, "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'").await?;
        let steps = count(&self.url, "SELECT count(*) FROM dbos.operation_outputs").await?;
        Ok(Some(Recorded { runs, steps: Some(steps) }))
    }
}

fn waiter_id(event: u32) -> String {
    format!("waiter-{event}")
}
