//! Migrations: together, too new, by hand; and the messages of a database that can't be used.

mod support;

use futures::future::join_all;
use sqlx::AssertSqlSafe;
use support::{Harness, new_run};
use workflow_core::StoreError;
use workflow_core::store::{ListFilter, Store};
use workflow_pg::{Capabilities, PgStore};

#[tokio::test]
async fn many_migrators_at_once_make_one_schema() {
    let harness = Harness::start(Capabilities::NONE, "").await;
    let stores = join_all((0..4).map(|_| harness.another())).await;
    for result in join_all(stores.iter().map(|store| store.migrate())).await {
        result.expect("migrates");
    }
    let versions: Vec<i32> = sqlx::query_scalar("SELECT version FROM workflow.migrations")
        .fetch_all(harness.store.pool())
        .await
        .expect("reads");
    assert_eq!(versions, [1]);
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let harness = Harness::migrated().await;
    let newer = "INSERT INTO workflow.migrations VALUES (999, 'later', now())";
    sqlx::query(newer).execute(harness.store.pool()).await.expect("inserts");
    for refused in [harness.store.migrate().await, PgStore::connect(harness.database.url()).await.map(|_| ())] {
        assert!(matches!(&refused, Err(StoreError::Schema(why)) if why.contains("999")), "{refused:?}");
    }
}

#[tokio::test]
async fn a_missing_schema_tells_to_migrate() {
    let harness = Harness::start(Capabilities::NONE, "").await;
    let refused = harness.store.create(&[new_run(None)], false).await;
    assert!(matches!(&refused, Err(StoreError::Schema(why)) if why.contains("run migrations")), "{refused:?}");
    assert!(matches!(harness.store.list(&ListFilter::default()).await, Err(StoreError::Schema(_))));
}

#[tokio::test]
async fn migrations_can_be_run_by_hand() {
    let harness = Harness::start(Capabilities::NONE, "").await;
    let script = PgStore::migrations_sql();
    sqlx::raw_sql(AssertSqlSafe(script)).execute(harness.store.pool()).await.expect("runs");
    harness.store.migrate().await.expect("finds nothing to do");
    harness.store.create(&[new_run(None)], false).await.expect("creates");
}

#[tokio::test]
async fn a_read_only_server_is_told() {
    let harness = Harness::migrated().await;
    let read_only = format!("ALTER DATABASE {} SET default_transaction_read_only = on", harness.database.name());
    sqlx::raw_sql(AssertSqlSafe(read_only)).execute(harness.store.pool()).await.expect("alters");
    let refused = harness.another().await.create(&[new_run(None)], false).await;
    assert!(matches!(&refused, Err(StoreError::Unusable(why)) if why.contains("read-only")), "{refused:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_url_is_told_without_the_password() {
    let harness = Harness::start(Capabilities::NONE, "").await;
    let good = harness.database.url();
    let nowhere = good.replace(harness.database.name(), "no_such_database");
    for url in [&nowhere, "postgres://me:hunter2@127.0.0.1:1/x", "postgres://me:hunter2@127.0.0.1:99999/x", "hunter2"] {
        let options = workflow_pg::PgOptions::new(url).acquire_timeout(std::time::Duration::from_secs(1));
        assert!(!format!("{options:?}").contains("hunter2"));
        let error = PgStore::connect_with(options).await.expect_err("can't be used").to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    let error = PgStore::connect("postgres://me:hunter2@127.0.0.1:1/x").await.expect_err("nobody listens there");
    assert!(error.to_string().contains("refused") && error.to_string().contains("check host and port"), "{error}");
    let error = PgStore::connect(&nowhere).await.expect_err("isn't there");
    assert!(matches!(&error, StoreError::Unusable(why) if why.contains("no_such_database")), "{error:?}");
}

#[tokio::test]
async fn views_show_json_and_survive_anything_else() {
    let harness = Harness::migrated().await;
    harness.store.create(&[new_run(None), new_run(None), new_run(None)], false).await.expect("creates");
    let spoil = "UPDATE workflow.runs SET input = '\\xff00' WHERE id = (SELECT min(id::text)::uuid FROM workflow.runs)";
    sqlx::query(spoil).execute(harness.store.pool()).await.expect("updates");
    let sql = "SELECT input::text FROM workflow.run ORDER BY id";
    let inputs: Vec<Option<String>> = sqlx::query_scalar(sql).fetch_all(harness.store.pool()).await.expect("reads");
    assert_eq!(inputs, [None, Some("\"in\"".to_owned()), Some("\"in\"".to_owned())]);
}

#[tokio::test]
async fn a_half_migrated_schema_is_told_and_left_alone() {
    let harness = Harness::start(Capabilities::NONE, "").await;
    let half =
        "CREATE SCHEMA workflow; CREATE TABLE workflow.topics (name text); INSERT INTO workflow.topics VALUES ('x')";
    sqlx::raw_sql(half).execute(harness.store.pool()).await.expect("is made by hand");
    let refused = harness.store.migrate().await.expect_err("is refused");
    assert_eq!(refused.code(), "SCHEMA");
    for words in ["migration 1 (init)", "\"topics\" already exists", "nothing was changed", "DROP SCHEMA", "backup"] {
        assert!(refused.to_string().contains(words), "{words:?} is missing in: {refused}");
    }
    let left = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'workflow'";
    let tables: i64 = sqlx::query_scalar(left).fetch_one(harness.store.pool()).await.expect("reads");
    assert_eq!(tables, 1);
    sqlx::raw_sql("DROP SCHEMA workflow CASCADE").execute(harness.store.pool()).await.expect("drops");
    harness.store.migrate().await.expect("migrates");
    harness.store.create(&[new_run(None)], false).await.expect("creates");
}

#[tokio::test]
async fn an_older_schema_is_told_and_brought_up() {
    let harness = Harness::start(Capabilities::NONE, "").await;
    let bootstrap = include_str!("../migrations/0000_bootstrap.sql");
    sqlx::raw_sql(bootstrap).execute(harness.store.pool()).await.expect("is made");
    let refused = harness.store.create(&[new_run(None)], false).await.expect_err("is too old");
    assert_eq!(refused.code(), "SCHEMA");
    assert!(refused.to_string().contains("run migrations"), "{refused}");
    harness.store.migrate().await.expect("migrates");
    harness.store.create(&[new_run(None)], false).await.expect("creates");
}

#[tokio::test]
async fn migrators_at_once_do_not_collide_when_everything_is_serializable() {
    let serializable = "ALTER DATABASE %I SET default_transaction_isolation = serializable";
    let harness = Harness::start(Capabilities::NONE, serializable).await;
    let stores = join_all((0..4).map(|_| harness.another())).await;
    for result in join_all(stores.iter().map(|store| store.migrate())).await {
        result.expect("migrates");
    }
}
