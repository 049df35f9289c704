//! The grants of docs/postgres.md, one by one: every method of a store works with all of them, and says which one it
//! misses.

#[path = "../../tests/support/docs.rs"]
mod docs;
mod support;

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use support::{LONG, adds, fact, new_run};
use uuid::Uuid;
use workflow_core::journal::OpKey;
use workflow_core::store::{
    Claim, ListFilter, NewEvent, NewMessage, NewRun, ParkReason, Resume, RunRef, Status, Store, Subscription, Then,
    Turn,
};
use workflow_core::{ExecutorId, Payload, StoreError};
use workflow_pg::{PgOptions, PgStore};
use workflow_testserver::{Options, Server};

/// Calls every method with everything that it can write, whatever came of those before. Returns the errors.
async fn call_everything(store: &PgStore) -> Vec<StoreError> {
    let mut errors = Vec::new();
    let mut note = |error: Option<StoreError>| errors.extend(error);
    let (executor, doomed) = (ExecutorId::generate(), ExecutorId::generate());
    note(store.migrate().await.err());
    note(store.register(executor, "least", LONG).await.err());
    // Dead by the time a later call of this looks for the dead. (The shorter, the sooner the server ends transactions.)
    note(store.register(doomed, "doomed", Duration::from_secs(2)).await.err());
    note(store.heartbeat(executor, LONG).await.err());
    let retained = NewRun { retain: Duration::ZERO, ..new_run(Some(executor)) };
    let (owned, parked, free) = (new_run(Some(executor)), new_run(Some(executor)), new_run(None));
    let same = NewRun { invoke_id: Some(Uuid::new_v4().to_string()), ..new_run(None) };
    let runs = [
        owned.clone(),
        parked.clone(),
        free,
        retained.clone(),
        same.clone(),
        NewRun { id: workflow_core::RunId::generate(), ..same },
    ];
    note(store.create(&runs, false).await.err());
    let claim = Claim { executor, queues: vec![("default".to_owned(), 9)], workflows: vec![("order".to_owned(), 1)] };
    note(store.claim(&claim).await.err());
    note(store.commit(executor, &[adds(owned.id, 0)]).await.err());
    note(store.landed(owned.id, 0).await.err());
    let key = |name: &str| OpKey::new("event", name, 1);
    let topic = Uuid::new_v4().to_string();
    let wait = Subscription { name: "news".to_owned(), key: topic.clone(), after: 0, op: key("waits") };
    let subscribe = Turn { entries: vec![fact("wait")], subscribe: vec![wait], ..Turn::new(owned.id, 1) };
    note(store.commit(executor, &[subscribe]).await.err());
    let payload = Payload::json(&1).expect("encodes");
    let emit = || NewEvent {
        id: Uuid::new_v4(),
        name: "news".to_owned(),
        key: topic.clone(),
        payload: payload.clone(),
        retain: Duration::ZERO,
    };
    let message = NewMessage { to: owned.id, fact: fact("told") };
    note(store.deliver(&[message], &[emit()], 10).await.err());
    note(store.mail(executor, 10).await.err());
    let child = NewRun { parent: None, ..new_run(None) };
    let all = Turn {
        entries: vec![fact("all")],
        consumed: 1,
        starts: vec![child],
        sends: vec![NewMessage { to: parked.id, fact: fact("told") }],
        emits: vec![emit()],
        unsubscribe: vec![key("waits")],
        ..Turn::new(owned.id, 2)
    };
    note(store.commit(executor, &[all]).await.err());
    let reason = ParkReason { code: "DIVERGED".to_owned(), message: "by hand".to_owned() };
    let park = Turn { then: Then::Park(reason), ..Turn::new(parked.id, 0) };
    note(store.commit(executor, &[park]).await.err());
    note(store.resume(&Resume::Runs(vec![parked.id])).await.err());
    let codes = vec!["DIVERGED".to_owned()];
    note(store.resume(&Resume::Codes { codes, workflows: vec![("order".to_owned(), 1)] }).await.err());
    let end = Then::Finish { status: Status::Completed, output: payload.clone() };
    note(store.commit(executor, &[Turn { then: end, ..Turn::new(retained.id, 0) }]).await.err());
    note(store.find(&[RunRef::Id(owned.id)]).await.err());
    note(store.list(&ListFilter::default()).await.err());
    note(store.journal(owned.id, 0, 10).await.err());
    note(store.rescue(3, 100).await.err());
    note(store.sweep(100).await.err());
    note(store.close(executor).await.err());
    errors
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_privilege_is_needed_and_told_when_it_is_missing() {
    let server = Server::start(Options::new()).await.expect("a server");
    let mut root = PgConnection::connect(&server.url("postgres")).await.expect("connects");
    sqlx::raw_sql("CREATE DATABASE app").execute(&mut root).await.expect("creates");
    let [administrator, owner] = docs::blocks();
    let mut root = PgConnection::connect(&server.url("app")).await.expect("connects");
    sqlx::raw_sql(AssertSqlSafe(administrator)).execute(&mut root).await.expect("runs");
    let login = |role: &str, n: u8| {
        let url = server.url("app");
        let (_, place) = url.rsplit_once('@').expect("with a user");
        format!("postgres://{role}:change-me-{n}@{place}")
    };
    let migrator = PgStore::connect(&login("workflow_migrator", 1)).await.expect("connects");
    migrator.migrate().await.expect("migrates");
    sqlx::raw_sql(AssertSqlSafe(owner)).execute(migrator.pool()).await.expect("runs");
    let options = PgOptions::new(login("workflow_executor", 2)).pool_size(2);
    let store = PgStore::connect_with(options).await.expect("connects");
    let errors = call_everything(&store).await;
    assert!(errors.is_empty(), "with all privileges: {errors:#?}");

    let grants = "SELECT table_name::text, privilege_type::text FROM information_schema.role_table_grants \
                  WHERE grantee = 'workflow_executor' AND table_schema = 'workflow' ORDER BY 1, 2";
    let grants = sqlx::query(grants).fetch_all(&mut root).await.expect("reads");
    assert!(grants.len() >= 28, "{}", grants.len());
    for grant in grants {
        let (table, privilege): (String, String) = (grant.get(0), grant.get(1));
        let revoke = format!("REVOKE {privilege} ON workflow.{table} FROM workflow_executor");
        sqlx::raw_sql(AssertSqlSafe(revoke)).execute(migrator.pool()).await.expect("revokes");
        let errors = call_everything(&store).await;
        let told =
            errors.iter().find(|error| error.to_string().contains(&format!("permission denied for table {table}")));
        let told = told.unwrap_or_else(|| panic!("{privilege} on {table} isn't needed: {errors:#?}"));
        assert_eq!(told.code(), "STORE_UNUSABLE");
        assert!(told.to_string().contains("docs/postgres.md"), "{told}");
        let back = format!("GRANT {privilege} ON workflow.{table} TO workflow_executor");
        sqlx::raw_sql(AssertSqlSafe(back)).execute(migrator.pool()).await.expect("grants");
        let errors = call_everything(&store).await;
        assert!(errors.is_empty(), "{privilege} on {table} is back: {errors:#?}");
    }
}
