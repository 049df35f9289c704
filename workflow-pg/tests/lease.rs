//! An executor gives signs of life however busy the store is.

mod support;

use std::sync::Arc;
use std::time::Duration;

use support::{Harness, LONG, adds, new_run};
use workflow_core::store::{Claim, Store};
use workflow_core::{ExecutorId, Timestamp};
use workflow_pg::{PgOptions, PgStore};

#[tokio::test]
async fn a_heartbeat_waits_for_no_connection_of_the_pool() {
    let database = workflow_testserver::test_database().await.expect("a database");
    let store = PgStore::connect_with(PgOptions::new(database.url()).pool_size(2)).await.expect("connects");
    store.migrate().await.expect("migrates");
    let executor = ExecutorId::generate();
    store.register(executor, "busy", Duration::from_secs(5)).await.expect("registers");
    let transactions = (store.begin_user(LONG).await.expect("begins"), store.begin_user(LONG).await.expect("begins"));
    let beat = tokio::time::timeout(Duration::from_secs(2), store.heartbeat(executor, Duration::from_secs(5)));
    beat.await.expect("in time, though users' transactions have all connections").expect("alive");
    let rescue = tokio::time::timeout(Duration::from_secs(2), store.rescue(3, 100));
    rescue.await.expect("in time").expect("rescues");
    drop(transactions);
}

#[tokio::test]
async fn a_lease_begins_when_it_is_written() {
    let harness = Harness::migrated().await;
    let executor = harness.executor().await;
    let lease = Duration::from_secs(100);
    let mut holder = harness.database.pool(1).await.expect("connects").begin().await.expect("begins");
    let lock = "SELECT x.id FROM workflow.executors AS x WHERE x.id = $1 FOR UPDATE";
    sqlx::query(lock).bind(executor.0).execute(&mut *holder).await.expect("locks");
    let store = harness.store.clone();
    let beat = tokio::spawn(async move { store.heartbeat(executor, lease).await });
    let waits = "SELECT count(*) FROM pg_locks AS l WHERE NOT l.granted";
    while sqlx::query_scalar::<_, i64>(waits).fetch_one(&mut *holder).await.expect("a query") == 0 {}
    let released: Timestamp =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut *holder).await.expect("a query");
    holder.commit().await.expect("commits");
    beat.await.expect("ends").expect("is renewed");
    let until: Timestamp = sqlx::query_scalar("SELECT x.lease_until FROM workflow.executors AS x WHERE x.id = $1")
        .bind(executor.0)
        .fetch_one(harness.store.pool())
        .await
        .expect("a query");
    assert!(until >= released + lease, "{until} is before {released} and the lease");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewing_and_claiming_at_once_never_deadlock() {
    let harness = Harness::migrated().await;
    let store = Arc::new(harness.store.clone());
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let store = store.clone();
        tasks.spawn(async move {
            for _ in 0..15 {
                let executor = ExecutorId::generate();
                store.register(executor, "test", LONG).await.expect("registers");
                let run = new_run(None);
                store.create(std::slice::from_ref(&run), false).await.expect("creates");
                let queues = vec![(run.queue.clone(), 10)];
                let claim = Claim { executor, queues, workflows: vec![(run.workflow.clone(), run.version)] };
                let (beat, claimed, rescued) =
                    tokio::join!(store.heartbeat(executor, LONG), store.claim(&claim), store.rescue(20, 100));
                beat.expect("is renewed");
                rescued.expect("rescues");
                let claimed = claimed.expect("claims").runs;
                let length = |journal: &Result<Vec<_>, _>| u32::try_from(journal.as_ref().map_or(0, Vec::len));
                let turns: Vec<_> =
                    claimed.iter().map(|run| adds(run.id, length(&run.journal).expect("is short"))).collect();
                let (beat, committed) = tokio::join!(store.heartbeat(executor, LONG), store.commit(executor, &turns));
                beat.expect("is renewed");
                committed.expect("commits");
                store.close(executor).await.expect("closes");
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no call fails");
    }
    let deadlocks = "SELECT d.deadlocks FROM pg_stat_database AS d WHERE d.datname = current_database()";
    let found: i64 = sqlx::query_scalar(deadlocks).fetch_one(harness.store.pool()).await.expect("a query");
    assert_eq!(found, 0);
}
