//! An executor gives signs of life however busy the store is.

mod support;

use std::time::Duration;

use support::LONG;
use workflow_core::ExecutorId;
use workflow_core::store::Store;
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
