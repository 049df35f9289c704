//! Files as they come: missing, damaged, locked, of another version; and what people see in them.

mod support;

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use support::{TempDir, make};
use workflow_core::store::{NewRun, RunRef, Then, Turn};
use workflow_core::{ExecutorId, RunId, Store, StoreError};
use workflow_sqlite::{Durability, SqliteOptions, SqliteStore};

async fn raw(path: &Path) -> SqliteConnection {
    SqliteConnectOptions::new().filename(path).create_if_missing(true).connect().await.expect("connects")
}

async fn run_sql(path: &Path, sql: &str) {
    let mut connection = raw(path).await;
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.expect("runs");
    connection.close().await.expect("closes");
}

async fn migrated(path: &Path) -> SqliteStore {
    let store = SqliteStore::open(path).await.expect("opens");
    store.migrate().await.expect("migrates");
    store
}

async fn owned(store: &SqliteStore) -> (ExecutorId, RunId) {
    let executor = ExecutorId::generate();
    store.register(executor, "host:1", make::LONG).await.expect("registers");
    let run = NewRun { owner: Some(executor), ..make::run() };
    store.create(std::slice::from_ref(&run), true).await.expect("creates");
    (executor, run.id)
}

#[track_caller]
fn assert_unusable(result: Result<SqliteStore, StoreError>, words: &[&str]) {
    let error = result.expect_err("can't be opened");
    assert!(matches!(error, StoreError::Unusable(_)), "{error:?}");
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

#[tokio::test]
async fn a_missing_directory_is_named_and_can_be_created() {
    let directory = TempDir::new();
    let path = directory.file("a/b/runs.db");
    assert_unusable(SqliteStore::open(&path).await, &["a/b is missing", "create_directories"]);
    SqliteOptions::file(&path).create_directories().open().await.expect("opens");
    assert!(path.exists());
}

#[tokio::test]
async fn a_missing_file_is_created_unless_forbidden() {
    let directory = TempDir::new();
    let path = directory.file("runs.db");
    assert_unusable(SqliteOptions::file(&path).existing_only().open().await, &["runs.db is missing"]);
    assert!(!path.exists());
    SqliteStore::connect(&format!("sqlite://{}", path.display())).await.expect("opens");
    SqliteStore::connect(&format!("sqlite://{}?mode=rw", path.display())).await.expect("opens");
}

#[tokio::test]
async fn urls_that_name_no_file_are_refused() {
    for url in ["postgres://localhost", "sqlite:", "sqlite://", "sqlite://a.db?mode=ro", "runs.db"] {
        assert_unusable(SqliteStore::connect(url).await, &["sqlite"]);
    }
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_left_alone() {
    let directory = TempDir::new();
    let path = directory.file("notes.txt");
    let text = "these are my notes, and no database at all. ".repeat(100);
    std::fs::write(&path, &text).expect("writes");
    assert_unusable(SqliteStore::open(&path).await, &["notes.txt", "no SQLite database"]);
    assert_eq!(std::fs::read_to_string(&path).expect("reads"), text);
    assert_unusable(SqliteStore::open(std::env::temp_dir()).await, &["is a directory"]);
}

/// Root may write whatever the mode says: then the test is run again as somebody who may not, from a copy of this program
/// that everybody can read. Returns whether it was.
#[cfg(unix)]
fn run_again_without_rights(test: &str) -> bool {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;
    const NOBODY: u32 = 65_534;
    let directory = TempDir::new();
    if std::fs::metadata(directory.file(".")).expect("is there").uid() != 0 {
        return false;
    }
    let open = |path: &Path| std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).expect("sets");
    let program = directory.file("program");
    std::fs::copy(std::env::current_exe().expect("has a path"), &program).expect("copies");
    open(&directory.file("."));
    open(&program);
    let mut command = std::process::Command::new(&program);
    let command = command.args(["--exact", test]).uid(NOBODY).gid(NOBODY).current_dir("/").env("TMPDIR", "/tmp");
    let output = command.output().expect("runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}{}", String::from_utf8_lossy(&output.stderr));
    true
}

#[cfg(unix)]
#[tokio::test]
async fn what_cannot_be_written_is_refused_and_works_when_it_can() {
    use std::os::unix::fs::PermissionsExt;
    if run_again_without_rights("what_cannot_be_written_is_refused_and_works_when_it_can") {
        return;
    }
    let directory = TempDir::new();
    let path = directory.file("runs.db");
    let allow = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("sets");
    migrated(&path).await.shutdown().await;
    // The file, the directory where the log beside it has to be, and a file that isn't there yet.
    allow(&path, 0o444);
    assert_unusable(SqliteStore::open(&path).await, &["runs.db", "write access"]);
    allow(&path, 0o644);
    for beside in ["runs.db-wal", "runs.db-shm"] {
        let _ = std::fs::remove_file(directory.file(beside));
    }
    allow(&directory.file("."), 0o555);
    assert_unusable(SqliteStore::open(&path).await, &["runs.db", "write access", "directory"]);
    let missing = directory.file("new.db");
    assert_unusable(SqliteStore::open(&missing).await, &["new.db", "can't be opened"]);
    assert!(!missing.exists());
    allow(&directory.file("."), 0o755);
    let store = migrated(&path).await;
    store.create(&[make::run()], true).await.expect("goes on");
}

#[tokio::test]
async fn a_missing_schema_asks_for_migrate() {
    let directory = TempDir::new();
    let store = SqliteStore::open(directory.file("runs.db")).await.expect("opens");
    let error = store.create(&[make::run()], true).await.expect_err("no tables");
    assert!(matches!(&error, StoreError::Schema(text) if text.contains("migrate")), "{error:?}");
    store.migrate().await.expect("migrates");
    store.create(&[make::run()], true).await.expect("goes on");
}

#[tokio::test]
async fn a_newer_schema_is_refused_and_left_alone() {
    let directory = TempDir::new();
    let path = directory.file("runs.db");
    let store = migrated(&path).await;
    run_sql(&path, "INSERT INTO wf_migration (version, name, applied_at) VALUES (999, 'later', 0)").await;
    let error = store.migrate().await.expect_err("newer");
    assert!(matches!(&error, StoreError::Schema(text) if text.contains("999")), "{error:?}");
}

#[tokio::test]
async fn a_half_migrated_file_is_told_and_left_alone() {
    let directory = TempDir::new();
    let path = directory.file("runs.db");
    let store = SqliteStore::open(&path).await.expect("opens");
    run_sql(&path, "CREATE TABLE wf_topic (mine TEXT); INSERT INTO wf_topic VALUES ('x')").await;
    let error = store.migrate().await.expect_err("is refused");
    assert_eq!(error.code(), "SCHEMA");
    for words in ["migration 1 (init)", "wf_topic already exists", "nothing was changed", "backup"] {
        assert!(error.to_string().contains(words), "{words:?} is missing in: {error}");
    }
    run_sql(&path, "DROP TABLE wf_topic").await;
    store.migrate().await.expect("migrates");
    store.create(&[make::run()], true).await.expect("goes on");
}

#[tokio::test]
async fn two_migrators_at_once_are_harmless() {
    let directory = TempDir::new();
    let path = directory.file("runs.db");
    let stores = futures::future::join_all((0..4).map(|_| SqliteStore::open(&path))).await;
    let stores: Vec<_> = stores.into_iter().map(|store| store.expect("opens")).collect();
    for migrated in futures::future::join_all(stores.iter().map(|store| store.migrate())).await {
        migrated.expect("migrates");
    }
}

#[tokio::test]
async fn a_locked_file_is_contention_and_the_store_goes_on_afterwards() {
    let directory = TempDir::new();
    let path = directory.file("runs.db");
    migrated(&path).await;
    let store = SqliteOptions::file(&path).busy_timeout(Duration::from_millis(50)).open().await.expect("opens");
    let mut other = raw(&path).await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.expect("locks");
    let error = store.create(&[make::run()], true).await.expect_err("locked");
    assert!(matches!(error, StoreError::Contention(_)), "{error:?}");
    // Reading doesn't wait for writers.
    assert_eq!(store.find(&[RunRef::Id(RunId::generate())]).await.expect("reads"), [None]);
    let opened = SqliteOptions::file(&path).busy_timeout(Duration::from_millis(50)).open().await;
    opened.expect("a locked file can be opened");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.expect("unlocks");
    store.create(&[make::run()], true).await.expect("goes on");
}

#[tokio::test]
async fn a_full_disk_writes_nothing_and_the_store_goes_on_afterwards() {
    let directory = TempDir::new();
    let store = migrated(&directory.file("runs.db")).await;
    let (executor, run) = owned(&store).await;
    limit_pages(&store, 1).await;
    let large = |position| {
        let mut turn = make::turn(run, position, 500);
        turn.entries.iter_mut().for_each(|entry| entry.payload.bytes = vec![b'1'; 1_000]);
        turn
    };
    let error = store.commit(executor, &[large(0)]).await.expect_err("full");
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains("full")), "{error:?}");
    assert_eq!(store.journal(run, 0, 10).await.expect("reads"), []);
    limit_pages(&store, 1_000_000).await;
    store.commit(executor, &[large(0)]).await.expect("goes on");
    assert_eq!(store.journal(run, 0, 1_000).await.expect("reads").len(), 500);
}

/// The limit on pages is SQLite's own way to have no more room.
async fn limit_pages(store: &SqliteStore, pages: u32) {
    let mut tx = store.begin_user(make::LONG).await.expect("begins");
    let sql = AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
    sqlx::raw_sql(sql).execute(&mut *tx).await.expect("limits");
}

#[tokio::test]
async fn a_shut_down_store_says_so() {
    let directory = TempDir::new();
    let store = migrated(&directory.file("runs.db")).await;
    store.shutdown().await;
    let error = store.create(&[make::run()], true).await.expect_err("closed");
    assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    assert!(!directory.file("runs.db-wal").exists(), "the log is folded into the file");
}

#[tokio::test]
async fn a_corrupt_row_concerns_one_run() {
    let corruptions = [
        ("DELETE FROM wf_journal WHERE position = 1", "no entry at position 1"),
        ("UPDATE wf_journal SET position = position + 10", "no entry at position 0"),
        ("UPDATE wf_journal SET phase = 'maybe' WHERE position = 2", "unknown phase \"maybe\""),
        ("UPDATE wf_journal SET entry_version = 99 WHERE position = 0", "version 99"),
        ("UPDATE wf_journal SET name = CAST(x'ff' AS TEXT) WHERE position = 0", "position 0"),
        ("UPDATE wf_journal SET nth = -1 WHERE position = 0", "out of range"),
        ("UPDATE wf_run SET version = 1, input_codec = 1000000", "out of range"),
        ("UPDATE wf_inbox SET phase = 'maybe'", "message 1"),
    ];
    for (corruption, reason) in corruptions {
        let directory = TempDir::new();
        let path = directory.file("runs.db");
        let store = migrated(&path).await;
        let (executor, bad) = owned(&store).await;
        let sends = vec![workflow_core::store::NewMessage { to: bad, fact: make::fact("mail") }];
        let turns = [make::turn(bad, 0, 3), Turn { sends, ..Turn::new(RunId::generate(), 0) }];
        store.commit(executor, &turns).await.expect("commits");
        run_sql(&path, corruption).await;
        store.close(executor).await.expect("closes");
        let good = make::run();
        store.create(std::slice::from_ref(&good), true).await.expect("creates");

        let (executor, _) = owned(&store).await;
        let claimed = store.claim(&make::claim(executor, 10)).await.expect("claims").runs;
        let journal = |id| claimed.iter().find(|run| run.id == id).map(|run| run.journal.clone()).expect("claimed");
        assert_eq!(journal(good.id), Ok(vec![]));
        let told = journal(bad).expect_err("corrupt");
        assert!(told.contains(reason), "{corruption}: {told}");
    }
}

#[tokio::test]
async fn people_see_readable_rows() {
    let directory = TempDir::new();
    let path = directory.file("runs.db");
    let store = migrated(&path).await;
    let (executor, run) = owned(&store).await;
    store.commit(executor, &[make::turn(run, 0, 1)]).await.expect("commits");
    let mut connection = raw(&path).await;
    let row = sqlx::query("SELECT id, status, input, created_at FROM workflow_run").fetch_one(&mut connection).await;
    let row = row.expect("reads");
    assert_eq!(row.get::<String, _>("id"), run.to_string());
    assert_eq!(row.get::<String, _>("input"), r#"{"a":1}"#);
    assert!(row.get::<String, _>("created_at").ends_with('Z'));
    let row = sqlx::query("SELECT run, name, payload FROM workflow_journal_entry").fetch_one(&mut connection).await;
    let row = row.expect("reads");
    assert_eq!(row.get::<String, _>("run"), run.to_string());
    assert_eq!(row.get::<String, _>("payload"), "42");
}

#[tokio::test]
async fn durability_is_what_was_asked_for() {
    for (durability, level) in [(Durability::Full, 2_i64), (Durability::Normal, 1)] {
        let directory = TempDir::new();
        let store = SqliteOptions::file(directory.file("runs.db")).durability(durability).open().await.expect("opens");
        let mut tx = store.begin_user(make::LONG).await.expect("begins");
        let row = sqlx::query("PRAGMA synchronous").fetch_one(&mut *tx).await.expect("asks");
        assert_eq!(row.get::<i64, _>(0), level);
    }
}

#[tokio::test]
async fn a_parent_with_many_children_is_swept_with_them() {
    use workflow_core::journal::OpKey;
    use workflow_core::store::ParentRef;
    let store = SqliteOptions::memory().open().await.expect("opens");
    store.migrate().await.expect("migrates");
    let (executor, parent) = owned(&store).await;
    let child = || NewRun {
        parent: Some(ParentRef { run: parent, key: OpKey::new("invoke", "child", 1) }),
        owner: Some(executor),
        retain: Duration::ZERO,
        ..make::run()
    };
    let children: Vec<NewRun> = (0..12_000).map(|_| child()).collect();
    store.create(&children, true).await.expect("creates");
    let output = make::fact("x").payload;
    let finish = |run| Turn {
        then: Then::Finish { status: workflow_core::store::Status::Completed, output: output.clone() },
        ..Turn::new(run, 0)
    };
    let turns: Vec<Turn> = children.iter().map(|run| finish(run.id)).collect();
    store.commit(executor, &turns).await.expect("commits");
    assert_eq!(store.sweep(1_000).await.expect("sweeps").runs, 0, "children are kept as long as their parent");
    store.commit(executor, &[finish(parent)]).await.expect("commits");
    run_out(&store).await;
    let mut swept = 0;
    for _ in 0..20 {
        swept += store.sweep(1_000).await.expect("sweeps").runs;
    }
    assert_eq!(swept, 12_001);
}

/// Lets every retention be over.
async fn run_out(store: &SqliteStore) {
    let mut tx = store.begin_user(make::LONG).await.expect("begins");
    sqlx::query("UPDATE wf_run SET sweep_at = 0 WHERE sweep_at IS NOT NULL").execute(&mut *tx).await.expect("updates");
    store.commit_plain(tx).await.expect("commits");
}
