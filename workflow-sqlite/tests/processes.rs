//! Several processes on one file: nothing is claimed twice, nothing acknowledged is lost, writes of others are seen.

#![expect(clippy::disallowed_methods, reason = "other processes and real leases take real time")]

mod support;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row};
use support::{TempDir, make};
use workflow_core::store::{NewRun, Wakeup};
use workflow_core::{ExecutorId, RunId, Store};
use workflow_sqlite::SqliteStore;

/// Names the file for a copy of this program that plays another process.
const FILE: &str = "WORKFLOW_SQLITE_TEST_FILE";

/// Starts this program again to play `part` on `file`.
fn spawn(part: &str, file: &Path) -> Child {
    Command::new(std::env::current_exe().expect("is known"))
        .args([part, "--exact", "--nocapture", "--test-threads=1"])
        .env(FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

/// The file to play a part on; `None` when this is the test itself.
fn played_on() -> Option<std::path::PathBuf> {
    std::env::var_os(FILE).map(Into::into)
}

fn say(words: &str) {
    println!("{words}");
    std::io::stdout().flush().ok();
}

async fn migrated(file: &Path) -> SqliteStore {
    let store = SqliteStore::open(file).await.expect("opens");
    store.migrate().await.expect("migrates");
    store
}

async fn registered(store: &SqliteStore, lease: Duration) -> ExecutorId {
    let executor = ExecutorId::generate();
    store.register(executor, "host:1", lease).await.expect("registers");
    executor
}

/// Played by the process that is killed: writes without end and says what was acknowledged.
#[tokio::test]
async fn part_writer() {
    let Some(file) = played_on() else { return };
    let store = migrated(&file).await;
    let executor = registered(&store, Duration::from_millis(300)).await;
    let runs: Vec<NewRun> = (0..4).map(|_| NewRun { owner: Some(executor), ..make::run() }).collect();
    store.create(&runs, true).await.expect("creates");
    for position in 0.. {
        if store.heartbeat(executor, Duration::from_millis(300)).await.is_err() {
            return;
        }
        let turns: Vec<_> = runs.iter().map(|run| make::turn(run.id, position * 5, 5)).collect();
        store.commit(executor, &turns).await.expect("commits");
        for run in &runs {
            say(&format!("acknowledged {} {}", run.id, position * 5 + 5));
        }
    }
}

#[tokio::test]
async fn a_killed_writer_leaves_a_consistent_file_with_all_it_acknowledged() {
    if played_on().is_some() {
        return;
    }
    let directory = TempDir::new();
    let file = directory.file("runs.db");
    migrated(&file).await.shutdown().await;
    for round in 0_u64..6 {
        let mut child = spawn("part_writer", &file);
        let mut acknowledged: HashMap<RunId, u32> = HashMap::new();
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut left = 40 + round * 13;
        while let Some(Ok(line)) = lines.next() {
            left = left.saturating_sub(1);
            if left == 0 {
                child.kill().expect("kills");
            }
            if let Some((run, length)) = line.strip_prefix("acknowledged ").and_then(|rest| rest.split_once(' ')) {
                // The kill may cut the last line short, at a digit even: then it says less, never more.
                if let (Ok(run), Ok(length)) = (run.parse(), length.parse::<u32>()) {
                    let known = acknowledged.entry(run).or_default();
                    *known = length.max(*known);
                }
            }
        }
        child.wait().expect("ends");
        assert_eq!(acknowledged.len(), 4, "the writer was killed while it wrote");

        let mut raw = SqliteConnectOptions::new().filename(&file).connect().await.expect("connects");
        let row = sqlx::query("PRAGMA integrity_check").fetch_one(&mut raw).await.expect("checks");
        assert_eq!(row.get::<String, _>(0), "ok");
        let store = migrated(&file).await;
        tokio::time::sleep(Duration::from_millis(350)).await;
        let rescued = store.rescue(3, 1_000).await.expect("rescues");
        assert_eq!((rescued.executors.len(), rescued.runs), (1, 4));
        let executor = registered(&store, make::LONG).await;
        let claimed = store.claim(&make::claim(executor, 100)).await.expect("claims").runs;
        for run in &claimed {
            let journal = run.journal.as_ref().expect("without gaps");
            let known = acknowledged.get(&run.id).copied().unwrap_or(0);
            assert!(journal.len() >= known as usize, "{} of {known} acknowledged entries", journal.len());
            assert_eq!(journal.len() % 5, 0, "a turn is there as a whole or not at all");
        }
        assert_eq!(claimed.len(), 4);
    }
}

/// Played by several processes at once: claims until there is nothing left.
#[tokio::test]
async fn part_claimer() {
    let Some(file) = played_on() else { return };
    let store = migrated(&file).await;
    let executor = registered(&store, make::LONG).await;
    loop {
        let claimed = store.claim(&make::claim(executor, 7)).await.expect("claims").runs;
        if claimed.is_empty() {
            return;
        }
        for run in claimed {
            say(&format!("claimed {}", run.id));
        }
    }
}

#[tokio::test]
async fn processes_never_claim_the_same_run() {
    if played_on().is_some() {
        return;
    }
    let directory = TempDir::new();
    let file = directory.file("runs.db");
    let store = migrated(&file).await;
    let runs: Vec<NewRun> = (0..500).map(|_| make::run()).collect();
    store.create(&runs, true).await.expect("creates");
    let children: Vec<Child> = (0..3).map(|_| spawn("part_claimer", &file)).collect();
    let mut claimed = Vec::new();
    for mut child in children {
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        claimed.extend(lines.map_while(Result::ok).filter_map(|line| Some(line.split_once("claimed ")?.1.to_owned())));
        assert!(child.wait().expect("ends").success());
    }
    let distinct: HashSet<&String> = claimed.iter().collect();
    assert_eq!((claimed.len(), distinct.len()), (500, 500));
}

#[tokio::test]
async fn stores_never_claim_the_same_run() {
    let directory = TempDir::new();
    let file = directory.file("runs.db");
    let store = migrated(&file).await;
    let runs: Vec<NewRun> = (0..300).map(|_| make::run()).collect();
    store.create(&runs, true).await.expect("creates");
    let claimers = (0..4).map(|_| {
        let file = file.clone();
        tokio::spawn(async move {
            let store = SqliteStore::open(file).await.expect("opens");
            let executor = registered(&store, make::LONG).await;
            let mut all = Vec::new();
            loop {
                let claimed = store.claim(&make::claim(executor, 5)).await.expect("claims").runs;
                if claimed.is_empty() {
                    return all;
                }
                all.extend(claimed.into_iter().map(|run| run.id));
            }
        })
    });
    let mut claimed = Vec::new();
    for claimer in claimers {
        claimed.extend(claimer.await.expect("runs"));
    }
    let distinct: HashSet<&RunId> = claimed.iter().collect();
    assert_eq!((claimed.len(), distinct.len()), (300, 300));
}

#[tokio::test]
async fn writes_of_another_process_wake_and_own_writes_do_not() {
    let directory = TempDir::new();
    let file = directory.file("runs.db");
    let (mine, other) = (migrated(&file).await, SqliteStore::open(&file).await.expect("opens"));
    let (sender, mut woken) = tokio::sync::mpsc::unbounded_channel();
    let guard = mine.watch(Arc::new(move |wakeup| drop(sender.send(wakeup))));
    mine.create(&[make::run()], true).await.expect("creates");
    assert_eq!(woken.recv().await, Some(Wakeup::Ready("default".to_owned())));
    // Long enough for several looks at the file: none of them takes the store's own write for another's.
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(woken.try_recv().is_err());
    for _ in 0..3 {
        other.create(&[make::run()], true).await.expect("creates");
        assert_eq!(woken.recv().await, Some(Wakeup::Lost));
    }
    drop(guard);
    other.create(&[make::run()], true).await.expect("creates");
    assert_eq!(woken.recv().await, None, "the guard took the sink along");
}
