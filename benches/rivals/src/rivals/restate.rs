//! Restate: handlers behind a server of its own, which keeps their journals in its log.

mod server;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use restate_sdk::ingress::ReqwestClient;
use restate_sdk::prelude::*;
use serde_json::{Value, json};

use self::server::{Addresses, Server};
use crate::rival::{Rival, Role, Site, Stand, Workload};
use crate::{Result, gauge};

/// Where the awakeables of waiting runs are left for the one who resolves them.
static AWAKEABLES: Mutex<BTreeMap<u32, String>> = Mutex::new(BTreeMap::new());

struct Bench;

#[service]
impl Bench {
    #[handler]
    async fn steps(&self, context: Context<'_>, count: u32) -> HandlerResult<u32> {
        run_steps(&context, count).await
    }

    #[handler]
    async fn history(&self, context: Context<'_>, count: u32) -> HandlerResult<u32> {
        run_steps(&context, count).await?;
        let gate = || async {
            gauge::gate().await;
            Ok(())
        };
        context.run(gate).name("gate").await?;
        Ok(count)
    }

    #[handler]
    async fn parent(&self, context: Context<'_>, children: u32) -> HandlerResult<u32> {
        let calls: Vec<_> = (0..children).map(|_| context.service_client::<BenchClient>().steps(0).call()).collect();
        let mut ended = 0;
        for call in calls {
            call.await?;
            ended += 1;
        }
        Ok(ended)
    }

    #[handler]
    async fn waiter(&self, context: Context<'_>, event: u32) -> HandlerResult<u32> {
        let (id, resolved) = context.awakeable::<u32>();
        AWAKEABLES.lock().unwrap_or_else(PoisonError::into_inner).insert(event, id);
        gauge::waiting();
        Ok(resolved.await?)
    }

    #[handler]
    async fn emit(&self, context: Context<'_>, awakeables: Json<BTreeMap<u32, String>>) -> HandlerResult<()> {
        for (event, id) in awakeables.into_inner() {
            context.resolve_awakeable(&id, event);
        }
        Ok(())
    }

    #[handler]
    async fn clock(&self, _context: Context<'_>) -> HandlerResult<u64> {
        Ok(gauge::clock())
    }
}

async fn run_steps(context: &Context<'_>, count: u32) -> HandlerResult<u32> {
    for n in 0..count {
        let body = move || async move {
            gauge::step();
            Ok(n)
        };
        context.run(body).name("step").await?;
    }
    Ok(count)
}

/// Clients of the server; the service is served in the background where something is executed.
pub struct Restate {
    clients: Vec<BenchIngressClient<reqwest::Client>>,
    next: AtomicUsize,
}

fn service_options(site: &Site) -> ServiceOptions {
    ServiceOptions::new()
        .journal_retention(Duration::from_secs(site.setting("retention_s", 0)))
        .retry_policy_initial_interval(Duration::from_millis(site.setting("retry_ms", 10)))
        .retry_policy_exponentiation_factor(1.0)
        .retry_policy_max_interval(Duration::from_millis(site.setting("retry_ms", 10)))
}

/// A connection takes 200 requests at a time.
fn clients(site: &Site) -> usize {
    let waiters = site.size.unwrap_or(1_000) as usize;
    let requests = if site.workload == Workload::W7 { waiters } else { site.in_flight.unwrap_or(1) };
    site.setting("clients", requests.div_ceil(160))
}

impl Rival for Restate {
    const NAME: &'static str = "restate";
    const CRATES: &'static [&'static str] = &["restate-sdk"];
    const WORKLOADS: &'static [Workload] = &[
        Workload::W1,
        Workload::W2,
        Workload::W3,
        Workload::W3b,
        Workload::W4,
        Workload::W6,
        Workload::W7,
        Workload::W10,
    ];

    fn best_in_flight(_workload: Workload) -> usize {
        1_000
    }

    fn settings(site: &Site) -> Value {
        let mut settings = json!({
            "server": server::version(),
            "http2_connections": clients(site),
            "journal_retention_s": site.setting("retention_s", 0),
            "retry_interval_ms": site.setting("retry_ms", 10),
        });
        if let (Value::Object(settings), Value::Object(more)) = (&mut settings, server::settings(site)) {
            settings.extend(more);
        }
        settings
    }

    async fn stand(site: &Site) -> Result<Stand> {
        let server = Server::start(site).await?;
        Ok(Stand { url: server.addresses.to_url(), _guard: Some(Box::new(server)) })
    }

    async fn open(site: &Site) -> Result<Self> {
        let addresses = Addresses::from_url(&site.url)?;
        if site.role != Role::Enqueue {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", addresses.service)).await?;
            let endpoint =
                Endpoint::builder().bind(Bench.into_service_definition().options(service_options(site))).build();
            tokio::spawn(HttpServer::new(endpoint).serve(listener));
        }
        // The one who resumes is known: his predecessor had the same address.
        if matches!(site.role, Role::Whole | Role::Execute | Role::Begin) {
            addresses.register().await?;
        }
        let client = || -> Result<_> {
            let http = reqwest::Client::builder().http2_prior_knowledge().build()?;
            let uri = format!("http://127.0.0.1:{}", addresses.ingress).parse()?;
            Ok(BenchIngressClient::from_client(ReqwestClient::new(uri, http)?))
        };
        let clients = (0..clients(site)).map(|_| client()).collect::<Result<_>>()?;
        Ok(Self { clients, next: AtomicUsize::new(0) })
    }

    async fn run(&self, steps: u32) -> Result<u32> {
        Ok(self.client().steps(steps).call().await?.into_body()?)
    }

    async fn fan_out(&self, children: u32) -> Result<u32> {
        Ok(self.client().parent(children).call().await?.into_body()?)
    }

    async fn wait(&self, event: u32) -> Result<u32> {
        Ok(self.client().waiter(event).call().await?.into_body()?)
    }

    async fn emit(&self, events: u32) -> Result<()> {
        let awakeables = AWAKEABLES.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if awakeables.len() != events as usize {
            return Err(format!("{} runs wait, not {events}", awakeables.len()).into());
        }
        self.client().emit(Json::from(awakeables)).call().await?.into_body()?;
        Ok(())
    }

    async fn remote(&self) -> Result<u64> {
        Ok(self.client().clock().call().await?.into_body()?)
    }

    async fn begin(&self, steps: u32) -> Result<()> {
        self.client().history(steps).send().await?;
        Ok(())
    }
}

impl Restate {
    fn client(&self) -> &BenchIngressClient<reqwest::Client> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        &self.clients[next % self.clients.len()]
    }
}
