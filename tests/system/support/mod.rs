//! The stage of the system tests: one store, executors and a client on it, and ways to look at what happens.

mod faulty;
#[path = "../../support/log.rs"]
pub mod log;
mod probe;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::{AssertSqlSafe, Connection};
use workflow::store::{ParkReason, RunRef};
use workflow::{Client, Executor, MemoryStore, RunHandle, RunId, RunStatus, Status, Store};
use workflow_core::journal::Entry;
use workflow_testserver::Database;

pub use faulty::Faulty;
pub use probe::Probe;

/// How long anything may take before a test gives up on it. Never waited for in a test that passes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A lease that runs out within a test.
pub const BRIEF: (Duration, Duration) = (Duration::from_millis(600), Duration::from_millis(150));

/// Which store a test runs on.
#[derive(Debug)]
pub enum Place {
    Memory(MemoryStore),
    Sqlite(TempDir),
    Postgres(Database),
}

/// One store of its own for one test.
#[derive(Debug)]
pub struct Stage {
    pub store: Arc<dyn Store>,
    pub place: Place,
    /// What the bodies of the test's workflows tell: every executor of the stage has it as state.
    pub probe: Probe,
}

impl Stage {
    pub async fn memory() -> Self {
        let store = MemoryStore::default();
        Self { store: Arc::new(store.clone()), place: Place::Memory(store), probe: Probe::default() }
    }

    pub async fn sqlite() -> Self {
        Self::on(Place::Sqlite(TempDir::new())).await
    }

    pub async fn postgres() -> Self {
        Self::on(Place::Postgres(workflow_testserver::test_database().await.expect("a database"))).await
    }

    async fn on(place: Place) -> Self {
        let store = open(&place).await;
        store.migrate().await.expect("migrates");
        Self { store, place, probe: Probe::default() }
    }

    /// Another handle on the same data, as another process has it.
    pub async fn another(&self) -> Arc<dyn Store> {
        open(&self.place).await
    }

    /// An executor to be, with a lease that survives a busy machine.
    pub fn executor(&self) -> workflow::Builder {
        self.executor_on(self.store.clone())
    }

    /// An executor to be on a store of its own.
    pub fn executor_on(&self, store: Arc<dyn Store>) -> workflow::Builder {
        Executor::builder(store).state(self.probe.clone()).driver_threads(2).sweep_interval(None)
    }

    /// A client without an executor.
    pub fn client(&self) -> Client {
        Client::new(self.store.clone())
    }

    /// The journal of a run.
    pub async fn journal(&self, run: RunId) -> Vec<Entry> {
        self.store.journal(run, 0, 100_000).await.expect("is readable")
    }

    /// The journal of a run as lines: `phase kind name #nth`.
    pub async fn lines(&self, run: RunId) -> Vec<String> {
        let line = |entry: &Entry| format!("{} {}", entry.fact.phase.as_str(), entry.fact.key);
        self.journal(run).await.iter().map(line).collect()
    }

    /// Everything about a run that a refused call must leave as it is.
    pub async fn picture(&self) -> String {
        let runs = self.store.list(&workflow::store::ListFilter::default()).await.expect("lists");
        let mut picture = String::new();
        for run in runs {
            picture.push_str(&format!("{run:?} {:?}\n", self.journal(run.id).await));
        }
        picture
    }

    /// Waits until a run has this status.
    pub async fn status<O>(&self, run: &RunHandle<O>, status: Status) -> RunStatus {
        let client = self.client();
        eventually(&format!("run is {status}"), async || {
            let found = client.status(run.id()).await.expect("exists");
            if found.status() == status { Ok(found) } else { Err(format!("{found:?}")) }
        })
        .await
    }

    /// Waits until a run is parked.
    pub async fn parked<O>(&self, run: &RunHandle<O>) -> ParkReason {
        let status = self.status(run, Status::Parked).await;
        status.parked().expect("a parked run has a reason").clone()
    }

    /// Whether there is such a run.
    pub async fn exists(&self, run: RunId) -> bool {
        self.store.find(&[RunRef::Id(run)]).await.expect("finds")[0].is_some()
    }

    /// Runs a statement by hand, as somebody with the database's shell does it.
    pub async fn edit(&self, postgres: &str, sqlite: &str) {
        let changed = match &self.place {
            Place::Memory(_) => panic!("nobody edits memory by hand"),
            Place::Sqlite(directory) => {
                let url = format!("sqlite:{}", directory.file().display());
                let mut file = sqlx::SqliteConnection::connect(&url).await.expect("connects");
                sqlx::raw_sql(AssertSqlSafe(sqlite)).execute(&mut file).await.expect("edits").rows_affected()
            }
            Place::Postgres(database) => {
                let mut server = sqlx::PgConnection::connect(database.url()).await.expect("connects");
                sqlx::raw_sql(AssertSqlSafe(postgres)).execute(&mut server).await.expect("edits").rows_affected()
            }
        };
        assert!(changed > 0 || postgres.starts_with("CREATE"), "the edit changed nothing");
    }
}

/// A run's id as a literal of each database.
pub fn literals(run: RunId) -> (String, String) {
    (format!("'{run}'"), format!("x'{}'", run.0.simple()))
}

async fn open(place: &Place) -> Arc<dyn Store> {
    match place {
        Place::Memory(store) => Arc::new(store.clone()),
        Place::Sqlite(directory) => {
            let url = format!("sqlite:{}", directory.file().display());
            Arc::new(workflow::sqlite::SqliteStore::connect(&url).await.expect("opens"))
        }
        Place::Postgres(database) => {
            let options = workflow::postgres::PgOptions::new(database.url()).pool_size(5);
            Arc::new(workflow::postgres::PgStore::connect_with(options).await.expect("connects"))
        }
    }
}

/// Waits until `look` gives a value. What it last complained about is in the panic.
#[expect(clippy::disallowed_methods, reason = "waits for a state, and gives up only on what never comes")]
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(value) => return value,
            Err(last) => assert!(begun.elapsed() < PATIENCE, "never came: {what}; last seen: {last}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until `look` is true.
pub async fn until(what: &str, mut look: impl FnMut() -> bool) {
    eventually(what, async || if look() { Ok(()) } else { Err("not yet".to_owned()) }).await;
}

/// Gives up on what hangs.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("never came: {what}"),
    }
}

/// Lets a lease run out.
#[expect(clippy::disallowed_methods, reason = "nothing tells that a lease has run out that nobody could renew")]
pub async fn outlast(lease: Duration) {
    tokio::time::sleep(lease * 2).await;
}

/// How long something takes.
#[expect(clippy::disallowed_methods, reason = "measures what a user would measure")]
pub fn stopwatch() -> impl Fn() -> Duration {
    let begun = Instant::now();
    move || begun.elapsed()
}

/// A directory of its own in the system's temporary one, deleted when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("workflow-system-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).expect("the temporary directory can be written");
        Self(path)
    }

    pub fn file(&self) -> PathBuf {
        self.0.join("runs.db")
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

/// Makes of every claim a test on each store: `claim::memory`, `claim::sqlite`, `claim::postgres`.
macro_rules! on_every_store {
    ($(async fn $claim:ident($stage:ident: Stage) $body:block)*) => {
        $crate::support::on!([memory sqlite postgres] $(async fn $claim($stage: Stage) $body)*);
    };
}

/// As `on_every_store`, for claims about rows that somebody can edit.
macro_rules! on_every_database {
    ($(async fn $claim:ident($stage:ident: Stage) $body:block)*) => {
        $crate::support::on!([sqlite postgres] $(async fn $claim($stage: Stage) $body)*);
    };
}

macro_rules! on {
    ($stores:tt $(async fn $claim:ident($stage:ident: Stage) $body:block)*) => {
        $(mod $claim {
            #[allow(unused_imports, reason = "a claim uses what it uses")]
            use super::*;
            async fn claim($stage: $crate::support::Stage) $body
            $crate::support::each!($stores);
        })*
    };
}

macro_rules! each {
    ([$($store:ident)*]) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $store() {
            claim($crate::support::Stage::$store().await).await;
        })*
    };
}

pub(crate) use {each, on, on_every_database, on_every_store};
