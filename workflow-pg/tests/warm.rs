//! Connections at hand return to their pool.

mod support;

use std::time::Duration;

use support::{Harness, new_run};
use workflow_core::store::Store;

#[tokio::test]
async fn a_connection_at_hand_returns_to_its_pool() {
    let harness = Harness::migrated().await;
    harness.store.create(&[new_run(None)], false).await.expect("creates");
    let pool = harness.store.pool();
    let wait = async {
        while pool.num_idle() < pool.size() as usize {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("the connection is returned");
}

#[tokio::test]
async fn a_connection_at_hand_may_have_died() {
    let harness = Harness::migrated().await;
    harness.store.create(&[new_run(None)], false).await.expect("creates");
    let others = harness.database.pool(1).await.expect("connects");
    let end = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity AS a \
         WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()";
    sqlx::query(end).execute(&others).await.expect("disconnects");
    // The lost one is found out by its error, and isn't kept.
    let mut failed = 0;
    while let Err(error) = harness.store.create(&[new_run(None)], false).await {
        failed += 1;
        assert!(failed < 10, "{error}");
    }
    harness.store.create(&[new_run(None)], false).await.expect("creates");
}

#[test]
fn a_store_may_be_dropped_outside_of_a_runtime() {
    let runtime = tokio::runtime::Runtime::new().expect("starts");
    let (harness, store) = runtime.block_on(async {
        let harness = Harness::migrated().await;
        let store = harness.another().await;
        store.create(&[new_run(None)], false).await.expect("creates");
        (harness, store)
    });
    drop(store);
    runtime.block_on(async move { drop(harness) });
}
