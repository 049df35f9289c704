//! `dbos`: workflows as functions, a row for each step, in Postgres.

use std::time::Duration;

use dbos::{
    Client, ClientConfig, Config, DBOS, Message, QueueConflict, QueueOptions, StartOptions, WorkflowHandle, WorkflowRef,
};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::postgres::count;
use crate::rival::{Recorded, Rival, Role, Site, Workload};
use crate::{Result, gauge};

const QUEUE: &str = "bench";
/// A queue is polled once a second at first, and a tenth sooner each time until it is as often as was asked for.
const UNTIL_IT_POLLS_AS_OFTEN: Duration = Duration::from_secs(12);
const A_DAY: Duration = Duration::from_secs(86_400);

/// The engine, with its workflows; or only a client, where nothing is executed.
pub struct Dbos {
    url: String,
    engine: Option<Engine>,
    client: Option<Client>,
    enqueues: usize,
}

struct Engine {
    dbos: DBOS,
    steps: WorkflowRef<u32, u32>,
    parent: WorkflowRef<u32, u32>,
    waiter: WorkflowRef<u32, u32>,
    history: WorkflowRef<u32, u32>,
}

async fn steps(count: u32) -> dbos::Result<u32> {
    for n in 0..count {
        dbos::step("step", || async {
            gauge::step();
            dbos::Result::Ok(n)
        })
        .await?;
    }
    Ok(count)
}

async fn parent(child: WorkflowRef<u32, u32>, children: u32) -> dbos::Result<u32> {
    // All at once: the ids are taken where the calls are written, and more than a pool can do waits in the pool.
    let handles = try_join_all((0..children).map(|_| child.start(0))).await?;
    let results = try_join_all(handles.into_iter().map(WorkflowHandle::result)).await?;
    Ok(results.len() as u32)
}

async fn waiter(_event: u32) -> dbos::Result<u32> {
    gauge::waiting();
    Ok(dbos::recv::<u32, _>(None, A_DAY).await?.unwrap_or(u32::MAX))
}

async fn history(count: u32) -> dbos::Result<u32> {
    steps(count).await?;
    dbos::step("gate", || async {
        gauge::gate().await;
        dbos::Result::Ok(())
    })
    .await?;
    Ok(count)
}

async fn clock(_: ()) -> dbos::Result<u64> {
    Ok(gauge::clock())
}

impl Engine {
    async fn launch(site: &Site) -> Result<Self> {
        let dbos = DBOS::new(config(site));
        let steps = dbos.register_workflow("steps", steps)?;
        let child = steps.clone();
        let parent = dbos.register_workflow("parent", move |children| parent(child.clone(), children))?;
        let waiter = dbos.register_workflow("waiter", waiter)?;
        let history = dbos.register_workflow("history", history)?;
        dbos.register_workflow("clock", clock)?;
        dbos.launch().await?;
        if site.workload == Workload::W4 {
            let options = QueueOptions { polling_interval: poll(site), ..QueueOptions::default() };
            dbos.register_queue(QUEUE, options, QueueConflict::AlwaysUpdate).await?;
            tokio::time::sleep(UNTIL_IT_POLLS_AS_OFTEN).await;
        }
        Ok(Self { dbos, steps, parent, waiter, history })
    }
}

fn pool(site: &Site) -> u32 {
    let best = match site.workload {
        Workload::W1 | Workload::W2 | Workload::W6 | Workload::W7 | Workload::W15 => 32,
        _ => 10,
    };
    site.setting("pool", best)
}

fn poll(site: &Site) -> Duration {
    Duration::from_micros(site.setting("poll_us", 1_000))
}

fn config(site: &Site) -> Config {
    Config {
        app_version: Some("1".to_owned()),
        max_connections: pool(site),
        outcome_poll_interval: Some(poll(site)),
        notification_coalesce: Some(Duration::from_millis(site.setting("coalesce_ms", 10))),
        ..Config::new("rivals", &site.url)
    }
}

impl Rival for Dbos {
    const NAME: &'static str = "dbos";
    const CRATES: &'static [&'static str] = &["dbos"];
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
    ];

    fn best_in_flight(_workload: Workload) -> usize {
        64
    }

    fn settings(site: &Site) -> Value {
        json!({
            "pool": pool(site),
            "outcome_poll_interval_ms": poll(site).as_secs_f64() * 1e3,
            "queue_polling_interval_ms": poll(site).as_secs_f64() * 1e3,
            "notification_coalesce_ms": site.setting("coalesce_ms", 10),
            "listen_notify": true,
        })
    }

    async fn open(site: &Site) -> Result<Self> {
        let mut this = Self { url: site.url.clone(), engine: None, client: None, enqueues: pool(site) as usize };
        // Nothing else brings the schema up to date for a client.
        if site.role != Role::Enqueue || site.workload == Workload::W15 {
            let engine = Engine::launch(site).await?;
            if site.role == Role::Enqueue { engine.dbos.shutdown().await } else { this.engine = Some(engine) }
        }
        if site.role == Role::Enqueue {
            let config = ClientConfig {
                max_connections: pool(site),
                outcome_poll_interval: Some(poll(site)),
                ..ClientConfig::new(&site.url)
            };
            this.client = Some(Client::connect(config).await?);
        }
        Ok(this)
    }

    async fn run(&self, steps: u32) -> Result<u32> {
        Ok(self.engine()?.steps.run(steps).await?)
    }

    async fn fan_out(&self, children: u32) -> Result<u32> {
        Ok(self.engine()?.parent.run(children).await?)
    }

    async fn wait(&self, event: u32) -> Result<u32> {
        let id = waiter_id(event);
        let options = StartOptions { workflow_id: Some(&id), ..StartOptions::default() };
        Ok(self.engine()?.waiter.start_with(event, options).await?.result().await?)
    }

    async fn emit(&self, events: u32) -> Result<()> {
        let ids: Vec<(String, u32)> = (0..events).map(|event| (waiter_id(event), event)).collect();
        let messages: Vec<_> = ids.iter().map(|(id, event)| Message::new(id, event)).collect();
        Ok(self.engine()?.dbos.send_bulk(&messages).await?)
    }

    async fn remote(&self) -> Result<u64> {
        let handle: WorkflowHandle<u64> = self.client()?.enqueue("clock", QUEUE, ()).await?;
        Ok(handle.result().await?)
    }

    async fn enqueue(&self, runs: u32) -> Result<()> {
        let client = self.client()?;
        super::all(0..runs, self.enqueues, |_| async {
            let _: WorkflowHandle<u64> = client.enqueue("clock", QUEUE, ()).await?;
            Ok(())
        })
        .await
    }

    async fn begin(&self, steps: u32) -> Result<()> {
        self.engine()?.history.start(steps).await?;
        Ok(())
    }

    async fn recorded(&self) -> Result<Option<Recorded>> {
        let runs = count(&self.url, "SELECT count(*) FROM dbos.workflow_status WHERE status = 'SUCCESS'").await?;
        let steps = count(&self.url, "SELECT count(*) FROM dbos.operation_outputs").await?;
        Ok(Some(Recorded { runs, steps: Some(steps) }))
    }
}

impl Dbos {
    fn engine(&self) -> Result<&Engine> {
        self.engine.as_ref().ok_or_else(|| "this process executes nothing".into())
    }

    fn client(&self) -> Result<&Client> {
        self.client.as_ref().ok_or_else(|| "this process enqueues nothing".into())
    }
}

fn waiter_id(event: u32) -> String {
    format!("waiter-{event}")
}
