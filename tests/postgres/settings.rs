//! What a server is set to: dangerous settings are told, isolation doesn't matter.

use sqlx::postgres::PgPoolOptions;
use workflow::postgres::{Capabilities, PgStore};
use workflow_testserver::{Options, Server, test_database};

use crate::flow;
use crate::support::{collect, lines_with, run_sql, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_lose_what_it_acknowledged_is_told() {
    collect();
    let database = test_database().await.expect("a database");
    PgStore::connect(database.url()).await.expect("connects");
    let (corrupt, lost) =
        (["WARN", "fsync", "corrupt the whole database"], ["WARN", "synchronous_commit", "may vanish"]);
    assert!(lines_with(&corrupt).is_empty() && lines_with(&lost).is_empty());
    run_sql(database.url(), &format!("ALTER DATABASE {} SET synchronous_commit = off", database.name())).await;
    PgStore::connect(database.url()).await.expect("connects all the same");
    assert_eq!((lines_with(&corrupt).len(), lines_with(&lost).len()), (0, 1));
    let server = Server::start(Options::new().set("fsync", "off")).await.expect("a server");
    let store = PgStore::connect(&server.url("postgres")).await.expect("connects all the same");
    assert_eq!((lines_with(&corrupt).len(), lines_with(&lost).len()), (1, 1));
    let executor = flow::start(store).await.expect("starts");
    flow::run_all(&executor.client(), "unsafe").await;
    executor.shutdown().await.expect("shuts down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_executor_works_when_everything_is_serializable_and_nothing_is_accelerated() {
    let database = test_database().await.expect("a database");
    run_sql(
        database.url(),
        &format!("ALTER DATABASE {} SET default_transaction_isolation = serializable", database.name()),
    )
    .await;
    let store = async || {
        let pool = PgPoolOptions::new().max_connections(4).connect(database.url()).await.expect("connects");
        PgStore::from_pool_with(pool, Capabilities::NONE).await.expect("can be used")
    };
    let executor = flow::start(store().await).await.expect("starts");
    let client = executor.client();
    let keys: Vec<String> = (0..8).map(|n| format!("serializable-{n}")).collect();
    futures::future::join_all(keys.iter().map(|key| flow::run_all(&client, key))).await;
    executor.shutdown().await.expect("shuts down");
    flow::take_over(store().await, store().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_limits_that_the_server_sets_for_others_harm_no_executor() {
    let database = test_database().await.expect("a database");
    for (setting, value) in [
        ("statement_timeout", "300ms"),
        ("lock_timeout", "50ms"),
        ("idle_in_transaction_session_timeout", "150ms"),
        ("idle_session_timeout", "300ms"),
    ] {
        run_sql(database.url(), &format!("ALTER DATABASE {} SET {setting} = '{value}'", database.name())).await;
    }
    let store = async || PgStore::connect(database.url()).await.expect("connects");
    let (one, two) =
        (flow::start(store().await).await.expect("starts"), flow::start(store().await).await.expect("starts"));
    let slow = one.client().invoke(flow::slow, 2_500).await.expect("invokes");
    flow::run_all(&one.client(), "limits").await;
    // It began once: its executor was never taken for dead.
    assert_eq!(soon("result", slow.result()).await.expect("completes"), 1);
    assert_eq!(slow.status().await.expect("exists").crashes(), 0);
    for executor in [one, two] {
        executor.shutdown().await.expect("shuts down");
    }
}
