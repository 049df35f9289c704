//! What makes it fast stays so: no step touches a run's row, a lone step is one statement, and runs that are under way
//! together share their commits.

#![cfg(feature = "postgres")]
#![expect(clippy::disallowed_methods, reason = "tests wait, with limits, in real time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Semaphore;
use workflow::postgres::{PgOptions, PgStore};
use workflow::prelude::*;
use workflow_testserver::{Options, Server};

/// Steps go on when there is a permit.
#[derive(Clone)]
struct Gate {
    permits: Arc<Semaphore>,
    waiting: Arc<AtomicU32>,
}

impl Gate {
    fn new() -> Self {
        Self { permits: Arc::new(Semaphore::new(0)), waiting: Arc::default() }
    }

    async fn pass(&self) {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.expect("open").forget();
    }

    async fn reached_by(&self, runs: u32) {
        until(async || self.waiting.load(Ordering::SeqCst) >= runs).await;
    }
}

async fn until(mut is: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it happens in time");
}

/// So many steps, with a gate before the first and after the last.
#[workflow]
async fn steps(ctx: Ctx, count: u32) -> Result<u32> {
    let gate = ctx.state::<Gate>();
    ctx.step("first", async || {
        gate.pass().await;
        Ok(())
    })
    .await?;
    for n in 0..count {
        ctx.step(&format!("step-{n}"), async || Ok(n)).await?;
    }
    ctx.step("last", async || {
        gate.pass().await;
        Ok(())
    })
    .await?;
    Ok(count)
}

struct Stage {
    gate: Gate,
    pool: PgPool,
    executor: Executor,
}

/// An executor that does nothing by itself for as long as a test takes.
async fn stage(url: &str) -> Stage {
    let store = Arc::new(PgStore::connect_with(PgOptions::new(url).listen(false)).await.expect("connects"));
    let (pool, gate) = (store.pool().clone(), Gate::new());
    let minutes = Duration::from_secs(600);
    let executor = Executor::builder(store)
        .register(steps)
        .queue(Queue::new("default").concurrency(5_000))
        .state(gate.clone())
        .lease(minutes, minutes / 5)
        .poll_interval(minutes)
        .linger(minutes)
        .sweep_interval(None)
        .verify(false)
        .start()
        .await
        .expect("starts");
    Stage { gate, pool, executor }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_step_touches_the_row_of_its_run() {
    let database = workflow_testserver::test_database().await.expect("a database");
    let stage = stage(database.url()).await;
    let run = stage.executor.client().invoke(steps, 50).await.expect("invoked");
    let version = async || {
        let query = "SELECT ctid::text || ' ' || xmin::text FROM workflow.runs WHERE id = $1";
        sqlx::query_scalar::<_, String>(query).bind(run.id().0).fetch_one(&stage.pool).await.expect("a row")
    };
    stage.gate.reached_by(1).await;
    let before = version().await;
    stage.gate.permits.add_permits(1);
    stage.gate.reached_by(2).await;
    assert_eq!(version().await, before, "the row of the run was written by one of 51 steps");
    let entries: i64 =
        sqlx::query_scalar("SELECT count(*) FROM workflow.journal").fetch_one(&stage.pool).await.expect("a count");
    assert_eq!(entries, 51);
    stage.gate.permits.add_permits(1);
    assert_eq!(run.result().await.expect("ended well"), 50);
    stage.executor.shutdown().await.expect("shut down");
}

/// Lines of the server's log that tell of a statement, as `log_statement` writes them.
fn statements(server: &Server) -> Vec<String> {
    let log = std::fs::read_to_string(server.directory().join("log")).expect("the log is readable");
    let text = |line: &str| {
        let statement = line.split_once("LOG:  execute ").or_else(|| line.split_once("LOG:  statement: "));
        statement.map(|(_, text)| text.to_owned())
    };
    // A busy machine may make the pool open a connection, which then gets its settings; statements are prepared in the
    // background, for which the driver reads the catalog.
    log.lines().filter_map(text).filter(|text| !text.starts_with("SET ") && text != "SELECT").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lone_step_is_one_statement() {
    const STEPS: u32 = 20;
    let server = Server::start(Options::new().set("log_statement", "all")).await.expect("a server");
    let database = server.create_database().await.expect("a database");
    let stage = stage(database.url()).await;
    let run = stage.executor.client().invoke(steps, STEPS).await.expect("invoked");
    stage.gate.reached_by(1).await;
    let before = statements(&server).len();
    stage.gate.permits.add_permits(1);
    stage.gate.reached_by(2).await;
    let during = statements(&server).split_off(before);
    // A listener that comes late has the executor look for work once.
    let (looks, during): (Vec<_>, Vec<_>) = during.into_iter().partition(|text| text.contains("-- Claims runs"));
    assert!(looks.len() <= 1, "{looks:#?}");
    // The first step and those after it, each with the one statement that records it.
    assert_eq!(during.len(), STEPS as usize + 1, "{during:#?}");
    stage.gate.permits.add_permits(1);
    assert_eq!(run.result().await.expect("ended well"), STEPS);
    stage.executor.shutdown().await.expect("shut down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_are_under_way_together_share_their_commits() {
    const RUNS: u32 = 1_000;
    const STEPS: u32 = 10;
    let database = workflow_testserver::test_database().await.expect("a database");
    let stage = stage(database.url()).await;
    let client = stage.executor.client();
    let runs = client.invoke_many(steps, (0..RUNS).map(|_| STEPS)).await.expect("invoked");
    stage.gate.reached_by(RUNS).await;
    stage.gate.permits.add_permits(RUNS as usize);
    stage.gate.reached_by(2 * RUNS).await;
    // An entry carries the transaction that wrote it.
    let query = "SELECT count(*), count(DISTINCT xmin::text) FROM workflow.journal";
    let (recorded, transactions): (i64, i64) = sqlx::query_as(query).fetch_one(&stage.pool).await.expect("counts");
    assert_eq!(recorded, i64::from(RUNS * (STEPS + 1)));
    println!("{recorded} steps of {RUNS} runs in {transactions} transactions: {} each", recorded / transactions.max(1));
    assert!(transactions <= recorded / 5, "{recorded} steps took {transactions} transactions");
    stage.gate.permits.add_permits(RUNS as usize);
    for run in runs {
        assert_eq!(run.result().await.expect("ended well"), STEPS);
    }
    stage.executor.shutdown().await.expect("shut down");
}
