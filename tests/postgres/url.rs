//! What can be wrong with where and as whom to connect: told by name, without the password.

use workflow::postgres::PgStore;
use workflow_testserver::test_database;

use crate::flow;
use crate::support::{login, run_sql};

const ODD: &str = "p@ss:w/rd?#%& '\"\\=é";

/// As a URL wants it.
fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

async fn refusal(url: &str, secret: &str) -> (String, &'static str) {
    let error = workflow::connect(url).await.expect_err("can't be used");
    let told = error.to_string();
    assert!(!format!("{error:?} {told}").contains(secret), "{told}");
    (told, error.code())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_characters_in_a_password_are_percent_encoded() {
    let database = test_database().await.expect("a database");
    let role = database.name().to_owned();
    let quoted = ODD.replace('\'', "''");
    let make = format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{quoted}'; GRANT CREATE ON DATABASE {role} TO {role}; \
         GRANT CREATE, USAGE ON SCHEMA public TO {role}"
    );
    run_sql(database.url(), &make).await;
    let url = login(database.url(), &role, &encoded(ODD));
    let executor = flow::start(PgStore::connect(&url).await.expect("connects")).await.expect("starts");
    flow::run_all(&executor.client(), "odd").await;
    executor.shutdown().await.expect("shuts down");
    // As it is, it's another URL: whatever comes of it, the password isn't told.
    let (told, code) = refusal(&login(database.url(), &role, ODD), "w/rd").await;
    assert!(["STORE_UNUSABLE", "STORE_UNAVAILABLE"].contains(&code), "{code}: {told}");
    run_sql(database.url(), &format!("DROP OWNED BY {role} CASCADE; DROP ROLE {role}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_is_told_by_name() {
    let database = test_database().await.expect("a database");
    let url = database.url();
    let (told, code) = refusal(&login(url, "postgres", "hunter2"), "hunter2").await;
    assert_eq!(code, "STORE_UNUSABLE");
    assert!(told.contains("password") && told.contains("\"postgres\"") && told.contains("pg_hba.conf"), "{told}");
    let (told, code) = refusal(&login(url, "nobody_at_all", "hunter2"), "hunter2").await;
    assert_eq!(code, "STORE_UNUSABLE");
    assert!(told.contains("nobody_at_all"), "{told}");
    let (told, code) = refusal("postgres://me:hunter2@127.0.0.1:1/app", "hunter2").await;
    assert_eq!(code, "STORE_UNAVAILABLE");
    assert!(told.contains("check host and port"), "{told}");
    let (told, code) = refusal("postgres://me:hunter2@no-such-host.invalid/app", "hunter2").await;
    assert_eq!(code, "STORE_UNAVAILABLE");
    assert!(told.contains("check host and port"), "{told}");
    for url in ["postgres://me:hunter2@127.0.0.1:port/app", "postgres://me:hunter2@[::1/app"] {
        let (told, code) = refusal(url, "hunter2").await;
        assert_eq!(code, "STORE_UNUSABLE", "{url}");
        assert!(told.contains("postgres://user:password@host:5432/database"), "{told}");
    }
    let nowhere = url.replace(database.name(), "no_such_database");
    let (told, code) = refusal(&nowhere, "hunter2").await;
    assert_eq!(code, "STORE_UNUSABLE");
    assert!(told.contains("no_such_database") && told.contains("create it"), "{told}");
    let executor = flow::start(PgStore::connect(url).await.expect("connects")).await.expect("starts");
    flow::run_all(&executor.client(), "right").await;
    executor.shutdown().await.expect("shuts down");
}
