//! A store on a fresh database, and factories that default everything a test doesn't care about.

#![allow(dead_code, reason = "each test crate uses a part of it")]

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use workflow_core::journal::{Fact, OpKey, Phase};
use workflow_core::store::{NewRun, Store, Turn};
use workflow_core::{ExecutorId, Payload, RunId};
use workflow_pg::{Capabilities, PgOptions, PgStore};
use workflow_testserver::Database;

pub const LONG: Duration = Duration::from_secs(3_600);

/// A fresh database with a store on it.
#[derive(Debug)]
pub struct Harness {
    pub store: PgStore,
    pub database: Database,
    capabilities: Capabilities,
}

impl Harness {
    /// `prepare` is run on the database first, with %I for its name. The store isn't migrated.
    pub async fn start(capabilities: Capabilities, prepare: &str) -> Self {
        let database = workflow_testserver::test_database().await.expect("a database");
        if !prepare.is_empty() {
            let mut conn = PgConnection::connect(database.url()).await.expect("connects");
            let sql = prepare.replace("%I", database.name());
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut conn).await.expect("is prepared");
        }
        let store = connect(&database, capabilities).await;
        Self { store, database, capabilities }
    }

    /// With all accelerators, migrated.
    pub async fn migrated() -> Self {
        let harness = Self::start(Capabilities::ALL, "").await;
        harness.store.migrate().await.expect("migrates");
        harness
    }

    /// The same on a pool with settings of its own.
    pub async fn on_a_pool_of_the_users(mut self) -> Self {
        let pool = self.database.pool(5).await.expect("connects");
        self.store = PgStore::from_pool_with(pool, self.capabilities).await.expect("can be used");
        self
    }

    pub async fn executor(&self) -> ExecutorId {
        let executor = ExecutorId::generate();
        self.store.register(executor, "test", LONG).await.expect("registers");
        executor
    }

    /// Another store on the same database, as another process has it.
    pub async fn another(&self) -> PgStore {
        connect(&self.database, self.capabilities).await
    }
}

async fn connect(database: &Database, capabilities: Capabilities) -> PgStore {
    let options = PgOptions::new(database.url()).pool_size(5).capabilities(capabilities);
    PgStore::connect_with(options).await.expect("connects")
}

#[async_trait::async_trait]
impl workflow_core::conformance::Harness for Harness {
    fn store(&self) -> Arc<dyn Store> {
        Arc::new(self.store.clone())
    }

    async fn second(&self) -> Option<Arc<dyn Store>> {
        Some(Arc::new(self.another().await))
    }

    #[expect(clippy::disallowed_methods, reason = "the server's clock is a real one")]
    async fn advance(&self, by: Duration) {
        tokio::time::sleep(by).await;
    }
}

pub fn new_run(owner: Option<ExecutorId>) -> NewRun {
    let input = Payload::json("in").expect("encodes");
    NewRun {
        id: RunId::generate(),
        workflow: "order".to_owned(),
        version: 1,
        queue: "default".to_owned(),
        input_digest: input.digest(),
        input,
        invoke_id: None,
        parent: None,
        depth: 0,
        delay: None,
        retain: LONG,
        owner,
    }
}

pub fn fact(name: &str) -> Fact {
    let payload = Payload::json(name).expect("encodes");
    Fact { key: OpKey::new("step", name, 1), phase: Phase::Ok, payload, mark: None }
}

pub fn adds(run: RunId, position: u32) -> Turn {
    Turn { entries: vec![fact("charge")], ..Turn::new(run, position) }
}
