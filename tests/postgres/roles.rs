//! The roles of docs/postgres.md: what it says is enough is enough.

use sqlx::{AssertSqlSafe, Connection, PgConnection};
use workflow::Store;
use workflow::postgres::PgStore;
use workflow_testserver::{Options, Server};

use crate::docs::blocks;
use crate::flow;
use crate::support::{collect, lines_with, login, run_sql, soon, until};

/// A server with the three roles, and a database `app` whose schema the migrator made.
async fn prepared() -> (Server, [String; 3]) {
    let server = Server::start(Options::default()).await.expect("a server");
    run_sql(&server.url("postgres"), "CREATE DATABASE app").await;
    let [administrator, owner] = blocks();
    run_sql(&server.url("app"), &administrator).await;
    let urls = [("workflow_migrator", 1), ("workflow_executor", 2), ("workflow_viewer", 3)]
        .map(|(role, n)| login(&server.url("app"), role, &format!("change-me-{n}")));
    PgStore::connect(&urls[0]).await.expect("connects").migrate().await.expect("migrates");
    run_sql(&urls[0], &owner).await;
    (server, urls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_docs_grant_an_executor_is_enough() {
    let (_server, [_, executor, viewer]) = prepared().await;
    let store = async || PgStore::connect(&executor).await.expect("connects");
    let running = flow::start(store().await).await.expect("starts without migrating");
    flow::run_all(&running.client(), "least").await;
    running.shutdown().await.expect("shuts down");
    flow::take_over(store().await, store().await).await;
    // Who looks sees runs and entries, and no payload.
    let mut looks = PgConnection::connect(&viewer).await.expect("connects");
    for (sql, rows) in [
        ("SELECT count(*) FROM (SELECT id, invoke_id, status, owner_name, park_code FROM workflow.run) AS r", 4),
        ("SELECT count(*) FROM (SELECT run_id, kind, name, payload_bytes FROM workflow.journal_entry) AS j", 5),
        ("SELECT count(*) FROM (SELECT run_id, seq FROM workflow.inbox_message) AS i", 0),
        ("SELECT count(*) FROM (SELECT name, key, seq FROM workflow.event) AS e", 3),
    ] {
        let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut looks).await.expect("may be read");
        assert!(count >= rows, "{sql}: {count}");
    }
    for sql in [
        "SELECT input FROM workflow.run",
        "SELECT output FROM workflow.run",
        "SELECT park_message FROM workflow.run",
        "SELECT payload FROM workflow.journal_entry",
        "SELECT payload FROM workflow.inbox_message",
        "SELECT payload FROM workflow.event",
        "SELECT input FROM workflow.runs",
        "SELECT payload FROM workflow.journal",
        "DELETE FROM workflow.event",
        "UPDATE workflow.runs SET status = 'ready'",
    ] {
        let error = sqlx::query(AssertSqlSafe(sql)).execute(&mut looks).await.expect_err("may not be done");
        assert!(error.to_string().contains("permission denied"), "{sql}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_privilege_that_is_missing_at_the_start_is_told() {
    let server = Server::start(Options::default()).await.expect("a server");
    run_sql(&server.url("postgres"), "CREATE DATABASE app").await;
    let [administrator, owner] = blocks();
    run_sql(&server.url("app"), &administrator).await;
    let [migrator, executor] = [("workflow_migrator", 1), ("workflow_executor", 2)]
        .map(|(role, n)| login(&server.url("app"), role, &format!("change-me-{n}")));
    // Nobody has migrated, and the executor may not.
    let error = flow::start(PgStore::connect(&executor).await.expect("connects")).await.expect_err("is refused");
    assert_eq!(error.code(), "STORE_UNUSABLE");
    for words in ["permission denied for database app", "docs/postgres.md", "migrations need the owner"] {
        assert!(error.to_string().contains(words), "{words:?} is missing in: {error}");
    }
    // Migrated, but nothing granted.
    PgStore::connect(&migrator).await.expect("connects").migrate().await.expect("migrates");
    let refused = PgStore::connect(&executor).await.expect_err("is refused");
    assert_eq!(refused.code(), "STORE_UNUSABLE");
    assert!(refused.to_string().contains("permission denied for schema workflow"), "{refused}");
    run_sql(&migrator, &owner).await;
    let running = flow::start(PgStore::connect(&executor).await.expect("connects")).await.expect("starts");
    flow::run_all(&running.client(), "granted").await;
    running.shutdown().await.expect("shuts down");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_on_when_a_privilege_that_was_taken_away_is_granted_again() {
    collect();
    let (_server, [migrator, executor, _]) = prepared().await;
    let running = flow::start(PgStore::connect(&executor).await.expect("connects")).await.expect("starts");
    let client = running.client();
    for (privilege, table) in [("INSERT", "journal"), ("UPDATE", "runs"), ("SELECT", "executor_writers")] {
        let run = client.invoke(flow::waits, ()).await.expect("invokes");
        let key = run.id().to_string();
        until("it waits", async || client.store().journal(run.id(), 0, 9).await.is_ok_and(|j| j.len() == 2)).await;
        run_sql(&migrator, &format!("REVOKE {privilege} ON workflow.{table} FROM workflow_executor")).await;
        let told = format!("permission denied for table {table}");
        until("it is told", async || {
            let _ = client.emit_to("go", &key, &9u64).await;
            !lines_with(&[&told, "STORE_UNUSABLE"]).is_empty()
        })
        .await;
        run_sql(&migrator, &format!("GRANT {privilege} ON workflow.{table} TO workflow_executor")).await;
        until("it is told again", async || client.emit_to("go", &key, &9u64).await.is_ok()).await;
        until("it has ended", async || {
            // Refused once too often, it was parked.
            let _ = client.resume(run.id()).await;
            client.status(run.id()).await.is_ok_and(|status| status.status().is_terminal())
        })
        .await;
        assert_eq!(soon("result", run.result()).await.expect("completes"), 9);
    }
    flow::run_all(&client, "granted-again").await;
    running.shutdown().await.expect("shuts down");
}
