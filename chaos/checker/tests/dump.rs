//! The tables are read as they are, on both databases, and the program gives its verdict on them.

use std::path::Path;
use std::process::Output;

use sqlx::{Connection, PgConnection, SqliteConnection};
use uuid::Uuid;
use workflow_checker::dump::{Dump, POSTGRES_TABLES, SQLITE_TABLES, journal};
use workflow_checker::ledger::Ledger;
use workflow_checker::record::{Answer, Op, Record, Reply, Time};

const PARENT: Uuid = Uuid::from_u128(1);
const CHILD: Uuid = Uuid::from_u128(2);

/// A parent that waits for its child, an event that somebody waits for, and what a transaction wrote.
async fn on_postgres(url: &str) {
    let mut connection = PgConnection::connect(url).await.expect("connects");
    for migration in [
        include_str!("../../../workflow-pg/migrations/0000_bootstrap.sql"),
        include_str!("../../../workflow-pg/migrations/0001_init.sql"),
        POSTGRES_TABLES,
        "INSERT INTO workflow.executors VALUES ('00000000-0000-0000-0000-000000000009', 'e1', 'alive', now(), now());
         INSERT INTO workflow.runs (id, workflow, version, queue, status, input_codec, input, input_digest, output_codec,
             output, invoke_id, parent_id, parent_kind, parent_name, parent_nth, depth, retain_us, owner, mail, created_at,
             finished_at)
         VALUES ('00000000-0000-0000-0000-000000000001', 'order', 1, 'default', 'running', 0, 'null', '', NULL, NULL,
                 'order-1', NULL, NULL, NULL, NULL, 0, 0, '00000000-0000-0000-0000-000000000009', 1,
                 '2026-01-01T00:00:00Z', NULL),
                ('00000000-0000-0000-0000-000000000002', 'child', 1, 'default', 'completed', 0, 'null', '', 0, '7',
                 NULL, '00000000-0000-0000-0000-000000000001', 'invoke', 'child', 1, 1, 0, NULL, 0,
                 '2026-01-01T00:00:01Z', '2026-01-01T00:00:02.000001Z');
         INSERT INTO workflow.journal VALUES ('00000000-0000-0000-0000-000000000001', 0, 'invoke', 'child', 1, 'asked', 0,
             '{}', NULL, 1, '2026-01-01T00:00:01Z'), ('00000000-0000-0000-0000-000000000001', 1, 'transaction', 'pay', 1,
             'ok', 0, '{\"body\":1}', NULL, 1, '2026-01-01T00:00:01Z');
         INSERT INTO workflow.inbox VALUES ('00000000-0000-0000-0000-000000000001', 1, 'invoke', 'child', 1, 'ok', 0, '7',
             NULL, now());
         INSERT INTO workflow.events VALUES ('news', 'k', 1, '00000000-0000-0000-0000-000000000005', 0, '\"t\"',
             '2026-01-01T00:00:03Z', '2027-01-01T00:00:03Z');
         INSERT INTO workflow.subscriptions VALUES ('00000000-0000-0000-0000-000000000001', 'event', 'news', 1, 'news',
             'other', 3);
         INSERT INTO chaos_account VALUES (1, 100);
         INSERT INTO chaos_effect (run, step, token, account, amount)
             VALUES ('00000000-0000-0000-0000-000000000001', 'pay', 1, 1, -5);",
    ] {
        sqlx::raw_sql(migration).execute(&mut connection).await.expect("executed");
    }
}

async fn on_sqlite(url: &str) {
    let mut connection = SqliteConnection::connect(&format!("{url}?mode=rwc")).await.expect("connects");
    for migration in [
        include_str!("../../../workflow-sqlite/migrations/0001_init.sql"),
        SQLITE_TABLES,
        "INSERT INTO wf_executor VALUES (x'00000000000000000000000000000009', 'e1', 0, 0, 0);
         INSERT INTO wf_run (id, workflow, version, queue, status, input_codec, input, input_digest, output_codec, output,
             invoke_id, parent_run, parent_kind, parent_name, parent_nth, depth, retain, owner, mail, created_at,
             finished_at)
         VALUES (x'00000000000000000000000000000001', 'order', 1, 'default', 'running', 0, x'00', x'00', NULL, NULL,
                 'order-1', NULL, NULL, NULL, NULL, 0, 0, x'00000000000000000000000000000009', 1, 1767225600000000, NULL),
                (x'00000000000000000000000000000002', 'child', 1, 'default', 'completed', 0, x'00', x'00', 0, x'37',
                 NULL, x'00000000000000000000000000000001', 'invoke', 'child', 1, 1, 0, NULL, 0, 1767225601000000,
                 1767225602000001);
         INSERT INTO wf_journal VALUES (x'00000000000000000000000000000001', 0, 1, 'invoke', 'child', 1, 'asked', NULL, 0,
             CAST('{}' AS BLOB), 1767225601000000), (x'00000000000000000000000000000001', 1, 1, 'transaction', 'pay', 1,
             'ok', NULL, 0, CAST('{\"body\":1}' AS BLOB), 1767225601000000);
         INSERT INTO wf_inbox VALUES (x'00000000000000000000000000000001', 1, 'invoke', 'child', 1, 'ok', NULL, 0, x'37');
         INSERT INTO wf_event VALUES (x'00000000000000000000000000000005', 'news', 'k', 1, 0, CAST('\"t\"' AS BLOB),
             1767225603000000, 1798761603000000);
         INSERT INTO wf_subscription VALUES (x'00000000000000000000000000000001', 'event', 'news', 1, 'news', 'other', 3);
         INSERT INTO chaos_account VALUES (1, 100);
         INSERT INTO chaos_effect (run, step, token, account, amount)
             VALUES (x'00000000000000000000000000000001', 'pay', 1, 1, -5);",
    ] {
        sqlx::raw_sql(migration).execute(&mut connection).await.expect("executed");
    }
    connection.close().await.expect("closed");
}

fn instant(text: &str) -> Time {
    text.parse().expect("an instant")
}

fn looks_right(dump: &Dump) {
    assert!(dump.taken_at > instant("2025-01-01T00:00:00Z"));
    let (parent, child) = (&dump.runs[&PARENT], &dump.runs[&CHILD]);
    assert_eq!(parent.invoke_id.as_deref(), Some("order-1"));
    assert_eq!((parent.status.as_str(), parent.owner), ("running", Some(Uuid::from_u128(9))));
    let (of, key) = child.parent.clone().expect("a parent");
    assert_eq!((of, key.to_string()), (PARENT, "invoke child #1".to_owned()));
    assert_eq!(child.output, Some((0, b"7".to_vec())));
    assert_eq!(child.created_at, instant("2026-01-01T00:00:01Z"));
    assert_eq!(child.finished_at, Some(instant("2026-01-01T00:00:02.000001Z")));
    let phases: Vec<_> = dump.journal(PARENT).iter().map(|entry| (entry.position, entry.phase.as_str())).collect();
    assert_eq!(phases, [(0, "asked"), (1, "ok")]);
    assert_eq!(dump.journal(PARENT)[1].json().expect("JSON")["body"], 1);
    assert_eq!(dump.inboxes[&PARENT][0].key, key);
    assert_eq!((dump.events[0].seq, dump.events[0].payload.as_slice()), (1, &b"\"t\""[..]));
    assert_eq!(dump.subscriptions[0].after, 3);
    assert!(dump.executors[0].alive);
    assert_eq!(dump.effects.as_ref().expect("tables")[0].amount, -5);
    assert_eq!(dump.accounts, [(1, 100)]);
}

/// The program's verdict: its status and its words.
async fn verdict(directory: &Path, url: &str) -> (Option<i32>, serde_json::Value) {
    let file = directory.join("ledger");
    let mut ledger = Ledger::open(&file).expect("opens");
    let call = Uuid::from_u128(77);
    let op = Op::Invoke { id: Some("order-1".to_owned()), workflow: "order".to_owned(), input: "i".to_owned() };
    let answer = Answer::Ok { reply: Reply::Run { run: PARENT } };
    let records = [Record::Asked { call, op }, Record::Answered { call, answer }];
    let sent_at = instant("2026-01-01T00:00:00Z");
    ledger.append(records.map(|record| ("test".to_owned(), sent_at, record)).to_vec()).expect("written");
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_workflow-checker"));
    command.args(["check", "--seed", "5", "--store", url, "--ledger"]).arg(&file);
    let Output { status, stdout, stderr } = command.output().await.expect("ran");
    let stderr = String::from_utf8_lossy(&stderr);
    (status.code(), serde_json::from_slice(&stdout).unwrap_or_else(|error| panic!("{error}: {stderr}")))
}

/// What is wrong with these tables: an effect that no body wrote.
fn is_found(verdict: &(Option<i32>, serde_json::Value)) {
    assert_eq!(verdict.0, Some(1), "{verdict:#?}");
    assert_eq!(verdict.1["per_invariant"], serde_json::json!({ "I5": 1 }), "{verdict:#?}");
    assert_eq!(verdict.1["violations"][0]["seed"], 5);
    assert_eq!(verdict.1["runs"], 2);
}

struct Directory(std::path::PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("dump-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_postgres_are_read() {
    let database = workflow_testserver::test_database().await.expect("a database");
    on_postgres(database.url()).await;
    looks_right(&Dump::read(database.url()).await.expect("readable"));
    assert_eq!(journal(database.url(), PARENT).await.expect("readable").len(), 2);
    let directory = Directory::new();
    is_found(&verdict(&directory.0, database.url()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_of_sqlite_are_read() {
    let directory = Directory::new();
    let url = format!("sqlite:{}", directory.0.join("file").display());
    on_sqlite(&url).await;
    looks_right(&Dump::read(&url).await.expect("readable"));
    assert_eq!(journal(&url, PARENT).await.expect("readable").len(), 2);
    is_found(&verdict(&directory.0, &url).await);
}

#[tokio::test]
async fn what_is_no_store_is_refused_without_its_password() {
    let error = Dump::read("mysql://me:secret@host/db").await.expect_err("no store").to_string();
    assert!(!error.contains("secret") && error.contains("mysql"), "{error}");
}
