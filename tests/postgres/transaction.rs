//! `ctx.transaction` beside other transactions of the user's.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use workflow::Store;
use workflow::postgres::{PgStore, TransactionExt as _};
use workflow::prelude::*;
use workflow_testserver::test_database;

use crate::support::{run_sql, soon, until};

#[workflow]
async fn books(ctx: Ctx, amount: i64) -> Result<i64> {
    ctx.transaction("book", async |tx| {
        // So that its own limit is reached before that of the statement.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let balance = "UPDATE account SET balance = balance + $1 RETURNING balance";
        Ok(sqlx::query_scalar(balance).bind(amount).fetch_one(&mut **tx).await?)
    })
    .max_open(Duration::from_millis(200))
    .retry(RetryPolicy::fixed(Duration::from_millis(10)).attempts(1_000))
    .await
}

/// As one is whose process was frozen in the middle of it: it keeps its locks for seconds, which is no fault of others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_waits_for_a_lock_for_too_long_is_tried_again() {
    let database = test_database().await.expect("a database");
    run_sql(database.url(), "CREATE TABLE account (balance bigint NOT NULL); INSERT INTO account VALUES (1)").await;
    let store: Arc<dyn Store> = Arc::new(PgStore::connect(database.url()).await.expect("connects"));
    let executor = Executor::builder(store.clone()).register(books).start().await.expect("starts");
    let mut other = PgConnection::connect(database.url()).await.expect("connects");
    let mut holds = other.begin().await.expect("begins");
    sqlx::query("UPDATE account SET balance = 2").execute(&mut *holds).await.expect("locks");
    let run = executor.client().invoke(books, 10).await.expect("invokes");
    let entries = async || store.journal(run.id(), 0, 10).await.expect("reads").len();
    until("two attempts that took too long", async || entries().await >= 2).await;
    holds.commit().await.expect("commits");
    assert_eq!(soon("result", run.result()).await.expect("completes"), 12);
    executor.shutdown().await.expect("shuts down");
}
