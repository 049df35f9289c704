//! A simulation from its first executor to the end of its last run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use tokio::task::LocalSet;
use tokio::time::Instant;
use workflow::{Client, Error, Executor, Queue, StoreError};

use crate::actor;
use crate::interpret::{OTHER_QUEUE, interpret};
use crate::ledger::{Counts, Ledger, Violation};
use crate::link::{Link, Network};
use crate::panics;
use crate::plan::{Blow, Kind, Plan, Setting};
use crate::probe::Probe;
use crate::store::SimStore;

/// After the last fault every run ends within so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// What came of a simulation.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// How often what happened.
    pub counts: Counts,
    /// What never may, and did.
    pub violations: Vec<Violation>,
    /// How long each run waited that was in a body when its executor was killed, in virtual milliseconds.
    pub recoveries: Vec<u64>,
    /// Everything that happened, where it was asked for.
    pub log: String,
}

/// Runs a plan on a thread of its own time. The same plan gives the same outcome, byte for byte.
pub fn simulate(plan: &Plan, keep_log: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("a runtime without any driver can be made: {error}"));
    workflow_core::random::seed(Some(plan.seed));
    panics::forget();
    let local = LocalSet::new();
    let outcome = local.block_on(&runtime, async { Stage::new(plan, keep_log).run().await });
    // Whatever is still under way goes before the next simulation begins on this thread.
    drop(local);
    drop(runtime);
    workflow_core::random::seed(None);
    outcome
}

/// One executor at a time in each place.
pub(crate) struct Place {
    pub(crate) number: usize,
    pub(crate) link: Arc<Link>,
    pub(crate) executor: Option<Executor>,
    pub(crate) client: Option<Client>,
}

pub(crate) type Places = Arc<Vec<tokio::sync::Mutex<Place>>>;

pub(crate) struct Stage {
    pub(crate) plan: Arc<Plan>,
    pub(crate) ledger: Ledger,
    pub(crate) network: Network,
    /// The number of the next executor.
    next: AtomicUsize,
    /// How many runs from outside were acknowledged, or never will be.
    pub(crate) invoked: AtomicUsize,
}

#[expect(clippy::disallowed_methods, reason = "virtual time")]
pub(crate) async fn pass(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Whether a failure is one that an injected fault may come out as.
pub(crate) fn is_injected(error: &Error) -> bool {
    matches!(error, Error::Store(StoreError::Unavailable(_) | StoreError::Contention(_) | StoreError::Unknown(_)))
}

impl Stage {
    fn new(plan: &Plan, keep_log: bool) -> Arc<Self> {
        let network = Network { faults: Arc::new(plan.faults.clone()), calm: Arc::new(AtomicBool::new(false)) };
        let ledger = Ledger::new(plan.clock_rate, keep_log);
        let plan = Arc::new(plan.clone());
        Arc::new(Self { plan, ledger, network, next: AtomicUsize::new(0), invoked: AtomicUsize::new(0) })
    }

    pub(crate) fn link(&self, name: &str) -> Arc<Link> {
        Link::new(name.to_owned(), self.plan.seed, self.ledger.clone(), self.network.clone())
    }

    async fn run(self: Arc<Self>) -> Outcome {
        let outside = Client::new(Arc::new(SimStore(self.link("outside"))));
        let first = self.plan.executors.iter().enumerate();
        let places = join_all(first.map(|(place, setting)| self.start(place, setting))).await;
        let places: Places = Arc::new(places.into_iter().map(tokio::sync::Mutex::new).collect());
        let blows = tokio::task::spawn_local(strike(self.clone(), places.clone()));
        let roots = self.plan.roots.iter().cloned();
        let roots = roots
            .map(|root| tokio::task::spawn_local(actor::root(self.clone(), places.clone(), outside.clone(), root)));
        let roots: Vec<_> = roots.collect();
        let events = tokio::task::spawn_local(actor::events(self.clone(), outside.clone()));
        self.joined(blows).await;
        self.joined(events).await;
        self.network.calm.store(true, Ordering::SeqCst);
        self.ledger.log("stage", || "calm".to_owned());
        let calm = Instant::now();
        self.everybody_serves(&places).await;
        actor::last_events(&self, &outside).await;
        self.all_end(calm, &outside).await;
        for root in roots {
            match tokio::time::timeout(Duration::from_secs(20), root).await {
                Ok(Ok(())) => {}
                Ok(Err(panic)) => self.ledger.violation("I24", None, format!("a client panicked: {panic}")),
                Err(_) => self.ledger.violation("I18", None, "a client waits although all has ended".to_owned()),
            }
        }
        crate::check::at_the_end(&self.plan, &self.ledger);
        for place in places.iter() {
            if let Some(executor) = place.lock().await.executor.take()
                && let Err(error) = executor.shutdown().await
            {
                self.ledger.violation("I24", None, format!("a shutdown failed in calm: {error}"));
            }
        }
        for panic in panics::forget() {
            self.ledger.violation("I24", None, panic);
        }
        let ledger = self.ledger.clone();
        let mut book = ledger.book();
        book.counts.virtual_ms = ledger.elapsed_ms();
        Outcome {
            counts: book.counts,
            violations: std::mem::take(&mut book.violations),
            recoveries: std::mem::take(&mut book.recoveries),
            log: book.log.take().unwrap_or_default(),
        }
    }

    async fn joined(&self, task: tokio::task::JoinHandle<()>) {
        if let Err(panic) = task.await {
            self.ledger.violation("I24", None, format!("a task panicked: {panic}"));
        }
    }

    /// Starts an executor, as a supervisor would: again, when the store fails.
    async fn start(&self, place: usize, setting: &Setting) -> Place {
        let plan = &self.plan;
        loop {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            let name = format!("e{place}.{number}");
            let link = self.link(&name);
            let probe = Probe {
                ledger: self.ledger.clone(),
                executor: number,
                name: name.clone(),
                life: link.life.clone(),
                concurrency: setting.concurrency,
            };
            let lease = Duration::from_millis(plan.lease_ms);
            let queue = |name: &str| Queue::new(name).concurrency(setting.concurrency);
            let mut builder = Executor::builder(Arc::new(SimStore(link.clone())))
                .register(interpret)
                .queue(queue("default"))
                .state(probe)
                .name(name.as_str())
                .lease(lease, lease / 5)
                .poll_interval(Duration::from_millis(plan.poll_ms))
                .linger(Duration::from_millis(plan.linger_ms))
                .max_resident(setting.resident)
                .driver_threads(setting.drivers)
                .sweep_interval(Some(Duration::from_secs(2)))
                .max_poll(None)
                .verify(plan.verify)
                .drive_in_tasks();
            if setting.other_queue {
                builder = builder.queue(queue(OTHER_QUEUE));
            }
            match builder.start().await {
                Ok(executor) => {
                    self.ledger.log(&name, || "started".to_owned());
                    let client = Some(executor.client());
                    return Place { number, link, executor: Some(executor), client };
                }
                Err(error) if is_injected(&error) => pass(20).await,
                Err(error) => {
                    self.ledger.violation("I24", None, format!("a start failed: {error}"));
                    return Place { number, link, executor: None, client: None };
                }
            }
        }
    }

    /// When all is calm, there is an executor for every queue.
    async fn everybody_serves(&self, places: &Places) {
        let last = self.start(places.len(), &self.plan.last).await;
        let leaving = if self.plan.last_alone { places.len() } else { 1 };
        for place in &places[..leaving.min(places.len())] {
            let mut place = place.lock().await;
            place.client = None;
            if let Some(executor) = place.executor.take() {
                self.retire(executor).await;
            }
        }
        // It stays until the simulation ends.
        if let Some(place) = places.first() {
            *place.lock().await = last;
        }
    }

    /// Shuts an executor down in good order.
    async fn retire(&self, executor: Executor) {
        match executor.shutdown().await {
            Ok(()) => {}
            Err(error) if is_injected(&error) => {}
            Err(error) => self.ledger.violation("I24", None, format!("a shutdown failed: {error}")),
        }
    }

    /// Everything ends now, or never would.
    async fn all_end(&self, calm: Instant, outside: &Client) {
        loop {
            let open: Vec<_> = self.ledger.runs().into_iter().filter(|run| !run.status.is_terminal()).collect();
            if open.is_empty() && self.invoked.load(Ordering::SeqCst) == self.plan.roots.len() {
                return;
            }
            actor::end_the_endless(self, outside, &open).await;
            if calm.elapsed() > PATIENCE {
                for run in open {
                    let what = format!("it is still {} at position {}", run.status, self.ledger.journal(run.id).len());
                    let parked = run.parked.map(|reason| format!(": {} {}", reason.code, reason.message));
                    self.ledger.violation("I18", Some(run.id), what + &parked.unwrap_or_default());
                }
                return;
            }
            pass(100).await;
        }
    }
}

/// What the plan has in store for the executors.
async fn strike(stage: Arc<Stage>, places: Places) {
    let strikes = stage.plan.blows.iter().map(|blow| one_blow(&stage, &places, blow));
    join_all(strikes).await;
}

async fn one_blow(stage: &Stage, places: &Places, blow: &Blow) {
    pass(blow.at_ms).await;
    let Some(place) = places.get(blow.executor) else { return };
    match &blow.kind {
        Kind::Freeze { for_ms } => {
            let link = {
                let place = place.lock().await;
                place.link.clone()
            };
            stage.ledger.log(&link.name, || format!("freezes for {for_ms} ms"));
            stage.ledger.book().counts.freezes += 1;
            link.freeze(Instant::now() + Duration::from_millis(*for_ms));
            pass(*for_ms).await;
        }
        Kind::Kill { again_ms, setting } => {
            let mut place = place.lock().await;
            stage.ledger.log(&place.link.name, || "is killed".to_owned());
            stage.ledger.killed(place.number);
            place.link.cut();
            place.client = None;
            drop(place.executor.take());
            pass(*again_ms).await;
            *place = stage.start(blow.executor, setting).await;
        }
        Kind::Shutdown { again_ms, setting } => {
            let mut place = place.lock().await;
            stage.ledger.log(&place.link.name, || "is shut down".to_owned());
            stage.ledger.book().counts.shutdowns += 1;
            if let Some(executor) = place.executor.take() {
                stage.retire(executor).await;
            }
            place.client = None;
            pass(*again_ms).await;
            *place = stage.start(blow.executor, setting).await;
        }
    }
}
