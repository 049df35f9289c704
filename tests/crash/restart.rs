//! The database restarts in the middle of ordinary steps, sleeps and events.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use workflow::postgres::{PgOptions, PgStore, TransactionExt as _};
use workflow::prelude::*;
use workflow::{Error, Store, StoreError};
use workflow_testserver::{Options, Server, Shutdown, test_database};

use crate::child::{LIMIT, Process, until};
use crate::ledger;
use crate::workflows::mixed;

const LEASE: Duration = Duration::from_secs(5);
const RUNS: u32 = 60;

async fn insist<T, Fut: Future<Output = Result<T, Error>>>(call: impl Fn() -> Fut) -> T {
    let tries = async {
        loop {
            match call().await {
                Ok(answer) => return answer,
                Err(Error::Store(StoreError::Unavailable(_) | StoreError::Contention(_) | StoreError::Unknown(_))) => {
                    tokio::time::sleep(Duration::from_millis(20)).await
                }
                Err(error) => panic!("a restart came out as {}: {error}", error.code()),
            }
        }
    };
    tokio::time::timeout(LIMIT, tries).await.expect("the database is there again")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_database_loses_no_run_and_counts_no_crash() {
    let server = Server::start(Options::new()).await.expect("a server");
    let database = server.create_database().await.expect("a database");
    let store = PgStore::connect_with(PgOptions::new(database.url())).await.expect("connects");
    store.migrate().await.expect("migrated");
    let pool = store.pool().clone();
    ledger::make(&pool).await;
    let client = Client::new(Arc::new(store));
    let processes: Vec<_> = (0..3).map(|n| Process::start(database.url(), &format!("executor {n}"), LEASE)).collect();
    for process in &processes {
        process.says("started").await;
    }
    let mut runs = Vec::new();
    for n in 0..RUNS {
        runs.push(client.invoke(mixed, format!("key {n}")).await.expect("invoked"));
    }
    for (step, how) in [("step-2", Shutdown::Immediate), ("step-6", Shutdown::Fast)] {
        let reached = "SELECT count(*) FROM workflow.journal WHERE kind = 'step' AND name = $1";
        until("many runs are in the middle", async || {
            let count = sqlx::query_scalar::<_, i64>(reached).bind(step).fetch_one(&pool).await;
            count.is_ok_and(|count| count >= i64::from(RUNS / 2))
        })
        .await;
        server.restart(how).await.expect("the server comes back");
        let up = insist(|| async {
            let now = sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&pool).await;
            now.map_err(|error| StoreError::Unavailable(error.to_string()).into())
        })
        .await;
        let up: workflow::Timestamp = up;
        let renewed = "SELECT count(*) FROM workflow.executors
            WHERE state = 'alive' AND lease_until - INTERVAL '4.5 seconds' > $1";
        until("all executors are there again", async || {
            let count = sqlx::query_scalar::<_, i64>(renewed).bind(up).fetch_one(&pool).await;
            count.is_ok_and(|count| count == 3)
        })
        .await;
        let first: f64 = insist(|| async {
            let query = "SELECT extract(epoch FROM min(recorded_at) - $1)::float8 FROM workflow.journal
                WHERE kind = 'step' AND recorded_at > $1";
            let first = sqlx::query_scalar(query).bind(up).fetch_one(&pool).await;
            first.map_err(|error| StoreError::Unavailable(error.to_string()).into())
        })
        .await;
        println!("{how:?} restart: the first step was recorded {first:.2} s after the server took connections");
    }
    for (n, run) in runs.iter().enumerate() {
        let key = format!("key {n}");
        insist(|| client.emit_to("number", &key, &n)).await;
        assert_eq!(run.result().await.expect("ends well"), n as u64);
    }
    ledger::check_runs(&pool).await;
    let crashed: i64 = sqlx::query_scalar("SELECT count(*) FROM workflow.runs WHERE crashes > 0")
        .fetch_one(&pool)
        .await
        .expect("a count");
    assert_eq!(crashed, 0, "runs that count a crash, though no process died");
}

/// A transaction whose connection is cut the first time.
#[workflow]
async fn cut_off(ctx: Ctx, _: ()) -> Result<i32> {
    let pool = ctx.state::<PgPool>();
    ctx.transaction("cut", async |tx| {
        let me: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut **tx).await?;
        sqlx::query("INSERT INTO effect (what) VALUES ('cut')").execute(&mut **tx).await?;
        let end = "SELECT count(pg_terminate_backend($1)) FROM (SELECT count(*) AS n FROM body) AS b WHERE b.n = 0";
        sqlx::query(end).bind(me).execute(&*pool).await?;
        sqlx::query("INSERT INTO body (who) VALUES ('me')").execute(&*pool).await?;
        sqlx::query("INSERT INTO effect (what) VALUES ('again')").execute(&mut **tx).await?;
        Ok(me)
    })
    .retry(RetryPolicy::none())
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_loses_its_connection_runs_again_and_counts_no_attempt() {
    let database = test_database().await.expect("a database");
    let store = Arc::new(PgStore::connect(database.url()).await.expect("connects"));
    let pool = database.pool(2).await.expect("connects");
    ledger::make(&pool).await;
    let executor = Executor::builder(store).register(cut_off).state(pool.clone()).start().await.expect("starts");
    let run = executor.client().invoke(cut_off, ()).await.expect("invoked");
    run.result().await.expect("a lost connection is no failure of the transaction");
    let effects: Vec<String> =
        sqlx::query_scalar("SELECT what FROM effect ORDER BY what").fetch_all(&pool).await.expect("a query");
    assert_eq!(effects, ["again", "cut"]);
    executor.shutdown().await.expect("shut down");
}
