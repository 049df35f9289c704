//! An executor that is frozen for longer than its lease: others take its runs over, and when it thaws it commits
//! nothing of what it held, takes a new id and goes on working.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;
use workflow::postgres::{PgOptions, PgStore};
use workflow::{Client, RunHandle, Store, Timestamp, Workflow};
use workflow_testserver::{Database, test_database};

use crate::child::{LIMIT, Process, until};
use crate::ledger;
use crate::proxy::Proxy;
use crate::workflows::{frozen_commit, frozen_step, frozen_transaction, steps};

const LEASE: Duration = Duration::from_secs(2);

struct Stage {
    database: Database,
    pool: PgPool,
    client: Client,
}

impl Stage {
    async fn new() -> Self {
        let database = test_database().await.expect("a database");
        let store = PgStore::connect_with(PgOptions::new(database.url()).pool_size(3)).await.expect("connects");
        store.migrate().await.expect("migrated");
        let pool = store.pool().clone();
        ledger::make(&pool).await;
        Self { client: Client::new(Arc::new(store)), pool, database }
    }

    /// A run that the executor `first` has, which is alone.
    async fn begin<W: Workflow<Input = ()>>(&self, workflow: W, first: &Process) -> RunHandle<W::Output> {
        first.says("started").await;
        self.client.invoke(workflow, ()).await.expect("invoked")
    }

    /// Freezes it, and starts another one. Returns when it froze.
    async fn freeze(&self, first: &Process) -> (Timestamp, Process) {
        let frozen = ledger::now(&self.pool).await;
        first.signal("STOP");
        let second = Process::start(self.database.url(), "second", LEASE);
        second.says("started").await;
        (frozen, second)
    }

    /// Waits until somebody else began the step, and says how long that was after `frozen`. (How soon it has to be is for
    /// `workflow-chaos` to measure: a test may run on a busy machine.)
    async fn taken_over(&self, run: Uuid, step: &str, frozen: Timestamp) {
        let mut began = None;
        until("the run is taken over", async || {
            let query = "SELECT min(began) FROM body WHERE run = $1 AND step = $2 AND who = 'second'";
            let row = sqlx::query_scalar(query).bind(run).bind(step).fetch_one(&self.pool).await;
            began = row.expect("a query");
            began.is_some()
        })
        .await;
        let after = (began.unwrap_or(frozen) - frozen).to_std().unwrap_or_default();
        println!("{step} taken over {after:.2?} after the freeze, with a lease of {LEASE:?}");
    }

    /// Thaws it, and sees that it works under a new id.
    async fn thaw(&self, first: &Process, mut second: Process, old: Uuid) {
        first.signal("CONT");
        until("a new life", async || ledger::alive(&self.pool, "first").await.is_some_and(|id| id != old)).await;
        second.kill();
        let run = self.client.invoke(steps, 2).await.expect("invoked");
        let ended = tokio::time::timeout(LIMIT, run.result()).await.expect("it ends");
        assert_eq!(ended.expect("it ended well"), 2);
        let query = "SELECT count(*) FROM body WHERE run = $1 AND who = 'first'";
        let own: i64 = sqlx::query_scalar(query).bind(run.id().0).fetch_one(&self.pool).await.expect("a count");
        assert_eq!(own, 2, "the thawed executor works");
        ledger::check_runs(&self.pool).await;
    }

    async fn effects(&self, table: &'static str) -> i64 {
        sqlx::query_scalar(table).fetch_one(&self.pool).await.expect("a count")
    }

    async fn id_of_first(&self) -> Uuid {
        ledger::alive(&self.pool, "first").await.expect("it lives")
    }
}

async fn frozen_for_three_leases(frozen: Timestamp, stage: &Stage) {
    until("three leases are over", async || {
        ledger::now(&stage.pool).await - frozen > chrono::TimeDelta::from_std(LEASE * 3).expect("short")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_in_a_step() {
    let stage = Stage::new().await;
    let first = Process::start(stage.database.url(), "first", LEASE);
    let run = stage.begin(frozen_step, &first).await;
    first.says("began frozen").await;
    let old = stage.id_of_first().await;
    let (frozen, second) = stage.freeze(&first).await;
    stage.taken_over(run.id().0, "frozen", frozen).await;
    run.result().await.expect("it ended well");
    frozen_for_three_leases(frozen, &stage).await;
    stage.thaw(&first, second, old).await;
    let own = "SELECT count(*) FROM body WHERE step = 'after' AND who = 'first'";
    assert_eq!(stage.effects(own).await, 0, "what had frozen went on with a run that wasn't its own any more");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_in_an_open_transaction() {
    let stage = Stage::new().await;
    let first = Process::start(stage.database.url(), "first", LEASE);
    let run = stage.begin(frozen_transaction, &first).await;
    first.says("first wrote").await;
    let old = stage.id_of_first().await;
    let (frozen, second) = stage.freeze(&first).await;
    stage.taken_over(run.id().0, "after", frozen).await;
    run.result().await.expect("it ended well");
    frozen_for_three_leases(frozen, &stage).await;
    stage.thaw(&first, second, old).await;
    assert_eq!(stage.effects("SELECT count(*) FROM effect").await, 1);
    assert_eq!(stage.effects("SELECT count(*) FROM effect WHERE who = 'second'").await, 1);
}

/// The server goes on with a commit whose client is frozen: it stands, and who takes the run over waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_while_the_server_commits() {
    let stage = Stage::new().await;
    let first = Process::start(stage.database.url(), "first", LEASE);
    let run = stage.begin(frozen_commit, &first).await;
    let old = stage.id_of_first().await;
    until("the commit lingers in its trigger", async || {
        let query = "SELECT count(*) FROM pg_stat_activity
            WHERE datname = current_database() AND query = 'COMMIT' AND wait_event = 'PgSleep'";
        stage.effects(query).await > 0
    })
    .await;
    let (frozen, second) = stage.freeze(&first).await;
    stage.taken_over(run.id().0, "after", frozen).await;
    run.result().await.expect("it ended well");
    frozen_for_three_leases(frozen, &stage).await;
    stage.thaw(&first, second, old).await;
    assert_eq!(stage.effects("SELECT count(*) FROM slow_effect").await, 1);
    assert_eq!(stage.effects("SELECT count(*) FROM slow_effect WHERE who = 'first'").await, 1);
}

/// The fence is checked, and then nothing comes any more: the server ends the transaction, so that it holds nobody up,
/// and the `COMMIT` that comes in the end commits nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frozen_between_fence_and_commit() {
    let stage = Stage::new().await;
    let proxy = Proxy::before(stage.database.url()).await;
    let first = Process::start(&proxy.url, "first", LEASE);
    let run = stage.begin(frozen_transaction, &first).await;
    first.says("first wrote").await;
    let old = stage.id_of_first().await;
    proxy.hold_commits();
    proxy.holds_one().await;
    let (frozen, second) = stage.freeze(&first).await;
    stage.taken_over(run.id().0, "after", frozen).await;
    run.result().await.expect("it ended well");
    frozen_for_three_leases(frozen, &stage).await;
    proxy.let_go();
    stage.thaw(&first, second, old).await;
    assert_eq!(stage.effects("SELECT count(*) FROM effect").await, 1);
    assert_eq!(stage.effects("SELECT count(*) FROM effect WHERE who = 'second'").await, 1);
}
