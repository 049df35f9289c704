//! One of three executors dies with runs in flight.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use uuid::Uuid;
use workflow::postgres::{PgOptions, PgStore};
use workflow::{Client, Store};
use workflow_testserver::{Database, test_database};

use crate::child::{LIMIT, Process};
use crate::ledger;
use crate::workflows::steps;

const LEASE: Duration = Duration::from_secs(2);
const RUNS: u32 = 90;

/// A database with a ledger, a pool to look at it, and a client.
async fn stage() -> (Database, PgPool, Client) {
    let database = test_database().await.expect("a database");
    let store = PgStore::connect_with(PgOptions::new(database.url()).pool_size(3)).await.expect("connects");
    store.migrate().await.expect("migrated");
    let pool = store.pool().clone();
    ledger::make(&pool).await;
    let client = Client::new(Arc::new(store));
    (database, pool, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_of_a_killed_executor_go_on_elsewhere_within_a_lease_and_a_second() {
    let (database, pool, client) = stage().await;
    let name = |n: u32| format!("executor {n}");
    let mut processes: Vec<_> = (0..3).map(|n| Process::start(database.url(), &name(n), LEASE)).collect();
    for process in &processes {
        process.says("started").await;
    }
    let mut runs = Vec::new();
    for _ in 0..RUNS {
        runs.push(client.invoke(steps, 40).await.expect("invoked"));
    }
    for process in &processes {
        process.says("began step-1 of").await;
    }
    let mut victim = processes.remove(0);
    let id = ledger::alive(&pool, &name(0)).await.expect("it lives");
    let owned: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM workflow.runs WHERE owner = $1 AND status = 'running'")
        .bind(id)
        .fetch_all(&pool)
        .await
        .expect("a query");
    assert!(!owned.is_empty(), "the victim has runs in flight");
    let killed = ledger::now(&pool).await;
    victim.kill();
    for run in &runs {
        let ended = tokio::time::timeout(LIMIT, run.result()).await.expect("every run ends");
        assert_eq!(ended.expect("it ended well"), 40);
    }
    ledger::check_runs(&pool).await;
    assert!(ledger::most_begun(&pool).await <= 2, "a body began more than twice after one kill");
    let recovered: Vec<f64> = sqlx::query_scalar(
        "SELECT extract(epoch FROM min(began) - $2)::float8 FROM body
         WHERE run = ANY($1) AND who <> $3 AND began > $2 GROUP BY run ORDER BY 1",
    )
    .bind(&owned)
    .bind(killed)
    .bind(name(0))
    .fetch_all(&pool)
    .await
    .expect("a query");
    let at = |part: f64| recovered[((recovered.len() - 1) as f64 * part) as usize];
    println!(
        "{} runs in flight recovered: {:.2} s at least, {:.2} s median, {:.2} s at p99, {:.2} s at most; lease {LEASE:?}",
        recovered.len(),
        at(0.0),
        at(0.5),
        at(0.99),
        at(1.0)
    );
    assert!(!recovered.is_empty());
    assert!(at(1.0) <= (LEASE + Duration::from_secs(1)).as_secs_f64(), "recovered only after {:.2} s", at(1.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_died_is_noticed_without_waiting_for_its_lease() {
    let (database, pool, client) = stage().await;
    let lease = 10 * LIMIT;
    let mut victim = Process::start(database.url(), "victim", lease);
    victim.says("started").await;
    let mut runs = Vec::new();
    for _ in 0..10 {
        runs.push(client.invoke(steps, 40).await.expect("invoked"));
    }
    victim.says("began step-1 of").await;
    let heir = Process::start(database.url(), "heir", lease);
    heir.says("started").await;
    victim.kill();
    for run in &runs {
        let ended = tokio::time::timeout(LIMIT, run.result()).await.expect("long before the lease ends");
        assert_eq!(ended.expect("it ended well"), 40);
    }
    ledger::check_runs(&pool).await;
}
